//! The session: which server to ask, and the cookie that proves we may.

use entrar_core::address::Address;
use entrar_core::cookie::{Cookie, Source};
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::file::{read_beginning, reason};
use entrar_core::time::UnixTime;
use entrar_core::variables::{ADDRESS, COOKIE, COOKIE_FILE, RUNTIME_DIRECTORY, VERSION};

/// The most that is read of the cookie's file, in bytes.
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
        if env.var(ADDRESS).is_some() {
            check_version(env)?;
        }
        Ok(Self {
            address: find_address(env)?,
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

/// The address that the environment names, whatever the server's version.
///
/// # Errors
/// [`Kind::NoSession`] if there is none, [`Kind::Unreachable`] if it is no http(s) address.
pub fn find_address(env: &Env) -> Result<Address, Error> {
    let text = env.var(ADDRESS).ok_or_else(|| no_session(env))?;
    Address::parse(&text).map_err(|why| {
        let message = format!("{ADDRESS} is not an address that can be asked: {why}");
        Error::new(Kind::Unreachable, message).lasting()
    })
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
    now: UnixTime,
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
                entrar_core::text::presentable(&version, &[])
            ),
        )
        .lasting()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    const NOW: UnixTime = UnixTime::new(1_795_392_000.0);
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
}
