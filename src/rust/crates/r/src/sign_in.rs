//! What R asks of the person's agent beside tokens.

use std::time::Duration;

use entrar_client::agent::ask;
use entrar_client::origin::{self, Origin, Session, who_signs_in};
use entrar_client::sign_in::{Arguments, request};
use entrar_core::agent::{self, BEGIN, Method, OPEN_SESSION, SignIn};
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::session_directory::SessionDirectory;
use extendr_api::prelude::*;
use serde_json::{Value, json};

use crate::question::{self, Asked, Replied, answered, reply_to_r};
use crate::{account, convert, runtime};

/// Whether an agent of this person runs.
/// @noRd
#[extendr]
fn has_agent() -> bool {
    runs(&Env::process())
}

pub(crate) fn runs(env: &Env) -> bool {
    Session::of_agent(env)
        .ok()
        .flatten()
        .is_some_and(|session| session.can_be_asked(env))
}

/// Removes what an agent has left that was killed, so that a hub is found after it.
/// @noRd
#[extendr]
fn remove_dead_agent() {
    if let Ok(Some(directory)) = SessionDirectory::open(&Env::process()) {
        directory.remove_dead_agent();
    }
}

/// Who signs a person in here.
/// @param wants_own Whether the person has said what only an agent is told.
/// @param has_rstudios_function Whether this R has RStudio's own function for tokens.
/// @return A list of `answer` (`"agent"` or `"hub"`) and `failure`, of which one is `NULL`.
/// @noRd
#[extendr]
fn signing_in_by(wants_own: bool, has_rstudios_function: bool) -> List {
    let env = Env::process();
    match who_signs_in(&env, wants_own, has_rstudios_function) {
        Ok(origin) => answered(origin.as_str().into()),
        Err(error) => question::failed(&error, origin::here(&env)),
    }
}

/// How the person would meet Entra ID.
/// @param wanted A list of the strings `tenant`, `client_id`, `authority`, `method` and `login_hint`, where given.
/// @param has_browser Whether R opens a browser of its own making.
/// @return A list of `answer` (`"browser"`, `"paste"` or `"device_code"`) and `failure`, of which one is `NULL`.
/// @noRd
#[extendr]
fn sign_in_method(wanted: List, has_browser: bool) -> List {
    let wanted = wanted_sign_in(&Env::process(), &wanted, has_browser);
    let method = wanted.map(|sign_in| match sign_in.method {
        Method::Browser => "browser",
        Method::Paste => "paste",
        Method::DeviceCode => "device_code",
    });
    match method {
        Ok(method) => answered(method.into()),
        Err(error) => failed(&error),
    }
}

/// Begins a sign-in.
/// @inheritParams sign_in_method
/// @param timeout Seconds for the whole call.
/// @return A list of `answer`, `failure` and `interrupt` (as in `delegated_token()`'s result), of which two are `NULL`.
///   The answer is the attempt, a list as in `core/src/agent.rs`.
/// @noRd
#[extendr]
fn begin_sign_in(wanted: List, has_browser: bool, timeout: f64) -> List {
    let env = Env::process();
    let request = wanted_sign_in(&env, &wanted, has_browser).and_then(|sign_in| {
        serde_json::to_value(sign_in)
            .map_err(|_| Error::new(Kind::Misconfigured, "the sign-in cannot be written"))
    });
    match request {
        Ok(request) => asked(&env, BEGIN, &request, timeout),
        Err(error) => failed(&error),
    }
}

/// Asks the agent.
/// @param name One of the names in `core/src/agent.rs`.
/// @param parameters A list of strings and numbers.
/// @param timeout Seconds for the whole call.
/// @return As `begin_sign_in()`.
/// @noRd
#[extendr]
fn agent_request(name: &str, parameters: List, timeout: f64) -> List {
    let parameters = question::parameters(&parameters);
    asked(&Env::process(), name, &parameters, timeout)
}

/// Notes who is signed in to the agent: this process knows, and need not be warned.
/// @noRd
#[extendr]
fn note_account() {
    account::is_another(origin::account(&Env::process()));
}

fn wanted_sign_in(env: &Env, wanted: &List, has_browser: bool) -> Result<SignIn, Error> {
    let text = |name: &str| {
        let (_, value) = wanted.iter().find(|(field, _)| *field == name)?;
        convert::string(&value).map(str::to_owned)
    };
    let method = match text("method").as_deref() {
        Some("browser") => Some(Method::Browser),
        Some("paste") => Some(Method::Paste),
        Some("device_code") => Some(Method::DeviceCode),
        _ => None,
    };
    request(
        env,
        Arguments {
            tenant: text("tenant"),
            client_id: text("client_id"),
            authority: text("authority"),
            login_hint: text("login_hint"),
            method,
            has_browser,
        },
    )
}

fn asked(env: &Env, name: &str, parameters: &Value, timeout: f64) -> List {
    let asked = ask_agent(env, name, parameters, timeout);
    reply_to_r(asked, Origin::Agent, |answer| question::to_r(&answer))
}

fn ask_agent(env: &Env, name: &str, parameters: &Value, timeout: f64) -> Asked<Value> {
    let session = Session::of_agent(env)?.ok_or_else(|| {
        Error::new(Kind::NoSession, "your agent is not running")
            .remedied(Some("Call azure_sign_in() first."))
    })?;
    let timeout = Duration::from_secs_f64(timeout);
    runtime::run(session.settings(env), async |http| {
        ask(http, env, &session, name, parameters, timeout).await
    })
}

/// Has the agent open a session for other people's clients.
pub(crate) fn open_session(env: &Env, timeout: f64) -> Asked<agent::Session> {
    let reply = ask_agent(env, OPEN_SESSION, &json!({}), timeout);
    reply.map(|reply: Replied<Value>| {
        reply.map(|answer| {
            serde_json::from_value(answer?).map_err(|_| {
                let message = "your agent is of another version of entrar";
                Error::new(Kind::BadReply, message)
            })
        })
    })
}

fn failed(error: &Error) -> List {
    question::failed(error, Origin::Agent)
}

extendr_module! {
    mod sign_in;
    fn has_agent;
    fn remove_dead_agent;
    fn signing_in_by;
    fn sign_in_method;
    fn begin_sign_in;
    fn agent_request;
    fn note_account;
}
