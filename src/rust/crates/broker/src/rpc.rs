//! The session RPC as a server: `delegated_azure_token` at any base path, in the dialects of rstudioapi (`POST`) and
//! posit-sdk (`GET` with a body).
//!
//! | what | HTTP status | body |
//! |---|---|---|
//! | a token | 200 | `{"result":true,"token":{…}}` |
//! | an OAuth error | 200 | `{"result":false,"oauth2_error":{…}}` |
//! | a bad cookie | 401 | `{"error":{"code":3,"message":"…","description":"…"}}` |
//! | a request that makes no sense | 200 | the same with code 5 to 10 |
//! | another path, another verb | 404, 405 | the same with code 7 |
//! | from a browser, or to another host's name | 403 | the same with code 6 |
//! | a body over 64 KiB, or one that does not come | 413, 408 | the same with code 6 |
//!
//! Fields without a value are left out, since posit-sdk fails on `null`.

use std::future::ready;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use entrar_core::address::is_loopback_host;
use entrar_core::cookie::BadCookie;
use entrar_core::env::Env;
use entrar_core::resource::Resource;
use entrar_core::rpc::{Code, Fault, Grant, GrantedToken, METHOD, requested_resource};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::time::timeout;

use crate::accounts::{AccountId, Accounts};
use crate::admission::{Admission, refuse_strangers};
use crate::entra::{Granted, Refusal};
use crate::exchange::{Exchanges, not_signed_in};
use crate::listen::Peer;

/// The largest request body, in bytes.
const LARGEST_REQUEST: usize = 64 * 1024;
/// How long a request's body may take to arrive.
const LONGEST_UPLOAD: Duration = Duration::from_secs(10);

/// Who answers a request that was understood.
pub trait Desk: Send + Sync + 'static {
    /// Whose request it is.
    type Caller: Send;

    /// Whether this server is reached by that host's name. Requests that were sent to another one are refused.
    fn is_own_host(&self, host: &str) -> bool {
        is_loopback_host(host)
    }

    /// Finds out whose request it is. It may be somebody who gets no token: [`Desk::token`] says why.
    fn admit(
        &self,
        peer: Option<Peer>,
        headers: &HeaderMap,
    ) -> impl Future<Output = Result<Self::Caller, Refused>> + Send;

    /// What the caller gets: a token for the resource that was asked for, if it is one.
    fn token(
        &self,
        caller: Self::Caller,
        resource: Result<Resource, Refusal>,
    ) -> impl Future<Output = Result<Granted, Refusal>> + Send;
}

/// The one route, ready to be served or to be called without a socket.
pub fn app(desk: Arc<impl Desk>) -> Router {
    // A fallback, since the path's last part alone counts: a proxy may have put a base path before it, and
    // rstudioapi doubles the slash of an address that ends in one.
    Router::new()
        .fallback(answer)
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(desk)
}

async fn answer<D: Desk>(State(desk): State<Arc<D>>, request: Request) -> Response {
    let reply = answered(&*desk, request).await;
    // Neither a token nor its absence is to be kept by anything in between.
    ([(CACHE_CONTROL, "no-store")], reply.into_response()).into_response()
}

async fn answered(desk: &impl Desk, request: Request) -> Result<Response, Refused> {
    refuse_strangers(request.uri(), request.headers(), |host| {
        desk.is_own_host(host)
    })?;
    check_path(request.uri())?;
    check_verb(request.method())?;
    let peer = request.extensions().get::<Peer>().copied();
    let caller = desk.admit(peer, request.headers()).await?;
    let parameter = requested_resource(&body(request).await?)?;
    let resource = Resource::parse(&parameter)
        .map_err(|error| Refusal::new("invalid_resource", error.message()));
    Ok(match desk.token(caller, resource).await {
        Ok(granted) => success(&granted),
        Err(refusal) => {
            Json(json!({"result": false, "oauth2_error": refusal.object()})).into_response()
        }
    })
}

/// The desk of a broker whose sessions lie in memory.
pub struct Broker<A> {
    /// The clock by which cookies expire.
    env: Env,
    /// Whose request it is.
    admission: Admission,
    /// Where tokens come from, once somebody has signed in.
    exchanges: RwLock<Option<Exchanges<A>>>,
}

impl<A: Accounts> Broker<A> {
    /// Answers those whom `admission` lets in, by tokens of `exchanges` if there are any yet.
    #[must_use]
    pub fn new(env: Env, admission: Admission, exchanges: Option<Exchanges<A>>) -> Self {
        Self {
            env,
            admission,
            exchanges: RwLock::new(exchanges),
        }
    }

