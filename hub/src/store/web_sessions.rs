//! The sessions of browsers on the hub's own pages: each is of an account.

use entrar_broker::accounts::AccountId;
use entrar_broker::random;
use entrar_core::time::UnixTime;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use super::columns::{Parameters, Row, Value};
use super::database::Db;
use super::{Store, StoreError};
use crate::seal::{Fields, RowMac, hash};

const TABLE: &str = "web_sessions";
const COLUMNS: &str = "id, cookie_hash, tid, oid, opened_at, expires_at, mac, key_id";

/// Names a browser's session; worth nothing without the rest of the cookie.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebSessionId(String);

impl WebSessionId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A browser's session that is open.
#[derive(Clone, Debug)]
pub struct WebSession {
    /// Its id.
    pub id: WebSessionId,
    /// Who is signed in there.
    pub account: AccountId,
    /// Since when.
    pub opened_at: UnixTime,
    /// When it expires.
    pub expires_at: UnixTime,
}

impl Store {
    /// Opens a browser's session; the result is its cookie's value, of letters, digits, `-`, `_` and one dot.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn open_web_session(
        &self,
        account: AccountId,
        now: UnixTime,
        expires_at: UnixTime,
    ) -> Result<SecretString, StoreError> {
        let id = random::text::<16>()?;
        let cookie = SecretString::from(format!("{id}.{}", random::text::<32>()?));
        let row = Stored {
            cookie_hash: hash(cookie.expose_secret()),
            id,
            account,
            opened_at: now,
            expires_at,
        };
        let run = move |db: &Db<'_>| {
            let mac = db.mac(&row.fields())?;
            db.execute(
                &format!("INSERT INTO web_sessions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
                (
                    row.id,
                    row.cookie_hash,
                    account.tid.to_string(),
                    account.oid.to_string(),
                    now,
                    expires_at,
                    mac.mac,
                    mac.key_id,
                ),
            )
        };
        self.threads.write(run).await?;
        Ok(cookie)
    }

    /// The session of a browser's cookie, if it is open.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Forged`].
    pub async fn web_session(
        &self,
        cookie: &str,
        now: UnixTime,
    ) -> Result<Option<WebSession>, StoreError> {
        let Some((id, _)) = cookie.split_once('.') else {
            return Ok(None);
        };
        let (id, given) = (id.to_owned(), hash(cookie));
        let run = move |db: &Db<'_>| {
            let Some(row) = select(db, "id = ?", (&id,))?.pop() else {
                return Ok(None);
            };
            let is_same: bool = row.cookie_hash.ct_eq(&given).into();
            Ok((is_same && now < row.expires_at).then_some(WebSession {
                id: WebSessionId(row.id),
                account: row.account,
                opened_at: row.opened_at,
                expires_at: row.expires_at,
            }))
        };
        self.threads.look_up(run).await
    }

    /// Ends a browser's session; whether there was one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_web_session(&self, id: &WebSessionId) -> Result<bool, StoreError> {
        let id = id.clone();
        let run = move |db: &Db<'_>| db.execute("DELETE FROM web_sessions WHERE id = ?", (id.0,));
        Ok(self.threads.write(run).await? > 0)
    }

    /// Ends an account's sessions in all browsers; how many.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_web_sessions_of(&self, account: AccountId) -> Result<u64, StoreError> {
        self.threads
            .write(move |db| end_web_sessions_of(db, account))
            .await
    }
}

pub(super) fn end_web_sessions_of(db: &Db<'_>, account: AccountId) -> Result<u64, StoreError> {
    let ended = db.execute(
        "DELETE FROM web_sessions WHERE tid = ? AND oid = ?",
        (account.tid.to_string(), account.oid.to_string()),
    )?;
    Ok(ended)
}

/// Whether browsers' sessions that meet a condition were made with the keys.
///
/// # Errors
/// [`StoreError::Forged`]; those of the database.
pub(super) fn check(
    db: &Db<'_>,
    condition: &str,
    parameters: &[Value<'_>],
) -> Result<(), StoreError> {
    select(db, condition, parameters).map(drop)
}

fn select(
    db: &Db<'_>,
    condition: &str,
    parameters: impl Parameters,
) -> Result<Vec<Stored>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM web_sessions WHERE {condition}");
    let found = db.rows(&sql, parameters, stored_at)?;
    let verified = found.into_iter().map(|(row, mac)| {
        db.verify(TABLE, &row.id, &row.fields(), &mac)?;
        Ok(row)
    });
    verified.collect()
}

/// Signs browsers' sessions anew that are not under the first key; how many.
pub(super) fn rekey(db: &Db<'_>, first: &str) -> Result<u64, StoreError> {
    let found = select(db, "key_id <> ? LIMIT 100", (first,))?;
    for row in &found {
        let mac = db.mac(&row.fields())?;
        db.execute(
            "UPDATE web_sessions SET mac = ?, key_id = ? WHERE id = ?",
            (mac.mac, mac.key_id, &row.id),
        )?;
    }
    Ok(found.len() as u64)
}

struct Stored {
    id: String,
    cookie_hash: [u8; 32],
    account: AccountId,
    opened_at: UnixTime,
    expires_at: UnixTime,
}

impl Stored {
    fn fields(&self) -> Fields {
        Fields::of(TABLE)
            .text(&self.id)
            .bytes(&self.cookie_hash)
            .text(&self.account.tid.to_string())
            .text(&self.account.oid.to_string())
            .time(self.opened_at)
            .time(self.expires_at)
    }
}

fn stored_at(row: &Row<'_>) -> Result<(Stored, RowMac), StoreError> {
    let stored = Stored {
        id: row.get(0)?,
        cookie_hash: row.get(1)?,
        account: row.account(2, 3)?,
        opened_at: row.time(4)?,
        expires_at: row.time(5)?,
    };
    let mac = row.mac(6)?;
    Ok((stored, mac))
}
