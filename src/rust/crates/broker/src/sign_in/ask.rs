//! A question to the tenant before anybody has signed in: where it is, or for a code to type.

use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::http::{Http, Reply, Settings, send};
use entrar_core::retry::{RETRIES, retried};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use super::failure::{of_object, with_remedy};

/// How long the tenant may take, retries included.
const DEADLINE: Duration = Duration::from_secs(20);

/// What the tenant said.
#[derive(Debug)]
pub(super) struct Said {
    /// HTTP status.
    pub(super) status: u16,
    /// The JSON object, which is no OAuth error; `None` for anything else.
    pub(super) object: Option<Map<String, Value>>,
}

/// Asks, by GET or with a form. Faults that pass are tried at most twice more.
///
/// # Errors
/// The tenant's OAuth error; [`Kind::Timeout`] after 20 seconds; [`Kind::Unavailable`] and [`Kind::Throttled`] by HTTP
/// status; what keeps the tenant from being reached.
pub(super) async fn ask(
    env: &Env,
    server: &str,
    url: &Url,
    form: Option<&str>,
) -> Result<Said, Error> {
    let http = Http::new(Settings::new(env, url))?;
    let attempt = || async {
        let request = match form {
            None => http.client().get(url.clone()),
            Some(form) => http
                .client()
                .post(url.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.to_owned()),
        };
        read(server, send(&http, request, server, env.now()).await?)
    };
    let judge = |error: &Error| (error.outlook(), error.details().retry_after);
    let deadline = Instant::now() + DEADLINE;
    match retried(deadline, RETRIES, judge, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(with_remedy(
            Kind::Timeout,
            &format!(
                "{server} gave no answer within {} seconds",
                DEADLINE.as_secs()
            ),
            "Check this machine's network and proxy, and sign in again.",
        )),
    }
}

fn read(server: &str, reply: Reply) -> Result<Said, Error> {
    let Reply {
        status,
        retry_after,
        body,
        ..
    } = reply;
    let object = match serde_json::from_str(&body) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    };
    let kind = match status {
        429 => Some(Kind::Throttled),
        500.. => Some(Kind::Unavailable),
        _ => None,
    };
    match (object, kind) {
        (Some(object), _) if object.get("error").is_some_and(Value::is_string) => {
            Err(of_object(&object, &[]))
        }
        (_, Some(kind)) => {
            let message =
                format!("{server} takes no requests at the moment (HTTP status {status})");
            Err(Error::new(kind, message).waiting(retry_after))
        }
        (object, None) => Ok(Said { status, object }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str) -> Result<Said, Error> {
        let reply = Reply {
            status,
            retry_after: Some(7.0),
            is_plain_text: false,
            body: body.to_owned(),
        };
        read("https://id.example", reply)
    }

    #[test]
    fn an_object_is_told_from_an_error_and_from_anything_else() {
        assert!(said(200, r#"{"a": 1}"#).unwrap().object.is_some());
        for body in ["", "[]", "canary"] {
            let said = said(404, body).unwrap();
            assert_eq!((said.status, said.object.is_none()), (404, true), "{body}");
        }
        let body = r#"{"error": "invalid_tenant", "error_description": "AADSTS90002: no."}"#;
        let error = said(400, body).unwrap_err();
        assert_eq!(error.kind(), Kind::Misconfigured);
        for (status, kind) in [
            (429, Kind::Throttled),
            (500, Kind::Unavailable),
            (503, Kind::Unavailable),
        ] {
            let error = said(status, "canary").unwrap_err();
            assert_eq!(error.kind(), kind, "{status}");
            assert_eq!(error.details().retry_after, Some(7.0));
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
}
