//! Each refusal of the token endpoint.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use entra_emulator::{Options, User};
use serde_json::json;

use crate::{Emulated, HOST, Reply, STORAGE};

const STORAGE_SCOPE: &str = "https://storage.azure.com/.default offline_access";

/// Asserts HTTP status, `error` and code, and that the code stands in the description as well.
fn assert_refused(reply: &Reply, status: u16, error: &str, code: u32) {
    let body = reply.json();
    assert_eq!(
        (reply.status.as_u16(), &body["error"], &body["error_codes"]),
        (status, &json!(error), &json!([code]))
    );
    assert!(
        body["error_description"]
            .as_str()
            .unwrap()
            .starts_with(&format!("AADSTS{code}: ")),
        "{body}"
    );
}

#[test]
fn the_error_body_has_entras_fields_and_says_each_twice() {
    let emulated = Emulated::new();
    let correlation_id = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let request = Request::post("/common/oauth2/v2.0/token")
        .header("host", HOST)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("client-request-id", correlation_id);
    let reply = emulated.send(
        request
            .body(Body::from("grant_type=refresh_token"))
            .unwrap(),
    );
    let body = reply.json();
    let trace_id = body["trace_id"].as_str().unwrap();
    assert_eq!(trace_id.len(), 36);
    let description = format!(
        "AADSTS900144: The request body must contain the parameter 'client_id'.\r\n\
         Trace ID: {trace_id}\r\nCorrelation ID: {correlation_id}\r\nTimestamp: 2026-11-23 04:00:00Z"
    );
    assert_eq!(
        body,
        json!({
            "error": "invalid_request",
            "error_description": description,
            "error_codes": [900144],
            "timestamp": "2026-11-23 04:00:00Z",
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": "https://login.microsoftonline.com/error?code=900144",
        })
    );
    assert_eq!(reply.header("cache-control"), "no-store");
}

#[test]
fn a_correlation_id_that_is_no_guid_is_replaced() {
    let request = Request::post("/common/oauth2/v2.0/token")
        .header("host", HOST)
        .header("client-request-id", "canary");
    let reply = Emulated::new().send(request.body(Body::empty()).unwrap());
    assert_eq!(reply.json()["correlation_id"].as_str().unwrap().len(), 36);
}

#[test]
fn a_missing_or_empty_parameter_is_named() {
    let emulated = Emulated::new();
    let whole = emulated.form(&emulated.refresh_token, STORAGE_SCOPE);
    for (missing, _) in whole {
        let without: Vec<_> = whole
            .into_iter()
            .filter(|(name, _)| *name != missing)
            .collect();
        let empty = whole.map(|(name, value)| (name, if name == missing { "" } else { value }));
        for reply in [emulated.post(&without), emulated.post(&empty)] {
            assert_refused(&reply, 400, "invalid_request", 900144);
            assert!(
                reply.text.contains(&format!("'{missing}'")),
                "{}",
                reply.text
            );
        }
    }
}

#[test]
fn a_parameter_given_twice_makes_the_request_malformed() {
    let emulated = Emulated::new();
    let reply = emulated.post(&[("scope", STORAGE_SCOPE), ("scope", STORAGE_SCOPE)]);
    assert_refused(&reply, 400, "invalid_request", 9002313);
}

#[test]
fn a_json_body_is_not_read() {
    let request = Request::post("/common/oauth2/v2.0/token")
        .header("host", HOST)
        .header("content-type", "application/json");
    let reply = Emulated::new().send(
        request
            .body(Body::from("{\"grant_type\":\"refresh_token\"}"))
            .unwrap(),
    );
    assert_refused(&reply, 400, "invalid_request", 900144);
}

#[test]
fn another_grant_type_is_unsupported() {
    let emulated = Emulated::new();
    let reply = emulated.post(&[
        ("grant_type", "password"),
        ("client_id", emulated.tenant.client_id()),
    ]);
    assert_refused(&reply, 400, "unsupported_grant_type", 70003);
}

#[test]
fn an_unknown_client_is_unauthorized() {
    let emulated = Emulated::new();
    let mut form = emulated.form(&emulated.refresh_token, STORAGE_SCOPE);
    form[0].1 = "11111111-2222-4333-8444-555555555555";
    assert_refused(&emulated.post(&form), 400, "unauthorized_client", 700016);
}

#[test]
fn a_confidential_client_must_send_its_secret() {
    let emulated = Emulated::confidential();
    let form = emulated.form(&emulated.refresh_token, STORAGE_SCOPE);
    let with = |secret| emulated.post(&[&form[..], &[("client_secret", secret)]].concat());
    assert_refused(&emulated.post(&form), 401, "invalid_client", 7000218);
    assert_refused(&with(""), 401, "invalid_client", 7000218);
    assert_refused(&with("the app's secreT"), 401, "invalid_client", 7000215);
    assert_refused(
        &with("the app's secret and more"),
        401,
        "invalid_client",
        7000215,
    );
    assert_eq!(with("the app's secret").status, StatusCode::OK);
}

