//! Authorization codes at the token endpoint: what they bring, and whom they are refused.

use axum::http::StatusCode;
use entra_emulator::{App, Fault, FaultKind, Membership, Options, Step, User};
use serde_json::{Value, json};

use crate::browser::{Browser, REDIRECT, SCOPE, VERIFIER, location};
use crate::{Emulated, HOST, NOW, Reply};

const OTHER_APP: &str = "22222222-2222-4222-8222-222222222222";

fn form<'a>(emulated: &'a Emulated, code: &'a str) -> [(&'a str, &'a str); 6] {
    [
        ("grant_type", "authorization_code"),
        ("client_id", emulated.tenant.client_id()),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
        ("scope", SCOPE),
    ]
}

pub(crate) fn redeem(emulated: &Emulated, code: &str) -> Reply {
    emulated.post(&form(emulated, code))
}

/// The same with one field changed.
fn redeem_with(emulated: &Emulated, code: &str, name: &str, value: &str) -> Reply {
    let fields = form(emulated, code);
    emulated.post(&fields.map(|(known, old)| (known, if known == name { value } else { old })))
}

fn assert_refused(reply: &Reply, error: &str, code: u32) {
    let body = reply.json();
    assert_eq!(
        (&body["error"], &body["error_codes"]),
        (&json!(error), &json!([code])),
        "{body}"
    );
}

fn id_claims(emulated: &Emulated, reply: &Reply) -> Value {
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    emulated.claims(reply.json()["id_token"].as_str().unwrap())
}

#[test]
fn a_code_brings_an_access_token_a_refresh_token_and_an_id_token_with_the_nonce() {
    let emulated = Emulated::new();
    let reply = redeem(&emulated, &Browser::new(&emulated).code());
    let mut claims = id_claims(&emulated, &reply);
    claims.as_object_mut().unwrap().remove("uti").unwrap();
    let ada = User::default();
    assert_eq!(
        claims,
        json!({
            "aud": emulated.tenant.client_id(),
            "iss": format!("http://{HOST}/{}/v2.0", emulated.tenant.id()),
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + 3599,
            "oid": ada.object_id,
            "sub": ada.object_id,
            "tid": emulated.tenant.id(),
            "name": "Ada Example",
            "nonce": "the nonce",
            "preferred_username": "ada@example.com",
            "ver": "2.0",
        })
    );
    let body = reply.json();
    assert_eq!(body["client_info"], json!(null));
    let claims = emulated.claims(body["access_token"].as_str().unwrap());
    assert_eq!(claims["aud"], "https://storage.azure.com");
    let refresh_token = body["refresh_token"].as_str().unwrap();
    let reply = emulated.exchange(refresh_token, "https://vault.azure.net/.default");
    assert_eq!(reply.status, StatusCode::OK);
}

#[test]
fn who_signed_in_is_told_to_those_who_ask_for_client_info() {
    let emulated = Emulated::new();
    let code = Browser::new(&emulated).code();
    let fields = [&form(&emulated, &code)[..], &[("client_info", "1")]].concat();
    let body = emulated.post(&fields).json();
    let info = emulated.decode(body["client_info"].as_str().unwrap());
    assert_eq!(
        info,
        json!({"uid": User::default().object_id, "utid": emulated.tenant.id()})
    );
}

#[test]
fn a_code_works_once() {
    let emulated = Emulated::new();
    let code = Browser::new(&emulated).code();
    assert_eq!(redeem(&emulated, &code).status, StatusCode::OK);
    assert_refused(&redeem(&emulated, &code), "invalid_grant", 54005);
}

#[test]
fn a_code_lives_for_ten_minutes() {
    let emulated = Emulated::new();
    let (one, other) = (
        Browser::new(&emulated).code(),
        Browser::new(&emulated).code(),
    );
    emulated.wait(599);
    assert_eq!(redeem(&emulated, &one).status, StatusCode::OK);
    emulated.wait(1);
    assert_refused(&redeem(&emulated, &other), "invalid_grant", 70008);
}

#[test]
fn a_code_is_bound_to_app_redirect_verifier_and_scope_and_survives_a_refusal() {
    let emulated = Emulated::with(Options {
        apps: vec![
            App::default(),
            App {
                client_id: OTHER_APP.to_owned(),
                ..App::default()
            },
        ],
        ..Options::default()
    });
    let code = Browser::new(&emulated).code();
    for (name, value, code_of_error) in [
        ("client_id", OTHER_APP, 70000),
        ("redirect_uri", "http://localhost:1234/", 500_112),
        ("code_verifier", "", 50148),
        (
            "code_verifier",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK",
            501_481,
        ),
        ("scope", "https://vault.azure.net/.default", 70000),
        ("code", "canary", 70000),
    ] {
        let reply = redeem_with(&emulated, &code, name, value);
        assert_refused(&reply, "invalid_grant", code_of_error);
        assert!(!reply.text.contains("canary"));
    }
    for name in ["code", "redirect_uri", "client_id", "grant_type"] {
        let reply = redeem_with(&emulated, &code, name, "");
        assert_refused(&reply, "invalid_request", 900_144);
    }
    let public = redeem_with(&emulated, &code, "scope", "");
    let scope = "https://storage.azure.com/user_impersonation https://storage.azure.com/.default";
    assert_eq!(public.json()["scope"], scope);
}

