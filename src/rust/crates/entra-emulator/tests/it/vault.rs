//! Key Vault: what a good token buys, and how bad requests are refused. The shapes are those of recordings that the
//! Azure SDK for JavaScript tests with.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;

use crate::{Emulated, GRAPH, HOST, Reply};

const VAULT: &str = "https://vault.azure.net";
const LIST: &str = "/secrets?api-version=7.4";
const VERSION: &str = "4f8c1a2b6d7e4c0f9a3b5d6e7f801234";

fn get(emulated: &Emulated, path: &str) -> Reply {
    emulated.get_with_token(path, &emulated.access_token(VAULT))
}

fn assert_error(reply: &Reply, status: StatusCode, code: &str, message: &str) {
    assert_eq!(reply.status, status, "{}", reply.text);
    assert_eq!(
        reply.json(),
        json!({"error": {"code": code, "message": message}})
    );
}

fn assert_unauthorized(emulated: &Emulated, reply: &Reply, message: &str) {
    assert_error(reply, StatusCode::UNAUTHORIZED, "Unauthorized", message);
    let challenge = format!(
        "Bearer authorization=\"http://{HOST}/{}\", resource=\"{VAULT}\"",
        emulated.tenant.id()
    );
    assert_eq!(reply.header("www-authenticate"), challenge);
}

#[test]
fn the_vault_lists_its_secrets_without_their_values() {
    let emulated = Emulated::new();
    for path in [
        LIST,
        "/secrets/?api-version=7.4",
        "/secrets?maxresults=1&api-version=2025-07-01",
    ] {
        let reply = get(&emulated, path);
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.header("x-ms-request-id").len(), 36);
        let body = reply.json();
        assert_eq!(body["nextLink"], json!(null));
        assert_eq!(
            body["value"][0],
            json!({
                "id": format!("http://{HOST}/secrets/database-password"),
                "attributes": {
                    "enabled": true,
                    "created": 1_772_438_400,
                    "updated": 1_772_438_400,
                    "recoveryLevel": "Recoverable+Purgeable",
                    "recoverableDays": 90,
                },
            })
        );
        assert_eq!(body["value"][2]["contentType"], "application/json");
        assert_eq!(body["value"].as_array().unwrap().len(), 3);
        assert!(!reply.text.contains("not a real"));
    }
}

#[test]
fn a_secret_is_read_by_its_name_in_any_case_and_by_its_version() {
    let emulated = Emulated::new();
    let paths = [
        "database-password".to_owned(),
        "Database-Password".to_owned(),
        "database-password/".to_owned(),
        format!("database-password/{VERSION}"),
    ];
    for path in paths {
        let reply = get(&emulated, &format!("/secrets/{path}?api-version=7.4"));
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        let body = reply.json();
        assert_eq!(body["value"], "not a real password");
        let id = format!("http://{HOST}/secrets/database-password/{VERSION}");
        assert_eq!(body["id"], id);
        assert_eq!(body["attributes"]["enabled"], true);
    }
}

#[test]
fn a_secret_that_is_not_there_is_not_found() {
    let emulated = Emulated::new();
    let other_version = format!("database-password/{}", "0".repeat(32));
    for id in ["no-such-secret", &other_version] {
        let message = format!(
            "A secret with (name/id) {id} was not found in this key vault. If you recently deleted this secret you may \
             be able to recover it using the correct recovery command."
        );
        let reply = get(&emulated, &format!("/secrets/{id}?api-version=7.4"));
        assert_error(&reply, StatusCode::NOT_FOUND, "SecretNotFound", &message);
    }
}

#[test]
fn a_request_that_the_vault_does_not_understand_is_bad() {
    let emulated = Emulated::new();
    for (path, message) in [
        ("/secrets", "api-version must be specified"),
        ("/secrets?api-version=", "api-version must be specified"),
        (
            "/secrets/database-password",
            "api-version must be specified",
        ),
        (
            "/secrets/database-password/latest?api-version=7.4",
            "Method GET does not allow operation 'latest'",
        ),
    ] {
        let reply = get(&emulated, path);
        assert_error(&reply, StatusCode::BAD_REQUEST, "BadParameter", message);
    }
    let token = emulated.access_token(VAULT);
    let request = Request::put("/secrets/new?api-version=7.4")
        .header("host", HOST)
        .header("authorization", format!("Bearer {token}"));
    let reply = emulated.send(request.body(Body::empty()).unwrap());
    let message = "This vault only lists and gets secrets.";
    assert_error(&reply, StatusCode::BAD_REQUEST, "BadParameter", message);
}

#[test]
fn the_vault_refuses_bad_tokens_and_says_where_good_ones_are() {
    let (emulated, other) = (Emulated::new(), Emulated::new());
    let good = emulated.access_token(VAULT);
    let refuses = |reply: &Reply, message| assert_unauthorized(&emulated, reply, message);
    let list = |token: &str| emulated.get_with_token(LIST, token);
    let missing = "AKV10000: Request is missing a Bearer or PoP token.";
    refuses(&emulated.get(LIST), missing);
    refuses(&emulated.get("/secrets/database-password"), missing);
    let signature = "AKV10046: Unable to resolve the key used for signature validation.";
    refuses(&list("no.jwt.atall"), signature);
    refuses(&list(&other.access_token(VAULT)), signature);
    refuses(
        &list(&emulated.access_token(GRAPH)),
        "AKV10022: Invalid audience. Expected https://vault.azure.net.",
    );
    emulated.wait(3598);
    assert_eq!(list(&good).status, StatusCode::OK);
    emulated.wait(1);
    refuses(
        &list(&good),
        "[TokenExpired] Error validating token: 'S2S12086'.",
    );
}
