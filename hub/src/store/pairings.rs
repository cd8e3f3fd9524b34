//! Pairings by a code: who may pair, and what is under way.

use entrar_core::time::UnixTime;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::columns::{Parameters, Value};
use super::database::Db;
use super::{LocalUser, Store, StoreError};
use crate::seal::{Fields, hash};

const PERMITS: &str = "permits";
const PAIRINGS: &str = "pairings";

/// When a pairing ends, and what is kept of it.
type Kept = (UnixTime, Zeroizing<Vec<u8>>);

/// What becomes of a pairing that was looked at.
#[derive(Debug)]
pub enum Change<T> {
    /// It stays as it is.
    None(T),
    /// This is kept in its place.
    To(Zeroizing<Vec<u8>>, T),
    /// It is over.
    Over(T),
}

impl Store {
    /// Lets a user pair until this time.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn permit(&self, user: &LocalUser, expires_at: UnixTime) -> Result<(), StoreError> {
        let user = user.clone();
        let run = move |db: &Db<'_>| put_permit(db, &user, expires_at);
        self.threads.write(run).await
    }

    /// Whether a user may pair now.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Forged`].
    pub async fn is_permitted(&self, user: &LocalUser, now: UnixTime) -> Result<bool, StoreError> {
        let user = user.clone();
        let run = move |db: &Db<'_>| {
            let permits = permits(db, "uid = ?", (user.uid,))?;
            Ok(permits
                .into_iter()
                .any(|(permitted, expires_at)| permitted == user && now < expires_at))
        };
        self.threads.read(run).await
    }

    /// Ends a permission, which counts for one pairing.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_permit(&self, user: &LocalUser) -> Result<(), StoreError> {
        let uid = user.uid;
        let run = move |db: &Db<'_>| db.execute("DELETE FROM permits WHERE uid = ?", (uid,));
        self.threads.write(run).await.map(|_| ())
    }

    /// Begins a pairing, which whoever has the ticket can look at.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin_pairing(
        &self,
        ticket: &SecretString,
        payload: &[u8],
        now: UnixTime,
        expires_at: UnixTime,
    ) -> Result<(), StoreError> {
        let ticket = hash(ticket.expose_secret());
        let payload = Zeroizing::new(payload.to_vec());
        let run = move |db: &Db<'_>| {
            db.execute("DELETE FROM pairings WHERE expires_at <= ?", (now,))?;
            put(db, &ticket, expires_at, &payload)
        };
        self.threads.write(run).await
    }

    /// Looks at a pairing, and changes it as `change` says, before anybody else looks. `None` if there is none, or its time is
    /// over.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Forged`].
    pub async fn change_pairing<T: Send + 'static>(
        &self,
        ticket: &str,
        now: UnixTime,
        change: impl FnOnce(&[u8]) -> Change<T> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let ticket = hash(ticket);
        let run = move |db: &Db<'_>| {
            let Some((expires_at, payload)) = pairing(db, &ticket)? else {
                return Ok(None);
            };
            if expires_at <= now {
                return Ok(None);
            }
            Ok(Some(match change(&payload) {
                Change::None(result) => result,
                Change::To(payload, result) => {
                    put(db, &ticket, expires_at, &payload)?;
                    result
                }
                Change::Over(result) => {
                    db.execute("DELETE FROM pairings WHERE ticket_hash = ?", (ticket,))?;
                    result
                }
            }))
        };
        self.threads.write(run).await
    }
}

fn put_permit(db: &Db<'_>, user: &LocalUser, expires_at: UnixTime) -> Result<(), StoreError> {
    let mac = db.mac(&permit_fields(user, expires_at))?;
    db.execute(
        "INSERT INTO permits (uid, user_name, expires_at, mac, key_id) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (uid) DO UPDATE SET user_name = excluded.user_name, expires_at = excluded.expires_at,
         mac = excluded.mac, key_id = excluded.key_id",
        (user.uid, &user.name, expires_at, mac.mac, mac.key_id),
    )?;
    Ok(())
}

fn permits(
    db: &Db<'_>,
    condition: &str,
    parameters: impl Parameters,
) -> Result<Vec<(LocalUser, UnixTime)>, StoreError> {
    let sql =
        format!("SELECT uid, user_name, expires_at, mac, key_id FROM permits WHERE {condition}");
    let rows = db.rows(&sql, parameters, |row| {
        let user = row.user(0)?;
        let mac = row.mac(3)?;
        Ok((user, row.time(2)?, mac))
    })?;
    rows.into_iter()
        .map(|(user, expires_at, mac)| {
            db.verify(PERMITS, &user.name, &permit_fields(&user, expires_at), &mac)?;
            Ok((user, expires_at))
        })
        .collect()
}

