//! The bridge between R and `entrar-client`.
//!
//! No error leaves Rust by a jump: every function returns a value, which R then raises. The only
//! `unsafe` code of the workspace is in [`interrupt`].

#![allow(
    missing_docs,
    reason = "extendr's macros make public functions, which have no documentation of their own"
)]

mod convert;
mod interrupt;
mod runtime;

use std::time::Duration;

use entrar_client::env::Env;
use entrar_client::error::{Error, Kind};
use entrar_client::resource::Resource;
use entrar_client::rpc;
use entrar_client::session::Session;
use entrar_client::token::{self, Token};
use extendr_api::prelude::*;

/// Asks the session's server for a fresh token.
/// @param resource One string.
/// @param timeout Seconds for the whole call.
/// @return A list of `token`, `failure`, `interrupted` and `in_clear`; see `R/delegated-token.R`.
/// @noRd
#[extendr]
fn delegated_token(resource: &str, timeout: f64) -> List {
    let env = Env::process();
    let asked = Resource::parse(resource)
        .and_then(|resource| Ok((resource, Session::discover(&env)?)))
        .and_then(|(resource, session)| {
            let timeout = Duration::from_secs_f64(timeout);
            let outcome = runtime::run(&env, session.address(), async |http| {
                rpc::delegated_token(http, &env, &session, &resource, timeout).await
            })?;
            Ok((outcome, session.address().is_in_clear()))
        });
    match asked {
        Ok((Some(Ok(token)), in_clear)) => {
            convert::reply(convert::token(&token), (), false, in_clear)
        }
        Ok((Some(Err(error)), in_clear)) => {
            convert::reply((), convert::error(&error), false, in_clear)
        }
        Ok((None, in_clear)) => convert::reply((), (), true, in_clear),
        Err(error) => convert::reply((), convert::error(&error), false, false),
    }
}

/// Reads the token that the RStudio IDE's own function has returned.
/// @param token A list of its fields, `expires_at` among them.
/// @param sent When it was asked, in Unix seconds.
/// @return As `delegated_token()`.
/// @noRd
#[extendr]
fn ide_token(token: List, sent: f64) -> List {
    let read = Token::from_reply(&convert::fields(&token), sent);
    match read {
        Ok(token) => convert::reply(convert::token(&token), (), false, false),
        Err(what) => {
            let message = format!("the RStudio IDE returned no usable token: {what}");
            let error = Error::new(Kind::BadReply, message);
            convert::reply((), convert::error(&error), false, false)
        }
    }
}

/// Reads the error that the RStudio IDE's own function has raised.
/// @param text Its message.
/// @return A failure, as in `delegated_token()`'s result.
/// @noRd
#[extendr]
fn ide_failure(text: &str) -> List {
    convert::error(&rpc::text_error(text, ""))
}

/// The tenant that issued a token, if the token tells.
/// @param access_token The secret, a string.
/// @return The tenant's id, or `NA`.
/// @noRd
#[extendr]
fn token_tenant(access_token: &str) -> Robj {
    convert::text(token::claim(access_token, "tid").as_deref())
}

/// Whether there is a server to ask and a cookie to ask it with.
/// @noRd
#[extendr]
fn has_server_session() -> bool {
    let env = Env::process();
    Session::discover(&env).is_ok_and(|session| session.cookie(&env, None).is_ok())
}

/// The names of all kinds of failure.
/// @noRd
#[extendr]
fn failure_kinds() -> Vec<&'static str> {
    Kind::ALL.iter().map(|kind| kind.as_str()).collect()
}

extendr_module! {
    mod entrar;
    fn delegated_token;
    fn ide_token;
    fn ide_failure;
    fn token_tenant;
    fn has_server_session;
    fn failure_kinds;
}
