//! A program that R waits for. R's own `system2()` is deaf to Ctrl-C meanwhile, and with a timeout Ctrl-C can end R.

use std::fs::File;
use std::io;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::interrupt::{self, Requested};

/// How often is looked whether the program has ended.
const TICK: Duration = Duration::from_millis(1);
/// How often Ctrl-C is looked for.
const INTERRUPT_TICK: Duration = Duration::from_millis(50);
/// How long a program may take to end after it was told to.
const GRACE: Duration = Duration::from_secs(1);

/// Where a program reads from: a file, or nothing if the path is empty.
pub fn input(path: &str) -> io::Result<Stdio> {
    if path.is_empty() {
        return Ok(Stdio::null());
    }
    File::open(path).map(Stdio::from)
}

/// Where a program writes to: a new file, or nowhere if the path is empty.
pub fn output(path: &str) -> io::Result<Stdio> {
    if path.is_empty() {
        return Ok(Stdio::null());
    }
    File::create(path).map(Stdio::from)
}

/// Runs a command to its end: its exit code, or `None` if a signal or the limit has ended it. If R wants the call to end
/// first, the command and all that it has started are ended, and the request returned.
pub fn run(command: &mut Command, limit: Duration) -> io::Result<Result<Option<i32>, Requested>> {
    // git's own children do not end with it, so that all of them make a group.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let mut running = Running(command.spawn()?);
    let start = Instant::now();
    let mut looked = start;
    loop {
        if let Some(code) = running.exit_code() {
            return Ok(Ok(code));
        }
        if looked.elapsed() >= INTERRUPT_TICK {
            looked = Instant::now();
            if let Some(request) = interrupt::requested() {
                return Ok(Err(request));
            }
        }
        if start.elapsed() > limit {
            return Ok(Ok(None));
        }
        thread::sleep(TICK);
    }
}

/// Does not outlive this value.
struct Running(Child);

impl Running {
    /// Once it has ended: its exit code, which is not known after a signal, or if whoever started R has children reaped
    /// by themselves.
    fn exit_code(&mut self) -> Option<Option<i32>> {
        match self.0.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.code()),
            Err(_) => Some(None),
        }
    }

    /// `at_once` gives no time to tidy up.
    #[cfg(unix)]
    fn end(&mut self, at_once: bool) {
        use rustix::process::{Pid, Signal, kill_process_group};
        let signal = if at_once { Signal::KILL } else { Signal::TERM };
        // The group is still there: its first process was not waited for.
        let _ = kill_process_group(Pid::from_child(&self.0), signal);
    }

    #[cfg(not(unix))]
    fn end(&mut self, _at_once: bool) {
        let _ = self.0.kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.exit_code().is_some() {
            return;
        }
        self.end(false);
        let asked = Instant::now();
        while self.exit_code().is_none() {
            if asked.elapsed() > GRACE {
                self.end(true);
                let _ = self.0.wait();
                return;
            }
            thread::sleep(TICK);
        }
    }
}
