//! The agent's socket is a port of this machine, and a file in the directory says which one, and the cookie that it wants:
//! there are no sockets here that say whose process asks.
//!
//! The file may stay behind when an agent was killed, and anybody may listen at its port then. So it counts only while a
//! process holds the lock beside it, which goes with that process.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{FileId, LOCK, NAME, SessionDirectory, write};
use crate::cookie::{Cookie, Source};
use crate::env::Env;
use crate::file::read_beginning;

/// The file that says where the agent is asked.
pub(super) const SOCKET: &str = "agent.port";
/// The most that is read of it, in bytes.
const LARGEST_PORT: u64 = 4 << 10;
/// Longer than a port of this machine takes to be connected to. Windows tries for two seconds where nobody listens.
const AT_ONCE: Duration = Duration::from_secs(1);
/// `ERROR_SHARING_VIOLATION`: another process has the file open, and lets nobody else.
const SHARING_VIOLATION: i32 = 32;

/// Where an agent is asked, and by what.
#[derive(Debug)]
pub struct Port {
    /// An address of this machine.
    pub address: SocketAddr,
    /// What shows the agent that a process may ask: only its owner's can read it.
    pub cookie: SecretString,
}

impl Port {
    /// What the file at this path says; `None` if no agent is running, or it has not said it yet.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        if is_left_over(path) {
            return None;
        }
        let bytes = read_beginning(path, LARGEST_PORT).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let mut lines = text.lines();
        let address: SocketAddr = lines.next()?.parse().ok()?;
        let cookie = lines.next().filter(|cookie| !cookie.is_empty())?;
        address.ip().is_loopback().then(|| Self {
            address,
            cookie: cookie.into(),
        })
    }

    /// The cookie as it is sent.
    #[must_use]
    pub fn to_cookie(&self, path: &Path) -> Option<Cookie> {
        let source = Source::File(path.display().to_string());
        Cookie::parse(self.cookie.expose_secret(), source)
    }
}

impl SessionDirectory {
    /// Says where the agent is asked from now on. Whoever does so holds the [lock](Self::lock).
    ///
    /// # Errors
    /// The operating system's.
    pub fn announce(&self, port: &Port) -> io::Result<()> {
        let text = format!("{}\n{}\n", port.address, port.cookie.expose_secret());
        write(&self.socket_path(), text.as_bytes())
    }
}

/// Where the directory is if no variable of ours names it.
pub(super) fn of_system(env: &Env) -> Vec<PathBuf> {
    let local = env.var("LOCALAPPDATA").map(PathBuf::from);
    local.into_iter().map(|path| path.join(NAME)).collect()
}

/// Files are told from each other by when they were written.
pub(super) fn file_id(path: &Path) -> Option<FileId> {
    let found = std::fs::symlink_metadata(path).ok()?;
    let since = found.modified().ok()?;
    let since = since.duration_since(std::time::UNIX_EPOCH).ok()?;
    let seconds = i64::try_from(since.as_secs()).ok()?;
    Some((0, 0, seconds, since.subsec_nanos().into()))
}

/// What keeps a file from being our agent's, as the end of a sentence.
pub(super) fn fault(found: &Metadata) -> Option<String> {
    (!found.is_file()).then(|| "is not a file".to_owned())
}

/// Whether the file is of an agent that is not running any more.
pub(super) fn is_left_over(path: &Path) -> bool {
    let lock = path.with_file_name(LOCK);
    !matches!(File::open(lock), Err(error) if is_in_use(&error))
}

fn is_in_use(error: &io::Error) -> bool {
    error.raw_os_error() == Some(SHARING_VIOLATION)
}

/// Whether an agent listens where the file at this path says.
#[must_use]
pub fn has_listener(path: &Path) -> bool {
    Port::read(path).is_some_and(|port| TcpStream::connect_timeout(&port.address, AT_ONCE).is_ok())
}

