//! Exchanges: one at a time for a person, shared by equal calls, and none lost.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_emulator::{App, Credential, Options, User};
use entrar_broker::accounts::InMemory;
use entrar_broker::exchange::{Exchanges, Load, Over};
use futures_util::future::{join, join_all, poll_immediate};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::{ADA, BOB, Endpoint, LATER, LONG, STORAGE, Session, grant, session_of, signed_in};

/// Resources that every emulated tenant knows; a slash at the end makes another one.
const RESOURCES: [&str; 8] = [
    "https://storage.azure.com",
    "https://vault.azure.net",
    "https://database.windows.net",
    "https://management.azure.com",
    "https://graph.microsoft.com",
    "499b84ac-1321-427f-aa17-267ca6975798",
    "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d",
    "https://cognitiveservices.azure.com",
];

fn access_token(body: &Value) -> String {
    assert_eq!(body["result"], true, "{body}");
    body["token"]["access_token"].as_str().unwrap().to_owned()
}

/// An endpoint that grants nothing until it is opened.
async fn gated() -> (Endpoint, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let watched = Arc::clone(&gate);
    let endpoint = Endpoint::start(move |number| {
        let gate = Arc::clone(&watched);
        async move {
            gate.acquire().await.unwrap().forget();
            grant(number)
        }
    })
    .await;
    (endpoint, gate)
}

#[tokio::test]
async fn public_and_confidential_clients_get_tokens() {
    for client_secret in [None, Some(SecretString::from("s+ cr&t"))] {
        let app = client_secret.map_or_else(App::default, |secret| {
            App::confidential(Credential::Secret(secret))
        });
        let options = Options {
            apps: vec![app],
            ..Options::default()
        };
        let (session, _emulator) = Session::at_emulator(options);
        for resource in RESOURCES {
            access_token(&session.ask(resource).await);
        }
    }
}

#[tokio::test]
async fn twenty_calls_in_a_row_outlive_refresh_tokens_that_work_once() {
    let options = Options {
        revoke_used_refresh_tokens: true,
        ..Options::default()
    };
    let (session, _emulator) = Session::at_emulator(options);
    let mut tokens = BTreeSet::new();
    for _ in 0..20 {
        tokens.insert(access_token(&session.ask(STORAGE).await));
    }
    assert_eq!(tokens.len(), 20, "an answer was kept");
}

#[tokio::test]
async fn twenty_calls_at_once_outlive_refresh_tokens_that_work_once() {
    let options = Options {
        revoke_used_refresh_tokens: true,
        ..Options::default()
    };
    let (session, _emulator) = Session::at_emulator(options);
    // Eight with and eight without a slash, and four that join others.
    let resources: Vec<String> = (0..20)
        .map(|n| {
            format!(
                "{}{}",
                RESOURCES[n % 8],
                if (8..16).contains(&n) { "/" } else { "" }
            )
        })
        .collect();
    let replies = join_all(resources.iter().map(|resource| session.ask(resource))).await;
    let tokens: BTreeSet<String> = replies.iter().map(access_token).collect();
    assert_eq!(tokens.len(), 16);
}

#[tokio::test]
async fn fifty_equal_calls_at_once_make_one_request() {
    let (endpoint, gate) = gated().await;
    let session = Session::at(&endpoint, LONG);
    let calls = join_all((0..50).map(|_| session.ask(STORAGE)));
    let (replies, ()) = tokio::join!(calls, async {
        endpoint.has_seen(1).await;
        gate.add_permits(50);
    });
    assert_eq!(endpoint.requests(), 1);
    assert!(
        replies
            .iter()
            .all(|body| access_token(body) == "canary-access-0")
    );
    access_token(&session.ask(STORAGE).await);
    assert_eq!(endpoint.requests(), 2, "the next call is a new exchange");
}

