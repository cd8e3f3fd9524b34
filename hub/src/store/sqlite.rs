//! The threads that SQLite runs on: one that writes, and two that read, so that no async task ever waits for a disk.
//!
//! The writer commits in groups: it takes what is queued, runs each operation in a savepoint of one transaction, commits
//! once, and only then answers. So whoever has an answer has it on disk, and many at once share one write to the disk.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OpenFlags, Params};
use secrecy::zeroize::Zeroizing;
use tokio::sync::oneshot;

use super::{StoreError, migrations, place};
use crate::keys::Keys;
use crate::seal::{self, Fields, RowMac, SealError, Sealed};

/// How long a lock of another process is waited for, such as that of the administrator's command.
const BUSY: Duration = Duration::from_secs(5);
/// Threads that read.
const READERS: usize = 2;
/// Operations that share a commit, at most.
const LARGEST_GROUP: usize = 256;

/// The keys that all threads use; they can be read anew.
pub(super) type SharedKeys = Arc<RwLock<Keys>>;

/// What an operation works with.
pub(super) struct Db<'a> {
    connection: &'a Connection,
    keys: &'a SharedKeys,
}

type Job = Box<dyn Operation>;

/// The threads of one database file.
pub(super) struct Threads {
    writer: Mutex<Option<Sender<Job>>>,
    readers: Mutex<Option<Sender<Job>>>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    /// Opens the database, brings it to the newest schema and starts the threads.
    ///
    /// # Errors
    /// What is wrong with the file, the database or the keys.
    pub(super) fn open(path: &Path, keys: Keys) -> Result<Self, StoreError> {
        let path = place::prepare(path)?;
        let mut writer = connection(&path)?;
        in_wal_mode(&writer)?;
        migrations::migrate(&mut writer)?;
        let keys: SharedKeys = Arc::new(RwLock::new(keys));
        check_keys(&writer, &keys)?;
        let (to_writer, jobs) = channel();
        let (to_readers, reads) = channel();
        let reads = Arc::new(Mutex::new(reads));
        let mut running = Vec::with_capacity(1 + READERS);
        for number in 0..READERS {
            let reader = connection(&path)?;
            reader.pragma_update(None, "query_only", true)?;
            let (reads, keys) = (Arc::clone(&reads), Arc::clone(&keys));
            let run = move || read_all(&reader, &keys, &reads);
            running.push(thread(&format!("store-read-{number}"), run)?);
        }
        running.push(thread("store-write", move || {
            write_all(&writer, &keys, &jobs);
            // What is in the log goes into the file; another process that still reads keeps it from being emptied.
            let _ = writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        })?);
        Ok(Self {
            writer: Mutex::new(Some(to_writer)),
            readers: Mutex::new(Some(to_readers)),
            running: Mutex::new(running),
        })
    }

    /// Runs an operation that writes. It is on disk when this returns; who stops waiting does not stop it.
    ///
    /// # Errors
    /// The operation's, which then changed nothing, and those of the database.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Db<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        ask(&self.writer, run).await
    }

    /// Runs an operation that only reads; it sees all that was written before.
    ///
    /// # Errors
    /// The operation's, and those of the database.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Db<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        ask(&self.readers, run).await
    }

    /// Ends the threads when they have done what is queued. It blocks until then.
    pub(super) fn close(&self) {
        drop(lock(&self.readers).take());
        drop(lock(&self.writer).take());
        for thread in lock(&self.running).drain(..) {
            // One that panicked has nothing more to do either.
            let _ = thread.join();
        }
    }
}

async fn ask<T: Send + 'static>(
    threads: &Mutex<Option<Sender<Job>>>,
    run: impl FnOnce(&Db<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (reply, answer) = oneshot::channel();
    let job: Job = Box::new(Queued {
        run: Some(run),
        outcome: None,
        reply,
    });
    match lock(threads).as_ref() {
        Some(jobs) => jobs.send(job).map_err(|_| StoreError::Closed)?,
        None => return Err(StoreError::Closed),
    }
    answer.await.map_err(|_| StoreError::Closed)?
}

