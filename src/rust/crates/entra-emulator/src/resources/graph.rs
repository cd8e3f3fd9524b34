//! Microsoft Graph: who the token stands for.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;

use super::authorize;
use crate::clock::utc;
use crate::endpoint::BaseUrl;
use crate::random;
use crate::tenant::Tenant;
use crate::tokens::BadToken;

const RESOURCE: &str = "https://graph.microsoft.com";

pub(super) fn routes() -> Router<Arc<Tenant>> {
    Router::new().route("/v1.0/me", get(me))
}

/// `GET /v1.0/me`.
async fn me(
    State(tenant): State<Arc<Tenant>>,
    BaseUrl(base): BaseUrl,
    headers: HeaderMap,
) -> Response {
    let claims = match authorize(&tenant, &headers, RESOURCE) {
        Ok(claims) => claims,
        Err(fault) => return unauthorized(&tenant, &base, fault),
    };
    let Some(user) = tenant.user(&claims.oid) else {
        return error(
            &tenant,
            StatusCode::NOT_FOUND,
            "Request_ResourceNotFound",
            "The user does not exist.",
        );
    };
    Json(json!({
        "@odata.context": format!("{base}/v1.0/$metadata#users/$entity"),
        "businessPhones": [],
        "displayName": user.display_name(),
        "givenName": user.given_name,
        "jobTitle": null,
        "mail": user.user_principal_name,
        "mobilePhone": null,
        "officeLocation": null,
        "preferredLanguage": null,
        "surname": user.surname,
        "userPrincipalName": user.user_principal_name,
        "id": user.object_id,
    }))
    .into_response()
}

fn unauthorized(tenant: &Tenant, base: &str, fault: BadToken) -> Response {
    let message = match fault {
        BadToken::Missing => "Access token is empty.",
        BadToken::Signature => "Access token validation failure. Invalid signature.",
        BadToken::Issuer => "Access token validation failure. Invalid issuer.",
        BadToken::Audience => "Access token validation failure. Invalid audience.",
        BadToken::Lifetime => "Lifetime validation failed, the token is expired.",
    };
    // Graph is one service for all tenants, so it cannot name the caller's.
    let challenge =
        format!("Bearer realm=\"\", authorization_uri=\"{base}/common/oauth2/authorize\"");
    let reply = error(
        tenant,
        StatusCode::UNAUTHORIZED,
        "InvalidAuthenticationToken",
        message,
    );
    ([(header::WWW_AUTHENTICATE, challenge)], reply).into_response()
}

/// Graph's error body.
fn error(tenant: &Tenant, status: StatusCode, code: &str, message: &str) -> Response {
    let inner = json!({
        "date": utc(tenant.now(), "%Y-%m-%dT%H:%M:%S"),
        "request-id": random::guid().unwrap_or_default(),
    });
    (
        status,
        Json(json!({"error": {"code": code, "message": message, "innerError": inner}})),
    )
        .into_response()
}
