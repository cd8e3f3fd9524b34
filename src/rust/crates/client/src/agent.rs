//! What is asked of the person's agent beside tokens: the wire is described in [`entrar_core::agent`].

use std::time::Duration;

use entrar_core::agent::PATH;
use entrar_core::env::Env;
use entrar_core::error::Error;
use entrar_core::http::Http;
use serde_json::Value;

use crate::origin::{Origin, Session};
use crate::question;

/// Asks the agent behind a session's socket for `name`, one of the names in [`entrar_core::agent`], with these
/// parameters, within `timeout` in all.
///
/// # Errors
/// The agent's own failure; [`Kind::NoSession`](entrar_core::error::Kind::NoSession) if it is not running any more, or the
/// session is not one of the agent's socket; those of a request.
pub async fn ask(
    http: &Http,
    env: &Env,
    session: &Session,
    name: &str,
    parameters: &Value,
    timeout: Duration,
) -> Result<Value, Error> {
    let session = (session, Origin::Agent);
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
