//! The bridge between R and `entrar-client`.
//!
//! No error leaves Rust by a jump: every function returns a value, which R then raises. The only
//! `unsafe` code of the workspace is in [`interrupt`] and [`broken_pipe`].

#![allow(
    missing_docs,
    reason = "extendr's macros make public functions, which have no documentation of their own"
)]

mod account;
mod broken_pipe;
mod cache;
mod connect;
mod convert;
mod hub;
mod interrupt;
mod program;
mod question;
mod runtime;
mod session_env;
mod sign_in;

use std::process::Command;
use std::time::Duration;

use entrar_client::origin::{self, Origin, Session};
use entrar_client::probe::probe;
use entrar_client::remedy::{self, Reader};
use entrar_client::renewal;
use entrar_client::reply;
use entrar_client::report::Report;
use entrar_client::rpc;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::git;
use entrar_core::resource::{self, Resource};
use entrar_core::time::UnixTime;
use entrar_core::token::{self, Token};
use extendr_api::prelude::*;

/// Checks a resource.
/// @param resource One string.
/// @return The resource that it stands for, a string; or a failure, as in `delegated_token()`'s
///   result.
/// @noRd
#[extendr]
fn checked_resource(resource: &str) -> Robj {
    match Resource::from_caller(resource) {
        Ok(resource) => resource.as_str().into(),
        Err(error) => convert::error(&error, here()).into(),
    }
}

/// Whether a text that was meant for a resource must not be repeated.
/// @param text One string.
/// @noRd
#[extendr]
fn may_hold_a_secret(text: &str) -> bool {
    resource::may_hold_a_secret(text)
}

/// Asks the session's server for a fresh token.
/// @param resource One string.
/// @param timeout Seconds for the whole call.
/// @return A list of `token`, `failure` and `interrupt` (a condition to raise again, or `TRUE`),
///   of which two are `NULL`, of `in_clear`, and of `other_account` (whether the token is another account's than those
///   before).
/// @noRd
#[extendr]
fn delegated_token(resource: &str, timeout: f64) -> List {
    let env = Env::process();
    let timeout = Duration::from_secs_f64(timeout);
    let asked = Resource::parse(resource)
        .and_then(|resource| Ok((resource, Session::find(&env)?)))
        .and_then(|(resource, session)| {
            let outcome = runtime::run(session.settings(&env), async |http| {
                rpc::delegated_token(http, &env, &session, &resource, timeout).await
            })?;
            // A cookie that is there has gone out, whatever came of it.
            let in_clear = session.is_in_clear() && session.can_be_asked(&env);
            Ok((outcome, in_clear, session.origin()))
        });
    match asked {
        Ok((Ok(Ok(token)), in_clear, origin)) => {
            cache::answered(resource);
            let is_another = account::is_another(account::of(&env, origin, &token));
            if is_another {
                cache::forget();
            }
            convert::granted(&token, in_clear, is_another)
        }
        Ok((Ok(Err(error)), in_clear, _)) => convert::failed(&error, here(), in_clear),
        Ok((Err(request), ..)) => convert::interrupted(request),
        Err(error) => convert::failed(&error, here(), false),
    }
}

/// Reads the token that the RStudio IDE's own function has returned.
/// @param resource What it is for, a string.
/// @param token A list of its fields, `expires_at` among them.
/// @param sent When it was asked, in Unix seconds.
/// @return As `delegated_token()`.
/// @noRd
#[extendr]
fn ide_token(resource: &str, token: List, sent: f64) -> List {
    let read = Token::from_reply(&convert::fields(&token), sent.into());
    match read {
        Ok(token) => {
            cache::answered(resource);
            convert::granted(&token, false, false)
        }
        Err(what) => {
            let message = format!("the RStudio IDE returned no usable token: {what}");
            convert::failed(&Error::new(Kind::BadReply, message), RSTUDIOS, false)
        }
    }
}

/// Reads the error that the RStudio IDE's own function has raised.
/// @param text Its message.
/// @return As `delegated_token()`.
/// @noRd
#[extendr]
fn ide_failure(text: &str) -> List {
    convert::failed(&reply::ide_error(text), RSTUDIOS, false)
}

