//! What an operation works with, whichever database it is: statements and rows, and the keys that rows are sealed with.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::zeroize::Zeroizing;

use super::StoreError;
use super::columns::{Parameters, Row, Value};
use crate::keys::Keys;
use crate::seal::{self, Fields, RowMac, SealError, Sealed};

/// The keys that all threads use; they can be read anew.
pub(super) type SharedKeys = Arc<RwLock<Keys>>;

/// What is done with each row that is found.
pub(super) type EachRow<'a> = &'a mut dyn FnMut(&Row<'_>) -> Result<(), StoreError>;

/// A connection to a database. Statements are SQL that SQLite and PostgreSQL both know, with `?` for each parameter, or `?1`,
/// `?2` and so on where one stands twice.
pub(super) trait Connection {
    /// Runs a statement that returns no rows; how many it changed.
    ///
    /// # Errors
    /// Those of the database.
    fn execute(&self, sql: &str, parameters: &[Value<'_>]) -> Result<u64, StoreError>;

    /// Runs a statement that returns rows.
    ///
    /// # Errors
    /// Those of the database, and those of what is done with a row.
    fn query(
        &self,
        sql: &str,
        parameters: &[Value<'_>],
        each: EachRow<'_>,
    ) -> Result<(), StoreError>;

    /// A version that no refresh token has had before.
    ///
    /// # Errors
    /// Those of the database.
    fn next_version(&self) -> Result<i64, StoreError>;
}

/// What an operation works with.
pub(super) struct Db<'a> {
    pub(super) connection: &'a dyn Connection,
    pub(super) keys: &'a SharedKeys,
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

/// Whether the keys are the database's; new ones are made known to it. Nobody else may write meanwhile.
///
/// # Errors
/// What is wrong with the keys; those of the database.
pub(super) fn check_keys(db: &Db<'_>) -> Result<(), StoreError> {
    let keys = read_lock(db.keys);
    let known = known_keys(db)?;
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
        let sql = format!("SELECT DISTINCT key_id FROM {table}");
        for id in db.rows(&sql, (), |row| row.get::<String>(0))? {
            if keys.find(&id).is_none() {
                return Err(StoreError::MissingKey(id));
            }
        }
    }
    for key in keys.iter() {
        db.execute(
            "INSERT INTO keys (id, check_value) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (key.id(), key.check()),
        )?;
    }
    Ok(())
}

fn known_keys(db: &Db<'_>) -> Result<Vec<(String, [u8; 32])>, StoreError> {
    db.rows("SELECT id, check_value FROM keys ORDER BY id", (), |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

fn read_lock(keys: &SharedKeys) -> Keys {
    keys.read().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Db<'_> {
    /// Runs a statement that returns no rows; how many it changed.
    pub(super) fn execute(
        &self,
        sql: &str,
        parameters: impl Parameters,
    ) -> Result<u64, StoreError> {
        self.connection.execute(sql, &parameters.values())
    }

    /// The first row, if there is one.
    pub(super) fn row<T>(
        &self,
        sql: &str,
        parameters: impl Parameters,
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut first = None;
        self.connection
            .query(sql, &parameters.values(), &mut |row| {
                if first.is_none() {
                    first = Some(read(row)?);
                }
                Ok(())
            })?;
        Ok(first)
    }

    /// All rows.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        parameters: impl Parameters,
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut rows = Vec::new();
        self.connection
            .query(sql, &parameters.values(), &mut |row| {
                rows.push(read(row)?);
                Ok(())
            })?;
        Ok(rows)
    }

    /// A version that no refresh token has had before.
    pub(super) fn next_version(&self) -> Result<i64, StoreError> {
        self.connection.next_version()
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
        let known = known_keys(self)?;
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
        let known = known_keys(self).ok()?;
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