/// No change under the lock can stop half-way, so one poisoned by a panic elsewhere guards sound data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

trait Operation: Send {
    /// Runs it. After an error nothing that it changed is to be kept; whoever asked is told of it by [`Operation::answer`].
    fn run(&mut self, db: &Db<'_>) -> Result<(), StoreError>;

    /// Tells whoever asked: the operation's own outcome, or, where that was good, what came of the commit.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Queued<T, F> {
    run: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Operation for Queued<T, F>
where
    T: Send,
    F: FnOnce(&Db<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, db: &Db<'_>) -> Result<(), StoreError> {
        let outcome = match self.run.take() {
            Some(run) => run(db),
            None => Err(StoreError::Closed),
        };
        let ran = outcome.as_ref().map(|_| ()).map_err(StoreError::clone);
        self.outcome = Some(outcome);
        ran
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = match (self.outcome, committed) {
            (Some(Ok(_)) | None, Err(error)) => Err(error),
            (Some(outcome), _) => outcome,
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // Who does not wait any more needs no answer.
        let _ = self.reply.send(outcome);
    }
}

fn read_all(connection: &Connection, keys: &SharedKeys, jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting: one thread waits for a job, the other for its turn to.
        let Ok(mut job) = lock(jobs).recv() else {
            return;
        };
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

fn write_all(connection: &Connection, keys: &SharedKeys, jobs: &Receiver<Job>) {
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
            let ran = in_savepoint(&Db { connection, keys }, job.as_mut());
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
fn in_savepoint(db: &Db<'_>, job: &mut dyn Operation) -> Result<(), StoreError> {
    db.execute("SAVEPOINT operation", ())?;
    if let Err(error) = job.run(db) {
        if db.connection.is_autocommit() {
            return Err(error);
        }
        db.execute("ROLLBACK TO operation", ())?;
    }
    db.execute("RELEASE operation", ())?;
    Ok(())
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

fn connection(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
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
fn in_wal_mode(connection: &Connection) -> Result<(), StoreError> {
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

/// Tables whose rows name a key.
pub(super) const WITH_KEY: [&str; 8] = [
    "refresh_tokens",
    "bindings",
    "sessions",
    "web_sessions",
    "sign_ins",
    "launchers",
    "permits",
    "pairings",
];

/// Whether the keys are the database's; new ones are made known to it.
fn check_keys(connection: &Connection, keys: &SharedKeys) -> Result<(), StoreError> {
    let keys = read_lock(keys);
    let transaction =
        rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
    let known = known_keys(&transaction)?;
    let mut shared = 0;
    for key in keys.iter() {
        match known.iter().find(|(id, _)| id == key.id()) {
            Some((_, check)) if check == key.check() => shared += 1,
            Some(_) => return Err(StoreError::OtherKey(key.id().to_owned())),
            None => {}
        }
    }
    if shared == 0 && !known.is_empty() {
        let known: Vec<String> = known.into_iter().map(|(id, _)| id).collect();
        return Err(StoreError::WrongKey {
            given: keys.names(),
            known: known.join(", "),
        });
    }
    for table in WITH_KEY {
        let mut used = transaction.prepare(&format!("SELECT DISTINCT key_id FROM {table}"))?;
        for id in used.query_map((), |row| row.get::<_, String>(0))? {
            let id = id?;
            if keys.find(&id).is_none() {
                return Err(StoreError::MissingKey(id));
            }
        }
    }
    for key in keys.iter() {
        transaction.execute(
            "INSERT INTO keys (id, check_value) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (key.id(), key.check()),
        )?;
    }
    transaction.commit()?;
    Ok(())
}

fn known_keys(connection: &Connection) -> Result<Vec<(String, [u8; 32])>, StoreError> {
    let mut known = connection.prepare_cached("SELECT id, check_value FROM keys ORDER BY rowid")?;
    let known = known.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    known.map(|row| row.map_err(StoreError::from)).collect()
}

fn read_lock(keys: &SharedKeys) -> Keys {
    keys.read().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Db<'_> {
    /// Runs a statement that returns no rows; how many it changed.
    pub(super) fn execute(&self, sql: &str, parameters: impl Params) -> Result<usize, StoreError> {
        Ok(self.statement(sql)?.execute(parameters)?)
    }

    /// A statement, kept for the next time.
    pub(super) fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, StoreError> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// The first row, if there is one.
    pub(super) fn row<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        use rusqlite::OptionalExtension as _;
        let mut statement = self.statement(sql)?;
        Ok(statement.query_row(parameters, read).optional()?)
    }

    /// All rows.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.statement(sql)?;
        let rows = statement.query_map(parameters, read)?;
        rows.map(|row| row.map_err(StoreError::from)).collect()
    }

    /// Seals under the first key.
    pub(super) fn seal(&self, fields: &Fields, plaintext: &[u8]) -> Result<Sealed, StoreError> {
        seal::seal(&read_lock(self.keys), fields, plaintext).map_err(|_| StoreError::Random)
    }

    /// Opens what was sealed; `table` and `row` are for the error.
    pub(super) fn open(
        &self,
        table: &'static str,
        row: &str,
        fields: &Fields,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        self.with_key(|keys| seal::open(keys, fields, sealed))
            .map_err(|error| StoreError::of_seal(error, table, row))
    }

    /// A row's MAC under the first key.
    pub(super) fn mac(&self, fields: &Fields) -> Result<RowMac, StoreError> {
        seal::mac(&read_lock(self.keys), fields).map_err(|_| StoreError::Random)
    }

    /// Checks a row's MAC; `table` and `row` are for the error.
    pub(super) fn verify(
        &self,
        table: &'static str,
        row: &str,
        fields: &Fields,
        mac: &RowMac,
    ) -> Result<(), StoreError> {
        self.with_key(|keys| seal::verify(keys, fields, mac))
            .map_err(|error| StoreError::of_seal(error, table, row))
    }

    /// The name of the key that seals.
    pub(super) fn first_key(&self) -> Result<String, StoreError> {
        let keys = read_lock(self.keys);
        let first = keys.first().ok_or(StoreError::Random)?;
        Ok(first.id().to_owned())
    }

    /// Reads the key file again and makes its keys known to the database; the name of the one that seals.
    pub(super) fn read_keys_again(&self) -> Result<String, StoreError> {
        let path: PathBuf = read_lock(self.keys).path().to_owned();
        let keys = Keys::read(&path)?;
        let known = known_keys(self.connection)?;
        for key in keys.iter() {
            match known.iter().find(|(id, _)| id == key.id()) {
                Some((_, check)) if check != key.check() => {
                    return Err(StoreError::OtherKey(key.id().to_owned()));
                }
                Some(_) => {}
                None => {
                    self.execute(
                        "INSERT INTO keys (id, check_value) VALUES (?, ?)",
                        (key.id(), key.check()),
                    )?;
                }
            }
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        self.first_key()
    }

    /// Does something with the keys. Where one is missing the key file is read again: another process, the
    /// administrator's `rekey`, may have put a new one there and begun to use it.
    fn with_key<T>(
        &self,
        mut using: impl FnMut(&Keys) -> Result<T, SealError>,
    ) -> Result<T, SealError> {
        match using(&read_lock(self.keys)) {
            Err(SealError::UnknownKey(id)) => match self.keys_again(&id) {
                Some(keys) => using(&keys),
                None => Err(SealError::UnknownKey(id)),
            },
            outcome => outcome,
        }
    }

    /// The key file's keys now, if the database knows them and this one is among them.
    fn keys_again(&self, id: &str) -> Option<Keys> {
        let path: PathBuf = read_lock(self.keys).path().to_owned();
        let keys = Keys::read(&path).ok()?;
        keys.find(id)?;
        let known = known_keys(self.connection).ok()?;
        let is_known = keys.iter().all(|key| {
            known
                .iter()
                .any(|(id, check)| id == key.id() && check == key.check())
        });
        if !is_known {
            return None;
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.clone();
        Some(keys)
    }
}
