//! The agent as a process of Unix: how it leaves the one that starts it, where it listens, and how it keeps other programs
//! of the same person from reading its memory.

use std::io;
use std::process::{Child, Command};

use entrar_broker::admission::Owner;
use entrar_broker::listen::Listener;
use entrar_core::private_directory::own_uid;
use entrar_core::session_directory::SessionDirectory;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::UnixListener;

/// A directory that no agent keeps from being unmounted.
pub(super) const ROOT: &str = "/";

/// Starts the agent, which gets nothing of what this process has open but its three streams.
pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
    keep_files();
    command.spawn()
}

/// Keeps from the agent what this process was given open beside its three streams. Whoever waits for the end of such a
/// file, a test runner for one, would wait for the agent's.
#[allow(
    unsafe_code,
    reason = "nothing else marks a file that this process knows by its number alone"
)]
fn keep_files() {
    // Where the system does not list them, the agent gets them.
    let files = std::fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    for number in files.filter_map(|file| file.file_name().to_str()?.parse().ok()) {
        if number > 2 {
            // SAFETY: no memory is involved, and the file stays open here: it is only marked to be closed in a program
            // that this process becomes or starts. One that is closed already is an error without effect.
            let _ = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// Leaves the session and the terminal of whoever started this process, so that their end is not this one's.
///
/// # Errors
/// When the system refuses.
pub(super) fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Tells the starter how it went, and writes nothing to it from then on.
///
/// # Errors
/// When nobody can be told any more.
pub(super) fn tell_starter(word: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut output = io::stdout();
    writeln!(output, "{word}")?;
    output.flush()?;
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    Ok(())
}

/// Keeps the memory of this process from other programs of the same person and from core dumps. On Linux it cannot be
/// traced, and its files under `/proc` belong to root; elsewhere only core dumps are off.
///
/// # Errors
/// When the system refuses.
pub(super) fn harden() -> io::Result<()> {
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, nothing)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    // Files and sockets are the owner's alone, whatever the starter's mask was.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    Ok(())
}

/// Each connection is a file. Where more are not allowed, fewer are held.
pub(super) fn raise_limit_of_files() {
    let most = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: most,
        maximum: most,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Listens at the directory's socket. The kernel says who asks there.
///
/// # Errors
/// The operating system's.
pub(super) fn listen(directory: &SessionDirectory) -> io::Result<(Listener, Owner)> {
    let listener = UnixListener::bind(directory.socket_path())?;
    Ok((listener.into(), Owner::User(own_uid())))
}