#[tokio::test]
async fn a_persons_exchanges_run_one_after_another_with_the_newest_refresh_token() {
    let busy = Arc::new(AtomicUsize::new(0));
    let endpoint = Endpoint::start(move |number| {
        let busy = Arc::clone(&busy);
        async move {
            assert_eq!(
                busy.fetch_add(1, Ordering::SeqCst),
                0,
                "two exchanges at once"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
            busy.fetch_sub(1, Ordering::SeqCst);
            grant(number)
        }
    })
    .await;
    let session = Session::at(&endpoint, LONG);
    for body in join_all(RESOURCES.iter().map(|resource| session.ask(resource))).await {
        access_token(&body);
    }
    let forms = endpoint.forms.lock().unwrap().clone();
    for (number, form) in forms.iter().enumerate() {
        assert!(
            form.contains(&format!("refresh_token=canary-refresh-{number}&")),
            "{form}"
        );
    }
}

#[tokio::test]
async fn two_hundred_callers_at_once_all_get_their_answer() {
    let (session, _emulator) = Session::at_emulator(Options::default());
    let callers = (0..200).map(|number| {
        let resource = [
            "https://storage.azure.com",
            "https://vault.azure.net/",
            "https://nope",
        ][number % 3];
        let session = &session;
        async move { (number % 3, session.ask(resource).await) }
    });
    for (kind, body) in join_all(callers).await {
        match kind {
            2 => assert_eq!(body["oauth2_error"]["error_codes"], json!([500011])),
            _ => assert!(!access_token(&body).is_empty()),
        }
    }
}

#[tokio::test]
async fn after_a_new_sign_in_nobody_joins_an_exchange_with_the_old_refresh_token() {
    let (endpoint, gate) = gated().await;
    let session = Session::at(&endpoint, LONG);
    let opened = async {
        endpoint.has_seen(1).await;
        signed_in(&session.exchanges, ADA, "canary-refresh-anew".into());
        let second = session.ask(STORAGE);
        let open = async {
            endpoint.has_seen(2).await;
            gate.add_permits(2);
        };
        join(second, open).await.0
    };
    let (first, second) = join(session.ask(STORAGE), opened).await;
    assert_ne!(access_token(&first), access_token(&second));
    assert!(endpoint.forms.lock().unwrap()[1].contains("refresh_token=canary-refresh-anew"));
}

/// As when another broker on the same accounts has brought it.
#[tokio::test]
async fn a_refresh_token_that_was_replaced_meanwhile_does_not_end_the_sign_in() {
    let gate = Arc::new(Semaphore::new(0));
    let watched = Arc::clone(&gate);
    let endpoint = Endpoint::start(move |number| {
        let gate = Arc::clone(&watched);
        async move {
            if number > 0 {
                return grant(number);
            }
            gate.acquire().await.unwrap().forget();
            let revoked = json!({"error": "invalid_grant", "error_codes": [50_173]});
            (axum::http::StatusCode::BAD_REQUEST, axum::Json(revoked)).into_response()
        }
    })
    .await;
    let session = Session::at_entra(&endpoint, LONG);
    let replaced = async {
        endpoint.has_seen(1).await;
        signed_in(&session.exchanges, ADA, "canary-refresh-newer".into());
        gate.add_permits(1);
    };
    let (body, ()) = join(session.ask(STORAGE), replaced).await;
    access_token(&body);
    assert!(endpoint.forms.lock().unwrap()[1].contains("refresh_token=canary-refresh-newer"));
    assert_eq!(endpoint.requests(), 2);
}

#[tokio::test]
async fn who_signs_out_during_an_exchange_gets_no_token_and_does_not_come_back() {
    let (endpoint, gate) = gated().await;
    let session = Session::at(&endpoint, LONG);
    let signed_out = async {
        endpoint.has_seen(1).await;
        assert!(session.exchanges.sign_out(ADA).await.unwrap());
        gate.add_permits(1);
    };
    let (error, ()) = join(session.oauth_error(STORAGE), signed_out).await;
    assert_eq!(error["error"], "login_required");
    assert!(!session.exchanges.sign_out(ADA).await.unwrap());
    assert_eq!(
        session.oauth_error(STORAGE).await["error"],
        "login_required"
    );
    assert_eq!(endpoint.requests(), 1);
}

/// As a tenant, or whoever answers in its place, might mix up two persons.
#[tokio::test]
async fn a_token_of_another_account_is_not_handed_out_and_its_refresh_token_not_kept() {
    let endpoint = Endpoint::start(|number| async move {
        let oid = if number == 0 { BOB.oid } else { ADA.oid };
        let claims = json!({"tid": ADA.tid.to_string(), "oid": oid.to_string()});
        let id_token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        axum::Json(json!({
            "token_type": "Bearer", "expires_in": 3599, "access_token": format!("canary-access-{number}"),
            "refresh_token": format!("canary-refresh-of-reply-{number}"), "id_token": id_token
        }))
        .into_response()
    })
    .await;
    let session = Session::at(&endpoint, LONG);
    let error = session.oauth_error(STORAGE).await;
    assert_eq!(error["error"], "server_error");
    let description = error["error_description"].as_str().unwrap();
    assert!(description.contains("another account"), "{description}");
    assert_eq!(access_token(&session.ask(STORAGE).await), "canary-access-1");
    session.ask(STORAGE).await;
    let forms = endpoint.forms.lock().unwrap();
    assert_eq!(forms.len(), 3);
    assert!(!forms[1].contains("of-reply"), "{}", forms[1]);
    assert!(forms[2].contains("refresh_token=canary-refresh-of-reply-1"));
}

#[tokio::test]
async fn persons_do_not_wait_for_each_other() {
    let (endpoint, gate) = gated().await;
    let session = Session::at(&endpoint, LONG);
    signed_in(&session.exchanges, BOB, "canary-refresh-bob".into());
    let resource = entrar_core::resource::Resource::parse(STORAGE).unwrap();
    let bobs = session.exchanges.token(BOB, resource);
    let (one, other, ()) = tokio::join!(session.ask(STORAGE), bobs, async {
        endpoint.has_seen(2).await;
        gate.add_permits(2);
    });
    access_token(&one);
    other.unwrap();
}

#[tokio::test]
async fn who_joins_late_sees_a_shorter_lifetime() {
    let (endpoint, gate) = gated().await;
    let session = Session::at(&endpoint, LONG);
    let late = async {
        endpoint.has_seen(1).await;
        let mut late = pin!(session.ask(STORAGE));
        // As far as it gets before the reply: it has joined.
        assert!(poll_immediate(late.as_mut()).await.is_none());
        gate.add_permits(1);
        late.await
    };
    let (first, late) = join(session.ask(STORAGE), late).await;
    assert_eq!(endpoint.requests(), 1);
    let lifetimes = |body: &Value| {
        let token = &body["token"];
        (
            token["expires_in"].as_i64(),
            token["ext_expires_in"].as_i64(),
        )
    };
    assert_eq!(lifetimes(&first), (Some(3599), Some(3599)));
    // By a second, and by more where the machine is slow; the exchange's own tests have the exact figures.
    let (late, extended) = lifetimes(&late);
    let deadline = i64::try_from(LONG.as_secs()).unwrap();
    assert!((3599 - deadline..3599).contains(&late.unwrap()), "{late:?}");
    assert_eq!(late, extended);
}

#[tokio::test]
async fn a_caller_who_goes_away_loses_no_refresh_token() {
    let (endpoint, gate) = gated().await;
    let session = Session::at(&endpoint, LONG);
    let hasty = timeout(Duration::from_millis(50), session.ask(STORAGE)).await;
    assert!(hasty.is_err());
    endpoint.has_seen(1).await;
    gate.add_permits(2);
    session.exchanges.finish().await;
    access_token(&session.ask(STORAGE).await);
    let forms = endpoint.forms.lock().unwrap().clone();
    assert!(
        forms[1].contains("refresh_token=canary-refresh-1&"),
        "{}",
        forms[1]
    );
}

#[tokio::test]
async fn a_revoked_person_has_to_sign_in_and_may() {
    let (session, emulator) = Session::at_emulator(Options::default());
    let user = User::default();
    emulator.tenant().revoke(&user);
    assert_eq!(session.oauth_error(STORAGE).await["error"], "invalid_grant");
    signed_in(
        &session.exchanges,
        ADA,
        emulator.tenant().sign_in(&user).unwrap(),
    );
    access_token(&session.ask(STORAGE).await);
}

const VAULT: &str = "https://vault.azure.net";

#[tokio::test]
async fn at_entra_one_slow_resource_holds_up_no_other() {
    let (endpoint, gate) = gated().await;
    let session = Session::at_entra(&endpoint, LONG);
    let open = async {
        // Neither has had an answer.
        endpoint.has_seen(2).await;
        gate.add_permits(2);
    };
    let (one, other, ()) = tokio::join!(session.ask(STORAGE), session.ask(VAULT), open);
    assert_ne!(access_token(&one), access_token(&other));
    for form in endpoint.forms.lock().unwrap().iter() {
        assert!(form.contains("refresh_token=canary-refresh-0&"), "{form}");
    }
    gate.add_permits(1);
    access_token(&session.ask(STORAGE).await);
    let third = endpoint.forms.lock().unwrap()[2].clone();
    assert!(
        !third.contains("refresh_token=canary-refresh-0&"),
        "{third}"
    );
}

#[tokio::test]
async fn of_two_new_refresh_tokens_the_one_that_came_first_is_kept() {
    let gates = [Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0))];
    let watched = gates.clone();
    let endpoint = Endpoint::start(move |number| {
        let gate = watched.get(number).cloned();
        async move {
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            grant(number)
        }
    })
    .await;
    let session = Session::at_entra(&endpoint, LONG);
    let first = session.ask(STORAGE);
    let second = async {
        endpoint.has_seen(1).await;
        session.ask(VAULT).await
    };
    let open = async {
        endpoint.has_seen(2).await;
        gates[1].add_permits(1);
    };
    // The second request is answered first; then the first one.
    let (_, ()) = tokio::join!(
        async {
            tokio::join!(first, async {
                second.await;
                gates[0].add_permits(1);
            })
        },
        open
    );
    access_token(&session.ask(STORAGE).await);
    let third = endpoint.forms.lock().unwrap()[2].clone();
    assert!(third.contains("refresh_token=canary-refresh-2&"), "{third}");
}

