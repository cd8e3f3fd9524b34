//! No secret shows, not even at the most talkative level of the log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use entrar_broker::entra::{ClientAuth, Registration, token_endpoint_of};
use entrar_core::rpc::COOKIE_HEADER;
use serde_json::json;
use tracing::level_filters::LevelFilter;

use crate::{Endpoint, LONG, STORAGE, Session};

/// A log that can be read back.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Logs whatever this thread does, which is where a test and its runtime run.
fn capture(level: LevelFilter) -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(move || writer.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

/// Grants once, then breaks down, then refuses, always repeating the request and more.
async fn talkative_endpoint() -> Endpoint {
    Endpoint::start(async |number| {
        let body = match number {
            0 => json!({
                "access_token": "canary-access", "refresh_token": "canary-newer",
                "id_token": "canary-id", "expires_in": 60
            }),
            1..=3 => return (StatusCode::INTERNAL_SERVER_ERROR, "canary-newer").into_response(),
            _ => json!({
                "error": "invalid_grant", "error_codes": [50_173],
                "error_description": "AADSTS50173: canary-newer, canary-secret", "correlation_id": "c-1",
                "sent": {"client_secret": "canary-secret", "refresh_token": ["canary-newer"]}
            }),
        };
        axum::Json(body).into_response()
    })
    .await
}

async fn session(endpoint: &Endpoint) -> Session {
    let registration = Registration {
        token_endpoint: token_endpoint_of(&endpoint.authority),
        client_id: "app".to_owned(),
        auth: ClientAuth::Secret("canary-secret".into()),
        revokes_used_refresh_tokens: false,
    };
    Session::new(registration, "canary-refresh".into(), LONG)
}

#[tokio::test]
async fn the_log_shows_no_secret() {
    let (log, _guard) = capture(LevelFilter::TRACE);
    let endpoint = talkative_endpoint().await;
    let session = session(&endpoint).await;
    for number in 0..3 {
        let reply = session.ask(STORAGE).await.to_string();
        let granted = number == 0;
        assert_eq!(reply.contains("canary-access"), granted, "{reply}");
        // What the endpoint quotes of what it was sent does not go on.
        for secret in ["canary-newer", "canary-secret", "canary-refresh"] {
            assert!(!reply.contains(secret), "{reply}");
        }
    }
    let forged = Request::post("/delegated_azure_token")
        .header(COOKIE_HEADER, "canary-cookie|x|y")
        .body(Body::from("canary-body"))
        .unwrap();
    session.send(forged).await;
    let text = log.text();
    assert_eq!(text.matches("outcome=").count(), 3, "{text}");
    assert!(!text.contains("canary"), "{text}");
    assert!(!text.contains(&session.cookie), "{text}");
}

#[tokio::test]
async fn an_exchange_is_one_line_that_says_what_happened() {
    let (log, _guard) = capture(LevelFilter::INFO);
    let endpoint = talkative_endpoint().await;
    let session = session(&endpoint).await;
    tokio::join!(session.ask(STORAGE), session.ask(STORAGE));
    session.ask(STORAGE).await;
    session.ask(STORAGE).await;
    let text = log.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for part in [
        "INFO",
        "account=00000000-0000-0000-0000-000000000000/00000000-0000-0000-0000-000000000001",
        "resource=\"https://storage.azure.com\"",
        "outcome=\"ok\"",
        "milliseconds=",
        "waited=",
        "joined=1",
    ] {
        assert!(lines[0].contains(part), "{part}: {text}");
    }
    for part in [
        "outcome=\"sign_in_required\"",
        "joined=0",
        "correlation_id=\"c-1\"",
    ] {
        assert!(lines[2].contains(part), "{part}: {text}");
    }
}
