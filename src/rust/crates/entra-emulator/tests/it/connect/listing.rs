//! What content can learn of its integrations.

use axum::http::StatusCode;
use entra_emulator::connect::Options;
use serde_json::json;

use super::{Content, service_account, viewer};
use crate::{GRAPH, STORAGE};

fn path(content: &Content) -> String {
    let guid = content.connect.content();
    format!("/__api__/v1/content/{guid}/oauth/integrations/associations")
}

#[test]
fn the_integrations_of_the_content_are_listed() {
    let content = Content::new(Options {
        integrations: vec![viewer(GRAPH), service_account(STORAGE)],
        ..Options::default()
    });
    let listed = content.get(&path(&content)).json();
    let expected = [
        (
            viewer(GRAPH).guid,
            "Viewer: graph.microsoft.com",
            "msgraph",
            "Viewer",
        ),
        (
            service_account(STORAGE).guid,
            "Service Account: storage.azure.com",
            "azure",
            "Service Account",
        ),
    ];
    assert_eq!(listed.as_array().unwrap().len(), expected.len());
    for (listed, (guid, name, template, auth_type)) in
        listed.as_array().unwrap().iter().zip(expected)
    {
        assert_eq!(listed["app_guid"], content.connect.content());
        assert_eq!(listed["oauth_integration_guid"], guid);
        assert_eq!(listed["oauth_integration_name"], name);
        assert_eq!(listed["oauth_integration_template"], template);
        assert_eq!(listed["oauth_integration_auth_type"], auth_type);
    }
    let other = path(&content).replace(content.connect.content(), "another");
    assert_eq!(content.get(&other).status, StatusCode::NOT_FOUND);
}

#[test]
fn an_integration_shows_its_scopes() {
    let content = Content::new(Options::default());
    let of = |guid: &str| content.get(&format!("/__api__/v1/oauth/integrations/{guid}"));
    let shown = of(&viewer(GRAPH).guid).json();
    assert_eq!(
        shown["config"]["scopes"],
        "openid offline_access https://graph.microsoft.com/.default"
    );
    assert_eq!(shown["auth_type"], "Viewer");
    assert_eq!(of("another").status, StatusCode::NOT_FOUND);
    let all = content.get("/__api__/v1/oauth/integrations").json();
    assert_eq!(all[0], shown);
}

#[test]
fn content_may_have_none() {
    let content = Content::new(Options {
        integrations: Vec::new(),
        ..Options::default()
    });
    assert_eq!(content.get(&path(&content)).json(), json!([]));
}

#[test]
fn what_may_be_learnt_is_a_matter_of_rights() {
    let content = Content::failing(&["listing_refused"]);
    let refused = content.get(&path(&content));
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (StatusCode::FORBIDDEN, &json!(22))
    );
    let integration = format!("/__api__/v1/oauth/integrations/{}", viewer(GRAPH).guid);
    assert_eq!(content.get(&integration).status, StatusCode::OK);
    let content = Content::failing(&["scopes_refused"]);
    assert_eq!(content.get(&path(&content)).status, StatusCode::OK);
    assert_eq!(content.get(&integration).status, StatusCode::FORBIDDEN);
    let all = content.get("/__api__/v1/oauth/integrations");
    assert_eq!(all.status, StatusCode::FORBIDDEN);
}