#[tokio::test]
async fn who_has_waited_for_a_turn_gets_no_more_than_the_time_that_is_left() {
    const DEADLINE: Duration = Duration::from_secs(4);
    let endpoint = Endpoint::start(|number| async move {
        if number > 0 {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(DEADLINE * 3 / 4).await;
        grant(number)
    })
    .await;
    let session = Session::at(&endpoint, DEADLINE);
    let begun = std::time::Instant::now();
    let second = async {
        endpoint.has_seen(1).await;
        session.oauth_error(VAULT).await
    };
    let (first, second) = join(session.ask(STORAGE), second).await;
    access_token(&first);
    assert_eq!(second["error"], "temporarily_unavailable");
    session.exchanges.finish().await;
    // With a deadline of its own the second exchange would go on for three seconds more.
    assert!(begun.elapsed() < DEADLINE * 3 / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn after_an_outage_the_queue_goes_on() {
    let endpoint = Endpoint::start(|number| async move {
        if number < 2 {
            std::future::pending::<()>().await;
        }
        grant(number)
    })
    .await;
    let session = Session::at(&endpoint, Duration::from_secs(2));
    for _ in 0..2 {
        let error = session.oauth_error(STORAGE).await;
        assert_eq!(error["error"], "temporarily_unavailable");
        session.exchanges.finish().await;
    }
    access_token(&session.ask(STORAGE).await);
}

#[test]
fn a_runtime_that_is_closing_hangs_nobody() {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
        };
        let closing = runtime().unwrap();
        let endpoint = closing.block_on(Endpoint::start(|_| std::future::pending()));
        let session = Session::at_entra(&endpoint, LONG);
        let exchanges = session.exchanges;
        let handle = closing.handle().clone();
        drop(closing);
        let _entered = handle.enter();
        let resource = entrar_core::resource::Resource::parse(STORAGE).unwrap();
        let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            futures_util::FutureExt::now_or_never(exchanges.token(ADA, resource)).is_none()
        }));
        // tokio itself may have panicked, since it is closed.
        drop(asked);
        sender.send(()).unwrap();
    });
    let ended = receiver.recv_timeout(Duration::from_secs(60));
    assert!(ended.is_ok(), "the map's lock is held for ever");
}

