//! Running a command to its end in the place of this process: signals go on to it, its exit code comes back.

use std::io;
use std::process::ExitStatus;

use tokio::process::Child;

/// The signals that would end this process, caught from now on. Whoever has something to tidy up catches them before.
#[cfg(unix)]
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the command's end and passes on what is caught meanwhile.
    pub(crate) async fn wait_for(&mut self, command: &mut Child) -> io::Result<ExitStatus> {
        use rustix::process::{Pid, Signal, kill_process};
        loop {
            let signal = tokio::select! {
                status = command.wait() => return status,
                _ = self.interrupt.recv() => Signal::INT,
                _ = self.quit.recv() => Signal::QUIT,
                _ = self.terminate.recv() => Signal::TERM,
                _ = self.hang_up.recv() => Signal::HUP,
            };
            let typed = matches!(signal, Signal::INT | Signal::QUIT) && is_in_foreground();
            let pid = command
                .id()
                .and_then(|id| Pid::from_raw(id.try_into().ok()?));
            if let Some(pid) = pid.filter(|_| !typed) {
                // It can only fail if the command has just ended, which the next round sees.
                let _ = kill_process(pid, signal);
            }
        }
    }
}

/// Whether Ctrl-C at a terminal reaches this process. It reaches the command too then, which is of the same process
/// group, and must not get it twice.
#[cfg(unix)]
fn is_in_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    let foreground = terminal
        .ok()
        .and_then(|terminal| rustix::termios::tcgetpgrp(terminal).ok());
    foreground == Some(rustix::process::getpgrp())
}

/// Ctrl-C, which reaches the command by itself.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn wait_for(&mut self, command: &mut Child) -> io::Result<ExitStatus> {
        loop {
            tokio::select! {
                status = command.wait() => return status,
                Ok(()) = tokio::signal::ctrl_c() => {}
            }
        }
    }
}

/// What a shell would report of a command that ended like this.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status
        .code()
        .map_or(1, |code| u8::try_from(code).unwrap_or(1))
}
