//! In a browser on this machine.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::StatusCode;
use entra_emulator::{Options as Tenants, User};
use entrar_broker::accounts::InMemory;
use entrar_broker::exchange::Exchanges;
use entrar_broker::sign_in::{Method, Options, SignIn, Status, Wishes};
use entrar_core::env::Env;
use entrar_core::error::Kind;
use entrar_core::resource::Resource;
use reqwest::header::SET_COOKIE;
use url::Url;

use super::{Browser, auto, begin, callback, failure, options, start, tenant, username};
use crate::{LONG, STORAGE};

#[tokio::test]
async fn a_browser_signs_a_person_in_and_ends_at_a_clean_address() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    assert!(start.as_str().starts_with("http://localhost:"), "{start}");
    let mut browser = Browser::new();
    let page = browser.open(&start, "").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!((page.url.path(), page.url.query()), ("/done", None));
    assert!(page.text.contains("ada@example.com"), "{}", page.text);
    page.is_closed();
    assert_eq!(username(&sign_in).await, "ada@example.com");
    let signed_in = sign_in.take().unwrap();
    assert_eq!(
        signed_in.identity.account.tid.to_string(),
        emulator.tenant().id()
    );
    assert_eq!(
        signed_in.identity.account.oid.to_string(),
        User::default().object_id
    );
    assert!(sign_in.take().is_none());
    // What it yields is exchanged for tokens.
    let exchanges = Exchanges::new(signed_in.entra, InMemory::default());
    let account = signed_in.identity.account;
    exchanges
        .sign_in(account, signed_in.refresh_token)
        .await
        .unwrap();
    let resource = Resource::parse(STORAGE).unwrap();
    exchanges.token(account, resource).await.unwrap();
}

#[tokio::test]
async fn an_answer_without_the_cookie_or_with_another_state_ends_nothing() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    let mut browser = Browser::new();
    let answer = browser.open(&start, &callback(&start)).await.url;
    // Somebody who has seen the whole answer but is not the browser that began.
    let stranger = Browser::new().get(&answer).await;
    assert_eq!(stranger.status, StatusCode::BAD_REQUEST);
    stranger.is_closed();
    // Where the answer does not stay in the address line.
    assert_eq!(stranger.headers["refresh"], "0; url=/other");
    let other = format!("{}other", callback(&start).trim_end_matches('?'));
    let other = Browser::new().get(&Url::parse(&other).unwrap()).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
    assert!(!other.headers.contains_key("refresh"));
    for wrong in [
        answer.as_str().replace("state=", "state=x"),
        answer.as_str().replace("state=", "no="),
        format!(
            "{}code=canary&state=%3Cscript%3Ealert(1)%3C/script%3E",
            callback(&start)
        ),
        format!("{answer}&code=another"),
    ] {
        let page = browser.get(&Url::parse(&wrong).unwrap()).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{wrong}");
        assert!(!page.text.contains("<script>") && !page.text.contains("canary"));
    }
    assert!(matches!(sign_in.status(), Status::Waiting));
    browser.open(&answer, "").await;
    assert_eq!(username(&sign_in).await, "ada@example.com");
    let again = browser.get(&answer).await;
    assert_eq!(again.status, StatusCode::GONE);
}

#[tokio::test]
async fn the_start_address_serves_once() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    let mut wrong = start.clone();
    wrong.set_path("/start/canary");
    let mut browser = Browser::new();
    assert_eq!(browser.get(&wrong).await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get(&start).await.status, StatusCode::FOUND);
    let second = Browser::new().get(&start).await;
    assert_eq!(second.status, StatusCode::GONE);
    assert!(!second.headers.contains_key(SET_COOKIE));
}

#[tokio::test]
async fn what_entra_says_at_the_end_is_shown_without_markup_and_told() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    let mut browser = Browser::new();
    let answer = browser.open(&start, &callback(&start)).await.url;
    let state = answer
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap();
    let mut denied = Url::parse(&callback(&start)).unwrap();
    denied
        .query_pairs_mut()
        .append_pair("error", "access_denied")
        .append_pair("error_uri", "https://evil.example")
        .append_pair(
            "error_description",
            "<img src=x onerror=alert(1)>\u{202e}\u{7}",
        )
        .append_pair("state", &state.1);
    let page = browser.open(&denied, "").await;
    assert_eq!(page.url.path(), "/done");
    assert!(
        page.text.contains("&lt;img src=x onerror=alert(1)&gt;"),
        "{}",
        page.text
    );
    assert!(!page.text.contains(['\u{7}', '\u{202e}']));
    for hostile in ["<img", "evil.example"] {
        assert!(!page.text.contains(hostile), "{}", page.text);
    }
    page.is_closed();
    let error = failure(&sign_in).await;
    assert_eq!(error.kind(), Kind::AccessDenied);
}

#[tokio::test]
async fn a_sign_in_that_is_cancelled_has_ended_and_its_port_is_closed() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    sign_in.cancel();
    assert_eq!(failure(&sign_in).await.kind(), Kind::SignInRequired);
    is_closed(&start).await;
}

