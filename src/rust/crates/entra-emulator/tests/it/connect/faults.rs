//! Exchanges that do not go as they should.

use std::path::{Path, PathBuf};

use axum::http::StatusCode;
use entra_emulator::connect::Options;
use entra_emulator::{Fault, FaultKind, User};
use serde_json::json;

use super::{CONTENT, Content, bob, parsed, people, service_account, viewer};
use crate::{GRAPH, Reply, STORAGE};

const NO_INTEGRATION: &str = "No OAuth integrations have been associated with this content item.";

fn without_integration(faults: &[&str]) -> Reply {
    let content = Content::new(Options {
        integrations: Vec::new(),
        faults: parsed(faults),
        ..Options::default()
    });
    let reply = content.exchange(&bob(), &[]);
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    reply
}

#[test]
fn errors_have_had_three_forms() {
    assert_eq!(
        without_integration(&[]).json(),
        json!({"error": "invalid_request", "error_description": NO_INTEGRATION})
    );
    assert_eq!(
        without_integration(&["connect_errors"]).json(),
        json!({"code": 212, "error": NO_INTEGRATION, "payload": null})
    );
    assert_eq!(
        without_integration(&["old_errors"]).json(),
        json!({"error_code": 212, "error_message": NO_INTEGRATION})
    );
}

#[test]
fn an_expired_key_is_refused_everywhere() {
    let content = Content::failing(&["key_expired"]);
    for reply in [
        content.exchange(&bob(), &[]),
        content.get("/__api__/v1/oauth/integrations"),
    ] {
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    }
}

#[test]
fn a_fault_of_one_visitor_is_not_anothers() {
    for (fault, error) in [
        ("bob@example.com=visitor_refused", "invalid_grant"),
        ("bob@example.com=no_refresh_token", "invalid_request"),
    ] {
        let content = Content::failing(&[fault]);
        let refused = content.exchange(&bob(), &[]);
        assert_eq!(refused.json()["error"], error);
        let reply = content.exchange(&User::default(), &[]);
        assert_eq!(content.display_name(&reply), "Ada Example");
    }
}

#[test]
fn an_opaque_token_tells_nothing_and_is_taken_nowhere() {
    let content = Content::failing(&["opaque_token"]);
    let reply = content.exchange(&bob(), &[]);
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    assert!(!token.contains('.'));
    let me = content.emulated.get_with_token("/v1.0/me", &token);
    assert_eq!(me.status, StatusCode::UNAUTHORIZED);
}

#[test]
fn the_lifetime_is_told_where_it_is_asked_for() {
    let mut tenant = people();
    tenant.token_lifetime = 7;
    let content = Content::of(
        tenant,
        Options {
            integrations: vec![viewer(GRAPH)],
            faults: parsed(&["lifetime"]),
            ..Options::default()
        },
    );
    let reply = content.exchange(&bob(), &[]);
    assert_eq!(reply.json()["expires_in"], 7);
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    let claims = content.emulated.claims(&token);
    assert_eq!(claims["exp"].as_i64(), Some(crate::NOW + 7));
    content.emulated.wait(7);
    let me = content.emulated.get_with_token("/v1.0/me", &token);
    assert_eq!(me.status, StatusCode::UNAUTHORIZED);
}

#[test]
fn what_the_tenant_refuses_comes_through() {
    for (kind, error, words) in [
        (FaultKind::SignInRequired, "invalid_grant", "AADSTS700082"),
        (FaultKind::ConsentRequired, "invalid_grant", "AADSTS65001"),
        (FaultKind::AccessDenied, "invalid_grant", "AADSTS53003"),
        (
            FaultKind::Unavailable,
            "temporarily_unavailable",
            "AADSTS90033",
        ),
    ] {
        let mut tenant = people();
        tenant.faults = vec![Fault::new(kind, Some(GRAPH))];
        let content = Content::of(tenant, Options::default());
        let named = |resource| [("audience", viewer(resource).guid)];
        let exchange = |resource| {
            let [(name, guid)] = named(resource);
            content.exchange(&bob(), &[(name, &guid)])
        };
        let refused = exchange(GRAPH).json();
        assert_eq!(refused["error"], error);
        let description = refused["error_description"].as_str().unwrap();
        assert!(description.starts_with(words), "{description}");
        assert_eq!(exchange(STORAGE).status, StatusCode::OK);
    }
    let mut tenant = people();
    tenant.faults = vec![Fault::new(FaultKind::Throttled, None)];
    let content = Content::of(
        tenant,
        Options {
            integrations: vec![viewer(GRAPH)],
            ..Options::default()
        },
    );
    let reply = content.exchange(&bob(), &[]);
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(reply.header("retry-after"), "60");
}

/// A file's path in a directory that is removed with this.
struct TokenFile(PathBuf);

impl TokenFile {
    fn new() -> Self {
        let id = format!("{:?}", std::thread::current().id());
        let name = format!("entra-emulator-{}-{id}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    fn path(&self) -> PathBuf {
        self.0.join("session-token")
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(file: &Path) -> secrecy::SecretString {
    std::fs::read_to_string(file).unwrap().into()
}

#[test]
fn a_rotated_token_of_the_content_is_in_its_file() {
    let file = TokenFile::new();
    let content = Content::new(Options {
        integrations: vec![service_account(STORAGE)],
        faults: parsed(&["rotated"]),
        content_token_file: Some(file.path()),
        ..Options::default()
    });
    let first = read(&file.path());
    let granted = content.exchange_of(CONTENT, &first, &[]);
    assert_eq!(granted.status, StatusCode::OK);
    let again = content.exchange_of(CONTENT, &first, &[]);
    assert_eq!(again.json()["error"], "invalid_grant");
    let second = content.exchange_of(CONTENT, &read(&file.path()), &[]);
    assert_eq!(second.status, StatusCode::OK);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }
}

#[test]
fn the_contents_session_may_be_refused() {
    let content = Content::new(Options {
        integrations: vec![service_account(STORAGE)],
        faults: parsed(&["content_refused"]),
        ..Options::default()
    });
    let reply = content.exchange_of(CONTENT, &content.connect.content_token(), &[]);
    assert_eq!(reply.json()["error"], "invalid_grant");
}
