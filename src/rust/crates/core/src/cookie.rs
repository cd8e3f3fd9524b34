//! The cookie that lets a session ask: read by the client that sends it, minted and verified by the server.
//!
//! It is `urlenc(user)|urlenc(date)|urlenc(base64(HMAC-SHA256))`; the HMAC is over the first two fields as they stand,
//! with the bar between them, and the date is one of RFC 1123 in GMT. To a client only the date means anything.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::Key;
use hmac::{Hmac, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;

use crate::time::UnixTime;

/// A session's cookie. It is sent unchanged; only its expiry means anything to a client.
#[derive(Clone, Debug)]
pub struct Cookie {
    value: SecretString,
    expires_at: Option<UnixTime>,
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
        /// Shorter parts are not signatures, and masking them would garble any text.
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

    /// When it expires; `None` if its date cannot be read.
    #[must_use]
    pub fn expires_at(&self) -> Option<UnixTime> {
        self.expires_at
    }

    /// Where it was read.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether its date can be read and has passed.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// Whether both are the same text.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.value.expose_secret() == other.value.expose_secret()
    }
}

/// The second field, a date of RFC 1123 in GMT.
fn expiry(value: &str) -> Option<UnixTime> {
    let field = value.split('|').nth(1)?.replace('+', " ");
    let date = percent_decode_str(&field).decode_utf8().ok()?;
    UnixTime::of_http_date(&date)
}

/// What stands in a field as it is: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The key that signs cookies. It lives as long as the broker's process: a cookie of an earlier one is refused.
#[derive(Debug)]
pub struct CookieKey(SecretBox<[u8; 32]>);

/// Why a cookie is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCookie {
    /// Not exactly one cookie header with a text in it.
    #[error("the request carries no cookie")]
    Missing,
    /// Not signed with this broker's key, or not a cookie at all: the two are not told apart.
    #[error("the cookie is not one of this server's")]
    Forged,
    /// Its date has passed.
    #[error("the cookie has expired")]
    Expired,
    /// It is of a session that was ended.
    #[error("the cookie's session has ended")]
    Ended,
}

impl CookieKey {
    /// A new random key.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut key = Box::new([0; 32]);
        getrandom::fill(key.as_mut_slice())?;
        Ok(Self(SecretBox::new(key)))
    }

    /// A cookie with this first field, which expires at this time. One that no calendar holds has passed.
    #[must_use]
    pub fn mint(&self, user: &str, expires_at: UnixTime) -> SecretString {
        let user = utf8_percent_encode(user, ENCODED);
        let date = expires_at.to_http_date();
        let signed = format!("{user}|{}", utf8_percent_encode(&date, ENCODED));
        let signature = STANDARD.encode(self.mac(&signed).finalize().into_bytes());
        format!("{signed}|{}", utf8_percent_encode(&signature, ENCODED)).into()
    }

    /// The first field of a cookie, if it is good at `now`.
    ///
    /// # Errors
    /// Why it is not accepted. The signature is compared in constant time, before anything else in it is looked at.
    pub fn verify(&self, cookie: &str, now: UnixTime) -> Result<String, BadCookie> {
        let (signed, signature) = cookie.rsplit_once('|').ok_or(BadCookie::Forged)?;
        let signature: Vec<u8> = percent_decode_str(signature).collect();
        let signature = STANDARD.decode(signature).map_err(|_| BadCookie::Forged)?;
        self.mac(signed)
            .verify_slice(&signature)
            .map_err(|_| BadCookie::Forged)?;
        let (user, date) = signed.split_once('|').ok_or(BadCookie::Forged)?;
        let expires_at = decode(date)
            .and_then(|date| UnixTime::of_http_date(&date))
            .ok_or(BadCookie::Forged)?;
        if expires_at <= now {
            return Err(BadCookie::Expired);
        }
        decode(user).ok_or(BadCookie::Forged)
    }

    fn mac(&self, signed: &str) -> Hmac<Sha256> {
        // A key shorter than the hash's block counts as filled up with zeros (RFC 2104).
        let mut block = Key::<Hmac<Sha256>>::default();
        for (byte, key) in block.iter_mut().zip(self.0.expose_secret()) {
            *byte = *key;
        }
        <Hmac<Sha256> as Mac>::new(&block).chain_update(signed)
    }
}

