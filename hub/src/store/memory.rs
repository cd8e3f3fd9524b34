//! What a hub that shares its database remembers of people seen lately. While the database is away they go on from it, for the
//! length of the grace; what they are granted meanwhile is written when it is back.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use entrar_broker::accounts::{AccountId, Versioned};
use secrecy::SecretString;
use tokio::time::Instant;

use super::{Binding, Session, SessionId, StoreError};

/// What is remembered.
#[derive(Debug)]
pub(super) struct Memory {
    grace: Duration,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By the hash of their cookie.
    sessions: Seen<[u8; 32], Session>,
    /// By uid.
    bindings: Seen<u32, Binding>,
    /// The newest refresh tokens.
    newest: Seen<AccountId, Versioned>,
    /// Refresh tokens that are newer than what is in the database, with the version there.
    unwritten: HashMap<AccountId, Versioned>,
}

/// What the database says, and when it was asked.
pub(super) type Said<V> = (Instant, Result<Option<V>, StoreError>);

/// When the database was asked last.
#[derive(Debug)]
struct Seen<K, V>(HashMap<K, (V, Instant)>);

impl<K, V> Default for Seen<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V: Clone> Seen<K, V> {
    /// What the database says, which is remembered; or what it said last, if it is away and that was within the grace.
    fn or_last(
        &mut self,
        key: K,
        (asked, said): Said<V>,
        grace: Duration,
    ) -> Result<Option<V>, StoreError> {
        match said {
            Ok(Some(value)) => {
                self.0.insert(key, (value.clone(), asked));
                Ok(Some(value))
            }
            Ok(None) => {
                self.0.remove(&key);
                Ok(None)
            }
            Err(StoreError::Unavailable(why)) => match self.0.get(&key) {
                Some((value, seen)) if seen.elapsed() < grace => Ok(Some(value.clone())),
                _ => Err(StoreError::Unavailable(why)),
            },
            Err(error) => Err(error),
        }
    }

    fn forget_old(&mut self, grace: Duration) {
        self.0.retain(|_, (_, seen)| seen.elapsed() < grace);
    }
}

impl Memory {
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            grace,
            kept: Mutex::default(),
        }
    }

    /// For how long what is remembered counts.
    pub(super) fn grace(&self) -> Duration {
        self.grace
    }

    pub(super) fn session(
        &self,
        cookie_hash: [u8; 32],
        said: Said<Session>,
    ) -> Result<Option<Session>, StoreError> {
        self.kept().sessions.or_last(cookie_hash, said, self.grace)
    }

    pub(super) fn binding(
        &self,
        uid: u32,
        said: Said<Binding>,
    ) -> Result<Option<Binding>, StoreError> {
        self.kept().bindings.or_last(uid, said, self.grace)
    }

    pub(super) fn newest(
        &self,
        account: AccountId,
        said: Said<Versioned>,
    ) -> Result<Option<Versioned>, StoreError> {
        let mut kept = self.kept();
        let newest = kept.newest.or_last(account, said, self.grace)?;
        // What could not be written yet is newer than what it replaces, and no newer than anything else.
        let unwritten = kept.unwritten.get(&account);
        Ok(match (newest, unwritten) {
            (Some(newest), Some(unwritten)) if newest.version == unwritten.version => {
                Some(unwritten.clone())
            }
            (newest, _) => newest,
        })
    }

    /// The database has this one now.
    pub(super) fn kept_newest(&self, account: AccountId, newest: Versioned) {
        let mut kept = self.kept();
        kept.newest.0.insert(account, (newest, Instant::now()));
    }

    /// Keeps what was granted for the refresh token of this version while the database is away; whether the account was signed
    /// in within the grace.
    pub(super) fn keep(
        &self,
        account: AccountId,
        granted: Option<SecretString>,
        used: u64,
    ) -> bool {
        let mut kept = self.kept();
        let version = match kept.newest.0.get(&account) {
            Some((newest, seen)) if seen.elapsed() < self.grace => newest.version,
            _ => return false,
        };
        if let Some(refresh_token) = granted
            && version == used
        {
            let newer = Versioned {
                refresh_token,
                version,
            };
            kept.unwritten.insert(account, newer);
        }
        true
    }

    /// The refresh tokens that are still to be written, each in the place of the one of its version.
    pub(super) fn unwritten(&self) -> Vec<(AccountId, Versioned)> {
        let kept = self.kept();
        let unwritten = kept.unwritten.iter();
        unwritten
            .map(|(account, newer)| (*account, newer.clone()))
            .collect()
    }

    /// This one is written, or of no use any more.
    pub(super) fn written(&self, account: AccountId, written: &Versioned) {
        use secrecy::ExposeSecret as _;
        let is_same = |it: &Versioned| {
            it.version == written.version
                && it.refresh_token.expose_secret() == written.refresh_token.expose_secret()
        };
        let mut kept = self.kept();
        if kept.unwritten.get(&account).is_some_and(is_same) {
            kept.unwritten.remove(&account);
        }
    }

    /// The account has signed in or out.
    pub(super) fn forget_account(&self, account: AccountId) {
        let mut kept = self.kept();
        kept.newest.0.remove(&account);
        kept.unwritten.remove(&account);
    }

    /// The account is bound to nobody any more.
    pub(super) fn forget_binding(&self, account: AccountId) {
        let mut kept = self.kept();
        let bindings = &mut kept.bindings.0;
        bindings.retain(|_, (binding, _)| binding.account != account);
    }

    /// A session has ended.
    pub(super) fn forget_session(&self, id: &SessionId) {
        let sessions = &mut self.kept().sessions.0;
        sessions.retain(|_, (session, _)| session.id != *id);
    }

    /// All sessions of a user have ended, or of everybody.
    pub(super) fn forget_sessions(&self, uid: Option<u32>) {
        let sessions = &mut self.kept().sessions.0;
        sessions.retain(|_, (session, _)| uid.is_some_and(|uid| session.user.uid != uid));
    }

    /// Forgets what does not count any more.
    pub(super) fn forget_old(&self) {
        let mut kept = self.kept();
        let Kept {
            sessions,
            bindings,
            newest,
            ..
        } = &mut *kept;
        sessions.forget_old(self.grace);
        bindings.forget_old(self.grace);
        newest.forget_old(self.grace);
    }

    /// No change under the lock can stop half-way, so one poisoned by a panic elsewhere guards sound data.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
