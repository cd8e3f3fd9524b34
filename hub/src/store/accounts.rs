//! Who is signed in, with the newest refresh token of each, sealed; and their names, for show.

use std::sync::atomic::Ordering;
use std::time::Duration;

use entrar_broker::accounts::{AccountId, Accounts, Turn, Versioned};
use entrar_broker::entra::Refusal;
use entrar_core::time::UnixTime;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use tracing::error;

use super::bindings::binding_of_account;
use super::columns::{Row, Value};
use super::database::Db;
use super::web_sessions::end_web_sessions_of;
use super::{AuditRow, Binding, Store, StoreError, audit};
use crate::seal::{Fields, Sealed};

const TABLE: &str = "refresh_tokens";

/// What an account is called, as the tenant says it. It proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileNames {
    /// The name to sign in with, such as `ada@example.com`.
    pub username: String,
    /// The person's name.
    pub name: String,
}

/// What is shown of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The name to sign in with, such as `ada@example.com`.
    pub username: String,
    /// The person's name.
    pub name: String,
    /// When the person last signed in in the browser.
    pub signed_in_at: Option<UnixTime>,
}

/// An account that the hub knows: signed in, bound, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The account.
    pub account: AccountId,
    /// What is shown of it.
    pub profile: Profile,
    /// Whether there is a refresh token.
    pub signed_in: bool,
    /// Whose it is on this machine.
    pub binding: Option<Binding>,
    /// Whether the database says whose it is in words that this hub did not write. Nobody gets its tokens then, and
    /// unbinding it is the way out.
    pub forged: bool,
}

impl Store {
    /// Signs an account in with this refresh token, in the place of any before, and keeps its names.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn sign_in_person(
        &self,
        account: AccountId,
        names: &ProfileNames,
        refresh_token: SecretString,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let (client_id, names) = (self.client_id.clone(), names.clone());
        let run = move |db: &Db<'_>| {
            db.execute(
                "INSERT INTO accounts (tid, oid, username, name, signed_in_at) VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT (tid, oid) DO UPDATE SET username = excluded.username, name = excluded.name,
                 signed_in_at = excluded.signed_in_at",
                (
                    account.tid.to_string(),
                    account.oid.to_string(),
                    names.username,
                    names.name,
                    now,
                ),
            )?;
            put(db, account, &client_id, &refresh_token)
        };
        let done = self.threads.write(run).await;
        self.forget_account(account);
        done
    }

    /// What is shown of an account; `None` if it is not signed in.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn profile(&self, account: AccountId) -> Result<Option<Profile>, StoreError> {
        let client_id = self.client_id.clone();
        let run = move |db: &Db<'_>| {
            db.row(
                "SELECT username, name, signed_in_at FROM accounts
                 JOIN refresh_tokens USING (tid, oid) WHERE tid = ? AND oid = ? AND client_id = ?",
                (
                    account.tid.to_string(),
                    account.oid.to_string(),
                    &*client_id,
                ),
                |row| profile_at(row, 0),
            )
        };
        self.threads.read(run).await
    }

    /// Every account that is signed in or bound, by user name.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn people(&self) -> Result<Vec<Person>, StoreError> {
        let client_id = self.client_id.clone();
        let run = move |db: &Db<'_>| {
            let known = db.rows(
                "SELECT tid, oid, username, name, signed_in_at, EXISTS (
                   SELECT 1 FROM refresh_tokens t WHERE t.tid = p.tid AND t.oid = p.oid AND client_id = ?)
                 FROM (SELECT tid, oid FROM accounts UNION SELECT tid, oid FROM bindings) p
                 LEFT JOIN accounts USING (tid, oid) ORDER BY username, tid, oid",
                (&*client_id,),
                |row| {
                    let profile = Profile {
                        username: row.get::<Option<_>>(2)?.unwrap_or_default(),
                        name: row.get::<Option<_>>(3)?.unwrap_or_default(),
                        signed_in_at: time_at(row, 4)?,
                    };
                    Ok((row.account(0, 1)?, profile, row.get(5)?))
                },
            )?;
            let people = known.into_iter().map(|(account, profile, signed_in)| {
                let (binding, forged) = match binding_of_account(db, account) {
                    // One row that somebody has forged must not hide everybody else from the administrator.
                    Err(StoreError::Forged { .. }) => (None, true),
                    found => (found?, false),
                };
                Ok(Person {
                    account,
                    profile,
                    signed_in,
                    binding,
                    forged,
                })
            });
            people.collect()
        };
        self.threads.read(run).await
    }
}

impl Accounts for Store {
    /// One commit for the refresh token and the row without which nobody gets a token: each waits for the disk.
    type Record = AuditRow;

