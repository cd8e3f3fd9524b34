//! Launchers: programs that open sessions for the users on their list, by a key of their own.

use entrar_broker::random;
use entrar_core::time::UnixTime;
use secrecy::SecretString;

use super::columns::{Parameters, Row, Value};
use super::database::Db;
use super::{LocalUser, Store, StoreError, sessions};
use crate::seal::{Fields, RowMac, hash};

const TABLE: &str = "launchers";
const COLUMNS: &str = "name, key_hash, users, uid, network, added_at, expires_at, mac, key_id";

/// A launcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// Its name.
    pub name: String,
    /// Whom it may open sessions for.
    pub users: Vec<LocalUser>,
    /// From where its key counts.
    pub from: From,
    /// When it was added.
    pub added_at: UnixTime,
    /// When its key expires.
    pub expires_at: UnixTime,
}

/// From where a launcher's key counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// Processes of this uid, through the socket.
    Uid(u32),
    /// Machines of this network, such as `10.1.0.0/16`, by https.
    Network(String),
}

impl Store {
    /// Adds a launcher; the result is its key, which is not kept. `None` if there is one of this name.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn add_launcher(
        &self,
        launcher: &Launcher,
    ) -> Result<Option<SecretString>, StoreError> {
        let launcher = launcher.clone();
        let key = random::text::<32>()?;
        let key_hash = hash(&key);
        let run = move |db: &Db<'_>| {
            if !select(db, "name = ?", (&launcher.name,))?.is_empty() {
                return Ok(false);
            }
            put(db, &launcher, &key_hash)?;
            Ok(true)
        };
        let is_new = self.threads.write(run).await?;
        Ok(is_new.then(|| key.into()))
    }

    /// The launcher with this key; `None` if there is none, or the key has expired.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Forged`].
    pub async fn launcher(&self, key: &str, now: UnixTime) -> Result<Option<Launcher>, StoreError> {
        let key_hash = hash(key);
        let run = move |db: &Db<'_>| select(db, "key_hash = ?", (key_hash,));
        let found = self.threads.read(run).await?.pop();
        Ok(found
            .map(|(launcher, _)| launcher)
            .filter(|launcher| now < launcher.expires_at))
    }

    /// All launchers.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Forged`].
    pub async fn launchers(&self) -> Result<Vec<Launcher>, StoreError> {
        let found = self
            .threads
            .read(|db: &Db<'_>| select(db, "TRUE", ()))
            .await?;
        Ok(found.into_iter().map(|(launcher, _)| launcher).collect())
    }

    /// Takes a launcher's key back and ends the sessions that it has opened; how many, `None` if there is no such launcher.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn remove_launcher(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let name = name.to_owned();
        let run = move |db: &Db<'_>| {
            let ended = sessions::end(db, "launcher = ?", &(&name,))?;
            let removed = db.execute("DELETE FROM launchers WHERE name = ?", (&name,))?;
            Ok((removed > 0).then_some(ended))
        };
        let removed = self.threads.write(run).await;
        if let Some(memory) = self.memory() {
            memory.forget_sessions(None);
        }
        removed
    }
}

fn put(db: &Db<'_>, launcher: &Launcher, key_hash: &[u8; 32]) -> Result<(), StoreError> {
    let users = users_text(launcher);
    let (uid, network) = from_columns(&launcher.from);
    let mac = db.mac(&fields(launcher, key_hash))?;
    db.execute(
        &format!(
            "INSERT INTO launchers ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET mac = excluded.mac, key_id = excluded.key_id"
        ),
        (
            &launcher.name,
            key_hash,
            users,
            uid,
            network,
            launcher.added_at,
            launcher.expires_at,
            mac.mac,
            mac.key_id,
        ),
    )?;
    Ok(())
}

fn from_columns(from: &From) -> (Option<u32>, Option<&str>) {
    match from {
        From::Uid(uid) => (Some(*uid), None),
        From::Network(network) => (None, Some(network)),
    }
}

/// One user a line, by uid and name: neither holds the end of a line.
fn users_text(launcher: &Launcher) -> String {
    let lines = launcher
        .users
        .iter()
        .map(|user| format!("{} {}", user.uid, user.name));
    lines.collect::<Vec<_>>().join("\n")
}

fn users_of(text: &str) -> Option<Vec<LocalUser>> {
    let users = text.lines().map(|line| {
        let (uid, name) = line.split_once(' ')?;
        Some(LocalUser {
            uid: uid.parse().ok()?,
            name: name.to_owned(),
        })
    });
    users.collect()
}

