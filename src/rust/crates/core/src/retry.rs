//! When a request that failed is made again: the same rule for the session RPC and the token endpoint.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::Outlook;

/// Attempts after the first one, for faults that pass.
pub const RETRIES: u32 = 2;

/// The wait before the first retry; it doubles for the next.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Makes a request until it succeeds, its failure is one that does not pass, or it was tried `most` times more.
/// `judge` tells of a failure its outlook and how many seconds the server asks to wait. A wait that does not fit before
/// the deadline is not begun: the latest failure is the result at once.
///
/// # Errors
/// [`Elapsed`] if the deadline passes during an attempt; inside, the latest attempt's failure.
pub async fn retried<T, E, Attempt: Future<Output = Result<T, E>>>(
    deadline: Instant,
    most: u32,
    judge: impl Fn(&E) -> (Outlook, Option<f64>),
    mut attempt: impl FnMut() -> Attempt,
) -> Result<Result<T, E>, Elapsed> {
    let mut retries = 0;
    loop {
        let failure = match timeout_at(deadline, attempt()).await? {
            Err(failure) => failure,
            success => return Ok(success),
        };
        let (outlook, asked) = judge(&failure);
        let wait = match outlook {
            // As a rule a kept-alive connection that the server has closed: a new one will do.
            Outlook::Reconnect if retries == 0 => Duration::ZERO,
            Outlook::Reconnect | Outlook::Retry => wait_before(retries, asked),
            Outlook::Later | Outlook::Mend | Outlook::Final => return Ok(Err(failure)),
        };
        if retries == most || Instant::now() + wait >= deadline {
            return Ok(Err(failure));
        }
        retries += 1;
        sleep(wait).await;
    }
}

/// How long to wait before retry number `retry` (from 0): the seconds that the server `asked` for,
/// else a doubling wait; and up to half the usual wait longer, so that many clients that failed
/// together do not come back together.
fn wait_before(retry: u32, asked: Option<f64>) -> Duration {
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
