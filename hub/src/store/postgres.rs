//! PostgreSQL: a few threads with a connection each, so that several hubs can share one database.
//!
//! Operations that look before they write take turns, on all nodes, by a lock of the database's; the others run side by side. A
//! connection is held for as long as an operation takes, never over a request to the tenant.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use entrar_core::tls::{Bundle, Tls};
use postgres::config::{Host, SslMode, TargetSessionAttrs};
use postgres::error::SqlState;
use postgres::types::{FromSql, IsNull, ToSql, Type, private::BytesMut, to_sql_checked};
use postgres::{Client, Config, NoTls, Statement};
use secrecy::ExposeSecret as _;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;
use super::columns::{Row, Value};
use super::database::{Connection, Db, EachRow, SharedKeys, check_keys};
use super::threads::{Job, Threads, Work, lock, next, thread};
use super::{copy, migrations};
use crate::configuration::{SecretFile, read_secret};
use crate::keys::Keys;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the server may take for a statement, and for a lock.
const STATEMENT: Duration = Duration::from_secs(8);
/// How long an operation is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long nobody tries again after a connection has not come about.
const PAUSE: Duration = Duration::from_millis(500);
/// The lock under which writers take turns. It is the database's, so another hub's on the same server is another one.
pub(super) const TURN: i64 = 0x656e_7472_6172;

/// Where the database is.
#[derive(Clone, Debug)]
pub struct Server {
    url: String,
    config: Config,
    password_file: Option<SecretFile>,
    ca_file: Option<PathBuf>,
    connections: usize,
    grace: Duration,
    journal: PathBuf,
}

impl Server {
    /// The server and database of an address such as `postgresql://user@host/database`, or of
    /// `postgresql://user@%2Frun%2Fpostgresql/database` for the Unix socket in that directory. The password is read from its
    /// file at each new connection. TCP is TLS; the server's certificate is vouched for by those in `ca_file`, PEM, else by the
    /// system's. While the database is away, people seen within the grace go on, and rows of the audit are written to the
    /// journal, a file.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn new(
        url: &str,
        password_file: Option<SecretFile>,
        ca_file: Option<PathBuf>,
        connections: usize,
        (grace, journal): (Duration, PathBuf),
    ) -> Result<Self, String> {
        let mut config: Config = url.parse().map_err(|error: postgres::Error| {
            let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            format!("this is no address of a database ({why}); write one such as postgresql://entrar-hub@db.example.com/entrar")
        })?;
        if config.get_password().is_some() {
            return Err(
                "a password has no place here: put it into a file and name that as password_file"
                    .to_owned(),
            );
        }
        if config.get_user().is_none() || config.get_dbname().is_none() {
            return Err(
                "this names no user, or no database; write postgresql://USER@HOST/DATABASE"
                    .to_owned(),
            );
        }
        if config.get_ssl_mode() == SslMode::Disable {
            return Err("over TCP the database is reached by TLS only: remove sslmode".to_owned());
        }
        let is_socket = |host: &Host| matches!(host, Host::Unix(_));
        let mode = match config.get_hosts() {
            [] => return Err("this names no host".to_owned()),
            hosts if hosts.iter().all(is_socket) => SslMode::Disable,
            hosts if hosts.iter().any(is_socket) => {
                return Err("this names a Unix socket and a host: choose".to_owned());
            }
            _ => SslMode::Require,
        };
        if mode == SslMode::Disable && !config.get_hostaddrs().is_empty() {
            return Err("hostaddr leads past the Unix socket: remove it".to_owned());
        }
        config.ssl_mode(mode);
        Ok(Self {
            url: url.to_owned(),
            config,
            password_file,
            ca_file,
            connections,
            grace,
            journal,
        })
    }

    /// For how long people seen lately go on while the database is away.
    pub(super) fn grace(&self) -> Duration {
        self.grace
    }

    /// The file of this machine's for rows of the audit meanwhile.
    pub(super) fn journal(&self) -> &Path {
        &self.journal
    }
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        let files = |it: &Self| {
            (
                it.password_file.clone(),
                it.ca_file.clone(),
                it.journal.clone(),
            )
        };
        let numbers = |it: &Self| (it.connections, it.grace);
        self.url == other.url && files(self) == files(other) && numbers(self) == numbers(other)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.config.get_dbname().unwrap_or_default();
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        write!(
            f,
            "the database {database} at {}",
            hosts.collect::<Vec<_>>().join(", ")
        )
    }
}

