//! What load balancers and monitoring ask, at an address of its own: `/health/live`, `/health/ready` and `/metrics`.
//!
//! | path | 200 | 503 |
//! |---|---|---|
//! | `/health/live` | `alive` | never: where the hub does not answer it is not alive |
//! | `/health/ready` | `ready` | `degraded: …` or `stopping`, in a sentence for people |
//! | `/metrics` | [`crate::metrics`] | never |

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use entrar_broker::exchange::Load;
use prometheus_client::encoding::prometheus_text::CONTENT_TYPE as METRICS;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::health::Away;
use crate::hub::Hub;
use crate::store::Counts;

/// How long the database may take to write.
const PROBE: Duration = Duration::from_secs(3);
/// How long an answer of the database is good: whoever asks all the time does not make it write all the time.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Asks the database whether it writes, and what is in it.
#[derive(Debug, Default)]
pub struct Probe {
    asked: Mutex<Option<Instant>>,
    counting: Mutex<()>,
}

/// The routes.
pub fn routes(hub: &Arc<Hub>) -> Router {
    Router::new()
        .route("/health/live", get(|| async { text("alive\n") }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(hub))
}

fn text(text: impl Into<String>) -> Response {
    let headers = [(CACHE_CONTROL, "no-store")];
    (headers, text.into()).into_response()
}

async fn ready(State(hub): State<Arc<Hub>>) -> Response {
    let answer = |answer: String| (StatusCode::SERVICE_UNAVAILABLE, text(answer)).into_response();
    if hub.health.is_stopping() {
        return answer("stopping\n".to_owned());
    }
    match hub.probed().await {
        None => text("ready\n"),
        Some(away) => answer(format!("degraded: {away}\n")),
    }
}

async fn metrics(State(hub): State<Arc<Hub>>) -> Response {
    let is_up = hub.probed().await.is_none();
    let counts = match is_up {
        true => hub.counted().await,
        false => None,
    };
    let none = Load {
        under_way: 0,
        waiting: 0,
    };
    let load = hub.exchanges_if_any().map_or(none, |it| it.load());
    match hub
        .metrics
        .text(load, hub.store.work(), is_up, counts.as_ref())
    {
        Ok(text) => ([(CONTENT_TYPE, METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Hub {
    /// What is in the database. Counting takes the longer the more people there are: whoever asks all the time keeps one of its
    /// connections busy, and no more.
    async fn counted(&self) -> Option<Counts> {
        let _counting = self.probe.counting.lock().await;
        self.store.counts(self.now()).await.ok()
    }

    /// Since when the database is away, after it was asked to write.
    pub(crate) async fn probed(&self) -> Option<Away> {
        // One at a time: who comes meanwhile takes the same answer.
        let mut last = self.probe.asked.lock().await;
        if last.is_none_or(|last| last.elapsed() >= GOOD_FOR) {
            match timeout(PROBE, self.store.probe()).await {
                Ok(Ok(())) => self.health.database_is_back(),
                Ok(Err(fault)) => self.health.database_is_away(fault, self.now()),
                Err(_) => {
                    let why = format!("it has not written for {} seconds", PROBE.as_secs());
                    self.health.database_is_away(why, self.now());
                }
            }
            *last = Some(Instant::now());
        }
        self.health.database_away()
    }
}
