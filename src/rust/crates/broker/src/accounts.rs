//! Who is signed in, and the newest refresh token of each: kept by compare-and-set, so that none is lost and no account that
//! has signed out comes back.

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, ready};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use entrar_core::guid::Guid;
use secrecy::SecretString;

use crate::entra::Refusal;

/// An account of Entra ID. Names change hands; this pair does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountId {
    /// The tenant's id.
    pub tid: Guid,
    /// The account's object id in that tenant.
    pub oid: Guid,
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tid, self.oid)
    }
}

/// A refresh token, and the version by which it is replaced. A version is never used twice for one account.
#[derive(Clone, Debug)]
pub struct Versioned {
    /// The refresh token.
    pub refresh_token: SecretString,
    /// Its version.
    pub version: u64,
}

/// What comes of asking for a turn to use an account's refresh token, where it works once.
#[derive(Clone, Debug)]
pub enum Turn {
    /// Nobody else uses it meanwhile: the newest one, and the turn's name.
    Given(Versioned, u64),
    /// Another broker on the same accounts has the turn.
    Taken,
    /// The account is not signed in.
    NotSignedIn,
}

/// Where the accounts that are signed in are kept.
///
/// A failure is that of the place, such as a database that is down: a refusal to pass on.
pub trait Accounts: Send + Sync + 'static {
    /// What is written down of a call that began an exchange, in the same step as what it was granted: where there is an
    /// audit, its row. `()` where there is none.
    type Record: Clone + Send + Sync + 'static;

    /// Signs an account in with this refresh token, in the place of any before.
    fn sign_in(
        &self,
        account: AccountId,
        refresh_token: SecretString,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Deletes an account; whether it was there.
    fn sign_out(&self, account: AccountId) -> impl Future<Output = Result<bool, Refusal>> + Send;

    /// The newest refresh token; `None` if the account is not signed in.
    fn newest(
        &self,
        account: AccountId,
    ) -> impl Future<Output = Result<Option<Versioned>, Refusal>> + Send;

    /// Asks for a turn to use the account's refresh token, at all brokers on the same accounts. It ends when a newer one is
    /// kept, by [`Accounts::end_turn`], or after `longest`. Brokers that share nothing give it to whoever asks: the exchanges of
    /// one broker queue already.
    fn take_turn(
        &self,
        account: AccountId,
        longest: Duration,
    ) -> impl Future<Output = Result<Turn, Refusal>> + Send {
        let _ = longest;
        async move {
            let newest = self.newest(account).await?;
            Ok(newest.map_or(Turn::NotSignedIn, |newest| Turn::Given(newest, 0)))
        }
    }

    /// Ends a turn that has brought nothing newer.
    fn end_turn(&self, account: AccountId, turn: u64) -> impl Future<Output = ()> + Send {
        let _ = (account, turn);
        ready(())
    }

    /// Keeps a refresh token that was granted for the one of version `used`, unless a newer one has come since; without a
    /// new one it changes nothing. Whether the account is still signed in: what was granted to one that is not must
    /// not be handed out. The record is written if it is, and only then.
    fn keep(
        &self,
        account: AccountId,
        granted: Option<SecretString>,
        used: u64,
        record: Option<Self::Record>,
    ) -> impl Future<Output = Result<bool, Refusal>> + Send;
}

/// Accounts in memory, gone with the process.
#[derive(Debug, Default)]
pub struct InMemory(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    accounts: HashMap<AccountId, Versioned>,
    /// The last version that was given out.
    version: u64,
}

impl InMemory {
    /// No change under the lock can stop half-way, so one poisoned by a panic elsewhere guards sound data.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn versioned(&mut self, refresh_token: SecretString) -> Versioned {
        self.version += 1;
        Versioned {
            refresh_token,
            version: self.version,
        }
    }
}

impl Accounts for InMemory {
    type Record = ();

    fn sign_in(
        &self,
        account: AccountId,
        refresh_token: SecretString,
    ) -> impl Future<Output = Result<(), Refusal>> + Send {
        let mut kept = self.kept();
        let newest = kept.versioned(refresh_token);
        kept.accounts.insert(account, newest);
        ready(Ok(()))
    }

    fn sign_out(&self, account: AccountId) -> impl Future<Output = Result<bool, Refusal>> + Send {
        ready(Ok(self.kept().accounts.remove(&account).is_some()))
    }

    fn newest(
        &self,
        account: AccountId,
    ) -> impl Future<Output = Result<Option<Versioned>, Refusal>> + Send {
        ready(Ok(self.kept().accounts.get(&account).cloned()))
    }

    fn keep(
        &self,
        account: AccountId,
        granted: Option<SecretString>,
        used: u64,
        _: Option<()>,
    ) -> impl Future<Output = Result<bool, Refusal>> + Send {
        let mut kept = self.kept();
        let current = kept.accounts.get(&account).map(|newest| newest.version);
        match granted {
            Some(refresh_token) if current == Some(used) => {
                let newest = kept.versioned(refresh_token);
                kept.accounts.insert(account, newest);
            }
            _ => {}
        }
        ready(Ok(current.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    const ADA: AccountId = AccountId {
        tid: Guid::from_bits(1),
        oid: Guid::from_bits(2),
    };

    async fn newest(accounts: &InMemory) -> Option<(String, u64)> {
        let newest = accounts.newest(ADA).await.unwrap()?;
        Some((
            newest.refresh_token.expose_secret().to_owned(),
            newest.version,
        ))
    }

    #[tokio::test]
    async fn a_granted_refresh_token_replaces_the_one_that_it_was_granted_for_only() {
        let accounts = InMemory::default();
        accounts.sign_in(ADA, "first".into()).await.unwrap();
        let (_, first) = newest(&accounts).await.unwrap();
        assert!(
            accounts
                .keep(ADA, Some("second".into()), first, None)
                .await
                .unwrap()
        );
        let (token, second) = newest(&accounts).await.unwrap();
        assert_eq!(token, "second");
        assert!(
            accounts
                .keep(ADA, Some("late".into()), first, None)
                .await
                .unwrap()
        );
        assert!(accounts.keep(ADA, None, second, None).await.unwrap());
        assert_eq!(newest(&accounts).await, Some(("second".into(), second)));
    }

    #[tokio::test]
    async fn an_account_that_has_signed_out_does_not_come_back() {
        let accounts = InMemory::default();
        accounts.sign_in(ADA, "first".into()).await.unwrap();
        let (_, used) = newest(&accounts).await.unwrap();
        assert!(accounts.sign_out(ADA).await.unwrap());
        assert!(!accounts.sign_out(ADA).await.unwrap());
        assert!(
            !accounts
                .keep(ADA, Some("late".into()), used, None)
                .await
                .unwrap()
        );
        assert_eq!(newest(&accounts).await, None);
        accounts.sign_in(ADA, "again".into()).await.unwrap();
        assert!(
            accounts
                .keep(ADA, Some("late".into()), used, None)
                .await
                .unwrap()
        );
        assert_eq!(newest(&accounts).await.unwrap().0, "again");
    }
}
