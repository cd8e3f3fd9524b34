//! What the database is asked about itself: whether it writes, and how much is in it.

use entrar_core::time::UnixTime;

use super::database::Db;
use super::{Store, StoreError};

/// How much is in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Accounts with a refresh token of this app.
    pub people: u64,
    /// Sessions that are open, browsers' not included.
    pub sessions: u64,
    /// The name of the key that seals.
    pub key: String,
}

impl Store {
    /// Writes, and waits until that is on disk; nothing is another afterwards.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let run = |db: &Db<'_>| {
            let key = db.first_key()?;
            db.execute(
                "UPDATE keys SET check_value = check_value WHERE id = ?",
                (key,),
            )?;
            Ok(())
        };
        self.threads.write_beside(run).await
    }

    /// Counts what is in the database.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn counts(&self, now: UnixTime) -> Result<Counts, StoreError> {
        let client_id = self.client_id.to_string();
        let run = move |db: &Db<'_>| {
            let people = db.row(
                "SELECT count(*) FROM refresh_tokens WHERE client_id = ?",
                (&client_id,),
                |row| row.get::<i64>(0),
            )?;
            let sessions = db.row(
                "SELECT count(*) FROM sessions WHERE expires_at > ?",
                (now,),
                |row| row.get::<i64>(0),
            )?;
            let number = |count: Option<i64>| count.unwrap_or_default().unsigned_abs();
            Ok(Counts {
                people: number(people),
                sessions: number(sessions),
                key: db.first_key()?,
            })
        };
        self.threads.read(run).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ADA, BOB, NOW, Place, user};
    use super::super::{NewSession, OpenedBy};
    use super::*;
    use crate::keys::Keys;
    use entrar_broker::accounts::Accounts as _;

    #[tokio::test]
    async fn who_is_signed_in_and_what_is_open_is_counted_and_which_key_seals() {
        let place = Place::new();
        let store = place.store().await;
        store.sign_in(ADA, "canary".into()).await.unwrap();
        store.sign_in(BOB, "canary".into()).await.unwrap();
        let other = store.for_client("other");
        other.sign_in(ADA, "canary".into()).await.unwrap();
        for seconds in [60.0, 61.0] {
            let session = NewSession {
                user: user(1_001, "ada"),
                opened_by: OpenedBy::Socket,
                machine: "node".to_owned(),
                opened_at: NOW,
                expires_at: NOW + seconds,
            };
            store.open_session(session).await.unwrap();
        }
        let id = || place.keys().first().unwrap().id().to_owned();
        let counts = |people, sessions| Counts {
            people,
            sessions,
            key: id(),
        };
        assert_eq!(store.counts(NOW).await.unwrap(), counts(2, 2));
        assert_eq!(other.counts(NOW + 60.0).await.unwrap(), counts(1, 1));
        let before = id();
        Keys::add_to_file(&place.path("keys")).unwrap();
        store.rekey().await.unwrap();
        assert_ne!(id(), before);
        assert_eq!(store.counts(NOW).await.unwrap(), counts(2, 2));
        store.probe().await.unwrap();
        assert_eq!(store.counts(NOW).await.unwrap(), counts(2, 2));
        store.clone().close().await;
        assert_eq!(store.probe().await, Err(StoreError::Closed));
    }
}
