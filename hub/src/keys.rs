//! The hub's key file: a list of keys, the first of which seals; each opens what was sealed under its name.
//!
//! A line is `ID BASE64`, 32 random bytes in base64; empty lines and lines that begin with `#` mean nothing. To rotate, a new
//! key is put before the others, everything is sealed again, and only then the old one is taken out.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entrar_core::file::reason;
use entrar_core::private_directory::own_uid;
use hmac::digest::Key as Block;
use hmac::{Hmac, Mac as _};
use nix::fcntl::{Flock, FlockArg};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::Sha256;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// A key file of any sense is far smaller.
const LARGEST_FILE: u64 = 64 * 1024;
/// Letters of a key's name, at most.
const LONGEST_ID: usize = 64;

/// The keys of a hub. Copies share them.
#[derive(Clone)]
pub struct Keys {
    keys: Arc<[Key]>,
    path: Arc<Path>,
}

/// One key. What seals, what signs rows and what proves the key to a database are derived from it.
pub struct Key {
    id: String,
    sealing: SecretBox<[u8; KEY_BYTES]>,
    rows: SecretBox<[u8; KEY_BYTES]>,
    check: [u8; KEY_BYTES],
}

/// Why there are no keys; each is a sentence for the administrator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The operating system refuses.
    #[error("the key file {} cannot be {doing} ({reason})", path.display())]
    System {
        /// The key file.
        path: PathBuf,
        /// What was tried, such as `read`.
        doing: &'static str,
        /// Why not.
        reason: String,
    },
    /// There is a file already, and what it opens would be lost with it.
    #[error("there is a key file already: {}", .0.display())]
    Exists(PathBuf),
    /// Not a regular file, or one that is too large.
    #[error("{} is not a key file", .0.display())]
    NoFile(PathBuf),
    /// Others can read or write it.
    #[error("the key file {} can be used by others (its mode is {mode:04o}); close it to them: chmod 600", path.display())]
    Open {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user, who can read it.
    #[error("the key file {} belongs to another user, of uid {uid}", path.display())]
    Foreign {
        /// The key file.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// A line that is no key. The line itself is not shown: it may hold one.
    #[error("line {line} of the key file {} is not a key's name and 32 bytes in base64", path.display())]
    Line {
        /// The key file.
        path: PathBuf,
        /// Counted from one.
        line: usize,
    },
    /// Two keys of one name.
    #[error("line {line} of the key file {} has the name of an earlier key, {id}", path.display())]
    Twice {
        /// The key file.
        path: PathBuf,
        /// Counted from one.
        line: usize,
        /// The name.
        id: String,
    },
    /// No key at all.
    #[error("the key file {} holds no key; write one by entrar-hub init", .0.display())]
    Empty(PathBuf),
    /// No random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
}

impl Keys {
    /// Writes a key file with one new key, of mode 0600.
    ///
    /// # Errors
    /// If there is a file already, or it cannot be written.
    pub fn generate_file(path: &Path) -> Result<(), KeyError> {
        let line = new_line()?;
        let system = |doing, error: &io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
            _ => system(path, doing, error),
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| system("made", &error))?;
        let written = file
            .write_all(HEAD.as_bytes())
            .and_then(|()| file.write_all(line.as_bytes()))
            .and_then(|()| file.sync_all())
            .and_then(|()| sync_directory_of(path));
        written.map_err(|error| system("written", &error))
    }

    /// Puts a new key before those of the file, so that it seals from now on. The file is replaced in one step; its mode
    /// is 0600. The result are the keys that it holds then.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn add_to_file(path: &Path) -> Result<Self, KeyError> {
        // Two at once would each put a file in place without the other's key.
        let directory = File::open(directory_of(path))
            .map_err(|error| system(path, "locked", &error))
            .and_then(|directory| {
                Flock::lock(directory, FlockArg::LockExclusive)
                    .map_err(|(_, error)| system(path, "locked", &error.into()))
            })?;
        let before = text_of(path)?;
        parse(path, &before)?;
        let line = new_line()?;
        // Comments at the beginning stay there.
        let head = before
            .split_inclusive('\n')
            .take_while(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
            .map(str::len)
            .sum::<usize>();
        let (head, keys) = before.split_at_checked(head).unwrap_or(("", &before));
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let new = PathBuf::from(name);
        // Of one that was killed.
        let _ = std::fs::remove_file(&new);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(|error| system(&new, "made", &error))?;
        let written = [head, line.as_str(), keys]
            .iter()
            .try_for_each(|part| file.write_all(part.as_bytes()))
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&new, path))
            .and_then(|()| sync_directory_of(path));
        if let Err(error) = written {
            // What is left of it would be in the way next time.
            let _ = std::fs::remove_file(&new);
            return Err(system(path, "written", &error));
        }
        drop(directory);
        Self::read(path)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// If it cannot be read, others can use it, or a line is no key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        Ok(Self {
            keys: parse(path, &text_of(path)?)?.into(),
            path: path.into(),
        })
    }

    /// The file that they were read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key that seals. `None` never happens: a key file without a key is refused.
    #[must_use]
    pub fn first(&self) -> Option<&Key> {
        self.keys.first()
    }

    /// The key of this name.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// All keys, the one that seals first.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// The names of all keys, for a message.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.keys.iter().map(Key::id).collect();
        names.join(", ")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter()).finish()
    }
}

