//! What the service manager is told (systemd's `sd_notify`): that the hub serves, reads its settings anew, stops, and is alive.
//! Where nobody asked to be told, nothing is.

use std::future::Future;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tracing::warn;

use crate::store::Store;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager cannot be told");
    }
}

/// All doors are open, and the settings hold.
pub(crate) fn ready(status: &str) {
    // A line is one thing that is said.
    let status = status.replace(char::is_control, " ");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The settings are read anew; [`ready`] comes after it, whatever comes of it.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "the service manager cannot be told"),
    }
}

/// The last exchanges end.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells the service manager that the hub is alive, until this is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog(JoinHandle<()>);

impl Watchdog {
    /// Begins, if the service manager wants to be told. The runtime and the database's writer have to answer; what the
    /// writer says does not count: a new start frees no disk.
    pub(crate) fn start(store: &Store) -> Option<Self> {
        let allowed = sd_notify::watchdog_enabled()?;
        let store = store.clone();
        let answer = move || {
            let store = store.clone();
            // A task of its own: there has to be a thread for it.
            let task = tokio::spawn(async move { store.probe().await });
            async move { drop(task.await) }
        };
        Some(Self::with(allowed, answer, || {
            tell(&[NotifyState::Watchdog]);
        }))
    }

    /// Calls `tell` each time that there was an answer, three times in the time that is allowed between two calls.
    fn with<F>(
        allowed: Duration,
        answer: impl Fn() -> F + Send + 'static,
        tell: impl Fn() + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let period = allowed / 3;
        Self(tokio::spawn(async move {
            if period.is_zero() {
                return;
            }
            let mut ticks = interval_at(Instant::now(), period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if timeout(period, answer()).await.is_ok() {
                    tell();
                }
            }
        }))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_not_alive() {
        let (told, answers) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(true)),
        );
        let (counted, asked) = (Arc::clone(&told), Arc::clone(&answers));
        let answer = move || {
            let asked = Arc::clone(&asked);
            async move {
                if !asked.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
            }
        };
        let count = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let watchdog = Watchdog::with(Duration::from_secs(30), answer, count);
        let told_within = async |seconds| {
            told.store(0, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            told.load(Ordering::Relaxed)
        };
        // At 0, 10, 20 and 30 seconds.
        assert_eq!(told_within(35).await, 4);
        answers.store(false, Ordering::Relaxed);
        assert_eq!(told_within(60).await, 0);
        answers.store(true, Ordering::Relaxed);
        assert!(told_within(60).await >= 5);
        drop(watchdog);
        assert_eq!(told_within(60).await, 0);
    }
}
