//! What the tests of the store share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use entrar_broker::accounts::{AccountId, Accounts as _};
use entrar_core::guid::Guid;
use entrar_core::time::UnixTime;
use rusqlite::Connection;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    Binding, BoundBy, Change, Database, From, Launcher, LocalUser, NewSession, OpenedBy,
    ProfileNames, Server, Store,
};
use crate::keys::Keys;

pub(super) const NOW: UnixTime = UnixTime::of_whole(1_795_392_000);
/// For how long the database may be away.
pub(super) const GRACE: Duration = Duration::from_secs(60);
pub(super) const ADA: AccountId = account(1);
pub(super) const BOB: AccountId = account(2);

pub(super) const fn account(oid: u128) -> AccountId {
    AccountId {
        tid: Guid::from_bits(9),
        oid: Guid::from_bits(oid),
    }
}

pub(super) fn user(uid: u32, name: &str) -> LocalUser {
    LocalUser {
        uid,
        name: name.to_owned(),
    }
}

/// Something in every table.
pub(super) async fn filled(store: &Store) -> [SecretString; 3] {
    let ada = user(1_001, "ada");
    let names = ProfileNames::default();
    store
        .sign_in_person(ADA, &names, "canary-refresh".into(), NOW)
        .await
        .unwrap();
    let binding = Binding {
        account: ADA,
        user: ada.clone(),
        by: BoundBy::Rule,
        bound_at: NOW,
    };
    store.bind(&binding).await.unwrap();
    let session = NewSession {
        user: ada.clone(),
        opened_by: OpenedBy::Socket,
        machine: "node".to_owned(),
        opened_at: NOW,
        expires_at: NOW + 60.0,
    };
    let (_, cookie) = store.open_session(session).await.unwrap();
    let web = store.open_web_session(ADA, NOW, NOW + 60.0).await.unwrap();
    let launcher = Launcher {
        name: "jupyter".to_owned(),
        users: vec![ada.clone()],
        from: From::Uid(998),
        added_at: NOW,
        expires_at: NOW + 60.0,
    };
    let key = store.add_launcher(&launcher).await.unwrap().unwrap();
    store.permit(&ada, NOW + 60.0).await.unwrap();
    store
        .begin_pairing(&"ticket".into(), b"payload", NOW, NOW + 60.0)
        .await
        .unwrap();
    store
        .begin_sign_in(&"state".into(), &"browser".into(), b"payload", NOW + 60.0)
        .await
        .unwrap();
    [cookie, web, key]
}

pub(super) async fn all_is_there(store: &Store, [cookie, web, key]: &[SecretString; 3]) {
    let refresh = store.newest(ADA).await.unwrap().unwrap().refresh_token;
    assert_eq!(refresh.expose_secret(), "canary-refresh");
    assert!(store.binding_of_account(ADA).await.unwrap().is_some());
    assert!(
        store
            .session(cookie.expose_secret(), NOW)
            .await
            .unwrap()
            .is_ok()
    );
    assert!(
        store
            .web_session(web.expose_secret(), NOW)
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        store
            .launcher(key.expose_secret(), NOW)
            .await
            .unwrap()
            .is_some()
    );
    assert!(store.is_permitted(&user(1_001, "ada"), NOW).await.unwrap());
    let pairing = store
        .change_pairing("ticket", NOW, |_| Change::None(()))
        .await;
    assert!(pairing.unwrap().is_some());
    assert!(
        store
            .read_sign_in("state", "browser", NOW)
            .await
            .unwrap()
            .is_some()
    );
}

/// Names a server of PostgreSQL's whose databases the tests may make and remove; without it they use files of SQLite's.
const SERVER: &str = "ENTRAR_TEST_POSTGRES";

/// A directory with a key file, and a database that only one test uses.
pub(super) struct Place {
    directory: tempfile::TempDir,
    /// The server, and the database's name on it.
    on_server: Option<(String, String)>,
    grace: Duration,
}

impl Place {
    /// With a database of the kind that this run of the tests is about.
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mut place = Self::with_a_file();
        let Ok(server) = std::env::var(SERVER) else {
            return place;
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("place_{}_{number}", std::process::id());
        on_another_thread(&server, format!("CREATE DATABASE {name}")).unwrap();
        place.on_server = Some((server, name));
        place
    }

    /// With a hub's memory of this length.
    pub(super) fn with_grace(grace: Duration) -> Self {
        let mut place = Self::new();
        place.grace = grace;
        place
    }

    /// Takes the server away, or brings it back: whoever is connected is thrown out, and nobody comes in.
    pub(super) fn is_away(&self, is_away: bool) {
        let (server, name) = self.on_server.as_ref().unwrap();
        let allow = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {}", !is_away);
        on_another_thread(server, allow).unwrap();
        let out = format!(
            "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE datname = '{name}'"
        );
        on_another_thread(server, out).unwrap();
        // Where a connection did not come about, nobody tries again for a moment.
        std::thread::sleep(Duration::from_millis(600));
    }

