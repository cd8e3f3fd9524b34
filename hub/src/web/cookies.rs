//! The cookies of the hub's page. `__Host-` keeps other hosts of the same domain from setting them (RFC 6265bis, 4.1.3.2).

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The longest value that is looked at, in bytes.
const LONGEST: usize = 256;

/// What a cookie is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// Tells one browser from another before anybody is signed in: a sign-in's answer has to come to where it began.
    Browser,
    /// Who is signed in on the page.
    Session,
    /// Who has signed in and is asked whether that is meant.
    Waiting,
    /// Which session of a local user asks for this sign-in.
    Ticket,
    /// What came of the last sign-in.
    Outcome,
}

impl Name {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "__Host-entrar-browser",
            Self::Session => "__Host-entrar-session",
            Self::Waiting => "__Host-entrar-waiting",
            Self::Ticket => "__Host-entrar-ticket",
            Self::Outcome => "__Host-entrar-outcome",
        }
    }

    /// The cookie's value in a request; `None` if it comes not at all, or twice.
    pub(super) fn of(self, headers: &HeaderMap) -> Option<SecretString> {
        let texts = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|text| text.to_str().ok());
        let mut values = texts
            .flat_map(|text| text.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.as_str())
            .map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(value), None) if !value.is_empty() && value.len() <= LONGEST => {
                Some(value.to_owned().into())
            }
            _ => None,
        }
    }

    /// The `Set-Cookie` that gives it this value, for as long as the browser runs.
    pub(super) fn set(self, value: &SecretString) -> String {
        let name = self.as_str();
        format!(
            "{name}={}; Path=/; Secure; HttpOnly; SameSite=Lax",
            value.expose_secret()
        )
    }

    /// The `Set-Cookie` that takes it away.
    pub(super) fn unset(self) -> String {
        let name = self.as_str();
        format!("{name}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
    }
}

/// What a form of the page has to bring along: only the page knows it, since no script can read the cookies. It is of the
/// browser, and of what the page is about, such as who is signed in: an old page in another tab does nothing to somebody else.
pub(super) fn csrf(browser: &SecretString, about: Option<&SecretString>) -> String {
    let mut hash = Sha256::new();
    hash.update("entrar-hub form\0");
    hash.update(browser.expose_secret());
    if let Some(about) = about {
        // No cookie's value has this symbol.
        hash.update("\0");
        hash.update(about.expose_secret());
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// Whether a form's field is that of this browser, and of this. How long the answer takes tells nothing.
pub(super) fn is_csrf(browser: &SecretString, about: Option<&SecretString>, given: &str) -> bool {
    csrf(browser, about)
        .as_bytes()
        .ct_eq(given.as_bytes())
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(COOKIE, value.parse().unwrap());
        }
        headers
    }

    fn session(values: &[&str]) -> Option<String> {
        let value = Name::Session.of(&headers(values))?;
        Some(value.expose_secret().to_owned())
    }

    #[test]
    fn a_cookie_counts_if_it_comes_once() {
        assert_eq!(
            session(&["a=b; __Host-entrar-session=s"]).as_deref(),
            Some("s")
        );
        assert_eq!(
            session(&["a=b", "__Host-entrar-session=s"]).as_deref(),
            Some("s")
        );
        for none in [
            &["__Host-entrar-session=s; __Host-entrar-session=t"][..],
            &["__Host-entrar-session=s", "__Host-entrar-session=s"],
            &["__Host-entrar-session="],
            &["entrar-session=s"],
            &["__host-entrar-session=s"],
            &[],
        ] {
            assert_eq!(session(none), None, "{none:?}");
        }
        let long = format!("__Host-entrar-session={}", "x".repeat(257));
        assert_eq!(session(&[&long]), None);
    }

    #[test]
    fn a_form_is_of_one_browser() {
        let (one, other) = ("one".to_owned().into(), "other".to_owned().into());
        assert!(is_csrf(&one, None, &csrf(&one, None)));
        assert!(!is_csrf(&other, None, &csrf(&one, None)));
        assert!(!is_csrf(&one, Some(&other), &csrf(&one, None)));
        assert!(!is_csrf(&one, None, &csrf(&one, Some(&other))));
        assert!(is_csrf(&one, Some(&other), &csrf(&one, Some(&other))));
        assert!(!is_csrf(&one, None, ""));
        assert!(!is_csrf(&one, None, "one"));
    }
}