#[test]
fn a_sign_in_without_offline_access_brings_no_refresh_token() {
    let emulated = Emulated::new();
    let scope = "https://storage.azure.com/.default";
    let code = Browser::new(&emulated).with("scope", scope).code();
    let body = redeem_with(&emulated, &code, "scope", scope).json();
    assert_eq!(body["refresh_token"], json!(null));
    assert_eq!(body["id_token"], json!(null));
    assert!(body["access_token"].is_string());
}

#[test]
fn a_sign_in_to_no_resource_is_one_to_graph() {
    let emulated = Emulated::new();
    let scope = "openid profile";
    let code = Browser::new(&emulated).with("scope", scope).code();
    let body = redeem_with(&emulated, &code, "scope", scope).json();
    let claims = emulated.claims(body["access_token"].as_str().unwrap());
    assert_eq!(claims["aud"], "https://graph.microsoft.com");
}

#[test]
fn a_refresh_token_serves_the_app_that_got_it_and_no_other() {
    let emulated = Emulated::with(Options {
        apps: vec![
            App::default(),
            App {
                client_id: OTHER_APP.to_owned(),
                ..App::default()
            },
        ],
        ..Options::default()
    });
    let mut fields = emulated.form(
        &emulated.refresh_token,
        "https://storage.azure.com/.default",
    );
    fields[0].1 = OTHER_APP;
    assert_refused(&emulated.post(&fields), "invalid_grant", 70000);
}

#[test]
fn guests_and_strangers_are_told_apart_by_their_claims() {
    let home = "aaaaaaaa-1111-4222-8333-444444444444";
    let stranger = User {
        membership: Membership::Other(home.to_owned()),
        ..User::new("Zoe Elsewhere", "zoe@elsewhere.example")
    };
    let emulated = Emulated::with(Options {
        users: vec![
            User::new("Grace Partner", "grace@partner.example").guest(),
            stranger,
        ],
        apps: vec![App {
            optional_claims: true,
            ..App::default()
        }],
        ..Options::default()
    });
    let claims = |user: &str| {
        let browser = Browser::new(&emulated).at("common");
        let reply = browser.answer(&[("answer", "sign_in"), ("user", user)]);
        let code = location(&reply).1["code"].clone();
        let claims = id_claims(&emulated, &redeem(&emulated, &code));
        json!([
            claims["tid"],
            claims["acct"],
            claims["upn"],
            claims["preferred_username"],
            claims["iss"]
        ])
    };
    let id = emulated.tenant.id();
    assert_eq!(
        claims("grace@partner.example"),
        json!([
            id,
            1,
            "grace_partner.example#EXT#@example.onmicrosoft.com",
            "grace@partner.example",
            format!("http://{HOST}/{id}/v2.0"),
        ])
    );
    assert_eq!(
        claims("zoe@elsewhere.example"),
        json!([
            home,
            0,
            "zoe@elsewhere.example",
            "zoe@elsewhere.example",
            format!("http://{HOST}/{home}/v2.0"),
        ])
    );
}

#[test]
fn an_id_token_may_be_wrong_in_one_way() {
    let good = Emulated::new();
    let ada = User::default().object_id;
    let expected = json!({
        "aud": good.tenant.client_id(), "exp": NOW + 3599, "nonce": "the nonce", "oid": ada, "tid": 1, "iss": 1,
    });
    for (kind, name, value) in [
        (FaultKind::WrongNonce, "nonce", json!("another nonce")),
        (
            FaultKind::WrongAudience,
            "aud",
            json!("deadbeef-0000-4000-8000-000000000000"),
        ),
        (FaultKind::ExpiredIdToken, "exp", json!(NOW + 3599 - 86_400)),
        (
            FaultKind::OtherUser,
            "oid",
            json!(User::new("", "mallory@example.com").object_id),
        ),
        (
            FaultKind::WrongIssuer,
            "iss",
            json!(format!(
                "http://{HOST}/deadbeef-0000-4000-8000-000000000000/v2.0"
            )),
        ),
    ] {
        let emulated = Emulated::with(Options {
            faults: vec![Fault::new(kind, None).at(Step::Code)],
            ..Options::default()
        });
        let reply = redeem(&emulated, &Browser::new(&emulated).code());
        let claims = id_claims(&emulated, &reply);
        let mut expected = expected.clone();
        expected["tid"] = json!(emulated.tenant.id());
        expected["iss"] = json!(format!("http://{HOST}/{}/v2.0", emulated.tenant.id()));
        expected[name] = value;
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&claims[name], value, "{kind}: {name}");
        }
    }
    let emulated = Emulated::with(Options {
        faults: vec![Fault::new(FaultKind::NoIdToken, None)],
        ..Options::default()
    });
    let reply = redeem(&emulated, &Browser::new(&emulated).code());
    assert_eq!(reply.json()["id_token"], json!(null));
    assert!(reply.json()["refresh_token"].is_string());
}

#[test]
fn a_fault_at_one_step_leaves_the_others_alone_and_costs_no_code() {
    let emulated = Emulated::with(Options {
        faults: vec![Fault::new(FaultKind::MfaRequired, None).at(Step::Code)],
        ..Options::default()
    });
    let code = Browser::new(&emulated).code();
    for _ in 0..2 {
        let reply = redeem(&emulated, &code);
        assert_refused(&reply, "interaction_required", 50076);
    }
    let reply = emulated.exchange(
        &emulated.refresh_token,
        "https://storage.azure.com/.default",
    );
    assert_eq!(reply.status, StatusCode::OK);
}
