//! Exchanges of refresh tokens for access tokens, and whose turn it is.
//!
//! Equal calls that overlap share one exchange. Exchanges of one account for different resources run side by side, and the
//! newest refresh token is kept by compare-and-set; with a provider that revokes a refresh token once it has granted a
//! new one they queue. No token is cached: once an exchange is over, the next call begins a new one, unless it would only be
//! refused again ([`crate::refusals`]).

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use entrar_core::resource::Resource;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use secrecy::SecretString;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::info;

use crate::accounts::{AccountId, Accounts, Turn, Versioned};
use crate::entra::{Entra, Granted, Refusal};
use crate::refusals::Refusals;
use crate::sign_in::is_of_another;

/// How often another broker's turn is looked at.
const BETWEEN_TURNS: Duration = Duration::from_millis(20);
/// How much longer than the exchange's deadline a turn is asked for: what was granted last is kept in it too.
const BEYOND_THE_DEADLINE: Duration = Duration::from_secs(10);

/// The exchanges of the accounts that `A` keeps. A clone is the same.
pub struct Exchanges<A>(Arc<Inner<A>>);

struct Inner<A> {
    entra: RwLock<Arc<Entra>>,
    accounts: A,
    queues: Mutex<HashMap<AccountId, Arc<Queue>>>,
    under_way: Mutex<HashMap<Key, UnderWay>>,
    /// How many exchanges wait for their turn.
    waiting: AtomicUsize,
    watch: Option<Box<Watch>>,
}

type Watch = dyn Fn(&Over<'_>) + Send + Sync;

/// An exchange that is over.
#[derive(Clone, Copy, Debug)]
pub struct Over<'a> {
    /// What it was for.
    pub resource: &'a Resource,
    /// `ok`, or the error's kind.
    pub result: &'static str,
    /// How long it took, the wait for its turn included.
    pub took: Duration,
}

/// How many exchanges there are at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Under way, the waiting ones included.
    pub under_way: usize,
    /// Waiting for another exchange of the same account to end.
    pub waiting: usize,
}

/// What an account's exchanges have in common since its sign-in.
#[derive(Default)]
struct Queue {
    /// Its holder is the one exchange that may use the refresh token, where only one may. It lets the waiting ones
    /// through in their order.
    turn: tokio::sync::Mutex<()>,
    refusals: Mutex<Refusals>,
}

/// What is to be written down of one call. Whoever takes it writes it, so that it is written once: the exchange that the call
/// began, in the same step as what was granted, or else who called.
pub struct Record<T>(Mutex<Option<T>>);

impl<T> Record<T> {
    /// This is to be written.
    pub fn new(record: impl Into<Option<T>>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(record.into())))
    }

    /// What is still to be written.
    pub fn take(&self) -> Option<T> {
        lock(&self.0).take()
    }

    fn put_back(&self, record: Option<T>) {
        *lock(&self.0) = record;
    }
}

/// What makes two calls equal.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    account: AccountId,
    resource: Resource,
}

#[derive(Clone)]
struct UnderWay {
    outcome: SharedOutcome,
    /// Of which sign-in it is: one that a later sign-in has replaced is of no use.
    queue: Arc<Queue>,
    /// How many callers beyond the first one wait for it.
    joined: Arc<AtomicUsize>,
}

/// `None` if the exchange broke off, which only a fault of ours can make it do.
type SharedOutcome = Shared<BoxFuture<'static, Option<Arc<Result<Granted, Refusal>>>>>;

impl<A> Clone for Exchanges<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Accounts> Exchanges<A> {
    /// Exchanges of these accounts go to `entra`.
    #[must_use]
    pub fn new(entra: impl Into<Arc<Entra>>, accounts: A) -> Self {
        Self::with(entra.into(), accounts, None)
    }

