//! What a browser may ask, and what it is answered.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Form, Path, Request, State};
use axum::http::header::{HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{RequestExt, Router};
use entrar_broker::accounts::AccountId;
use entrar_broker::random;
use entrar_broker::rpc::app;
use entrar_core::error::{Error, Kind};
use entrar_core::rpc::METHOD;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tower::ServiceExt;
use url::Url;

use super::cookies::{Name, csrf, is_csrf};
use super::outcomes::Outcomes;
use super::pages::{
    Confirm, Leaving, Message, Notice, Page, Pairing, PairingEnd, Person, Site, Start, headers,
    paths,
};
use super::sign_in::{Failed, Finished};
use crate::configuration::Unmapped;
use crate::desk::CookieDesk;
use crate::doors::launcher;
use crate::doors::socket::{DATABASE, of_store, some};
use crate::hub::{Hub, TOO_MANY_SIGN_INS};

/// The path of a session's ticket, below which the ticket stands.
pub const TICKET: &str = "ticket";
/// The path of the page that shows a code.
const PAIRING: &str = "/pairing";
/// The path of what came of a sign-in.
const OUTCOME: &str = "/outcome";
/// The path of what is said to a browser that did not begin the sign-in that it brings the answer to.
const OTHER_BROWSER: &str = "/other-browser";
/// The largest form, in bytes.
const LARGEST_FORM: usize = 16 * 1024;
/// What browsers say of where a request comes from (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The hub's page.
pub(super) struct Web {
    pub(super) hub: Arc<Hub>,
    /// Host and port of its address.
    host: String,
    outcomes: Outcomes,
}

type Shared = State<Arc<Web>>;

/// The page's routes.
pub fn routes(hub: &Arc<Hub>) -> Router {
    let web = Arc::new(Web {
        host: authority(&hub.configuration().public_url),
        hub: Arc::clone(hub),
        outcomes: Outcomes::default(),
    });
    let rpc = app(Arc::new(CookieDesk::public(hub)));
    Router::new()
        .route(paths::HOME, get(home).fallback(only_get))
        .route(paths::CALLBACK, get(callback).fallback(only_get))
        .route(paths::SIGN_IN, post(sign_in).fallback(only_post))
        .route(
            paths::CONFIRM,
            get(question).post(confirm).fallback(only_get_and_post),
        )
        .route(paths::END_SESSION, post(end_session).fallback(only_post))
        .route(paths::END_SESSIONS, post(end_sessions).fallback(only_post))
        .route(
            &format!("/{TICKET}/{{ticket}}"),
            get(ticket).fallback(only_get),
        )
        .route(PAIRING, get(code).fallback(only_get))
        .route(OUTCOME, get(outcome).fallback(only_get))
        .route(OTHER_BROWSER, get(other_browser).fallback(only_get))
        .route(paths::NOT_ME, post(not_me).fallback(only_post))
        .route(paths::TRY, post(try_resource).fallback(only_post))
        .route(paths::SIGN_OUT, post(sign_out).fallback(only_post))
        .route(
            paths::SIGN_OUT_EVERYWHERE,
            post(sign_out_everywhere).fallback(only_post),
        )
        .fallback(any(not_found))
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(from_fn_with_state(Arc::clone(&web), admitted))
        .with_state(web)
        // Programs of other machines ask here too: they are no browsers, and bring a session's cookie.
        .route(
            &format!("/{METHOD}"),
            any(move |request: Request| rpc.oneshot(request)),
        )
        .merge(launcher::routes(hub))
}

fn site(hub: &Hub) -> Site {
    let configuration = hub.configuration();
    let (url, name) = (&configuration.public_url, &configuration.name);
    Site {
        host: authority(url),
        address: url.origin().ascii_serialization(),
        organisation: (!name.is_empty()).then(|| name.clone()),
        contact: configuration.contact.clone(),
        authority: configuration.tenant.authority.clone(),
        hsts: None,
    }
}

/// Host and port, as they stand in `Host`.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Turns away requests to another host's name (DNS rebinding), and forms of other sites.
async fn admitted(State(web): Shared, request: Request, next: Next) -> Response {
    if !is_to_us(&web, request.uri(), request.headers()) {
        return web.message(Message::Misdirected);
    }
    if request.method() != Method::GET && !is_of_our_page(&web, request.headers()) {
        return web.message(Message::StaleForm);
    }
    next.run(request).await
}

fn is_to_us(web: &Web, uri: &Uri, headers: &HeaderMap) -> bool {
    let is_own = |authority: &Authority| authority.as_str().eq_ignore_ascii_case(&web.host);
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse().ok()),
        _ => None,
    };
    host.is_some_and(|host| is_own(&host)) && uri.authority().is_none_or(is_own)
}

