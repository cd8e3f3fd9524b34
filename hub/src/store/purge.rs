//! Throwing away what has expired. Abandoned sign-ins hold refresh tokens, so this is done every minute.

use entrar_core::time::UnixTime;

use super::database::Db;
use super::{Store, StoreError};

/// Tables of what expires by itself. A launcher whose key has expired stays in the list until it is removed.
const EXPIRE: [&str; 6] = [
    "sessions",
    "ended_sessions",
    "web_sessions",
    "sign_ins",
    "pairings",
    "permits",
];

impl Store {
    /// Deletes what has expired: sessions, sign-ins and pairings that nobody finished, with what they hold. How many rows.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn purge(&self, now: UnixTime) -> Result<u64, StoreError> {
        let run = move |db: &Db<'_>| {
            let mut deleted = 0;
            for table in EXPIRE {
                let sql = format!("DELETE FROM {table} WHERE expires_at <= ?");
                deleted += db.execute(&sql, (now,))?;
            }
            Ok(deleted)
        };
        self.threads.write(run).await
    }
}