    /// The same; `watch` is told of each exchange that is over, and must not block.
    #[must_use]
    pub fn watched(
        entra: impl Into<Arc<Entra>>,
        accounts: A,
        watch: impl Fn(&Over<'_>) + Send + Sync + 'static,
    ) -> Self {
        Self::with(entra.into(), accounts, Some(Box::new(watch)))
    }

    fn with(entra: Arc<Entra>, accounts: A, watch: Option<Box<Watch>>) -> Self {
        Self(Arc::new(Inner {
            entra: RwLock::new(entra),
            accounts,
            queues: Mutex::default(),
            under_way: Mutex::default(),
            waiting: AtomicUsize::new(0),
            watch,
        }))
    }

    /// From now on exchanges go to `entra`: the same app of the same tenant, which proves itself anew or is reached another
    /// way. Those under way end as they began. What was refused for one resource may be granted now.
    pub fn ask(&self, entra: Arc<Entra>) {
        let mut asked = self.0.entra.write().unwrap_or_else(PoisonError::into_inner);
        *asked = entra;
        drop(asked);
        for queue in lock(&self.0.queues).values() {
            lock(&queue.refusals).forget_resources();
        }
    }

    /// How many exchanges there are now.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            under_way: lock(&self.0.under_way).len(),
            waiting: self.0.waiting.load(Ordering::Relaxed),
        }
    }

    /// Takes the refresh token of an account that has signed in, in the place of an earlier one.
    ///
    /// # Errors
    /// That of the place where accounts are kept.
    pub async fn sign_in(
        &self,
        account: AccountId,
        refresh_token: SecretString,
    ) -> Result<(), Refusal> {
        self.0.accounts.sign_in(account, refresh_token).await?;
        self.begin_anew(account);
        Ok(())
    }

    /// An account has signed in again, and its refresh token is kept already: what was refused before says nothing any more,
    /// and exchanges that are under way are not joined.
    pub fn begin_anew(&self, account: AccountId) {
        lock(&self.0.queues).insert(account, Arc::default());
    }

    /// Deletes the account's refresh token; whether there was one. An exchange that is under way brings no token any more.
    ///
    /// # Errors
    /// That of the place where accounts are kept.
    pub async fn sign_out(&self, account: AccountId) -> Result<bool, Refusal> {
        let was_there = self.0.accounts.sign_out(account).await?;
        lock(&self.0.queues).remove(&account);
        Ok(was_there)
    }

    /// A token for the account and resource, from an exchange that was not over when this was called. Who stops waiting
    /// for it does not stop the exchange: a new refresh token in its reply would be lost.
    ///
    /// # Errors
    /// Those of [`Entra::exchange`]; `login_required` if the account is not signed in.
    pub async fn token(&self, account: AccountId, resource: Resource) -> Result<Granted, Refusal> {
        let nothing = Record::new(None);
        self.recorded_token(account, resource, &nothing).await
    }

    /// The same for a call that is written down. What the record still holds afterwards was not written.
    ///
    /// # Errors
    /// Those of [`Exchanges::token`].
    pub async fn recorded_token(
        &self,
        account: AccountId,
        resource: Resource,
        record: &Arc<Record<A::Record>>,
    ) -> Result<Granted, Refusal> {
        let arrived = Instant::now();
        let newest = self.0.accounts.newest(account).await?;
        let newest = newest.ok_or_else(not_signed_in)?;
        let queue = Arc::clone(lock(&self.0.queues).entry(account).or_default());
        if let Some(refusal) = lock(&queue.refusals).of(&resource, newest.version, arrived) {
            return Err(refusal);
        }
        let entra = self.0.entra();
        let call = Call {
            entra: Arc::clone(&entra),
            key: Key { account, resource },
            queue,
            newest,
            record: Arc::clone(record),
            arrived,
        };
        let (outcome, joined) = self.join_or_begin(call);
        let outcome = timeout_at(arrived + entra.deadline(), outcome).await;
        let Ok(outcome) = outcome else {
            return Err(entra.too_slow());
        };
        match outcome.as_deref() {
            Some(Ok(granted)) if joined => Ok(seen_by_late_joiner(granted, arrived)),
            Some(Ok(granted)) => Ok(granted.clone()),
            Some(Err(refusal)) => Err(refusal.clone()),
            None => Err(Refusal::new(
                "server_error",
                "the broker's exchange broke off",
            )),
        }
    }

    /// The claims challenge with which the tenant has refused this account a resource since its sign-in, if the resource
    /// was not granted meanwhile: a JSON text for the next sign-in to pass on.
    #[must_use]
    pub fn claims(&self, account: AccountId) -> Option<String> {
        let queue = lock(&self.0.queues).get(&account).cloned()?;
        let refusals = lock(&queue.refusals);
        refusals.claims().map(str::to_owned)
    }

    /// Whether the tenant has said that this account's refresh token is of no use any more, since its sign-in.
    #[must_use]
    pub fn must_sign_in(&self, account: AccountId) -> bool {
        let queue = lock(&self.0.queues).get(&account).cloned();
        queue.is_some_and(|queue| lock(&queue.refusals).is_dead())
    }

    /// Waits until no exchange is under way.
    pub async fn finish(&self) {
        loop {
            let next = lock(&self.0.under_way).values().next().cloned();
            match next {
                Some(under_way) => under_way.outcome.await,
                None => return,
            };
        }
    }

    /// The exchange of this call's key, and whether it was under way before.
    fn join_or_begin(&self, call: Call<A>) -> (SharedOutcome, bool) {
        let mut under_way = lock(&self.0.under_way);
        let equal = under_way.get(&call.key);
        if let Some(under_way) = equal.filter(|it| Arc::ptr_eq(&it.queue, &call.queue)) {
            under_way.joined.fetch_add(1, Ordering::Relaxed);
            return (under_way.outcome.clone(), true);
        }
        let (key, queue) = (call.key.clone(), Arc::clone(&call.queue));
        let joined = Arc::new(AtomicUsize::new(0));
        let exchange = Exchange {
            exchanges: Arc::clone(&self.0),
            call,
            joined: Arc::clone(&joined),
        };
        let run = async move { Arc::new(exchange.run().await) };
        let outcome = AssertUnwindSafe(run).catch_unwind().map(Result::ok);
        let outcome = outcome.boxed().shared();
        let entry = UnderWay {
            outcome: outcome.clone(),
            queue,
            joined,
        };
        under_way.insert(key, entry);
        drop(under_way);
        // It goes on though all who wait for it go away. Not under the lock, which the end of the exchange takes: a
        // runtime that is closing drops what it is given at once.
        tokio::spawn(outcome.clone());
        (outcome, false)
    }
}