/// Browsers say with every form where it comes from; with our `Referrer-Policy` some call the origin of our own pages `null`,
/// and say the rest in `Sec-Fetch-Site`.
fn is_of_our_page(web: &Web, headers: &HeaderMap) -> bool {
    let is =
        |name: &HeaderName, value: &str| headers.get_all(name).iter().all(|given| given == value);
    let own = web
        .hub
        .configuration()
        .public_url
        .origin()
        .ascii_serialization();
    let is_same_origin = is(&SEC_FETCH_SITE, "same-origin");
    is_same_origin
        && (is(&ORIGIN, &own) || is(&ORIGIN, "null") && headers.contains_key(&SEC_FETCH_SITE))
}

impl Web {
    pub(super) fn page(&self, page: Page) -> Response {
        page.response(&site(&self.hub))
    }

    pub(super) fn message(&self, message: Message) -> Response {
        self.page(Page::Message(message))
    }

    /// A fault of the hub's own, or of the tenant.
    pub(super) fn failed(&self, error: Error) -> Response {
        self.message(message_of(error))
    }

    /// Sends the browser on to one of our own pages, by GET.
    pub(super) fn redirect(&self, path: &'static str, cookies: &[String]) -> Response {
        let reply = (
            StatusCode::SEE_OTHER,
            headers(&site(&self.hub)),
            [(LOCATION, path)],
        );
        with_cookies(reply.into_response(), cookies)
    }
}

fn message_of(error: Error) -> Message {
    match error.kind() {
        Kind::ServerError => Message::Fault,
        _ if error.message() == DATABASE => Message::Unavailable,
        _ if error.message() == TOO_MANY_SIGN_INS => Message::Throttled {
            retry_after: error.details().retry_after,
        },
        _ => Message::Failed(error),
    }
}

fn with_cookies(mut response: Response, cookies: &[String]) -> Response {
    for cookie in cookies {
        if let Ok(value) = cookie.parse() {
            response.headers_mut().append(SET_COOKIE, value);
        }
    }
    response
}

/// A form that our own page has shown to this browser.
pub(super) struct Filled {
    pub(super) browser: SecretString,
    fields: HashMap<String, String>,
}

