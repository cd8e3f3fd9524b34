//! The proxy between this process and a server, as the environment names it.

use std::fmt;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::address::{MISREAD, ODD_HOST, has_plain_host, is_loopback, is_misread, with_scheme};
use crate::env::Env;
use crate::error::{Error, Kind};

/// The kinds of proxies that are spoken to. With `socks5` this process looks the server's name up, with `socks5h` the
/// proxy does.
const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// A proxy that a variable names.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    variable: &'static str,
    // It may hold a password.
    text: String,
}

/// Why a proxy does not serve a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// The URL's host is this machine.
    Loopback,
    /// This variable excepts the host.
    Named(&'static str),
}

impl Proxy {
    /// The proxy that the environment names for URLs of this scheme, though it may except some of them.
    #[must_use]
    pub fn find(env: &Env, url: &Url) -> Option<Self> {
        let [lower, upper] = if url.scheme() == "https" {
            ["https_proxy", "HTTPS_PROXY"]
        } else {
            ["http_proxy", "HTTP_PROXY"]
        };
        let (variable, text) = env.first([lower, upper, "all_proxy", "ALL_PROXY"])?;
        Some(Self { variable, text })
    }

    /// The variable that names it.
    #[must_use]
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// Its address, with user name and password if there are any.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] if the text is not an address of a proxy. It is not repeated: it may hold a password.
    pub fn address(&self) -> Result<Url, Error> {
        let bad = |why: &str| {
            let variable = self.variable;
            let message = format!("the proxy that {variable} names cannot be asked: {why}");
            Error::new(Kind::Unreachable, message).lasting()
        };
        let text = self.text.trim();
        if is_misread(text) {
            return Err(bad(MISREAD));
        }
        let url = Url::parse(&with_scheme(text)).map_err(|error| bad(&error.to_string()))?;
        if !SCHEMES.contains(&url.scheme()) {
            return Err(bad("its scheme is not http, https, socks5 or socks5h"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(bad("it has no host"));
        }
        if !has_plain_host(&url) {
            return Err(bad(ODD_HOST));
        }
        Ok(url)
    }

    /// Whether this process itself looks up the names of the servers that it asks through the proxy.
    pub fn leaves_names_to_us(&self) -> bool {
        self.address().is_ok_and(|url| url.scheme() == "socks5")
    }
}

/// What it is called in a message: its address without user name and password, and its variable.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variable = self.variable;
        match self.address() {
            Ok(url) => write!(f, "the proxy {} (named by {variable})", shown(&url)),
            Err(_) => write!(f, "the proxy that {variable} names"),
        }
    }
}

/// Scheme, host and port: a password could stand nowhere in them.
#[must_use]
pub fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// Why no proxy is to serve a URL, if so.
#[must_use]
pub fn exception(env: &Env, url: &Url) -> Option<Exception> {
    if is_loopback(url) {
        return Some(Exception::Loopback);
    }
    let (variable, hosts) = env.first(["no_proxy", "NO_PROXY"])?;
    is_excepted(url, &hosts).then_some(Exception::Named(variable))
}

/// hyper-util judges, by curl's rules. It wants a proxy to judge for: any will do.
fn is_excepted(url: &Url, hosts: &str) -> bool {
    let Ok(destination) = url.as_str().parse::<Uri>() else {
        return false;
    };
    // Many write a star before the dot.
    let hosts: Vec<&str> = hosts
        .split(',')
        .map(str::trim)
        .map(|host| {
            host.strip_prefix('*')
                .filter(|rest| rest.starts_with('.'))
                .unwrap_or(host)
        })
        .collect();
    let matcher = Matcher::builder()
        .all("http://proxy")
        .no(hosts.join(","))
        .build();
    matcher.intercept(&destination).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn named(text: &str) -> Proxy {
        let env = Env::fixed(&[("https_proxy", text)], 0.0);
        Proxy::find(&env, &url("https://server.example")).unwrap()
    }

    #[test]
    fn each_scheme_has_its_variable_and_all_proxy_serves_both() {
        let variable = |target: &str, variables: &[(&str, &str)]| {
            Proxy::find(&Env::fixed(variables, 0.0), &url(target)).map(|proxy| proxy.variable())
        };
        let all = ("all_proxy", "http://p");
        assert_eq!(
            variable("http://h", &[("HTTP_PROXY", "p"), all]),
            Some("HTTP_PROXY")
        );
        assert_eq!(
            variable("https://h", &[("HTTP_PROXY", "p"), all]),
            Some("all_proxy")
        );
        assert_eq!(
            variable("https://h", &[("HTTPS_PROXY", "p")]),
            Some("HTTPS_PROXY")
        );
        assert_eq!(variable("https://h", &[("http_proxy", "p")]), None);
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        for (text, address) in [
            (
                "http://user:canary@proxy.example:3128/canary",
                "http://proxy.example:3128",
            ),
            (
                "user:canary@proxy.example:3128",
                "http://proxy.example:3128",
            ),
            (
                "http://canary:can%40ary@proxy.example:3128",
                "http://proxy.example:3128",
            ),
            (
                "http://user:canary@canary@proxy.example",
                "http://proxy.example",
            ),
            (
                "socks5h://user:canary@proxy.example:1080",
                "socks5h://proxy.example:1080",
            ),
        ] {
            assert_eq!(shown(&named(text).address().unwrap()), address, "{text}");
            let expected = format!("the proxy {address} (named by https_proxy)");
            assert_eq!(named(text).to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_proxys_address_is_refused_without_showing_it() {
        for (text, why) in [
            ("http://user:canary@[", "invalid IPv6 address"),
            ("ftp://canary", "its scheme is not http"),
            ("socks5://", "it has no host"),
            ("http://svc:canary#2026@proxy:8080", "percent-encode"),
            ("svc:can/ary@proxy:8080", "percent-encode"),
            ("http:canary://x@proxy", "percent-encode"),
            (
                "socks5://svc%3Acanary%40proxy",
                "characters that no such name has",
            ),
            ("http://proxy;pw=canary", "characters that no such name has"),
        ] {
            let error = named(text).address().unwrap_err();
            assert_eq!(error.kind(), Kind::Unreachable);
            assert!(error.message().contains(why), "{text}: {error}");
            assert!(!error.to_string().contains("canary"), "{error}");
            assert_eq!(named(text).to_string(), "the proxy that https_proxy names");
        }
    }

    #[test]
    fn this_machine_and_the_hosts_that_no_proxy_names_are_asked_without_one() {
        let of = |target: &str, hosts: &str| {
            exception(&Env::fixed(&[("NO_PROXY", hosts)], 0.0), &url(target))
        };
        assert_eq!(of("http://localhost:8787", ""), Some(Exception::Loopback));
        for (hosts, excepted) in [
            ("server.example", true),
            (".example, other", true),
            ("*.example", true),
            ("other, *.example", true),
            ("*", true),
            ("other.example", false),
            ("*.other.example", false),
            ("ver.example", false),
            ("*ver.example", false),
        ] {
            assert_eq!(
                of("https://server.example", hosts),
                excepted.then_some(Exception::Named("NO_PROXY")),
                "{hosts}"
            );
        }
    }
}
