//! OpenID discovery: where things are, and the key that tokens are signed with.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Json;
use serde_json::{Value, json};

use crate::endpoint::{BaseUrl, Endpoint};
use crate::tenant::Tenant;

/// `GET /{tenant}/v2.0/.well-known/openid-configuration`. It names only what is served.
pub(crate) async fn configuration(
    State(tenant): State<Arc<Tenant>>,
    endpoint: Endpoint,
) -> Json<Value> {
    Json(json!({
        "issuer": issuer(&endpoint.base, &tenant),
        "token_endpoint": endpoint.address("oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "jwks_uri": endpoint.address("discovery/v2.0/keys"),
        "grant_types_supported": ["refresh_token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
    }))
}

/// `GET /{tenant}/discovery/v2.0/keys`.
pub(crate) async fn keys(State(tenant): State<Arc<Tenant>>, _: Endpoint) -> Json<Value> {
    Json(json!({"keys": [tenant.key().jwk()]}))
}

/// Who issues id tokens: always the tenant by its id, also when it was called by an alias, so that what discovery says
/// and what an id token says are equal.
pub(crate) fn issuer(base: &BaseUrl, tenant: &Tenant) -> String {
    format!("{}/{}/v2.0", base.0, tenant.id())
}
