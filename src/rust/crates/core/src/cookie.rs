//! The cookie that lets a session ask: `user|expiry|signature`, each part percent-encoded.

use std::fmt;

use chrono::DateTime;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

/// A session's cookie. It is sent unchanged; only its expiry means anything to a client.
#[derive(Clone, Debug)]
pub struct Cookie {
    value: SecretString,
    expires_at: Option<i64>,
    source: Source,
}

/// Where a cookie was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The file of this path.
    File(String),
    /// The environment variable of this name.
    Variable(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.write_str(path),
            Self::Variable(name) => write!(f, "the variable {name}"),
        }
    }
}

impl Cookie {
    /// Reads a cookie's text: its first line, without white space around it. `None` if that is
    /// empty or could not stand in an HTTP header.
    #[must_use]
    pub fn parse(text: &str, source: Source) -> Option<Self> {
        let value = text.lines().next()?.trim();
        if value.is_empty() || !value.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            return None;
        }
        Some(Self {
            value: value.into(),
            expires_at: expiry(value),
            source,
        })
    }

    /// The text to send.
    #[must_use]
    pub fn value(&self) -> &SecretString {
        &self.value
    }

    /// What must not be shown: the cookie and its signature, also percent-encoded or decoded, in
    /// which forms a server may quote them.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretString> {
        /// Shorter parts are no signatures, and masking them would garble any text.
        const SHORTEST: usize = 6;
        let value = self.value.expose_secret();
        let signature = value.rsplit('|').next().unwrap_or_default();
        let decoded = percent_decode_str(signature)
            .decode_utf8_lossy()
            .into_owned();
        let encoded = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        [value.to_owned(), encoded, signature.to_owned(), decoded]
            .into_iter()
            .filter(|secret| secret.len() >= SHORTEST)
            .map(SecretString::from)
            .collect()
    }

    /// When it expires, in Unix seconds; `None` if its date cannot be read.
    #[must_use]
    pub fn expires_at(&self) -> Option<i64> {
        self.expires_at
    }

    /// Where it was read.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether its date can be read and has passed.
    #[must_use]
    pub fn is_expired(&self, now: f64) -> bool {
        #[allow(
            clippy::cast_precision_loss,
            reason = "dates lie far below 2^52 seconds"
        )]
        self.expires_at
            .is_some_and(|expires_at| expires_at as f64 <= now)
    }

    /// Whether both are the same text.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.value.expose_secret() == other.value.expose_secret()
    }
}

/// The second field, a date of RFC 1123 in GMT.
fn expiry(value: &str) -> Option<i64> {
    let field = value.split('|').nth(1)?.replace('+', " ");
    let date = percent_decode_str(&field).decode_utf8().ok()?;
    let date = DateTime::parse_from_rfc2822(&date).ok()?;
    Some(date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SOURCE: Source = Source::Variable("RS_SESSION_RPC_COOKIE");

    fn parse(text: &str) -> Option<Cookie> {
        Cookie::parse(text, SOURCE)
    }

    #[test]
    fn a_workbench_cookie_expires_at_its_date() {
        let cookie = parse("alice|Mon%2C%2023%20Nov%202026%2000%3A00%3A00%20GMT|c2ln\n").unwrap();
        assert_eq!(cookie.expires_at(), Some(1_795_392_000));
        assert!(!cookie.is_expired(1_795_391_999.0));
        assert!(cookie.is_expired(1_795_392_000.0));
        assert_eq!(
            cookie.value().expose_secret(),
            "alice|Mon%2C%2023%20Nov%202026%2000%3A00%3A00%20GMT|c2ln"
        );
    }

    #[test]
    fn two_fields_are_enough_and_a_plus_is_a_space() {
        let cookie = parse("alice|Mon%2C+23+Nov+2026+00%3A00%3A00+GMT").unwrap();
        assert_eq!(cookie.expires_at(), Some(1_795_392_000));
    }

    #[test]
    fn a_garbage_date_leaves_a_cookie_without_expiry() {
        for text in ["alice", "alice|garbage|c2ln", "alice||", "|%ff|"] {
            let cookie = parse(text).unwrap();
            assert_eq!(cookie.expires_at(), None, "{text}");
            assert!(!cookie.is_expired(f64::MAX));
        }
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_no_cookie() {
        for text in ["", "\n", "  ", "a\u{7f}b", "ä|b", "a\0b"] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn its_signature_is_secret_in_every_form() {
        let cookie = parse("alice|date|canary%2Bsignature").unwrap();
        let text = "canary%2Bsignature canary+signature alice%7Cdate%7Ccanary%252Bsignature";
        let shown = crate::text::presentable(text, &cookie.secrets());
        assert_eq!(shown, "<REDACTED> <REDACTED> <REDACTED>");
    }

    #[test]
    fn debug_does_not_show_the_value() {
        let shown = format!("{:?}", parse("canary-cookie|date|sig"));
        assert!(!shown.contains("canary"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_sendable_cookie_or_none(text in ".*") {
            if let Some(cookie) = parse(&text) {
                let value = cookie.value().expose_secret();
                prop_assert!(!value.is_empty());
                prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }

        #[test]
        fn every_second_of_a_century_is_read_back(seconds in 0_i64..4_102_444_800) {
            let date = DateTime::from_timestamp(seconds, 0).unwrap();
            let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            let encoded = utf8_percent_encode(&date, NON_ALPHANUMERIC);
            prop_assert_eq!(parse(&format!("u|{encoded}|s")).unwrap().expires_at(), Some(seconds));
        }
    }
}
