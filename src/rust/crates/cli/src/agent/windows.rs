//! The agent as a process of Windows: how it leaves the one that starts it, and where it listens. Its memory is not kept from
//! other programs of the same person: Windows has no such thing for a program of their own.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::windows::io::{AsRawHandle, IntoRawHandle};
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};

use entrar_broker::admission::Owner;
use entrar_broker::listen::Listener;
use entrar_broker::random;
use entrar_core::session_directory::{Port, SessionDirectory};
use secrecy::SecretString;
use tokio::net::TcpListener;
use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::System::Console::{STD_ERROR_HANDLE, STD_OUTPUT_HANDLE, SetStdHandle};
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CREATE_NEW_PROCESS_GROUP, DETACHED_PROCESS,
};

/// A directory that no agent keeps from being removed.
pub(super) const ROOT: &str = "C:\\";

/// Starts the agent without a console, so that a console's end is not its own, and outside the job of this process, whose end
/// would be its own too, if that lets it.
pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
    keep_streams();
    let flags = DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP;
    command.creation_flags(flags | CREATE_BREAKAWAY_FROM_JOB);
    match command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            command.creation_flags(flags).spawn()
        }
        spawned => spawned,
    }
}

/// Keeps from the agent the three streams of this process: a child gets all that may be inherited, and whoever waits for the
/// end of one would wait for the agent's.
#[allow(unsafe_code, reason = "the standard library does not do so")]
fn keep_streams() {
    for stream in [
        io::stdin().as_raw_handle(),
        io::stdout().as_raw_handle(),
        io::stderr().as_raw_handle(),
    ] {
        // SAFETY: no memory is involved; a stream that is not there is an error without effect.
        let _ = unsafe { SetHandleInformation(stream, HANDLE_FLAG_INHERIT, 0) };
    }
}

/// It was started outside the console.
#[allow(clippy::unnecessary_wraps, reason = "on Unix it can fail")]
pub(super) fn leave_session() -> io::Result<()> {
    Ok(())
}

/// Tells the starter how it went, and writes nothing to it from then on.
///
/// # Errors
/// When nobody can be told any more.
pub(super) fn tell_starter(word: &str) -> io::Result<()> {
    let mut output = io::stdout();
    writeln!(output, "{word}")?;
    output.flush()?;
    for stream in [STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        let nowhere = OpenOptions::new().write(true).open("NUL")?;
        put(nowhere, stream)?;
    }
    Ok(())
}

/// Puts a file in the place of a stream.
#[allow(unsafe_code, reason = "the standard library does not do so")]
fn put(file: File, stream: u32) -> io::Result<()> {
    // SAFETY: the handle is open, and stays so until the end of the process.
    let done = unsafe { SetStdHandle(stream, file.into_raw_handle()) };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Nothing is to be had.
#[allow(clippy::unnecessary_wraps, reason = "on Unix it can fail")]
pub(super) fn harden() -> io::Result<()> {
    Ok(())
}

/// Connections are limited by memory alone.
pub(super) fn raise_limit_of_files() {}

/// Listens at a port of this machine, and says in the directory which one and by what cookie it is asked: who can read that
/// is the person.
///
/// # Errors
/// The operating system's.
pub(super) fn listen(directory: &SessionDirectory) -> io::Result<(Listener, Owner)> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let secret = random::text::<32>().map_err(io::Error::other)?;
    let port = Port {
        address: listener.local_addr()?,
        cookie: SecretString::from(secret),
    };
    let listener = TcpListener::from_std(listener)?;
    directory.announce(&port)?;
    Ok((listener.into(), Owner::Holder(port.cookie)))
}
