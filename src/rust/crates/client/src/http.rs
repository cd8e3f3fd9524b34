//! HTTP as the session RPC and the token endpoint need it: no redirects, no proxy on loopback, TLS
//! always verified, replies of bounded size.

use std::error::Error as StdError;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use chrono::DateTime;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Client, NoProxy, Proxy, RequestBuilder, Response, redirect};
use url::Url;

use crate::env::Env;
use crate::error::{Error, Kind};
use crate::oauth::believable_wait;
use crate::session::is_loopback;

/// The largest reply that is read, in bytes.
const LARGEST_REPLY: usize = 1 << 20;

/// What a client is built from. A client serves every request whose settings are equal.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    tls: bool,
    /// The variable that names the bundle, and the bundle's path.
    ca_bundle: Option<(&'static str, String)>,
    proxy: Option<String>,
    no_proxy: Option<String>,
}

impl Settings {
    /// The settings for requests to this URL in this environment.
    #[must_use]
    pub fn new(env: &Env, url: &Url) -> Self {
        let tls = url.scheme() == "https";
        let proxied = !is_loopback(url);
        let value = |named: Option<(&str, String)>| named.map(|(_, value)| value);
        Self {
            tls,
            ca_bundle: if tls { ca_bundle(env) } else { None },
            proxy: value(proxied.then(|| named_proxy(env, tls)).flatten()),
            no_proxy: value(proxied.then(|| named_exceptions(env)).flatten()),
        }
    }

    /// Whether the environment names a proxy for these requests.
    #[must_use]
    pub fn has_proxy(&self) -> bool {
        self.proxy.is_some()
    }
}

/// The bundle that replaces the system's roots, as curl and Python's requests have it.
pub(crate) fn ca_bundle(env: &Env) -> Option<(&'static str, String)> {
    first_set(
        env,
        ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"],
    )
}

/// The proxy for https, or for http, and the variable that names it.
pub(crate) fn named_proxy(env: &Env, tls: bool) -> Option<(&'static str, String)> {
    let [lower, upper] = if tls {
        ["https_proxy", "HTTPS_PROXY"]
    } else {
        ["http_proxy", "HTTP_PROXY"]
    };
    first_set(env, [lower, upper, "all_proxy", "ALL_PROXY"])
}

/// The hosts that no proxy serves, and the variable that names them.
pub(crate) fn named_exceptions(env: &Env) -> Option<(&'static str, String)> {
    first_set(env, ["no_proxy", "NO_PROXY"])
}

fn first_set<const N: usize>(
    env: &Env,
    names: [&'static str; N],
) -> Option<(&'static str, String)> {
    names
        .into_iter()
        .find_map(|name| Some((name, env.var(name)?)))
}

/// An HTTP client with its connections, and the settings it was built from.
#[derive(Clone)]
pub struct Http {
    settings: Settings,
    client: Client,
}

/// A reply, read whole.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Seconds the server asks to wait, if it does so believably.
    pub retry_after: Option<f64>,
    /// Whether the server says that the body is plain text.
    pub is_plain_text: bool,
    /// The body; invalid UTF-8 is replaced.
    pub body: String,
}

/// Why there is no reply.
pub struct Failure {
    /// The error to show.
    pub error: Error,
    /// Whether the connection broke before a reply came. A kept-alive connection which the server
    /// has closed looks like this; another attempt opens a new one.
    pub connection_broke: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            connection_broke: false,
        }
    }
}

