//! A program that R waits for. R's own `system2()` is deaf to Ctrl-C meanwhile, and with a timeout Ctrl-C can end R.

use std::fs::File;
use std::io;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::interrupt::{self, Request};

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
/// first, the program is ended and the request returned.
pub fn run(command: &mut Command, limit: Duration) -> io::Result<Result<Option<i32>, Request>> {
    let mut running = Running(command.spawn()?);
    let start = Instant::now();
    let mut looked = start;
    loop {
        let ended = running.0.try_wait()?;
        // At a terminal, Ctrl-C ends the program too.
        let was_killed = ended.is_some_and(|status| status.code().is_none());
        if was_killed || looked.elapsed() >= INTERRUPT_TICK {
            looked = Instant::now();
            if let Some(request) = interrupt::requested() {
                return Ok(Err(request));
            }
        }
        if let Some(status) = ended {
            return Ok(Ok(status.code()));
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
    fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// git ends its own children when it is asked to end, not when it is killed.
    #[cfg(unix)]
    fn ask_to_end(&self) {
        let process = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
    }

    #[cfg(not(unix))]
    fn ask_to_end(&mut self) {
        let _ = self.0.kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        self.ask_to_end();
        let asked = Instant::now();
        while !self.has_ended() {
            if asked.elapsed() > GRACE {
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            thread::sleep(TICK);
        }
    }
}
