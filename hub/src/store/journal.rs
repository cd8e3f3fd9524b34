//! Rows of the audit that are written while a shared database is away: lines of JSON in a file of this machine's, which are
//! moved to the database when it is back. A row that was being moved when the hub was killed may come twice.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use entrar_broker::accounts::AccountId;
use entrar_core::time::UnixTime;
use nix::libc::O_NOFOLLOW;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tracing::warn;

use super::{AuditRow, LocalUser, StoreError};

/// How many rows are moved at once: so many that no server takes long over them.
const AT_ONCE: usize = 1_000;

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
        let file = options().create(true).open(path);
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
        let text = serde_json::to_string(&Line::of(row))
            .map_err(|error| StoreError::Fault(error.to_string()))?;
        // One before that was cut off must not take this one along.
        let line = format!("\n{text}\n");
        self.run(move |open| {
            open.file.write_all(line.as_bytes())?;
            open.file.sync_data()
        })
        .await
    }

    /// The first of the rows that are still to be moved, and how long they are. A line that was cut off is left out: nobody got
    /// a token for it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    pub(super) async fn rows(&self) -> Result<(Vec<AuditRow>, u64), StoreError> {
        self.run(|open| {
            let mut text = Vec::new();
            open.file.seek(SeekFrom::Start(0))?;
            open.file.read_to_end(&mut text)?;
            let (mut rows, mut length) = (Vec::new(), 0);
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                if rows.len() == AT_ONCE {
                    break;
                }
                length += line.len() as u64;
                match serde_json::from_slice::<Line>(line)
                    .ok()
                    .and_then(Line::row)
                {
                    Some(row) => rows.push(row),
                    None if line == b"\n" => {}
                    None => warn!("a line of the journal was cut off"),
                }
            }
            Ok((rows, length))
        })
        .await
    }

    /// The rows of this length have been moved. Those after them stay.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    pub(super) async fn moved(&self, length: u64) -> Result<(), StoreError> {
        self.run(move |open| {
            let mut rest = Vec::new();
            open.file.seek(SeekFrom::Start(length))?;
            open.file.read_to_end(&mut rest)?;
            if rest.is_empty() {
                open.file.set_len(0)?;
                return open.file.sync_data();
            }
            let path = open.path.with_extension("rest");
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = options().create_new(true).open(&path)?;
            file.write_all(&rest)?;
            file.sync_data()?;
            std::fs::rename(&path, &open.path)?;
            open.file = file;
            Ok(())
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

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .append(true)
        .mode(0o600)
        .custom_flags(O_NOFOLLOW);
    options
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

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;

    fn row(number: usize) -> AuditRow {
        AuditRow {
            at: UnixTime::of_whole(1_795_392_000),
            event: Event::Token,
            account: None,
            user: Some(LocalUser {
                uid: 1_001,
                name: "ada".to_owned(),
            }),
            session: None,
            machine: Some("a \"node\"\nof mine".to_owned()),
            resource: None,
            result: "ok".to_owned(),
            correlation_id: None,
            detail: Some(number.to_string()),
        }
    }

    #[tokio::test]
    async fn a_line_that_was_cut_off_takes_no_other_along() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let journal = Journal::open(&path).unwrap();
        journal.append(&row(1)).await.unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"at\":1795392000.0,\"eve").unwrap();
        // By another process, after a crash.
        let journal = Journal::open(&path).unwrap();
        journal.append(&row(2)).await.unwrap();
        let (rows, length) = journal.rows().await.unwrap();
        assert_eq!(rows, [row(1), row(2)]);
        journal.moved(length).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }

    #[tokio::test]
    async fn a_long_journal_is_moved_in_steps_and_what_comes_meanwhile_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let journal = Journal::open(&path).unwrap();
        for number in 0..AT_ONCE + 5 {
            journal.append(&row(number)).await.unwrap();
        }
        let (first, length) = journal.rows().await.unwrap();
        assert_eq!((first.len(), &first[0]), (AT_ONCE, &row(0)));
        journal.append(&row(7_777)).await.unwrap();
        journal.moved(length).await.unwrap();
        journal.append(&row(8_888)).await.unwrap();
        let (rest, length) = Journal::open(&path).unwrap().rows().await.unwrap();
        assert_eq!(rest.len(), 7);
        assert_eq!((&rest[0], &rest[6]), (&row(AT_ONCE), &row(8_888)));
        journal.moved(length).await.unwrap();
        assert_eq!(journal.rows().await.unwrap(), (Vec::new(), 0));
    }

    #[test]
    fn a_file_that_others_can_read_or_a_link_is_refused() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("open"), "").unwrap();
        std::fs::set_permissions(at("open"), std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink(at("elsewhere"), at("link")).unwrap();
        for name in ["open", "link", "missing/journal"] {
            assert!(Journal::open(&at(name)).is_err(), "{name}");
        }
        assert!(!at("elsewhere").exists());
    }
}
