//! Discovery, the tenant's names, and paths that lead nowhere.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;

use crate::{Emulated, HOST};

#[test]
fn discovery_is_built_from_the_host_header_and_the_tenants_name() {
    let emulated = Emulated::new();
    let id = emulated.tenant.id();
    for (name, issuer) in [
        (id, id),
        ("organizations", "{tenantid}"),
        ("common", "{tenantid}"),
    ] {
        let reply = emulated.get(&format!("/{name}/v2.0/.well-known/openid-configuration"));
        let configuration = reply.json();
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(
            configuration["issuer"],
            format!("http://{HOST}/{issuer}/v2.0")
        );
        for (key, path) in [
            ("authorization_endpoint", "oauth2/v2.0/authorize"),
            ("token_endpoint", "oauth2/v2.0/token"),
            ("device_authorization_endpoint", "oauth2/v2.0/devicecode"),
            ("jwks_uri", "discovery/v2.0/keys"),
        ] {
            assert_eq!(configuration[key], format!("http://{HOST}/{name}/{path}"));
        }
    }
}

#[test]
fn the_key_set_holds_one_rsa_key_and_no_private_part() {
    let reply = Emulated::new().get("/common/discovery/v2.0/keys");
    let keys = reply.json()["keys"].clone();
    assert_eq!(keys.as_array().unwrap().len(), 1);
    let names: Vec<String> = keys[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["alg", "e", "issuer", "kid", "kty", "n", "use"]);
    assert_eq!(
        (&keys[0]["kty"], &keys[0]["alg"], &keys[0]["e"]),
        (&json!("RSA"), &json!("RS256"), &json!("AQAB"))
    );
    // 2048 bits are 342 characters of base64url.
    assert_eq!(keys[0]["n"].as_str().unwrap().len(), 342);
}

#[test]
fn each_tenant_has_an_id_and_a_key_of_its_own() {
    let (one, other) = (Emulated::new(), Emulated::new());
    assert_ne!(one.tenant.id(), other.tenant.id());
    let keys = "/common/discovery/v2.0/keys";
    assert_ne!(
        one.get(keys).json()["keys"][0]["n"],
        other.get(keys).json()["keys"][0]["n"]
    );
}

#[test]
fn another_tenants_name_is_not_found() {
    let emulated = Emulated::new();
    let elsewhere = "11111111-2222-4333-8444-555555555555";
    let paths = [
        format!("/{elsewhere}/v2.0/.well-known/openid-configuration"),
        format!("/{elsewhere}/discovery/v2.0/keys"),
    ];
    let replies = paths.map(|path| emulated.get(&path)).into_iter();
    for reply in replies.chain([emulated.post_to(elsewhere, &[])]) {
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_eq!(reply.json()["error"], "invalid_request");
        assert_eq!(reply.json()["error_codes"], json!([90002]));
    }
}

#[test]
fn an_unknown_path_is_a_404_in_json() {
    let reply = Emulated::new().get("/nowhere/at/all");
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(
        reply.json(),
        json!({"error": {"code": "NotFound", "message": "Nothing is served at /nowhere/at/all."}})
    );
}

#[test]
fn a_request_without_a_host_is_refused() {
    let request = Request::get("/common/discovery/v2.0/keys")
        .body(Body::empty())
        .unwrap();
    let reply = Emulated::new().send(request);
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.json()["error"]["code"], "BadRequest");
}