#[test]
fn a_public_client_must_not_authenticate() {
    let emulated = Emulated::new();
    let form = emulated.form(&emulated.refresh_token, STORAGE_SCOPE);
    for credential in ["client_secret", "client_assertion"] {
        let reply = emulated.post(&[&form[..], &[(credential, "anything")]].concat());
        assert_refused(&reply, 401, "invalid_client", 700025);
    }
}

#[test]
fn a_refresh_token_nobody_handed_out_is_malformed() {
    let emulated = Emulated::new();
    assert_refused(
        &emulated.exchange("canary", STORAGE_SCOPE),
        400,
        "invalid_grant",
        9002313,
    );
}

#[test]
fn revoking_a_user_revokes_all_their_refresh_tokens_and_nobody_elses() {
    let emulated = Emulated::new();
    let renewed = emulated
        .exchange(&emulated.refresh_token, STORAGE_SCOPE)
        .json();
    let bob = User {
        object_id: "b0b".to_owned(),
        ..User::default()
    };
    let bobs =
        secrecy::ExposeSecret::expose_secret(&emulated.tenant.sign_in(&bob).unwrap()).to_owned();
    emulated.tenant.revoke(&User::default());
    for refresh_token in [
        emulated.refresh_token.as_str(),
        renewed["refresh_token"].as_str().unwrap(),
    ] {
        assert_refused(
            &emulated.exchange(refresh_token, STORAGE_SCOPE),
            400,
            "invalid_grant",
            50173,
        );
    }
    assert_eq!(
        emulated.exchange(&bobs, STORAGE_SCOPE).status,
        StatusCode::OK
    );
    let again = emulated.tenant.sign_in(&User::default()).unwrap();
    assert_eq!(
        emulated
            .exchange(secrecy::ExposeSecret::expose_secret(&again), STORAGE_SCOPE)
            .status,
        StatusCode::OK
    );
}

#[test]
fn a_refresh_token_expires_to_the_second() {
    let emulated = Emulated::with(Options {
        refresh_token_lifetime: 60,
        ..Options::default()
    });
    emulated.wait(59);
    assert_eq!(
        emulated
            .exchange(&emulated.refresh_token, STORAGE_SCOPE)
            .status,
        StatusCode::OK
    );
    emulated.wait(1);
    assert_refused(
        &emulated.exchange(&emulated.refresh_token, STORAGE_SCOPE),
        400,
        "invalid_grant",
        700082,
    );
}

#[test]
fn a_scope_of_the_wrong_shape_is_invalid() {
    let emulated = Emulated::new();
    let wrong = [
        "offline_access openid profile",
        "https://storage.azure.com",
        "https://storage.azure.com/user_impersonation",
        "https://storage.azure.com/.default https://storage.azure.com/user_impersonation",
        ".default",
        "/.default",
        "https://storage.azure.com/.Default",
        " ",
    ];
    for scope in wrong {
        assert_refused(
            &emulated.exchange(&emulated.refresh_token, scope),
            400,
            "invalid_scope",
            70011,
        );
    }
}

#[test]
fn two_resources_are_one_too_many() {
    let emulated = Emulated::new();
    let scopes = [
        "https://storage.azure.com/.default https://vault.azure.net/.default",
        "https://storage.azure.com/.default https://storage.azure.com//.default",
    ];
    for scope in scopes {
        assert_refused(
            &emulated.exchange(&emulated.refresh_token, scope),
            400,
            "invalid_scope",
            28000,
        );
    }
}

#[test]
fn a_resource_the_tenant_does_not_know_is_invalid() {
    let emulated = Emulated::new();
    let unknown = [
        "https://storage.azure.net",
        "https://storage.azure.com//",
        "http://storage.azure.com",
        "api://499b84ac-1321-427f-aa17-267ca6975798",
        "api://something",
    ];
    for resource in unknown {
        let reply = emulated.exchange(&emulated.refresh_token, &format!("{resource}/.default"));
        assert_refused(&reply, 400, "invalid_resource", 500011);
        assert!(
            reply.text.contains(&format!(" {resource} ")),
            "{}",
            reply.text
        );
    }
}

#[test]
fn the_app_asks_for_itself_by_its_guid_alone() {
    let emulated = Emulated::new();
    let client_id = emulated.tenant.client_id();
    let ask = |resource: &str| {
        emulated.exchange(&emulated.refresh_token, &format!("{resource}/.default"))
    };
    assert_refused(
        &ask(&format!("api://{client_id}")),
        400,
        "invalid_request",
        90009,
    );
    assert_eq!(ask(client_id).status, 200);
}

#[test]
fn a_refused_request_costs_no_refresh_token() {
    let emulated = Emulated::with(Options {
        revoke_used_refresh_tokens: true,
        ..Options::default()
    });
    let reply = emulated.exchange(
        &emulated.refresh_token,
        "https://nowhere.example/.default offline_access",
    );
    assert_refused(&reply, 400, "invalid_resource", 500011);
    let scope = format!("{STORAGE}/.default offline_access");
    assert_eq!(
        emulated.exchange(&emulated.refresh_token, &scope).status,
        StatusCode::OK
    );
}
