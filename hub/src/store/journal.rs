//! Rows of the audit that are written while a shared database is away: lines of JSON in a file of this machine's, which are
//! moved to the database when it is back. A row that was being moved when the hub was killed may come twice.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use entrar_broker::accounts::AccountId;
use entrar_core::time::UnixTime;
use nix::libc::O_NOFOLLOW;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::{AuditRow, LocalUser, StoreError};

/// The file, as long as the hub serves.
#[derive(Clone, Debug)]
pub(super) struct Journal(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
}

/// A line.
#[derive(Debug, Deserialize, Serialize)]
struct Line {
    at: f64,
    event: String,
    account: Option<(String, String)>,
    user: Option<(u32, String)>,
    session: Option<String>,
    machine: Option<String>,
    resource: Option<String>,
    result: String,
    correlation_id: Option<String>,
    detail: Option<String>,
}

impl Journal {
    /// Opens the file, which is made if there is none. It is its owner's alone.
    ///
    /// # Errors
    /// [`StoreError::Place`]
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let unusable = |fault: String| StoreError::Place {
            path: path.display().to_string(),
            fault,
        };
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(O_NOFOLLOW)
            .open(path);
        let file = file.map_err(|error| unusable(format!("cannot be opened: {error}")))?;
        let found = file
            .metadata()
            .map_err(|error| unusable(error.to_string()))?;
        if !found.is_file() || found.mode() & 0o077 != 0 {
            return Err(unusable(
                "is not a file of its owner's alone: chmod 600".to_owned(),
            ));
        }
        Ok(Self(Arc::new(Mutex::new(Open {
            path: path.to_owned(),
            file,
        }))))
    }

    /// Adds a row; it is on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    pub(super) async fn append(&self, row: &AuditRow) -> Result<(), StoreError> {
        let mut line = serde_json::to_vec(&Line::of(row))
            .map_err(|error| StoreError::Fault(error.to_string()))?;
        line.push(b'\n');
        self.run(move |open| {
            open.file.write_all(&line)?;
            open.file.sync_data()
        })
        .await
    }

    /// The rows that are still to be moved, and how long they are. A line that a power cut has cut off is left out: nobody got
    /// a token for it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    pub(super) async fn rows(&self) -> Result<(Vec<AuditRow>, u64), StoreError> {
        self.run(|open| {
            let mut text = Vec::new();
            open.file.seek(SeekFrom::Start(0))?;
            open.file.read_to_end(&mut text)?;
            let lines = text.split(|byte| *byte == b'\n');
            let rows = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok()?.row());
            Ok((rows.collect(), text.len() as u64))
        })
        .await
    }

    /// The rows of this length have been moved. Those that came since stay.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    pub(super) async fn moved(&self, length: u64) -> Result<(), StoreError> {
        self.run(move |open| {
            let mut rest = Vec::new();
            open.file.seek(SeekFrom::Start(length))?;
            open.file.read_to_end(&mut rest)?;
            open.file.set_len(0)?;
            open.file.write_all(&rest)?;
            open.file.sync_data()
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Open) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let journal = self.clone();
        let run = move || {
            let mut open = journal.locked();
            run(&mut open).map_err(|error| {
                StoreError::Unavailable(format!("{}: {error}", open.path.display()))
            })
        };
        spawn_blocking(run).await.map_err(|_| StoreError::Closed)?
    }

    /// What is written half is left out when it is read.
    fn locked(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn of(row: &AuditRow) -> Self {
        let AuditRow {
            at,
            event,
            account,
            user,
            session,
            machine,
            resource,
            result,
            correlation_id,
            detail,
        } = row.clone();
        Self {
            at: at.seconds(),
            event: event.as_str().to_owned(),
            account: account.map(|it| (it.tid.to_string(), it.oid.to_string())),
            user: user.map(|it| (it.uid, it.name)),
            session,
            machine,
            resource,
            result,
            correlation_id,
            detail,
        }
    }

    fn row(self) -> Option<AuditRow> {
        let account = match self.account {
            Some((tid, oid)) => Some(AccountId {
                tid: tid.parse().ok()?,
                oid: oid.parse().ok()?,
            }),
            None => None,
        };
        Some(AuditRow {
            at: UnixTime::new(self.at),
            event: self.event.parse().ok()?,
            account,
            user: self.user.map(|(uid, name)| LocalUser { uid, name }),
            session: self.session,
            machine: self.machine,
            resource: self.resource,
            result: self.result,
            correlation_id: self.correlation_id,
            detail: self.detail,
        })
    }
}
