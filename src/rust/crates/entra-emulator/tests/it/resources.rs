//! Graph and the Blob service: what a good token buys, and how bad ones are refused.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use entra_emulator::{BLOB_ACCOUNT, User};
use serde_json::json;

use crate::{Emulated, GRAPH, HOST, Reply, STORAGE};

fn containers() -> String {
    format!("/{BLOB_ACCOUNT}?comp=list")
}

fn assert_graph_refuses(reply: &Reply, message: &str) {
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    let error = reply.json()["error"].clone();
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("InvalidAuthenticationToken"), &json!(message))
    );
    assert_eq!(
        error["innerError"]["request-id"].as_str().unwrap().len(),
        36
    );
    let challenge =
        format!("Bearer realm=\"\", authorization_uri=\"http://{HOST}/common/oauth2/authorize\"");
    assert_eq!(reply.header("www-authenticate"), challenge);
}

fn assert_blob_refuses(emulated: &Emulated, reply: &Reply, detail: &str) {
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(reply.header("x-ms-error-code"), "InvalidAuthenticationInfo");
    assert_eq!(
        reply.text,
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>InvalidAuthenticationInfo</Code>\
             <Message>The server could not authenticate the request. See the WWW-Authenticate header.</Message>\
             <AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>"
        )
    );
    let tenant_id = emulated.tenant.id();
    let challenge = format!(
        "Bearer authorization_uri=http://{HOST}/{tenant_id}/oauth2/authorize resource_id={STORAGE}"
    );
    assert_eq!(reply.header("www-authenticate"), challenge);
}

#[test]
fn graph_tells_who_is_signed_in() {
    let emulated = Emulated::new();
    for resource in [GRAPH.to_owned(), format!("{GRAPH}/")] {
        let reply = emulated.get_with_token("/v1.0/me", &emulated.access_token(&resource));
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(
            reply.json(),
            json!({
                "@odata.context": format!("http://{HOST}/v1.0/$metadata#users/$entity"),
                "businessPhones": [],
                "displayName": "Ada Example",
                "givenName": "Ada",
                "jobTitle": null,
                "mail": "ada@example.com",
                "mobilePhone": null,
                "officeLocation": null,
                "preferredLanguage": null,
                "surname": "Example",
                "userPrincipalName": "ada@example.com",
                "id": User::default().object_id,
            })
        );
    }
}

#[test]
fn graph_refuses_bad_tokens() {
    let (emulated, other) = (Emulated::new(), Emulated::new());
    let good = emulated.access_token(GRAPH);
    let me = |token: &str| emulated.get_with_token("/v1.0/me", token);
    assert_graph_refuses(&emulated.get("/v1.0/me"), "Access token is empty.");
    let invalid_signature = "Access token validation failure. Invalid signature.";
    assert_graph_refuses(&me("no.jwt.atall"), invalid_signature);
    assert_graph_refuses(&me(&tampered(&good)), invalid_signature);
    assert_graph_refuses(&me(&other.access_token(GRAPH)), invalid_signature);
    assert_graph_refuses(
        &me(&emulated.access_token(STORAGE)),
        "Access token validation failure. Invalid audience.",
    );
    emulated.wait(3598);
    assert_eq!(me(&good).status, StatusCode::OK);
    emulated.wait(1);
    assert_graph_refuses(
        &me(&good),
        "Lifetime validation failed, the token is expired.",
    );
}

#[test]
fn the_blob_service_lists_containers() {
    let emulated = Emulated::new();
    for resource in [STORAGE.to_owned(), format!("{STORAGE}/")] {
        let token = emulated.access_token(&resource);
        for path in [
            containers(),
            format!("/{BLOB_ACCOUNT}/?comp=list&maxresults=5000"),
        ] {
            let reply = emulated.get_with_token(&path, &token);
            assert_eq!(reply.status, StatusCode::OK);
            assert_eq!(reply.header("content-type"), "application/xml");
            assert_eq!(reply.header("x-ms-version"), "2017-11-09");
            assert_eq!(reply.header("x-ms-request-id").len(), 36);
            let start = format!(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
                 <EnumerationResults ServiceEndpoint=\"http://{HOST}/demostorage/\"><Containers>\
                 <Container><Name>field-notes</Name><Properties>\
                 <Last-Modified>Mon, 02 Mar 2026 08:00:00 GMT</Last-Modified>"
            );
            assert_eq!(reply.text.get(..start.len()), Some(start.as_str()));
            let names: Vec<_> = reply
                .text
                .split("<Name>")
                .skip(1)
                .filter_map(|rest| rest.split('<').next())
                .collect();
            assert_eq!(names, ["field-notes", "forecasts", "measurements"]);
        }
    }
}

