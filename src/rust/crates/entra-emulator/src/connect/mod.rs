//! A Posit Connect on loopback, as far as published content asks it for tokens: the exchange of a session token, which
//! integrations are attached, and the front doors at which visitors come in.
//!
//! It is made after what connectcreds and posit-sdk send and read, and after Connect's documentation; no live Connect was
//! asked. What is a guess: the words of errors, and that several integrations without an `audience` are refused.
//!
//! | route below `{path}/__api__` | what answers |
//! |---|---|
//! | `POST /v1/oauth/integrations/credentials` | the exchange, for who has the API key |
//! | `GET /v1/content/{guid}` | that there is such content |
//! | `GET /v1/content/{guid}/oauth/integrations/associations` | the integrations that are attached to the content |
//! | `GET /v1/oauth/integrations`, `GET /v1/oauth/integrations/{guid}` | the integrations, with their scopes |
//! | `GET /server_settings` | the version, for everybody |

mod caller;
mod exchange;
mod faults;
mod front_door;
mod head;
mod integration;
mod listing;
mod options;
mod refusal;
mod server;
mod sessions;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use secrecy::{ExposeSecret, SecretString};

pub use faults::{Fault, FaultKind, UnknownFault};
pub use integration::{AuthType, Integration};
pub use options::Options;
pub use server::{Door, Server};

use crate::errors::Error;
use crate::random;
use crate::tenant::Tenant;
use crate::user::User;
use sessions::Sessions;

/// The header by which an app knows its visitor.
pub const VISITOR_HEADER: &str = "Posit-Connect-User-Session-Token";

/// A Connect with one piece of content, in front of a tenant whose tokens it hands out. Its `Debug` shows no secret.
#[derive(Debug)]
pub struct Connect {
    tenant: Arc<Tenant>,
    options: Options,
    api_key: SecretString,
    content: String,
    sessions: Sessions,
}

impl Connect {
    /// A Connect with a new API key, and a new session of its content; see [`Options::content_token_file`].
    ///
    /// # Errors
    ///
    /// When the operating system gives no random bytes, or the file cannot be written.
    pub fn new(tenant: Arc<Tenant>, options: Options) -> Result<Self, Error> {
        let sessions = Sessions::new(options.content_token_file.clone())?;
        Ok(Self {
            tenant,
            options,
            api_key: secret()?,
            content: random::guid()?,
            sessions,
        })
    }

    /// The API key of the content, which holds the word `canary` so that it is found wherever it was printed.
    pub fn api_key(&self) -> &SecretString {
        &self.api_key
    }

    /// The content's GUID.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The token that stands for the content itself; with [`FaultKind::Rotated`] another one after each use.
    pub fn content_token(&self) -> SecretString {
        self.sessions.content()
    }

    /// A new session token of a visitor, whom the tenant has to know. Those of before stay good. It holds the word
    /// `canary`.
    ///
    /// # Errors
    ///
    /// When the operating system gives no random bytes.
    pub fn visit(&self, visitor: &User) -> Result<SecretString, Error> {
        self.sessions.visit(&visitor.object_id)
    }

    /// The attached integrations.
    pub fn integrations(&self) -> &[Integration] {
        &self.options.integrations
    }

    fn has(&self, kind: FaultKind) -> bool {
        self.options.faults.iter().any(|fault| fault.kind == kind)
    }

    fn is_met_by(&self, kind: FaultKind, visitor: &User) -> bool {
        let mut faults = self.options.faults.iter();
        faults.any(|fault| fault.kind == kind && fault.is_for(visitor))
    }
}

/// All routes of a Connect, ready to be served or to be called without a socket.
pub fn app(connect: Arc<Connect>) -> Router {
    let path = format!("{}/__api__", connect.options.path);
    let routes = Router::new()
        .route(
            "/v1/oauth/integrations/credentials",
            post(exchange::credentials),
        )
        .route("/v1/content/{guid}", get(listing::content))
        .route(
            "/v1/content/{guid}/oauth/integrations/associations",
            get(listing::associations),
        )
        .route("/v1/oauth/integrations", get(listing::integrations))
        .route("/v1/oauth/integrations/{guid}", get(listing::integration))
        .route("/server_settings", get(listing::server_settings));
    Router::new()
        .nest(&path, routes)
        .fallback(listing::not_found)
        .with_state(connect)
}

/// A random secret that is found wherever it was printed.
fn secret() -> Result<SecretString, Error> {
    Ok(format!("canary-{}", random::text::<24>()?).into())
}

/// Whether two secrets are one; how long it takes tells nothing of where they differ.
fn is_same(one: &SecretString, other: &str) -> bool {
    use subtle::ConstantTimeEq;
    one.expose_secret()
        .as_bytes()
        .ct_eq(other.as_bytes())
        .into()
}