impl Http {
    /// Builds a client. Roots are loaded only for https, since that takes up to 30 ms.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] if the CA bundle or the proxy's address cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        // Both are this process's own provider; a second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let loopback = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        ];
        let mut builder = Client::builder()
            .user_agent(concat!("entrar/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .resolve_to_addrs("localhost", &loopback)
            .resolve_to_addrs("localhost.", &loopback);
        if let Some(proxy) = &settings.proxy {
            builder = builder.proxy(self::proxy(proxy, settings.no_proxy.as_deref())?);
        }
        if let Some((variable, path)) = &settings.ca_bundle {
            builder = builder.tls_certs_only(certificates(variable, Path::new(path))?);
        } else if !settings.tls {
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| {
            let cause = root_cause(&error);
            Error::new(
                Kind::Unreachable,
                format!("no connection can be prepared: {cause}"),
            )
            .lasting()
        })?;
        Ok(Self { settings, client })
    }

    /// What the client was built from.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The client to make a request with.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// Sends a request to `server` (its name in an error) and reads the reply whole. `now` is the time
/// against which a `Retry-After` date counts.
///
/// # Errors
/// [`Kind::Unreachable`] without a reply; [`Kind::BadReply`] for a redirect, and for a reply that
/// is no HTTP, is compressed, breaks off or is too large.
pub async fn send(request: RequestBuilder, server: &str, now: f64) -> Result<Reply, Failure> {
    let response = request
        .send()
        .await
        .map_err(|error| no_reply(&error, server))?;
    Ok(read(response, server, now).await?)
}

async fn read(mut response: Response, server: &str, now: f64) -> Result<Reply, Error> {
    let bad = |what: String| Error::new(Kind::BadReply, format!("the reply from {server} {what}"));
    let status = response.status();
    if status.is_redirection() {
        return Err(bad(format!(
            "is a redirect{}, and none is followed",
            target(response.headers())
        )));
    }
    let header = |name| response.headers().get(name)?.to_str().ok();
    if header(CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(bad("is compressed, which was not asked for".into()));
    }
    let is_plain_text = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/plain"));
    let retry_after = header(RETRY_AFTER).and_then(|text| wait(text, now));
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= LARGEST_REPLY => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Err(bad("is larger than 1 MiB".into())),
            Ok(None) => break,
            Err(_) => return Err(bad("broke off before its end".into())),
        }
    }
    Ok(Reply {
        status: status.as_u16(),
        retry_after,
        is_plain_text,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// Where a redirect leads, without path and query, which may hold anything.
fn target(headers: &HeaderMap) -> String {
    let url = headers
        .get(LOCATION)
        .and_then(|location| Url::parse(location.to_str().ok()?).ok());
    url.map_or_else(String::new, |url| {
        format!(" to {}", url.origin().ascii_serialization())
    })
}

/// `Retry-After` in seconds: a number, or a date.
fn wait(text: &str, now: f64) -> Option<f64> {
    let text = text.trim();
    let seconds = match text.parse::<f64>() {
        Ok(seconds) => seconds,
        #[allow(
            clippy::cast_precision_loss,
            reason = "dates lie far below 2^52 seconds"
        )]
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.timestamp() as f64 - now).max(0.0),
    };
    believable_wait(seconds)
}

/// Why there is no reply from `server`.
pub(crate) fn no_reply(error: &reqwest::Error, server: &str) -> Failure {
    let unreachable = |message: String| Error::new(Kind::Unreachable, message);
    let io = cause::<io::Error>(error).map(io::Error::kind);
    if let Some(tls) = tls_cause(error) {
        let message = format!("no secure connection to {server}: {}", in_words(tls));
        return unreachable(message).lasting().into();
    }
    if error.is_dns() {
        return unreachable(format!("the host of {server} is not known by that name")).into();
    }
    if error.is_connect() {
        let message = match io {
            Some(io::ErrorKind::ConnectionRefused) => {
                format!("nothing answers at {server}: the connection was refused")
            }
            _ => format!("no connection to {server}: {}", root_cause(error)),
        };
        return unreachable(message).into();
    }
    if cause::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
        let message = format!(
            "the reply from {server} is not HTTP; is \"http\" or \"https\" right in the address?"
        );
        return Error::new(Kind::BadReply, message).into();
    }
    Failure {
        error: unreachable(format!("{server} closed the connection without a reply")),
        connection_broke: true,
    }
}

/// An error and its causes, outermost first.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The first error of this type among an error and its causes.
fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    causes(error).find_map(|error| error.downcast_ref::<E>())
}

/// A TLS error, which hides inside an I/O error.
fn tls_cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    causes(error).find_map(|error| {
        error.downcast_ref::<rustls::Error>().or_else(|| {
            let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
            tls_cause(inner)
        })
    })
}

fn in_words(error: &rustls::Error) -> String {
    use rustls::CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer => {
                "its certificate is signed by an authority that is not trusted here".into()
            }
            Bad::Expired | Bad::ExpiredContext { .. } => "its certificate has expired".into(),
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "its certificate is not valid yet".into()
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "its certificate is for another host name".into()
            }
            other => format!("its certificate is not accepted ({other})"),
        },
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS; is it \"http\" rather than \"https\"?".into()
        }
        other => crate::text::presentable(&other.to_string(), &[]),
    }
}

