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
