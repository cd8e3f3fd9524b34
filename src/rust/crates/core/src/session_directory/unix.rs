//! The agent's socket is a file of Unix: the kernel says who asks at it, and its owner is who answers.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::{FileId, NAME, runtime_directory};
use crate::env::Env;
use crate::private_directory::own_uid;

/// The agent's socket in the directory.
pub(super) const SOCKET: &str = "agent.sock";

/// Where the directory may be if no variable of ours names it, first choice first.
pub(super) fn of_system(env: &Env) -> Vec<PathBuf> {
    let runtime = runtime_directory(env).map(|path| path.join(NAME));
    runtime.into_iter().chain([in_temporary(env)]).collect()
}

/// A temporary directory of one's own, as macOS has it; else the machine's, with the user in the name.
fn in_temporary(env: &Env) -> PathBuf {
    let own = env.var("TMPDIR").filter(|_| cfg!(target_os = "macos"));
    match own {
        Some(own) => Path::new(&own).join(NAME),
        None => Path::new("/tmp").join(format!("{NAME}-{}", own_uid())),
    }
}

pub(super) fn file_id(path: &Path) -> Option<FileId> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

/// What keeps a file from being our agent's socket, as the end of a sentence.
pub(super) fn fault(found: &Metadata) -> Option<String> {
    if !found.file_type().is_socket() {
        return Some("is not a socket".to_owned());
    }
    let is_own = found.uid() == own_uid();
    (!is_own).then(|| format!("belongs to another user, of uid {}", found.uid()))
}

/// A socket is there whether its agent is or not: who listens is told when it is asked.
pub(super) fn is_left_over(_: &Path) -> bool {
    false
}

/// Whether somebody listens at a socket. It is told at once, however busy they are.
#[must_use]
pub fn has_listener(socket: &Path) -> bool {
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket as new_socket};
    let Ok(address) = SocketAddrUnix::new(socket) else {
        return false;
    };
    let Ok(handle) = new_socket(AddressFamily::UNIX, SocketType::STREAM, None) else {
        return false;
    };
    if rustix::io::ioctl_fionbio(&handle, true).is_err() {
        return false;
    }
    // A full queue belongs to a listener.
    matches!(connect(&handle, &address), Ok(()) | Err(Errno::AGAIN))
}

/// The lock in this file; `None` if another process holds it. It goes with the process, however that ends.
pub(super) fn lock(path: &Path) -> io::Result<Option<File>> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default())
        .open(path)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