#[tokio::test]
async fn what_was_refused_is_not_asked_again_at_once() {
    for (code, others_are_asked) in [(65_001, true), (700_082, false)] {
        let endpoint = Endpoint::start(move |_| async move {
            let body = json!({"error": "invalid_grant", "error_codes": [code]});
            axum::Json(body).into_response()
        })
        .await;
        let session = Session::at_entra(&endpoint, LONG);
        for _ in 0..3 {
            let error = session.oauth_error(STORAGE).await;
            assert_eq!(error["error_codes"], json!([code]));
        }
        assert_eq!(endpoint.requests(), 1);
        session.oauth_error(VAULT).await;
        assert_eq!(endpoint.requests(), if others_are_asked { 2 } else { 1 });
        signed_in(&session.exchanges, ADA, "canary-refresh-anew".into());
        session.oauth_error(STORAGE).await;
        assert_eq!(endpoint.requests(), if others_are_asked { 3 } else { 2 });
    }
}

#[tokio::test]
async fn how_many_exchanges_wait_can_be_asked_and_each_that_is_over_is_told() {
    let (endpoint, gate) = gated().await;
    let told: Arc<Mutex<Vec<(String, &str)>>> = Arc::default();
    let list = Arc::clone(&told);
    let exchanges = Exchanges::watched(
        endpoint.entra(true),
        InMemory::default(),
        move |over: &Over<'_>| {
            let resource = over.resource.as_str().to_owned();
            list.lock().unwrap().push((resource, over.result));
        },
    );
    signed_in(&exchanges, ADA, "canary-refresh-0".into());
    let none = Load {
        under_way: 0,
        waiting: 0,
    };
    assert_eq!(exchanges.load(), none);
    let session = session_of(exchanges.clone(), ADA, LATER);
    let watching = async {
        let two = Load {
            under_way: 2,
            waiting: 1,
        };
        while exchanges.load() != two {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        gate.add_permits(2);
    };
    let asked = join(session.ask(STORAGE), session.ask(VAULT));
    let both = join(asked, timeout(LONG, watching)).await;
    both.1.unwrap();
    assert_eq!(exchanges.load(), none);
    let mut told = told.lock().unwrap().clone();
    told.sort();
    let ok = |resource: &str| (resource.to_owned(), "ok");
    assert_eq!(told, [ok(STORAGE), ok(VAULT)]);
}

