//! An Entra ID tenant on loopback, for tests and for `entrar demo`.
//!
//! A small authorization server rather than a table of canned replies: it keeps persons and their refresh tokens,
//! exchanges those for access tokens it signs with a key of its own, and refuses with Entra's error bodies. Beside the
//! token endpoint it serves OpenID discovery and three resources to spend tokens on: Microsoft Graph's `/v1.0/me`, the
//! Blob service's list of containers and Key Vault's secrets. Where its [`Options`] say so, it refuses good requests too.
//!
//! ```
//! use std::sync::Arc;
//!
//! use entra_emulator::{Emulator, Options, Person, Tenant};
//!
//! let tenant = Arc::new(Tenant::new(Options::default())?);
//! let refresh_token = tenant.sign_in(&Person::default())?;
//! let emulator = Emulator::start(tenant, ([127, 0, 0, 1], 0).into())?;
//! // POST refresh_token and a scope to {authority}/oauth2/v2.0/token …
//! assert!(emulator.authority().starts_with("http://127.0.0.1:"));
//! # drop(refresh_token);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Tokens are as good as the key, which is made at each start: nobody but the emulator's own resources (and a server
//! that does not check signatures, such as Azurite) accepts them.

mod clock;
mod directory;
mod discovery;
mod endpoint;
mod errors;
mod faults;
mod keys;
mod random;
mod resources;
mod scope;
mod server;
mod tenant;
mod token_endpoint;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::json;

pub use clock::Clock;
pub use directory::Person;
pub use errors::Error;
pub use faults::{Fault, FaultKind, UnknownFault};
pub use resources::blob::BLOB_ACCOUNT;
pub use server::Emulator;
pub use tenant::{Options, Tenant};

/// All routes of one tenant, ready to be served or to be called without a socket.
///
/// | route | what answers |
/// |---|---|
/// | `GET /{tenant}/v2.0/.well-known/openid-configuration` | discovery |
/// | `GET /{tenant}/discovery/v2.0/keys` | the public signing key, as a JWK set |
/// | `POST /{tenant}/oauth2/v2.0/token` | the token endpoint: `grant_type=refresh_token` |
/// | `GET /v1.0/me` | Microsoft Graph: the signed-in person |
/// | `GET /demostorage?comp=list` | the Blob service of [`BLOB_ACCOUNT`]: its containers |
/// | `GET /secrets?api-version=` | Key Vault: the list of secrets |
/// | `GET /secrets/{name}[/{version}]?api-version=` | Key Vault: a secret |
///
/// `{tenant}` is the tenant's id, `organizations` or `common`. Addresses in replies are built from the request's
/// `Host` header; a request without a usable one gets HTTP 400. Any other path gets HTTP 404 and a JSON body.
pub fn app(tenant: Arc<Tenant>) -> Router {
    Router::new()
        .route(
            "/{tenant}/v2.0/.well-known/openid-configuration",
            get(discovery::configuration),
        )
        .route("/{tenant}/discovery/v2.0/keys", get(discovery::keys))
        .route("/{tenant}/oauth2/v2.0/token", post(token_endpoint::token))
        .merge(resources::routes())
        .fallback(not_found)
        .with_state(tenant)
}

async fn not_found(uri: Uri) -> Response {
    let message = format!("Nothing is served at {}.", uri.path());
    (
        StatusCode::NOT_FOUND,
        Json(json!({"error": {"code": "NotFound", "message": message}})),
    )
        .into_response()
}
