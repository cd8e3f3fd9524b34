//! The hub's database: who is signed in, who is bound to whom, what is open, and what has happened.
//!
//! Refresh tokens and sign-ins under way are sealed; rows that say who may act as whom carry a MAC; of random tokens and
//! cookies only hashes are kept. So who reads the file has nothing, and who writes it without the key gets nothing.

mod accounts;
mod audit;
mod bindings;
mod columns;
mod copy;
mod database;
mod error;
mod journal;
mod launchers;
mod memory;
mod migrations;
mod pairings;
mod place;
mod postgres;
mod purge;
mod rekey;
mod sessions;
mod sign_ins;
mod sqlite;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod threads;
mod web_sessions;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use entrar_core::time::UnixTime;

pub use accounts::{Person, Profile, ProfileNames};
pub use audit::{AuditRow, Event, Recorded};
pub use bindings::{Binding, Bound, BoundBy, LocalUser};
pub use copy::{Copied, CopyError, copy};
pub use error::StoreError;
pub use launchers::{From, Launcher};
pub use pairings::Change;
pub use postgres::Server;
pub use sessions::{NewSession, OpenedBy, Session, SessionId};
pub use state::{Counts, Work};
pub use web_sessions::{WebSession, WebSessionId};

use crate::keys::Keys;
use database::Db;
use journal::Journal;
use memory::Memory;
use threads::Threads;
use tracing::error;

/// Where a hub's database is.
#[derive(Clone, Debug, PartialEq)]
pub enum Database {
    /// In a file of SQLite's on this machine, which is made if there is none.
    File(PathBuf),
    /// On a server of PostgreSQL's, where other hubs can share it.
    Server(Box<Server>),
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(server) => server.fmt(f),
        }
    }
}

/// The database. Copies share it.
#[derive(Clone)]
pub struct Store {
    threads: Arc<Threads>,
    client_id: Arc<str>,
    /// Where other hubs may use it too, and it may be away.
    shared: Option<Arc<Shared>>,
}

/// What a hub keeps by itself for the time when the database is away.
struct Shared {
    memory: Memory,
    journal: Journal,
    /// How often an exchange has found that another hub uses the refresh token.
    turns_taken: AtomicU64,
}

impl Store {
    /// Opens the database and brings it to the newest schema.
    ///
    /// # Errors
    /// What is wrong with the place, the database or the keys, as a sentence for the administrator.
    pub async fn open(database: &Database, keys: Keys) -> Result<Self, StoreError> {
        let database = database.clone();
        let open = move || match database {
            Database::File(path) => Ok((sqlite::open(&path, keys)?, None)),
            Database::Server(server) => {
                let shared = Shared {
                    memory: Memory::new(server.grace()),
                    journal: Journal::open(server.journal())?,
                    turns_taken: AtomicU64::new(0),
                };
                Ok((postgres::open(&server, keys)?, Some(Arc::new(shared))))
            }
        };
        let opened: Result<Result<_, StoreError>, _> = tokio::task::spawn_blocking(open).await;
        let (threads, shared) = opened.map_err(|_| StoreError::Closed)??;
        Ok(Self {
            threads: Arc::new(threads),
            client_id: "".into(),
            shared,
        })
    }

    /// The same with the refresh tokens of the app with this id. Those of another app are no use to it, and are not seen.
    #[must_use]
    pub fn for_client(&self, client_id: &str) -> Self {
        Self {
            threads: Arc::clone(&self.threads),
            client_id: client_id.into(),
            shared: self.shared.clone(),
        }
    }

    /// When a change of now holds on every hub that shares the database; `None` if this is the only one, where it holds at once.
    #[must_use]
    pub fn holds_everywhere_at(&self, now: UnixTime) -> Option<UnixTime> {
        let grace = self.memory()?.grace().as_secs_f64();
        (grace > 0.0).then(|| now + grace)
    }

    fn memory(&self) -> Option<&Memory> {
        self.shared.as_deref().map(|shared| &shared.memory)
    }

    /// Writes what could not be written while the database was away, and forgets what does not count any more.
    ///
    /// # Errors
    /// Those of the database; then it is still to be written.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let Shared {
            memory, journal, ..
        } = &**shared;
        memory.forget_old();
        for (account, newer) in memory.unwritten() {
            match self.write_newer(account, &newer).await {
                Err(StoreError::Unavailable(why)) => return Err(StoreError::Unavailable(why)),
                // It keeps nothing else from being written.
                Err(error) => error!(%account, %error, "a newer refresh token is not kept"),
                Ok(()) => {}
            }
            memory.written(account, &newer);
        }
        loop {
            let (rows, length) = journal.rows().await?;
            if length == 0 {
                return Ok(());
            }
            let run = move |db: &Db<'_>| rows.iter().try_for_each(|row| audit::append(db, row));
            self.threads.write_beside(run).await?;
            journal.moved(length).await?;
        }
    }

    /// Does what is still queued, puts all of it into the one file and closes it. Copies of this store answer
    /// [`StoreError::Closed`] from then on.
    pub async fn close(self) {
        let threads = self.threads;
        // It only fails if the runtime is stopping, and then the process ends: what was answered is on disk.
        let _ = tokio::task::spawn_blocking(move || threads.close()).await;
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// A text in the database that means nothing to this program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a word that this program knows")]
pub struct UnknownWord(String);
