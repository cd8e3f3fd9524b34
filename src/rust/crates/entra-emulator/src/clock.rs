//! The clock: the one place where the emulator reads the time.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;

/// Where a tenant reads the time, in whole Unix seconds. The default is the system's clock; a test sets its own.
///
/// ```
/// use entra_emulator::Clock;
///
/// assert_eq!(Clock::new(|| 1_795_406_400).now(), 1_795_406_400);
/// ```
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// A clock that asks `now` each time it is read.
    pub fn new(now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now, in Unix seconds.
    pub fn now(&self) -> i64 {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(|| {
            let since = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// `seconds` written in UTC after a chrono `format`; empty for a time that no calendar holds.
pub(crate) fn utc(seconds: i64, format: &str) -> String {
    DateTime::from_timestamp(seconds, 0)
        .map_or_else(String::new, |time| time.format(format).to_string())
}
