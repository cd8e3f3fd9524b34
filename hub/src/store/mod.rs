//! The hub's database: who is signed in, who is bound to whom, what is open, and what has happened.
//!
//! Refresh tokens and sign-ins under way are sealed; rows that say who may act as whom carry a MAC; of random tokens and
//! cookies only hashes are kept. So who reads the file has nothing, and who writes it without the key gets nothing.

mod accounts;
mod audit;
mod bindings;
mod error;
mod launchers;
mod migrations;
mod pairings;
mod place;
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
mod web_sessions;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use entrar_broker::accounts::AccountId;
use entrar_core::guid::Guid;
use rusqlite::Row;
use rusqlite::types::Type;

pub use accounts::{Person, Profile, ProfileNames};
pub use audit::{AuditRow, Event, Recorded};
pub use bindings::{Binding, Bound, BoundBy, LocalUser};
pub use error::StoreError;
pub use launchers::{From, Launcher};
pub use pairings::Change;
pub use sessions::{NewSession, OpenedBy, Session, SessionId};
pub use state::Counts;
pub use web_sessions::{WebSession, WebSessionId};

use crate::keys::Keys;
use sqlite::Threads;

/// The database. Copies share it.
#[derive(Clone)]
pub struct Store {
    threads: Arc<Threads>,
    client_id: Arc<str>,
}

impl Store {
    /// Opens the database in this file, which is made if there is none, and brings it to the newest schema.
    ///
    /// # Errors
    /// What is wrong with the place, the database or the keys, as a sentence for the administrator.
    pub async fn open(path: &Path, keys: Keys) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || Threads::open(&path, keys)).await;
        Ok(Self {
            threads: Arc::new(opened.map_err(|_| StoreError::Closed)??),
            client_id: "".into(),
        })
    }

    /// The same with the refresh tokens of the app with this id. Those of another app are no use to it, and are not seen.
    #[must_use]
    pub fn for_client(&self, client_id: &str) -> Self {
        Self {
            threads: Arc::clone(&self.threads),
            client_id: client_id.into(),
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

/// The account in these two columns.
fn account_at(row: &Row<'_>, tid: usize, oid: usize) -> rusqlite::Result<AccountId> {
    Ok(AccountId {
        tid: guid_at(row, tid)?,
        oid: guid_at(row, oid)?,
    })
}

fn guid_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Guid> {
    parsed_at(row, column)
}

/// A column of text that reads as something.
fn parsed_at<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

/// A text in the database that means nothing to this program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a word that this program knows")]
pub struct UnknownWord(String);
