//! Signing in with a browser on this machine: where it starts, where it comes back to, and what it is shown.
//!
//! The start address stands on the command line of the browser, where every user of this machine can read it. So it serves
//! once, to a process of the same user, and whoever opens it gets a cookie without which no answer is taken.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, COOKIE, HOST, LOCATION, ORIGIN, REFRESH, SET_COOKIE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use entrar_core::error::{Error, Kind};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use url::Url;

use super::answer::Answer;
use super::attempt::{Attempt, Status, Taken, no_random_bytes};
use super::failure::with_remedy;
use super::pages::{Page, headers};
use super::{LIFETIME, secrets};
use crate::listen::{Gate, Limits, Server};
use crate::random;

/// How often another port is tried where one is free at one loopback address only.
const TRIES: usize = 20;
/// How long the last page may take to be asked for once the sign-in has ended.
const LAST_PAGE: Duration = Duration::from_secs(15);
/// How long the ports stay open behind the last page, for a browser that asks for it again.
const AFTER_LAST_PAGE: Duration = Duration::from_millis(500);
/// The path of the last page, which has no secret in it.
const DONE: &str = "/done";
/// The path of the page that tells of an answer to another sign-in.
const OTHER: &str = "/other";

/// The ports of this machine that a browser comes back to: one number, at every loopback address that there is. Else
/// another user could listen at the one that is left, and be taken for us.
#[derive(Debug)]
pub(super) struct Loopback {
    listeners: Vec<TcpListener>,
    port: u16,
}

impl Loopback {
    pub(super) fn bind() -> Result<Self, Error> {
        for _ in 0..TRIES {
            if let Some(loopback) = Self::at(0).map_err(|error| no_port(&error))? {
                return Ok(loopback);
            }
        }
        Err(no_port(&io::ErrorKind::AddrInUse.into()))
    }

    /// At this port, or at any free one for 0; `None` if it is taken at one of the addresses.
    fn at(port: u16) -> io::Result<Option<Self>> {
        let Some(first) = free(TcpListener::bind((Ipv4Addr::LOCALHOST, port)))? else {
            return Ok(None);
        };
        let port = first.local_addr()?.port();
        let mut listeners = vec![first];
        match free(TcpListener::bind((Ipv6Addr::LOCALHOST, port))) {
            Ok(Some(second)) => listeners.push(second),
            Ok(None) => return Ok(None),
            // A machine without IPv6 has no such address, so that nobody else listens there either.
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(Some(Self { listeners, port }))
    }

    /// Entra ID knows the host, and heeds no port.
    pub(super) fn redirect_uri(&self) -> String {
        format!("http://localhost:{}", self.port)
    }
}

fn no_port(error: &io::Error) -> Error {
    with_remedy(
        Kind::Unavailable,
        &format!("this machine has no port for the browser to come back to: {error}"),
        "Try again, or sign in with method = \"paste\".",
    )
}

fn free(bound: io::Result<TcpListener>) -> io::Result<Option<TcpListener>> {
    match bound {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        bound => bound.map(Some),
    }
}

fn is_missing(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) {
        return true;
    }
    error.kind() == io::ErrorKind::AddrNotAvailable
}

/// What the browser meets.
struct Site {
    attempt: Arc<Attempt>,
    port: u16,
    /// The last part of the start address, until it was opened.
    start: Mutex<Option<SecretString>>,
    cookie: SecretString,
    last_page: Notify,
}

/// The servers of one sign-in.
pub(super) struct Running {
    site: Arc<Site>,
    servers: Vec<Server>,
}

/// Serves a browser; the result is the address that it is to start at.
pub(super) fn serve(loopback: Loopback, attempt: Arc<Attempt>) -> Result<(Url, Running), Error> {
    let secret = || random::text::<32>().map_err(|error| no_random_bytes(&error));
    let start = secret()?;
    let refused = |error: io::Error| {
        Error::new(
            Kind::Unavailable,
            format!("this machine's ports cannot be served: {error}"),
        )
    };
    let address = format!("{}/start/{start}", loopback.redirect_uri());
    let address = Url::parse(&address).map_err(|error| refused(io::Error::other(error)))?;
    let site = Arc::new(Site {
        attempt,
        port: loopback.port,
        start: Mutex::new(Some(start.into())),
        cookie: secret()?.into(),
        last_page: Notify::new(),
    });
    let mut servers = Vec::new();
    for listener in loopback.listeners {
        listener.set_nonblocking(true).map_err(refused)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(refused)?;
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&site));
        // One person with one browser.
        let limits = Limits {
            connections: 64,
            ..Limits::default()
        };
        // No other user of this machine is served, who can read the start address.
        let strangers = Router::new().fallback(async || Page::stranger());
        let gate = Gate::own_user(strangers);
        servers.push(Server::start_behind(gate, listener, routes, limits));
    }
    Ok((address, Running { site, servers }))
}

impl Running {
    /// Serves until the sign-in has ended and its last page was seen.
    pub(super) async fn run(self, deadline: Instant) {
        let Site {
            attempt, last_page, ..
        } = &*self.site;
        let in_time = timeout_at(deadline, attempt.ended()).await.is_ok();
        let is_answered = in_time || attempt.expire().await;
        if is_answered && timeout(LAST_PAGE, last_page.notified()).await.is_ok() {
            sleep(AFTER_LAST_PAGE).await;
        }
        for server in self.servers {
            server.stop().await;
        }
    }
}

