//! What an agent is asked: by its owner's processes through the socket, and for tokens by whoever has the session's cookie.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use entrar_broker::accounts::AccountId;
use entrar_broker::entra::{Granted, Refusal};
use entrar_broker::listen::Peer;
use entrar_broker::rpc::{Desk, Refused, app};
use entrar_core::agent::{
    ACCEPT, ACCOUNT, ANSWER, Answer, BEGIN, CANCEL, Failure, OPEN_SESSION, SIGN_OUT, STATUS, STOP,
    SignIn, WAIT, Wait, Which,
};
use entrar_core::error::{Error, Kind};
use entrar_core::resource::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::state::Agent;

/// The longest that a request waits for a person, in seconds: shorter than what its sender waits for the reply.
const LONGEST_WAIT: f64 = 25.0;

/// All that is asked through the socket.
pub(super) fn everything(agent: Arc<Agent>) -> Router {
    Router::new()
        .route("/agent/{name}", post(answer))
        .with_state(Arc::clone(&agent))
        .merge(tokens(agent))
}

/// Tokens alone.
pub(super) fn tokens(agent: Arc<Agent>) -> Router {
    app(Arc::new(Tokens(agent)))
}

/// The broker's desk, at which the agent notes that it is of use: who is turned away does not keep it from ending.
struct Tokens(Arc<Agent>);

impl Desk for Tokens {
    type Caller = Option<AccountId>;

    async fn admit(
        &self,
        peer: Option<Peer>,
        headers: &HeaderMap,
    ) -> Result<Self::Caller, Refused> {
        let caller = self.0.broker.admit(peer, headers).await?;
        self.0.is_asked();
        Ok(caller)
    }

    async fn token(
        &self,
        caller: Self::Caller,
        resource: Result<Resource, Refusal>,
    ) -> Result<Granted, Refusal> {
        self.0.broker.token(caller, resource).await
    }
}

async fn answer(
    State(agent): State<Arc<Agent>>,
    Path(name): Path<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !agent.broker.admission().is_owner(Some(peer), &headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    agent.is_asked();
    let reply = match agent.asked(&name, &body).await {
        Ok(Some(result)) => json!({ "result": result }),
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => json!({ "failure": Failure::from(&error) }),
    };
    ([(CACHE_CONTROL, "no-store")], Json(reply)).into_response()
}

impl Agent {
    /// The result of a request; `None` if there is none of this name.
    async fn asked(self: &Arc<Self>, name: &str, body: &[u8]) -> Result<Option<Value>, Error> {
        let result = match name {
            BEGIN => written(self.begin(read::<SignIn>(body)?).await?),
            WAIT => {
                let Wait { id, seconds } = read(body)?;
                let seconds = if seconds.is_finite() { seconds } else { 0.0 };
                let longest = Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_WAIT));
                written(self.wait(&id, longest).await?)
            }
            ACCEPT => written(self.accept(&read::<Which>(body)?.id).await?),
            ANSWER => {
                let Answer { id, address } = read(body)?;
                written(self.answer(&id, &address).await?)
            }
            CANCEL => {
                self.cancel(&read::<Which>(body)?.id);
                Ok(Value::Null)
            }
            ACCOUNT => written(self.account()),
            SIGN_OUT => {
                let account = self.sign_out().await;
                self.end();
                written(account)
            }
            OPEN_SESSION => written(self.open_session().await?),
            STATUS => written(self.status().await),
            STOP => {
                self.end();
                Ok(Value::Null)
            }
            _ => return Ok(None),
        };
        result.map(Some)
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    // What serde says may quote the body, which holds secrets.
    serde_json::from_slice(body)
        .map_err(|_| Error::new(Kind::BadReply, "the agent does not understand this request"))
}

fn written(result: impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(result)
        .map_err(|_| Error::new(Kind::ServerError, "the agent's reply cannot be written"))
}

// Its peers are those of Unix sockets.
#[cfg(all(test, unix))]
mod tests {
    use std::time::Duration;

    use entrar_core::private_directory::own_uid;
    use tokio::time::{Instant, advance};

    use super::super::state::tests::{IDLE, agent};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_not_admitted_does_not_keep_it_from_ending() {
        let base = tempfile::tempdir().unwrap();
        let hour = Duration::from_secs(60 * 60);
        for (peer, is_admitted) in [
            (None, false),
            (Some(Peer::Tcp(([127, 0, 0, 1], 1).into())), false),
            (Some(Peer::Unix { uid: own_uid() + 1 }), false),
            (Some(Peer::Unix { uid: own_uid() }), true),
        ] {
            let agent = Arc::new(agent(base.path()));
            let begun = Instant::now();
            advance(hour).await;
            let tokens = Tokens(Arc::clone(&agent));
            let admitted = tokens.admit(peer, &HeaderMap::new()).await;
            assert_eq!(admitted.is_ok(), is_admitted, "{peer:?}");
            agent.idle().await;
            let later = if is_admitted { hour } else { Duration::ZERO };
            assert_eq!(begun.elapsed().as_secs(), (IDLE + later).as_secs());
        }
    }
}
