//! The process's environment variables and clock, as a value: the one place where both are read.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where variables and the time come from: the process itself, or fixed values for a test.
#[derive(Clone, Debug)]
pub struct Env(Source);

// The variables may hold a cookie, so `Debug` must not show them.
#[derive(Clone)]
enum Source {
    Process,
    Fixed {
        variables: HashMap<String, String>,
        now: f64,
    },
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Process => "Process",
            Self::Fixed { .. } => "Fixed(<REDACTED>)",
        })
    }
}

impl Env {
    /// The environment and clock of this process, read anew at each question.
    #[must_use]
    pub fn process() -> Self {
        Self(Source::Process)
    }

    /// A fixed environment whose clock stands still at `now` (Unix seconds).
    #[must_use]
    pub fn fixed(variables: &[(&str, &str)], now: f64) -> Self {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self(Source::Fixed { variables, now })
    }

    /// The variable's value; an empty one counts as not set.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<String> {
        let value = match &self.0 {
            Source::Process => match std::env::var_os(name)?.into_string() {
                Ok(value) => value,
                Err(value) => value.to_string_lossy().into_owned(),
            },
            Source::Fixed { variables, .. } => variables.get(name)?.clone(),
        };
        (!value.is_empty()).then_some(value)
    }

    /// The first of these variables that is set, and its value.
    #[must_use]
    pub fn first<const N: usize>(
        &self,
        names: [&'static str; N],
    ) -> Option<(&'static str, String)> {
        names
            .into_iter()
            .find_map(|name| Some((name, self.var(name)?)))
    }

    /// The time, in Unix seconds.
    #[must_use]
    pub fn now(&self) -> f64 {
        match &self.0 {
            Source::Process => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |elapsed| elapsed.as_secs_f64()),
            Source::Fixed { now, .. } => *now,
        }
    }
}
