//! The pages of the hub, as pure functions from data to a response. Each is whole: it needs no script and loads nothing.
//!
//! Texts are in `hub/templates` and, where they depend on what happened, in [`message`] and [`advice`]. Whatever comes from
//! outside is escaped, and loses its control characters and whatever turns the direction of text.

mod account;
mod advice;
mod filters;
mod headers;
mod message;

use askama::Template;
use axum::http::header::{ALLOW, CONTENT_TYPE, REFRESH, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use entrar_broker::accounts::AccountId;
use entrar_core::authority::Authority;
use entrar_core::time::UnixTime;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use account::{Account, Notice, OpenedBy, Session, Tried};
pub use headers::headers;
pub use message::{Message, PairingEnd};

/// The stylesheet, which stands in every page. The Content-Security-Policy names it by its hash.
pub const STYLE: &str = include_str!("../../../templates/style.css");

/// The paths that the pages' links and forms lead to, below [`Site::address`]. Forms are posted, and hold a field `csrf`.
pub mod paths {
    /// `GET`: the account page, or the start page for those who are not signed in.
    pub const HOME: &str = "/";
    /// `POST`: begins a sign-in; with `choose=yes` the person is asked which account it is to be.
    pub const SIGN_IN: &str = "/sign-in";
    /// `GET`: where Entra ID sends the browser back to.
    pub const CALLBACK: &str = "/callback";
    /// `POST`: the answer to [`Confirm`](super::Confirm), `answer=yes` or `answer=no`.
    pub const CONFIRM: &str = "/confirm";
    /// `POST`: the person did not begin the pairing.
    pub const NOT_ME: &str = "/pairing/not-me";
    /// `POST`: ends the session of the field `session`.
    pub const END_SESSION: &str = "/sessions/end";
    /// `POST`: ends all sessions of the local user.
    pub const END_SESSIONS: &str = "/sessions/end-all";
    /// `POST`: asks for a token of the field `resource`, and tells how that went.
    pub const TRY: &str = "/try";
    /// `POST`: signs this browser out of the pages, and changes nothing else.
    pub const SIGN_OUT: &str = "/sign-out";
    /// `POST`: ends all sessions and deletes the refresh token.
    pub const SIGN_OUT_EVERYWHERE: &str = "/sign-out-everywhere";
}

/// What all pages of a hub have in common.
#[derive(Clone, Debug)]
pub struct Site {
    /// The host of the configured `public_url`, with its port if it names one; never a request's `Host`.
    pub host: String,
    /// The configured `public_url` without a slash at its end.
    pub address: String,
    /// Whose hub this is.
    pub organisation: Option<String>,
    /// Whom to ask, in the words of the configuration, such as `it-help@example.com`.
    pub contact: Option<String>,
    /// Where people sign in.
    pub authority: Authority,
    /// The seconds for which browsers are to use this host by https alone; `None` unless that is how it is served. It counts
    /// for every port of the host: an RStudio Server on `http://HOST:8787` cannot be reached any more.
    pub hsts: Option<u32>,
}

impl Site {
    /// The host that a sign-in leads to, for show.
    fn authority_host(&self) -> &str {
        self.authority
            .address()
            .url()
            .host_str()
            .unwrap_or_default()
    }

    /// Microsoft's page where a person ends their own browser sessions, where this cloud is known to have one.
    fn my_account(&self) -> Option<&'static str> {
        (self.authority == Authority::default()).then_some("https://myaccount.microsoft.com")
    }

    fn is_in_microsofts_cloud(&self) -> bool {
        self.authority.is_a_cloud()
    }

    /// Where the hub is, with a path of [`paths`].
    fn address_of(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }
}

/// Who has signed in.
#[derive(Clone, Debug)]
pub struct Person {
    /// The name, for show.
    pub name: Option<String>,
    /// The user name, for show.
    pub username: Option<String>,
    /// The account.
    pub account: AccountId,
}

