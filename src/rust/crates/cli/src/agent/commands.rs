//! `entrar agent start`, `status` and `stop`.

use std::time::Duration;

use entrar_client::agent;
use entrar_client::origin::Session;
use entrar_core::agent::{STATUS, STOP, Status};
use entrar_core::env::Env;
use entrar_core::error::Kind;
use entrar_core::http::Http;
use entrar_core::time::UnixTime;
use serde_json::{Value, json};

use super::{Error, process};

/// How long an agent may take to answer.
pub(crate) const LONGEST_ANSWER: Duration = Duration::from_secs(30);

/// Starts an agent, unless one runs; the result says which.
pub(crate) fn start(env: &Env, idle: u32) -> Result<String, Error> {
    let started = process::start(&["--idle".to_owned(), idle.to_string()]).map_err(Error::Start)?;
    let status = told(env)?;
    let word = match started {
        process::Started::Ready => "has started",
        process::Started::Running => "runs already",
    };
    Ok(format!("The agent {word} (process {}).", status.pid))
}

/// What the agent says of itself, as lines.
pub(crate) fn status(env: &Env) -> Result<String, Error> {
    let status = told(env)?;
    let mut lines = vec![
        format!(
            "agent:     process {}, version {}",
            status.pid, status.version
        ),
        format!("since:     {}", UnixTime::new(status.since)),
        format!(
            "ends:      after {:.0} minutes without a request",
            status.idle / 60.0
        ),
    ];
    match &status.account {
        None => lines.push("signed in: nobody".to_owned()),
        Some(account) => {
            let name = account.username.as_ref().or(account.name.as_ref());
            lines.push(format!(
                "signed in: {}, tenant {}, since {}",
                name.unwrap_or(&account.object_id),
                account.tenant,
                UnixTime::new(account.since)
            ));
        }
    }
    if let Some(address) = &status.address {
        lines.push(format!("address:   {address} (for other people's clients)"));
    }
    lines.extend(
        status
            .proxies
            .iter()
            .map(|proxy| format!("proxy:     {proxy}")),
    );
    if let Some(bundle) = &status.bundle {
        lines.push(format!("trusted:   the certificates of {bundle}"));
    }
    Ok(lines.join("\n"))
}

/// Ends the agent.
pub(crate) fn stop(env: &Env) -> Result<String, Error> {
    ask(env, STOP, &json!({}))?;
    Ok("The agent has ended; nobody is signed in by it any more.".to_owned())
}

fn told(env: &Env) -> Result<Status, Error> {
    let answer = ask(env, STATUS, &json!({}))?;
    serde_json::from_value(answer).map_err(|_| {
        let message = "the agent is of another version of entrar";
        let error = entrar_core::error::Error::new(Kind::BadReply, message);
        Error::Known(error.remedied(Some("End it with `entrar agent stop`, and start it again.")))
    })
}

/// Asks the agent for one of the names in [`entrar_core::agent`].
pub(crate) fn ask(env: &Env, name: &str, parameters: &Value) -> Result<Value, Error> {
    let session = Session::of_agent(env)?.ok_or(Error::NotRunning)?;
    let runtime = runtime()?;
    let http = Http::new(session.settings(env))?;
    let answer = runtime.block_on(agent::ask(
        &http,
        env,
        &session,
        name,
        parameters,
        LONGEST_ANSWER,
    ));
    match answer {
        Err(error) if error.kind() == Kind::NoSession => Err(Error::NotRunning),
        answer => Ok(answer?),
    }
}

/// What a question runs on.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::System("a runtime", error))
}
