//! Running a command to its end in the place of this process: signals go on to it, its exit code comes back.

#[cfg(unix)]
use std::future::poll_fn;
use std::io;
use std::process::ExitStatus;
#[cfg(unix)]
use std::task::Poll;

use tokio::process::Child;

/// The signals that would end this process, caught from now on. Whoever has something to tidy up catches them before.
#[cfg(unix)]
pub(crate) struct Signals(Vec<(rustix::process::Signal, tokio::signal::unix::Signal)>);

#[cfg(unix)]
impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        use rustix::process::Signal;
        use tokio::signal::unix::{SignalKind, signal};
        let all = [
            Signal::INT,
            Signal::QUIT,
            Signal::TERM,
            Signal::HUP,
            Signal::USR1,
            Signal::USR2,
            Signal::ALARM,
        ];
        all.into_iter()
            .filter(|kind| !is_ignored(*kind))
            .map(|kind| Ok((kind, signal(SignalKind::from_raw(kind.as_raw()))?)))
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// The next signal.
    async fn next(&mut self) -> rustix::process::Signal {
        poll_fn(|context| {
            let caught = self
                .0
                .iter_mut()
                .find_map(|(kind, signal)| signal.poll_recv(context).is_ready().then_some(*kind));
            caught.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Waits for any signal.
    pub(crate) async fn any(&mut self) {
        self.next().await;
    }

    /// Waits for the command's end and passes on what is caught meanwhile.
    pub(crate) async fn wait_for(&mut self, command: &mut Child) -> io::Result<ExitStatus> {
        use rustix::process::{Pid, Signal, kill_process};
        loop {
            let signal = tokio::select! {
                status = command.wait() => return status,
                signal = self.next() => signal,
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

/// Whether whoever started this process wants it to ignore a signal (`nohup`, a shell's `&`). The command then inherits
/// that, and to catch the signal would undo it.
#[cfg(unix)]
#[allow(
    unsafe_code,
    reason = "nothing else asks what a signal does without setting it"
)]
fn is_ignored(signal: rustix::process::Signal) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action nothing changes, and a result of 0 says that the old one was written.
    unsafe {
        libc::sigaction(signal.as_raw(), std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Whether Ctrl-C at a terminal reaches this process, so that an interrupt was probably typed. It reaches the command too then, which is of the same process
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

    pub(crate) async fn any(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
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
