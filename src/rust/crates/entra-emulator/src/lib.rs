//! An Entra ID tenant on loopback that one can sign in to, for tests, `entrar demo` and `entrar emulator`; and a Posit Connect
//! in front of it ([`connect`]).
//!
//! A small authorization server rather than a table of canned replies: it knows users and app registrations, lets a
//! person sign in on a page or by a device code, exchanges codes and refresh tokens for access tokens that it signs with a
//! key of its own, and refuses with Entra's error bodies. Beside that it serves OpenID discovery and three resources to spend
//! tokens on: Microsoft Graph's `/v1.0/me`, the Blob service's list of containers and Key Vault's secrets. Where its
//! [`Options`] say so, it refuses good requests too, at each step, or answers with what a client must not accept.
//!
//! ```
//! use std::sync::Arc;
//!
//! use entra_emulator::{Emulator, Options, Tenant, User};
//!
//! let tenant = Arc::new(Tenant::new(Options::default())?);
//! let refresh_token = tenant.sign_in(&User::default())?;
//! let emulator = Emulator::start(tenant, ([127, 0, 0, 1], 0).into())?;
//! // POST refresh_token and a scope to {authority}/oauth2/v2.0/token …
//! assert!(emulator.authority().starts_with("http://127.0.0.1:"));
//! # drop(refresh_token);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The sign-in page, for scripts
//!
//! With [`Options::auto_consent`] there is none: `GET …/oauth2/v2.0/authorize` answers at once. Without it the page is a form
//! that goes by `POST` to the same path, with the fields `request` (hidden, as the page has it), `answer` (`sign_in`, `deny`
//! or `fail`), `user` (a sign-in name or an object id) and, to fail with, `error` (an AADSTS code). The page at `/device`
//! takes `user_code` first, then `user_code` with `answer` and the rest.
//!
//! # What it is not
//!
//! Tokens are as good as the key, which is made at each start: nobody but the emulator's own resources (and a server
//! that does not check signatures, such as Azurite) accepts them. There are no passwords: whoever reaches the page signs in
//! as whom they like.
//!
//! * Every app has every permission, and every sign-in asks for consent and remembers none. A scope names one resource by
//!   `RESOURCE/.default`; single permissions (`User.Read`) are refused.
//! * No browser is remembered: each sign-in shows the page, and `prompt=none` answers `login_required`. There is no
//!   sign-out. Multi-factor authentication and Conditional Access are faults and nothing else.
//! * Access tokens are of version 1.0, their `sub` is the object id, and groups and roles are not in them.
//! * A client sends its proof in the form, not in an `Authorization` header. Client assertions may be sent again, since
//!   MSAL does so; it is not known whether Entra minds.
//!
//! MSAL for Python and azure-identity sign in to it over https, by browser, device code, secret and certificate (CI's step
//! `sign_in`). They have to be told not to look for the authority at Microsoft (`instance_discovery=False`,
//! `disable_instance_discovery=True`). What they cannot do here: sign in by a user name and a password, on behalf of somebody
//! (AADSTS70003), by Windows or by an operating system's broker; get proof-of-possession tokens, or answer claims challenges
//! with more than another sign-in (`claims` is read and changes nothing); share refresh tokens in a family of apps; or speak to
//! AD FS, B2C or External ID.

mod answers;
mod app;
mod assertions;
mod authorize;
mod background;
mod certificate;
mod choices;
mod client;
mod clock;
mod codes;
pub mod connect;
mod device_code;
mod devices;
mod directory;
mod discovery;
mod endpoint;
mod errors;
mod escape;
mod faults;
mod grants;
mod https;
mod id_token;
mod keys;
mod managed_identity;
mod pages;
mod random;
mod refusals;
mod resources;
mod scope;
mod server;
mod sign_in;
mod tenant;
mod token_endpoint;
mod tokens;
mod user;

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::json;

pub use app::{App, Credential};
pub use certificate::{Certificate, OwnCertificate};
pub use clock::Clock;
pub use errors::Error;
pub use faults::{Fault, FaultKind, Step, UnknownFault, UnknownStep};
pub use resources::blob::BLOB_ACCOUNT;
pub use server::Emulator;
pub use tenant::{Options, Tenant};
pub use user::{Membership, User};

/// All routes of one tenant, ready to be served or to be called without a socket.
///
/// | route | what answers |
/// |---|---|
/// | `GET /{tenant}/v2.0/.well-known/openid-configuration` | discovery |
/// | `GET /{tenant}/discovery/v2.0/keys` | the public signing key, as a JWK set |
/// | `GET /{tenant}/oauth2/v2.0/authorize` | the page on which a person signs in to an app; `POST` is its answer |
/// | `POST /{tenant}/oauth2/v2.0/devicecode` | device codes |
/// | `GET /device` | the page on which a person types the code of a device; `POST` is its answer |
/// | `POST /{tenant}/oauth2/v2.0/token` | the token endpoint: codes, device codes, refresh tokens, apps themselves |
/// | `GET /metadata/identity/oauth2/token` | an Azure machine: tokens of its managed identity (subject `managed-identity`, or the client id) |
/// | `GET /v1.0/me` | Microsoft Graph: the signed-in user |
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
        .route(
            "/{tenant}/oauth2/v2.0/authorize",
            get(sign_in::page).post(sign_in::answer),
        )
        .route(
            "/{tenant}/oauth2/v2.0/devicecode",
            post(device_code::device_code),
        )
        .route("/{tenant}/oauth2/v2.0/token", post(token_endpoint::token))
        .route("/device", get(device_code::page).post(device_code::answer))
        .route(pages::STYLE_PATH, get(pages::style))
        .route(pages::SCRIPT_PATH, get(pages::script))
        .route(managed_identity::PATH, get(managed_identity::token))
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
