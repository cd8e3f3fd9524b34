//! SQLite: one thread that writes, two that read, and a connection that looks up a few rows without any.
//!
//! The writer commits in groups: it takes what is queued, runs each operation in a savepoint of one transaction, commits
//! once, and only then answers. So whoever has an answer has it on disk, and many at once share one write to the disk.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{OpenFlags, ToSql, params_from_iter};

use super::columns::{Row, Value};
use super::database::{Connection, Db, EachRow, SharedKeys, check_keys};
use super::threads::{Here, Job, Threads, next, thread};
use super::{StoreError, migrations, place};
use crate::keys::Keys;

/// How long a lock of another process is waited for, such as that of the administrator's command.
const BUSY: Duration = Duration::from_secs(5);
/// Threads that read.
const READERS: usize = 2;
/// Operations that share a commit, at most.
const LARGEST_GROUP: usize = 256;

/// Opens the database, brings it to the newest schema and starts the threads.
///
/// # Errors
/// What is wrong with the file, the database or the keys.
pub(super) fn open(path: &Path, keys: Keys) -> Result<Threads, StoreError> {
    let path = place::prepare(path)?;
    let mut writer = connection(&path)?;
    in_wal_mode(&writer)?;
    migrations::migrate(&mut writer)?;
    let keys: SharedKeys = Arc::new(RwLock::new(keys));
    writer.execute_batch("BEGIN IMMEDIATE")?;
    check_keys(&Db {
        connection: &writer,
        keys: &keys,
    })?;
    writer.execute_batch("COMMIT")?;
    let (to_writer, writes) = channel();
    let (to_readers, reads) = channel();
    let reads = Arc::new(Mutex::new(reads));
    let here = Reader {
        connection: reader(&path)?,
        keys: Arc::clone(&keys),
    };
    // Whoever has to wait for a lock asks a thread.
    here.connection.busy_timeout(Duration::ZERO)?;
    let mut running = Vec::with_capacity(1 + READERS);
    for number in 0..READERS {
        let reader = reader(&path)?;
        let (reads, keys) = (Arc::clone(&reads), Arc::clone(&keys));
        let run = move || read_all(&reader, &keys, &reads);
        running.push(thread(&format!("store-read-{number}"), run)?);
    }
    running.push(thread("store-write", move || {
        write_all(&writer, &keys, &writes);
        // What is in the log goes into the file; another process that still reads keeps it from being emptied.
        let _ = writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    })?);
    Ok(Threads::new(to_writer, to_readers, running).beside(here))
}

/// A connection to a database that nobody else has open, and nobody else can open for as long as this lives.
///
/// # Errors
/// As [`open`]; [`StoreError::Unavailable`] if somebody has it open.
pub(super) fn alone(path: &Path, keys: &SharedKeys) -> Result<rusqlite::Connection, StoreError> {
    let path = place::prepare(path)?;
    let mut connection = connection(&path)?;
    // Set before anything is read, it takes the lock that every open connection shares (sqlite.org/wal.html, "Noshm").
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    in_wal_mode(&connection)?;
    migrations::migrate(&mut connection)?;
    check_keys(&Db {
        connection: &connection,
        keys,
    })?;
    Ok(connection)
}

/// A connection that looks up a few rows where they are asked for.
struct Reader {
    connection: rusqlite::Connection,
    keys: SharedKeys,
}

