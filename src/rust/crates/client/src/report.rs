//! What is known of a session without asking for a token: where it comes from, what it would send and
//! by which way, and whether its server answers at all.
//!
//! Nothing here is secret: cookies appear with their place and date, proxies without their passwords.

use std::path::Path;
use std::time::Duration;

use entrar_core::address::Address;
use entrar_core::env::Env;
use entrar_core::error::Error;
use entrar_core::http::{Http, ca_bundle};
use entrar_core::proxy::{self, Exception, Proxy};
use entrar_core::retry::retried;
use entrar_core::text::presentable;
use entrar_core::time::UnixTime;
use entrar_core::tls;
use entrar_core::variables::VERSION;
use reqwest::header::{DATE, HeaderMap};
use tokio::time::Instant;

use crate::rpc::too_slow;
use crate::session::{self, check_version, find_address, product};

/// What this process's environment says.
#[derive(Debug)]
pub struct Report {
    /// Which of Posit's products this is, and the variable that says so.
    pub product: Option<(&'static str, &'static str)>,
    /// The server's address, or why there is none.
    pub address: Result<Address, Error>,
    /// The server's version, if the environment has it.
    pub version: Option<String>,
    /// Why that version will not do.
    pub version_error: Option<Error>,
    /// Every place where a cookie may be.
    pub cookies: Vec<CookieFacts>,
    /// Why none of them can be sent.
    pub cookie_error: Option<Error>,
    /// The way to the address.
    pub way: Option<Way>,
}

/// A place where a cookie may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieFacts {
    /// The file's path, or the variable's name.
    pub place: String,
    /// Whether the environment names this place at all.
    pub is_named: bool,
    /// Why there is no cookie in it.
    pub fault: Option<String>,
    /// When the cookie expires; `None` also if its date cannot be read.
    pub expires_at: Option<UnixTime>,
    /// Whether that has passed.
    pub is_expired: bool,
    /// Whether it is the one to be sent.
    pub is_sent: bool,
}

/// How requests travel to an address.
#[derive(Debug)]
pub struct Way {
    /// Whether by https.
    pub is_https: bool,
    /// Whether others can read a cookie on the way.
    pub is_in_clear: bool,
    /// The certificates that are trusted instead of the system's; `None` without https, too.
    pub bundle: Option<Bundle>,
    /// The proxy that the environment names for such an address.
    pub proxy: Option<ProxyFacts>,
}

/// A CA bundle.
#[derive(Debug)]
pub struct Bundle {
    /// The variable that names it.
    pub variable: &'static str,
    /// Its path.
    pub path: String,
    /// How many certificates in it can be read, or why it is of no use.
    pub certificates: Result<usize, Error>,
    /// What in it cannot be read.
    pub faults: Vec<String>,
}

/// A proxy.
#[derive(Debug)]
pub struct ProxyFacts {
    /// The variable that names it.
    pub variable: &'static str,
    /// Its address without user name and password, or why it is of no use.
    pub address: Result<String, Error>,
    /// Why it does not serve this address.
    pub exception: Option<Exception>,
}

impl Report {
    /// Looks at the environment, the cookie's file and the CA bundle.
    #[must_use]
    pub fn new(env: &Env) -> Self {
        let address = find_address(env);
        let found = session::cookies(env);
        let now = env.now();
        let best = session::best(&found, now, None);
        let cookies = found.iter().map(|found| {
            let cookie = found.cookie.as_ref();
            CookieFacts {
                place: found.place.clone(),
                is_named: found.is_named,
                fault: cookie.is_none().then(|| found.verdict.clone()),
                expires_at: cookie.and_then(|cookie| cookie.expires_at()),
                is_expired: cookie.is_some_and(|cookie| cookie.is_expired(now)),
                is_sent: cookie
                    .is_some_and(|cookie| best.as_ref().is_ok_and(|best| best.same_as(cookie))),
            }
        });
        Self {
            product: product(env),
            version: env.var(VERSION).map(|version| presentable(&version, &[])),
            version_error: check_version(env).err(),
            cookies: cookies.collect(),
            way: address.as_ref().ok().map(|address| Way::new(env, address)),
            cookie_error: best.err(),
            address,
        }
    }
}

