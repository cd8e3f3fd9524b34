//! How much one local user may ask, so that nobody takes the tenant's patience or the hub's time from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use entrar_core::resource::Resource;
use tokio::time::Instant;

use crate::configuration::Limits;

const MINUTE: Duration = Duration::from_secs(60);
/// How long to wait where too much is under way at once: exchanges are over in less, as a rule.
const SHORT_WAIT: Duration = Duration::from_secs(1);
/// How many callers of one user are answered at once. Those who ask for the same share an exchange.
const MOST_CALLERS: usize = 1_000;

/// How many requests a user may make for each exchange that they may have: those who ask for the same share one, and each
/// request leaves a row in the audit, which must not fill the disk.
const REQUESTS: f64 = 10.0;
/// Whom all those count as who are not served: there may be a uid for each request of theirs.
pub(crate) const NOT_SERVED: u32 = u32::MAX;
/// How many users are remembered before those are forgotten who have not asked for a while.
const MOST_USERS: usize = 1_000;

/// What every user has asked lately.
#[derive(Debug)]
pub struct Limiter {
    limits: RwLock<Limits>,
    users: Mutex<HashMap<u32, User>>,
}

#[derive(Debug)]
struct User {
    exchanges: Allowance,
    requests: Allowance,
    /// How many requests were turned away since one was let in.
    turned_away: u64,
    /// How many callers wait for which resource.
    in_flight: HashMap<Resource, usize>,
}

/// So many a minute, all at once if they were not used before.
#[derive(Debug)]
pub(crate) struct Allowance {
    most: f64,
    left: f64,
    since: Instant,
}

impl Allowance {
    pub(crate) fn new(most: f64, now: Instant) -> Self {
        Self {
            most,
            left: most,
            since: now,
        }
    }

    /// So many a minute from now on; as many are used as before.
    fn allow(&mut self, most: f64) {
        self.left = (self.left + most - self.most).max(0.0);
        self.most = most;
    }

    fn is_full(&self, now: Instant) -> bool {
        self.left_at(now) >= self.most
    }

    fn left_at(&self, now: Instant) -> f64 {
        let time = now.saturating_duration_since(self.since);
        let minutes = time.as_secs_f64() / MINUTE.as_secs_f64();
        (self.left + minutes * self.most).min(self.most)
    }

    /// Takes one, or says how long to wait for it.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.left = self.left_at(now);
        self.since = now;
        if self.left < 1.0 {
            return Err(MINUTE.mul_f64((1.0 - self.left) / self.most));
        }
        self.left -= 1.0;
        Ok(())
    }
}

/// Somebody who is being answered, until this is dropped.
#[derive(Debug)]
pub struct Pass {
    limiter: Arc<Limiter>,
    uid: u32,
    resource: Resource,
}

