//! Session tokens for access tokens.

use axum::http::StatusCode;
use entra_emulator::User;
use entra_emulator::connect::Options;
use secrecy::SecretString;
use serde_json::json;

use super::{CONTENT, Content, GRANT, VISITOR, bob, service_account, viewer};
use crate::{GRAPH, STORAGE};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

fn only(integration: entra_emulator::connect::Integration) -> Content {
    Content::new(Options {
        integrations: vec![integration],
        ..Options::default()
    })
}

#[test]
fn each_visitor_gets_a_token_of_their_own_that_graph_takes() {
    let content = only(viewer(GRAPH));
    for (visitor, name) in [(User::default(), "Ada Example"), (bob(), "Bob Example")] {
        // As connectcreds asks, and as posit-sdk does.
        let guid = viewer(GRAPH).guid;
        for more in [
            &[("resource", "anything"), ("scope", "anything")][..],
            &[("audience", &guid), ("requested_token_type", ACCESS_TOKEN)],
        ] {
            let reply = content.exchange(&visitor, more);
            assert_eq!(reply.status, StatusCode::OK);
            assert_eq!(reply.header("cache-control"), "no-store");
            let body = reply.json();
            let mut fields: Vec<_> = body.as_object().unwrap().keys().collect();
            fields.sort();
            assert_eq!(fields, ["access_token", "issued_token_type", "token_type"]);
            assert_eq!(body["issued_token_type"], ACCESS_TOKEN);
            assert_eq!(body["token_type"], "Bearer");
            assert_eq!(content.display_name(&reply), name);
        }
    }
}

#[test]
fn one_session_token_serves_again_and_beside_newer_ones() {
    let content = only(viewer(GRAPH));
    let first = content.visit(&bob());
    content.visit(&bob());
    for _ in 0..2 {
        let reply = content.exchange_of(VISITOR, &first, &[]);
        assert_eq!(content.display_name(&reply), "Bob Example");
    }
}

#[test]
fn the_content_gets_a_token_of_an_app() {
    let content = only(service_account(STORAGE));
    let reply = content.exchange_of(CONTENT, &content.connect.content_token(), &[]);
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    let claims = content.emulated.claims(&token);
    assert_eq!(claims["idtyp"], "app");
    assert_eq!(claims["aud"], STORAGE);
    let blobs = content
        .emulated
        .get_with_token("/demostorage?comp=list", &token);
    assert!(blobs.text.contains("measurements"), "{}", blobs.text);
}

#[test]
fn what_is_asked_wrongly_is_refused_without_a_secret() {
    let content = Content::new(Options::default());
    let guid = viewer(GRAPH).guid;
    let visitor = SecretString::from("canary-nobody");
    let own = content.connect.content_token();
    let unknown = [("audience", "00000000-0000-0000-0000-000000000000")];
    let named = [("audience", &*guid)];
    let id_token = [
        ("audience", &*guid),
        (
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:id_token",
        ),
    ];
    let ada = User::default();
    for (reply, error, words) in [
        (content.post(&[]), "unsupported_grant_type", "grant_type"),
        (
            content.post(&[("grant_type", GRANT)]),
            "invalid_request",
            "subject_token is missing",
        ),
        (
            content.exchange_of("urn:other", &visitor, &[]),
            "invalid_request",
            "subject_token_type",
        ),
        (
            content.exchange_of(VISITOR, &visitor, &named),
            "invalid_grant",
            "not valid, or has expired",
        ),
        // A session token of one kind is none of the other.
        (
            content.exchange_of(VISITOR, &own, &named),
            "invalid_grant",
            "not valid",
        ),
        (
            content.exchange_of(CONTENT, &content.visit(&ada), &named),
            "invalid_grant",
            "not valid",
        ),
        (
            content.exchange_of(CONTENT, &own, &named),
            "invalid_request",
            "does not support Service Account auth flows",
        ),
        (
            content.exchange(&ada, &[("audience", &service_account(STORAGE).guid)]),
            "invalid_request",
            "does not support Viewer auth flows",
        ),
        (
            content.exchange(&ada, &unknown),
            "invalid_target",
            "not associated",
        ),
        (content.exchange(&ada, &[]), "invalid_target", "Several"),
        (
            content.exchange(&ada, &id_token),
            "invalid_request",
            "Invalid requested_token_type",
        ),
    ] {
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{words}");
        assert_eq!(reply.json()["error"], error, "{words}");
        let description = reply.json()["error_description"].clone();
        assert!(
            description.as_str().unwrap().contains(words),
            "{description}"
        );
        assert!(!reply.text.contains("canary"), "{}", reply.text);
    }
}

#[test]
fn who_has_no_key_learns_nothing_but_the_version() {
    use axum::body::Body;
    use axum::http::Request;
    let content = Content::new(Options {
        path: "/a/connect".to_owned(),
        ..Options::default()
    });
    let send = |method: &str, path: &str, authorization: Option<&str>| {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/a/connect/__api__{path}"));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        content.send(request.body(Body::empty()).unwrap())
    };
    let credentials = "/v1/oauth/integrations/credentials";
    let associations = format!(
        "/v1/content/{}/oauth/integrations/associations",
        content.connect.content()
    );
    let bearer = content.authorization().replace("Key", "Bearer");
    for authorization in [None, Some("Key"), Some("Key canary-other"), Some(&*bearer)] {
        for (method, path) in [
            ("POST", credentials),
            ("GET", &associations),
            ("GET", "/v1/oauth/integrations"),
        ] {
            let reply = send(method, path, authorization);
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{path}");
            assert_eq!(reply.json()["code"], 30);
            assert!(!reply.text.contains("canary"));
        }
    }
    let version = send("GET", "/server_settings", None);
    assert_eq!(version.json(), json!({"version": "2025.09.0"}));
    // The path is a part of the address.
    let elsewhere = content.get("/__api__/server_settings");
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
}

#[test]
fn debug_shows_no_secret() {
    let content = Content::new(Options::default());
    content.visit(&bob());
    let shown = format!("{:#?}", content.connect);
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("visitors: 1"), "{shown}");
}