/// The innermost cause, in its own words.
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let innermost = causes(error).last().unwrap_or(error);
    crate::text::presentable(&innermost.to_string(), &[])
}

fn proxy(address: &str, exceptions: Option<&str>) -> Result<Proxy, Error> {
    let proxy = Proxy::all(address).map_err(|_| {
        // The address is not repeated: it may hold a password.
        let message = "the proxy that the environment names is not an http(s) address";
        Error::new(Kind::Unreachable, message).lasting()
    })?;
    Ok(proxy.no_proxy(exceptions.and_then(NoProxy::from_string)))
}

/// The certificates of a bundle, or of the files in a directory.
pub(crate) fn certificates(variable: &str, path: &Path) -> Result<Vec<Certificate>, Error> {
    let bad = |why: String| {
        let message = format!(
            "the certificates that {variable} names, {}, cannot be used: {why}",
            path.display()
        );
        Error::new(Kind::Unreachable, message).lasting()
    };
    let metadata = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?;
    let mut certificates = Vec::new();
    if metadata.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|error| bad(error.to_string()))?;
        // Other things lie beside certificates; those that are none count for nothing.
        for file in entries.flatten().map(|entry| entry.path()) {
            if file.is_file() {
                let pem = std::fs::read(&file).unwrap_or_default();
                certificates.extend(Certificate::from_pem_bundle(&pem).unwrap_or_default());
            }
        }
    } else if metadata.is_file() {
        let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        certificates =
            Certificate::from_pem_bundle(&pem).map_err(|error| bad(root_cause(&error)))?;
    }
    if certificates.is_empty() {
        return Err(bad("there is no certificate in it".into()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: f64 = 1_795_392_000.0;

    fn settings(url: &str, variables: &[(&str, &str)]) -> Settings {
        Settings::new(&Env::fixed(variables, NOW), &Url::parse(url).unwrap())
    }

    #[test]
    fn loopback_never_goes_through_a_proxy() {
        let proxies = [("http_proxy", "http://p:1"), ("all_proxy", "http://p:2")];
        for url in ["http://127.0.0.1:1", "http://[::1]", "http://localhost"] {
            assert_eq!(settings(url, &proxies).proxy, None, "{url}");
        }
        assert_eq!(
            settings("http://host", &proxies).proxy.as_deref(),
            Some("http://p:1")
        );
        assert_eq!(
            settings("https://host", &proxies).proxy.as_deref(),
            Some("http://p:2")
        );
        let upper = [("HTTPS_PROXY", "http://p:3")];
        assert_eq!(
            settings("https://host", &upper).proxy.as_deref(),
            Some("http://p:3")
        );
    }

    #[test]
    fn the_first_named_bundle_counts_and_only_for_https() {
        let variables = [("SSL_CERT_FILE", "/c"), ("CURL_CA_BUNDLE", "/b")];
        let bundle = settings("https://host", &variables).ca_bundle;
        assert_eq!(bundle, Some(("CURL_CA_BUNDLE", "/b".to_owned())));
        assert_eq!(settings("http://host", &variables).ca_bundle, None);
    }

    #[test]
    fn a_bundle_that_does_not_exist_is_named() {
        let variables = [("CURL_CA_BUNDLE", "/nowhere/ca.pem")];
        let Err(error) = Http::new(settings("https://host", &variables)) else {
            panic!("a client was built without its bundle");
        };
        assert_eq!(error.kind(), Kind::Unreachable);
        assert!(
            error
                .message()
                .contains("CURL_CA_BUNDLE names, /nowhere/ca.pem"),
            "{error}"
        );
    }

    #[test]
    fn a_proxy_that_is_no_address_is_refused_without_showing_it() {
        let variables = [("http_proxy", "http://user:canary@[")];
        let Err(error) = Http::new(settings("http://host", &variables)) else {
            panic!("a client was built with a proxy that is none");
        };
        assert!(!error.to_string().contains("canary"), "{error}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(wait("17", NOW), Some(17.0));
        assert_eq!(wait("Mon, 23 Nov 2026 00:00:30 GMT", NOW), Some(30.0));
        assert_eq!(wait("Sun, 22 Nov 2026 00:00:30 GMT", NOW), Some(0.0));
        for absurd in ["-1", "soon", "99999999999", "NaN", ""] {
            assert_eq!(wait(absurd, NOW), None, "{absurd}");
        }
    }
}
