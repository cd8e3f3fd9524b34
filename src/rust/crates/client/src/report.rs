//! What is known of a session without asking anybody: where it comes from, what it would send and by which way.
//!
//! Nothing here is secret: cookies appear with their place and date, proxies without their passwords.

use std::path::Path;

use entrar_core::address::Address;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::http::ca_bundle;
use entrar_core::proxy::{self, Exception, Proxy};
use entrar_core::text::presentable;
use entrar_core::time::UnixTime;
use entrar_core::tls;
use entrar_core::variables::{ADDRESS, ORIGIN, VERSION};

use crate::cookie_place::{CookiePlace, best};
use crate::origin::{self, Door, Origin, Session};
use crate::posit::{self, CONNECT, WORKBENCH, check_version};

/// What this process's environment says.
#[derive(Debug)]
pub struct Report {
    /// Where the session comes from.
    pub place: Place,
    /// Who opens sessions here, as far as that is known.
    pub origin: Option<Origin>,
    /// The session, or why its address cannot be used, or why there is none.
    pub session: Result<Session, Error>,
    /// The version of Workbench, if the environment has it.
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

/// Where a session comes from, and how that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `"workbench"`, `"agent"`, `"hub"`; `"server"` for a server that does not say which it is; `"ide"` for RStudio's own
    /// function; `"connect"` and `"none"`, where there is no session.
    pub name: &'static str,
    /// The variables, the function or the socket that tell.
    pub found_by: Vec<&'static str>,
}

impl Place {
    fn new(env: &Env, has_rstudios_function: bool) -> Self {
        let product = posit::product(env);
        let by_product = |name| product.filter(|(product, _)| *product == name);
        if let Some((_, variable)) = by_product(CONNECT) {
            return Self::found("connect", &[variable]);
        }
        if has_rstudios_function && origin::leaves_it_to_rstudio(env) {
            return Self::found("ide", &[RSTUDIOS_FUNCTION]);
        }
        let has_address = env.var(ADDRESS).is_some();
        match (origin::here(env), by_product(WORKBENCH)) {
            (Some(origin @ (Origin::Agent | Origin::Hub)), _) if has_address => {
                Self::found(origin.as_str(), &[ADDRESS, ORIGIN])
            }
            (Some(origin @ (Origin::Agent | Origin::Hub)), _) => {
                Self::found(origin.as_str(), &[SOCKET])
            }
            (_, Some((_, variable))) if has_address => {
                Self::found("workbench", &[ADDRESS, variable])
            }
            (_, Some((_, variable))) => Self::found("workbench", &[variable]),
            (_, None) if has_address => Self::found("server", &[ADDRESS]),
            (_, None) => Self::found("none", &[]),
        }
    }

    fn found(name: &'static str, by: &[&'static str]) -> Self {
        Self {
            name,
            found_by: by.to_vec(),
        }
    }
}

/// What tells that there is an agent of one's own, or a hub.
const SOCKET: &str = "its socket";
/// The function by which an RStudio session gets tokens.
const RSTUDIOS_FUNCTION: &str = ".rs.api.getDelegatedAzureToken";

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
    /// Looks at the environment, the cookie's file and the CA bundle. In an R that `has_rstudios_function` that may be
    /// where tokens come from.
    #[must_use]
    pub fn new(env: &Env, has_rstudios_function: bool) -> Self {
        let session = Session::of_any_version(env);
        let places = CookiePlace::all(env);
        let now = env.now();
        let best = best(&places, now, None);
        let cookies = places.iter().map(|place| {
            let cookie = place.cookie.as_ref();
            CookieFacts {
                place: place.name.clone(),
                is_named: place.is_named,
                fault: cookie.is_none().then(|| place.verdict.clone()),
                expires_at: cookie.and_then(|cookie| cookie.expires_at()),
                is_expired: cookie.is_some_and(|cookie| cookie.is_expired(now)),
                is_sent: cookie
                    .is_some_and(|cookie| best.as_ref().is_ok_and(|best| best.same_as(cookie))),
            }
        });
        let place = Place::new(env, has_rstudios_function);
        let origin = match place.name {
            "ide" => Some(Origin::Workbench),
            _ => origin::here(env),
        };
        let needs_cookie = !matches!(session.as_ref().map(Session::door), Ok(Door::Socket(_)));
        let is_brokers = matches!(origin, Some(Origin::Agent | Origin::Hub));
        let version = env.var(VERSION).filter(|_| !is_brokers);
        Self {
            place,
            origin,
            version: version.map(|version| presentable(&version, &[])),
            version_error: check_version(env).err().filter(|_| !is_brokers),
            cookies: cookies.filter(|_| needs_cookie).collect(),
            way: session
                .as_ref()
                .ok()
                .and_then(|session| Way::new(env, session)),
            cookie_error: best.err().filter(|_| needs_cookie),
            session,
        }
    }

    /// Why there is no session.
    #[must_use]
    pub fn no_session(&self) -> Option<&Error> {
        let error = self.session.as_ref().err();
        error.filter(|error| error.kind() == Kind::NoSession && self.place.name != "ide")
    }

    /// Why the address of the session cannot be used.
    #[must_use]
    pub fn address_error(&self) -> Option<&Error> {
        let error = self.session.as_ref().err();
        error.filter(|error| error.kind() != Kind::NoSession)
    }
}