impl<A> Inner<A> {
    fn entra(&self) -> Arc<Entra> {
        let entra = self.entra.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&entra)
    }
}

/// A call that may begin an exchange.
struct Call<A: Accounts> {
    entra: Arc<Entra>,
    key: Key,
    queue: Arc<Queue>,
    /// The refresh token when it was asked.
    newest: Versioned,
    record: Arc<Record<A::Record>>,
    arrived: Instant,
}

/// An exchange that stands in the map of those under way. Dropping it, however that comes about, takes it out.
struct Exchange<A: Accounts> {
    exchanges: Arc<Inner<A>>,
    /// The call that began it.
    call: Call<A>,
    joined: Arc<AtomicUsize>,
}

impl<A: Accounts> Exchange<A> {
    async fn run(self) -> Result<Granted, Refusal> {
        let Call { entra, queue, .. } = &self.call;
        let deadline = self.call.arrived + entra.deadline();
        if !entra.revokes_used_refresh_tokens() {
            let waited = self.call.arrived.elapsed();
            let newest = self.call.newest.clone();
            let outcome = self.exchange(newest, deadline, &mut false).await;
            self.log(&outcome, waited);
            return outcome;
        }
        // Whoever asked first has been told so, and whoever joined may ask again: a request now could outlast them all.
        let place = Place::new(&self.exchanges.waiting);
        let in_turn = timeout_at(deadline, queue.turn.lock()).await;
        let (waited, outcome) = match in_turn {
            Ok(_turn) => self.exchange_in_turn(deadline, place).await,
            Err(_) => (self.call.arrived.elapsed(), Err(entra.too_slow())),
        };
        self.log(&outcome, waited);
        outcome
    }

    /// The exchange once it is this one's turn among all brokers on the same accounts, and how long that took.
    async fn exchange_in_turn(
        &self,
        deadline: Instant,
        place: Place<'_>,
    ) -> (Duration, Result<Granted, Refusal>) {
        let accounts = &self.exchanges.accounts;
        let Call { entra, key, .. } = &self.call;
        let account = key.account;
        let longest = deadline.saturating_duration_since(Instant::now()) + BEYOND_THE_DEADLINE;
        let turn = loop {
            match accounts.take_turn(account, longest).await {
                Ok(Turn::Given(newest, turn)) => break Ok((newest, turn)),
                Ok(Turn::NotSignedIn) => break Err(not_signed_in()),
                Err(refusal) => break Err(refusal),
                Ok(Turn::Taken) if deadline <= Instant::now() => break Err(entra.too_slow()),
                Ok(Turn::Taken) => sleep(BETWEEN_TURNS).await,
            }
        };
        let waited = self.call.arrived.elapsed();
        drop(place);
        let (newest, turn) = match turn {
            Ok(turn) => turn,
            Err(refusal) => return (waited, Err(refusal)),
        };
        let mut is_replaced = false;
        let outcome = self.exchange(newest, deadline, &mut is_replaced).await;
        if !is_replaced {
            accounts.end_turn(account, turn).await;
        }
        (waited, outcome)
    }

