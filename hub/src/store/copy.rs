//! Moving from a file of SQLite's to a server of PostgreSQL's: every row as it is, compared afterwards, and begun again where
//! it was interrupted.
//!
//! Nothing is sealed anew: both databases are under the same keys. While it runs nobody else has the file open, and no hub serves
//! from a server to which not everything has come.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use entrar_core::time::UnixTime;

use super::columns::{Column, Row, Value};
use super::database::{Connection as _, Db, SharedKeys, check_keys};
use super::postgres::{self, Session};
use super::threads::Work;
use super::{AuditRow, Event, Server, StoreError, audit, migrations, sqlite};
use super::{accounts, bindings, launchers, pairings, sessions, sign_ins, web_sessions};
use crate::keys::Keys;

/// Rows that go in one transaction. A statement has room for 65,535 values.
const BATCH: usize = 200;
/// The lock of who copies, for as long as the connection lives.
const LOCK: i64 = 0x656e_7472_6173;
/// Rows of the table `state`: when a copy into this database was begun, and when it was whole.
const BEGUN: &str = "copy_begun";
const FINISHED: &str = "copy_finished";

/// Why a database is not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The file is missing.
    #[error("there is no database to copy: {0} does not exist")]
    Missing(PathBuf),
    /// The file is in use.
    #[error(
        "the hub serves from {0}, or another process has it open: stop the hub first, and leave it stopped"
    )]
    InUse(PathBuf),
    /// The file.
    #[error("{path}: {error}")]
    Source {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        error: StoreError,
    },
    /// The server.
    #[error("{server}: {error}")]
    Target {
        /// Which.
        server: String,
        /// What is wrong.
        error: StoreError,
    },
    /// Somebody else copies there.
    #[error("another copy into {0} is under way")]
    UnderWay(String),
    /// There is something on the server already.
    #[error(
        "{server} holds data of a hub in table {table}, which no copy has put there; name an empty database"
    )]
    NotEmpty {
        /// Which server.
        server: String,
        /// A table that has rows.
        table: &'static str,
    },
    /// It was done before.
    #[error("{server} has held the whole copy since {}: there is nothing to do", finished.to_iso())]
    Finished {
        /// Which server.
        server: String,
        /// Since when.
        finished: UnixTime,
    },
    /// A row is another one on the server.
    #[error(
        "table {table}: the row {row} is another one on the server (column {column}); the hub has served meanwhile, or somebody has changed one of the two. Nothing was overwritten: give the copy a new, empty database"
    )]
    Differs {
        /// The table.
        table: &'static str,
        /// What names the row in it.
        row: String,
        /// The first column that differs.
        column: &'static str,
    },
    /// A row was written and is not there.
    #[error("table {table}: the row {row} is not on the server, though it was written there")]
    Lost {
        /// The table.
        table: &'static str,
        /// What names the row in it.
        row: String,
    },
    /// There are more rows on the server.
    #[error(
        "table {table}: the server has {there} rows, the file {here}; the hub has served meanwhile, or somebody has changed one of the two. Give the copy a new, empty database"
    )]
    More {
        /// The table.
        table: &'static str,
        /// In the file.
        here: u64,
        /// On the server.
        there: u64,
    },
    /// A text that PostgreSQL cannot hold.
    #[error(
        "table {table}: the row {row} holds the character of code 0, which PostgreSQL does not keep; end what it stands for, and copy again"
    )]
    Null {
        /// The table.
        table: &'static str,
        /// What names the row in it.
        row: String,
    },
}

/// What came of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The table.
    pub table: &'static str,
    /// Its rows, each of which was found the same on both sides.
    pub rows: u64,
    /// Those that were written now; the others were there already.
    pub written: u64,
    /// The first row that the keys did not make. It is no more use there than it was here.
    pub forged: Option<StoreError>,
}

/// Whether rows that meet a condition were made with the keys.
type Check = fn(&Db<'_>, &str, &[Value<'_>]) -> Result<(), StoreError>;

/// A table, whose first columns name a row.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [&'static str],
    pub(super) named_by: usize,
    check: Option<Check>,
}

