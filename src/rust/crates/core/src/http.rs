//! HTTP as the session RPC and the token endpoint need it: no redirects, no proxy on loopback, TLS
//! always verified, replies of bounded size.

use std::error::Error as StdError;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, redirect};
use url::Url;

use crate::env::Env;
use crate::error::{Error, Kind, Outlook};
use crate::oauth::believable_wait;
use crate::proxy::{self, Proxy};
use crate::time::UnixTime;
use crate::tls::{Bundle, Tls};

/// The largest reply that is read, in bytes.
const LARGEST_REPLY: usize = 1 << 20;

/// What a client is built from. A client serves every request whose settings are equal.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    tls: bool,
    /// The variable that names the bundle, and the bundle's path.
    ca_bundle: Option<(&'static str, String)>,
    /// The proxy to go through.
    proxy: Option<Proxy>,
    /// The Unix socket to go through, whatever the host in a URL is.
    socket: Option<PathBuf>,
}

impl Settings {
    /// The settings for requests to this URL in this environment.
    #[must_use]
    pub fn new(env: &Env, url: &Url) -> Self {
        let tls = url.scheme() == "https";
        Self {
            tls,
            ca_bundle: if tls { ca_bundle(env) } else { None },
            proxy: Proxy::find(env, url).filter(|_| proxy::exception(env, url).is_none()),
            socket: None,
        }
    }

    /// The settings for requests through a Unix socket, by http. Who answers there cannot be asked at the connection, which
    /// reqwest makes: the socket is to lie where nobody but this user, or a hub, can have made it. To ask at a connection of
    /// our own beforehand would say nothing of that one: whoever could put another socket in its place could do so in
    /// between.
    #[must_use]
    pub fn through_socket(path: &Path) -> Self {
        Self {
            tls: false,
            ca_bundle: None,
            proxy: None,
            socket: Some(path.to_owned()),
        }
    }

    /// The proxy that may have written a reply itself: with https a proxy only carries the server's.
    #[must_use]
    pub fn talkative_proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| !self.tls)
    }
}

