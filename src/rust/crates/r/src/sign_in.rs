//! What R asks of the person's agent beside tokens.

use std::time::Duration;

use entrar_client::agent::{ask, variables};
use entrar_client::origin::{self, Origin, Session, check_sign_in};
use entrar_client::sign_in::{Arguments, request};
use entrar_core::agent::{BEGIN, Method, OPEN_SESSION, SignIn};
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use extendr_api::prelude::*;
use serde_json::{Map, Number, Value, json};

use crate::interrupt::Requested;
use crate::{account, convert, runtime};

/// Whether an agent of this person runs.
/// @noRd
#[extendr]
fn has_agent() -> bool {
    let env = Env::process();
    Session::of_agent(&env)
        .ok()
        .flatten()
        .is_some_and(|session| session.can_be_asked(&env))
}

/// Whether a sign-in can be asked for, and how the person would meet Entra ID.
/// @param wanted A list of the strings `tenant`, `client_id`, `authority`, `method` and `login_hint`, where given.
/// @param has_browser Whether R opens a browser of its own making.
/// @param has_rstudios_function Whether this R has RStudio's own function for tokens.
/// @return A list of `answer` (`"browser"`, `"paste"` or `"device_code"`) and `failure`, of which one is `NULL`.
/// @noRd
#[extendr]
fn sign_in_method(wanted: List, has_browser: bool, has_rstudios_function: bool) -> List {
    let env = Env::process();
    let method = check_sign_in(&env, has_rstudios_function)
        .and_then(|()| wanted_sign_in(&env, &wanted, has_browser))
        .map(|sign_in| match sign_in.method {
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
    let parameters: Map<String, Value> = parameters
        .iter()
        .filter_map(|(name, value)| Some((name.to_owned(), scalar(&value)?)))
        .collect();
    asked(&Env::process(), name, &parameters.into(), timeout)
}

/// Has the agent open a session for other people's clients.
/// @param timeout Seconds for the whole call.
/// @return As `begin_sign_in()`; the answer is a list of variables and their values, `NULL` for those to unset. One of them
///   is the cookie.
/// @noRd
#[extendr]
fn session_variables(timeout: f64) -> List {
    let env = Env::process();
    let reply = ask_agent(&env, OPEN_SESSION, &json!({}), timeout);
    let opened = reply.map(|reply| {
        reply.map(|answer| {
            let session = serde_json::from_value(answer?).map_err(|_| {
                let message = "your agent is of another version of entrar";
                Error::new(Kind::BadReply, message)
            })?;
            let variables = variables(&env, &session).into_iter();
            Ok(variables
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect::<Map<_, _>>()
                .into())
        })
    });
    reply_to_r(opened, |variables| to_r(&variables))
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
    reply_to_r(ask_agent(env, name, parameters, timeout), |answer| {
        to_r(&answer)
    })
}

type Asked = Result<Result<Result<Value, Error>, Requested>, Error>;

fn ask_agent(env: &Env, name: &str, parameters: &Value, timeout: f64) -> Asked {
    let session = Session::of_agent(env)?.ok_or_else(|| {
        Error::new(Kind::NoSession, "your agent is not running")
            .remedied(Some("Call azure_sign_in() first."))
    })?;
    let timeout = Duration::from_secs_f64(timeout);
    runtime::run(session.settings(env), async |http| {
        ask(http, env, &session, name, parameters, timeout).await
    })
}

fn reply_to_r(asked: Asked, answer: impl FnOnce(Value) -> Robj) -> List {
    match asked {
        Ok(Ok(Ok(value))) => answered(answer(value)),
        Ok(Ok(Err(error))) | Err(error) => failed(&error),
        Ok(Err(request)) => {
            let nothing = || -> Robj { ().into() };
            convert::probed(nothing(), nothing(), convert::condition(request))
        }
    }
}

fn answered(answer: Robj) -> List {
    convert::probed(answer, ().into(), ().into())
}

fn failed(error: &Error) -> List {
    let failure = convert::error(error, Some(Origin::Agent));
    convert::probed(().into(), failure.into(), ().into())
}

/// One string or number.
fn scalar(value: &Robj) -> Option<Value> {
    if let Some(text) = convert::string(value) {
        return Some(text.into());
    }
    value
        .as_real()
        .and_then(Number::from_f64)
        .map(Value::Number)
}

/// Strings, numbers, logicals, `NULL`, and lists of them.
fn to_r(value: &Value) -> Robj {
    match value {
        Value::Null => ().into(),
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => number.as_f64().into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => values.iter().map(to_r).collect::<List>().into(),
        Value::Object(fields) => List::from_pairs(
            fields
                .iter()
                .map(|(name, value)| (name.as_str(), to_r(value))),
        )
        .into(),
    }
}

extendr_module! {
    mod sign_in;
    fn has_agent;
    fn sign_in_method;
    fn begin_sign_in;
    fn agent_request;
    fn session_variables;
    fn note_account;
}
