//! Who holds which refresh token, and whose turn it is to use it.
//!
//! Equal calls that overlap share one exchange. Exchanges of one person for different resources run side by side, and the
//! newest refresh token is kept by compare-and-set; with a provider that revokes a refresh token once it has granted a
//! new one they queue. No token is cached: once an exchange is over, the next call begins a new one, unless it would only be
//! refused again ([`crate::refusals`]).

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use entrar_core::resource::Resource;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};
use tracing::info;

use crate::entra::{Entra, Granted, Refusal};
use crate::refusals::Refusals;

/// The signed-in persons and the exchanges under way. A clone is the same.
#[derive(Clone)]
pub struct Exchanges(Arc<Inner>);

struct Inner {
    entra: Entra,
    people: Mutex<HashMap<String, Arc<Person>>>,
    under_way: Mutex<HashMap<Key, UnderWay>>,
}

/// A signed-in person.
struct Person {
    refresh_token: Mutex<Versioned>,
    /// Its holder is the one exchange that may use the refresh token, where only one may. It lets the waiting ones
    /// through in their order.
    turn: tokio::sync::Mutex<()>,
    refusals: Mutex<Refusals>,
}

/// A refresh token, and how many came before it.
#[derive(Clone)]
struct Versioned {
    refresh_token: SecretString,
    version: u64,
}

impl Person {
    fn new(refresh_token: SecretString) -> Self {
        Self {
            refresh_token: Mutex::new(Versioned {
                refresh_token,
                version: 0,
            }),
            turn: tokio::sync::Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    fn newest(&self) -> Versioned {
        lock(&self.refresh_token).clone()
    }

    /// A refusal that would only be repeated.
    fn refusal(&self, resource: &Resource) -> Option<Refusal> {
        let version = lock(&self.refresh_token).version;
        lock(&self.refusals).of(resource, version, Instant::now())
    }

    /// Takes a refresh token that was granted for the one of this version, unless another has come since.
    fn keep(&self, refresh_token: SecretString, used: u64) {
        let mut newest = lock(&self.refresh_token);
        if newest.version == used {
            *newest = Versioned {
                refresh_token,
                version: used + 1,
            };
        }
    }
}

/// What makes two calls equal.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    user: String,
    resource: Resource,
}

#[derive(Clone)]
struct UnderWay {
    outcome: SharedOutcome,
    /// Whose refresh token it uses: that of a sign-in which a later one has replaced is of no use.
    person: Arc<Person>,
    /// How many callers beyond the first one wait for it.
    joined: Arc<AtomicUsize>,
}

/// `None` if the exchange broke off, which only a fault of ours can make it do.
type SharedOutcome = Shared<BoxFuture<'static, Option<Arc<Result<Granted, Refusal>>>>>;

impl Exchanges {
    /// Nobody is signed in yet; exchanges go to `entra`.
    #[must_use]
    pub fn new(entra: Entra) -> Self {
        Self(Arc::new(Inner {
            entra,
            people: Mutex::default(),
            under_way: Mutex::default(),
        }))
    }

    /// Takes the refresh token of a person who has signed in, in the place of an earlier one.
    pub fn sign_in(&self, user: &str, refresh_token: SecretString) {
        let person = Arc::new(Person::new(refresh_token));
        lock(&self.0.people).insert(user.to_owned(), person);
    }

