//! The trace: how an answer came about, for whoever wants to know why git was refused.
//!
//! Only [`Fact`]s can be traced, and they have no room for a secret: no token, no cookie, no user name, no path
//! of a URL, no text of a server.

use std::cell::RefCell;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use entrar_client::origin::{Door, Session};
use entrar_client::timeout::VARIABLE;
use entrar_core::cookie::Source;
use entrar_core::env::Env;
use entrar_core::error::Kind;
use entrar_core::guid::Guid;
use entrar_core::time::UnixTime;

use crate::keyring::Refusal;
use crate::place::Place;
use crate::report::Report;

/// git's own variable, and ours for when git's would say too much.
const VARIABLES: [&str; 2] = ["GIT_CREDENTIAL_PWB_TRACE", "GIT_TRACE"];

/// Where the trace goes.
pub(crate) enum Trace {
    Off,
    Stderr,
    File(PathBuf),
    /// Into a report, which is of the outcome and not of every step.
    Report(RefCell<Report>),
}

/// What may be traced.
pub(crate) enum Fact<'a> {
    Started(&'static str),
    NotOurs,
    Place(&'a Place),
    SecondChance,
    TooManyErasures,
    Erased,
    Stored,
    Session(&'a Session),
    Cookie(&'a Source),
    Resource(&'static str),
    TokenTaken,
    Exchange(Duration),
    TokenKept(Option<u32>),
    KeyringRefuses(&'a Refusal),
    TokenDropped,
    NoToken(Kind),
    BadTimeout,
    Expiry(Option<UnixTime>, UnixTime),
    Tenants(Option<Guid>, Option<Guid>),
    Answered { second_chance: bool },
    Quit,
    NoAnswer,
}

impl Trace {
    /// As git reads its variable: `1`, `2` and `true` are stderr, an absolute path is a file.
    pub(crate) fn new(env: &Env) -> Self {
        let value = VARIABLES.iter().find_map(|name| env.var(name));
        match value.as_deref() {
            Some("1" | "2") => Self::Stderr,
            Some(value) if value.eq_ignore_ascii_case("true") => Self::Stderr,
            Some(path) if std::path::Path::new(path).is_absolute() => Self::File(path.into()),
            _ => Self::Off,
        }
    }

    /// Writes one line; a trace that cannot be written changes nothing.
    pub(crate) fn fact(&self, stderr: &mut dyn Write, fact: &Fact<'_>) {
        if let Self::Report(report) = self {
            report.borrow_mut().note(fact);
            return;
        }
        let line = || format!("git-credential-pwb: trace: {fact}\n");
        let _ = match self {
            Self::Off | Self::Report(_) => Ok(()),
            Self::Stderr => stderr.write_all(line().as_bytes()),
            Self::File(path) => {
                let mut options = OpenOptions::new();
                options.create(true).append(true);
                options
                    .open(path)
                    .and_then(|mut file| file.write_all(line().as_bytes()))
            }
        };
    }
}

impl fmt::Display for Fact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(verb) => write!(f, "{verb}: version {}", env!("CARGO_PKG_VERSION")),
            Self::NotOurs => {
                f.write_str("host: not Azure DevOps by https, so it is left to others")
            }
            Self::Place(place) => match place.organisation() {
                Some(name) => write!(f, "host: {}, organisation {name}", place.host()),
                None => write!(f, "host: {}, organisation not known", place.host()),
            },
            Self::SecondChance => f.write_str("second chance: the token before was refused"),
            Self::TooManyErasures => f.write_str("erasures: two within a minute"),
            Self::Erased => f.write_str("erase: the token was refused"),
            Self::Stored => f.write_str("store: the token was accepted; nothing is stored"),
            Self::Session(session) => {
                let server = session.server();
                match session.door() {
                    Door::Address(_) => write!(f, "session: {server}, from RS_SERVER_ADDRESS"),
                    Door::Socket(_) => write!(f, "session: {server}"),
                }
            }
            Self::Cookie(source) => write!(f, "cookie: from {source}"),
            Self::Resource(resource) => write!(f, "resource: {resource}"),
            Self::TokenTaken => f.write_str("keyring: the token that is kept there is taken"),
            Self::TokenKept(Some(seconds)) => {
                write!(f, "keyring: the token is kept for {seconds} s")
            }
            Self::TokenKept(None) => f.write_str("keyring: the token expires too soon to be kept"),
            Self::KeyringRefuses(refusal) => {
                write!(
                    f,
                    "keyring: the kernel refuses ({refusal}), so no token is kept"
                )
            }
            Self::TokenDropped => f.write_str("keyring: the token that was kept there is dropped"),
            Self::Exchange(time) => write!(f, "exchange: {} ms", time.as_millis()),
            Self::NoToken(kind) => write!(f, "no token: {kind}"),
            Self::BadTimeout => write!(f, "no token: {VARIABLE} is not a number of seconds"),
            Self::Expiry(None, _) => f.write_str("token: does not tell when it expires"),
            Self::Expiry(Some(at), now) => {
                write!(f, "token: expires {at}, in {:.0} s", *at - *now)
            }
            Self::Tenants(issuer, wanted) => {
                let verdict = match (issuer, wanted) {
                    (Some(issuer), Some(wanted)) if issuer == wanted => "the same",
                    (Some(_), Some(_)) => "another",
                    _ => "not compared",
                };
                let shown = |tenant: &Option<Guid>| {
                    tenant.map_or_else(|| "not known".to_owned(), |tenant| tenant.to_string())
                };
                write!(
                    f,
                    "tenant: token {}, challenge {}: {verdict}",
                    shown(issuer),
                    shown(wanted)
                )
            }
            Self::Answered { second_chance } => {
                f.write_str("answer: a user name and a token")?;
                f.write_str(if *second_chance {
                    "; to be asked once more if refused"
                } else {
                    ""
                })
            }
            Self::Quit => f.write_str("answer: quit"),
            Self::NoAnswer => f.write_str("answer: none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_are_read_as_git_reads_its_own() {
        let trace = |name: &str, value: &str| Trace::new(&Env::fixed(&[(name, value)], 0.0));
        for name in VARIABLES {
            for value in ["1", "2", "true", "TRUE"] {
                assert!(
                    matches!(trace(name, value), Trace::Stderr),
                    "{name}={value}"
                );
            }
            for value in ["", "0", "false", "3", "yes", "relative/path"] {
                assert!(matches!(trace(name, value), Trace::Off), "{name}={value}");
            }
            let absolute = if cfg!(windows) {
                "C:/trace"
            } else {
                "/tmp/trace"
            };
            assert!(matches!(trace(name, absolute), Trace::File(_)));
        }
    }

    #[test]
    fn an_expiry_is_shown_in_utc() {
        assert_eq!(
            Fact::Expiry(
                Some(UnixTime::of_whole(1_795_392_000)),
                UnixTime::new(1_795_391_940.4)
            )
            .to_string(),
            "token: expires 2026-11-23T00:00:00Z, in 60 s"
        );
    }
}
