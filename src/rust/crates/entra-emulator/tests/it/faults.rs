//! A tenant with faults: what its token endpoint does in the place of granting tokens.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use entra_emulator::{Fault, FaultKind, Options, UnknownFault};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{Emulated, GRAPH, HOST, Reply, STORAGE, encode};

fn emulated(faults: &[(FaultKind, Option<&str>)]) -> Emulated {
    let faults = faults
        .iter()
        .map(|(kind, resource)| Fault::new(*kind, *resource));
    Emulated::with(Options {
        faults: faults.collect(),
        ..Options::default()
    })
}

fn ask(emulated: &Emulated, resource: &str) -> Reply {
    emulated.exchange(&emulated.refresh_token, &format!("{resource}/.default"))
}

#[test]
fn a_fault_answers_as_entra_does() {
    for (kind, status, error, code, suberror) in [
        (
            FaultKind::SignInRequired,
            400,
            "invalid_grant",
            700_082,
            None,
        ),
        (
            FaultKind::ConsentRequired,
            400,
            "invalid_grant",
            65001,
            Some("consent_required"),
        ),
        (
            FaultKind::AccessDenied,
            400,
            "invalid_grant",
            53003,
            Some("message_only"),
        ),
        (
            FaultKind::Unavailable,
            503,
            "temporarily_unavailable",
            90033,
            None,
        ),
    ] {
        let reply = ask(&emulated(&[(kind, None)]), GRAPH);
        assert_eq!(reply.status, status, "{kind}");
        let body = reply.json();
        assert_eq!(body["error"], error, "{kind}");
        assert_eq!(body["error_codes"], json!([code]), "{kind}");
        assert_eq!(body.get("suberror").and_then(Value::as_str), suberror);
        let description = body["error_description"].as_str().unwrap();
        assert!(
            description.starts_with(&format!("AADSTS{code}: ")),
            "{description}"
        );
    }
}

#[test]
fn a_policy_that_blocks_is_named_in_the_claims() {
    let body = ask(&emulated(&[(FaultKind::AccessDenied, None)]), GRAPH).json();
    let claims: Value = serde_json::from_str(body["claims"].as_str().unwrap()).unwrap();
    assert_eq!(claims["access_token"]["capolids"]["essential"], true);
}

#[test]
fn throttling_is_a_status_a_time_to_wait_and_a_plain_text() {
    let reply = ask(&emulated(&[(FaultKind::Throttled, None)]), GRAPH);
    assert_eq!(reply.status, 429);
    assert_eq!(reply.header("retry-after"), "60");
    assert_eq!(reply.text, "Too Many Requests");
}

#[test]
fn a_resource_may_have_a_fault_of_its_own() {
    let emulated = emulated(&[
        (FaultKind::Unavailable, None),
        (FaultKind::Throttled, Some("https://graph.microsoft.com/")),
        (FaultKind::ConsentRequired, Some(STORAGE)),
    ]);
    assert_eq!(ask(&emulated, GRAPH).status, 429);
    assert_eq!(ask(&emulated, "https://storage.azure.com/").status, 400);
    assert_eq!(ask(&emulated, "https://vault.azure.net").status, 503);
}

#[test]
fn only_a_request_that_deserves_a_token_meets_a_fault() {
    let emulated = emulated(&[(FaultKind::Throttled, None)]);
    assert_eq!(ask(&emulated, "https://no.such.resource").status, 400);
    let reply = emulated.exchange("canary-refresh-token", &format!("{GRAPH}/.default"));
    assert_eq!(reply.status, 400);
}

#[test]
fn a_slow_tenant_lets_wait() {
    let emulated = emulated(&[(FaultKind::Slow, Some(GRAPH))]);
    assert_eq!(ask(&emulated, STORAGE).status, 200);

    let scope = format!("{GRAPH}/.default");
    let form = emulated.form(&emulated.refresh_token, &scope);
    let pairs = form.map(|(name, value)| format!("{name}={}", encode(value)));
    let request = Request::post("/common/oauth2/v2.0/token")
        .header("host", HOST)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(pairs.join("&")))
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let reply = async {
        let reply = emulated.app.clone().oneshot(request);
        tokio::time::timeout(Duration::from_millis(300), reply).await
    };
    assert!(runtime.block_on(reply).is_err());
}

#[test]
fn a_fault_is_known_by_its_name() {
    for kind in FaultKind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
    assert_eq!("fast".parse::<FaultKind>(), Err(UnknownFault));
    assert_eq!(
        UnknownFault.to_string(),
        "it must be one of sign_in_required, consent_required, access_denied, throttled, unavailable, slow, \
         mfa_required, wrong_state, wrong_nonce, wrong_audience, wrong_issuer, expired_id_token, other_user, no_id_token"
    );
}