    /// A token for the person and resource, from an exchange that was not over when this was called. Who stops waiting
    /// for it does not stop the exchange: a new refresh token in its reply would be lost.
    ///
    /// # Errors
    /// Those of [`Entra::exchange`]; `login_required` if the person is not signed in.
    pub async fn token(&self, user: &str, resource: Resource) -> Result<Granted, Refusal> {
        let arrived = Instant::now();
        let person = lock(&self.0.people).get(user).cloned();
        let person = person.ok_or_else(not_signed_in)?;
        if let Some(refusal) = person.refusal(&resource) {
            return Err(refusal);
        }
        let user = user.to_owned();
        let (outcome, joined) = self.join_or_begin(Key { user, resource }, person, arrived);
        let outcome = timeout_at(arrived + self.0.entra.deadline(), outcome).await;
        let Ok(outcome) = outcome else {
            return Err(self.0.entra.too_slow());
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

    /// The exchange of this key, and whether it was under way before.
    fn join_or_begin(
        &self,
        key: Key,
        person: Arc<Person>,
        arrived: Instant,
    ) -> (SharedOutcome, bool) {
        let mut under_way = lock(&self.0.under_way);
        let equal = under_way.get(&key);
        if let Some(under_way) = equal.filter(|it| Arc::ptr_eq(&it.person, &person)) {
            under_way.joined.fetch_add(1, Ordering::Relaxed);
            return (under_way.outcome.clone(), true);
        }
        let joined = Arc::new(AtomicUsize::new(0));
        let begun = Begun {
            exchanges: Arc::clone(&self.0),
            key: key.clone(),
            person: Arc::clone(&person),
            joined: Arc::clone(&joined),
            arrived,
        };
        let run = async move { Arc::new(begun.run().await) };
        let outcome = AssertUnwindSafe(run).catch_unwind().map(Result::ok);
        let outcome = outcome.boxed().shared();
        let entry = UnderWay {
            outcome: outcome.clone(),
            person,
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

/// An exchange that stands in the map of those under way. Dropping it, however that comes about, takes it out.
struct Begun {
    exchanges: Arc<Inner>,
    key: Key,
    person: Arc<Person>,
    joined: Arc<AtomicUsize>,
    arrived: Instant,
}

impl Begun {
    async fn run(self) -> Result<Granted, Refusal> {
        let entra = &self.exchanges.entra;
        let deadline = self.arrived + entra.deadline();
        let turn = if entra.revokes_used_refresh_tokens() {
            // Whoever asked first has been told so, and whoever joined may ask again: a request now could outlast them all.
            let Ok(turn) = timeout_at(deadline, self.person.turn.lock()).await else {
                let outcome = Err(entra.too_slow());
                self.log(&outcome, self.arrived.elapsed());
                return outcome;
            };
            Some(turn)
        } else {
            None
        };
        let waited = self.arrived.elapsed();
        let used = self.person.newest();
        let resource = &self.key.resource;
        let mut outcome = entra
            .exchange(&used.refresh_token, resource, deadline)
            .await;
        match &mut outcome {
            Ok(granted) => {
                if let Some(newest) = granted.refresh_token.take() {
                    self.person.keep(newest, used.version);
                }
                lock(&self.person.refusals).granted(resource);
            }
            Err(refusal) => {
                let mut refusals = lock(&self.person.refusals);
                refusals.add(refusal, resource, used.version, Instant::now());
            }
        }
        drop(turn);
        self.log(&outcome, waited);
        outcome
    }

    fn log(&self, outcome: &Result<Granted, Refusal>, waited: Duration) {
        let error = outcome.as_ref().err().map(Refusal::error);
        let kind = error.as_ref().map_or("ok", |error| error.kind().as_str());
        let correlation_id = error
            .as_ref()
            .and_then(|error| error.details().correlation_id.as_deref());
        info!(
            user = self.key.user,
            resource = self.key.resource.as_str(),
            outcome = kind,
            milliseconds = milliseconds(self.arrived.elapsed()),
            waited = milliseconds(waited),
            joined = self.joined.load(Ordering::Relaxed),
            correlation_id,
            "exchange"
        );
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut under_way = lock(&self.exchanges.under_way);
        // Another one, begun after a new sign-in, may stand in its place.
        let own = under_way
            .get(&self.key)
            .is_some_and(|it| Arc::ptr_eq(&it.person, &self.person));
        if own {
            under_way.remove(&self.key);
        }
    }
}

fn not_signed_in() -> Refusal {
    Refusal::new(
        "login_required",
        "the broker holds no refresh token for this person: they have to sign in",
    )
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
