//! The session: which server to ask, and the cookie that proves we may.

use std::fmt;

use url::{Host, Url};

use crate::cookie::{Cookie, Source};
use crate::env::Env;
use crate::error::{Error, Kind};
use crate::file::{read_beginning, reason};

/// The variable that holds the server's address.
pub const ADDRESS: &str = "RS_SERVER_ADDRESS";
/// The variable that holds the session's cookie.
pub const COOKIE: &str = "RS_SESSION_RPC_COOKIE";
/// The variable that names the directory of the cookie's file.
pub const RUNTIME_DIRECTORY: &str = "PWB_SESSION_RUNTIME_DIR";
/// The variable that holds the server's version.
pub const VERSION: &str = "RSTUDIO_VERSION";
/// The file in the runtime directory that holds the cookie.
pub const COOKIE_FILE: &str = "rpc_cookie";

/// The most that is read of that file, in bytes.
const LARGEST_COOKIE: u64 = 64 << 10;

/// The first Workbench that hands out delegated Azure tokens.
const FIRST_VERSION: &str = "2024.12.0";

/// A process tree that may ask a server for tokens.
#[derive(Clone, Debug)]
pub struct Session {
    address: Address,
}

impl Session {
    /// Finds this process's session.
    ///
    /// `RS_SERVER_ADDRESS` is the one source today. A broker run by one person on their own
    /// machine would be looked for after it.
    ///
    /// # Errors
    /// [`Kind::NoSession`] if there is none, [`Kind::Unreachable`] if the address is no http(s)
    /// address, [`Kind::ServerTooOld`] if the server's version is known to be.
    pub fn discover(env: &Env) -> Result<Self, Error> {
        let address = env.var(ADDRESS).ok_or_else(|| no_session(env))?;
        check_version(env)?;
        Ok(Self {
            address: Address::parse(&address)?,
        })
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The cookie to send: of the file's and the variable's the one that expires later; an expired
    /// one is never sent, one without a readable date only if there is no other. A cookie that
    /// the server has just `refused` comes last of all.
    ///
    /// # Errors
    /// [`Kind::BadCookie`] if there is none to send; the message says where it was looked for.
    pub fn cookie(&self, env: &Env, refused: Option<&Cookie>) -> Result<Cookie, Error> {
        best(&cookies(env), env.now(), refused).cloned()
    }
}

/// A place where a cookie may be, and what is there.
pub(crate) struct Found {
    /// The file's path, or the variable's name.
    pub(crate) place: String,
    /// Whether the environment names this place at all.
    pub(crate) is_named: bool,
    pub(crate) cookie: Option<Cookie>,
    /// What to say of this place if no cookie can be sent.
    pub(crate) verdict: String,
}

impl Found {
    fn nothing(place: &str) -> Self {
        Self {
            place: place.to_owned(),
            is_named: false,
            cookie: None,
            verdict: format!("{place} is not set"),
        }
    }

    fn judged(place: &str, cookie: Option<Cookie>) -> Self {
        let verdict = match cookie {
            None => format!("{place} is empty or holds no cookie"),
            Some(_) => format!("the one in {place} has expired"),
        };
        Self {
            place: place.to_owned(),
            is_named: true,
            cookie,
            verdict,
        }
    }
}

/// Every place where a cookie may be: the file in the runtime directory, and the variable.
pub(crate) fn cookies(env: &Env) -> [Found; 2] {
    [read_file(env), read_variable(env)]
}

fn read_file(env: &Env) -> Found {
    let Some(directory) = env.var(RUNTIME_DIRECTORY) else {
        return Found::nothing(RUNTIME_DIRECTORY);
    };
    let path = std::path::Path::new(&directory).join(COOKIE_FILE);
    let shown = path.display().to_string();
    match read_beginning(&path, LARGEST_COOKIE) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let cookie = Cookie::parse(&text, Source::File(shown.clone()));
            Found::judged(&shown, cookie)
        }
        Err(error) => Found {
            verdict: format!("{shown} cannot be read ({})", reason(&error)),
            ..Found::judged(&shown, None)
        },
    }
}

fn read_variable(env: &Env) -> Found {
    match env.var(COOKIE) {
        None => Found::nothing(COOKIE),
        Some(value) => Found::judged(COOKIE, Cookie::parse(&value, Source::Variable(COOKIE))),
    }
}

/// The cookie to send, as [`Session::cookie`] describes it.
pub(crate) fn best<'a>(
    found: &'a [Found],
    now: f64,
    refused: Option<&Cookie>,
) -> Result<&'a Cookie, Error> {
    let best = found
        .iter()
        .filter_map(|found| found.cookie.as_ref())
        .filter(|cookie| !cookie.is_expired(now))
        .max_by_key(|cookie| {
            let was_refused = refused.is_some_and(|refused| refused.same_as(cookie));
            (!was_refused, cookie.expires_at())
        });
    best.ok_or_else(|| {
        let verdicts: Vec<&str> = found.iter().map(|found| found.verdict.as_str()).collect();
        let message = format!(
            "the session's cookie is not to be had: {}",
            verdicts.join("; ")
        );
        Error::new(Kind::BadCookie, message)
    })
}

