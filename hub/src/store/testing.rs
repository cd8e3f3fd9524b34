//! What the tests of the store share.

use std::path::PathBuf;

use entrar_broker::accounts::AccountId;
use entrar_core::guid::Guid;
use entrar_core::time::UnixTime;
use rusqlite::Connection;

use super::{LocalUser, Store};
use crate::keys::Keys;

pub(super) const NOW: UnixTime = UnixTime::of_whole(1_795_392_000);
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

/// A directory with a key file, for a database.
pub(super) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Keys::generate_file(&directory.path().join("keys")).unwrap();
        Self { directory }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn keys(&self) -> Keys {
        Keys::read(&self.path("keys")).unwrap()
    }

    pub(super) async fn store(&self) -> Store {
        let store = Store::open(&self.path("hub.db"), self.keys()).await;
        store.unwrap().for_client("client")
    }

    /// The database as somebody sees it who has the file, and no key.
    pub(super) fn stolen(&self) -> Connection {
        Connection::open(self.path("hub.db")).unwrap()
    }

    /// Does something to the database as somebody who can write the file.
    pub(super) fn tamper(&self, sql: &str) {
        self.stolen().execute_batch(sql).unwrap();
    }
}
