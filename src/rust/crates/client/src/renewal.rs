//! When a token that is kept is handed out, renewed, or not asked for again. Nothing here reads a clock
//! or asks a server: whoever keeps the token does, and says when.

use entrar_core::time::UnixTime;

/// The longest time before its expiry at which a token is renewed, in seconds.
const WINDOW: f64 = 300.0;
/// When a token is renewed whose expiry nobody knows, in seconds.
const UNKNOWN_RENEWAL: f64 = 60.0;
/// How long such a token serves at most, in seconds. Entra ID's live longer.
const UNKNOWN_LIFETIME: f64 = 3_600.0;
/// The wait after a renewal that failed while the old token is still valid, in seconds.
const BETWEEN_ATTEMPTS: f64 = 30.0;
/// How long a question is not asked again whose answer will be the same, in seconds.
const AFTER_FINAL_ERROR: f64 = 60.0;
/// The longest that a server's wish keeps us from asking, in seconds. What stands before a server, such as a gateway, may
/// name a day.
const LONGEST_BAR: f64 = 3_600.0;

/// When a token is to be renewed that was asked for at `sent` and expires at `expires_at`: five
/// minutes before its expiry, or after half its lifetime if that is later.
#[must_use]
pub fn renewal_time(sent: UnixTime, expires_at: Option<UnixTime>) -> UnixTime {
    match expires_at {
        Some(expires_at) => expires_at - WINDOW.min((expires_at - sent).max(0.0) / 2.0),
        None => sent + UNKNOWN_RENEWAL,
    }
}

/// What is kept for one question: its token `T`, and its latest error `E`.
#[derive(Debug)]
pub struct CacheEntry<T, E> {
    token: Option<Dated<T>>,
    setback: Option<Setback<E>>,
}

#[derive(Debug)]
struct Dated<T> {
    token: T,
    sent: UnixTime,
    renew_at: UnixTime,
    expires_at: UnixTime,
}

#[derive(Debug)]
struct Setback<E> {
    error: E,
    at: UnixTime,
    /// Until when the question is not asked again, if there is no token to hand out meanwhile.
    silent_until: UnixTime,
    /// Until when it is not asked again even if somebody insists: the server said so.
    barred_until: UnixTime,
    /// Whether somebody was told that the old token serves on.
    warned: bool,
}

/// What to do about a question.
#[derive(Debug, PartialEq)]
pub enum Next<'a, T, E> {
    /// Hand out this token.
    Serve(&'a T),
    /// Raise this error again.
    Refuse(&'a E),
    /// Ask the server.
    Ask,
}

/// What to do about an answer that is an error.
#[derive(Debug, PartialEq)]
pub enum Fallback<'a, T> {
    /// Hand out the old token, which is still valid; `first` if this is the first failure to renew it.
    Serve {
        /// The old token.
        token: &'a T,
        /// Whether to warn: once is enough.
        first: bool,
    },
    /// Raise the error.
    Raise,
}

impl<T, E> Default for CacheEntry<T, E> {
    fn default() -> Self {
        Self {
            token: None,
            setback: None,
        }
    }
}

