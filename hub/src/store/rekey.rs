//! Sealing everything under the first key, in small steps between which the hub serves. Interrupted, it goes on where it was.

use super::database::Db;
use super::{
    Store, StoreError, accounts, bindings, launchers, pairings, sessions, sign_ins, web_sessions,
};

/// A table's step: how many rows it has written under the key with this name.
type Step = fn(&Db<'_>, &str) -> Result<u64, StoreError>;

const TABLES: [Step; 7] = [
    accounts::rekey,
    bindings::rekey,
    sessions::rekey,
    web_sessions::rekey,
    launchers::rekey,
    pairings::rekey,
    sign_ins::rekey,
];

impl Store {
    /// Seals and signs every row under the first key of the key file, which is read again; how many rows were not. After that
    /// the other keys can be taken out of the file.
    ///
    /// # Errors
    /// Those of the keys and of the database; [`StoreError::Forged`] for a row that no key has written, which stays.
    pub async fn rekey(&self) -> Result<u64, StoreError> {
        let first = self.threads.write(|db| db.read_keys_again()).await?;
        let mut written = 0;
        for step in TABLES {
            loop {
                let first = first.clone();
                let some = self.threads.write(move |db| step(db, &first)).await?;
                if some == 0 {
                    break;
                }
                written += some;
            }
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, all_is_there, filled};
    use super::*;
    use crate::keys::Keys;

    /// The key file without the keys after the first.
    fn forget_old_keys(place: &Place) {
        let path = place.path("keys");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        std::fs::write(&path, format!("{}\n", lines.next().unwrap())).unwrap();
    }

    #[tokio::test]
    async fn everything_is_sealed_anew_while_the_database_serves_and_the_old_key_is_not_needed_any_more()
     {
        let place = Place::new();
        let store = place.store().await;
        let secrets = filled(&store).await;
        Keys::add_to_file(&place.path("keys")).unwrap();
        assert_eq!(store.rekey().await.unwrap(), 8);
        all_is_there(&store, &secrets).await;
        assert_eq!(store.rekey().await.unwrap(), 0);
        store.close().await;
        forget_old_keys(&place);
        all_is_there(&place.store().await, &secrets).await;
    }

    #[tokio::test]
    async fn one_that_was_interrupted_goes_on_and_a_key_that_is_needed_is_asked_for() {
        let place = Place::new();
        let store = place.store().await;
        let secrets = filled(&store).await;
        store.clone().close().await;
        Keys::add_to_file(&place.path("keys")).unwrap();
        let store = place.store().await;
        // As if the process had been killed after the first table.
        let first = store
            .threads
            .write(|db| db.read_keys_again())
            .await
            .unwrap();
        let run = move |db: &Db<'_>| accounts::rekey(db, &first);
        assert_eq!(store.threads.write(run).await.unwrap(), 1);
        all_is_there(&store, &secrets).await;
        store.close().await;
        let both = std::fs::read(place.path("keys")).unwrap();
        forget_old_keys(&place);
        let missing = Store::open(&place.database(), place.keys())
            .await
            .unwrap_err();
        assert!(matches!(missing, StoreError::MissingKey(_)), "{missing}");
        std::fs::write(place.path("keys"), both).unwrap();
        let store = place.store().await;
        all_is_there(&store, &secrets).await;
        assert_eq!(store.rekey().await.unwrap(), 7);
        store.close().await;
        forget_old_keys(&place);
        all_is_there(&place.store().await, &secrets).await;
    }
}
