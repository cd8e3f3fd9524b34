//! How long a call may take in all: the variable that says so, and what it may say.

use std::time::Duration;

use entrar_core::env::Env;

/// The variable, in seconds.
pub const VARIABLE: &str = "ENTRAR_TIMEOUT";

/// How long a call may take where nobody says otherwise, in seconds.
pub const DEFAULT_TIMEOUT: f64 = 30.0;

/// A day is more than anybody waits, and keeps the arithmetic of deadlines safe.
const LONGEST: f64 = 86_400.0;

/// The variable says something else. R has the same words, in `R/options.R`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The variable {VARIABLE} must be one number of seconds, above 0 and at most {LONGEST}.")]
pub struct BadTimeout;

/// How long a call may take, as the environment says.
///
/// # Errors
/// [`BadTimeout`] if it says no such thing: who asked for a limit is not given another one.
pub fn timeout(env: &Env) -> Result<Duration, BadTimeout> {
    let Some(text) = env.var(VARIABLE) else {
        return Ok(Duration::from_secs_f64(DEFAULT_TIMEOUT));
    };
    text.trim()
        .parse()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST)
        .map(Duration::from_secs_f64)
        .ok_or(BadTimeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(value: &str) -> Result<f64, BadTimeout> {
        timeout(&Env::fixed(&[(VARIABLE, value)], 0.0)).map(|time| time.as_secs_f64())
    }

    #[test]
    fn a_number_of_seconds_is_read_and_nothing_is_the_default() {
        for (value, expected) in [
            ("60", 60.0),
            (" 0.5 ", 0.5),
            ("1e3", 1_000.0),
            ("86400", LONGEST),
            ("", DEFAULT_TIMEOUT),
        ] {
            assert_eq!(seconds(value), Ok(expected), "{value}");
        }
    }

    #[test]
    fn anything_else_is_an_error() {
        for value in [
            "0", "-1", "86400.1", "soon", "1 2", "30s", "NaN", "NA", "Inf", "-", " ",
        ] {
            assert_eq!(seconds(value), Err(BadTimeout), "{value}");
        }
        assert_eq!(
            BadTimeout.to_string(),
            "The variable ENTRAR_TIMEOUT must be one number of seconds, above 0 and at most 86400."
        );
    }
}