    async fn sign_in(
        &self,
        account: AccountId,
        refresh_token: SecretString,
    ) -> Result<(), Refusal> {
        let client_id = self.client_id.clone();
        let run = move |db: &Db<'_>| put(db, account, &client_id, &refresh_token);
        let done = self.threads.write(run).await;
        self.forget_account(account);
        done.map_err(refused)
    }

    async fn sign_out(&self, account: AccountId) -> Result<bool, Refusal> {
        let run = move |db: &Db<'_>| delete(db, account);
        let done = self.threads.write(run).await;
        self.forget_account(account);
        done.map_err(refused)
    }

    async fn newest(&self, account: AccountId) -> Result<Option<Versioned>, Refusal> {
        let client_id = self.client_id.clone();
        let run = move |db: &Db<'_>| newest(db, account, &client_id);
        let asked = Instant::now();
        let said = self.threads.look_up(run).await;
        let newest = match self.memory() {
            Some(memory) => memory.newest(account, (asked, said)),
            None => said,
        };
        newest.map_err(refused)
    }

    async fn take_turn(&self, account: AccountId, longest: Duration) -> Result<Turn, Refusal> {
        let Some(shared) = &self.shared else {
            let newest = self.newest(account).await?;
            return Ok(newest.map_or(Turn::NotSignedIn, |newest| Turn::Given(newest, 0)));
        };
        let client_id = self.client_id.clone();
        let run = move |db: &Db<'_>| take_turn(db, account, &client_id, longest);
        let asked = Instant::now();
        match self.threads.write_loosely(run).await.map_err(refused)? {
            // What could not be written yet is newer.
            Turn::Given(newest, turn) => {
                let newest = shared.memory.newest(account, (asked, Ok(Some(newest))));
                let newest = newest.map_err(refused)?;
                Ok(newest.map_or(Turn::NotSignedIn, |newest| Turn::Given(newest, turn)))
            }
            Turn::Taken => {
                shared.turns_taken.fetch_add(1, Ordering::Relaxed);
                Ok(Turn::Taken)
            }
            Turn::NotSignedIn => Ok(Turn::NotSignedIn),
        }
    }

    async fn end_turn(&self, account: AccountId, turn: u64) {
        if self.shared.is_none() {
            return;
        }
        let client_id = self.client_id.clone();
        let run = move |db: &Db<'_>| end_turn(db, account, &client_id, turn);
        // Otherwise it ends by itself.
        let _ = self.threads.write_loosely(run).await;
    }

    async fn keep(
        &self,
        account: AccountId,
        granted: Option<SecretString>,
        used: u64,
        record: Option<AuditRow>,
    ) -> Result<bool, Refusal> {
        let client_id = self.client_id.clone();
        let (newer, row) = (granted.clone(), record.clone());
        let run = move |db: &Db<'_>| {
            let replaced = match &newer {
                Some(newer) => keep(db, account, &client_id, newer, used)?,
                None => None,
            };
            let is_signed_in = replaced.is_some() || version_of(db, account, &client_id)?.is_some();
            if let (true, Some(row)) = (is_signed_in, &row) {
                audit::append(db, row)?;
            }
            Ok((is_signed_in, replaced))
        };
        let kept = self.threads.write_beside(run).await;
        let kept = kept.map(|(is_signed_in, replaced)| {
            self.remember_newest(account, granted.clone(), replaced);
            is_signed_in
        });
        let kept = match (&self.shared, kept) {
            (Some(shared), Err(StoreError::Unavailable(why))) => {
                if !shared.memory.keep(account, granted, used) {
                    Err(StoreError::Unavailable(why))
                } else if let Some(row) = &record {
                    shared.journal.append(row).await.map(|()| true)
                } else {
                    Ok(true)
                }
            }
            (_, kept) => kept,
        };
        kept.map_err(refused)
    }
}

impl Store {
    /// What is remembered of it does not count any more, whatever came of the change.
    fn forget_account(&self, account: AccountId) {
        if let Some(memory) = self.memory() {
            memory.forget_account(account);
        }
    }

    /// What is to be used next, had the database gone away.
    fn remember_newest(
        &self,
        account: AccountId,
        granted: Option<SecretString>,
        version: Option<u64>,
    ) {
        if let (Some(memory), Some(refresh_token), Some(version)) =
            (self.memory(), granted, version)
        {
            let newest = Versioned {
                refresh_token,
                version,
            };
            memory.kept_newest(account, newest);
        }
    }

