//! Which Connect this content runs on, and how it proves that it does.

use std::path::Path;

use entrar_core::address::Address;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::file::{self, read_beginning};
use entrar_core::http::Settings;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::posit::{self, CONNECT};

/// The server's address.
pub(super) const SERVER: &str = "CONNECT_SERVER";
/// The key of the content's own.
pub(super) const KEY: &str = "CONNECT_API_KEY";
/// The content's GUID.
pub(super) const CONTENT: &str = "CONNECT_CONTENT_GUID";
/// The file of the content's session token, and the variable of it.
const TOKEN_FILE: &str = "CONNECT_CONTENT_SESSION_TOKEN_FILE";
const TOKEN: &str = "CONNECT_CONTENT_SESSION_TOKEN";

/// The largest session token that is read, in bytes.
const LARGEST: u64 = 64 << 10;

/// A piece of content on a Connect.
#[derive(Clone, Debug)]
pub struct Place {
    server: Address,
    key: SecretString,
    content: String,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.server == other.server
            && self.content == other.content
            && self.key.expose_secret() == other.key.expose_secret()
    }
}

impl Place {
    /// Whether this process says that it runs on Connect.
    #[must_use]
    pub fn is_here(env: &Env) -> bool {
        posit::is(env, CONNECT)
    }

    /// What the variables of this process say.
    ///
    /// # Errors
    /// Which of them is missing or cannot be used: [`Kind::NoSession`], [`Kind::Unreachable`], [`Kind::BadCookie`].
    pub fn find(env: &Env) -> Result<Self, Error> {
        let missing = |kind, name: &str| {
            let message = format!("this process runs on Posit Connect, but {name} is not set");
            Error::new(kind, message).remedied(Some(SWITCHED_OFF))
        };
        let server = env
            .var(SERVER)
            .ok_or_else(|| missing(Kind::NoSession, SERVER))?;
        let server = Address::parse(&server).map_err(|why| {
            let message = format!("{SERVER} is not an address that can be asked: {why}");
            Error::new(Kind::Unreachable, message).lasting()
        })?;
        let key = env.var(KEY).ok_or_else(|| missing(Kind::BadCookie, KEY))?;
        let key = key.trim();
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err(unusable_key());
        }
        Ok(Self {
            server,
            key: key.into(),
            content: env.var(CONTENT).unwrap_or_default(),
        })
    }

    /// The server's name in a sentence. No password is in it.
    #[must_use]
    pub fn server(&self) -> String {
        format!("Posit Connect ({})", self.server)
    }

    /// What an HTTP client needs to reach it.
    #[must_use]
    pub fn settings(&self, env: &Env) -> Settings {
        Settings::new(env, self.server.url())
    }

    /// Whether others on the network can read what is sent.
    #[must_use]
    pub fn is_in_clear(&self) -> bool {
        self.server.is_in_clear()
    }

    pub(super) fn url(&self, path: &str) -> Url {
        self.server.join(path)
    }

    pub(super) fn key(&self) -> &SecretString {
        &self.key
    }

    pub(super) fn content(&self) -> &str {
        &self.content
    }
}

const SWITCHED_OFF: &str =
    "Connect sets it for what it runs, unless its administrator has switched that off: ask them.";

pub(super) fn unusable_key() -> Error {
    let message = format!("{KEY} holds characters that no API key has");
    Error::new(Kind::BadCookie, message)
}

/// The content's own session token: of the file if that holds one, else of the variable. It is read each time, since Connect
/// changes it.
pub(super) fn content_token(env: &Env) -> Result<SecretString, Error> {
    let file = env.var(TOKEN_FILE);
    let read = file.as_deref().map(|path| (path, of_file(path)));
    if let Some((_, Ok(Some(token)))) = &read {
        return Ok(token.clone());
    }
    if let Some(token) = env.var(TOKEN) {
        return usable(&token).ok_or_else(|| {
            Error::new(
                Kind::BadCookie,
                format!("{TOKEN} holds characters that no session token has"),
            )
        });
    }
    let what = match read {
        Some((path, Err(why))) => {
            format!("the content's session token cannot be read from {path} ({TOKEN_FILE}): {why}")
        }
        Some((path, Ok(_))) => {
            format!("the file of the content's session token is empty: {path} ({TOKEN_FILE})")
        }
        None => {
            format!("the content has no session token: neither {TOKEN_FILE} nor {TOKEN} is set")
        }
    };
    Err(Error::new(Kind::BadCookie, what))
}

fn of_file(path: &str) -> Result<Option<SecretString>, String> {
    let bytes = read_beginning(Path::new(path), LARGEST).map_err(|error| file::reason(&error))?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let unusable = || "it holds characters that no session token has".to_owned();
    usable(text).map(Some).ok_or_else(unusable)
}

fn usable(token: &str) -> Option<SecretString> {
    let token = token.trim();
    (!token.is_empty() && token.chars().all(|c| c.is_ascii_graphic())).then(|| token.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: [(&str, &str); 3] = [
        (SERVER, "https://connect.example/base/"),
        (KEY, "canary-key"),
        (CONTENT, "guid"),
    ];

    #[test]
    fn what_is_missing_is_named() {
        assert!(Place::find(&Env::fixed(&WHOLE, 0.0)).is_ok());
        for (missing, kind) in [(0, Kind::NoSession), (1, Kind::BadCookie)] {
            let mut variables = WHOLE;
            variables[missing].1 = "";
            let error = Place::find(&Env::fixed(&variables, 0.0)).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.message().contains(WHOLE[missing].0), "{error}");
        }
        let mut variables = WHOLE;
        variables[0].1 = "ftp://no";
        let error = Place::find(&Env::fixed(&variables, 0.0)).unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable);
    }

    #[test]
    fn paths_come_below_the_servers_own_and_no_secret_shows() {
        let place = Place::find(&Env::fixed(&WHOLE, 0.0)).unwrap();
        let url = place.url("__api__/v1/x");
        assert_eq!(url.as_str(), "https://connect.example/base/__api__/v1/x");
        assert!(!format!("{place:?} {}", place.server()).contains("canary"));
    }

    #[test]
    fn the_file_wins_if_it_holds_a_token_and_is_read_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let file = (TOKEN_FILE, path.to_str().unwrap());
        let read = |variables: &[(&str, &str)]| {
            let token = content_token(&Env::fixed(variables, 0.0));
            token.map(|token| token.expose_secret().to_owned())
        };
        let variable = (TOKEN, "canary-variable");
        assert_eq!(read(&[file, variable]).unwrap(), "canary-variable");
        let error = read(&[file]).unwrap_err();
        assert!(error.message().contains("cannot be read"), "{error}");
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(read(&[file, variable]).unwrap(), "canary-variable");
        let error = read(&[file]).unwrap_err();
        assert!(error.message().contains("is empty"), "{error}");
        for rotated in ["canary-first\n", "canary-second"] {
            std::fs::write(&path, rotated).unwrap();
            assert_eq!(read(&[file, variable]).unwrap(), rotated.trim());
        }
        std::fs::write(&path, "canary\nof two lines").unwrap();
        let error = read(&[file]).unwrap_err();
        assert_eq!(error.kind(), Kind::BadCookie);
        assert!(!error.to_string().contains("canary"), "{error}");
        let error = read(&[]).unwrap_err();
        assert!(error.message().contains("neither"), "{error}");
    }
}
