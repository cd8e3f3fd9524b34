//! What R asks of this machine's hub beside tokens.

use std::time::Duration;

use entrar_client::hub::{ask, open_session};
use entrar_client::origin::{Origin, Session, hub_here};
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::session_directory::SessionDirectory;
use extendr_api::prelude::*;

use crate::question::{self, reply_to_r};
use crate::{account, runtime};

/// Whether this process may ask a hub of this machine, and it runs.
/// @noRd
#[extendr]
fn has_hub() -> bool {
    runs(&Env::process())
}

pub(crate) fn runs(env: &Env) -> bool {
    session(env).is_ok_and(|session| session.can_be_asked(env))
}

/// Asks the hub.
/// @param name One of the names in `core/src/hub.rs`.
/// @param parameters A list of strings and numbers.
/// @param timeout Seconds for the whole call.
/// @return A list of `answer`, `failure` and `interrupt` (as in `delegated_token()`'s result), of which two are `NULL`.
/// @noRd
#[extendr]
fn hub_request(name: &str, parameters: List, timeout: f64) -> List {
    let env = Env::process();
    let parameters = question::parameters(&parameters);
    let asked = session(&env).and_then(|session| {
        let timeout = Duration::from_secs_f64(timeout);
        runtime::run(session.settings(&env), async |http| {
            ask(http, &env, &session, name, &parameters, timeout).await
        })
    });
    reply_to_r(asked, Origin::Hub, |answer| question::to_r(&answer))
}

/// Notes who is signed in at the hub: this process knows, and need not be warned.
/// @param tenant,object_id The account, strings.
/// @noRd
#[extendr]
fn note_hubs_account(tenant: &str, object_id: &str) {
    account::is_another(Some(account::named(tenant, object_id)));
}

/// Removes the cookie that was written for other people's clients.
/// @noRd
#[extendr]
fn drop_hubs_cookie() {
    if let Ok(Some(directory)) = SessionDirectory::open(&Env::process()) {
        directory.drop_hubs_cookie();
    }
}

/// Has the hub open a session for other people's clients.
pub(crate) fn open_cookie_session(
    env: &Env,
    timeout: f64,
) -> question::Asked<entrar_client::hub::CookieSession> {
    let session = session(env)?;
    let timeout = Duration::from_secs_f64(timeout);
    runtime::run(session.settings(env), async |http| {
        open_session(http, env, &session, timeout).await
    })
}

fn session(env: &Env) -> Result<Session, Error> {
    hub_here(env)?.ok_or_else(|| Error::new(Kind::NoSession, "no hub serves this session"))
}

extendr_module! {
    mod hub;
    fn has_hub;
    fn hub_request;
    fn note_hubs_account;
    fn drop_hubs_cookie;
}
