//! What a tenant says of itself and of who signed in, and what is wrong with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use entra_emulator::{App, Clock, Fault, FaultKind, Membership, Options as Tenants, Step, User};
use entrar_broker::entra::ClientAuth;
use entrar_broker::sign_in::{Method, Options, SignIn, Status, Wishes};
use entrar_core::authority::Authority;
use entrar_core::env::Env;
use entrar_core::error::Kind;
use entrar_core::guid::Guid;

use super::{Browser, auto, begin, failure, options, start, tenant, username};
use crate::LONG;

#[tokio::test]
async fn what_is_wrong_with_an_answer_is_a_failure_of_its_kind() {
    for (fault, kind, words) in [
        (FaultKind::WrongNonce, Kind::BadReply, "another sign-in"),
        (FaultKind::WrongAudience, Kind::BadReply, "another app"),
        (FaultKind::WrongIssuer, Kind::BadReply, "another issuer"),
        (FaultKind::ExpiredIdToken, Kind::BadReply, "clock"),
        (FaultKind::NoIdToken, Kind::BadReply, "no id_token"),
        (FaultKind::ConsentRequired, Kind::ConsentRequired, ""),
        (FaultKind::MfaRequired, Kind::SignInRequired, ""),
    ] {
        let faults = vec![Fault::new(fault, None).at(Step::Code)];
        let emulator = tenant(Tenants { faults, ..auto() });
        let sign_in = begin(&emulator, Method::Browser).await;
        let page = Browser::new().open(&start(&sign_in), "").await;
        assert!(page.text.contains("You are not signed in"), "{}", page.text);
        let error = failure(&sign_in).await;
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
        assert!(error.message().contains(words), "{error}");
        assert!(error.details().remedy.is_some(), "{error}");
        assert!(sign_in.take().is_none());
    }
}

#[tokio::test]
async fn a_tenant_an_app_and_a_redirect_that_are_not_known_are_told_apart() {
    let emulator = tenant(auto());
    let nowhere = Options {
        tenant: "99999999-0000-0000-0000-000000000000".to_owned(),
        ..options(&emulator, Method::Browser)
    };
    let error = SignIn::begin(&Env::process(), nowhere).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Misconfigured, "{error}");
    let emulator = tenant(Tenants {
        apps: vec![App {
            redirect_uris: vec!["https://elsewhere.example/".to_owned()],
            ..App::default()
        }],
        ..auto()
    });
    // Entra ID sends nobody to an address that it does not know: its own page says so, and the sign-in waits.
    let sign_in = begin(&emulator, Method::Browser).await;
    let page = Browser::new().open(&start(&sign_in), "").await;
    assert!(page.text.contains("AADSTS50011"), "{}", page.text);
    assert!(matches!(sign_in.status(), Status::Waiting));
}

#[tokio::test]
async fn through_organizations_the_issuer_is_that_of_the_tenant_of_who_signs_in() {
    let emulator = tenant(auto());
    let options = Options {
        tenant: "organizations".to_owned(),
        ..options(&emulator, Method::Browser)
    };
    let sign_in = SignIn::begin(&Env::process(), options).await.unwrap();
    Browser::new().open(&start(&sign_in), "").await;
    assert_eq!(username(&sign_in).await, "ada@example.com");
}

#[tokio::test]
async fn an_account_of_another_tenant_is_told_so() {
    let elsewhere = "99999999-2222-3333-4444-555555555555";
    let mut eve = User::new("Eve Elsewhere", "eve@elsewhere.example");
    eve.membership = Membership::Other(elsewhere.to_owned());
    let emulator = tenant(Tenants {
        users: vec![eve],
        ..auto()
    });
    let sign_in = begin(&emulator, Method::Browser).await;
    Browser::new().open(&start(&sign_in), "").await;
    let error = failure(&sign_in).await;
    assert_eq!(error.kind(), Kind::AccessDenied);
    assert_eq!(error.details().aadsts, [50_020]);
    let remedy = error.details().remedy.as_deref().unwrap();
    assert!(remedy.contains("an account of this tenant"), "{remedy}");
    // Where any tenant will do, it is the account's own.
    let options = Options {
        tenant: "organizations".to_owned(),
        ..options(&emulator, Method::Browser)
    };
    let sign_in = SignIn::begin(&Env::process(), options).await.unwrap();
    Browser::new().open(&start(&sign_in), "").await;
    match sign_in.wait(LONG).await {
        Status::SignedIn(identity) => assert_eq!(identity.account.tid.to_string(), elsewhere),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_named_as_such() {
    let ahead = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_secs()).unwrap() + 10_810
    };
    let emulator = tenant(Tenants {
        clock: Clock::new(ahead),
        ..auto()
    });
    let sign_in = begin(&emulator, Method::Browser).await;
    let page = Browser::new().open(&start(&sign_in), "").await;
    let words = "the clock of this machine is about 3 hours behind that of Entra ID";
    assert!(page.text.contains(words), "{}", page.text);
    assert!(failure(&sign_in).await.message().contains(words));
}

/// A person has Ctrl-C, and an agent other things to do.
#[tokio::test(start_paused = true)]
async fn a_tenant_that_never_answers_is_not_waited_for() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("http://{}", silent.local_addr().unwrap());
    let options = Options {
        authority: Authority::given(&authority).unwrap(),
        tenant: "t".to_owned(),
        client_id: Guid::from_bits(1),
        auth: ClientAuth::Public,
        method: Method::Browser,
        wishes: Wishes::default(),
    };
    let began = tokio::time::Instant::now();
    let error = SignIn::begin(&Env::fixed(&[], 0.0), options)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert_eq!(began.elapsed().as_secs(), Duration::from_secs(20).as_secs());
    assert!(
        error.message().contains("gave no answer within 20 seconds"),
        "{error}"
    );
}
