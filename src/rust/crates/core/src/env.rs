//! The process's environment variables and clock, as a value: the one place where both are read.

use std::collections::HashMap;

use crate::time::UnixTime;

/// Where variables and the time come from: the process itself, or values that were chosen.
#[derive(Clone, Debug)]
pub struct Env(Source);

// The variables may hold a cookie, so `Debug` must not show them.
#[derive(Clone)]
enum Source {
    Process,
    Chosen {
        variables: HashMap<String, String>,
        /// `None` for the process's clock.
        now: Option<UnixTime>,
    },
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Process => "Process",
            Self::Chosen { .. } => "Chosen(<REDACTED>)",
        })
    }
}

impl Env {
    /// The environment and clock of this process, read anew at each question.
    #[must_use]
    pub fn process() -> Self {
        Self(Source::Process)
    }

    /// A fixed environment whose clock stands still at `now`, a moment or its Unix seconds.
    #[must_use]
    pub fn fixed(variables: &[(&str, &str)], now: impl Into<UnixTime>) -> Self {
        Self::chosen(variables, Some(now.into()))
    }

    /// These variables and no others, with this process's clock: for a program that takes its settings from elsewhere.
    #[must_use]
    pub fn with_variables(variables: &[(&str, &str)]) -> Self {
        Self::chosen(variables, None)
    }

    fn chosen(variables: &[(&str, &str)], now: Option<UnixTime>) -> Self {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self(Source::Chosen { variables, now })
    }

    /// The variable's value; an empty one counts as not set.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<String> {
        let value = match &self.0 {
            Source::Process => match std::env::var_os(name)?.into_string() {
                Ok(value) => value,
                Err(value) => value.to_string_lossy().into_owned(),
            },
            Source::Chosen { variables, .. } => variables.get(name)?.clone(),
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

    /// The time.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        match &self.0 {
            Source::Process | Source::Chosen { now: None, .. } => UnixTime::now(),
            Source::Chosen { now: Some(now), .. } => *now,
        }
    }
}