/// The bundle that replaces the system's roots, as curl and Python's requests have it.
pub fn ca_bundle(env: &Env) -> Option<(&'static str, String)> {
    env.first(["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
}

/// An HTTP client with its connections, and the settings it was built from.
#[derive(Clone)]
pub struct Http {
    settings: Settings,
    client: Client,
    tls: Option<Tls>,
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
            let address = proxy.address()?;
            builder = builder.proxy(reqwest::Proxy::all(address).map_err(unprepared)?);
        }
        #[cfg(unix)]
        if let Some(path) = &settings.socket {
            builder = builder.unix_socket(path.as_path());
        }
        let mut tls = None;
        if settings.tls || proxied_by_tls(&settings) {
            let bundle = settings.ca_bundle.as_ref();
            let bundle = bundle
                .map(|(variable, path)| Bundle::read(variable, Path::new(path)))
                .transpose()?;
            let (notes, config) = Tls::new(bundle)?;
            builder = builder.tls_backend_preconfigured(config);
            tls = Some(notes);
        } else {
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(unprepared)?;
        Ok(Self {
            settings,
            client,
            tls,
        })
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

fn proxied_by_tls(settings: &Settings) -> bool {
    let address = settings.proxy.as_ref().map(Proxy::address);
    matches!(address, Some(Ok(url)) if url.scheme() == "https")
}

fn unprepared(error: reqwest::Error) -> Error {
    let cause = root_cause(&error);
    let message = format!("no connection can be prepared: {cause}");
    Error::new(Kind::Unreachable, message).lasting()
}

/// Sends a request to `server` (its name in an error) and reads the reply whole. `now` is the time
/// against which a `Retry-After` date counts.
///
/// # Errors
/// [`Kind::Unreachable`] without a reply; [`Kind::BadReply`] for a redirect, and for a reply that
/// is not HTTP, is compressed, breaks off or is too large.
pub async fn send(
    http: &Http,
    request: RequestBuilder,
    server: &str,
    now: UnixTime,
) -> Result<Reply, Error> {
    let response = request
        .send()
        .await
        .map_err(|error| http.no_reply(&error, server))?;
    read(response, server, now).await
}

async fn read(mut response: Response, server: &str, now: UnixTime) -> Result<Reply, Error> {
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
fn wait(text: &str, now: UnixTime) -> Option<f64> {
    let text = text.trim();
    let seconds = match text.parse::<f64>() {
        Ok(seconds) => seconds,
        Err(_) => (UnixTime::of_http_date(text)? - now).max(0.0),
    };
    believable_wait(seconds)
}

impl Http {
    /// Why there is no reply from `server`.
    pub fn no_reply(&self, error: &reqwest::Error, server: &str) -> Error {
        let unreachable = |message: String| Error::new(Kind::Unreachable, message);
        if let (Some(cause), Some(tls)) = (tls_cause(error), &self.tls) {
            let (what, remedy) = tls.in_words(cause);
            let through = self.through();
            let error = unreachable(format!("no secure connection to {server}{through}: {what}"));
            return error.lasting().remedied(remedy);
        }
        if error.is_dns() {
            return unreachable(self.unknown_name(error, server));
        }
        if error.is_connect() {
            return self.no_connection(error, server);
        }
        if cause::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
            let message = format!(
                "the reply from {server} is not HTTP; is \"http\" or \"https\" right in the address?"
            );
            return Error::new(Kind::BadReply, message);
        }
        let through = self.through();
        unreachable(format!(
            "{server}{through} closed the connection without a reply"
        ))
        .with_outlook(Outlook::Reconnect)
    }

    /// The proxy, as part of a sentence about the server.
    fn through(&self) -> String {
        let proxy = self.settings.proxy.as_ref();
        proxy.map_or_else(String::new, |proxy| format!(" through {proxy}"))
    }

    /// With a proxy its name is the only one that is looked up here, unless it leaves the server's to us.
    fn unknown_name(&self, error: &reqwest::Error, server: &str) -> String {
        match &self.settings.proxy {
            Some(proxy) if !(proxy.leaves_names_to_us() && says(error, "resolving for socks")) => {
                format!("the host of {proxy} is not known by that name")
            }
            _ => format!("the host of {server} is not known by that name"),
        }
    }

    fn no_connection(&self, error: &reqwest::Error, server: &str) -> Error {
        let unreachable = |message: String| Error::new(Kind::Unreachable, message);
        let reason = cause::<io::Error>(error).map(io::Error::kind);
        let refused = reason == Some(io::ErrorKind::ConnectionRefused);
        // A socket stays behind when its server was killed.
        if self.settings.socket.is_some() && (refused || reason == Some(io::ErrorKind::NotFound)) {
            return Error::new(Kind::NoSession, format!("{server} is not running any more"));
        }
        let Some(proxy) = &self.settings.proxy else {
            return unreachable(if refused {
                format!("nothing answers at {server}: the connection was refused")
            } else {
                format!("no connection to {server}: {}", root_cause(error))
            });
        };
        if says(error, "proxy authorization required") {
            return wants_a_sign_in(proxy);
        }
        if says(error, "tunnel error: unsuccessful") {
            let message = format!("{proxy} lets nobody through to {server}");
            return unreachable(message).lasting().remedied(Some(WITHOUT_PROXY));
        }
        unreachable(if refused {
            format!("nothing answers at {proxy}: the connection was refused")
        } else if says(error, "failed to create underlying connection") {
            format!("{proxy} cannot be reached: its name is not known, or nothing answers there")
        } else {
            let cause = root_cause(error);
            format!("no connection to {server} through {proxy}: {cause}")
        })
    }
}

/// What to do about a proxy that stands in the way.
pub const WITHOUT_PROXY: &str = "If the server is to be asked without the proxy, add its host to the variable no_proxy; else ask whoever runs the proxy.";

/// The error for a proxy that wants to know who asks.
pub fn wants_a_sign_in(proxy: &Proxy) -> Error {
    let message = format!("{proxy} wants a sign-in (HTTP status 407)");
    let remedy = "Write user name and password into that variable, as http://USER:PASSWORD@HOST:PORT, with \"@\" in them as %40, \"#\" as %23 and \"/\" as %2F; or add the server's host to the variable no_proxy.";
    Error::new(Kind::Unreachable, message)
        .lasting()
        .remedied(Some(remedy))
}

/// Whether the error or one of its causes has these words. Their types are not public.
fn says(error: &reqwest::Error, words: &str) -> bool {
    causes(error).any(|error| error.to_string().contains(words))
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

/// The innermost cause, in its own words.
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let innermost = causes(error).last().unwrap_or(error);
    crate::text::presentable(&innermost.to_string(), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::new(1_795_392_000.0);

    fn settings(url: &str, variables: &[(&str, &str)]) -> Settings {
        Settings::new(&Env::fixed(variables, NOW), &Url::parse(url).unwrap())
    }

    #[test]
    fn loopback_never_goes_through_a_proxy() {
        let proxies = [("http_proxy", "http://p:1"), ("all_proxy", "http://p:2")];
        for url in ["http://127.0.0.1:1", "http://[::1]", "http://localhost"] {
            assert!(settings(url, &proxies).proxy.is_none(), "{url}");
        }
        assert!(settings("http://host", &proxies).proxy.is_some());
    }

    #[test]
    fn a_proxy_that_does_not_apply_cannot_fail_either() {
        let proxies = [("http_proxy", "http://u:p/w@["), ("no_proxy", "host")];
        assert!(Http::new(settings("http://host", &proxies)).is_ok());
        assert!(Http::new(settings("http://other", &proxies)).is_err());
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
            panic!("a client was built with an address that is not a proxy's");
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
