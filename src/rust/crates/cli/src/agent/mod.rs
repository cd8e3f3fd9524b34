//! `entrar agent`: the broker for one person. It is asked through a socket that only its owner opens (on Windows at a port, by
//! a cookie that only its owner reads), keeps the refresh token in memory alone, and ends at sign-out, when it is idle for
//! long, or when it is told to.

mod commands;
mod cookie_session;
mod process;
mod requests;
mod serve;
mod state;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use entrar_core::file::reason;
use entrar_core::session_directory::VARIABLE;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub(crate) use commands::{LONGEST_ANSWER, ask, runtime, start, status, stop};
pub(crate) use serve::run;

/// After how many minutes without a request an agent ends: 12 hours.
pub(crate) const USUAL_IDLE: u32 = 12 * 60;

/// Why an agent does not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// As the RPC's clients know it.
    #[error("{}", shown(.0))]
    Known(#[from] entrar_core::error::Error),
    /// Another one runs.
    #[error("another agent of yours runs already; `entrar agent stop` ends it")]
    Running,
    /// None runs.
    #[error("no agent of yours runs; `entrar agent start` starts one")]
    NotRunning,
    /// Another one is about to end, or to begin, and does neither.
    #[error("another agent of yours is about to end, and has not done so for {} seconds; end it with kill, or wait", .0.as_secs())]
    Stuck(Duration),
    /// An agent lacks what it needs at this path.
    #[error("the agent cannot use {}: {}. {}", .0.display(), why(.1), remedy(.1))]
    Place(PathBuf, io::Error),
    /// It could not be started.
    #[error("the agent cannot be started: {0}")]
    Start(io::Error),
    /// The system refuses something.
    #[error("the system refuses {0}: {1}")]
    System(&'static str, io::Error),
}

impl Error {
    /// The exit code: 3 where no agent runs, as service managers have it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NotRunning => 3,
            _ => 1,
        }
    }
}

/// Why a path is of no use.
fn why(error: &io::Error) -> String {
    match error.kind() {
        // What the standard library says of an address that does not fit is for programmers.
        ErrorKind::InvalidInput => "the path is too long for a socket".to_owned(),
        _ => reason(error),
    }
}

/// What to do about it.
fn remedy(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "Make room there.".to_owned(),
        _ => format!(
            "Set {VARIABLE} to another directory of this machine that is yours alone{}.",
            if cfg!(unix) { " (mode 0700)" } else { "" }
        ),
    }
}

/// What happened and what to do.
fn shown(error: &entrar_core::error::Error) -> String {
    match &error.details().remedy {
        Some(remedy) => format!("{error}. {remedy}"),
        None => error.to_string(),
    }
}