async fn answer(State(site): State<Arc<Site>>, request: Request) -> Response {
    if let Some(page) = site.refusal(request.headers()) {
        return page.into_response();
    }
    if request.method() != Method::GET {
        return ([(ALLOW, "GET")], Page::not_to_be_read()).into_response();
    }
    let uri = request.uri();
    let query = uri.query().unwrap_or_default();
    match uri.path() {
        "/" if !query.is_empty() => site.answered(request.headers(), query).await,
        DONE => site.last_page(request.headers()).into_response(),
        OTHER => Page::not_this_one().into_response(),
        path => match path.strip_prefix("/start/") {
            Some(start) => site.started(start),
            None => Page::missing().into_response(),
        },
    }
}

/// Tells of an answer to another sign-in. The browser goes on to the same page at an address without that answer, which may
/// be a code that somebody else waits for.
fn not_this_one() -> Response {
    let refresh = [(REFRESH, format!("0; url={OTHER}"))];
    (refresh, Page::not_this_one()).into_response()
}

impl Site {
    /// Why a request is not looked at.
    fn refusal(&self, headers: &HeaderMap) -> Option<Page> {
        // The one name that the redirect has. By another one, that of an address too, the cookie would not come along.
        let host = format!("localhost:{}", self.port);
        let mut hosts = headers.get_all(HOST).iter();
        let is_host = hosts.next().is_some_and(|found| found == host.as_str());
        // Entra ID sends a browser here by a redirect, which has no origin.
        if !is_host || hosts.next().is_some() || headers.contains_key(ORIGIN) {
            return Some(Page::misdirected());
        }
        None
    }

    /// Sends the browser on to Entra ID, once.
    fn started(&self, text: &str) -> Response {
        let mut start = self.start.lock().unwrap_or_else(PoisonError::into_inner);
        match start.take() {
            Some(secret) if secrets::is(&secret, text) => {}
            Some(other) => {
                *start = Some(other);
                return Page::missing().into_response();
            }
            None => return Page::started().into_response(),
        }
        drop(start);
        let cookie = format!(
            "{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax",
            self.cookie_name(),
            self.cookie.expose_secret(),
            LIFETIME.as_secs()
        );
        let location = self.attempt.authorization_url().to_string();
        let sent_on = [(LOCATION, location), (SET_COOKIE, cookie)];
        (StatusCode::FOUND, headers(), sent_on).into_response()
    }

    async fn answered(&self, headers_: &HeaderMap, query: &str) -> Response {
        let Some(answer) = Answer::read(query).filter(|_| self.has_cookie(headers_)) else {
            return not_this_one();
        };
        match Attempt::take(&self.attempt, answer).await {
            Taken::NotThisOne => not_this_one(),
            Taken::Over => Page::over().into_response(),
            // The code does not stay in the address line, nor in the history behind it.
            Taken::Ended => (StatusCode::SEE_OTHER, headers(), [(LOCATION, DONE)]).into_response(),
        }
    }

    fn last_page(&self, headers: &HeaderMap) -> Page {
        if !self.has_cookie(headers) {
            return Page::not_this_one();
        }
        match self.attempt.status() {
            Status::Waiting => Page::missing(),
            Status::SignedIn(identity) => {
                self.last_page.notify_one();
                Page::signed_in(&identity)
            }
            Status::Failed(error) => {
                self.last_page.notify_one();
                Page::failed(&error)
            }
        }
    }

    /// A browser gives the cookies of one port to all ports of this machine: the name tells them apart.
    fn cookie_name(&self) -> String {
        format!("entrar-{}", self.port)
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let name = self.cookie_name();
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|cookies| cookies.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .any(|(found, value)| found == name && secrets::is(&self.cookie, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_at_one_address_is_not_used_at_the_other() {
        // Somebody else's, who waits for the browser at the address that is left.
        for taken in ["[::1]:0", "127.0.0.1:0"] {
            let Ok(theirs) = TcpListener::bind(taken) else {
                assert_eq!(taken, "[::1]:0", "this machine has no loopback");
                continue;
            };
            let port = theirs.local_addr().unwrap().port();
            assert!(Loopback::at(port).unwrap().is_none(), "{taken}");
        }
    }

    #[test]
    fn what_keeps_a_port_from_being_had_is_said_with_what_to_do() {
        let error = no_port(&io::ErrorKind::PermissionDenied.into());
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.message().ends_with("permission denied"), "{error}");
        let remedy = error.details().remedy.as_deref().unwrap();
        assert!(remedy.contains("paste"), "{remedy}");
    }

    #[cfg(unix)]
    #[test]
    fn an_address_that_does_not_exist_is_told_from_one_that_is_taken() {
        let missing = io::Error::from_raw_os_error(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
        assert!(is_missing(&missing));
        assert!(is_missing(&io::ErrorKind::AddrNotAvailable.into()));
        assert!(!is_missing(&io::ErrorKind::AddrInUse.into()));
    }
}