/// A page.
#[derive(Clone, Debug)]
pub enum Page {
    /// What this is, and the way in.
    Start(Start),
    /// On the way to Entra ID.
    Leaving(Leaving),
    /// The one question of a first sign-in.
    Confirm(Confirm),
    /// The code to type into the session that asks.
    Pairing(Pairing),
    /// The account, its sessions, and how to end them.
    Account(Account),
    /// What happened, and what to do next.
    Message(Message),
}

/// The page for those who are not signed in.
#[derive(Clone, Debug)]
pub struct Start {
    /// The form's token.
    pub csrf: SecretString,
}

/// The answer to the form that begins a sign-in, from which the browser goes on by itself.
///
/// A redirect in its place would be held to `form-action` at each of its steps by Chromium, and a tenant may redirect at
/// once to an identity provider that nobody here knows.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// The authorization request.
    pub address: Url,
}

/// The question that a first mapped sign-in ends with, before anything is kept.
#[derive(Clone, Debug)]
pub struct Confirm {
    /// Who has signed in.
    pub person: Person,
    /// The local user that they would be.
    pub user: String,
    /// Until when it may be answered.
    pub expires_at: UnixTime,
    /// The form's token.
    pub csrf: SecretString,
}

/// The page that shows a pairing code.
#[derive(Clone, Debug)]
pub struct Pairing {
    /// Who has signed in.
    pub person: Person,
    /// The local user that asks, from peer credentials.
    pub user: String,
    /// The machine that asks.
    pub machine: String,
    /// Eight symbols.
    pub code: SecretString,
    /// Until when it may be typed.
    pub expires_at: UnixTime,
    /// The form's token.
    pub csrf: SecretString,
}

impl Pairing {
    /// The code in groups of four, to be read.
    fn grouped(&self) -> String {
        let mut grouped = String::new();
        for (at, symbol) in self.code.expose_secret().chars().enumerate() {
            if at > 0 && at % 4 == 0 {
                grouped.push('-');
            }
            grouped.push(symbol);
        }
        grouped
    }

    /// The code symbol by symbol, to be spoken.
    fn spelled(&self) -> String {
        let mut spelled = String::new();
        for (at, symbol) in self.code.expose_secret().chars().enumerate() {
            match at {
                0 => {}
                at if at % 4 == 0 => spelled.push_str(", "),
                _ => spelled.push(' '),
            }
            spelled.push(symbol);
        }
        spelled
    }
}

impl Page {
    /// Whether it holds more than a few lines.
    fn is_wide(&self) -> bool {
        matches!(self, Self::Account(_))
    }

    /// The page as a response. Its status is that of what it tells, 200 for what is no message.
    #[must_use]
    pub fn response(&self, site: &Site) -> Response {
        let view = View {
            site,
            page: self,
            style: STYLE,
            words: match self {
                Self::Message(message) => Some(message.words(site)),
                _ => None,
            },
        };
        let status = view
            .words
            .as_ref()
            .map_or(StatusCode::OK, |words| words.status);
        let headers = headers(site);
        match view.render() {
            Ok(html) => {
                let kind = [(CONTENT_TYPE, "text/html; charset=utf-8")];
                (status, headers, kind, self.own_header(), html).into_response()
            }
            Err(error) => {
                tracing::error!(%error, "a page cannot be written");
                (StatusCode::INTERNAL_SERVER_ERROR, headers).into_response()
            }
        }
    }

    /// What HTTP wants to be told beside the page.
    fn own_header(&self) -> Option<[(HeaderName, HeaderValue); 1]> {
        let (name, value) = match self {
            Self::Leaving(leaving) => (REFRESH, format!("0;url={}", leaving.address)),
            Self::Message(Message::NotAllowed { allow }) => (ALLOW, (*allow).to_owned()),
            Self::Message(message) => (RETRY_AFTER, message.retry_after()?.to_string()),
            _ => return None,
        };
        Some([(name, HeaderValue::from_str(&value).ok()?)])
    }
}

/// A page as it is written.
#[derive(Template)]
#[template(path = "page.html")]
struct View<'a> {
    site: &'a Site,
    page: &'a Page,
    style: &'static str,
    /// Of a message.
    words: Option<message::Words>,
}
