//! Requests: their dialects and paths, their cookies, and what is wrong with them.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use entra_emulator::{App, Credential, Options};
use entrar_core::cookie::CookieKey;
use entrar_core::rpc::COOKIE_HEADER;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{ADA, BOB, Endpoint, LATER, LONG, NOW, STORAGE, Session, grant};

async fn session() -> (Session, Endpoint) {
    let endpoint = Endpoint::start(async |number| grant(number)).await;
    (Session::at(&endpoint, LONG), endpoint)
}

#[tokio::test]
async fn both_dialects_get_a_token_at_any_base_path() {
    let (session, _endpoint) = session().await;
    let rstudioapi = json!({"params": [STORAGE], "method": "delegated_azure_token"});
    let posit_sdk = json!({"method": "/delegated_azure_token", "params": [STORAGE]});
    for path in [
        "/delegated_azure_token",
        "//delegated_azure_token",
        "/dev/delegated_azure_token/",
        "/a//b/delegated_azure_token",
    ] {
        for (verb, body) in [(Method::POST, &rstudioapi), (Method::GET, &posit_sdk)] {
            let request = Request::builder()
                .method(verb)
                .uri(path)
                .header("X-RS-Session-Server-RPC-Cookie", &session.cookie)
                .body(Body::from(body.to_string()))
                .unwrap();
            let reply = session.send(request).await;
            assert_eq!(reply.status, StatusCode::OK);
            assert_eq!(reply.body["result"], true, "{path}");
        }
    }
}

#[tokio::test]
async fn a_token_has_the_fields_of_the_protocol_and_no_other() {
    let (session, _emulator) = Session::at_emulator(Options::default());
    let body = session.ask(STORAGE).await;
    assert!(
        body["token"]["access_token"]
            .as_str()
            .unwrap()
            .starts_with("eyJ")
    );
    let mut rest = body.clone();
    rest["token"]
        .as_object_mut()
        .unwrap()
        .remove("access_token");
    let expected = json!({"result": true, "token": {
        "token_type": "Bearer",
        "expires_in": 3599,
        "ext_expires_in": 3599,
        "scope": "https://storage.azure.com/user_impersonation https://storage.azure.com/.default"
    }});
    assert_eq!(rest, expected);
}