    /// `is_replaced` says whether a newer refresh token has been kept.
    async fn exchange(
        &self,
        mut used: Versioned,
        deadline: Instant,
        is_replaced: &mut bool,
    ) -> Result<Granted, Refusal> {
        let accounts = &self.exchanges.accounts;
        let Call {
            entra,
            key: Key { account, resource },
            queue,
            record,
            ..
        } = &self.call;
        let mut outcome = entra
            .exchange(&used.refresh_token, resource, deadline)
            .await;
        // Another broker on the same accounts may have brought a newer one meanwhile: then this one is no use, and the person
        // need not sign in again.
        if outcome.as_ref().is_err_and(Refusal::asks_to_sign_in) {
            let newest = accounts.newest(*account).await?.ok_or_else(not_signed_in)?;
            if newest.version != used.version {
                used = newest;
                outcome = entra
                    .exchange(&used.refresh_token, resource, deadline)
                    .await;
            }
        }
        match outcome {
            Ok(granted) if is_of_another(granted.id_token.as_ref(), *account) => Err(Refusal::new(
                "server_error",
                "the tenant granted a token of another account, which is not handed out",
            )),
            Ok(mut granted) => {
                lock(&queue.refusals).granted(resource);
                let newest = granted.refresh_token.take();
                let is_newer = newest.is_some();
                let taken = record.take();
                let kept = accounts.keep(*account, newest, used.version, taken.clone());
                match kept.await {
                    Ok(true) => {
                        *is_replaced = is_newer;
                        Ok(granted)
                    }
                    not_handed_out => {
                        record.put_back(taken);
                        Err(not_handed_out.err().unwrap_or_else(not_signed_in))
                    }
                }
            }
            Err(refusal) => {
                let mut refusals = lock(&queue.refusals);
                refusals.add(&refusal, resource, used.version, Instant::now());
                Err(refusal)
            }
        }
    }

    /// Tells of it, to the log and to whoever counts.
    fn log(&self, outcome: &Result<Granted, Refusal>, waited: Duration) {
        let error = outcome.as_ref().err().map(Refusal::error);
        let kind = error.as_ref().map_or("ok", |error| error.kind().as_str());
        let correlation_id = error
            .as_ref()
            .and_then(|error| error.details().correlation_id.as_deref());
        if let Some(watch) = &self.exchanges.watch {
            watch(&Over {
                resource: &self.call.key.resource,
                result: kind,
                took: self.call.arrived.elapsed(),
            });
        }
        info!(
            account = %self.call.key.account,
            resource = self.call.key.resource.as_str(),
            outcome = kind,
            milliseconds = milliseconds(self.call.arrived.elapsed()),
            waited = milliseconds(waited),
            joined = self.joined.load(Ordering::Relaxed),
            correlation_id,
            "exchange"
        );
    }
}

/// A place among those that wait, until this is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<A: Accounts> Drop for Exchange<A> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.exchanges.under_way);
        // Another one, begun after a new sign-in, may stand in its place.
        let own = under_way
            .get(&self.call.key)
            .is_some_and(|it| Arc::ptr_eq(&it.queue, &self.call.queue));
        if own {
            under_way.remove(&self.call.key);
        }
    }
}

/// Nobody is signed in.
pub(crate) fn not_signed_in() -> Refusal {
    Refusal::new("login_required", "nobody is signed in here: sign in first")
}

/// Whoever joined counts the lifetime from their own request, and it runs from an earlier one: it is shortened by the
/// seconds between the two.
fn seen_by_late_joiner(granted: &Granted, arrived: Instant) -> Granted {
    let age = arrived.saturating_duration_since(granted.sent);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "at most as long as a deadline"
    )]
    let age = age.as_secs_f64().ceil() as i64;
    let rest = |lifetime: i64| (lifetime - age).max(0);
    Granted {
        expires_in: granted.expires_in.map(rest),
        ext_expires_in: granted.ext_expires_in.map(rest),
        ..granted.clone()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// No change under these locks can stop half-way, so one poisoned by a panic elsewhere guards sound data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(sent: Instant) -> Granted {
        Granted {
            access_token: "secret".into(),
            token_type: "Bearer".to_owned(),
            scope: None,
            id_token: None,
            expires_in: Some(3599),
            ext_expires_in: Some(1),
            refresh_token: None,
            sent,
        }
    }

    #[test]
    fn a_late_joiners_lifetime_is_shorter_by_whole_seconds_rounded_up() {
        let sent = Instant::now();
        for (late, expires_in, ext_expires_in) in [
            (0, 3599, 1),
            (1, 3598, 0),
            (1_000, 3598, 0),
            (1_001, 3597, 0),
            (9_999_000, 0, 0),
        ] {
            let seen = seen_by_late_joiner(&granted(sent), sent + Duration::from_millis(late));
            assert_eq!(seen.expires_in, Some(expires_in), "{late}");
            assert_eq!(seen.ext_expires_in, Some(ext_expires_in), "{late}");
        }
    }

    #[test]
    fn who_joined_before_the_request_left_sees_the_whole_lifetime() {
        let arrived = Instant::now();
        let sent = arrived + Duration::from_secs(5);
        assert_eq!(
            seen_by_late_joiner(&granted(sent), arrived).expires_in,
            Some(3599)
        );
    }
}