/// Connects, brings the database to the newest schema and starts the threads.
///
/// # Errors
/// What is wrong with the server, the database or the keys.
pub(super) fn open(server: &Server, keys: Keys) -> Result<Threads, StoreError> {
    let keys: SharedKeys = Arc::new(RwLock::new(keys));
    let connector = Arc::new(Connector::new(server)?);
    let mut first = Some(connector.session()?);
    if let Some(session) = &first {
        session.begin(Work::Write)?;
        migrations::migrate_postgres(session)?;
        let db = Db {
            connection: session,
            keys: &keys,
        };
        check_keys(&db)?;
        copy::is_whole(&db)?;
        session.batch("COMMIT")?;
    }
    let (jobs, queue) = channel();
    let queue = Arc::new(Mutex::new(queue));
    let threads = (0..server.connections.max(1)).map(|number| {
        let (connector, keys, queue) = (
            Arc::clone(&connector),
            Arc::clone(&keys),
            Arc::clone(&queue),
        );
        let session = first.take();
        thread(&format!("store-{number}"), move || {
            work(&connector, session, &keys, &queue);
        })
    });
    let running = threads.collect::<Result<Vec<_>, _>>()?;
    Ok(Threads::new(jobs.clone(), jobs, running).with_patience(PATIENCE))
}

/// A connection for work that may take as long as it takes.
///
/// # Errors
/// What is wrong with the server.
pub(super) fn alone(server: &Server) -> Result<Session, StoreError> {
    let session = Arc::new(Connector::new(server)?).session()?;
    // Rows are found by their keys, and the server knows nothing of a table yet that is just being filled.
    session.batch("SET statement_timeout = 0; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")?;
    Ok(session)
}

fn work(
    connector: &Arc<Connector>,
    mut session: Option<Session>,
    keys: &SharedKeys,
    jobs: &Mutex<Receiver<Job>>,
) {
    while let Some(mut job) = next(jobs) {
        if job.is_given_up() {
            job.answer(Err(lost()));
            continue;
        }
        let committed = run(connector, &mut session, keys, &mut job);
        job.answer(committed);
    }
}

/// Runs a job, on a new connection if the one that there was has been lost. What may have been done is not done again.
fn run(
    connector: &Arc<Connector>,
    session: &mut Option<Session>,
    keys: &SharedKeys,
    job: &mut Job,
) -> Result<(), StoreError> {
    let mut is_new = session.is_none();
    loop {
        let current = match session {
            Some(current) => current,
            None => session.insert(connector.session()?),
        };
        let db = Db {
            connection: current,
            keys,
        };
        let (outcome, may_repeat) = match job.work {
            Work::Read => {
                // Whoever asked learns of it from the job.
                let _ = job.run(&db);
                (Ok(()), true)
            }
            Work::Write | Work::WriteBeside | Work::WriteLoosely => match current.begin(job.work) {
                Ok(()) => (transaction(current, &db, job), false),
                // A lock that did not come leaves a transaction behind that nothing more can be done in.
                Err(error) => {
                    let was_lost = current.is_closed();
                    current.close();
                    (Err(error), was_lost)
                }
            },
        };
        if !current.is_closed() {
            return outcome;
        }
        *session = None;
        if is_new || !may_repeat {
            return outcome;
        }
        is_new = true;
    }
}

fn transaction(session: &Session, db: &Db<'_>, job: &mut Job) -> Result<(), StoreError> {
    // Whoever was told that nothing was done must not see it done afterwards.
    let ended = if job.run(db).is_ok() && !job.is_given_up() {
        session.batch("COMMIT")
    } else {
        // Whoever asked learns why from the job.
        let _ = session.batch("ROLLBACK").inspect_err(|_| session.close());
        return Ok(());
    };
    // Nothing is left to undo: the transaction goes with the connection.
    ended.inspect_err(|_| session.close())
}