/// Parents come before children. The lease of a refresh token is left out: it is of a hub that serves.
pub(super) const TABLES: [Table; 12] = [
    Table {
        name: "keys",
        columns: &["id", "check_value"],
        named_by: 1,
        check: None,
    },
    Table {
        name: "accounts",
        columns: &["tid", "oid", "username", "name", "signed_in_at"],
        named_by: 2,
        check: None,
    },
    Table {
        name: "refresh_tokens",
        columns: &["tid", "oid", "client_id", "version", "sealed", "key_id"],
        named_by: 3,
        check: Some(accounts::check),
    },
    Table {
        name: "bindings",
        columns: &[
            "tid",
            "oid",
            "uid",
            "user_name",
            "bound_by",
            "bound_at",
            "mac",
            "key_id",
        ],
        named_by: 2,
        check: Some(bindings::check),
    },
    Table {
        name: "sessions",
        columns: &[
            "id",
            "cookie_hash",
            "uid",
            "user_name",
            "launcher",
            "machine",
            "opened_at",
            "expires_at",
            "last_used",
            "mac",
            "key_id",
        ],
        named_by: 1,
        check: Some(sessions::check),
    },
    Table {
        name: "ended_sessions",
        columns: &["id", "cookie_hash", "expires_at"],
        named_by: 1,
        check: None,
    },
    Table {
        name: "web_sessions",
        columns: &[
            "id",
            "cookie_hash",
            "tid",
            "oid",
            "opened_at",
            "expires_at",
            "mac",
            "key_id",
        ],
        named_by: 1,
        check: Some(web_sessions::check),
    },
    Table {
        name: "sign_ins",
        columns: &[
            "state_hash",
            "browser_hash",
            "expires_at",
            "sealed",
            "key_id",
        ],
        named_by: 1,
        check: Some(sign_ins::check),
    },
    Table {
        name: "launchers",
        columns: &[
            "name",
            "key_hash",
            "users",
            "uid",
            "network",
            "added_at",
            "expires_at",
            "mac",
            "key_id",
        ],
        named_by: 1,
        check: Some(launchers::check),
    },
    Table {
        name: "permits",
        columns: &["uid", "user_name", "expires_at", "mac", "key_id"],
        named_by: 1,
        check: Some(pairings::check_permits),
    },
    Table {
        name: "pairings",
        columns: &["ticket_hash", "expires_at", "sealed", "key_id"],
        named_by: 1,
        check: Some(pairings::check),
    },
    Table {
        name: AUDIT,
        columns: &[
            "id",
            "at",
            "event",
            "tid",
            "oid",
            "uid",
            "user_name",
            "session",
            "machine",
            "resource",
            "result",
            "correlation_id",
            "detail",
        ],
        named_by: 1,
        check: None,
    },
];
const AUDIT: &str = "audit";

/// Copies the database in a file to a server. `told` hears of each table; `by` is the uid of who copies, for the audit.
///
/// # Errors
/// Why it is not done. What has come over by then stays, and the next call goes on from there.
pub async fn copy(
    from: &Path,
    to: &Server,
    keys: Keys,
    by: u32,
    mut told: impl FnMut(&Copied) + Send + 'static,
) -> Result<(), CopyError> {
    let (from, to) = (from.to_owned(), to.clone());
    let closed = CopyError::Source {
        path: from.clone(),
        error: StoreError::Closed,
    };
    let run = move || {
        let copying = Copying::begin(from, &to, keys)?;
        for table in &TABLES {
            let copied = copying.table(table)?;
            told(&copied);
        }
        copying.finish(by)
    };
    // It only fails if the runtime is stopping.
    tokio::task::spawn_blocking(run)
        .await
        .unwrap_or(Err(closed))
}

/// Whether all of a copy has come to this database, if one was ever begun.
///
/// # Errors
/// [`StoreError::Unfinished`], and those of the database.
pub(super) fn is_whole(db: &Db<'_>) -> Result<(), StoreError> {
    let begun = state(db, BEGUN)?;
    match begun {
        Some(_) if state(db, FINISHED)?.is_none() => Err(StoreError::Unfinished),
        _ => Ok(()),
    }
}

fn state(db: &Db<'_>, name: &str) -> Result<Option<f64>, StoreError> {
    db.row("SELECT value FROM state WHERE name = ?", (name,), |row| {
        row.get(0)
    })
}

/// Both sides of a copy that is under way.
struct Copying {
    path: PathBuf,
    source: rusqlite::Connection,
    server: String,
    target: Session,
    keys: SharedKeys,
}

