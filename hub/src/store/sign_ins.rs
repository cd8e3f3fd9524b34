//! Sign-ins under way at the tenant: what the callback needs, sealed, found by the hash of `state`, bound to the browser that
//! began, and taken once.

use entrar_core::time::UnixTime;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use super::columns::{Parameters, Row, Value};
use super::database::Db;
use super::{Store, StoreError};
use crate::seal::{Fields, Sealed, hash};

const TABLE: &str = "sign_ins";

impl Store {
    /// Keeps what the callback of a sign-in needs: its PKCE verifier, its nonce, what it is for. `browser` is the value of
    /// the cookie that the start page has set.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin_sign_in(
        &self,
        state: &SecretString,
        browser: &SecretString,
        payload: &[u8],
        expires_at: UnixTime,
    ) -> Result<(), StoreError> {
        let state = hash(state.expose_secret());
        let browser = hash(browser.expose_secret());
        let payload = Zeroizing::new(payload.to_vec());
        let run = move |db: &Db<'_>| {
            let sealed = db.seal(&fields(&state, &browser, expires_at), &payload)?;
            db.execute(
                "INSERT INTO sign_ins (state_hash, browser_hash, expires_at, sealed, key_id) VALUES (?, ?, ?, ?, ?)",
                (state, browser, expires_at, sealed.bytes, sealed.key_id),
            )
        };
        self.threads.write(run).await.map(|_| ())
    }

    /// Takes what was kept for this `state`, which works once. Another browser than the one that began takes nothing and
    /// ends nothing: else whoever learns a `state` could end the attempt.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Forged`].
    pub async fn take_sign_in(
        &self,
        state: &str,
        browser: &str,
        now: UnixTime,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let (state, browser) = (hash(state), hash(browser));
        let run = move |db: &Db<'_>| {
            let taken = db.row(
                "DELETE FROM sign_ins WHERE state_hash = ? AND browser_hash = ?
                 RETURNING expires_at, sealed, key_id",
                (state, browser),
                |row| kept_at(row, 0),
            )?;
            Ok(taken.map(|(expires_at, sealed)| {
                let opened = open(db, &state, &browser, expires_at, &sealed);
                (expires_at, opened)
            }))
        };
        // A forged one is taken all the same, so the operation itself is a success.
        match self.threads.write(run).await? {
            Some((_, Err(error))) => Err(error),
            Some((expires_at, Ok(payload))) => Ok((now < expires_at).then_some(payload)),
            None => Ok(None),
        }
    }

    /// What was kept for this `state`, which stays.
    ///
    /// # Errors
    /// As [`Store::take_sign_in`].
    pub async fn read_sign_in(
        &self,
        state: &str,
        browser: &str,
        now: UnixTime,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let (state, browser) = (hash(state), hash(browser));
        let run = move |db: &Db<'_>| {
            let found = db.row(
                "SELECT expires_at, sealed, key_id FROM sign_ins WHERE state_hash = ? AND browser_hash = ?",
                (state, browser),
                |row| kept_at(row, 0),
            )?;
            let current = found.filter(|(expires_at, _)| now < *expires_at);
            current
                .map(|(expires_at, sealed)| open(db, &state, &browser, expires_at, &sealed))
                .transpose()
        };
        self.threads.read(run).await
    }
}

/// Seals sign-ins under way anew that are not under the first key; how many.
pub(super) fn rekey(db: &Db<'_>, first: &str) -> Result<u64, StoreError> {
    let found = select(db, "key_id <> ? LIMIT 100", (first,))?;
    for ((state, browser), (expires_at, sealed)) in &found {
        let opened = open(db, state, browser, *expires_at, sealed)?;
        let sealed = db.seal(&fields(state, browser, *expires_at), &opened)?;
        db.execute(
            "UPDATE sign_ins SET sealed = ?, key_id = ? WHERE state_hash = ?",
            (sealed.bytes, sealed.key_id, state),
        )?;
    }
    Ok(found.len() as u64)
}

/// Whether sign-ins that meet a condition were sealed with the keys.
///
/// # Errors
/// [`StoreError::Forged`]; those of the database.
pub(super) fn check(
    db: &Db<'_>,
    condition: &str,
    parameters: &[Value<'_>],
) -> Result<(), StoreError> {
    for ((state, browser), (expires_at, sealed)) in select(db, condition, parameters)? {
        open(db, &state, &browser, expires_at, &sealed)?;
    }
    Ok(())
}

/// The hashes that name a sign-in, and what is kept of it.
type Found = (([u8; 32], [u8; 32]), (UnixTime, Sealed));

fn select(
    db: &Db<'_>,
    condition: &str,
    parameters: impl Parameters,
) -> Result<Vec<Found>, StoreError> {
    let sql = format!(
        "SELECT state_hash, browser_hash, expires_at, sealed, key_id FROM sign_ins WHERE {condition}"
    );
    db.rows(&sql, parameters, |row| {
        let hashes = (row.get(0)?, row.get(1)?);
        Ok((hashes, kept_at(row, 2)?))
    })
}

/// When a sign-in expires, and what is sealed of it, from this column on.
fn kept_at(row: &Row<'_>, first: usize) -> Result<(UnixTime, Sealed), StoreError> {
    let sealed = row.sealed(first + 1)?;
    Ok((row.time(first)?, sealed))
}

fn open(
    db: &Db<'_>,
    state: &[u8; 32],
    browser: &[u8; 32],
    expires_at: UnixTime,
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let fields = fields(state, browser, expires_at);
    db.open(TABLE, "a sign-in under way", &fields, sealed)
}

fn fields(state: &[u8; 32], browser: &[u8; 32], expires_at: UnixTime) -> Fields {
    Fields::of(TABLE)
        .bytes(state)
        .bytes(browser)
        .time(expires_at)
}
