//! A turn: of several helpers that git starts at once, one asks and the others take what it has kept.

use std::path::PathBuf;
use std::time::Duration;

#[cfg(unix)]
use crate::runtime_directory::open;

/// A locked file; the kernel unlocks it when the process ends, however that may be.
pub(crate) struct Turn(
    #[allow(dead_code, reason = "open for as long as the turn lasts")] std::fs::File,
);

impl Turn {
    /// Waits for the turn, at most so long; `None` if it does not come in time. Then two may ask at once, which does no
    /// harm. Sessions that share a directory share its turn.
    #[cfg(unix)]
    pub(crate) fn wait(directory: Option<PathBuf>, limit: Duration) -> Option<Self> {
        use std::time::Instant;

        use rustix::fs::{FlockOperation, flock};
        use rustix::io::Errno;

        const PAUSE: Duration = Duration::from_millis(10);
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true);
        let file = open(&directory?.join("turn"), options).ok()?;
        let started = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Some(Self(file)),
                Err(Errno::WOULDBLOCK | Errno::INTR) if started.elapsed() < limit => {
                    std::thread::sleep(PAUSE);
                }
                Err(_) => return None,
            }
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn wait(_: Option<PathBuf>, _: Duration) -> Option<Self> {
        None
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_the_turn_until_it_ends_and_waiting_ends_too() {
        let directory = tempfile::tempdir().unwrap();
        let wait = |directory: &tempfile::TempDir| {
            let directory = Some(directory.path().to_owned());
            Turn::wait(directory, Duration::from_millis(30))
        };
        let first = wait(&directory);
        assert!(first.is_some());
        assert!(wait(&directory).is_none());
        assert!(wait(&tempfile::tempdir().unwrap()).is_some());
        drop(first);
        assert!(wait(&directory).is_some());
        assert!(Turn::wait(None, Duration::ZERO).is_none());
    }
}
