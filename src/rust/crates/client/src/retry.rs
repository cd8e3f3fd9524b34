//! When a request that failed is made again: the same rule for the session RPC and the token endpoint.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Attempts after the first one, for faults that pass.
pub const RETRIES: u32 = 2;

/// The wait before the first retry; it doubles for the next.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// How long to wait before retry number `retry` (from 0): the seconds that the server `asked` for,
/// else a doubling wait; and up to half the usual wait longer, so that many clients that failed
/// together do not come back together.
#[must_use]
pub fn wait_before(retry: u32, asked: Option<f64>) -> Duration {
    let usual = FIRST_WAIT * 2_u32.saturating_pow(retry);
    let random = RandomState::new().build_hasher().finish() % 1_000;
    #[allow(clippy::cast_precision_loss, reason = "below a thousand")]
    let share = random as f64 / 2_000.0;
    asked.map_or(usual, Duration::from_secs_f64) + usual.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_the_servers_wish_is_kept() {
        for (retry, asked, least, most) in [
            (0, None, 0.2, 0.3),
            (1, None, 0.4, 0.6),
            (0, Some(7.0), 7.0, 7.1),
            (1, Some(0.0), 0.0, 0.2),
        ] {
            let wait = wait_before(retry, asked).as_secs_f64();
            assert!((least..=most).contains(&wait), "{wait}");
        }
    }
}
