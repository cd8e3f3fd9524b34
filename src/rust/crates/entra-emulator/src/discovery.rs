//! OpenID discovery: where things are, and the key that tokens are signed with.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Json;
use serde_json::{Value, json};

use crate::endpoint::{Endpoint, is_alias};
use crate::tenant::Tenant;

/// `GET /{tenant}/v2.0/.well-known/openid-configuration`. It names only what is served.
pub(crate) async fn configuration(
    State(tenant): State<Arc<Tenant>>,
    endpoint: Endpoint,
) -> Json<Value> {
    // An alias stands for many tenants: who issues a token depends on its `tid`.
    let issuer = if is_alias(&endpoint.tenant_name) {
        "{tenantid}"
    } else {
        tenant.id()
    };
    Json(json!({
        "issuer": format!("{}/{issuer}/v2.0", endpoint.base.0),
        "authorization_endpoint": endpoint.address("oauth2/v2.0/authorize"),
        "token_endpoint": endpoint.address("oauth2/v2.0/token"),
        "device_authorization_endpoint": endpoint.address("oauth2/v2.0/devicecode"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "jwks_uri": endpoint.address("discovery/v2.0/keys"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "grant_types_supported": [
            "authorization_code",
            "refresh_token",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "claims_supported": [
            "sub", "iss", "aud", "exp", "iat", "nonce", "preferred_username", "name", "tid", "oid", "upn", "acct", "ver",
        ],
    }))
}

/// `GET /{tenant}/discovery/v2.0/keys`. As Entra does, it names the issuer whose tokens a key signs.
pub(crate) async fn keys(State(tenant): State<Arc<Tenant>>, endpoint: Endpoint) -> Json<Value> {
    let mut key = tenant.key().jwk();
    if let Value::Object(key) = &mut key {
        let issuer = format!("{}/{}/v2.0", endpoint.base.0, tenant.id());
        key.insert("issuer".to_owned(), issuer.into());
    }
    Json(json!({ "keys": [key] }))
}