impl Way {
    fn new(env: &Env, address: &Address) -> Self {
        let is_https = address.url().scheme() == "https";
        let bundle = ca_bundle(env).filter(|_| is_https);
        Self {
            is_https,
            is_in_clear: address.is_in_clear(),
            bundle: bundle.map(|(variable, path)| Bundle::new(variable, path)),
            proxy: Proxy::find(env, address.url()).map(|proxy| ProxyFacts {
                variable: proxy.variable(),
                address: proxy.address().map(|url| proxy::shown(&url)),
                exception: proxy::exception(env, address.url()),
            }),
        }
    }
}

impl Bundle {
    fn new(variable: &'static str, path: String) -> Self {
        let (certificates, faults) = match tls::Bundle::read(variable, Path::new(&path)) {
            Ok(bundle) => (Ok(bundle.count()), bundle.faults()),
            Err(error) => (Err(error), Vec::new()),
        };
        Self {
            variable,
            path,
            certificates,
            faults,
        }
    }
}

/// A server's answer to a question that needs none.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status. Each is a good one: it shows that somebody is there.
    pub status: u16,
    /// How long it took, a new connection included.
    pub elapsed: Duration,
    /// How many seconds the server's clock is ahead of ours, if the reply has a date; right to about
    /// half a second.
    pub clock_skew: Option<f64>,
}

/// Asks whether anybody is at the address, without cookie and without password.
///
/// # Errors
/// Those of a request that gets no reply, and [`entrar_core::error::Kind::Timeout`].
pub async fn probe(
    http: &Http,
    env: &Env,
    address: &Address,
    timeout: Duration,
) -> Result<Answer, Error> {
    let deadline = Instant::now() + timeout;
    let judge = |error: &Error| (error.outlook(), None);
    match retried(deadline, 1, judge, || ask(http, env, address)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(too_slow(address, timeout)),
    }
}

async fn ask(http: &Http, env: &Env, address: &Address) -> Result<Answer, Error> {
    let mut url = address.url().clone();
    // An address of http has a place for both, so neither can fail.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let sent = env.now();
    let started = Instant::now();
    let response = http
        .client()
        .get(url)
        .send()
        .await
        .map_err(|error| http.no_reply(&error, &address.to_string()))?;
    let elapsed = started.elapsed();
    Ok(Answer {
        status: response.status().as_u16(),
        elapsed,
        clock_skew: date(response.headers()).map(|date| date - (sent + elapsed / 2)),
    })
}

