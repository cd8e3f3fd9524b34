//! With a code that the person types on a page of the tenant.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use entra_emulator::Options as Tenants;
use entrar_broker::entra::ClientAuth;
use entrar_broker::sign_in::{Invitation, Method, Options, SignIn, Status, Wishes};
use entrar_core::authority::Authority;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::guid::Guid;
use serde_json::json;
use tokio::time::Instant;
use url::Url;

use super::{Browser, begin, failure, tenant, username};
use crate::NOW;

#[tokio::test]
async fn a_device_code_signs_a_person_in() {
    let emulator = tenant(Tenants {
        device_code_interval: 1,
        ..Tenants::default()
    });
    let sign_in = begin(&emulator, Method::DeviceCode).await;
    let Invitation::DeviceCode { address, user_code } = sign_in.invitation() else {
        panic!()
    };
    assert!(address.as_str().starts_with(emulator.url()), "{address}");
    assert!(!user_code.is_empty());
    type_code(address, user_code, "sign_in").await;
    assert_eq!(username(&sign_in).await, "ada@example.com");
    assert!(sign_in.take().is_some());
}

#[tokio::test]
async fn a_device_code_that_is_declined_signs_nobody_in() {
    let emulator = tenant(Tenants {
        device_code_interval: 1,
        ..Tenants::default()
    });
    let sign_in = begin(&emulator, Method::DeviceCode).await;
    let Invitation::DeviceCode { address, user_code } = sign_in.invitation() else {
        panic!()
    };
    type_code(address, user_code, "deny").await;
    let error = failure(&sign_in).await;
    assert_eq!(error.kind(), Kind::AccessDenied);
    assert!(error.message().contains("declined"), "{error}");
    assert!(error.details().remedy.is_some(), "{error}");
}

/// What a person types on the page that asks for the code.
async fn type_code(address: &Url, user_code: &str, answer: &str) {
    let form = [
        ("user_code", user_code),
        ("answer", answer),
        ("user", "ada@example.com"),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let request = Browser::new().http.post(address.clone()).body(body);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let reply = request.send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
}

/// A tenant whose token endpoint answers a device code as a test says, and which notes when it was asked.
struct Scripted {
    authority: String,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Scripted {
    /// `answer` gives the error of each request by its number, from 0; `expires_in` is the code's lifetime in seconds.
    async fn start(expires_in: u32, answer: fn(usize) -> Response) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = format!("http://{}", listener.local_addr().unwrap());
        let at = |path: &str| format!("{authority}/t/{path}");
        let document = json!({
            "issuer": at("v2.0"), "authorization_endpoint": at("authorize"), "token_endpoint": at("token"),
            "device_authorization_endpoint": at("devicecode")
        });
        let code = json!({
            "device_code": "canary", "user_code": "ABC", "verification_uri": at("device"),
            "interval": 5, "expires_in": expires_in
        });
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let token = move || {
            let mut noted = noted.lock().unwrap();
            noted.push(Instant::now());
            let reply = answer(noted.len() - 1);
            async move { reply }
        };
        let routes = Router::new()
            .route(
                "/t/v2.0/.well-known/openid-configuration",
                get(|| async { Json(document) }),
            )
            .route("/t/devicecode", post(|| async { Json(code) }))
            .route("/t/token", post(token));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { authority, asked }
    }

    async fn begin(&self) -> SignIn {
        let options = Options {
            authority: Authority::given(&self.authority).unwrap(),
            tenant: "t".to_owned(),
            client_id: Guid::from_bits(1),
            auth: ClientAuth::Public,
            method: Method::DeviceCode,
            wishes: Wishes::default(),
        };
        let env = Env::fixed(&[], NOW);
        SignIn::begin(&env, options).await.unwrap()
    }

    /// The seconds between one request and the next.
    fn waits(&self, began: Instant) -> Vec<u64> {
        let asked = self.asked.lock().unwrap();
        let before = std::iter::once(&began).chain(asked.iter());
        let waits = before.zip(asked.iter()).map(|(before, at)| *at - *before);
        waits
            .map(|wait| wait.as_secs_f64().round() as u64)
            .collect()
    }
}

fn refusal(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response()
}

/// How the sign-in fails, by a clock that runs ahead to whatever is waited for.
async fn failure_on_a_fast_clock(tenant: &Scripted) -> (Error, Vec<u64>) {
    let sign_in = tenant.begin().await;
    tokio::time::pause();
    let began = Instant::now();
    let status = sign_in.wait(Duration::from_secs(3_600)).await;
    tokio::time::resume();
    match status {
        Status::Failed(error) => (error, tenant.waits(began)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_is_asked_at_the_tenants_own_pace_and_slower_if_the_tenant_says_so() {
    let tenant = Scripted::start(900, |number| match number {
        0 | 3 => refusal("authorization_pending"),
        1 => refusal("slow_down"),
        2 => (
            StatusCode::TOO_MANY_REQUESTS,
            [("retry-after", "30")],
            "later",
        )
            .into_response(),
        _ => refusal("expired_token"),
    })
    .await;
    let (error, waits) = failure_on_a_fast_clock(&tenant).await;
    assert_eq!(waits, [5, 5, 10, 30, 10]);
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.message().contains("the code has expired"), "{error}");
}

#[tokio::test]
async fn a_code_that_nobody_types_is_asked_for_until_it_expires() {
    let tenant = Scripted::start(12, |_| refusal("authorization_pending")).await;
    let sign_in = tenant.begin().await;
    assert_eq!(sign_in.expires_at(), NOW + 12.0);
    drop(sign_in);
    let (error, waits) = failure_on_a_fast_clock(&tenant).await;
    assert_eq!(waits, [5, 5, 2]);
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.message().contains("the code has expired"), "{error}");
}

#[tokio::test]
async fn why_a_code_brings_nothing_has_its_kind_and_what_to_do() {
    for (answer, kind, words) in [
        (
            (|_| refusal("authorization_declined")) as fn(usize) -> Response,
            Kind::AccessDenied,
            "sign in again",
        ),
        (
            |_| refusal("access_denied"),
            Kind::AccessDenied,
            "sign in again",
        ),
        (
            |_| blocked(530_036),
            Kind::SignInRequired,
            "sign in with method = \"browser\"",
        ),
        (
            |_| blocked(530_033),
            Kind::SignInRequired,
            "sign in with method = \"browser\"",
        ),
        (|_| blocked(53_003), Kind::AccessDenied, ""),
        (|_| blocked(50_105), Kind::AccessDenied, "assign you"),
    ] {
        let tenant = Scripted::start(900, answer).await;
        let (error, waits) = failure_on_a_fast_clock(&tenant).await;
        assert_eq!(waits.len(), 1, "{error}");
        assert_eq!(error.kind(), kind, "{error}");
        let remedy = error.details().remedy.clone().unwrap_or_default();
        assert!(remedy.contains(words), "{error}: {remedy}");
    }
}

/// As Conditional Access refuses.
fn blocked(code: i32) -> Response {
    let description = format!("AADSTS{code}: it is so.");
    let object = json!({"error": "interaction_required", "error_description": description, "error_codes": [code]});
    (StatusCode::BAD_REQUEST, Json(object)).into_response()
}