#[tokio::test]
async fn a_field_that_entra_leaves_out_is_left_out() {
    let endpoint = Endpoint::start(async |_| {
        axum::response::IntoResponse::into_response(r#"{"access_token":"a"}"#)
    })
    .await;
    let session = Session::at(&endpoint, LONG);
    let expected = json!({"result": true, "token": {"access_token": "a", "token_type": "Bearer"}});
    assert_eq!(session.ask(STORAGE).await, expected);
}

#[tokio::test]
async fn a_bad_cookie_is_refused_before_the_body_is_looked_at() {
    let (session, endpoint) = session().await;
    let other_key = CookieKey::generate().unwrap();
    let other = other_key.mint("ada", LATER).expose_secret().to_owned();
    let forged = "the cookie is not one of this server's";
    let tampered = session.cookie.replace("2026", "2036");
    let (two_fields, _) = session.cookie.rsplit_once('|').unwrap();
    let four_fields = format!("{}|x", session.cookie);
    let missing = "the request carries no cookie";
    for (cookies, description) in [
        (vec![], missing),
        (
            vec![session.cookie.as_str(), session.cookie.as_str()],
            missing,
        ),
        (vec![""], forged),
        (vec![tampered.as_str()], forged),
        (vec![other.as_str()], forged),
        (vec![two_fields], forged),
        (vec![four_fields.as_str()], forged),
    ] {
        let mut request = Request::post("/delegated_azure_token");
        for cookie in cookies {
            request = request.header(COOKIE_HEADER, cookie);
        }
        let reply = session
            .send(request.body(Body::from("no JSON")).unwrap())
            .await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        let error = json!({"code": 3, "message": "Unauthorized", "description": description});
        assert_eq!(reply.body, json!({"error": error}));
    }
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test]
async fn an_expired_cookie_is_refused() {
    let (session, _endpoint) = session().await;
    let session = session.with_cookie(ADA, NOW);
    let reply = session.send(session.request(STORAGE)).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(reply.body["error"]["description"], "the cookie has expired");
}

#[tokio::test]
async fn a_request_that_makes_no_sense_gets_its_json_rpc_error() {
    let (session, endpoint) = session().await;
    for (body, code) in [
        ("{", 5),
        ("[]", 6),
        (r#"{"method":"server_init","params":[]}"#, 7),
        (r#"{"method":"delegated_azure_token","params":[]}"#, 8),
        (r#"{"method":"delegated_azure_token","params":[7]}"#, 9),
        (
            r#"{"method":"delegated_azure_token","params":["a","b"]}"#,
            10,
        ),
    ] {
        let mut request = session.request(STORAGE);
        *request.body_mut() = Body::from(body);
        let reply = session.send(request).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.body["error"]["code"], code, "{body}");
        assert!(reply.body["error"]["description"].is_string());
    }
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test]
async fn another_path_or_verb_is_a_method_that_is_not_known() {
    let (session, _endpoint) = session().await;
    for (verb, path, status) in [
        ("POST", "/", StatusCode::NOT_FOUND),
        ("GET", "/delegated_azure_token/other", StatusCode::NOT_FOUND),
        (
            "PUT",
            "/delegated_azure_token",
            StatusCode::METHOD_NOT_ALLOWED,
        ),
    ] {
        let mut request = session.request(STORAGE);
        *request.method_mut() = verb.parse().unwrap();
        *request.uri_mut() = path.parse().unwrap();
        let reply = session.send(request).await;
        assert_eq!(
            (reply.status, &reply.body["error"]["code"]),
            (status, &json!(7))
        );
    }
}

#[tokio::test]
async fn a_body_of_64_kib_is_read_and_a_larger_one_refused() {
    let (session, _endpoint) = session().await;
    let request = |length: usize| {
        let mut body = json!({"params": [STORAGE], "method": "delegated_azure_token"}).to_string();
        body.push_str(&" ".repeat(length - body.len()));
        let mut request = session.request(STORAGE);
        *request.body_mut() = Body::from(body);
        request
    };
    assert_eq!(session.send(request(64 * 1024)).await.body["result"], true);
    let reply = session.send(request(64 * 1024 + 1)).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(reply.body["error"]["code"], 6);
}

#[tokio::test]
async fn what_is_no_resource_is_not_sent_to_entra() {
    let (session, endpoint) = session().await;
    for resource in ["", "a b", "https://storage.azure.com/.default"] {
        let error = session.oauth_error(resource).await;
        assert_eq!(error["error"], "invalid_resource");
        assert!(
            error["error_description"]
                .as_str()
                .unwrap()
                .contains("resource"),
            "{error}"
        );
    }
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test]
async fn who_is_not_signed_in_has_to_sign_in() {
    let (session, endpoint) = session().await;
    let stranger = session.with_cookie(BOB, LATER);
    assert_eq!(
        stranger.oauth_error(STORAGE).await["error"],
        "login_required"
    );
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test]
async fn entras_error_is_passed_on_unchanged() {
    let options = Options {
        apps: vec![App::confidential(Credential::Secret("right".into()))],
        ..Options::default()
    };
    let (session, _emulator) = Session::with_client_secret(options, Some("wrong".into()));
    let error = session.oauth_error(STORAGE).await;
    let names: Vec<&String> = error.as_object().unwrap().keys().collect();
    let expected = [
        "correlation_id",
        "error",
        "error_codes",
        "error_description",
        "error_uri",
        "timestamp",
        "trace_id",
    ];
    assert_eq!(names, expected);
    assert_eq!(error["error"], "invalid_client");
    assert_eq!(error["error_codes"], json!([7_000_215]));
    let description = error["error_description"].as_str().unwrap();
    assert!(
        description.starts_with("AADSTS7000215: Invalid client secret provided.\r\nTrace ID: ")
    );
}

#[tokio::test]
async fn a_resource_that_the_tenant_does_not_know_is_entras_to_refuse() {
    let (session, _emulator) = Session::at_emulator(Options::default());
    let error = session.oauth_error("https://storage.azure.net").await;
    assert_eq!(error["error"], "invalid_resource");
    assert_eq!(error["error_codes"], json!([500_011]));
    assert_ne!(error["correlation_id"], Value::Null);
}

#[tokio::test]
async fn a_page_in_a_browser_and_another_hosts_name_get_nothing() {
    let (session, endpoint) = session().await;
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("host", "evil.example"),
    ] {
        let mut request = session.request(STORAGE);
        request.headers_mut().insert(name, value.parse().unwrap());
        let reply = session.send(request).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{name}");
        assert_eq!(reply.body["error"]["code"], 6);
    }
    let preflight = Request::options("/delegated_azure_token")
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST")
        .body(Body::empty())
        .unwrap();
    assert_eq!(session.send(preflight).await.status, StatusCode::FORBIDDEN);
    assert_eq!(endpoint.requests(), 0);
}