fn decode(field: &str) -> Option<String> {
    let text = percent_decode_str(field).decode_utf8().ok()?;
    Some(text.into_owned())
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
        assert_eq!(cookie.expires_at(), Some(UnixTime::of_whole(1_795_392_000)));
        assert!(!cookie.is_expired(UnixTime::of_whole(1_795_391_999)));
        assert!(cookie.is_expired(UnixTime::of_whole(1_795_392_000)));
        assert_eq!(
            cookie.value().expose_secret(),
            "alice|Mon%2C%2023%20Nov%202026%2000%3A00%3A00%20GMT|c2ln"
        );
    }

    #[test]
    fn two_fields_are_enough_and_a_plus_is_a_space() {
        let cookie = parse("alice|Mon%2C+23+Nov+2026+00%3A00%3A00+GMT").unwrap();
        assert_eq!(cookie.expires_at(), Some(UnixTime::of_whole(1_795_392_000)));
    }

    #[test]
    fn a_garbage_date_leaves_a_cookie_without_expiry() {
        for text in ["alice", "alice|garbage|c2ln", "alice||", "|%ff|"] {
            let cookie = parse(text).unwrap();
            assert_eq!(cookie.expires_at(), None, "{text}");
            assert!(!cookie.is_expired(UnixTime::new(f64::MAX)));
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
            let time = UnixTime::of_whole(seconds);
            let date = time.to_http_date();
            let encoded = utf8_percent_encode(&date, NON_ALPHANUMERIC);
            prop_assert_eq!(parse(&format!("u|{encoded}|s")).unwrap().expires_at(), Some(time));
        }
    }
}

#[cfg(test)]
mod minted_tests {
    use super::*;

    /// 2026-11-23 00:00:00Z.
    const NOW: UnixTime = UnixTime::new(1_795_392_000.0);
    const LATER: UnixTime = UnixTime::of_whole(1_795_392_060);

    fn key() -> CookieKey {
        CookieKey(SecretBox::new(Box::new([7; 32])))
    }

    fn cookie(user: &str) -> String {
        key().mint(user, LATER).expose_secret().to_owned()
    }

    #[test]
    fn a_minted_cookie_looks_like_workbenchs_and_its_signature_is_hmac_sha256() {
        // The signature was computed with Python's hmac module.
        assert_eq!(
            cookie("alice"),
            "alice|Mon%2C%2023%20Nov%202026%2000%3A01%3A00%20GMT|41w4O%2FGBB8J23220Yw%2BWfp5p1xmPWpCR2Zd0UhJXU0I%3D"
        );
    }

    #[test]
    fn a_minted_cookie_gives_its_user_back() {
        for user in [
            "alice",
            "ada@example.com",
            "DOMAIN\\user",
            "a|b c%41",
            "Ünïcode",
            "",
        ] {
            assert_eq!(key().verify(&cookie(user), NOW).as_deref(), Ok(user));
        }
    }

    #[test]
    fn the_client_reads_the_expiry() {
        let cookie = Cookie::parse(&cookie("alice"), Source::Variable("X")).unwrap();
        assert_eq!(cookie.expires_at(), Some(LATER));
    }

    #[test]
    fn a_cookie_expires_at_its_date() {
        let cookie = cookie("alice");
        assert!(key().verify(&cookie, LATER - 0.1).is_ok());
        assert_eq!(key().verify(&cookie, LATER), Err(BadCookie::Expired));
    }

    #[test]
    fn a_cookie_with_another_user_or_date_is_forged() {
        let cookie = cookie("alice");
        for tampered in [
            cookie.replace("alice", "bob"),
            cookie.replace("2026", "2036"),
        ] {
            assert_eq!(key().verify(&tampered, NOW), Err(BadCookie::Forged));
        }
    }

    #[test]
    fn a_cookie_of_another_key_is_forged() {
        let other = CookieKey::generate().unwrap();
        assert_eq!(other.verify(&cookie("alice"), NOW), Err(BadCookie::Forged));
    }

    #[test]
    fn anything_but_three_fields_is_forged() {
        let cookie = cookie("alice");
        let (signed, signature) = cookie.rsplit_once('|').unwrap();
        for text in [
            "",
            "|",
            "||",
            "alice",
            signed,
            signature,
            &format!("{cookie}|"),
            &format!("{cookie}|{signature}"),
            &format!("x|{cookie}"),
            &format!("{signed}|%"),
            &format!("{signed}|"),
        ] {
            assert_eq!(key().verify(text, NOW), Err(BadCookie::Forged), "{text}");
        }
    }

    #[test]
    fn a_signed_text_that_is_no_cookie_is_forged() {
        for signed in [
            "alice",
            "alice|soon",
            "%ff|Mon%2C%2023%20Nov%202026%2000%3A01%3A00%20GMT",
        ] {
            let signature = STANDARD.encode(key().mac(signed).finalize().into_bytes());
            let cookie = format!("{signed}|{}", utf8_percent_encode(&signature, ENCODED));
            assert_eq!(
                key().verify(&cookie, NOW),
                Err(BadCookie::Forged),
                "{signed}"
            );
        }
    }

    #[test]
    fn debug_does_not_show_the_key() {
        assert_eq!(
            format!("{:?}", key()),
            "CookieKey(SecretBox<[u8; 32]>([REDACTED]))"
        );
    }
}
