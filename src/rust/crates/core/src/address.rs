//! A server's address: read, or refused with the reason.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

/// Why a text is not an address that can be asked, as the end of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(String);

/// A server's address: http or https, perhaps with a base path.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Reads an address; one without a scheme gets `http://`.
    ///
    /// # Errors
    /// Why it is not an http(s) address. The text is not repeated: it may hold a password, and it is not understood.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let text = text.trim();
        let bad = |why: &str| BadAddress(why.to_owned());
        if text.is_empty() || text.starts_with(['/', '?', '#', '.']) {
            return Err(bad("it has no host"));
        }
        if is_misread(text) {
            return Err(bad(MISREAD));
        }
        let mut url = Url::parse(&with_scheme(text)).map_err(|error| bad(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("its scheme is neither http nor https"));
        }
        if !has_plain_host(&url) {
            return Err(bad(ODD_HOST));
        }
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// The URL of a path under this address, with one slash between them.
    #[must_use]
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{}", path.trim_start_matches('/')));
        url
    }

    /// The address of a path under this one.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        Self(self.join(path))
    }

    /// The address as a URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Whether it is this machine, so that no proxy and no eavesdropper stands between.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// Whether a cookie sent there can be read on the way.
    #[must_use]
    pub fn is_in_clear(&self) -> bool {
        self.0.scheme() == "http" && !self.is_loopback()
    }
}

/// What is wrong with an address that [`is_misread`].
pub const MISREAD: &str = "an \"@\" stands behind its first \"/\", \"?\" or \"#\", so that a part of the user name or password would be taken for the host; percent-encode what is in them: \"@\" is %40, \"#\" is %23, \"/\" is %2F, \"?\" is %3F";

/// Whether an address holds an `@` behind its first `/`, `?` or `#`, where user name and password have ended. As a rule its
/// password holds one of these characters unescaped: what parses as the host is a part of the password, and must be
/// neither shown nor looked up.
#[must_use]
pub fn is_misread(address: &str) -> bool {
    let authority = scheme(address).map_or(address, |(_, rest)| rest);
    // For http a backslash is a slash.
    let rest = authority.split_once(['/', '?', '#', '\\']);
    rest.is_some_and(|(_, rest)| rest.contains('@'))
}

/// The scheme of an address, and what is behind it. A colon and slashes in a password make none.
fn scheme(address: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = address.split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then_some((scheme, rest))
}

/// The address with `http://` before it if it has no scheme.
#[must_use]
pub fn with_scheme(address: &str) -> String {
    match scheme(address) {
        Some(_) => address.to_owned(),
        None => format!("http://{address}"),
    }
}

/// What is wrong with an address that has no plain host.
pub const ODD_HOST: &str = "its host's name holds characters that no such name has";

/// Whether a URL's host is an IP address or a name of ordinary characters: not a variable's name in braces, which was to
/// be replaced by its value, and no part of a password.
#[must_use]
pub fn has_plain_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        None => false,
    }
}

/// Whether a URL's host is this machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback_host)
}

/// Whether a host, by its name or its address, is this machine. An address of version 6 may stand in brackets.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match bare.unwrap_or(host).parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback()
                || address
                    .to_ipv4_mapped()
                    .is_some_and(|address| address.is_loopback())
        }
        Err(_) => host.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
    }
}

/// Without user name and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.0.origin().ascii_serialization();
        write!(f, "{origin}{}", self.0.path().trim_end_matches('/'))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, url) in [
            (
                "http://127.0.0.1:8787",
                "http://127.0.0.1:8787/delegated_azure_token",
            ),
            ("http://host/dev/", "http://host/dev/delegated_azure_token"),
            ("http://host/dev//", "http://host/dev/delegated_azure_token"),
            (
                "localhost:8787",
                "http://localhost:8787/delegated_azure_token",
            ),
            ("[::1]:8787", "http://[::1]:8787/delegated_azure_token"),
            ("https://[::1]", "https://[::1]/delegated_azure_token"),
            ("HTTPS://Host?q#f", "https://host/delegated_azure_token"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(
                address.join("/delegated_azure_token").as_str(),
                url,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_http_address_is_unreachable() {
        for text in [
            "ftp://host",
            "file:///etc",
            "http://",
            "/path",
            "http://[::1",
            "a b",
            "http://h:99999",
            "http://svc:pass/word@host",
            "svc:pass?word@host",
            "https://svc:pass#word@host",
            "https://svc:pass\\word@host",
            "http:password://x@host",
            "https:pass/word@host",
            "http://${NAME}:8787",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_shows_no_password() {
        let address = Address::parse("http://user:canary@host/base/").unwrap();
        assert_eq!(
            format!("{address} {address:?}"),
            "http://host/base http://host/base"
        );
    }

    #[test]
    fn only_plain_http_to_another_host_is_in_clear() {
        for (text, clear) in [
            ("http://127.0.0.1", false),
            ("http://127.9.9.9", false),
            ("http://[::1]", false),
            ("http://[::ffff:127.0.0.1]", false),
            ("http://LOCALHOST.:80", false),
            ("https://host", false),
            ("http://host", true),
            ("http://localhost.evil.example", true),
        ] {
            assert_eq!(Address::parse(text).unwrap().is_in_clear(), clear, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_address_is_http_or_refused(text in ".*") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert!(address.join("x").as_str().starts_with("http"));
            }
        }
    }
}