impl Copying {
    /// Takes both sides, and sees that they are fit.
    fn begin(path: PathBuf, to: &Server, keys: Keys) -> Result<Self, CopyError> {
        if std::fs::symlink_metadata(&path).is_err() {
            return Err(CopyError::Missing(path));
        }
        let keys: SharedKeys = Arc::new(RwLock::new(keys));
        let source = match sqlite::alone(&path, &keys) {
            Err(StoreError::Unavailable(_)) => return Err(CopyError::InUse(path)),
            source => source.map_err(|error| CopyError::Source {
                path: path.clone(),
                error,
            })?,
        };
        let server = to.to_string();
        let target = postgres::alone(to).map_err(|error| CopyError::Target {
            server: server.clone(),
            error,
        })?;
        let copying = Self {
            path,
            source,
            server,
            target,
            keys,
        };
        copying.take()?;
        Ok(copying)
    }

    /// Takes the server's database, if it is empty or a copy into it was begun.
    fn take(&self) -> Result<(), CopyError> {
        let there = self.there();
        let is_free = there.row("SELECT pg_try_advisory_lock(?)", (LOCK,), |row| row.get(0));
        if is_free.map_err(self.of_target())? != Some(true) {
            return Err(CopyError::UnderWay(self.server.clone()));
        }
        self.in_transaction(Work::Write, || {
            let prepared =
                migrations::migrate_postgres(&self.target).and_then(|()| check_keys(&there));
            prepared.map_err(self.of_target())?;
            let at = |name| state(&there, name).map_err(self.of_target());
            match (at(BEGUN)?, at(FINISHED)?) {
                (Some(_), None) => Ok(()),
                (_, Some(finished)) => Err(CopyError::Finished {
                    server: self.server.clone(),
                    finished: UnixTime::new(finished),
                }),
                (None, None) => {
                    // A hub that was started there, or `check`, has made its keys known.
                    for Table { name, .. } in TABLES.iter().skip(1) {
                        if self.any(name)? {
                            return Err(CopyError::NotEmpty {
                                server: self.server.clone(),
                                table: name,
                            });
                        }
                    }
                    self.note(BEGUN)
                }
            }
        })
    }

    fn any(&self, table: &str) -> Result<bool, CopyError> {
        let sql = format!("SELECT 1 FROM {table} LIMIT 1");
        let sql = format!("SELECT EXISTS ({sql})");
        let any = self.there().row(&sql, (), |row| row.get::<bool>(0));
        Ok(any.map_err(self.of_target())? == Some(true))
    }

    fn note(&self, name: &str) -> Result<(), CopyError> {
        let sql = "INSERT INTO state (name, value) VALUES (?, ?)";
        let noted = self.there().execute(sql, (name, UnixTime::now()));
        noted.map(|_| ()).map_err(self.of_target())
    }

    /// Writes the rows that are not there, and then compares them all.
    fn table(&self, table: &Table) -> Result<Copied, CopyError> {
        let mut written = 0;
        self.batches(table, |rows| {
            let missing = self.missing(table, rows)?;
            if !missing.is_empty() {
                self.in_transaction(Work::WriteBeside, || self.insert(table, &missing))?;
                written += missing.len() as u64;
            }
            Ok(())
        })?;
        let mut forged = None;
        let here = self.batches(table, |rows| {
            if let Some(lost) = self.missing(table, rows)?.first() {
                return Err(CopyError::Lost {
                    table: table.name,
                    row: table.name_of(lost),
                });
            }
            if let Some(check) = table.check
                && forged.is_none()
            {
                match check(
                    &self.there(),
                    &table.condition(rows.len()),
                    &table.names(rows),
                ) {
                    // What cannot even be read was not written by a hub either.
                    Err(error @ (StoreError::Forged { .. } | StoreError::Fault(_))) => {
                        forged = Some(error);
                    }
                    outcome => outcome.map_err(self.of_target())?,
                }
            }
            Ok(())
        })?;
        let sql = format!("SELECT count(*) FROM {}", table.name);
        let there = self.there().row(&sql, (), |row| row.get::<i64>(0));
        let there = there
            .map_err(self.of_target())?
            .unwrap_or_default()
            .unsigned_abs();
        if there != here {
            return Err(CopyError::More {
                table: table.name,
                here,
                there,
            });
        }
        Ok(Copied {
            table: table.name,
            rows: here,
            written,
            forged,
        })
    }