#[test]
fn the_blob_service_speaks_the_version_it_is_asked_for() {
    let emulated = Emulated::new();
    let request = Request::get(containers())
        .header("host", HOST)
        .header("x-ms-version", "2025-01-05")
        .header(
            "authorization",
            format!("bearer {}", emulated.access_token(STORAGE)),
        );
    let reply = emulated.send(request.body(Body::empty()).unwrap());
    assert_eq!(
        (reply.status, reply.header("x-ms-version")),
        (StatusCode::OK, "2025-01-05")
    );
}

#[test]
fn the_blob_service_escapes_the_host_it_repeats() {
    let emulated = Emulated::new();
    let request = Request::get(containers()).header("host", "a&b").header(
        "authorization",
        format!("Bearer {}", emulated.access_token(STORAGE)),
    );
    let reply = emulated.send(request.body(Body::empty()).unwrap());
    assert!(
        reply
            .text
            .contains("ServiceEndpoint=\"http://a&amp;b/demostorage/\""),
        "{}",
        reply.text
    );
}

#[test]
fn the_blob_service_refuses_bad_tokens() {
    let (emulated, other) = (Emulated::new(), Emulated::new());
    let good = emulated.access_token(STORAGE);
    let refuses = |token: &str, detail| {
        assert_blob_refuses(
            &emulated,
            &emulated.get_with_token(&containers(), token),
            detail,
        );
    };
    refuses("no.jwt.atall", "Signature validation failed.");
    refuses(&tampered(&good), "Signature validation failed.");
    refuses(&other.access_token(STORAGE), "Signature validation failed.");
    refuses(
        &emulated.access_token(GRAPH),
        "Audience validation failed. Audience did not match.",
    );
    emulated.wait(3598);
    assert_eq!(
        emulated.get_with_token(&containers(), &good).status,
        StatusCode::OK
    );
    emulated.wait(1);
    refuses(&good, "Lifetime validation failed. The token is expired.");
}

#[test]
fn the_blob_service_asks_for_a_token_where_there_is_none() {
    let emulated = Emulated::new();
    for path in [containers(), format!("/{BLOB_ACCOUNT}/container/blob")] {
        let reply = emulated.get(&path);
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert_eq!(
            reply.header("x-ms-error-code"),
            "NoAuthenticationInformation"
        );
        assert!(
            reply
                .header("www-authenticate")
                .starts_with("Bearer authorization_uri=")
        );
    }
}

#[test]
fn the_blob_service_does_nothing_but_list_containers() {
    let emulated = Emulated::new();
    let token = emulated.access_token(STORAGE);
    let paths = [
        "/demostorage",
        "/demostorage?comp=properties",
        "/demostorage?comp=list&restype=service",
        "/demostorage/c/b",
    ];
    for path in paths {
        let reply = emulated.get_with_token(path, &token);
        assert_eq!(
            (reply.status, reply.header("x-ms-error-code")),
            (StatusCode::BAD_REQUEST, "UnsupportedQueryParameter")
        );
    }
}

#[test]
fn an_id_token_is_no_access_token() {
    let emulated = Emulated::new();
    let body = emulated
        .exchange(
            &emulated.refresh_token,
            &format!("{GRAPH}/.default openid profile"),
        )
        .json();
    let reply = emulated.get_with_token("/v1.0/me", body["id_token"].as_str().unwrap());
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
}

/// The same token with one character of its claims changed.
fn tampered(token: &str) -> String {
    let at = token.find('.').unwrap() + 20;
    let changed = if &token[at..=at] == "A" { "B" } else { "A" };
    format!("{}{changed}{}", &token[..at], &token[at + 1..])
}
