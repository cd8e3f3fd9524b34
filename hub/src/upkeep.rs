//! What the hub does by itself: every minute it throws away what has expired, and rows of the audit that are older than they
//! are kept for. Every second it writes what could not be written while a shared database was away. First it looks whether the
//! database is there.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::hub::Hub;
use crate::store::StoreError;

const EVERY: Duration = Duration::from_secs(60);
const CATCH_UP: Duration = Duration::from_secs(1);

/// It, until this is dropped.
#[derive(Debug)]
pub(crate) struct Upkeep([JoinHandle<()>; 2]);

impl Upkeep {
    /// Begins at once.
    pub(crate) fn start(hub: &Arc<Hub>) -> Self {
        Self([
            tokio::spawn(keep_small(Arc::clone(hub))),
            tokio::spawn(catch_up(Arc::clone(hub))),
        ])
    }
}

async fn keep_small(hub: Arc<Hub>) {
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
}

async fn catch_up(hub: Arc<Hub>) {
    let mut seconds = interval(CATCH_UP);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Said once, not every second.
    let mut is_behind = false;
    loop {
        seconds.tick().await;
        match hub.store.catch_up().await {
            Ok(()) if is_behind => {
                info!("what was kept while the database was away is written");
                is_behind = false;
            }
            Ok(()) => {}
            Err(error) if !is_behind => {
                warn!(%error, "people seen lately go on while the database is away");
                is_behind = true;
            }
            Err(_) => {}
        }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn throw_away(hub: &Hub) -> Result<(), StoreError> {
    let now = hub.now();
    hub.store.purge(now).await?;
    let kept_for = hub.configuration().audit.as_secs_f64();
    hub.store.purge_audit(now - kept_for).await?;
    Ok(())
}