/// The lock in this file; `None` if another process holds it, or just looks whether one does. It goes with the process,
/// however that ends.
pub(super) fn lock(path: &Path) -> io::Result<Option<File>> {
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .share_mode(0)
        .open(path);
    match opened {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if is_in_use(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session_directory::{Mark, VARIABLE};
    use std::fs;
    use std::net::TcpListener;

    fn directory(base: &Path) -> SessionDirectory {
        SessionDirectory::create(&env(base)).unwrap()
    }

    fn env(base: &Path) -> Env {
        let path = base.join("entrar");
        Env::fixed(&[(VARIABLE, path.to_str().unwrap())], 0.0)
    }

    #[test]
    fn it_lies_among_the_persons_own_data_of_this_machine() {
        let base = tempfile::tempdir().unwrap();
        let local = base.path().to_str().unwrap();
        let env = Env::fixed(&[("LOCALAPPDATA", local)], 0.0);
        assert!(SessionDirectory::open(&env).unwrap().is_none());
        let made = SessionDirectory::create(&env).unwrap();
        assert_eq!(made.path(), base.path().join("entrar"));
        assert!(SessionDirectory::open(&env).unwrap().is_some());
        assert!(SessionDirectory::create(&Env::fixed(&[], 0.0)).is_err());
    }

    #[test]
    fn the_port_counts_while_the_lock_is_held() {
        let base = tempfile::tempdir().unwrap();
        let directory = directory(base.path());
        let path = directory.socket_path();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = Port {
            address: listener.local_addr().unwrap(),
            cookie: "canary".into(),
        };
        assert!(!format!("{port:?}").contains("canary"));
        let lock = directory.lock().unwrap().unwrap();
        assert_eq!(directory.socket().unwrap(), None);
        directory.announce(&port).unwrap();
        assert_eq!(directory.socket().unwrap(), Some(path.clone()));
        let found = Port::read(&path).unwrap();
        assert_eq!(found.address, port.address);
        assert_eq!(found.cookie.expose_secret(), "canary");
        assert!(has_listener(&path));
        drop(listener);
        assert!(!has_listener(&path));
        // As when its agent was killed: the port may be anybody's.
        drop(lock);
        assert!(path.exists() && Port::read(&path).is_none());
        assert_eq!(directory.socket().unwrap(), None);
    }

    #[test]
    fn one_holds_the_lock_and_looking_takes_it_from_nobody() {
        let base = tempfile::tempdir().unwrap();
        let directory = directory(base.path());
        let path = directory.socket_path();
        assert!(is_left_over(&path));
        let lock = directory.lock().unwrap().unwrap();
        for _ in 0..2 {
            assert!(directory.lock().unwrap().is_none());
            assert!(!is_left_over(&path));
        }
        drop(lock);
        assert!(is_left_over(&path) && is_left_over(&path));
        assert!(directory.lock().unwrap().is_some());
    }

    #[test]
    fn what_is_no_port_of_this_machine_is_none() {
        let base = tempfile::tempdir().unwrap();
        let directory = directory(base.path());
        let _lock = directory.lock().unwrap().unwrap();
        let path = directory.socket_path();
        for text in [
            "",
            "127.0.0.1:1",
            "127.0.0.1:1\n\n",
            "10.0.0.1:1\ncanary\n",
            "localhost:1\ncanary\n",
        ] {
            fs::write(&path, text).unwrap();
            assert!(Port::read(&path).is_none(), "{text}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = directory.socket().unwrap_err();
        assert!(
            error.message().ends_with("agent.port is not a file"),
            "{error}"
        );
    }

    #[test]
    fn each_sign_in_is_another_mark() {
        let base = tempfile::tempdir().unwrap();
        let env = env(base.path());
        let directory = directory(base.path());
        let mut marks = vec![Mark::current(&env)];
        for account in [Some("ada"), Some("bob"), None] {
            directory.mark_new_sign_in(account).unwrap();
            let mark = Mark::current(&env);
            assert!(!marks.contains(&mark));
            assert_eq!(directory.sign_in().unwrap().account.as_deref(), account);
            marks.push(mark);
            // The clock that files are dated by has a step of up to a sixtieth of a second.
            std::thread::sleep(Duration::from_millis(40));
        }
    }
}