/// What connections are made with.
struct Connector {
    config: Config,
    password_file: Option<SecretFile>,
    tls: Option<MakeRustlsConnect>,
    /// When a connection last did not come about, and why.
    failed: Mutex<Option<(Instant, StoreError)>>,
    /// Versions of refresh tokens that this node may give out.
    versions: Mutex<Range<i64>>,
}

impl Connector {
    fn new(server: &Server) -> Result<Self, StoreError> {
        let mut config = server.config.clone();
        let milliseconds = STATEMENT.as_millis();
        config
            .application_name("entrar-hub")
            .connect_timeout(CONNECT)
            .tcp_user_timeout(STATEMENT)
            .keepalives_idle(Duration::from_secs(30))
            // A standby knows of no sign-out before it is told.
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .options(&format!(
                "-c statement_timeout={milliseconds} -c lock_timeout={milliseconds} \
                 -c idle_in_transaction_session_timeout={} -c synchronous_commit=on",
                2 * milliseconds
            ));
        Ok(Self {
            tls: match config.get_ssl_mode() {
                SslMode::Disable => None,
                _ => Some(tls(server.ca_file.as_deref())?),
            },
            config,
            password_file: server.password_file.clone(),
            failed: Mutex::new(None),
            versions: Mutex::new(0..0),
        })
    }

    /// A new connection.
    fn session(self: &Arc<Self>) -> Result<Session, StoreError> {
        let mut failed = lock(&self.failed);
        if let Some((when, error)) = failed.as_ref()
            && when.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        drop(failed.take());
        drop(failed);
        let client = self.connect().map_err(|why| {
            let error = StoreError::Unavailable(why);
            *lock(&self.failed) = Some((Instant::now(), error.clone()));
            error
        })?;
        Ok(Session {
            client: RefCell::new(Some(client)),
            statements: RefCell::default(),
            connector: Arc::clone(self),
        })
    }
}

impl Connector {
    fn connect(&self) -> Result<Client, String> {
        let mut config = self.config.clone();
        if let Some(file) = &self.password_file {
            config.password(read_secret(file)?.expose_secret());
        }
        let connected = match &self.tls {
            Some(tls) => config.connect(tls.clone()),
            None => config.connect(NoTls),
        };
        connected.map_err(|error| in_words(&error))
    }
}

fn tls(ca_file: Option<&Path>) -> Result<MakeRustlsConnect, StoreError> {
    let bundle = ca_file
        .map(|path| Bundle::read("store.ca_file", path))
        .transpose();
    let config = bundle.and_then(Tls::new);
    let (_, config) = config.map_err(|error| StoreError::Fault(error.to_string()))?;
    Ok(MakeRustlsConnect::new(config))
}

/// A connection and what is prepared on it.
pub(super) struct Session {
    /// `None` once it is of no use.
    client: RefCell<Option<Client>>,
    statements: RefCell<HashMap<String, Statement>>,
    connector: Arc<Connector>,
}

impl Session {
    fn is_closed(&self) -> bool {
        self.client.borrow().as_ref().is_none_or(Client::is_closed)
    }

    fn close(&self) {
        drop(self.client.take());
    }