/// The name that Posit Workbench gives itself.
pub const WORKBENCH: &str = "WORKBENCH";
/// The name that Posit Connect gives itself.
pub const CONNECT: &str = "CONNECT";

/// Which of Posit's products this process says that it runs in, and the variable that says so.
pub(crate) fn product(env: &Env) -> Option<(&'static str, &'static str)> {
    [CONNECT, WORKBENCH].into_iter().find_map(|name| {
        ["POSIT_PRODUCT", "RSTUDIO_PRODUCT"]
            .into_iter()
            .find(|variable| env.var(variable).is_some_and(|value| value == name))
            .map(|variable| (name, variable))
    })
}

fn no_session(env: &Env) -> Error {
    let product = product(env).map(|(name, _)| name);
    let message = if product == Some(CONNECT) {
        "Posit Connect hands out no delegated Azure tokens to sessions; \
         the connectcreds package gets tokens for the viewer of a piece of content there"
    } else if product == Some(WORKBENCH) {
        "this is a Posit Workbench session, but RS_SERVER_ADDRESS is not set, so the server cannot \
         be found; an administrator has to set launcher-sessions-callback-address and enable \
         delegated Azure credentials"
    } else {
        "there is no session to ask: this process runs outside Posit Workbench (RS_SERVER_ADDRESS is \
         not set)"
    };
    Error::new(Kind::NoSession, message)
}

/// A development build is never too old, and neither is a version that cannot be read.
pub(crate) fn check_version(env: &Env) -> Result<(), Error> {
    let Some(version) = env.var(VERSION) else {
        return Ok(());
    };
    if version.to_ascii_lowercase().contains("dev") {
        return Ok(());
    }
    match (numbers(&version), numbers(FIRST_VERSION)) {
        (Some(actual), Some(first)) if actual < first => Err(Error::new(
            Kind::ServerTooOld,
            format!(
                "this server is version {}, and delegated Azure tokens need {FIRST_VERSION} or later",
                crate::text::presentable(&version, &[])
            ),
        )),
        _ => Ok(()),
    }
}

/// The numbers of a version, up to the first `-` or `+`.
fn numbers(version: &str) -> Option<Vec<u32>> {
    let release = version.split(['-', '+']).next()?;
    release
        .trim()
        .split('.')
        .map(|part| part.parse().ok())
        .collect()
}

/// A server's address: http or https, perhaps with a base path.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// The address that the environment names, whatever the server's version.
    ///
    /// # Errors
    /// [`Kind::NoSession`] if there is none, [`Kind::Unreachable`] if it is no http(s) address.
    pub fn find(env: &Env) -> Result<Self, Error> {
        Self::parse(&env.var(ADDRESS).ok_or_else(|| no_session(env))?)
    }

    /// Reads an address; one without a scheme gets `http://`.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] if it is no http(s) address.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let bad = |why: &str| {
            // The text is not repeated: it may hold a password, and it is not understood.
            let message = format!("{ADDRESS} is not an address that can be asked: {why}");
            Error::new(Kind::Unreachable, message).lasting()
        };
        if text.is_empty() || text.starts_with(['/', '?', '#', '.']) {
            return Err(bad("it has no host"));
        }
        if is_misread(text) {
            return Err(bad(MISREAD));
        }
        let mut url = Url::parse(&with_scheme).map_err(|error| bad(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("its scheme is neither http nor https"));
        }
        // Such as a variable's name in braces, which was to be replaced by its value.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if matches!(url.host(), Some(Host::Domain(name)) if !name.chars().all(is_plain)) {
            return Err(bad(
                "its host's name holds characters that no such name has",
            ));
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
pub(crate) const MISREAD: &str = "an \"@\" stands behind its first \"/\", \"?\" or \"#\", so that a part of the user name or password would be taken for the host; percent-encode what is in them: \"@\" is %40, \"#\" is %23, \"/\" is %2F, \"?\" is %3F";

/// Whether an address holds an `@` where no user name and password can stand any more. Such a one was written with a `/`,
/// `?` or `#` in the password: what would be taken for the host is a part of that, and must be neither shown nor looked
/// up.
#[must_use]
pub fn is_misread(address: &str) -> bool {
    let authority = address.split_once("://").map_or(address, |(_, rest)| rest);
    // For http a backslash is a slash.
    let rest = authority.split_once(['/', '?', '#', '\\']);
    rest.is_some_and(|(_, rest)| rest.contains('@'))
}

