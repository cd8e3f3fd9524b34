//! What came of sign-ins, kept for the addresses at which it is shown: the one that Entra ID sends a browser back to has a code
//! in it, and is to stay neither in the browser's address line nor in its history.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::pages::Message;

/// How long the person may look at it again.
const LIFETIME: Duration = Duration::from_secs(5 * 60);
/// How many are kept; the oldest goes for one too many.
const MOST: usize = 1_000;

/// Messages, each for the browser that holds its handle. They are in memory: who comes back after a restart sees the start page.
#[derive(Default)]
pub(super) struct Outcomes(Mutex<VecDeque<Outcome>>);

struct Outcome {
    handle: SecretString,
    since: Instant,
    message: Message,
}

impl Outcomes {
    /// Keeps a message for who holds this handle.
    pub(super) fn keep(&self, handle: SecretString, message: Message, now: Instant) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|outcome| now - outcome.since < LIFETIME);
        if kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back(Outcome {
            handle,
            since: now,
            message,
        });
    }

    /// The message for who holds this handle, unless it is too old.
    pub(super) fn of(&self, handle: &SecretString, now: Instant) -> Option<Message> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = handle.expose_secret().as_bytes();
        kept.iter()
            .filter(|outcome| now - outcome.since < LIFETIME)
            .find(|outcome| {
                let own = outcome.handle.expose_secret().as_bytes();
                own.ct_eq(handle).into()
            })
            .map(|outcome| outcome.message.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(number: usize) -> SecretString {
        format!("canary-{number}").into()
    }

    #[test]
    fn a_message_is_there_for_its_browser_for_five_minutes() {
        let (outcomes, now) = (Outcomes::default(), Instant::now());
        outcomes.keep(handle(1), Message::Declined, now);
        outcomes.keep(handle(2), Message::SignInOver, now);
        let shown = outcomes.of(&handle(1), now);
        assert!(matches!(shown, Some(Message::Declined)), "{shown:?}");
        assert!(outcomes.of(&handle(3), now).is_none());
        let late = now + LIFETIME;
        assert!(outcomes.of(&handle(1), late).is_none());
        outcomes.keep(handle(3), Message::Declined, late);
        assert_eq!(outcomes.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_oldest_goes_for_one_too_many() {
        let (outcomes, now) = (Outcomes::default(), Instant::now());
        for number in 0..=MOST {
            outcomes.keep(handle(number), Message::Declined, now);
        }
        assert!(outcomes.of(&handle(0), now).is_none());
        assert!(outcomes.of(&handle(1), now).is_some());
        assert!(outcomes.of(&handle(MOST), now).is_some());
    }
}