impl Way {
    fn new(env: &Env, session: &Session) -> Option<Self> {
        match session.door() {
            Door::Address(address) => Some(Self::to(env, address)),
            Door::Socket(_) => None,
        }
    }

    fn to(env: &Env, address: &Address) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;
    use entrar_core::variables::COOKIE;

    const NOW: UnixTime = UnixTime::new(1_795_392_000.0);
    const SERVER: (&str, &str) = ("RS_SERVER_ADDRESS", "http://server.example");

    /// Where nobody runs an agent or a hub, whatever there is on this machine.
    fn env(variables: &[(&str, &str)]) -> Env {
        let nobodys = [
            ("ENTRAR_RUNTIME_DIR", "/nowhere/entrar"),
            ("ENTRAR_HUB_SOCKET", "off"),
        ];
        Env::fixed(&[&nobodys, variables].concat(), NOW)
    }

    fn report(variables: &[(&str, &str)]) -> Report {
        Report::new(&env(variables), false)
    }

    fn proxy(variables: &[(&str, &str)]) -> ProxyFacts {
        report(variables).way.unwrap().proxy.unwrap()
    }

    #[test]
    fn outside_any_session_there_is_no_address_and_no_way() {
        let report = report(&[]);
        assert_eq!(report.no_session().unwrap().kind(), Kind::NoSession);
        assert!(report.address_error().is_none());
        assert!(report.way.is_none());
        assert!(report.cookies.iter().all(|cookie| !cookie.is_named));
    }

    #[test]
    fn a_place_is_reported_with_all_that_tells() {
        let workbench = ("POSIT_PRODUCT", "WORKBENCH");
        let connect = ("RSTUDIO_PRODUCT", "CONNECT");
        let agent = ("ENTRAR_ORIGIN", "agent");
        for (variables, has_function, name, found_by) in [
            (vec![], false, "none", vec![]),
            (vec![], true, "ide", vec![RSTUDIOS_FUNCTION]),
            (vec![workbench], true, "ide", vec![RSTUDIOS_FUNCTION]),
            (vec![workbench], false, "workbench", vec!["POSIT_PRODUCT"]),
            (
                vec![SERVER, workbench],
                true,
                "workbench",
                vec![ADDRESS, "POSIT_PRODUCT"],
            ),
            (vec![SERVER], true, "server", vec![ADDRESS]),
            (
                vec![SERVER, workbench, agent],
                true,
                "agent",
                vec![ADDRESS, ORIGIN],
            ),
            (
                vec![SERVER, connect],
                true,
                "connect",
                vec!["RSTUDIO_PRODUCT"],
            ),
        ] {
            let place = Place::new(&env(&variables), has_function);
            assert_eq!(place, Place { name, found_by }, "{variables:?}");
        }
    }

    #[test]
    fn where_rstudio_is_asked_no_session_is_missed() {
        assert!(Report::new(&env(&[]), true).no_session().is_none());
    }

    #[test]
    fn a_version_that_is_too_old_leaves_the_address_to_be_seen() {
        let report = report(&[SERVER, ("RSTUDIO_VERSION", "2024.09.1")]);
        assert_eq!(report.version.as_deref(), Some("2024.09.1"));
        assert_eq!(report.version_error.unwrap().kind(), Kind::ServerTooOld);
        assert_eq!(report.session.unwrap().server(), "http://server.example");
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
}