/// The middle of the second that the reply is dated with.
fn date(headers: &HeaderMap) -> Option<UnixTime> {
    let date = headers.get(DATE)?.to_str().ok()?;
    Some(UnixTime::of_http_date(date)? + 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::WORKBENCH;
    use entrar_core::error::Kind;
    use entrar_core::variables::COOKIE;

    const NOW: UnixTime = UnixTime::new(1_795_392_000.0);
    const SERVER: (&str, &str) = ("RS_SERVER_ADDRESS", "http://server.example");

    fn report(variables: &[(&str, &str)]) -> Report {
        Report::new(&Env::fixed(variables, NOW))
    }

    fn proxy(variables: &[(&str, &str)]) -> ProxyFacts {
        report(variables).way.unwrap().proxy.unwrap()
    }

    #[test]
    fn outside_any_session_there_is_no_address_and_no_way() {
        let report = report(&[]);
        assert_eq!(report.product, None);
        assert_eq!(report.address.unwrap_err().kind(), Kind::NoSession);
        assert!(report.way.is_none());
        assert!(report.cookies.iter().all(|cookie| !cookie.is_named));
    }

    #[test]
    fn a_product_is_reported_with_the_variable_that_names_it() {
        let product = report(&[("RSTUDIO_PRODUCT", "WORKBENCH")]).product;
        assert_eq!(product, Some((WORKBENCH, "RSTUDIO_PRODUCT")));
        assert_eq!(report(&[("POSIT_PRODUCT", "OTHER")]).product, None);
    }

    #[test]
    fn a_version_that_is_too_old_leaves_the_address_to_be_seen() {
        let report = report(&[SERVER, ("RSTUDIO_VERSION", "2024.09.1")]);
        assert_eq!(report.version.as_deref(), Some("2024.09.1"));
        assert_eq!(report.version_error.unwrap().kind(), Kind::ServerTooOld);
        assert_eq!(report.address.unwrap().to_string(), "http://server.example");
    }

    #[test]
    fn a_cookie_is_reported_by_its_date_and_never_by_its_value() {
        let later = "canary|Mon%2C%2023%20Nov%202026%2001%3A00%3A00%20GMT|canary";
        let earlier = "canary|Sun%2C%2022%20Nov%202026%2023%3A00%3A00%20GMT|canary";
        let good = report(&[SERVER, (COOKIE, later)]);
        assert!(!format!("{good:?}").contains("canary"));
        assert!(good.cookie_error.is_none());
        let expected = CookieFacts {
            place: COOKIE.into(),
            is_named: true,
            fault: None,
            expires_at: Some(UnixTime::of_whole(1_795_395_600)),
            is_expired: false,
            is_sent: true,
        };
        assert_eq!(good.cookies[1], expected);

        let expired = report(&[SERVER, (COOKIE, earlier)]);
        assert!(expired.cookies[1].is_expired);
        assert!(!expired.cookies[1].is_sent);
        assert_eq!(expired.cookie_error.unwrap().kind(), Kind::BadCookie);
    }

    #[test]
    fn a_proxy_is_reported_without_its_password_or_not_at_all() {
        let named = proxy(&[
            SERVER,
            ("HTTP_PROXY", "http://user:canary@proxy.example:3128"),
        ]);
        assert_eq!(named.variable, "HTTP_PROXY");
        assert_eq!(named.address.unwrap(), "http://proxy.example:3128");
        assert_eq!(named.exception, None);
        let unclear = proxy(&[SERVER, ("all_proxy", "http://user:canary/1@proxy")]);
        assert!(!format!("{unclear:?}").contains("canary"), "{unclear:?}");
        assert!(unclear.address.is_err());
    }

    #[test]
    fn a_proxy_that_serves_other_addresses_only_is_reported_with_the_reason() {
        let here = ("RS_SERVER_ADDRESS", "localhost:8787");
        let named = ("http_proxy", "http://proxy.example");
        assert_eq!(proxy(&[here, named]).exception, Some(Exception::Loopback));
        let but = ("NO_PROXY", "*.example");
        let exception = proxy(&[SERVER, named, but]).exception;
        assert_eq!(exception, Some(Exception::Named("NO_PROXY")));
    }

    #[test]
    fn a_bundle_counts_for_https_and_is_opened() {
        let bundle = ("CURL_CA_BUNDLE", "/nowhere/ca.pem");
        assert!(report(&[SERVER, bundle]).way.unwrap().bundle.is_none());
        let secure = ("RS_SERVER_ADDRESS", "https://server.example");
        let bundle = report(&[secure, bundle]).way.unwrap().bundle.unwrap();
        assert_eq!(bundle.variable, "CURL_CA_BUNDLE");
        assert_eq!(bundle.path, "/nowhere/ca.pem");
        assert_eq!(bundle.certificates.unwrap_err().kind(), Kind::Unreachable);
    }

    #[test]
    fn a_reply_is_dated_by_the_middle_of_its_second() {
        let dated = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, text.parse().unwrap());
            date(&headers)
        };
        assert_eq!(dated("Mon, 23 Nov 2026 00:00:00 GMT"), Some(NOW + 0.5));
        assert_eq!(dated("today"), None);
        assert_eq!(date(&HeaderMap::new()), None);
    }
}