    fn with<T>(
        &self,
        run: impl FnOnce(&mut Client) -> Result<T, postgres::Error>,
    ) -> Result<T, StoreError> {
        let done = match self.client.borrow_mut().as_mut() {
            Some(client) => run(client),
            None => return Err(lost()),
        };
        let is_read_only =
            |error: &postgres::Error| error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION);
        // The next connection is to one that can be written to, or to none.
        if done.as_ref().is_err_and(is_read_only) {
            self.close();
        }
        Ok(done?)
    }

    /// Runs statements without parameters.
    pub(super) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.with(|client| client.batch_execute(sql))
    }

    pub(super) fn begin(&self, work: Work) -> Result<(), StoreError> {
        match work {
            Work::Write => self.batch(&format!("BEGIN; SELECT pg_advisory_xact_lock({TURN})")),
            Work::WriteBeside | Work::Read => self.batch("BEGIN"),
            Work::WriteLoosely => self.batch("BEGIN; SET LOCAL synchronous_commit = off"),
        }
    }

    fn prepared(&self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.with(|client| client.prepare(&numbered(sql)))?;
        self.statements
            .borrow_mut()
            .insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Connection for Session {
    fn execute(&self, sql: &str, parameters: &[Value<'_>]) -> Result<u64, StoreError> {
        let statement = self.prepared(sql)?;
        let parameters: Vec<_> = parameters.iter().map(|it| it as _).collect();
        self.with(|client| client.execute(&statement, &parameters))
    }

    fn query(
        &self,
        sql: &str,
        parameters: &[Value<'_>],
        each: EachRow<'_>,
    ) -> Result<(), StoreError> {
        let statement = self.prepared(sql)?;
        let parameters: Vec<_> = parameters.iter().map(|it| it as _).collect();
        let rows = self.with(|client| client.query(&statement, &parameters))?;
        rows.iter().try_for_each(|row| each(&Row::Postgres(row)))
    }

    /// A node takes a block of them at a time.
    fn next_version(&self) -> Result<i64, StoreError> {
        let mut versions = lock(&self.connector.versions);
        if versions.is_empty() {
            let row = self.with(|client| {
                client.query_one("SELECT nextval('refresh_token_versions') AS last, increment_by
                    FROM pg_sequences WHERE schemaname = current_schema() AND sequencename = 'refresh_token_versions'", &[])
            })?;
            let (last, many): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            *versions = last - many + 1..last + 1;
        }
        versions.next().ok_or_else(lost)
    }
}

/// The same statement as PostgreSQL writes it: `$1` in the place of the first `?`, or of `?1`.
fn numbered(sql: &str) -> String {
    let mut numbered = String::with_capacity(sql.len() + 16);
    let mut number = 0;
    let mut rest = sql.chars().peekable();
    while let Some(character) = rest.next() {
        if character != '?' {
            numbered.push(character);
            continue;
        }
        numbered.push('$');
        if !rest.peek().is_some_and(char::is_ascii_digit) {
            number += 1;
            numbered.push_str(&number.to_string());
        }
    }
    numbered
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(integer) => integer.to_sql(ty, out),
            Self::Real(real) => real.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Bytes(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::FLOAT8, Type::TEXT, Type::BYTEA].contains(ty)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *ty {
            Type::INT8 => Self::Integer(i64::from_sql(ty, raw)?),
            Type::BOOL => Self::Integer(bool::from_sql(ty, raw)?.into()),
            Type::FLOAT8 => Self::Real(f64::from_sql(ty, raw)?),
            Type::BYTEA => Self::Bytes(<&[u8]>::from_sql(ty, raw)?),
            _ => Self::Text(<&str>::from_sql(ty, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::BOOL || <Self as ToSql>::accepts(ty)
    }
}

/// What the server or the system says, without a word about who asks.
fn in_words(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => error.message().to_owned(),
        None => error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string),
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable("the connection is lost".to_owned())
}

impl From<postgres::Error> for StoreError {
    fn from(error: postgres::Error) -> Self {
        let text = in_words(&error);
        let Some(state) = error.code() else {
            return if error.is_closed()
                || error.source().is_some_and(|it| it.is::<std::io::Error>())
            {
                Self::Unavailable(text)
            } else {
                Self::Fault(text)
            };
        };
        match state.code().get(..2) {
            _ if *state == SqlState::DISK_FULL => Self::Unavailable("the disk is full".to_owned()),
            // Lost connections, resources that have run out, an operator who stops it, locks and conflicts.
            Some("08" | "53" | "57" | "55" | "40" | "58") => Self::Unavailable(text),
            _ if *state == SqlState::READ_ONLY_SQL_TRANSACTION => Self::Unavailable(text),
            Some("XX") => Self::Damaged("the database".to_owned()),
            _ => Self::Fault(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered() {
        for (sqlite, postgres) in [
            ("SELECT 1", "SELECT 1"),
            ("a = ? AND b = ?", "a = $1 AND b = $2"),
            (
                "a = ?2 AND b = ?1 OR c = ?12",
                "a = $2 AND b = $1 OR c = $12",
            ),
        ] {
            assert_eq!(numbered(sqlite), postgres);
        }
    }
}