fn select(
    db: &Db<'_>,
    condition: &str,
    parameters: impl Parameters,
) -> Result<Vec<(Launcher, [u8; 32])>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM launchers WHERE {condition}");
    let rows = db.rows(&sql, parameters, |row| {
        let mac = row.mac(7)?;
        Ok((launcher_at(row)?, row.get(0)?, row.get(1)?, mac))
    })?;
    rows.into_iter()
        .map(
            |(launcher, name, key_hash, mac): (Option<Launcher>, String, [u8; 32], RowMac)| {
                let launcher = launcher.ok_or_else(|| StoreError::Forged {
                    table: TABLE,
                    row: name.clone(),
                })?;
                db.verify(TABLE, &name, &fields(&launcher, &key_hash), &mac)?;
                Ok((launcher, key_hash))
            },
        )
        .collect()
}

fn launcher_at(row: &Row<'_>) -> Result<Option<Launcher>, StoreError> {
    let (users, uid, network): (String, Option<u32>, Option<String>) =
        (row.get(2)?, row.get(3)?, row.get(4)?);
    let from = match (uid, network) {
        (Some(uid), None) => From::Uid(uid),
        (None, Some(network)) => From::Network(network),
        _ => return Ok(None),
    };
    let Some(users) = users_of(&users) else {
        return Ok(None);
    };
    Ok(Some(Launcher {
        name: row.get(0)?,
        users,
        from,
        added_at: row.time(5)?,
        expires_at: row.time(6)?,
    }))
}

fn fields(launcher: &Launcher, key_hash: &[u8; 32]) -> Fields {
    let (uid, network) = from_columns(&launcher.from);
    Fields::of(TABLE)
        .text(&launcher.name)
        .bytes(key_hash)
        .text(&users_text(launcher))
        .optional(uid.map(|uid| uid.to_string()).as_deref())
        .optional(network)
        .time(launcher.added_at)
        .time(launcher.expires_at)
}

/// Whether launchers that meet a condition were made with the keys.
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

/// Writes all launchers anew that are not under the first key; how many.
pub(super) fn rekey(db: &Db<'_>, first: &str) -> Result<u64, StoreError> {
    let found = select(db, "key_id <> ? LIMIT 100", (first,))?;
    for (launcher, key_hash) in &found {
        put(db, launcher, key_hash)?;
    }
    Ok(found.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Place, user};
    use super::super::{NewSession, OpenedBy};
    use super::*;
    use secrecy::ExposeSecret;

    fn launcher(name: &str) -> Launcher {
        Launcher {
            name: name.to_owned(),
            users: vec![user(1_001, "ada"), user(1_002, "bob")],
            from: From::Uid(998),
            added_at: NOW,
            expires_at: NOW + 60.0,
        }
    }

    #[tokio::test]
    async fn a_launcher_is_known_by_its_key_until_that_expires() {
        let place = Place::new();
        let store = place.store().await;
        let key = store
            .add_launcher(&launcher("jupyter"))
            .await
            .unwrap()
            .unwrap();
        assert!(
            store
                .add_launcher(&launcher("jupyter"))
                .await
                .unwrap()
                .is_none()
        );
        let asked = |now| store.launcher(key.expose_secret(), now);
        assert_eq!(asked(NOW).await.unwrap(), Some(launcher("jupyter")));
        assert_eq!(asked(NOW + 60.0).await.unwrap(), None);
        assert_eq!(store.launcher("another", NOW).await.unwrap(), None);
        for forged in [
            "UPDATE launchers SET users = users || char(10) || '1003 eve'",
            "UPDATE launchers SET users = '1001 ada', expires_at = expires_at + 9",
            "UPDATE launchers SET uid = 1003",
            "UPDATE launchers SET uid = NULL, network = '0.0.0.0/0'",
            "UPDATE launchers SET users = 'nonsense'",
        ] {
            place.tamper(forged);
            let error = asked(NOW).await.unwrap_err();
            assert!(
                matches!(error, StoreError::Forged { table: TABLE, .. }),
                "{forged}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn a_launcher_that_is_removed_takes_its_sessions_along() {
        let place = Place::new();
        let store = place.store().await;
        store.add_launcher(&launcher("jupyter")).await.unwrap();
        let session = |opened_by| NewSession {
            user: user(1_001, "ada"),
            opened_by,
            machine: "node".to_owned(),
            opened_at: NOW,
            expires_at: NOW + 60.0,
        };
        let by = OpenedBy::Launcher("jupyter".to_owned());
        let (_, own) = store.open_session(session(by)).await.unwrap();
        let (_, other) = store.open_session(session(OpenedBy::Socket)).await.unwrap();
        assert_eq!(store.remove_launcher("jupyter").await.unwrap(), Some(1));
        assert_eq!(store.remove_launcher("jupyter").await.unwrap(), None);
        assert!(
            store
                .session(own.expose_secret(), NOW)
                .await
                .unwrap()
                .is_err()
        );
        assert!(
            store
                .session(other.expose_secret(), NOW)
                .await
                .unwrap()
                .is_ok()
        );
    }
}