    /// Puts a refresh token in the place of the one of its version, if that is still there.
    pub(super) async fn write_newer(
        &self,
        account: AccountId,
        newer: &Versioned,
    ) -> Result<(), StoreError> {
        let (client_id, newer) = (self.client_id.clone(), newer.clone());
        let granted = Some(newer.refresh_token.clone());
        let run = move |db: &Db<'_>| {
            let Versioned {
                refresh_token,
                version,
            } = &newer;
            keep(db, account, &client_id, refresh_token, *version)
        };
        let replaced = self.threads.write_beside(run).await?;
        self.remember_newest(account, granted, replaced);
        Ok(())
    }
}

/// The log says what it is, and the person that it is.
fn refused(fault: StoreError) -> Refusal {
    error!(%fault, "refresh tokens cannot be read or kept");
    fault.into()
}

/// What a refresh token's seal is bound to.
fn fields(account: AccountId, client_id: &str, version: i64) -> Fields {
    Fields::of(TABLE)
        .text(&account.tid.to_string())
        .text(&account.oid.to_string())
        .text(client_id)
        .integer(version)
}

fn put(
    db: &Db<'_>,
    account: AccountId,
    client_id: &str,
    refresh_token: &SecretString,
) -> Result<(), StoreError> {
    let (tid, oid) = (account.tid.to_string(), account.oid.to_string());
    db.execute(
        "INSERT INTO accounts (tid, oid) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (&tid, &oid),
    )?;
    let version = db.next_version()?;
    let sealed = db.seal(
        &fields(account, client_id, version),
        refresh_token.expose_secret().as_bytes(),
    )?;
    db.execute(
        "INSERT INTO refresh_tokens (tid, oid, client_id, version, sealed, key_id) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (tid, oid, client_id) DO UPDATE SET version = excluded.version, sealed = excluded.sealed,
         key_id = excluded.key_id, leased_until = 0",
        (&tid, &oid, client_id, version, sealed.bytes, sealed.key_id),
    )?;
    Ok(())
}

/// Deletes an account's refresh tokens, of whichever app, and ends its sessions in browsers. Whether there was one.
pub(super) fn delete(db: &Db<'_>, account: AccountId) -> Result<bool, StoreError> {
    let id = (account.tid.to_string(), account.oid.to_string());
    let deleted = db.execute(
        "DELETE FROM refresh_tokens WHERE tid = ? AND oid = ?",
        (&id.0, &id.1),
    )?;
    end_web_sessions_of(db, account)?;
    // The names of somebody who is still bound stay for the administrator's list.
    db.execute(
        "DELETE FROM accounts WHERE tid = ?1 AND oid = ?2
         AND NOT EXISTS (SELECT 1 FROM bindings WHERE tid = ?1 AND oid = ?2)",
        (&id.0, &id.1),
    )?;
    Ok(deleted > 0)
}

/// Where hubs share a database: the lease of an account's refresh token, on the database's own clock.
fn take_turn(
    db: &Db<'_>,
    account: AccountId,
    client_id: &str,
    longest: Duration,
) -> Result<Turn, StoreError> {
    let turn = i64::try_from(getrandom::u64()? >> 1).unwrap_or_default();
    let now = "extract(epoch FROM clock_timestamp())::double precision";
    let sql = format!(
        "UPDATE refresh_tokens SET leased_by = ?, leased_until = {now} + ?
         WHERE tid = ? AND oid = ? AND client_id = ? AND leased_until < {now}
         RETURNING version, sealed, key_id"
    );
    let row = db.row(
        &sql,
        (
            turn,
            longest.as_secs_f64(),
            account.tid.to_string(),
            account.oid.to_string(),
            client_id,
        ),
        |row| Ok((row.get(0)?, row.sealed(1)?)),
    )?;
    match row {
        Some((version, sealed)) => {
            let newest = opened(db, account, client_id, version, &sealed)?;
            Ok(Turn::Given(newest, turn.unsigned_abs()))
        }
        None if version_of(db, account, client_id)?.is_some() => Ok(Turn::Taken),
        None => Ok(Turn::NotSignedIn),
    }
}

fn end_turn(
    db: &Db<'_>,
    account: AccountId,
    client_id: &str,
    turn: u64,
) -> Result<u64, StoreError> {
    db.execute(
        "UPDATE refresh_tokens SET leased_until = 0
         WHERE tid = ? AND oid = ? AND client_id = ? AND leased_by = ?",
        (
            account.tid.to_string(),
            account.oid.to_string(),
            client_id,
            i64::try_from(turn).unwrap_or(-1),
        ),
    )
}

fn version_of(db: &Db<'_>, account: AccountId, client_id: &str) -> Result<Option<i64>, StoreError> {
    db.row(
        "SELECT version FROM refresh_tokens WHERE tid = ? AND oid = ? AND client_id = ?",
        (account.tid.to_string(), account.oid.to_string(), client_id),
        |row| row.get(0),
    )
}