/// Whether permits that meet a condition were made with the keys.
///
/// # Errors
/// [`StoreError::Forged`]; those of the database.
pub(super) fn check_permits(
    db: &Db<'_>,
    condition: &str,
    parameters: &[Value<'_>],
) -> Result<(), StoreError> {
    permits(db, condition, parameters).map(drop)
}

/// The same of pairings.
///
/// # Errors
/// As [`check_permits`].
pub(super) fn check(
    db: &Db<'_>,
    condition: &str,
    parameters: &[Value<'_>],
) -> Result<(), StoreError> {
    pairings(db, condition, parameters).map(drop)
}

fn permit_fields(user: &LocalUser, expires_at: UnixTime) -> Fields {
    Fields::of(PERMITS)
        .integer(user.uid.into())
        .text(&user.name)
        .time(expires_at)
}

fn put(
    db: &Db<'_>,
    ticket: &[u8; 32],
    expires_at: UnixTime,
    payload: &[u8],
) -> Result<(), StoreError> {
    let sealed = db.seal(&pairing_fields(ticket, expires_at), payload)?;
    db.execute(
        "INSERT INTO pairings (ticket_hash, expires_at, sealed, key_id) VALUES (?, ?, ?, ?)
         ON CONFLICT (ticket_hash) DO UPDATE SET sealed = excluded.sealed, key_id = excluded.key_id",
        (ticket, expires_at, sealed.bytes, sealed.key_id),
    )?;
    Ok(())
}

fn pairing(db: &Db<'_>, ticket: &[u8; 32]) -> Result<Option<Kept>, StoreError> {
    Ok(pairings(db, "ticket_hash = ?", (ticket,))?.pop())
}

fn pairings(
    db: &Db<'_>,
    condition: &str,
    parameters: impl Parameters,
) -> Result<Vec<Kept>, StoreError> {
    let sql =
        format!("SELECT ticket_hash, expires_at, sealed, key_id FROM pairings WHERE {condition}");
    let found = db.rows(&sql, parameters, |row| {
        let ticket: [u8; 32] = row.get(0)?;
        let sealed = row.sealed(2)?;
        Ok((ticket, row.time(1)?, sealed))
    })?;
    let opened = found.into_iter().map(|(ticket, expires_at, sealed)| {
        let fields = pairing_fields(&ticket, expires_at);
        let payload = db.open(PAIRINGS, "a pairing under way", &fields, &sealed)?;
        Ok((expires_at, payload))
    });
    opened.collect()
}

fn pairing_fields(ticket: &[u8; 32], expires_at: UnixTime) -> Fields {
    Fields::of(PAIRINGS).bytes(ticket).time(expires_at)
}

/// Writes all permits and pairings anew that are not under the first key; how many.
pub(super) fn rekey(db: &Db<'_>, first: &str) -> Result<u64, StoreError> {
    let permits = permits(db, "key_id <> ? LIMIT 100", (first,))?;
    for (user, expires_at) in &permits {
        put_permit(db, user, *expires_at)?;
    }
    let tickets: Vec<[u8; 32]> = db.rows(
        "SELECT ticket_hash FROM pairings WHERE key_id <> ? LIMIT 100",
        (first,),
        |row| row.get(0),
    )?;
    for ticket in &tickets {
        if let Some((expires_at, payload)) = pairing(db, ticket)? {
            put(db, ticket, expires_at, &payload)?;
        }
    }
    Ok((permits.len() + tickets.len()) as u64)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Place, user};
    use super::*;

    #[tokio::test]
    async fn a_permit_is_of_one_user_and_ends() {
        let place = Place::new();
        let store = place.store().await;
        let ada = user(1_001, "ada");
        assert!(!store.is_permitted(&ada, NOW).await.unwrap());
        store.permit(&ada, NOW + 60.0).await.unwrap();
        assert!(store.is_permitted(&ada, NOW).await.unwrap());
        assert!(!store.is_permitted(&ada, NOW + 60.0).await.unwrap());
        assert!(!store.is_permitted(&user(1_001, "eve"), NOW).await.unwrap());
        assert!(!store.is_permitted(&user(1_002, "ada"), NOW).await.unwrap());
        place.tamper("UPDATE permits SET expires_at = expires_at + 1000");
        let forged = store.is_permitted(&ada, NOW).await.unwrap_err();
        assert!(
            matches!(
                forged,
                StoreError::Forged {
                    table: "permits",
                    ..
                }
            ),
            "{forged}"
        );
        store.end_permit(&ada).await.unwrap();
        assert!(!store.is_permitted(&ada, NOW).await.unwrap());
    }

    #[tokio::test]
    async fn a_pairing_is_changed_by_one_after_another_and_ends() {
        let place = Place::new();
        let store = place.store().await;
        let ticket = SecretString::from("ticket");
        store
            .begin_pairing(&ticket, b"0", NOW, NOW + 60.0)
            .await
            .unwrap();
        let count = |payload: &[u8]| {
            let number: u32 = std::str::from_utf8(payload).unwrap().parse().unwrap();
            let next = Zeroizing::new((number + 1).to_string().into_bytes());
            Change::To(next, number)
        };
        let mut tasks = Vec::new();
        for _ in 0..20 {
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                store.change_pairing("ticket", NOW, count).await
            }));
        }
        let mut seen = Vec::new();
        for task in tasks {
            seen.push(task.await.unwrap().unwrap().unwrap());
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
        let none = |_: &[u8]| Change::None(());
        assert!(
            store
                .change_pairing("other", NOW, none)
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            store
                .change_pairing("ticket", NOW + 60.0, none)
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            store
                .change_pairing("ticket", NOW, |_| Change::Over(()))
                .await
                .unwrap()
                .is_some()
        );
        assert!(
            store
                .change_pairing("ticket", NOW, none)
                .await
                .unwrap()
                .is_none()
        );
    }
}
