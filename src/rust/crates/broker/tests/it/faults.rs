//! A token endpoint that is slow, out of order, or no token endpoint at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Endpoint, LONG, STORAGE, Session, grant};

const SHORT: Duration = Duration::from_millis(200);

/// What the client of a broker learns if the token endpoint always answers like this, and after how many requests.
async fn error_after(answer: fn() -> Response) -> (serde_json::Value, usize) {
    let endpoint = Endpoint::start(move |_| async move { answer() }).await;
    let error = Session::at(&endpoint, LONG).oauth_error(STORAGE).await;
    (error, endpoint.requests())
}

#[tokio::test]
async fn a_slow_endpoint_is_given_up_at_the_deadline() {
    let endpoint = Endpoint::start(|_| std::future::pending()).await;
    let session = Session::at(&endpoint, SHORT);
    let begun = Instant::now();
    let error = session.oauth_error(STORAGE).await;
    assert!((SHORT..LONG).contains(&begun.elapsed()));
    assert_eq!(error["error"], "temporarily_unavailable");
    let description = format!(
        "{}/oauth2/v2.0/token gave no answer within 0.2 seconds",
        endpoint.authority
    );
    assert_eq!(error["error_description"], description);
    session.exchanges.finish().await;
}

#[tokio::test]
async fn who_waits_in_vain_for_a_turn_is_answered_at_the_deadline_too() {
    let endpoint = Endpoint::start(|_| std::future::pending()).await;
    let session = Session::at(&endpoint, SHORT);
    let begun = Instant::now();
    let (one, other) = tokio::join!(
        session.oauth_error(STORAGE),
        session.oauth_error("https://vault.azure.net")
    );
    assert!(begun.elapsed() < LONG);
    assert_eq!(one["error"], "temporarily_unavailable");
    assert_eq!(one, other);
    session.exchanges.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_not_asked_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = Endpoint {
        authority: format!("http://{address}/tenant"),
        forms: Default::default(),
    };
    let begun = Instant::now();
    let error = Session::at(&endpoint, LONG).oauth_error(STORAGE).await;
    assert!(begun.elapsed() < LONG);
    assert_eq!(error["error"], "temporarily_unavailable");
    let description = error["error_description"].as_str().unwrap();
    assert!(
        description.ends_with("the connection was refused"),
        "{description}"
    );
}

