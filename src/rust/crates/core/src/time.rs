//! A moment, as every part counts it: in Unix seconds, with their fraction.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};

/// A moment in Unix seconds. Moments compare by their number, and their difference is in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnixTime(f64);

impl UnixTime {
    /// The moment so many seconds after the epoch.
    #[must_use]
    pub const fn new(seconds: f64) -> Self {
        Self(seconds)
    }

    /// The moment so many whole seconds after the epoch.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        reason = "dates lie far below 2^52 seconds"
    )]
    pub const fn of_whole(seconds: i64) -> Self {
        Self(seconds as f64)
    }

    /// What the system's clock says.
    #[must_use]
    pub fn now() -> Self {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(elapsed.map_or(0.0, |elapsed| elapsed.as_secs_f64()))
    }

    /// A date as HTTP and mail write it (RFC 9110, 5.6.7; RFC 5322), such as `Mon, 23 Nov 2026 00:00:00 GMT`.
    #[must_use]
    pub fn of_http_date(text: &str) -> Option<Self> {
        let date = DateTime::parse_from_rfc2822(text).ok()?;
        Some(Self::of_whole(date.timestamp()))
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn seconds(self) -> f64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a cast saturates, and no calendar goes as far"
    )]
    pub fn whole(self) -> i64 {
        self.0.floor() as i64
    }

    /// The whole second that this moment lies in.
    #[must_use]
    pub fn floor(self) -> Self {
        Self(self.0.floor())
    }

    /// As HTTP writes a date. A time that no calendar holds is written as the epoch.
    #[must_use]
    pub fn to_http_date(self) -> String {
        self.date().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// As ISO 8601 and RFC 3339 write it, in whole seconds: `2026-11-23T00:00:00Z`.
    #[must_use]
    pub fn to_iso(self) -> String {
        self.date().to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    fn date(self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.whole(), 0).unwrap_or_default()
    }
}

impl From<f64> for UnixTime {
    fn from(seconds: f64) -> Self {
        Self(seconds)
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_iso())
    }
}

impl PartialEq for UnixTime {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for UnixTime {}

impl PartialOrd for UnixTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for UnixTime {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Add<f64> for UnixTime {
    type Output = Self;

    fn add(self, seconds: f64) -> Self {
        Self(self.0 + seconds)
    }
}

impl Add<Duration> for UnixTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self + duration.as_secs_f64()
    }
}

impl Sub<f64> for UnixTime {
    type Output = Self;

    fn sub(self, seconds: f64) -> Self {
        Self(self.0 - seconds)
    }
}

impl Sub for UnixTime {
    type Output = f64;

    fn sub(self, earlier: Self) -> f64 {
        self.0 - earlier.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: UnixTime = UnixTime::of_whole(1_795_392_000);

    #[test]
    fn a_moment_is_written_as_http_and_as_iso_write_it() {
        let moment = MIDNIGHT + 0.75;
        assert_eq!(moment.to_http_date(), "Mon, 23 Nov 2026 00:00:00 GMT");
        assert_eq!(moment.to_iso(), "2026-11-23T00:00:00Z");
        assert_eq!(moment.whole(), 1_795_392_000);
        assert_eq!(moment.floor(), MIDNIGHT);
        let never = UnixTime::new(f64::MAX);
        assert_eq!(never.to_http_date(), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn a_date_of_http_is_read_and_any_other_text_is_none() {
        let read = UnixTime::of_http_date("Mon, 23 Nov 2026 00:00:00 GMT");
        assert_eq!(read, Some(MIDNIGHT));
        assert_eq!(UnixTime::of_http_date("2026-11-23T00:00:00Z"), None);
    }

    #[test]
    fn moments_compare_and_differ_in_seconds() {
        assert!(MIDNIGHT < MIDNIGHT + Duration::from_millis(1));
        assert_eq!(MIDNIGHT + 90.5 - MIDNIGHT, 90.5);
        assert_eq!(MIDNIGHT - 1.0, UnixTime::of_whole(1_795_391_999));
    }
}
