//! The database of a machine: a file, or on the server that `ENTRAR_TEST_POSTGRES` names.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use postgres::{Client, NoTls, SimpleQueryMessage};

const SERVER: &str = "ENTRAR_TEST_POSTGRES";

pub(crate) struct Database {
    file: PathBuf,
    /// The server, and the database's name on it.
    on_server: Option<(String, String)>,
}

impl Database {
    pub(crate) fn new(directory: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("machine_{}_{number}", std::process::id());
        let server = std::env::var(SERVER).ok();
        if let Some(server) = &server {
            on_server(server, format!("CREATE DATABASE {name}"));
        }
        Self {
            file: directory.join("lib/hub.db"),
            on_server: server.map(|server| (server, name)),
        }
    }

    fn url(&self) -> Option<String> {
        let (server, name) = self.on_server.as_ref()?;
        let (server, _) = server.rsplit_once('/').unwrap();
        Some(format!("{server}/{name}"))
    }

    /// The line of `hub.toml`.
    pub(crate) fn setting(&self) -> String {
        match self.url() {
            Some(url) => format!("url = \"{url}\"\nconnections = 4\njournal = \"lib/journal\""),
            None => "path = \"lib/hub.db\"".to_owned(),
        }
    }

    /// Changes something.
    pub(crate) fn run(&self, sql: &str) {
        match self.url() {
            Some(url) => drop(on_server(&url, sql.to_owned())),
            None => self.open().execute_batch(sql).unwrap(),
        }
    }

    /// One number.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        match self.url() {
            Some(url) => on_server(&url, sql.to_owned())[0].parse().unwrap(),
            None => self.open().query_row(sql, (), |row| row.get(0)).unwrap(),
        }
    }

    /// Keeps everybody else from writing, until this is dropped.
    pub(crate) fn hold(&self) -> Held {
        let (held, holds) = channel();
        let (release, released) = channel();
        let (url, file) = (self.url(), self.file.clone());
        let holding = std::thread::spawn(move || match url {
            Some(url) => {
                let mut client = Client::connect(&url, NoTls).unwrap();
                let lock = "BEGIN; LOCK TABLE keys IN EXCLUSIVE MODE";
                client.batch_execute(lock).unwrap();
                held.send(()).unwrap();
                let _: Result<(), _> = released.recv();
            }
            None => {
                let database = rusqlite::Connection::open(file).unwrap();
                database.execute_batch("BEGIN IMMEDIATE").unwrap();
                held.send(()).unwrap();
                let _: Result<(), _> = released.recv();
            }
        });
        holds.recv().unwrap();
        Held(Some((release, holding)))
    }

    /// Keeps a copy, while no hub serves.
    pub(crate) fn back_up(&self) {
        match &self.on_server {
            Some((server, name)) => drop(on_server(
                server,
                format!("CREATE DATABASE {name}_copy TEMPLATE {name}"),
            )),
            None => drop(std::fs::copy(&self.file, self.copy()).unwrap()),
        }
    }

    /// Puts the copy in its place.
    pub(crate) fn restore(&self) {
        match &self.on_server {
            Some((server, name)) => {
                on_server(server, format!("DROP DATABASE {name}"));
                on_server(
                    server,
                    format!("ALTER DATABASE {name}_copy RENAME TO {name}"),
                );
            }
            None => drop(std::fs::copy(self.copy(), &self.file).unwrap()),
        }
    }

    fn copy(&self) -> PathBuf {
        self.file.with_extension("copy")
    }

    fn open(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(&self.file).unwrap()
    }
}

/// Nobody else writes as long as this lives.
pub(crate) struct Held(Option<(Sender<()>, JoinHandle<()>)>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((release, holding)) = self.0.take() {
            drop(release);
            holding.join().unwrap();
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((server, name)) = &self.on_server {
            on_server(server, format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// PostgreSQL's client has a runtime of its own, for which there is no room on a thread of another one. The first column of
/// what comes back.
fn on_server(url: &str, sql: String) -> Vec<String> {
    let url = url.to_owned();
    let run = move || {
        let mut client = Client::connect(&url, NoTls).unwrap();
        let messages = client.simple_query(&sql).unwrap().into_iter();
        let texts = messages.filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        texts.collect()
    };
    std::thread::spawn(run).join().unwrap()
}