/// What keeps the page from being lost: whoever waits for the sign-in may be done with it before the browser is.
#[tokio::test]
async fn the_last_page_is_shown_though_the_sign_in_is_dropped_and_then_the_port_is_closed() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    let mut browser = Browser::new();
    let answer = browser.open(&start, &callback(&start)).await.url;
    let sent_on = browser.get(&answer).await;
    assert_eq!(sent_on.status, StatusCode::SEE_OTHER);
    username(&sign_in).await;
    sign_in.cancel();
    assert!(sign_in.take().is_some());
    drop(sign_in);
    let done = answer.join(sent_on.location()).unwrap();
    let page = browser.get(&done).await;
    assert!(page.text.contains("ada@example.com"), "{}", page.text);
    is_closed(&start).await;
}

/// The last page is of this sign-in: whoever has not its cookie does not read who signed in.
#[tokio::test]
async fn who_signed_in_is_shown_to_their_own_browser_only() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    let mut browser = Browser::new();
    let answer = browser.open(&start, &callback(&start)).await.url;
    let done = answer.join("/done").unwrap();
    assert_eq!(browser.get(&done).await.status, StatusCode::NOT_FOUND);
    browser.get(&answer).await;
    let stranger = Browser::new().get(&done).await;
    assert_eq!(stranger.status, StatusCode::BAD_REQUEST);
    assert!(!stranger.text.contains("ada@example.com"));
    assert_eq!(browser.get(&done).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_person_who_declines_is_told_so_on_the_page_and_in_r() {
    let emulator = tenant(Tenants::default());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    let mut browser = Browser::new();
    let entra = browser.open(&start, "").await;
    let page = browser.submit(&entra, &[("answer", "deny")]).await;
    assert_eq!((page.url.path(), page.url.query()), ("/done", None));
    assert!(page.text.contains("You are not signed in"), "{}", page.text);
    let error = failure(&sign_in).await;
    assert_eq!(error.kind(), Kind::ConsentRequired);
    assert_eq!(error.details().aadsts, [65_004]);
    assert!(error.details().remedy.is_some());
}

#[tokio::test]
async fn the_tenant_is_told_what_the_person_is_to_be_asked() {
    let emulator = tenant(auto());
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let wishes = Wishes {
        login_hint: Some("ada@example.com".to_owned()),
        select_account: true,
        claims: Some(claims.to_owned()),
    };
    let options = Options {
        wishes,
        ..options(&emulator, Method::Browser)
    };
    let sign_in = SignIn::begin(&Env::process(), options).await.unwrap();
    let start = start(&sign_in);
    let page = Browser::new().get(&start).await;
    let entra = Url::parse(page.location()).unwrap();
    let asked: HashMap<_, _> = entra.query_pairs().into_owned().collect();
    let redirect = format!("http://localhost:{}", start.port().unwrap());
    for (name, value) in [
        ("response_type", "code"),
        ("response_mode", "query"),
        ("code_challenge_method", "S256"),
        (
            "scope",
            "openid profile offline_access https://graph.microsoft.com/.default",
        ),
        ("redirect_uri", redirect.as_str()),
        ("login_hint", "ada@example.com"),
        ("prompt", "select_account"),
        ("claims", claims),
    ] {
        assert_eq!(asked[name], value, "{name}");
    }
    // 256 bits in base64url.
    for name in ["state", "nonce", "code_challenge"] {
        assert_eq!(asked[name].len(), 43, "{name}");
    }
}

/// What a policy of the organisation says is no mistake of the person's.
#[tokio::test]
async fn a_policy_that_forbids_it_is_told_from_a_person_who_says_no() {
    let emulator = tenant(Tenants::default());
    let sign_in = begin(&emulator, Method::Browser).await;
    let mut browser = Browser::new();
    let entra = browser.open(&start(&sign_in), "").await;
    let answer = [("answer", "fail"), ("error", "53003")];
    browser.submit(&entra, &answer).await;
    let error = failure(&sign_in).await;
    assert_eq!(error.kind(), Kind::AccessDenied);
    let remedy = error.details().remedy.clone().unwrap_or_default();
    assert!(!remedy.contains("mistake"), "{remedy}");
}

#[tokio::test]
async fn nobody_waits_for_more_than_fifteen_minutes() {
    let emulator = tenant(auto());
    for method in [Method::Browser, Method::Paste] {
        let sign_in = begin(&emulator, method).await;
        tokio::time::pause();
        let still = sign_in.wait(Duration::from_secs(14 * 60)).await;
        assert!(matches!(still, Status::Waiting), "{method:?}");
        let error = match sign_in.wait(Duration::from_secs(2 * 60)).await {
            Status::Failed(error) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(error.kind(), Kind::Timeout, "{method:?}");
        tokio::time::resume();
        if method == Method::Browser {
            is_closed(&start(&sign_in)).await;
        }
    }
}

/// Waits until nobody listens at the start address any more.
async fn is_closed(start: &Url) {
    let port = start.port().unwrap();
    let closed = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, closed).await.unwrap();
}