impl Limiter {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits: RwLock::new(limits),
            users: Mutex::default(),
        })
    }

    /// From now on so much may be asked. What somebody has asked before still counts.
    pub(crate) fn limit(&self, limits: Limits) {
        let most = f64::from(limits.exchanges);
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
        for user in self.users().values_mut() {
            user.exchanges.allow(most);
            user.requests.allow(most * REQUESTS);
        }
    }

    fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a user make a request now, whoever they are; the result is how many were turned away before.
    ///
    /// # Errors
    /// How long to wait. Nothing is to be noted of it: that is what the limit is for.
    pub fn admit(&self, uid: u32, now: Instant) -> Result<u64, Duration> {
        let mut users = self.users();
        let user = self.user(&mut users, uid, now);
        if let Err(wait) = user.requests.take(now) {
            user.turned_away += 1;
            return Err(wait);
        }
        Ok(std::mem::take(&mut user.turned_away))
    }

    /// Lets a user ask for a resource now.
    ///
    /// # Errors
    /// How long to wait.
    pub fn enter(
        self: &Arc<Self>,
        uid: u32,
        resource: &Resource,
        now: Instant,
    ) -> Result<Pass, Duration> {
        let mut users = self.users();
        let user = self.user(&mut users, uid, now);
        if user.in_flight.values().sum::<usize>() >= MOST_CALLERS {
            return Err(SHORT_WAIT);
        }
        // Who asks for what is being asked for already costs no exchange.
        if !user.in_flight.contains_key(resource) {
            let most_at_once = usize::try_from(self.limits().in_flight).unwrap_or(usize::MAX);
            if user.in_flight.len() >= most_at_once {
                return Err(SHORT_WAIT);
            }
            user.exchanges.take(now)?;
        }
        *user.in_flight.entry(resource.clone()).or_default() += 1;
        Ok(Pass {
            limiter: Arc::clone(self),
            uid,
            resource: resource.clone(),
        })
    }

    fn user<'a>(&self, users: &'a mut HashMap<u32, User>, uid: u32, now: Instant) -> &'a mut User {
        if users.len() >= MOST_USERS {
            users.retain(|_, user| {
                let is_idle = user.in_flight.is_empty() && user.turned_away == 0;
                !(is_idle && user.exchanges.is_full(now) && user.requests.is_full(now))
            });
        }
        let most = f64::from(self.limits().exchanges);
        users.entry(uid).or_insert_with(|| User {
            exchanges: Allowance::new(most, now),
            requests: Allowance::new(most * REQUESTS, now),
            turned_away: 0,
            in_flight: HashMap::new(),
        })
    }

    /// No change under the lock can stop half-way, so one poisoned by a panic elsewhere guards sound data.
    fn users(&self) -> MutexGuard<'_, HashMap<u32, User>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut users = self.limiter.users();
        let Some(user) = users.get_mut(&self.uid) else {
            return;
        };
        if let Some(callers) = user.in_flight.get_mut(&self.resource) {
            *callers -= 1;
            if *callers == 0 {
                user.in_flight.remove(&self.resource);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter() -> Arc<Limiter> {
        Limiter::new(Limits {
            exchanges: 3,
            in_flight: 2,
            sessions: 1,
        })
    }

    fn resource(name: &str) -> Resource {
        Resource::parse(&format!("https://{name}.example")).unwrap()
    }

    #[test]
    fn a_minutes_exchanges_are_had_at_once_and_come_back_one_by_one() {
        let (limiter, now) = (limiter(), Instant::now());
        for name in ["a", "b", "a"] {
            drop(limiter.enter(1, &resource(name), now).unwrap());
        }
        let wait = limiter.enter(1, &resource("a"), now).unwrap_err();
        assert_eq!(wait, Duration::from_secs(20));
        assert!(
            limiter
                .enter(1, &resource("a"), now + Duration::from_secs(19))
                .is_err()
        );
        assert!(
            limiter
                .enter(1, &resource("a"), now + Duration::from_secs(20))
                .is_ok()
        );
        assert!(limiter.enter(2, &resource("a"), now).is_ok());
    }

    #[test]
    fn other_limits_hold_at_once_and_what_was_used_stays_used() {
        let (limiter, now) = (limiter(), Instant::now());
        for _ in 0..3 {
            drop(limiter.enter(1, &resource("a"), now).unwrap());
        }
        let limit = |exchanges, in_flight| {
            limiter.limit(Limits {
                exchanges,
                in_flight,
                sessions: 1,
            });
        };
        let enter = |name: &str| limiter.enter(1, &resource(name), now);
        limit(5, 1);
        let held = enter("a").unwrap();
        assert_eq!(enter("b").unwrap_err(), SHORT_WAIT);
        drop(held);
        drop(enter("a").unwrap());
        assert_eq!(enter("a").unwrap_err(), Duration::from_secs(12));
        limit(2, 1);
        assert_eq!(enter("a").unwrap_err(), Duration::from_secs(30));
        assert_eq!(limiter.enter(2, &resource("a"), now).map(drop), Ok(()));
    }

    #[test]
    fn who_asks_for_what_is_under_way_costs_nothing_and_another_resource_waits() {
        let (limiter, now) = (limiter(), Instant::now());
        let enter = |name: &str| limiter.enter(1, &resource(name), now);
        let (first, second) = (enter("a").unwrap(), enter("b").unwrap());
        let equal: Vec<_> = (0..100).map(|_| enter("a").unwrap()).collect();
        assert_eq!(enter("c").unwrap_err(), SHORT_WAIT);
        drop(second);
        assert!(enter("c").is_ok());
        drop((first, equal));
        assert!(limiter.users()[&1].in_flight.is_empty());
    }

    #[test]
    fn callers_of_one_user_are_bounded_and_others_are_not_touched() {
        let (limiter, now) = (limiter(), Instant::now());
        let all: Vec<_> = (0..MOST_CALLERS)
            .map(|_| limiter.enter(1, &resource("a"), now).unwrap())
            .collect();
        assert_eq!(
            limiter.enter(1, &resource("a"), now).unwrap_err(),
            SHORT_WAIT
        );
        assert!(limiter.enter(2, &resource("a"), now).is_ok());
        drop(all);
    }

    #[test]
    fn requests_beyond_all_sense_are_turned_away_and_counted() {
        let (limiter, now) = (limiter(), Instant::now());
        for _ in 0..30 {
            assert_eq!(limiter.admit(1, now), Ok(0));
        }
        for _ in 0..5 {
            assert_eq!(limiter.admit(1, now), Err(Duration::from_secs(2)));
        }
        assert_eq!(limiter.admit(2, now), Ok(0));
        let later = now + Duration::from_secs(2);
        assert_eq!(limiter.admit(1, later), Ok(5));
    }

    #[test]
    fn who_has_not_asked_for_a_while_is_forgotten_when_there_are_many() {
        let (limiter, now) = (limiter(), Instant::now());
        for uid in 0..1_000 {
            drop(limiter.enter(uid, &resource("a"), now).unwrap());
        }
        let _ = limiter.enter(5_000, &resource("a"), now + MINUTE);
        assert_eq!(limiter.users().keys().copied().collect::<Vec<_>>(), [5_000]);
    }
}