fn newest(
    db: &Db<'_>,
    account: AccountId,
    client_id: &str,
) -> Result<Option<Versioned>, StoreError> {
    let row = db.row(
        "SELECT version, sealed, key_id FROM refresh_tokens WHERE tid = ? AND oid = ? AND client_id = ?",
        (account.tid.to_string(), account.oid.to_string(), client_id),
        |row| {
            let sealed = row.sealed(1)?;
            Ok((row.get::<i64>(0)?, sealed))
        },
    )?;
    row.map(|(version, sealed)| opened(db, account, client_id, version, &sealed))
        .transpose()
}

fn opened(
    db: &Db<'_>,
    account: AccountId,
    client_id: &str,
    version: i64,
    sealed: &Sealed,
) -> Result<Versioned, StoreError> {
    let forged = || StoreError::Forged {
        table: TABLE,
        row: account.to_string(),
    };
    let opened = db.open(
        TABLE,
        &account.to_string(),
        &fields(account, client_id, version),
        sealed,
    )?;
    let text = std::str::from_utf8(&opened).map_err(|_| forged())?;
    Ok(Versioned {
        refresh_token: text.into(),
        version: u64::try_from(version).map_err(|_| forged())?,
    })
}

/// Whether refresh tokens that meet a condition were sealed with the keys.
///
/// # Errors
/// [`StoreError::Forged`]; those of the database.
pub(super) fn check(
    db: &Db<'_>,
    condition: &str,
    parameters: &[Value<'_>],
) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT tid, oid, client_id, version, sealed, key_id FROM refresh_tokens WHERE {condition}"
    );
    let found = db.rows(&sql, parameters, |row| {
        let client_id: String = row.get(2)?;
        Ok((row.account(0, 1)?, client_id, row.get(3)?, row.sealed(4)?))
    })?;
    for (account, client_id, version, sealed) in &found {
        opened(db, *account, client_id, *version, sealed)?;
    }
    Ok(())
}

/// Seals refresh tokens anew that are not under the first key; how many.
pub(super) fn rekey(db: &Db<'_>, first: &str) -> Result<u64, StoreError> {
    let rows = db.rows(
        "SELECT tid, oid, client_id, version, sealed, key_id FROM refresh_tokens WHERE key_id <> ? LIMIT 100",
        (first,),
        |row| {
            let sealed = row.sealed(4)?;
            let client_id: String = row.get(2)?;
            Ok((row.account(0, 1)?, client_id, row.get::<i64>(3)?, sealed))
        },
    )?;
    for (account, client_id, version, sealed) in &rows {
        let fields = fields(*account, client_id, *version);
        let opened = db.open(TABLE, &account.to_string(), &fields, sealed)?;
        let sealed = db.seal(&fields, &opened)?;
        db.execute(
            "UPDATE refresh_tokens SET sealed = ?, key_id = ? WHERE tid = ? AND oid = ? AND client_id = ? AND version = ?",
            (
                sealed.bytes,
                sealed.key_id,
                account.tid.to_string(),
                account.oid.to_string(),
                client_id,
                version,
            ),
        )?;
    }
    Ok(rows.len() as u64)
}

/// Keeps a newer refresh token in the place of the one that it was granted for, if that is still there: its version then.
fn keep(
    db: &Db<'_>,
    account: AccountId,
    client_id: &str,
    granted: &SecretString,
    used: u64,
) -> Result<Option<u64>, StoreError> {
    let version = db.next_version()?;
    let sealed = db.seal(
        &fields(account, client_id, version),
        granted.expose_secret().as_bytes(),
    )?;
    let replaced = db.execute(
        "UPDATE refresh_tokens SET version = ?, sealed = ?, key_id = ?, leased_until = 0
         WHERE tid = ? AND oid = ? AND client_id = ? AND version = ?",
        (
            version,
            sealed.bytes,
            sealed.key_id,
            account.tid.to_string(),
            account.oid.to_string(),
            client_id,
            i64::try_from(used).unwrap_or(i64::MAX),
        ),
    )?;
    Ok(u64::try_from(version).ok().filter(|_| replaced > 0))
}

fn profile_at(row: &Row<'_>, first: usize) -> Result<Profile, StoreError> {
    Ok(Profile {
        username: row.get(first)?,
        name: row.get(first + 1)?,
        signed_in_at: time_at(row, first + 2)?,
    })
}

fn time_at(row: &Row<'_>, column: usize) -> Result<Option<UnixTime>, StoreError> {
    let seconds: Option<f64> = row.get(column)?;
    Ok(seconds.map(UnixTime::new))
}
