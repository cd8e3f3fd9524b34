//! Tenants that answer as none should, and the last moment in which one may.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use entrar_broker::entra::ClientAuth;
use entrar_broker::sign_in::{LIFETIME, Method, Options, SignIn, Status, Wishes};
use entrar_core::authority::Authority;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::guid::Guid;
use serde_json::json;

use super::{failure, start};
use crate::NOW;

const CONFIGURATION: &str = "/t/v2.0/.well-known/openid-configuration";

async fn begin(authority: &str, method: Method) -> Result<SignIn, Error> {
    let options = Options {
        authority: Authority::given(authority).unwrap(),
        tenant: "t".to_owned(),
        client_id: Guid::from_bits(1),
        auth: ClientAuth::Public,
        method,
        wishes: Wishes::default(),
    };
    SignIn::begin(&Env::fixed(&[], NOW), options).await
}

/// Why no sign-in begins where a tenant describes itself so.
async fn refusal(answer: fn() -> Response) -> Error {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().route(CONFIGURATION, get(move || async move { answer() }));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    begin(&authority, Method::Browser).await.unwrap_err()
}

#[tokio::test]
async fn a_tenant_that_sends_elsewhere_or_says_nothing_of_use_is_not_believed() {
    for (answer, kind, words) in [
        (
            (|| {
                (
                    StatusCode::FOUND,
                    [(LOCATION, "https://evil.example/canary")],
                )
                    .into_response()
            }) as fn() -> Response,
            Kind::BadReply,
            "is a redirect to https://evil.example, and none is followed",
        ),
        (
            || "x".repeat((1 << 20) + 1).into_response(),
            Kind::BadReply,
            "is larger than 1 MiB",
        ),
        (
            || "<html>canary".into_response(),
            Kind::Misconfigured,
            "knows no such tenant, or is not Entra ID",
        ),
        (
            || {
                let at = "https://evil.example/canary";
                let document = json!({
                    "issuer": at, "authorization_endpoint": at, "token_endpoint": at
                });
                Json(document).into_response()
            },
            Kind::Misconfigured,
            "its authorization_endpoint is on another host",
        ),
    ] {
        let error = refusal(answer).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(words), "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}

/// Who answered in time is not sent away because the tenant took its own.
#[tokio::test]
async fn an_answer_of_the_last_second_is_redeemed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("http://{}", listener.local_addr().unwrap());
    let at = |path: &str| format!("{authority}/t/{path}");
    let document = json!({
        "issuer": at("v2.0"), "authorization_endpoint": at("authorize"), "token_endpoint": at("token")
    });
    let token = || async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let used = json!({"error": "invalid_grant", "error_codes": [54_005]});
        (StatusCode::BAD_REQUEST, Json(used))
    };
    let routes = Router::new()
        .route(CONFIGURATION, get(|| async { Json(document) }))
        .route("/t/token", post(token));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let sign_in = begin(&authority, Method::Paste).await.unwrap();
    let address = start(&sign_in);
    let state = address.query_pairs().find(|(name, _)| name == "state");
    let answer = format!("code=canary&state={}", state.unwrap().1);
    tokio::time::pause();
    let still = sign_in.wait(LIFETIME - Duration::from_secs(1)).await;
    assert!(matches!(still, Status::Waiting), "{still:?}");
    let status = sign_in.answer(&answer).await.unwrap();
    assert!(matches!(status, Status::Failed(_)), "{status:?}");
    tokio::time::resume();
    let error = failure(&sign_in).await;
    assert_eq!(error.kind(), Kind::ServerError, "{error}");
    assert_eq!(error.details().aadsts, [54_005]);
}
