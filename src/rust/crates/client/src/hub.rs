//! What is asked of this machine's hub beside tokens: the wire is described in [`entrar_core::hub`].

use std::time::Duration;

use entrar_core::address::Address;
use entrar_core::agent;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::http::Http;
use entrar_core::hub::{ME, Me, OPEN_SESSION, PATH, Secret, Session as Opened};
use entrar_core::session_directory::SessionDirectory;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::origin::{Origin, Session};
use crate::question;

/// Asks the hub behind a session's socket for `name`, one of the names in [`entrar_core::hub`], with these parameters,
/// within `timeout` in all.
///
/// # Errors
/// The hub's own failure; [`Kind::NoSession`] if it is not running, or the session is not one of a hub's socket; those of
/// a request.
pub async fn ask(
    http: &Http,
    env: &Env,
    session: &Session,
    name: &str,
    parameters: &Value,
    timeout: Duration,
) -> Result<Value, Error> {
    let session = (session, Origin::Hub);
    question::ask(
        http,
        env,
        session,
        &format!("{PATH}{name}"),
        parameters,
        timeout,
    )
    .await
}

/// Who this process is to the hub, and who is signed in for it.
///
/// # Errors
/// As [`ask`].
pub async fn me(http: &Http, env: &Env, session: &Session, timeout: Duration) -> Result<Me, Error> {
    let answer = ask(http, env, session, ME, &json!({}), timeout).await?;
    understood(session, answer)
}

/// A session for other people's clients, and where its cookie lies.
#[derive(Debug)]
pub struct CookieSession {
    /// The session, whose cookie is in its directory's file.
    pub session: agent::Session,
    /// Whether the file is in memory, and so never on a disk. Only Linux tells; elsewhere it is `false`.
    pub is_in_memory: bool,
}

/// Has the hub open a session for other people's clients, and writes its cookie to a file that only this user reads.
///
/// # Errors
/// As [`ask`]; [`Kind::BadReply`] for an address to which no cookie is to be sent; [`Kind::NoSession`] if there is no
/// directory for the file.
pub async fn open_session(
    http: &Http,
    env: &Env,
    session: &Session,
    timeout: Duration,
) -> Result<CookieSession, Error> {
    let directory = SessionDirectory::create(env)?;
    let answer = ask(http, env, session, OPEN_SESSION, &json!({}), timeout).await?;
    let opened: Opened = understood(session, answer)?;
    let address = Address::parse(&opened.address).map_err(|why| {
        let message = format!("the hub has given an address that cannot be asked: {why}");
        Error::new(Kind::BadReply, message)
    })?;
    if address.is_in_clear() {
        let message = format!("the hub wants a cookie to be sent over plain http, to {address}");
        return Err(Error::new(Kind::BadReply, message));
    }
    let place = directory
        .keep_hubs_cookie(&opened.cookie.0)
        .map_err(|error| {
            let path = directory.path().display();
            let why = entrar_core::file::reason(&error);
            let message = format!("the session's cookie cannot be written to {path} ({why})");
            Error::new(Kind::NoSession, message)
        })?;
    Ok(CookieSession {
        session: agent::Session {
            address: opened.address,
            directory: place.to_string_lossy().into_owned(),
            cookie: Secret(opened.cookie.0),
            expires_at: opened.expires_at,
        },
        is_in_memory: directory.is_in_memory(),
    })
}

fn understood<T: DeserializeOwned>(session: &Session, answer: Value) -> Result<T, Error> {
    // What serde says may quote the reply, which may hold secrets.
    serde_json::from_value(answer).map_err(|_| {
        let message = format!("{} is of another version of entrar", session.server());
        Error::new(Kind::BadReply, message).remedied(Some(
            "Ask the administrator of the hub which version of entrar fits.",
        ))
    })
}
