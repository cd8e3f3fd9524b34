//! What agent and hub are asked through their sockets beside tokens: one request, and its reply.

use std::time::Duration;

use entrar_core::env::Env;
use entrar_core::error::{Error, Kind, Outlook};
use entrar_core::http::{Http, Reply, send};
use entrar_core::question::Failure;
use entrar_core::retry::retried;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use tokio::time::Instant;

use crate::origin::{Door, Origin, Session};
use crate::remedy::advised;
use crate::reply::status_error;
use crate::rpc::{too_slow, with_cookie};

/// Asks behind the socket of a session that `origin` has opened, at this path and with these parameters, within `timeout`
/// in all.
///
/// # Errors
/// The failure in the reply; [`Kind::NoSession`] if nobody listens any more, or the session is another; those of a request.
pub(crate) async fn ask(
    http: &Http,
    env: &Env,
    (session, origin): (&Session, Origin),
    path: &str,
    parameters: &Value,
    timeout: Duration,
) -> Result<Value, Error> {
    let server = session.server();
    let name = name(origin);
    if session.origin() != origin || !matches!(session.door(), Door::Socket(_)) {
        let message = format!("{server} is not the socket of {name}");
        return Err(Error::new(Kind::NoSession, message));
    }
    let cookie = session.cookie(env, None)?;
    let deadline = Instant::now() + timeout;
    // Only a connection that was closed meanwhile is worth a second one.
    let judge = |error: &Error| match error.outlook() {
        Outlook::Reconnect => (Outlook::Reconnect, None),
        _ => (Outlook::Final, None),
    };
    let attempt = || async {
        let request = http
            .client()
            .post(session.url(path))
            .header(CONTENT_TYPE, "application/json")
            .body(parameters.to_string());
        let request = with_cookie(request, cookie.as_ref())?;
        let reply = send(http, request, &server, env.now()).await?;
        read(&server, name, &reply)
    };
    match retried(deadline, 1, judge, attempt).await {
        Ok(outcome) => outcome.map_err(|error| advised(session, error)),
        Err(_) => Err(too_slow(&server, timeout)),
    }
}

fn name(origin: Origin) -> &'static str {
    match origin {
        Origin::Workbench => "Posit Workbench",
        Origin::Agent => "an agent",
        Origin::Hub => "a hub",
    }
}

fn read(server: &str, name: &str, reply: &Reply) -> Result<Value, Error> {
    if reply.status >= 400 {
        return Err(status_error(reply.status, None).at_status(reply.status));
    }
    let bad = || {
        let message = format!("the reply from {server} is none that {name} gives");
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
        read("your agent", "an agent", &reply)
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