    /// Does something with all rows of the file, some at a time; how many there are.
    fn batches(
        &self,
        table: &Table,
        mut each: impl FnMut(&[Kept]) -> Result<(), CopyError>,
    ) -> Result<u64, CopyError> {
        let sql = format!("SELECT {} FROM {}", table.columns.join(", "), table.name);
        let statement = self.source.prepare(&sql);
        let mut statement = statement.map_err(|error| self.of_source(error.into()))?;
        let mut found = statement
            .query(())
            .map_err(|error| self.of_source(error.into()))?;
        let mut count = 0;
        loop {
            let mut rows = Vec::new();
            while rows.len() < BATCH {
                match found.next().map_err(|error| self.of_source(error.into()))? {
                    Some(row) => rows.push(self.read(table, row)?),
                    None => break,
                }
            }
            if rows.is_empty() {
                return Ok(count);
            }
            count += rows.len() as u64;
            each(&rows)?;
        }
    }

    fn read(&self, table: &Table, row: &rusqlite::Row<'_>) -> Result<Kept, CopyError> {
        let mut row = table
            .read(&Row::Sqlite(row))
            .map_err(|error| self.of_source(error))?;
        let mut has_null = false;
        for cell in &mut row {
            if let Cell::Text(text) = cell
                && text.contains('\0')
            {
                // What others have written stands in the audit, whose rows nobody can take away.
                *text = text.replace('\0', "\u{FFFD}");
                has_null = table.name != AUDIT;
            }
        }
        if has_null {
            return Err(CopyError::Null {
                table: table.name,
                row: table.name_of(&row),
            });
        }
        Ok(row)
    }

    /// Those of the rows that are not on the server. One that is another one there is an error.
    fn missing<'a>(&self, table: &Table, rows: &'a [Kept]) -> Result<Vec<&'a Kept>, CopyError> {
        let sql = format!(
            "SELECT {} FROM {} WHERE {}",
            table.columns.join(", "),
            table.name,
            table.condition(rows.len())
        );
        let names = table.names(rows);
        let there = self.there().rows(&sql, names, |row| table.read(row));
        let there: HashSet<Kept> = there.map_err(self.of_target())?.into_iter().collect();
        let by_name: HashMap<&[Cell], &Kept> =
            there.iter().map(|row| (table.key(row), row)).collect();
        let mut missing = Vec::new();
        for row in rows {
            match by_name.get(table.key(row)) {
                None => missing.push(row),
                Some(other) if *other == row => {}
                Some(other) => return Err(table.differs(row, other)),
            }
        }
        Ok(missing)
    }

    fn insert(&self, table: &Table, rows: &[&Kept]) -> Result<(), CopyError> {
        let one = format!("({})", vec!["?"; table.columns.len()].join(", "));
        let sql = format!(
            "INSERT INTO {} ({}) {} VALUES {}",
            table.name,
            table.columns.join(", "),
            // Numbers stay what they are.
            if table.name == AUDIT {
                "OVERRIDING SYSTEM VALUE"
            } else {
                ""
            },
            vec![one; rows.len()].join(", ")
        );
        let values: Vec<Value<'_>> = rows.iter().copied().flatten().map(Cell::value).collect();
        let inserted = self.target.execute(&sql, &values);
        inserted.map(|_| ()).map_err(self.of_target())
    }

    /// Sets what goes on from what was copied, and says in the audit that it was.
    fn finish(&self, by: u32) -> Result<(), CopyError> {
        let here = self.here();
        let number = |sql: &str| -> Result<i64, CopyError> {
            let number = here.row(sql, (), |row| row.get::<i64>(0));
            Ok(number
                .map_err(|error| self.of_source(error))?
                .unwrap_or_default())
        };
        let version = number("SELECT value FROM state WHERE name = 'refresh_token_version'")?;
        let last_row = number("SELECT seq FROM sqlite_sequence WHERE name = 'audit'")?;
        let kept_from = here.row(
            "SELECT value FROM state WHERE name = 'audit_kept_from'",
            (),
            |row| row.get::<f64>(0),
        );
        let kept_from = kept_from
            .map_err(|error| self.of_source(error))?
            .unwrap_or_default();
        let row = AuditRow {
            at: UnixTime::now(),
            event: Event::Command,
            account: None,
            user: None,
            session: None,
            machine: None,
            resource: None,
            result: "ok".to_owned(),
            correlation_id: None,
            detail: Some(format!("copied from {}, by uid {by}", self.path.display())),
        };
        self.in_transaction(Work::Write, || {
            let there = self.there();
            let set = || {
                // Hubs take versions by blocks: the next block begins above the last version.
                there.row(
                    "SELECT setval('refresh_token_versions', GREATEST(r.last_value, (?::BIGINT + increment_by - 1) / increment_by * increment_by))
                     FROM refresh_token_versions r, pg_sequences
                     WHERE schemaname = current_schema() AND sequencename = 'refresh_token_versions'",
                    (version,),
                    |_| Ok(()),
                )?;
                there.row(
                    "SELECT setval(pg_get_serial_sequence('audit', 'id'), ?1, TRUE) WHERE ?1 > 0",
                    (last_row,),
                    |_| Ok(()),
                )?;
                there.execute(
                    "UPDATE state SET value = ?1 WHERE name = 'audit_kept_from' AND value < ?1",
                    (UnixTime::new(kept_from),),
                )?;
                audit::append(&there, &row)
            };
            set().map_err(self.of_target())?;
            self.note(FINISHED)
        })
    }

    fn in_transaction(
        &self,
        work: Work,
        run: impl FnOnce() -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        self.target.begin(work).map_err(self.of_target())?;
        // After an error the transaction goes with the connection.
        run()?;
        self.target.batch("COMMIT").map_err(self.of_target())
    }

    fn here(&self) -> Db<'_> {
        Db {
            connection: &self.source,
            keys: &self.keys,
        }
    }

    fn there(&self) -> Db<'_> {
        Db {
            connection: &self.target,
            keys: &self.keys,
        }
    }

    fn of_source(&self, error: StoreError) -> CopyError {
        CopyError::Source {
            path: self.path.clone(),
            error,
        }
    }

    fn of_target(&self) -> impl Fn(StoreError) -> CopyError {
        |error| CopyError::Target {
            server: self.server.clone(),
            error,
        }
    }
}