#[tokio::test]
async fn an_app_that_proves_itself_anew_is_asked_at_once_and_what_is_under_way_ends_as_it_began() {
    let (before, gate) = gated().await;
    let after = Endpoint::start(|number| async move { grant(number + 100) }).await;
    let session = Session::at_entra(&before, LONG);
    let renewed = async {
        before.has_seen(1).await;
        session.exchanges.ask(after.entra(false));
        let token = access_token(&session.ask(VAULT).await);
        assert_eq!(token, "canary-access-100");
        gate.add_permits(1);
    };
    let (slow, renewed) = join(session.ask(STORAGE), timeout(LONG, renewed)).await;
    renewed.unwrap();
    assert_eq!(access_token(&slow), "canary-access-0");
    assert_eq!((before.requests(), after.requests()), (1, 1));

    let refusing = Endpoint::start(|_| async {
        axum::Json(json!({"error": "invalid_client", "error_codes": [7_000_222]})).into_response()
    })
    .await;
    let session = Session::at_entra(&refusing, LONG);
    for _ in 0..2 {
        let error = session.oauth_error(STORAGE).await;
        assert_eq!(error["error_codes"], json!([7_000_222]));
    }
    assert_eq!(refusing.requests(), 1);
    session.exchanges.ask(after.entra(false));
    access_token(&session.ask(STORAGE).await);
}
