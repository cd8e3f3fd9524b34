//! What can be wrong with the hub's database.

use entrar_broker::entra::Refusal;
use rusqlite::ErrorCode;

use crate::keys::KeyError;
use crate::seal::SealError;

/// Why the database does not do what was asked. Each is a sentence for the administrator; a person is told what
/// [`Refusal::from`] makes of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be read or written now, and perhaps later: the disk is full, or another process holds it.
    #[error("the database cannot be used now: {0}")]
    Unavailable(String),
    /// A row was written by somebody without the hub's key, or is of another row.
    #[error(
        "table {table} of the database holds a row that this hub did not write ({row}): somebody has changed the database"
    )]
    Forged {
        /// The table.
        table: &'static str,
        /// What names the row in it.
        row: String,
    },
    /// The key file holds another key than the one that the database was written with.
    #[error(
        "the key file holds other keys ({given}) than the database was written with ({known}); give this hub the database's key file"
    )]
    WrongKey {
        /// The names in the key file.
        given: String,
        /// The names that the database knows.
        known: String,
    },
    /// A key of the key file has the name of an earlier one and other bytes.
    #[error(
        "the key {0} of the key file is not the key of that name that the database was written with"
    )]
    OtherKey(String),
    /// A key that rows need is not in the key file.
    #[error(
        "the key file has no key {0}, under which parts of the database are sealed; put it back, below the first, until entrar-hub rekey has run"
    )]
    MissingKey(String),
    /// The database was written by a newer entrar-hub.
    #[error(
        "the database has schema {found}, and this entrar-hub knows schemas up to {newest}; it was opened by a newer entrar-hub, so run that one"
    )]
    Newer {
        /// Of the database.
        found: i64,
        /// The newest that this program knows.
        newest: i64,
    },
    /// Not everything has come to it yet.
    #[error(
        "a copy into the database was begun and is not finished: run the same entrar-hub copy again"
    )]
    Unfinished,
    /// The file is damaged or no database.
    #[error("{0} is damaged or not a database; put a back-up in its place")]
    Damaged(String),
    /// The file or its directory is not safe to use.
    #[error("{path} {fault}")]
    Place {
        /// The file or directory.
        path: String,
        /// The end of the sentence.
        fault: String,
    },
    /// The key file could not be read again.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// No random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
    /// It was closed: the hub is stopping.
    #[error("the database is closed")]
    Closed,
    /// A fault of this program's.
    #[error("the database refused what it was asked: {0}")]
    Fault(String),
}

impl StoreError {
    /// Of a seal or a MAC in this row.
    pub(super) fn of_seal(error: SealError, table: &'static str, row: &str) -> Self {
        match error {
            SealError::UnknownKey(id) => Self::MissingKey(id),
            SealError::Forged => Self::Forged {
                table,
                row: row.to_owned(),
            },
            SealError::NotSealed => Self::Random,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use ErrorCode as Code;
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(Code::DiskFull) => Self::Unavailable("the disk is full".to_owned()),
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
                Self::Unavailable("another process is writing to it".to_owned())
            }
            Some(
                Code::SystemIoFailure
                | Code::CannotOpen
                | Code::ReadOnly
                | Code::OutOfMemory
                | Code::PermissionDenied
                | Code::FileLockingProtocolFailed,
            ) => Self::Unavailable(text),
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => {
                Self::Damaged("the database".to_owned())
            }
            _ => Self::Fault(text),
        }
    }
}

impl From<getrandom::Error> for StoreError {
    fn from(_: getrandom::Error) -> Self {
        Self::Random
    }
}

impl From<StoreError> for Refusal {
    /// What a person is told: whether trying later may help. Paths and the rest are for the log.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Closed | StoreError::Random => Self::new(
                "temporarily_unavailable",
                "the hub's database cannot be used at the moment",
            ),
            _ => Self::new(
                "server_error",
                "the hub's database is not in order: tell the administrator, whose log says more",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_no_path_and_whether_later_helps() {
        let told = |error: StoreError| {
            let refusal = Refusal::from(error);
            assert!(!format!("{refusal:?}").contains("canary"));
            refusal.object()["error"].as_str().unwrap().to_owned()
        };
        let canary = || "/canary".to_owned();
        assert_eq!(
            told(StoreError::Unavailable(canary())),
            "temporarily_unavailable"
        );
        let forged = StoreError::Forged {
            table: "sessions",
            row: canary(),
        };
        assert_eq!(told(forged), "server_error");
        let place = StoreError::Place {
            path: canary(),
            fault: canary(),
        };
        assert_eq!(told(place), "server_error");
        assert_eq!(told(StoreError::Fault(canary())), "server_error");
    }
}
