//! The metadata service of an Azure machine, as far as its managed identity goes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::assertions::WORKLOAD_AUDIENCE;
use crate::tenant::Tenant;

/// The path at which machines ask.
pub(crate) const PATH: &str = "/metadata/identity/oauth2/token";
/// Whom the token of the machine's own identity names.
pub(crate) const SYSTEM: &str = "managed-identity";
/// Seconds that a token lives.
const LIFETIME: u32 = 86_400;

/// `GET` with `Metadata: true` and `resource`; with `client_id` the token names that identity.
pub(crate) async fn token(
    State(tenant): State<Arc<Tenant>>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let refused = |what: &str| {
        let error = json!({"error": "invalid_request", "error_description": what});
        (StatusCode::BAD_REQUEST, Json(error)).into_response()
    };
    if headers.get("metadata").is_none_or(|value| value != "true") {
        return refused("Required metadata header not specified");
    }
    if query.get("resource").map(String::as_str) != Some(WORKLOAD_AUDIENCE) {
        return refused("The resource is not known");
    }
    let subject = query.get("client_id").map_or(SYSTEM, String::as_str);
    match tenant.workload_token(subject, LIFETIME) {
        Ok(token) => {
            // The real one writes numbers as strings.
            let reply = json!({
                "access_token": token.expose_secret(), "expires_in": LIFETIME.to_string(),
                "resource": WORKLOAD_AUDIENCE, "token_type": "Bearer"
            });
            Json(reply).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
