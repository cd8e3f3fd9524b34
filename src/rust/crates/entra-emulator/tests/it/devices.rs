//! Device codes, from the request to the tokens.

use axum::http::StatusCode;
use entra_emulator::{App, Fault, FaultKind, Options, Step, User};
use serde_json::{Value, json};

use crate::browser::{SCOPE, hidden};
use crate::{Emulated, HOST, Reply};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

fn begin(emulated: &Emulated) -> Value {
    let reply = emulated.post_form(
        "/organizations/oauth2/v2.0/devicecode",
        &[("client_id", emulated.tenant.client_id()), ("scope", SCOPE)],
    );
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    reply.json()
}

fn poll(emulated: &Emulated, device: &Value) -> Reply {
    emulated.post(&[
        ("grant_type", GRANT),
        ("client_id", emulated.tenant.client_id()),
        ("device_code", device["device_code"].as_str().unwrap()),
    ])
}

fn assert_refused(reply: &Reply, error: &str, code: u32) {
    let body = reply.json();
    assert_eq!(
        (reply.status.as_u16(), &body["error"], &body["error_codes"]),
        (400, &json!(error), &json!([code])),
        "{body}"
    );
}

#[test]
fn a_code_is_typed_and_answered_and_the_client_gets_tokens_once() {
    let emulated = Emulated::new();
    let device = begin(&emulated);
    let user_code = device["user_code"].as_str().unwrap();
    assert_eq!(user_code.len(), 9);
    assert_eq!(
        (&device["expires_in"], &device["interval"]),
        (&json!(900), &json!(5))
    );
    let address = format!("http://{HOST}/device");
    assert_eq!(device["verification_uri"], address);
    assert_eq!(
        device["message"],
        format!(
            "To sign in, use a web browser to open the page {address} and enter the code {user_code} to authenticate."
        )
    );
    assert_refused(&poll(&emulated, &device), "authorization_pending", 70016);

    assert!(emulated.get("/device").text.contains("name=\"user_code\""));
    let (first, rest) = user_code.split_at(4);
    let typed = format!(" {}-{rest}", first.to_lowercase());
    let page = emulated.post_form("/device", &[("user_code", &typed)]);
    assert!(page.text.contains("Sign in to Emulated app"));
    let kept = hidden(&page, "user_code");
    let ada = User::default().object_id;
    let fields = [("user_code", &*kept), ("answer", "sign_in"), ("user", &ada)];
    let page = emulated.post_form("/device", &fields);
    assert!(page.text.contains("You have signed in"), "{}", page.text);

    let body = poll(&emulated, &device).json();
    let claims = emulated.claims(body["id_token"].as_str().unwrap());
    assert_eq!(claims["oid"], ada);
    assert!(body["refresh_token"].is_string());
    assert_refused(&poll(&emulated, &device), "invalid_grant", 54005);
}

#[test]
fn a_client_that_polls_too_often_has_to_slow_down() {
    let emulated = Emulated::new();
    let device = begin(&emulated);
    assert_refused(&poll(&emulated, &device), "authorization_pending", 70016);
    emulated.wait(4);
    assert_refused(&poll(&emulated, &device), "slow_down", 70016);
    emulated.wait(9);
    assert_refused(&poll(&emulated, &device), "slow_down", 70016);
    emulated.wait(15);
    assert_refused(&poll(&emulated, &device), "authorization_pending", 70016);
}

#[test]
fn a_person_declines_or_lets_the_sign_in_fail() {
    let emulated = Emulated::new();
    for (fields, error, code) in [
        (vec![("answer", "deny")], "authorization_declined", 65004),
        (
            vec![("answer", "fail"), ("error", "530036")],
            "access_denied",
            530_036,
        ),
    ] {
        let device = begin(&emulated);
        let typed = ("user_code", device["user_code"].as_str().unwrap());
        let fields = [vec![typed], fields].concat();
        assert_eq!(emulated.post_form("/device", &fields).status, 200);
        assert_refused(&poll(&emulated, &device), error, code);
        // The code was answered, so that it is not offered again.
        assert_eq!(emulated.post_form("/device", &[typed]).status, 400);
    }
}

#[test]
fn a_wrong_code_and_one_that_expired_are_told_apart() {
    let emulated = Emulated::new();
    let wrong = json!({"device_code": "canary"});
    assert_refused(&poll(&emulated, &wrong), "bad_verification_code", 70018);
    let page = emulated.post_form("/device", &[("user_code", "<b>")]);
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.text.contains("That code is not right") && !page.text.contains("<b>"));

    let device = begin(&emulated);
    emulated.wait(899);
    assert_refused(&poll(&emulated, &device), "authorization_pending", 70016);
    emulated.wait(1);
    assert_refused(&poll(&emulated, &device), "expired_token", 70019);
    let typed = ("user_code", device["user_code"].as_str().unwrap());
    assert_eq!(emulated.post_form("/device", &[typed]).status, 400);
}

#[test]
fn a_device_code_is_for_a_known_app_and_resource_and_for_that_app_alone() {
    let other = "22222222-2222-4222-8222-222222222222";
    let emulated = Emulated::with(Options {
        apps: vec![
            App::default(),
            App {
                client_id: other.to_owned(),
                ..App::default()
            },
        ],
        ..Options::default()
    });
    let ask = |client_id: &str, scope: &str| {
        let fields = [("client_id", client_id), ("scope", scope)];
        emulated.post_form("/common/oauth2/v2.0/devicecode", &fields)
    };
    let client_id = emulated.tenant.client_id();
    assert_refused(&ask("", SCOPE), "invalid_request", 900_144);
    assert_refused(&ask(client_id, ""), "invalid_request", 900_144);
    assert_refused(&ask("nobody", SCOPE), "unauthorized_client", 700_016);
    assert_refused(
        &ask(client_id, "https://nowhere.example/.default"),
        "invalid_resource",
        500_011,
    );
    let device = begin(&emulated);
    let reply = emulated.post(&[
        ("grant_type", GRANT),
        ("client_id", other),
        ("device_code", device["device_code"].as_str().unwrap()),
    ]);
    assert_refused(&reply, "invalid_grant", 70000);
}

#[test]
fn nobody_is_asked_where_consent_is_automatic() {
    let emulated = Emulated::with(Options {
        auto_consent: true,
        ..Options::default()
    });
    let reply = poll(&emulated, &begin(&emulated));
    assert_eq!(reply.status, StatusCode::OK);
}

#[test]
fn both_steps_have_faults() {
    let emulated = |step| {
        Emulated::with(Options {
            faults: vec![Fault::new(FaultKind::AccessDenied, None).at(step)],
            auto_consent: true,
            ..Options::default()
        })
    };
    let at_poll = emulated(Step::Device);
    let reply = poll(&at_poll, &begin(&at_poll));
    assert_refused(&reply, "invalid_grant", 53003);
    let at_request = emulated(Step::DeviceCode);
    let fields = [
        ("client_id", at_request.tenant.client_id()),
        ("scope", SCOPE),
    ];
    let reply = at_request.post_form("/common/oauth2/v2.0/devicecode", &fields);
    assert_refused(&reply, "invalid_grant", 53003);
}