/// Whether a URL's host is this machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback()
                || address
                    .to_ipv4_mapped()
                    .is_some_and(|address| address.is_loopback())
        }
        Some(Host::Domain(name)) => name.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
        None => false,
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
    use secrecy::ExposeSecret;

    const NOW: f64 = 1_795_392_000.0;
    const EARLIER: &str = "u|Sun%2C%2022%20Nov%202026%2023%3A00%3A00%20GMT|sig";
    const LATER: &str = "u|Mon%2C%2023%20Nov%202026%2001%3A00%3A00%20GMT|sig";
    const LATEST: &str = "u|Mon%2C%2023%20Nov%202026%2002%3A00%3A00%20GMT|sig";
    const UNDATED: &str = "u|garbage|canary";

    struct Directory(std::path::PathBuf);

    impl Directory {
        fn with_cookie(name: &str, cookie: &str) -> Self {
            let path = std::env::temp_dir().join(format!("entrar-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join(COOKIE_FILE), cookie).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn session() -> Session {
        Session {
            address: Address::parse("127.0.0.1:1").unwrap(),
        }
    }

    fn chosen(file: &str, variable: &str, refused: Option<&str>) -> Result<String, Error> {
        let name = format!(
            "{:x}",
            file.len() * 1_000 + variable.len() * 10 + refused.map_or(0, str::len)
        );
        let directory = Directory::with_cookie(&name, file);
        let env = Env::fixed(
            &[
                (RUNTIME_DIRECTORY, directory.0.to_str().unwrap()),
                (COOKIE, variable),
            ],
            NOW,
        );
        let refused = refused.map(|text| Cookie::parse(text, Source::Variable(COOKIE)).unwrap());
        let cookie = session().cookie(&env, refused.as_ref())?;
        Ok(cookie.value().expose_secret().to_owned())
    }

    #[test]
    fn the_cookie_that_expires_later_is_sent() {
        assert_eq!(chosen(LATER, LATEST, None).unwrap(), LATEST);
        assert_eq!(chosen(LATEST, LATER, None).unwrap(), LATEST);
        assert_eq!(chosen(EARLIER, LATER, None).unwrap(), LATER);
        assert_eq!(chosen(UNDATED, LATER, None).unwrap(), LATER);
        assert_eq!(chosen(UNDATED, "", None).unwrap(), UNDATED);
        assert_eq!(chosen(EARLIER, UNDATED, None).unwrap(), UNDATED);
    }

    #[test]
    fn a_refused_cookie_comes_last() {
        assert_eq!(chosen(LATER, LATEST, Some(LATEST)).unwrap(), LATER);
        assert_eq!(chosen(LATEST, UNDATED, Some(LATEST)).unwrap(), UNDATED);
        assert_eq!(chosen(LATEST, "", Some(LATEST)).unwrap(), LATEST);
    }

    #[test]
    fn without_a_usable_cookie_the_places_are_named_and_no_value() {
        let error = chosen(EARLIER, "", None).unwrap_err();
        assert_eq!(error.kind(), Kind::BadCookie);
        let shown = error.to_string();
        assert!(shown.contains("rpc_cookie has expired"), "{shown}");
        assert!(
            shown.contains("RS_SESSION_RPC_COOKIE is not set"),
            "{shown}"
        );
        assert!(!shown.contains("22%20Nov"), "{shown}");
    }

    #[test]
    fn a_cookie_file_that_cannot_be_read_is_named_with_the_reason() {
        let directory = Directory::with_cookie("unreadable", "");
        std::fs::remove_file(directory.0.join(COOKIE_FILE)).unwrap();
        std::fs::create_dir(directory.0.join(COOKIE_FILE)).unwrap();
        let env = Env::fixed(&[(RUNTIME_DIRECTORY, directory.0.to_str().unwrap())], NOW);
        let shown = session().cookie(&env, None).unwrap_err().to_string();
        assert!(shown.contains("cannot be read (it is no file)"), "{shown}");
    }

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
        ] {
            let error = Address::parse(text).unwrap_err();
            assert_eq!(error.kind(), Kind::Unreachable, "{text}");
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

    #[test]
    fn only_a_version_known_to_be_too_old_is_refused() {
        for (version, accepted) in [
            ("2024.12.0", true),
            ("2025.05.1+513.pro3", true),
            ("2024.09.1", false),
            ("2024.09.1+394.pro7", false),
            ("2024.09.0-dev", true),
            ("2024.09.0-DEV+1", true),
            ("nightly", true),
            ("", true),
        ] {
            let env = Env::fixed(&[(ADDRESS, "host"), (VERSION, version)], NOW);
            assert_eq!(Session::discover(&env).is_ok(), accepted, "{version}");
        }
    }

    #[test]
    fn the_way_out_depends_on_where_one_is() {
        for (product, hint) in [
            ("CONNECT", "connectcreds"),
            ("WORKBENCH", "launcher-sessions-callback-address"),
            ("", "outside Posit Workbench"),
        ] {
            let env = Env::fixed(&[("POSIT_PRODUCT", product)], NOW);
            let error = Session::discover(&env).unwrap_err();
            assert_eq!(error.kind(), Kind::NoSession);
            assert!(error.message().contains(hint), "{product}: {error}");
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
