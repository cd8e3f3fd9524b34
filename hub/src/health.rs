//! What the hub knows of its own state: whether it is stopping, and since when its database is away.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use entrar_core::time::UnixTime;
use tracing::{error, info};

/// The state. Whoever meets it first tells of it here.
#[derive(Debug, Default)]
pub struct Health {
    is_stopping: AtomicBool,
    database: Mutex<Option<Away>>,
}

/// The database is away.
#[derive(Clone, Debug, PartialEq)]
pub struct Away {
    /// Since when.
    pub since: UnixTime,
    /// What was said of it first.
    pub why: String,
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { since, why } = self;
        write!(f, "the database is away since {}: {why}", since.to_iso())
    }
}

impl Health {
    /// The database does not do what it is asked, as a part has noticed. It is away from the first time that this is said.
    pub fn database_is_away(&self, why: impl fmt::Display, now: UnixTime) {
        let mut database = self.database();
        if database.is_none() {
            error!(%why, "the database is away");
            *database = Some(Away {
                since: now,
                why: why.to_string(),
            });
        }
    }

    /// The database does what it is asked.
    pub fn database_is_back(&self) {
        if let Some(away) = self.database().take() {
            info!(since = %away.since.to_iso(), "the database is back");
        }
    }

    /// Since when the database is away, and why; `None` if it is there.
    #[must_use]
    pub fn database_away(&self) -> Option<Away> {
        self.database().clone()
    }

    /// The hub takes no more requests.
    pub(crate) fn stopping(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// Whether it takes no more requests.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// No change under the lock can stop half-way, so one poisoned by a panic elsewhere guards sound data.
    fn database(&self) -> MutexGuard<'_, Option<Away>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_away_since_the_first_who_said_so() {
        let health = Health::default();
        health.database_is_away("the disk is full", UnixTime::of_whole(1_795_392_000));
        health.database_is_away("something else", UnixTime::of_whole(1_795_392_060));
        assert_eq!(
            health.database_away().unwrap().to_string(),
            "the database is away since 2026-11-23T00:00:00Z: the disk is full"
        );
        health.database_is_back();
        assert_eq!(health.database_away(), None);
    }
}