    /// Makes the server take no changes, as a standby does, or take them again; who is connected stays.
    pub(super) fn is_read_only(&self, is_read_only: bool) {
        let (server, name) = self.on_server.as_ref().unwrap();
        let set =
            format!("ALTER DATABASE {name} SET default_transaction_read_only = {is_read_only}");
        on_another_thread(server, set).unwrap();
    }

    /// Holds what writers take turns by, for so many seconds.
    pub(super) fn hold_turn(&self, seconds: u32) -> std::thread::JoinHandle<()> {
        let (url, (began, begun)) = (self.url().unwrap(), std::sync::mpsc::channel());
        let holding = std::thread::spawn(move || {
            let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
            let lock = format!(
                "BEGIN; SELECT pg_advisory_xact_lock({})",
                super::postgres::TURN
            );
            client.batch_execute(&lock).unwrap();
            began.send(()).unwrap();
            client
                .batch_execute(&format!("SELECT pg_sleep({seconds})"))
                .unwrap();
        });
        begun.recv().unwrap();
        holding
    }

    /// With a file of SQLite's.
    pub(super) fn with_a_file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Keys::generate_file(&directory.path().join("keys")).unwrap();
        Self {
            directory,
            on_server: None,
            grace: GRACE,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn keys(&self) -> Keys {
        Keys::read(&self.path("keys")).unwrap()
    }

    pub(super) fn database(&self) -> Database {
        match self.url() {
            None => Database::File(self.path("hub.db")),
            Some(_) => Database::Server(Box::new(self.server())),
        }
    }

    /// The database on the server. Only where the tests have one.
    pub(super) fn server(&self) -> Server {
        let url = self.url().unwrap_or_else(|| panic!("{SERVER} is not set"));
        Server::new(&url, None, None, 4, (self.grace, self.path("journal"))).unwrap()
    }

    /// The texts that a statement yields on the server.
    pub(super) fn on_server(&self, sql: &str) -> Vec<String> {
        on_another_thread(&self.url().unwrap(), sql.to_owned()).unwrap()
    }

    fn url(&self) -> Option<String> {
        let (server, name) = self.on_server.as_ref()?;
        let (server, _) = server.rsplit_once('/').unwrap();
        Some(format!("{server}/{name}"))
    }

    pub(super) async fn store(&self) -> Store {
        let store = Store::open(&self.database(), self.keys()).await;
        store.unwrap().for_client("client")
    }

    /// The file as somebody sees it who has it, and no key.
    pub(super) fn stolen(&self) -> Connection {
        Connection::open(self.path("hub.db")).unwrap()
    }

    /// Does something to the database as somebody who can write it, in SQLite's words.
    pub(super) fn tamper(&self, sql: &str) {
        self.try_to_tamper(sql).unwrap();
    }

    /// The same where it may be refused: why.
    pub(super) fn try_to_tamper(&self, sql: &str) -> Result<(), String> {
        match self.url() {
            None => self
                .stolen()
                .execute_batch(sql)
                .map_err(|error| error.to_string()),
            Some(url) => on_another_thread(&url, in_postgres_words(sql)).map(|_| ()),
        }
    }

    /// All that the database holds, as bytes and as hexadecimal digits.
    pub(super) fn content(&self) -> Vec<u8> {
        let Some(url) = self.url() else {
            let files =
                ["hub.db", "hub.db-wal"].map(|name| std::fs::read(self.path(name)).unwrap());
            return files.concat();
        };
        let tables =
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'";
        let mut content = Vec::new();
        for table in on_another_thread(&url, tables.to_owned()).unwrap() {
            let rows = on_another_thread(&url, format!("SELECT t::text FROM {table} t")).unwrap();
            content.extend(rows.concat().into_bytes());
        }
        content
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((server, name)) = &self.on_server {
            let _ = on_another_thread(server, format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// PostgreSQL's client has a runtime of its own, for which there is no room on a thread of another one. The texts that come
/// back.
fn on_another_thread(url: &str, sql: String) -> Result<Vec<String>, String> {
    let url = url.to_owned();
    let run = move || {
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        let messages = client.simple_query(&sql);
        let messages =
            messages.map_err(|error| error.as_db_error().unwrap().message().to_owned())?;
        let texts = messages.into_iter().filter_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(texts.collect())
    };
    std::thread::spawn(run).join().unwrap()
}

fn in_postgres_words(sql: &str) -> String {
    sql.replace("zeroblob(32)", "decode(repeat('00', 32), 'hex')")
        .replace(" x'", " '\\x")
        .replace("char(10)", "chr(10)")
        .replace("PRAGMA user_version = 99", "UPDATE schema SET version = 99")
}
