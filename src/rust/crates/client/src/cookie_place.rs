//! The places where a session's cookie may be, and which of the cookies found there is sent.

use std::path::Path;

use entrar_core::cookie::{Cookie, Source};
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::file::{read_beginning, reason};
use entrar_core::time::UnixTime;
use entrar_core::variables::{COOKIE, COOKIE_FILE, RUNTIME_DIRECTORY};

/// The most that is read of the cookie's file, in bytes.
const LARGEST_COOKIE: u64 = 64 << 10;

/// A place where a cookie may be, and what is there.
pub(crate) struct CookiePlace {
    /// The file's path, or the variable's name.
    pub(crate) name: String,
    /// Whether the environment names this place at all.
    pub(crate) is_named: bool,
    pub(crate) cookie: Option<Cookie>,
    /// What to say of this place if no cookie can be sent.
    pub(crate) verdict: String,
}

impl CookiePlace {
    /// Both places, read now: the file in the runtime directory, and the variable.
    pub(crate) fn all(env: &Env) -> [Self; 2] {
        [Self::file(env), Self::variable(env)]
    }

    fn file(env: &Env) -> Self {
        let Some(directory) = env.var(RUNTIME_DIRECTORY) else {
            return Self::not_named(RUNTIME_DIRECTORY);
        };
        let path = Path::new(&directory).join(COOKIE_FILE);
        let shown = path.display().to_string();
        match read_beginning(&path, LARGEST_COOKIE) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let cookie = Cookie::parse(&text, Source::File(shown.clone()));
                Self::with(&shown, cookie)
            }
            Err(error) => Self {
                verdict: format!("{shown} cannot be read ({})", reason(&error)),
                ..Self::with(&shown, None)
            },
        }
    }

    fn variable(env: &Env) -> Self {
        match env.var(COOKIE) {
            None => Self::not_named(COOKIE),
            Some(value) => Self::with(COOKIE, Cookie::parse(&value, Source::Variable(COOKIE))),
        }
    }

    fn not_named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_named: false,
            cookie: None,
            verdict: format!("{name} is not set"),
        }
    }

    fn with(name: &str, cookie: Option<Cookie>) -> Self {
        let verdict = match cookie {
            None => format!("{name} is empty or holds no cookie"),
            Some(_) => format!("the one in {name} has expired"),
        };
        Self {
            name: name.to_owned(),
            is_named: true,
            cookie,
            verdict,
        }
    }
}

/// The cookie to send: of all places' the one that expires later; an expired one is never sent, one without a readable
/// date only if there is no other. A cookie that the server has just `refused` comes last of all.
///
/// # Errors
/// [`Kind::BadCookie`] if there is none to send; the message says where it was looked for.
pub(crate) fn best<'a>(
    places: &'a [CookiePlace],
    now: UnixTime,
    refused: Option<&Cookie>,
) -> Result<&'a Cookie, Error> {
    let best = places
        .iter()
        .filter_map(|place| place.cookie.as_ref())
        .filter(|cookie| !cookie.is_expired(now))
        .max_by_key(|cookie| {
            let was_refused = refused.is_some_and(|refused| refused.same_as(cookie));
            (!was_refused, cookie.expires_at())
        });
    best.ok_or_else(|| {
        let verdicts: Vec<&str> = places.iter().map(|place| &*place.verdict).collect();
        let message = format!(
            "this session has no cookie that can be sent: {}",
            verdicts.join("; ")
        );
        Error::new(Kind::BadCookie, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    const NOW: UnixTime = UnixTime::of_whole(1_795_392_000);
    const EARLIER: &str = "u|Sun%2C%2022%20Nov%202026%2023%3A00%3A00%20GMT|sig";
    const LATER: &str = "u|Mon%2C%2023%20Nov%202026%2001%3A00%3A00%20GMT|sig";
    const LATEST: &str = "u|Mon%2C%2023%20Nov%202026%2002%3A00%3A00%20GMT|sig";
    const UNDATED: &str = "u|garbage|canary";

    fn sent(file: &str, variable: &str, refused: Option<&str>) -> Result<String, Error> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(COOKIE_FILE), file).unwrap();
        let env = Env::fixed(
            &[
                (RUNTIME_DIRECTORY, directory.path().to_str().unwrap()),
                (COOKIE, variable),
            ],
            NOW,
        );
        let refused = refused.map(|text| Cookie::parse(text, Source::Variable(COOKIE)).unwrap());
        let places = CookiePlace::all(&env);
        let cookie = best(&places, env.now(), refused.as_ref())?;
        Ok(cookie.value().expose_secret().to_owned())
    }

    #[test]
    fn the_cookie_that_expires_later_is_sent() {
        assert_eq!(sent(LATER, LATEST, None).unwrap(), LATEST);
        assert_eq!(sent(LATEST, LATER, None).unwrap(), LATEST);
        assert_eq!(sent(EARLIER, LATER, None).unwrap(), LATER);
        assert_eq!(sent(UNDATED, LATER, None).unwrap(), LATER);
        assert_eq!(sent(UNDATED, "", None).unwrap(), UNDATED);
        assert_eq!(sent(EARLIER, UNDATED, None).unwrap(), UNDATED);
    }

    #[test]
    fn a_refused_cookie_comes_last() {
        assert_eq!(sent(LATER, LATEST, Some(LATEST)).unwrap(), LATER);
        assert_eq!(sent(LATEST, UNDATED, Some(LATEST)).unwrap(), UNDATED);
        assert_eq!(sent(LATEST, "", Some(LATEST)).unwrap(), LATEST);
    }

    #[test]
    fn without_a_usable_cookie_the_places_are_named_and_no_value() {
        let error = sent(EARLIER, "", None).unwrap_err();
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
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(COOKIE_FILE)).unwrap();
        let env = Env::fixed(
            &[(RUNTIME_DIRECTORY, directory.path().to_str().unwrap())],
            NOW,
        );
        let places = CookiePlace::all(&env);
        let shown = best(&places, NOW, None).unwrap_err().to_string();
        // Windows opens no directory at all, and gives its own reason.
        let reason = if cfg!(windows) {
            "cannot be read ("
        } else {
            "cannot be read (it is no file)"
        };
        assert!(shown.contains(reason), "{shown}");
    }
}