impl<T, E> CacheEntry<T, E> {
    /// What to do at `now`. `insist` asks for a new token though the old one would do.
    pub fn next(&self, now: UnixTime, insist: bool) -> Next<'_, T, E> {
        // A clock that was set back makes every date here meaningless.
        let setback = self.setback.as_ref().filter(|setback| setback.at <= now);
        if let Some(setback) = setback.filter(|setback| insist && now < setback.barred_until) {
            return Next::Refuse(&setback.error);
        }
        if insist {
            return Next::Ask;
        }
        if let Some(kept) = self.valid(now) {
            let waiting = setback.is_some_and(|setback| {
                let next = setback.at + BETWEEN_ATTEMPTS;
                now < next.max(setback.silent_until).max(setback.barred_until)
            });
            return if now < kept.renew_at || waiting {
                Next::Serve(&kept.token)
            } else {
                Next::Ask
            };
        }
        match setback.filter(|setback| now < setback.silent_until.max(setback.barred_until)) {
            Some(setback) => Next::Refuse(&setback.error),
            None => Next::Ask,
        }
    }

    /// Keeps a token that was asked for at `sent`.
    pub fn granted(&mut self, token: T, sent: UnixTime, expires_at: Option<UnixTime>) {
        self.setback = None;
        self.token = Some(Dated {
            token,
            sent,
            renew_at: renewal_time(sent, expires_at),
            expires_at: expires_at.unwrap_or(sent + UNKNOWN_LIFETIME),
        });
    }

    /// Remembers an error that came at `now`. `is_final` if asking again cannot cure it;
    /// `retry_after` is what the server asks to wait; `insist` as for [`CacheEntry::next`].
    pub fn failed(
        &mut self,
        error: E,
        now: UnixTime,
        is_final: bool,
        retry_after: Option<f64>,
        insist: bool,
    ) -> Fallback<'_, T> {
        let serves = !insist && self.valid(now).is_some();
        let warned = self.setback.as_ref().is_some_and(|setback| setback.warned);
        self.setback = Some(Setback {
            error,
            at: now,
            silent_until: if is_final {
                now + AFTER_FINAL_ERROR
            } else {
                now
            },
            barred_until: now + retry_after.unwrap_or_default().min(LONGEST_BAR),
            warned: warned || serves,
        });
        match self.valid(now) {
            Some(kept) if serves => Fallback::Serve {
                token: &kept.token,
                first: !warned,
            },
            _ => Fallback::Raise,
        }
    }

    /// Forgets the latest error: the same question was answered since.
    pub fn answered(&mut self) {
        self.setback = None;
    }

    fn valid(&self, now: UnixTime) -> Option<&Dated<T>> {
        self.token
            .as_ref()
            .filter(|kept| kept.sent <= now && now < kept.expires_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: f64) -> UnixTime {
        UnixTime::new(seconds)
    }

    type Tokens = CacheEntry<&'static str, &'static str>;

    fn kept(sent: f64, expires_at: f64) -> Tokens {
        let mut kept = Tokens::default();
        kept.granted("token", at(sent), Some(at(expires_at)));
        kept
    }

    #[test]
    fn a_token_is_renewed_five_minutes_before_its_expiry_or_after_half_its_lifetime() {
        assert_eq!(renewal_time(at(0.0), Some(at(3600.0))), at(3300.0));
        assert_eq!(renewal_time(at(0.0), Some(at(60.0))), at(30.0));
        assert_eq!(renewal_time(at(50.0), Some(at(40.0))), at(40.0));
        assert_eq!(renewal_time(at(0.0), None), at(60.0));
    }

    #[test]
    fn a_fresh_token_is_served_without_asking() {
        let kept = kept(0.0, 3600.0);
        assert_eq!(kept.next(at(0.0), false), Next::Serve(&"token"));
        assert_eq!(kept.next(at(3299.9), false), Next::Serve(&"token"));
        assert_eq!(kept.next(at(3300.0), false), Next::Ask);
        assert_eq!(kept.next(at(5.0), true), Next::Ask);
    }

    #[test]
    fn nothing_kept_is_asked_for() {
        assert_eq!(Tokens::default().next(at(0.0), false), Next::Ask);
    }

    #[test]
    fn a_failed_renewal_keeps_the_old_token_and_is_tried_again_every_thirty_seconds() {
        let mut kept = kept(0.0, 3600.0);
        let old = |first| Fallback::Serve {
            token: &"token",
            first,
        };
        assert_eq!(
            kept.failed("down", at(3300.0), false, None, false),
            old(true)
        );
        assert_eq!(kept.next(at(3329.9), false), Next::Serve(&"token"));
        assert_eq!(kept.next(at(3330.0), false), Next::Ask);
        assert_eq!(
            kept.failed("down", at(3330.0), true, None, false),
            old(false)
        );
        assert_eq!(
            kept.next(at(3389.9), false),
            Next::Serve(&"token"),
            "that error was final"
        );
        assert_eq!(kept.next(at(3390.0), false), Next::Ask);
        assert_eq!(
            kept.failed("down", at(3600.0), false, None, false),
            Fallback::Raise
        );
        kept.granted("new", at(3601.0), Some(at(7200.0)));
        assert_eq!(kept.next(at(3601.0), false), Next::Serve(&"new"));
    }

    #[test]
    fn a_final_error_is_not_asked_about_for_a_minute() {
        let mut kept = Tokens::default();
        assert_eq!(
            kept.failed("no", at(10.0), true, None, false),
            Fallback::Raise
        );
        assert_eq!(kept.next(at(69.9), false), Next::Refuse(&"no"));
        assert_eq!(kept.next(at(70.0), false), Next::Ask);
        assert_eq!(kept.next(at(10.0), true), Next::Ask, "who insists may ask");
    }

    #[test]
    fn a_passing_error_may_be_asked_about_at_once() {
        let mut kept = Tokens::default();
        kept.failed("down", at(10.0), false, None, false);
        assert_eq!(kept.next(at(10.0), false), Next::Ask);
    }

    #[test]
    fn what_the_server_asks_to_wait_is_waited_even_by_who_insists() {
        let mut kept = Tokens::default();
        kept.failed("throttled", at(10.0), false, Some(17.0), false);
        for insist in [false, true] {
            assert_eq!(kept.next(at(26.9), insist), Next::Refuse(&"throttled"));
            assert_eq!(kept.next(at(27.0), insist), Next::Ask);
        }
        let mut kept = self::kept(0.0, 3600.0);
        kept.failed("throttled", at(3300.0), false, Some(100.0), false);
        assert_eq!(kept.next(at(3399.9), false), Next::Serve(&"token"));
        assert_eq!(kept.next(at(3400.0), false), Next::Ask);
    }

    #[test]
    fn nobody_is_kept_from_asking_for_more_than_an_hour_or_after_an_answer() {
        let mut kept = Tokens::default();
        kept.failed("throttled", at(10.0), false, Some(86_400.0), false);
        assert_eq!(kept.next(at(3_609.9), true), Next::Refuse(&"throttled"));
        assert_eq!(kept.next(at(3_610.0), true), Next::Ask);
        kept.failed("throttled", at(3_610.0), false, Some(86_400.0), false);
        kept.answered();
        assert_eq!(kept.next(at(3_610.0), false), Next::Ask);
    }

    #[test]
    fn who_insists_and_fails_hears_of_it_and_the_old_token_stays() {
        let mut kept = kept(0.0, 3600.0);
        assert_eq!(
            kept.failed("down", at(10.0), false, None, true),
            Fallback::Raise
        );
        assert_eq!(kept.next(at(10.0), false), Next::Serve(&"token"));
        // Nobody was told yet that the old one serves on.
        let told = kept.failed("down", at(3300.0), false, None, false);
        assert!(matches!(told, Fallback::Serve { first: true, .. }));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_everything_old() {
        let mut kept = kept(1000.0, 4600.0);
        assert_eq!(kept.next(at(999.0), false), Next::Ask);
        kept.failed("no", at(1000.0), true, None, true);
        assert_eq!(kept.next(at(999.0), false), Next::Ask);
    }

    proptest! {
        /// However short the tokens and however often one asks: a token is never asked for more often
        /// than its lifetime allows, and never served after its expiry.
        #[test]
        fn asking_is_bounded_and_nothing_expired_is_served(
            lifetime in 0.0_f64..7200.0,
            steps in prop::collection::vec(0.0_f64..600.0, 1..200),
        ) {
            let mut kept = CacheEntry::<UnixTime, ()>::default();
            let mut now = at(0.0);
            let mut last_asked = at(f64::NEG_INFINITY);
            for step in steps {
                now = now + step;
                match kept.next(now, false) {
                    Next::Serve(expires_at) => prop_assert!(now < *expires_at),
                    Next::Ask => {
                        prop_assert!(now - last_asked >= (lifetime - WINDOW).max(lifetime / 2.0) - 1e-6);
                        last_asked = now;
                        kept.granted(now + lifetime, now, Some(now + lifetime));
                    }
                    Next::Refuse(()) => prop_assert!(false, "nothing has failed"),
                }
            }
        }
    }
}