impl Filled {
    /// Reads the form of a request, from a page about one of these; the refusal is a page.
    async fn of(
        web: &Web,
        request: Request,
        about: &[Option<&SecretString>],
    ) -> Result<Self, Response> {
        let browser = Name::Browser.of(request.headers());
        let form = request
            .with_limited_body()
            .extract::<Form<HashMap<String, String>>, _>()
            .await;
        let (Some(browser), Ok(Form(fields))) = (browser, form) else {
            return Err(web.message(Message::StaleForm));
        };
        let filled = Self { browser, fields };
        let given = filled.text("csrf");
        if about
            .iter()
            .any(|about| is_csrf(&filled.browser, *about, given))
        {
            Ok(filled)
        } else {
            Err(web.message(Message::StaleForm))
        }
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

async fn home(State(web): Shared, headers: HeaderMap) -> Response {
    let browser = Name::Browser.of(&headers);
    if let (Some(browser), Some(session)) = (&browser, Name::Session.of(&headers)) {
        match web.account_page(browser, &session, None, None).await {
            Ok(Some(page)) => return page,
            Ok(None) => {}
            Err(error) => return web.failed(error),
        }
    }
    // A browser keeps its cookie, so that a sign-in in another window of it goes on.
    let (browser, cookies) = match browser {
        Some(browser) => (browser, Vec::new()),
        None => match random::text::<32>() {
            Ok(text) => {
                let browser = SecretString::from(text);
                let cookie = Name::Browser.set(&browser);
                (browser, vec![cookie])
            }
            Err(_) => return web.message(Message::Unavailable),
        },
    };
    let start = Start {
        csrf: csrf(&browser, None).into(),
    };
    with_cookies(web.page(Page::Start(start)), &cookies)
}

async fn sign_in(State(web): Shared, request: Request) -> Response {
    let ticket = Name::Ticket.of(request.headers());
    let session = Name::Session.of(request.headers());
    let filled = match Filled::of(&web, request, &[None, session.as_ref()]).await {
        Ok(filled) => filled,
        Err(refusal) => return refusal,
    };
    // Who signs in again meets what Entra ID has refused a token for, such as a second factor.
    let claims = match session {
        Some(session) => match web.claims(&session).await {
            Ok(claims) => claims,
            Err(error) => return web.failed(error),
        },
        None => None,
    };
    let chooses = filled.text("choose") == "yes";
    let begun = web
        .hub
        .begin_sign_in(&filled.browser, ticket.as_ref(), claims, chooses);
    match begun.await {
        Ok(address) => web.page(Page::Leaving(Leaving { address })),
        Err(error) => web.failed(error),
    }
}

async fn callback(State(web): Shared, uri: Uri, headers: HeaderMap) -> Response {
    let Some(browser) = Name::Browser.of(&headers) else {
        return web.redirect(OTHER_BROWSER, &[]);
    };
    match web
        .hub
        .finish_sign_in(&browser, uri.query().unwrap_or_default())
        .await
    {
        Ok(Finished::SignedIn(account)) => web.enter(account).await,
        Ok(Finished::Asked(handle)) => web.redirect(paths::CONFIRM, &[Name::Waiting.set(&handle)]),
        Ok(Finished::Code) => web.redirect(PAIRING, &[]),
        Err(Failed::NotThisOne) => web.redirect(OTHER_BROWSER, &[]),
        Err(failed) => web.elsewhere(not_signed_in(failed)),
    }
}

async fn outcome(State(web): Shared, headers: HeaderMap) -> Response {
    let handle = Name::Outcome.of(&headers);
    match handle.and_then(|handle| web.outcomes.of(&handle, Instant::now())) {
        Some(message) => web.message(message),
        None => web.redirect(paths::HOME, &[]),
    }
}

async fn other_browser(State(web): Shared) -> Response {
    web.message(Message::OtherBrowser)
}

/// A session of a local user has shown this address: the sign-in is for that one.
async fn ticket(State(web): Shared, Path(ticket): Path<String>) -> Response {
    // A cookie holds no other symbols.
    if ticket.is_empty()
        || !ticket
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    {
        return web.message(Message::NotFound);
    }
    // A link that somebody made up changes nothing.
    match web.hub.pairing_user(&ticket).await {
        Ok(Some(_)) => web.redirect(
            paths::HOME,
            &[Name::Ticket.set(&ticket.into()), Name::Session.unset()],
        ),
        Ok(None) => web.message(Message::PairingOver(PairingEnd::Gone)),
        Err(error) => web.failed(error),
    }
}

async fn code(State(web): Shared, headers: HeaderMap) -> Response {
    let (Some(browser), Some(ticket)) = (Name::Browser.of(&headers), Name::Ticket.of(&headers))
    else {
        return web.message(Message::PairingOver(PairingEnd::Gone));
    };
    match web.hub.shown_code(ticket.expose_secret(), &browser).await {
        Ok(Some(shown)) => web.page(Page::Pairing(Pairing {
            person: Person {
                name: some(&shown.names.name),
                username: some(&shown.names.username),
                account: shown.account,
            },
            user: shown.user.name,
            machine: shown.machine,
            code: shown.code,
            expires_at: shown.expires_at,
            csrf: csrf(&browser, Some(&ticket)).into(),
        })),
        Ok(None) => web.message(Message::PairingOver(PairingEnd::Gone)),
        Err(error) => web.failed(error),
    }
}

async fn not_me(State(web): Shared, request: Request) -> Response {
    let ticket = Name::Ticket.of(request.headers());
    let filled = match Filled::of(&web, request, &[ticket.as_ref()]).await {
        Ok(filled) => filled,
        Err(refusal) => return refusal,
    };
    let Some(ticket) = ticket else {
        return web.message(Message::PairingOver(PairingEnd::Gone));
    };
    let response = match web
        .hub
        .stop_pairing(ticket.expose_secret(), &filled.browser)
        .await
    {
        Ok(true) => web.message(Message::PairingOver(PairingEnd::NotMe)),
        Ok(false) => web.message(Message::PairingOver(PairingEnd::Gone)),
        Err(error) => web.failed(error),
    };
    with_cookies(response, &[Name::Ticket.unset()])
}

async fn question(State(web): Shared, headers: HeaderMap) -> Response {
    let (Some(browser), Some(handle)) = (Name::Browser.of(&headers), Name::Waiting.of(&headers))
    else {
        return web.message(Message::SignInOver);
    };
    match web.hub.question(&browser, &handle).await {
        Ok(Some(question)) => web.page(Page::Confirm(Confirm {
            person: question.person,
            user: question.user.name,
            expires_at: question.expires_at,
            csrf: csrf(&browser, Some(&handle)).into(),
        })),
        Ok(None) => web.message(Message::SignInOver),
        Err(error) => web.failed(error),
    }
}

async fn confirm(State(web): Shared, request: Request) -> Response {
    let handle = Name::Waiting.of(request.headers());
    let filled = match Filled::of(&web, request, &[handle.as_ref()]).await {
        Ok(filled) => filled,
        Err(refusal) => return refusal,
    };
    let Some(handle) = handle else {
        return web.message(Message::SignInOver);
    };
    let is_meant = match filled.text("answer") {
        "yes" => true,
        "no" => false,
        _ => return web.message(Message::StaleForm),
    };
    let response = match web.hub.answered(&filled.browser, &handle, is_meant).await {
        Ok(Some(account)) => web.enter(account).await,
        Ok(None) if is_meant => web.message(Message::SignInOver),
        Ok(None) => web.message(Message::Declined),
        Err(failed) => web.message(not_signed_in(failed)),
    };
    with_cookies(response, &[Name::Waiting.unset()])
}

impl Web {
    /// Shows the account page to who has signed in, under a new session id.
    async fn enter(&self, account: AccountId) -> Response {
        match self.hub.open_web_session(account).await {
            Ok(session) => self.redirect(
                paths::HOME,
                &[
                    Name::Session.set(&session),
                    Name::Waiting.unset(),
                    Name::Ticket.unset(),
                ],
            ),
            Err(error) => self.elsewhere(message_of(of_store(error))),
        }
    }

    /// Shows a message at an address of its own, without the code of this one.
    fn elsewhere(&self, message: Message) -> Response {
        let Ok(handle) = random::text::<32>() else {
            return self.message(Message::Unavailable);
        };
        let handle = SecretString::from(handle);
        let cookie = Name::Outcome.set(&handle);
        self.outcomes.keep(handle, message, Instant::now());
        self.redirect(OUTCOME, &[cookie])
    }
}

fn not_signed_in(failed: Failed) -> Message {
    match failed {
        Failed::NotThisOne => Message::OtherBrowser,
        Failed::PairingOver => Message::PairingOver(PairingEnd::Gone),
        Failed::Error(error) => message_of(error),
        Failed::Unmapped(why, identity) => {
            let person = Person {
                name: identity.name,
                username: identity.username,
                account: identity.account,
            };
            match why {
                Unmapped::Guest => Message::Guest { person },
                Unmapped::Tenant | Unmapped::NoUpn | Unmapped::Rule => Message::NotMapped {
                    person,
                    upn: identity.upn,
                },
            }
        }
        Failed::NotServed(person, user, why) => Message::UserRefused {
            person,
            why: format!("{user} {why}."),
            user,
        },
        Failed::Bound(person, user) => Message::Conflict {
            person,
            user: user.name,
        },
    }
}

async fn end_session(State(web): Shared, request: Request) -> Response {
    let session = Name::Session.of(request.headers());
    let filled = match Filled::of(&web, request, &[session.as_ref()]).await {
        Ok(filled) => filled,
        Err(refusal) => return refusal,
    };
    let ended = web
        .end_session(session.as_ref(), filled.text("session"))
        .await;
    web.account_after(&filled, session, ended).await
}

async fn end_sessions(State(web): Shared, request: Request) -> Response {
    let session = Name::Session.of(request.headers());
    let filled = match Filled::of(&web, request, &[session.as_ref()]).await {
        Ok(filled) => filled,
        Err(refusal) => return refusal,
    };
    let ended = web.end_sessions(session.as_ref()).await;
    web.account_after(&filled, session, ended).await
}

async fn try_resource(State(web): Shared, request: Request) -> Response {
    let session = Name::Session.of(request.headers());
    let filled = match Filled::of(&web, request, &[session.as_ref()]).await {
        Ok(filled) => filled,
        Err(refusal) => return refusal,
    };
    let Some(session) = session else {
        return web.redirect(paths::HOME, &[]);
    };
    let tried = match web.tried(&session, filled.text("resource")).await {
        Ok(Some(tried)) => tried,
        Ok(None) => return web.redirect(paths::HOME, &[]),
        Err(error) => return web.failed(error),
    };
    match web
        .account_page(&filled.browser, &session, Some(tried), None)
        .await
    {
        Ok(Some(page)) => page,
        Ok(None) => web.redirect(paths::HOME, &[]),
        Err(error) => web.failed(error),
    }
}

async fn sign_out(State(web): Shared, request: Request) -> Response {
    let session = Name::Session.of(request.headers());
    if let Err(refusal) = Filled::of(&web, request, &[session.as_ref()]).await {
        return refusal;
    }
    if let Some(session) = session
        && let Err(error) = web.close(&session).await
    {
        return web.failed(error);
    }
    with_cookies(web.message(Message::SignedOut), &[Name::Session.unset()])
}

async fn sign_out_everywhere(State(web): Shared, request: Request) -> Response {
    let session = Name::Session.of(request.headers());
    if let Err(refusal) = Filled::of(&web, request, &[session.as_ref()]).await {
        return refusal;
    }
    let Some(session) = session else {
        return web.redirect(paths::HOME, &[]);
    };
    match web.sign_out_everywhere(&session).await {
        Ok(true) => with_cookies(
            web.message(Message::SignedOutEverywhere {
                holds_at: web.hub.store.holds_everywhere_at(web.hub.now()),
            }),
            &[Name::Session.unset()],
        ),
        Ok(false) => web.redirect(paths::HOME, &[]),
        Err(error) => web.failed(error),
    }
}

impl Web {
    async fn account_after(
        &self,
        filled: &Filled,
        session: Option<SecretString>,
        done: Result<Option<Notice>, Error>,
    ) -> Response {
        let notice = match done {
            Ok(Some(notice)) => notice,
            Ok(None) => return self.redirect(paths::HOME, &[]),
            Err(error) => return self.failed(error),
        };
        let Some(session) = session else {
            return self.redirect(paths::HOME, &[]);
        };
        match self
            .account_page(&filled.browser, &session, None, Some(notice))
            .await
        {
            Ok(Some(page)) => page,
            Ok(None) => self.redirect(paths::HOME, &[]),
            Err(error) => self.failed(error),
        }
    }
}

async fn only_get(State(web): Shared) -> Response {
    web.message(Message::NotAllowed { allow: "GET" })
}

async fn only_post(State(web): Shared) -> Response {
    web.message(Message::NotAllowed { allow: "POST" })
}

async fn only_get_and_post(State(web): Shared) -> Response {
    web.message(Message::NotAllowed { allow: "GET, POST" })
}

async fn not_found(State(web): Shared) -> Response {
    web.message(Message::NotFound)
}