/// A row.
type Kept = Vec<Cell>;

/// A value in a row. Numbers are the same if all their bits are.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Cell {
    Null,
    Integer(i64),
    Real(u64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Integer(integer) => Value::Integer(*integer),
            Self::Real(bits) => Value::Real(f64::from_bits(*bits)),
            Self::Text(text) => Value::Text(text),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

impl Column for Cell {
    fn of(value: Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Integer(integer) => Self::Integer(integer),
            Value::Real(real) => Self::Real(real.to_bits()),
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
        })
    }
}

impl Table {
    fn read(&self, row: &Row<'_>) -> Result<Kept, StoreError> {
        (0..self.columns.len())
            .map(|column| row.get(column))
            .collect()
    }

    fn key<'a>(&self, row: &'a Kept) -> &'a [Cell] {
        row.get(..self.named_by).unwrap_or(row)
    }

    /// That a row is one of so many.
    fn condition(&self, rows: usize) -> String {
        let columns = self.columns.get(..self.named_by).unwrap_or_default();
        let one = format!("({})", vec!["?"; self.named_by].join(", "));
        format!(
            "({}) IN ({})",
            columns.join(", "),
            vec![one; rows].join(", ")
        )
    }

    /// What the condition is given.
    fn names<'a>(&self, rows: &'a [Kept]) -> Vec<Value<'a>> {
        let keys = rows.iter().flat_map(|row| self.key(row));
        keys.map(Cell::value).collect()
    }

    fn name_of(&self, row: &Kept) -> String {
        let parts = self.key(row).iter().map(|cell| match cell {
            Cell::Null => "NULL".to_owned(),
            Cell::Integer(integer) => integer.to_string(),
            Cell::Real(bits) => f64::from_bits(*bits).to_string(),
            Cell::Text(text) => text.clone(),
            // A hash: its beginning is enough to find it by.
            Cell::Bytes(bytes) => bytes
                .iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        });
        parts.collect::<Vec<_>>().join("/")
    }

    fn differs(&self, row: &Kept, other: &Kept) -> CopyError {
        let columns = self.columns.iter().zip(row.iter().zip(other));
        let mut differing = columns.filter(|(_, (one, other))| one != other);
        CopyError::Differs {
            table: self.name,
            row: self.name_of(row),
            column: differing.next().map_or("", |(column, _)| column),
        }
    }
}
