//! In a browser elsewhere, whose last address the person hands in.

use entrar_broker::sign_in::{AZURE_CLI, Method, Options, SignIn, Status};
use entrar_core::env::Env;
use entrar_core::error::Kind;

use super::{Browser, auto, begin, failure, options, start, tenant};

#[tokio::test]
async fn a_pasted_address_is_taken_if_it_is_of_this_sign_in() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Paste).await;
    let other = begin(&emulator, Method::Paste).await;
    let until = "http://localhost/";
    let answer = Browser::new().open(&start(&sign_in), until).await.url;
    let others = Browser::new().open(&start(&other), until).await.url;
    for wrong in [
        others.as_str(),
        "",
        "http://localhost/?code=canary",
        "canary",
    ] {
        let error = sign_in.answer(wrong).await.unwrap_err();
        assert_eq!(error.kind(), Kind::BadReply);
        assert!(!error.to_string().contains("canary"), "{error}");
        assert!(matches!(sign_in.status(), Status::Waiting));
    }
    let status = sign_in.answer(&format!(" {answer}\n")).await.unwrap();
    assert!(matches!(status, Status::SignedIn(_)), "{status:?}");
    assert!(sign_in.take().is_some());
}

#[tokio::test]
async fn nothing_is_pasted_for_another_method_or_azure_clis_app() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let error = sign_in.answer("code=a&state=b").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Misconfigured);
    let options = Options {
        client_id: AZURE_CLI,
        ..options(&emulator, Method::Paste)
    };
    let error = SignIn::begin(&Env::process(), options).await.unwrap_err();
    assert!(error.message().contains("nothing is pasted"), "{error}");
}

#[tokio::test]
async fn a_pasted_denial_ends_the_sign_in_and_a_second_paste_changes_nothing() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Paste).await;
    let address = start(&sign_in);
    let state = address.query_pairs().find(|(name, _)| name == "state");
    let state = state.unwrap().1.into_owned();
    let denied = format!("error=access_denied&error_description=no&state={state}");
    let status = sign_in.answer(&denied).await.unwrap();
    assert!(matches!(status, Status::Failed(_)), "{status:?}");
    assert_eq!(failure(&sign_in).await.kind(), Kind::AccessDenied);
    let again = sign_in.answer(&format!("code=canary&state={state}")).await;
    assert!(matches!(again.unwrap(), Status::Failed(_)));
}