/// As an endpoint does that closes a kept-alive connection at the moment at which the next request comes.
#[tokio::test]
async fn a_connection_that_breaks_is_made_anew() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("http://{}/tenant", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let body = r#"{"access_token": "canary-access", "expires_in": 60}"#;
    let reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            if number == 1 {
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        }
    });
    let endpoint = Endpoint {
        authority,
        forms: Default::default(),
    };
    let session = Session::at(&endpoint, LONG);
    let body = session.ask(STORAGE).await;
    assert_eq!(body["token"]["access_token"], "canary-access");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    // What breaks each time is given up after two more attempts.
    let error = session.oauth_error(STORAGE).await;
    assert_eq!(error["error"], "temporarily_unavailable");
    assert_eq!(connections.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn an_endpoint_out_of_order_is_asked_three_times() {
    let (error, requests) =
        error_after(|| (StatusCode::SERVICE_UNAVAILABLE, "<html>canary").into_response()).await;
    assert_eq!(requests, 3);
    assert_eq!(error["error"], "temporarily_unavailable");
    let description = error["error_description"].as_str().unwrap();
    assert!(
        description.ends_with("is out of order (HTTP status 503)"),
        "{description}"
    );
    assert_eq!(error.as_object().unwrap().len(), 2, "{error}");
}

#[tokio::test]
async fn a_fault_that_passes_goes_unnoticed() {
    let endpoint = Endpoint::start(async |number| match number {
        0 => (
            StatusCode::BAD_REQUEST,
            axum::Json(json!({"error": "temporarily_unavailable", "error_codes": [90_033]})),
        )
            .into_response(),
        1 => StatusCode::BAD_GATEWAY.into_response(),
        _ => grant(number),
    })
    .await;
    let body = Session::at(&endpoint, LONG).ask(STORAGE).await;
    assert_eq!(body["token"]["access_token"], "canary-access-2");
    assert_eq!(endpoint.requests(), 3);
}

/// The clock stands still for nobody who asks: it is put forward in between.
#[tokio::test]
async fn an_endpoint_that_is_out_of_order_for_a_minute_signs_nobody_out() {
    const MINUTE: Duration = Duration::from_secs(60);
    let end = tokio::time::Instant::now() + MINUTE;
    let endpoint = Endpoint::start(move |number| async move {
        let is_over = number == 0 || tokio::time::Instant::now() >= end;
        if is_over {
            grant(number)
        } else {
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    })
    .await;
    let wait = async |duration| {
        tokio::time::pause();
        tokio::time::advance(duration).await;
        tokio::time::resume();
    };
    let session = Session::at(&endpoint, LONG);
    let body = session.ask(STORAGE).await;
    assert_eq!(body["token"]["access_token"], "canary-access-0");
    for attempts in [4, 7] {
        let error = session.oauth_error(STORAGE).await;
        assert_eq!(error["error"], "temporarily_unavailable");
        assert_eq!(endpoint.requests(), attempts);
        wait(MINUTE / 2).await;
    }
    let body = session.ask(STORAGE).await;
    assert_eq!(body["token"]["access_token"], "canary-access-7");
    // Nothing has come of the exchanges in between, nor been lost by them.
    let forms = endpoint.forms.lock().unwrap();
    assert!(
        forms[1..]
            .iter()
            .all(|form| form.contains("canary-refresh-1"))
    );
}

#[tokio::test]
async fn a_wait_that_does_not_fit_is_not_waited_for() {
    let (error, requests) =
        error_after(|| (StatusCode::BAD_GATEWAY, [(RETRY_AFTER, "3600")]).into_response()).await;
    assert_eq!(
        (&error["error"], requests),
        (&json!("temporarily_unavailable"), 1)
    );
}

#[tokio::test]
async fn throttling_in_plain_text_is_passed_on_with_its_wait() {
    for (asked, retry_after) in [
        ("17", 17),
        // Half a minute after the clock of the tests.
        ("Mon, 23 Nov 2026 00:00:30 GMT", 30),
        ("soon", 60),
    ] {
        let endpoint = Endpoint::start(move |_| async move {
            (
                StatusCode::TOO_MANY_REQUESTS,
                [(RETRY_AFTER, asked)],
                "canary",
            )
                .into_response()
        })
        .await;
        let error = Session::at(&endpoint, LONG).oauth_error(STORAGE).await;
        assert_eq!(endpoint.requests(), 1);
        assert_eq!(error["error"], "temporarily_unavailable");
        assert_eq!(error["retry_after"], retry_after, "{asked}");
        assert!(!error.to_string().contains("canary"));
    }
}

#[tokio::test]
async fn a_final_error_is_not_asked_for_again() {
    let (error, requests) = error_after(|| {
        let error = json!({"error": "invalid_grant", "error_codes": [700_082], "claims": "{}"});
        (StatusCode::BAD_REQUEST, axum::Json(error)).into_response()
    })
    .await;
    assert_eq!(requests, 1);
    assert_eq!(
        error,
        json!({"error": "invalid_grant", "error_codes": [700_082], "claims": "{}"})
    );
}

#[tokio::test]
async fn what_is_no_token_endpoint_is_a_server_error_without_its_body() {
    let answers: [fn() -> Response; 5] = [
        || "canary".into_response(),
        || r#"{"access_token":{"canary":1}}"#.into_response(),
        || (StatusCode::NOT_FOUND, "canary").into_response(),
        || (StatusCode::FOUND, [(LOCATION, "/canary")]).into_response(),
        || format!("{{\"canary\":\"{}\"}}", "x".repeat(1 << 20)).into_response(),
    ];
    for answer in answers {
        let (error, requests) = error_after(answer).await;
        assert_eq!(requests, 1);
        assert_eq!(error["error"], "server_error");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}