/// The secret of the token that is kept for a resource: all that most calls of `azure_token()` do.
/// @param resource A string; for anything else nothing is kept.
/// @return The secret, or `NULL` where there is none to hand out.
/// @noRd
#[extendr]
fn kept_secret(resource: Robj) -> Robj {
    match convert::string(&resource) {
        // A name with this character is of a visitor's tokens or the content's, and no resource.
        Some(resource) if !resource.contains('\r') => {
            cache::secret(named(resource), Env::process().now())
        }
        _ => ().into(),
    }
}

/// What is kept for a resource.
/// @param resource A string.
/// @param insist Whether a new token is wanted though the old one would do.
/// @return The token, a list; a failure to raise again, as in `delegated_token()`'s result; or `NULL` where
///   the server must be asked.
/// @noRd
#[extendr]
fn kept_token(resource: &str, insist: bool) -> Robj {
    cache::look_up(resource, Env::process().now(), insist)
}

/// The well-known resources: parallel vectors `cloud`, `name` and `resource`.
/// @noRd
#[extendr]
fn well_known_resources() -> List {
    let column = |part: fn(&(&'static str, &'static str, &'static str)) -> &'static str| {
        resource::WELL_KNOWN.iter().map(part).collect::<Strings>()
    };
    list!(
        cloud = column(|row| row.0),
        name = column(|row| row.1),
        resource = column(|row| row.2)
    )
}

/// Keeps a token.
/// @param resource A string.
/// @param token An `entrar_token`.
/// @param sent When it was asked for, in Unix seconds.
/// @noRd
#[extendr]
fn keep_token(resource: &str, token: List, sent: f64) {
    cache::keep(resource, &token, sent.into());
}

/// Remembers that there was no token.
/// @param resource A string.
/// @param failure As in `delegated_token()`'s result.
/// @param is_final Whether asking again cannot cure it.
/// @param retry_after Seconds that the server asks to wait, or `NA`.
/// @param insist As for `kept_token()`.
/// @return A list of the old `token`, if it is still valid, and whether this is the `first` time
///   that it could not be renewed; else `NULL`.
/// @noRd
#[extendr]
fn keep_failure(
    resource: &str,
    failure: List,
    is_final: bool,
    retry_after: Rfloat,
    insist: bool,
) -> Robj {
    let retry_after = Option::from(retry_after);
    let now = Env::process().now();
    cache::remember(resource, &failure, now, is_final, retry_after, insist)
}

/// Drops every token that is kept.
/// @noRd
#[extendr]
fn drop_tokens() {
    cache::forget();
}

/// When a token is to be renewed, in Unix seconds.
/// @param sent When it was asked for.
/// @param expires_at When it expires, or `NA`.
/// @noRd
#[extendr]
fn renewal_time(sent: f64, expires_at: Rfloat) -> f64 {
    let expires_at: Option<f64> = expires_at.into();
    renewal::renewal_time(sent.into(), expires_at.map(UnixTime::new)).seconds()
}

/// What a token tells of itself, if it does: whose it is, of which tenant, for whom and of which app.
/// @param access_token The secret, a string; anything else tells nothing.
/// @return A list of `account`, `tenant`, `audience` and `app`, each a string or `NA`.
/// @noRd
#[extendr]
fn token_claims(access_token: Robj) -> List {
    let access_token = convert::string(&access_token).unwrap_or_default();
    let first = |names: &[&str]| {
        let found = names
            .iter()
            .find_map(|name| token::claim(access_token, name));
        convert::text(found.as_deref())
    };
    list!(
        account = first(&["upn", "unique_name", "preferred_username"]),
        tenant = first(&["tid"]),
        audience = first(&["aud"]),
        app = first(&["appid", "azp"])
    )
}

/// Whether there is a server to ask and a cookie to ask it with, or an agent that listens.
/// @noRd
#[extendr]
fn has_server_session() -> bool {
    let env = Env::process();
    Session::find(&env).is_ok_and(|session| session.can_be_asked(&env))
}

/// Whether tokens come from RStudio's own function, in an R that has it.
/// @noRd
#[extendr]
fn leaves_it_to_rstudio() -> bool {
    origin::leaves_it_to_rstudio(&Env::process())
}

/// What to do where there is no token and nothing more is known than its kind.
/// @param kind One of `failure_kinds()`.
/// @noRd
#[extendr]
fn usual_remedy(kind: &str) -> Robj {
    let kind = Kind::ALL.iter().find(|known| known.as_str() == kind);
    convert::text(kind.map(|kind| remedy::usual(*kind, here(), Reader::R)))
}

/// What the environment says about the session; nothing is asked.
/// @param has_rstudios_function Whether this R has RStudio's own function for tokens.
/// @return A list, as `convert::report()` makes it: no secret is in it.
/// @noRd
#[extendr]
fn session_report(has_rstudios_function: bool) -> List {
    convert::report(&Report::new(&Env::process(), has_rstudios_function))
}

/// Asks whether the session's server answers, without the cookie.
/// @param timeout Seconds for the whole call.
/// @return A list of `answer` (`status`, `milliseconds` and `clock_skew`, in seconds), `failure` and
///   `interrupt` (as in `delegated_token()`'s result), of which two are `NULL`.
/// @noRd
#[extendr]
fn probe_server(timeout: f64) -> List {
    let env = Env::process();
    let timeout = Duration::from_secs_f64(timeout);
    let asked = Session::of_any_version(&env).and_then(|session| {
        runtime::run(session.settings(&env), async |http| {
            probe(http, &env, &session, timeout).await
        })
    });
    let nothing = || -> Robj { ().into() };
    match asked {
        Ok(Ok(Ok(answer))) => convert::probed(convert::answer(&answer), nothing(), nothing()),
        Ok(Ok(Err(error))) | Err(error) => {
            convert::probed(nothing(), convert::error(&error, here()).into(), nothing())
        }
        Ok(Err(request)) => convert::probed(nothing(), nothing(), convert::condition(request)),
    }
}

/// The path of a git credential helper that is configured by its path alone.
/// @param value The value of `credential.helper`, a string.
/// @return The path, or `NA` for a name, and for a command with anything else in it.
/// @noRd
#[extendr]
fn git_helper_path(value: &str) -> Robj {
    convert::text(git::helper_path(value).as_deref())
}

/// Runs a program to its end.
/// @param words Its path and its arguments.
/// @param variables What its environment has besides, as `NAME=VALUE`.
/// @param files Three paths: of what it reads, of what is made of its output, and of its complaints; an empty one for
///   none.
/// @param limit Seconds after which it is ended.
/// @return A list of `status` (its exit code, `NA` if it was ended), `failure` (why it could not be run) and
///   `interrupt` (as in `delegated_token()`'s result), of which two are `NULL`.
/// @noRd
#[extendr]
fn program_status(
    words: Vec<String>,
    variables: Vec<String>,
    files: Vec<String>,
    limit: f64,
) -> List {
    let path = |place: usize| files.get(place).map_or("", String::as_str);
    let variables = variables.iter().filter_map(|pair| pair.split_once('='));
    let ended = (|| {
        let mut command = Command::new(words.first().map_or("", String::as_str));
        command
            .args(words.iter().skip(1))
            .envs(variables)
            .stdin(program::input(path(0))?)
            .stdout(program::output(path(1))?)
            .stderr(program::output(path(2))?);
        program::run(&mut command, Duration::from_secs_f64(limit))
    })();
    convert::ended(ended)
}

/// Makes the objects of R's that a call needs while it waits.
/// @noRd
#[extendr]
fn prepare_interrupts() {
    interrupt::prepare();
}

/// The names of all kinds of failure.
/// @noRd
#[extendr]
fn failure_kinds() -> Vec<&'static str> {
    Kind::ALL.iter().map(|kind| kind.as_str()).collect()
}

/// Who opens sessions here.
fn here() -> Option<Origin> {
    origin::here(&Env::process())
}

/// Who has opened a session that has RStudio's function.
const RSTUDIOS: Option<Origin> = Some(Origin::Workbench);

/// The resource that a name stands for; anything else stands for itself.
fn named(resource: &str) -> &str {
    resource::named(resource).unwrap_or(resource)
}

extendr_module! {
    mod entrar;
    fn checked_resource;
    fn may_hold_a_secret;
    fn delegated_token;
    fn ide_token;
    fn ide_failure;
    fn well_known_resources;
    fn kept_secret;
    fn kept_token;
    fn keep_token;
    fn keep_failure;
    fn drop_tokens;
    fn renewal_time;
    fn token_claims;
    fn has_server_session;
    fn leaves_it_to_rstudio;
    fn usual_remedy;
    fn session_report;
    fn probe_server;
    fn git_helper_path;
    fn program_status;
    fn failure_kinds;
    fn prepare_interrupts;
    use connect;
    use hub;
    use session_env;
    use sign_in;
}
