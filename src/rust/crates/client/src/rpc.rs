//! The session RPC: one request for one token, and the retries between them.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use entrar_core::cookie::Cookie;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::http::{Http, send};
use entrar_core::resource::Resource;
use entrar_core::retry::{RETRIES, retried};
use entrar_core::rpc::{COOKIE_HEADER, METHOD, Request};
use entrar_core::token::Token;
use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use crate::origin::Session;
use crate::remedy::advised;
use crate::reply::Asked;

/// Asks the session's server for a fresh token, within `timeout` in all.
///
/// A passing fault (HTTP 502, 503, 504, JSON-RPC 2 and 13, a broken connection; 429 where the server says how
/// long to wait) is tried at most twice more; a refused cookie is read again, and another one sent once.
///
/// # Errors
/// Any [`Kind`]; `no_session` if agent or hub has ended meanwhile.
pub async fn delegated_token(
    http: &Http,
    env: &Env,
    session: &Session,
    resource: &Resource,
    timeout: Duration,
) -> Result<Token, Error> {
    let deadline = Instant::now() + timeout;
    let cookie = RefCell::new(session.cookie(env, None)?);
    let cookie_was_refused = Cell::new(false);
    let attempt = || async {
        let sent = cookie.borrow().clone();
        let error = match ask(http, env, session, resource, sent.as_ref()).await {
            Err(error) if error.kind() == Kind::BadCookie => error,
            outcome => return outcome,
        };
        if cookie_was_refused.replace(true) {
            return Err(error);
        }
        let (Some(sent), Some(other)) = (&sent, session.cookie(env, sent.as_ref())?) else {
            return Err(error);
        };
        // The same one would be refused again.
        if other.same_as(sent) {
            return Err(error);
        }
        cookie.replace(Some(other.clone()));
        ask(http, env, session, resource, Some(&other)).await
    };
    let judge = |error: &Error| (error.outlook(), error.details().retry_after);
    match retried(deadline, RETRIES, judge, attempt).await {
        Ok(outcome) => outcome.map_err(|error| advised(session, error)),
        Err(_) => Err(too_slow(&session.server(), timeout)),
    }
}

async fn ask(
    http: &Http,
    env: &Env,
    session: &Session,
    resource: &Resource,
    cookie: Option<&Cookie>,
) -> Result<Token, Error> {
    let server = session.server();
    let body = serde_json::to_vec(&Request::new(resource.as_str())).map_err(unsendable)?;
    let request = http
        .client()
        .post(session.url(METHOD))
        .header(CONTENT_TYPE, "application/json")
        .body(body);
    let request = with_cookie(request, cookie)?;
    let sent = env.now();
    let reply = send(http, request, &server, sent).await?;
    let asked = Asked {
        session,
        resource,
        cookie,
        proxy: http.settings().talkative_proxy(),
    };
    asked.token(&reply, sent)
}

/// A request with the session's cookie, where it has one.
pub(crate) fn with_cookie(
    request: RequestBuilder,
    cookie: Option<&Cookie>,
) -> Result<RequestBuilder, Error> {
    let Some(cookie) = cookie else {
        return Ok(request);
    };
    let value = cookie.value().expose_secret();
    let mut header = HeaderValue::from_str(value).map_err(unsendable)?;
    header.set_sensitive(true);
    Ok(request.header(COOKIE_HEADER, header))
}

/// Cannot happen: texts of a checked shape are always JSON, and always a header's value.
fn unsendable(_: impl std::error::Error) -> Error {
    Error::new(Kind::BadCookie, "the cookie cannot be sent")
}

/// The error for a server that has not answered in time.
pub(crate) fn too_slow(server: &str, timeout: Duration) -> Error {
    let seconds = timeout.as_secs_f64();
    let message = format!(
        "{server} gave no answer within {seconds} second{}",
        if seconds == 1.0 { "" } else { "s" }
    );
    Error::new(Kind::Timeout, message)
}
