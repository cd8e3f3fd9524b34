//! What content can learn of its integrations, and everybody of the server.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

use crate::clock::utc;
use crate::connect::Connect;
use crate::connect::caller::Caller;
use crate::connect::faults::FaultKind;
use crate::connect::integration::Integration;
use crate::connect::refusal::Refusal;

/// When everything was set up, in Unix seconds.
const CREATED: i64 = 1_772_438_400;

/// `GET /v1/content/{guid}/oauth/integrations/associations`.
pub(crate) async fn associations(
    State(connect): State<Arc<Connect>>,
    _: Caller,
    Path(guid): Path<String>,
) -> Response {
    if connect.has(FaultKind::ListingRefused) {
        return Refusal::Forbidden.reply();
    }
    if guid != connect.content {
        return Refusal::NotFound.reply();
    }
    let all: Vec<Value> = connect
        .integrations()
        .iter()
        .map(|integration| {
            json!({
                "app_guid": connect.content,
                "oauth_integration_guid": integration.guid,
                "oauth_integration_name": integration.name,
                "oauth_integration_description": "",
                "oauth_integration_template": integration.template(),
                "oauth_integration_auth_type": integration.auth_type.as_str(),
                "created_time": created(),
            })
        })
        .collect();
    Json(all).into_response()
}

/// `GET /v1/content/{guid}`: as little as a client needs to go on from there.
pub(crate) async fn content(
    State(connect): State<Arc<Connect>>,
    _: Caller,
    Path(guid): Path<String>,
) -> Response {
    if guid != connect.content {
        return Refusal::NotFound.reply();
    }
    Json(json!({"guid": guid, "name": "content", "title": "Emulated content"})).into_response()
}

/// `GET /v1/oauth/integrations`.
pub(crate) async fn integrations(State(connect): State<Arc<Connect>>, _: Caller) -> Response {
    if connect.has(FaultKind::ScopesRefused) {
        return Refusal::Forbidden.reply();
    }
    let all: Vec<Value> = connect.integrations().iter().map(settings).collect();
    Json(all).into_response()
}

/// `GET /v1/oauth/integrations/{guid}`.
pub(crate) async fn integration(
    State(connect): State<Arc<Connect>>,
    _: Caller,
    Path(guid): Path<String>,
) -> Response {
    if connect.has(FaultKind::ScopesRefused) {
        return Refusal::Forbidden.reply();
    }
    let mut all = connect.integrations().iter();
    match all.find(|integration| integration.guid == guid) {
        Some(integration) => Json(settings(integration)).into_response(),
        None => Refusal::NotFound.reply(),
    }
}

/// `GET /server_settings`.
pub(crate) async fn server_settings(State(connect): State<Arc<Connect>>) -> Json<Value> {
    Json(json!({"version": connect.options.version}))
}

pub(crate) async fn not_found() -> Response {
    Refusal::NotFound.reply()
}

fn settings(integration: &Integration) -> Value {
    json!({
        "guid": integration.guid,
        "name": integration.name,
        "description": "",
        "template": integration.template(),
        "auth_type": integration.auth_type.as_str(),
        "created_time": created(),
        "updated_time": created(),
        "config": {"auth_mode": "Confidential", "scopes": integration.scopes},
    })
}

fn created() -> String {
    utc(CREATED, "%Y-%m-%dT%H:%M:%SZ")
}
