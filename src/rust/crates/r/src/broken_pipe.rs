//! What R does of a signal must not happen in the middle of a call: at SIGPIPE, which comes when an agent goes away between
//! two requests, R raises an error from within the handler, over all that the call holds. Only sockets of files send it.

#![allow(unsafe_code, reason = "a signal's action is C's to change")]

#[cfg(unix)]
use std::{mem, ptr};

/// While this lives a broken pipe is the error of who writes to it, and no signal.
pub struct Ignored {
    #[cfg(unix)]
    before: Option<libc::sigaction>,
}

impl Ignored {
    /// Begins.
    #[cfg(unix)]
    pub fn new() -> Self {
        // SAFETY: all zeros are a set of no signals and no flags, and both pointers are to live structures.
        let before = unsafe {
            let mut ignore: libc::sigaction = mem::zeroed();
            ignore.sa_sigaction = libc::SIG_IGN;
            let mut before: libc::sigaction = mem::zeroed();
            let changed = libc::sigaction(libc::SIGPIPE, &raw const ignore, &raw mut before) == 0;
            changed.then_some(before)
        };
        Self { before }
    }

    /// There is no such signal.
    #[cfg(not(unix))]
    pub fn new() -> Self {
        Self {}
    }
}

#[cfg(unix)]
impl Drop for Ignored {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // SAFETY: it is what the system returned, unchanged.
            unsafe {
                libc::sigaction(libc::SIGPIPE, before, ptr::null_mut());
            }
        }
    }
}