    /// Who may ask for whose tokens.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Where tokens come from.
    #[must_use]
    pub fn exchanges(&self) -> Option<Exchanges<A>> {
        let exchanges = self.exchanges.read();
        exchanges.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes tokens from there from now on.
    pub fn set_exchanges(&self, exchanges: Option<Exchanges<A>>) {
        *self
            .exchanges
            .write()
            .unwrap_or_else(PoisonError::into_inner) = exchanges;
    }
}

impl<A: Accounts> Desk for Broker<A> {
    /// `None` if nobody is signed in.
    type Caller = Option<AccountId>;

    fn admit(
        &self,
        peer: Option<Peer>,
        headers: &HeaderMap,
    ) -> impl Future<Output = Result<Self::Caller, Refused>> + Send {
        let admitted = self.admission.account(peer, headers, self.env.now());
        ready(admitted.map_err(Refused::from))
    }

    async fn token(
        &self,
        caller: Self::Caller,
        resource: Result<Resource, Refusal>,
    ) -> Result<Granted, Refusal> {
        let resource = resource?;
        match (caller, self.exchanges()) {
            (Some(account), Some(exchanges)) => exchanges.token(account, resource).await,
            _ => Err(not_signed_in()),
        }
    }
}

fn check_path(uri: &Uri) -> Result<(), Refused> {
    match uri.path().rsplit('/').find(|segment| !segment.is_empty()) {
        Some(METHOD) => Ok(()),
        _ => Err(Refused::new(
            StatusCode::NOT_FOUND,
            Code::MethodNotFound,
            format!("only {METHOD} is served here"),
        )),
    }
}

fn check_verb(verb: &Method) -> Result<(), Refused> {
    if [Method::POST, Method::GET].contains(verb) {
        return Ok(());
    }
    Err(Refused::new(
        StatusCode::METHOD_NOT_ALLOWED,
        Code::MethodNotFound,
        "the verb is POST, or GET with a body",
    ))
}

async fn body(request: Request) -> Result<Bytes, Refused> {
    let failed = |status, description| Refused::new(status, Code::InvalidRequest, description);
    match timeout(LONGEST_UPLOAD, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) => Err(failed(rejection.status(), too_large_or_broken(&rejection))),
        Err(_) => Err(failed(
            StatusCode::REQUEST_TIMEOUT,
            "the request's body did not arrive in time",
        )),
    }
}

fn too_large_or_broken(rejection: &BytesRejection) -> &'static str {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        "the request's body is larger than 64 KiB"
    } else {
        "the request's body broke off"
    }
}

/// The one place where a token leaves.
fn success(granted: &Granted) -> Response {
    let token = GrantedToken {
        access_token: granted.access_token.expose_secret(),
        token_type: &granted.token_type,
        expires_in: granted.expires_in,
        ext_expires_in: granted.ext_expires_in,
        scope: granted.scope.as_deref(),
        id_token: granted.id_token.as_ref().map(ExposeSecret::expose_secret),
    };
    Json(Grant::new(token)).into_response()
}

/// A request that is not carried out, and the HTTP status that says so.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    fault: Fault,
}

impl Refused {
    /// Refuses with this HTTP status, by this code of the RPC.
    #[must_use]
    pub fn new(status: StatusCode, code: Code, description: impl Into<String>) -> Self {
        let fault = Fault::new(code, description);
        Self { status, fault }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        let status = StatusCode::OK;
        Self { status, fault }
    }
}

impl From<BadCookie> for Refused {
    fn from(bad: BadCookie) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            Code::Unauthorized,
            bad.to_string(),
        )
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let reply = (self.status, Json(self.fault.body()));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            ([(ALLOW, "GET, POST")], reply).into_response()
        } else {
            reply.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_the_path_counts() {
        let fits = |path: &str| check_path(&path.parse().unwrap()).is_ok();
        for path in [
            "/delegated_azure_token",
            "//delegated_azure_token",
            "/dev/delegated_azure_token/",
            "/a/b//delegated_azure_token//?x=1",
        ] {
            assert!(fits(path), "{path}");
        }
        for path in [
            "/",
            "/delegated_azure_token/x",
            "/xdelegated_azure_token",
            "/x?/delegated_azure_token",
        ] {
            assert!(!fits(path), "{path}");
        }
    }
}
