//! What is asked of the person's agent beside tokens: the wire is described in [`entrar_core::agent`].

use std::time::Duration;

use entrar_core::agent::{self, Failure, PATH};
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind, Outlook};
use entrar_core::http::{Http, Reply, send};
use entrar_core::retry::retried;
use entrar_core::variables::{ADDRESS, COOKIE, ORIGIN, RUNTIME_DIRECTORY, VERSION};
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use tokio::time::Instant;

use crate::origin::{Door, Origin, Session};
use crate::posit::check_version;
use crate::reply::status_error;
use crate::rpc::too_slow;

/// Asks the agent behind a session's socket for `name`, one of the names in [`entrar_core::agent`], with these
/// parameters, within `timeout` in all.
///
/// # Errors
/// The agent's own failure; [`Kind::NoSession`] if it is not running any more, or the session is not one of the agent's
/// socket; those of a request.
pub async fn ask(
    http: &Http,
    env: &Env,
    session: &Session,
    name: &str,
    parameters: &Value,
    timeout: Duration,
) -> Result<Value, Error> {
    if !matches!(session.door(), Door::Socket(_)) {
        let message = format!("{} is no agent of yours", session.server());
        return Err(Error::new(Kind::NoSession, message));
    }
    let deadline = Instant::now() + timeout;
    // Only a connection that the agent has closed meanwhile is worth a second one.
    let judge = |error: &Error| match error.outlook() {
        Outlook::Reconnect => (Outlook::Reconnect, None),
        _ => (Outlook::Final, None),
    };
    let attempt = || async {
        let request = http
            .client()
            .post(session.url(&format!("{PATH}{name}")))
            .header(CONTENT_TYPE, "application/json")
            .body(parameters.to_string());
        let reply = send(http, request, &session.server(), env.now()).await?;
        read(&session.server(), &reply)
    };
    match retried(deadline, 1, judge, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(too_slow(&session.server(), timeout)),
    }
}

/// The variables by which other people's clients know a session that the agent has opened, and their values; what has none is
/// to be unset. One of them is the cookie.
#[must_use]
pub fn variables<'a>(
    env: &Env,
    session: &'a agent::Session,
) -> Vec<(&'static str, Option<&'a str>)> {
    let mut variables = vec![
        (ADDRESS, Some(session.address.as_str())),
        (RUNTIME_DIRECTORY, Some(session.directory.as_str())),
        (ORIGIN, Some(Origin::Agent.as_str())),
        (COOKIE, Some(session.cookie.expose())),
    ];
    // rstudioapi refuses to ask where it takes the server for a Workbench that is too old.
    if check_version(env).is_err() {
        variables.push((VERSION, None));
    }
    variables
}

fn read(server: &str, reply: &Reply) -> Result<Value, Error> {
    if reply.status >= 400 {
        return Err(status_error(reply.status, None).at_status(reply.status));
    }
    let bad = || {
        let message = format!("the reply from {server} is none that an agent gives");
        Error::new(Kind::BadReply, message)
    };
    let mut body = match serde_json::from_str(&reply.body) {
        Ok(Value::Object(body)) => body,
        _ => return Err(bad()),
    };
    match (body.remove("result"), body.remove("failure")) {
        (Some(result), None) => Ok(result),
        (None, Some(failure)) => {
            let failure: Failure = serde_json::from_value(failure).map_err(|_| bad())?;
            Err(failure.into())
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(status: u16, body: &str) -> Result<Value, (&'static str, String)> {
        let reply = Reply {
            status,
            retry_after: None,
            is_plain_text: false,
            body: body.to_owned(),
        };
        read("your agent", &reply)
            .map_err(|error| (error.kind().as_str(), error.message().to_owned()))
    }

    #[test]
    fn a_result_is_handed_out_as_it_is() {
        assert_eq!(outcome(200, r#"{"result": null}"#), Ok(Value::Null));
        assert_eq!(
            outcome(200, r#"{"result": {"pid": 7}}"#),
            Ok(json!({"pid": 7}))
        );
    }

    #[test]
    fn a_failure_keeps_its_kind_and_its_words() {
        let failure = Failure::from(&Error::new(Kind::ConsentRequired, "it is missing"));
        let body = json!({ "failure": failure }).to_string();
        assert_eq!(
            outcome(200, &body),
            Err(("consent_required", "it is missing".to_owned()))
        );
    }

    #[test]
    fn anything_else_is_a_bad_reply_and_is_not_repeated() {
        for body in [
            "",
            "canary",
            "[]",
            "{}",
            r#"{"failure": "canary"}"#,
            r#"{"result": 1, "failure": {}}"#,
        ] {
            let (kind, message) = outcome(200, body).unwrap_err();
            assert_eq!(kind, "bad_reply", "{body}");
            assert!(!message.contains("canary"));
        }
        assert_eq!(outcome(404, "").unwrap_err().0, "server_too_old");
        assert_eq!(outcome(500, "").unwrap_err().0, "server_error");
    }
}
