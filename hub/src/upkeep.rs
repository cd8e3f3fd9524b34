//! What the hub does by itself: every minute it throws away what has expired, and rows of the audit that are older than they
//! are kept for. First it looks whether the database is there.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::hub::Hub;
use crate::store::StoreError;

const EVERY: Duration = Duration::from_secs(60);

/// It, until this is dropped.
#[derive(Debug)]
pub(crate) struct Upkeep(JoinHandle<()>);

impl Upkeep {
    /// Begins at once.
    pub(crate) fn start(hub: &Arc<Hub>) -> Self {
        let hub = Arc::clone(hub);
        Self(tokio::spawn(async move {
            let mut minutes = interval(EVERY);
            minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                minutes.tick().await;
                if hub.probed().await.is_some() {
                    continue;
                }
                if let Err(error) = throw_away(&hub).await {
                    warn!(%error, "what has expired is still in the database");
                }
            }
        }))
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn throw_away(hub: &Hub) -> Result<(), StoreError> {
    let now = hub.now();
    hub.store.purge(now).await?;
    let kept_for = hub.configuration().audit.as_secs_f64();
    hub.store.purge_audit(now - kept_for).await?;
    Ok(())
}