impl Key {
    fn new(id: &str, bytes: &[u8; KEY_BYTES]) -> Self {
        let derived = |label| derive(bytes, label);
        Self {
            id: id.to_owned(),
            sealing: SecretBox::new(Box::new(derived("entrar-hub: sealing"))),
            rows: SecretBox::new(Box::new(derived("entrar-hub: rows"))),
            check: derived("entrar-hub: check"),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What seals.
    pub(crate) fn sealing(&self) -> &[u8; KEY_BYTES] {
        self.sealing.expose_secret()
    }

    /// What signs rows.
    pub(crate) fn rows(&self) -> &[u8; KEY_BYTES] {
        self.rows.expose_secret()
    }

    /// What a database holds of it, so that another key of this name is noticed. It tells nothing of the key.
    #[must_use]
    pub fn check(&self) -> &[u8; KEY_BYTES] {
        &self.check
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// HMAC-SHA256 under a key.
pub(crate) fn hmac(key: &[u8; KEY_BYTES]) -> Hmac<Sha256> {
    // A key shorter than the hash's block counts as filled up with zeros (RFC 2104).
    let mut block = Block::<Hmac<Sha256>>::default();
    for (byte, key) in block.iter_mut().zip(key) {
        *byte = *key;
    }
    <Hmac<Sha256> as hmac::Mac>::new(&block)
}

/// A key of its own for one purpose: the expand step of HKDF (RFC 5869) with one block, for which a random key needs no
/// extraction.
fn derive(key: &[u8; KEY_BYTES], label: &str) -> [u8; KEY_BYTES] {
    hmac(key)
        .chain_update(label)
        .chain_update([1])
        .finalize()
        .into_bytes()
        .into()
}

const HEAD: &str = "# The keys of entrar-hub. The first one seals, each opens what was sealed under its name.\n\
    # Who has this file and the database has every refresh token: keep their back-ups apart.\n";

/// A line with a new key; its name is random too, so that no two hubs have keys of one name.
fn new_line() -> Result<Zeroizing<String>, KeyError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    let mut id = [0; 4];
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| KeyError::Random)?;
    getrandom::fill(&mut id).map_err(|_| KeyError::Random)?;
    let id = u32::from_be_bytes(id);
    let base64 = Zeroizing::new(STANDARD.encode(bytes.as_slice()));
    Ok(Zeroizing::new(format!("k{id:08x} {}\n", base64.as_str())))
}

fn system(path: &Path, doing: &'static str, error: &io::Error) -> KeyError {
    KeyError::System {
        path: path.to_owned(),
        doing,
        reason: reason(error),
    }
}

/// A new name in a directory is on disk only when the directory is.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn text_of(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let unread = |error: io::Error| system(path, "read", &error);
    let file = OpenOptions::new()
        .read(true)
        // A pipe in its place would keep us waiting for its other end.
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(unread)?;
    let found = file.metadata().map_err(unread)?;
    if !found.is_file() || found.len() > LARGEST_FILE {
        return Err(KeyError::NoFile(path.to_owned()));
    }
    let (uid, mode) = (found.uid(), found.mode() & 0o7777);
    if ![0, own_uid()].contains(&uid) {
        return Err(KeyError::Foreign {
            path: path.to_owned(),
            uid,
        });
    }
    // systemd hands out credentials as files of root's that an access list opens to the service alone; the list shows
    // in the group's bits (mode 0440).
    let is_credential = uid == 0 && found.gid() == 0 && mode & 0o7737 == 0o400;
    if mode & 0o077 != 0 && !is_credential {
        return Err(KeyError::Open {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LARGEST_FILE)
        .read_to_string(&mut text)
        .map_err(unread)?;
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Key>, KeyError> {
    let mut keys: Vec<Key> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = key_of(line).ok_or_else(|| KeyError::Line {
            path: path.to_owned(),
            line: line_number,
        })?;
        if keys.iter().any(|other| other.id == key.id) {
            return Err(KeyError::Twice {
                path: path.to_owned(),
                line: line_number,
                id: key.id,
            });
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err(KeyError::Empty(path.to_owned()));
    }
    Ok(keys)
}

fn key_of(line: &str) -> Option<Key> {
    let mut words = line.split_ascii_whitespace();
    let (Some(id), Some(base64), None) = (words.next(), words.next(), words.next()) else {
        return None;
    };
    let is_name = id.len() <= LONGEST_ID
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let bytes = Zeroizing::new(STANDARD.decode(base64).ok()?);
    let bytes: &[u8; KEY_BYTES] = bytes.as_slice().try_into().ok()?;
    is_name.then(|| Key::new(id, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    /// 32 zero bytes.
    const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        fs::write(&path, text).unwrap();
        mode(&path, 0o600);
        (directory, path)
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refused(text: &str) -> String {
        let (_directory, path) = written(text);
        let error = Keys::read(&path).unwrap_err().to_string();
        error.replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn a_generated_file_is_its_owners_alone_and_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        Keys::generate_file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(Keys::read(&path).unwrap().iter().count(), 1);
        assert_eq!(
            Keys::generate_file(&path),
            Err(KeyError::Exists(path.clone()))
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let other = directory.path().join("other");
        Keys::generate_file(&other).unwrap();
        assert_ne!(fs::read_to_string(&other).unwrap(), text);
    }

    #[test]
    fn a_key_that_is_added_comes_first_and_the_others_stay() {
        let (_directory, path) = written(&format!("# head\n\nold {ZEROS}\n# tail\n"));
        let before = Keys::read(&path).unwrap();
        let after = Keys::add_to_file(&path).unwrap();
        assert_eq!(after.iter().count(), 2);
        assert_ne!(after.first().unwrap().id(), "old");
        assert_eq!(
            after.find("old").unwrap().check(),
            before.find("old").unwrap().check()
        );
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "# head");
        assert!(lines[2].starts_with(after.first().unwrap().id()));
        assert_eq!(lines[3..], [&format!("old {ZEROS}"), "# tail"]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn of_many_keys_that_are_added_at_once_none_is_lost() {
        let (directory, path) = written(&format!("old {ZEROS}\n"));
        // Half of one that was killed.
        fs::write(directory.path().join("keys.new"), "half").unwrap();
        let adding: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || Keys::add_to_file(&path).map(|_| ()))
            })
            .collect();
        for added in adding {
            added.join().unwrap().unwrap();
        }
        assert_eq!(Keys::read(&path).unwrap().iter().count(), 9);
        assert!(!directory.path().join("keys.new").exists());
    }

    #[test]
    fn sub_keys_are_those_that_hmac_makes() {
        // Computed with Python's hmac module.
        let (_directory, path) = written(&format!("a {ZEROS}\n"));
        let keys = Keys::read(&path).unwrap();
        let key = keys.find("a").unwrap();
        let start = |bytes: &[u8; 32]| [bytes[0], bytes[1], bytes[2], bytes[3]];
        assert_eq!(start(key.sealing()), SEALING);
        assert_eq!(start(key.rows()), ROWS);
        assert_eq!(start(key.check()), CHECK);
    }

    const SEALING: [u8; 4] = [212, 29, 234, 245];
    const ROWS: [u8; 4] = [113, 48, 218, 56];
    const CHECK: [u8; 4] = [89, 91, 93, 211];

    #[test]
    fn lines_that_are_no_keys_are_named_by_number_and_never_shown() {
        for line in [
            "canary",
            "canary canary",
            &format!("a {ZEROS} canary"),
            &format!("a {}", &ZEROS[4..]),
            &format!("a/b {ZEROS}"),
            &format!("{} {ZEROS}", "a".repeat(65)),
        ] {
            assert_eq!(
                refused(&format!("# one\n\nb {ZEROS}\n{line}\n")),
                "line 4 of the key file FILE is not a key's name and 32 bytes in base64",
                "{line}"
            );
        }
        assert_eq!(
            refused(&format!("a {ZEROS}\nb {ZEROS}\na {ZEROS}")),
            "line 3 of the key file FILE has the name of an earlier key, a"
        );
        assert_eq!(
            refused("# nothing\n"),
            "the key file FILE holds no key; write one by entrar-hub init"
        );
    }

    #[test]
    fn a_file_that_others_can_use_is_refused() {
        let (_directory, path) = written(&format!("a {ZEROS}\n"));
        for wide in [0o644, 0o620, 0o604, 0o601, 0o660] {
            mode(&path, wide);
            let refused = KeyError::Open {
                path: path.clone(),
                mode: wide,
            };
            assert_eq!(Keys::read(&path).unwrap_err(), refused);
        }
        mode(&path, 0o400);
        assert_eq!(Keys::read(&path).unwrap().names(), "a");
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [directory.path(), &pipe] {
            assert_eq!(
                Keys::read(path).unwrap_err(),
                KeyError::NoFile(path.to_owned())
            );
        }
        let missing = directory.path().join("missing");
        assert_eq!(
            Keys::read(&missing).unwrap_err(),
            KeyError::System {
                path: missing,
                doing: "read",
                reason: "No such file or directory".to_owned()
            }
        );
    }

    #[test]
    fn debug_shows_names_only() {
        let (_directory, path) = written(&format!("a {ZEROS}\nb {ZEROS}\n"));
        let shown = format!("{:?}", Keys::read(&path).unwrap());
        assert_eq!(shown, "[Key(a), Key(b)]");
    }
}