impl Here for Reader {
    fn look_up(
        &self,
        run: &mut dyn FnMut(&Db<'_>) -> Result<(), StoreError>,
    ) -> Option<Result<(), StoreError>> {
        let Self { connection, keys } = self;
        // One operation sees one state, however many rows it reads. It ends when the transaction is dropped.
        let _transaction = connection.unchecked_transaction().ok()?;
        Some(run(&Db { connection, keys }))
    }
}

fn read_all(connection: &rusqlite::Connection, keys: &SharedKeys, jobs: &Mutex<Receiver<Job>>) {
    while let Some(mut job) = next(jobs) {
        // One operation sees one state, however many rows it reads.
        let begun = connection.execute_batch("BEGIN");
        match begun {
            Ok(()) => {
                let _ = job.run(&Db { connection, keys });
                let ended = connection.execute_batch("COMMIT");
                job.answer(ended.map_err(StoreError::from));
            }
            Err(error) => job.answer(Err(error.into())),
        }
    }
}

fn write_all(connection: &rusqlite::Connection, keys: &SharedKeys, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
            // Whoever is queued would wait as long again, one after the other.
            let error = StoreError::from(error);
            for job in std::iter::once(first).chain(jobs.try_iter().take(LARGEST_GROUP)) {
                job.answer(Err(error.clone()));
            }
            continue;
        }
        let group = std::iter::once(first)
            .chain(jobs.try_iter())
            .take(LARGEST_GROUP);
        let mut done: Vec<Job> = Vec::new();
        let mut broken = None;
        for mut job in group {
            let ran = in_savepoint(connection, keys, &mut job);
            done.push(job);
            if let Err(error) = ran {
                broken = Some(error);
                break;
            }
        }
        let committed = match broken {
            Some(error) => Err(error),
            None => connection.execute_batch("COMMIT").map_err(StoreError::from),
        };
        if committed.is_err() && !connection.is_autocommit() {
            // Nothing is left to undo if this fails: the transaction is gone, or goes with the connection.
            let _ = connection.execute_batch("ROLLBACK");
        }
        for job in done {
            job.answer(committed.clone());
        }
    }
}

/// # Errors
/// Why the whole transaction is gone: after some errors, such as a full disk, SQLite rolls everything back. Others are the
/// operation's alone, which keeps them.
fn in_savepoint(
    connection: &rusqlite::Connection,
    keys: &SharedKeys,
    job: &mut Job,
) -> Result<(), StoreError> {
    let db = &Db { connection, keys };
    db.execute("SAVEPOINT operation", ())?;
    if let Err(error) = job.run(db) {
        if connection.is_autocommit() {
            return Err(error);
        }
        db.execute("ROLLBACK TO operation", ())?;
    }
    db.execute("RELEASE operation", ())?;
    Ok(())
}

fn reader(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    let connection = connection(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connection(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = rusqlite::Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // A schema that somebody has tampered with calls no functions, and no statement writes to the file's inner tables.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    let settings = [
        ("synchronous", "FULL"),
        ("foreign_keys", "ON"),
        ("temp_store", "MEMORY"),
        ("secure_delete", "ON"),
    ];
    for (name, value) in settings {
        connection.pragma(None, name, value, |_| Ok(()))?;
    }
    // Pages in memory, in KiB below zero: the whole file is small.
    connection.pragma_update(None, "cache_size", -1024)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Two processes that open a new file at once are in each other's way here, and SQLite does not wait by itself.
fn in_wal_mode(connection: &rusqlite::Connection) -> Result<(), StoreError> {
    const PAUSE: Duration = Duration::from_millis(10);
    let until = Instant::now() + BUSY;
    loop {
        let mode = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
            .map_err(StoreError::from);
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                return Err(StoreError::Fault(format!(
                    "the journal's mode stays {mode}"
                )));
            }
            Err(StoreError::Unavailable(_)) if Instant::now() < until => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
}

impl Connection for rusqlite::Connection {
    fn execute(&self, sql: &str, parameters: &[Value<'_>]) -> Result<u64, StoreError> {
        let changed = self
            .prepare_cached(sql)?
            .execute(params_from_iter(parameters))?;
        Ok(changed as u64)
    }

    fn query(
        &self,
        sql: &str,
        parameters: &[Value<'_>],
        each: EachRow<'_>,
    ) -> Result<(), StoreError> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(parameters))?;
        while let Some(row) = rows.next()? {
            each(&Row::Sqlite(row))?;
        }
        Ok(())
    }

    fn next_version(&self) -> Result<i64, StoreError> {
        let mut version = None;
        self.query(
            "UPDATE state SET value = value + 1 WHERE name = 'refresh_token_version' RETURNING value",
            &[],
            &mut |row| {
                version = Some(row.get(0)?);
                Ok(())
            },
        )?;
        version.ok_or_else(|| StoreError::Damaged("the database".to_owned()))
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Integer(integer) => ValueRef::Integer(integer),
            Self::Real(real) => ValueRef::Real(real),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
