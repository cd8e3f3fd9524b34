//! Where a person's agent and their other processes meet: a private directory with the agent's socket in it, and a mark
//! that changes with each sign-in.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use crate::env::Env;
use crate::error::{Error, Kind};
use crate::file::read_beginning;
use crate::private_directory::{PrivateDirectory, Refusal};
use crate::variables::COOKIE_FILE;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub use system::has_listener;
#[cfg(windows)]
pub use windows::Port;

/// The variable that names the directory.
pub const VARIABLE: &str = "ENTRAR_RUNTIME_DIR";
/// The directory's name where no variable gives it another.
const NAME: &str = "entrar";
/// The lock in it of the one agent that runs.
const LOCK: &str = "agent.lock";
/// The mark in it.
const MARK: &str = "sign-in";
/// The directory in it of a session that a hub has opened for other people's clients.
const HUBS_SESSION: &str = "hub-session";
/// The most that is read of the mark, in bytes.
const LARGEST_MARK: u64 = 4 << 10;

/// The directory, which is this user's alone.
#[derive(Debug)]
pub struct SessionDirectory(PrivateDirectory);

/// A sign-in or a sign-out, noted so that all processes of a person can tell it from those before.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Random; only who may enter the directory knows it.
    pub id: SecretString,
    /// The account that signed in, in some form that tells it from others; `None` after a sign-out.
    pub account: Option<String>,
}

/// Which file the mark is: each sign-in and each sign-out puts another one in its place. Comparing opens no file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark(Vec<Option<FileId>>);

/// A file's device, its number there, and when it last changed, with the fraction of a second.
type FileId = (u64, u64, i64, i64);

impl SessionDirectory {
    /// The directory of this person, if there is one: where it could be in several places, the one with a socket in it.
    ///
    /// # Errors
    /// [`Kind::NoSession`] if what is there is refused, with the path and what to do.
    pub fn open(env: &Env) -> Result<Option<Self>, Error> {
        Self::among(&candidates(env))
    }

    fn among(paths: &[PathBuf]) -> Result<Option<Self>, Error> {
        let mut first = None;
        for (number, path) in paths.iter().enumerate() {
            let directory = match PrivateDirectory::open(path) {
                Ok(Some(directory)) => directory,
                Ok(None) => continue,
                // Anybody can make a directory of this name where a later place would be: it says nothing of the first.
                Err(refusal) if refusal.is_foreign() && number > 0 => continue,
                Err(refusal) => return Err(refused(refusal)),
            };
            let directory = Self(directory);
            if directory.socket()?.is_some() {
                return Ok(Some(directory));
            }
            first = first.or(Some(directory));
        }
        Ok(first)
    }

    /// The directory of this person, made if there is none.
    ///
    /// # Errors
    /// [`Kind::NoSession`] if what is there is refused, or none can be made.
    pub fn create(env: &Env) -> Result<Self, Error> {
        let path = candidates(env).into_iter().next().ok_or_else(|| {
            let message = format!("there is no place for an agent: {VARIABLE} names none");
            Error::new(Kind::NoSession, message)
        })?;
        PrivateDirectory::create(&path).map(Self).map_err(refused)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where the agent's socket is, or would be; on Windows the file that says at which port it is asked.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.path().join(system::SOCKET)
    }

    /// The agent's socket, if there is one. Whether anybody listens at it is another question: [`has_listener`].
    ///
    /// # Errors
    /// [`Kind::NoSession`] if what is there is not one, or is another user's.
    pub fn socket(&self) -> Result<Option<PathBuf>, Error> {
        let path = self.socket_path();
        let found = match std::fs::symlink_metadata(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(not_used(&path, &crate::file::reason(&error))),
        };
        match system::fault(&found) {
            None if system::is_left_over(&path) => Ok(None),
            None => Ok(Some(path)),
            Some(fault) => Err(not_used(&path, &fault)),
        }
    }

    /// The lock of the one agent; `None` if another one holds it. It goes with the process, however that ends.
    ///
    /// # Errors
    /// The operating system's.
    pub fn lock(&self) -> io::Result<Option<File>> {
        system::lock(&self.path().join(LOCK))
    }

    /// Removes the socket that an agent has left which was killed.
    pub fn remove_dead_agent(&self) {
        if let Ok(Some(socket)) = self.socket() {
            if !has_listener(&socket) {
                let _ = std::fs::remove_file(socket);
            }
        }
    }

    /// Notes that somebody signed in (who, in some form that tells accounts apart), or that nobody is signed in any more.
    /// Every process of this person drops the tokens that it kept before.
    ///
    /// # Errors
    /// The operating system's.
    pub fn mark_new_sign_in(&self, account: Option<&str>) -> io::Result<()> {
        let mut id = [0; 32];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("{id}\n{}\n", account.unwrap_or_default());
        write(&self.path().join(MARK), text.as_bytes())
    }

    /// Writes the cookie of a session that a hub has opened to a file that other people's clients read; the result is the
    /// directory of that file.
    ///
    /// # Errors
    /// The operating system's.
    pub fn keep_hubs_cookie(&self, cookie: &SecretString) -> io::Result<PathBuf> {
        let place = self.path().join(HUBS_SESSION);
        match std::fs::create_dir(&place) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        write(&place.join(COOKIE_FILE), cookie.expose_secret().as_bytes())?;
        Ok(place)
    }

    /// Removes that file, as a rule because its cookie is good for nothing any more.
    pub fn drop_hubs_cookie(&self) {
        // As a rule there is none.
        let _ = std::fs::remove_dir_all(self.path().join(HUBS_SESSION));
    }

    /// Whether what is written here stays in memory. Only Linux tells; elsewhere it is `false`.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.0.is_in_memory()
    }

    /// The latest sign-in or sign-out, if one was noted.
    #[must_use]
    pub fn sign_in(&self) -> Option<SignIn> {
        let bytes = read_beginning(&self.path().join(MARK), LARGEST_MARK).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (id, rest) = text.split_once('\n')?;
        let account = rest.lines().next().filter(|account| !account.is_empty());
        (!id.is_empty()).then(|| SignIn {
            id: id.into(),
            account: account.map(str::to_owned),
        })
    }
}

/// Writes a file that only its owner reads. It is renamed into its place, so that it is never half written, and is another
/// file each time.
fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let new = path.with_extension(std::process::id().to_string());
    let _ = std::fs::remove_file(&new);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(&new)
        .and_then(|mut file| file.write_all(contents))
        .and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}

impl SignIn {
    /// Whether both are the same one.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.id.expose_secret() == other.id.expose_secret()
    }
}

impl Mark {
    /// The mark at present. Only its change matters, so its owner is not checked.
    #[must_use]
    pub fn current(env: &Env) -> Self {
        let marks = places(env).into_iter();
        Self(
            marks
                .map(|path| system::file_id(&path.join(MARK)))
                .collect(),
        )
    }
}

/// Where the directory may be, first choice first.
fn candidates(env: &Env) -> Vec<PathBuf> {
    let mut places = places(env);
    // After `su` it is another person's.
    if let Some(runtime) = runtime_directory(env) {
        if !matches!(PrivateDirectory::open(&runtime), Ok(Some(_))) {
            places.retain(|path| path.parent() != Some(&runtime));
        }
    }
    places
}

/// The same as far as the variables tell. One that a variable of ours names is the only one.
fn places(env: &Env) -> Vec<PathBuf> {
    match env.var(VARIABLE) {
        Some(named) => vec![named.into()],
        None => system::of_system(env),
    }
}

fn runtime_directory(env: &Env) -> Option<PathBuf> {
    let has_own = env.var(VARIABLE).is_some();
    env.var("XDG_RUNTIME_DIR")
        .filter(|_| !has_own)
        .map(PathBuf::from)
}

fn refused(refusal: Refusal) -> Error {
    let message = format!("the directory of your agent is not used: {refusal}");
    let remedy = refusal.remedy(VARIABLE);
    Error::new(Kind::NoSession, message).remedied(Some(&remedy))
}

fn not_used(path: &Path, fault: &str) -> Error {
    let path = path.display();
    let message = format!("the socket of your agent is not used: {path} {fault}");
    let remedy = format!("Remove {path}.");
    Error::new(Kind::NoSession, message).remedied(Some(&remedy))
}

// What is tested here is Unix's own.
#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::system::SOCKET;
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::os::unix::net::UnixListener;

    fn env(directory: &Path) -> Env {
        Env::fixed(&[(VARIABLE, directory.to_str().unwrap())], 0.0)
    }

    fn opened(env: &Env) -> Result<Option<PathBuf>, String> {
        let found = SessionDirectory::open(env);
        found
            .map(|found| found.map(|found| found.path().to_owned()))
            .map_err(|error| {
                assert_eq!(error.kind(), Kind::NoSession);
                assert!(error.details().remedy.is_some());
                error.message().to_owned()
            })
    }

    #[test]
    fn the_variable_of_ours_names_the_only_place() {
        let base = tempfile::tempdir().unwrap();
        let own = base.path().join("own");
        let runtime = base.path().join("runtime");
        for path in [&own, &runtime] {
            PrivateDirectory::create(path).unwrap();
        }
        let variables = [
            (VARIABLE, own.to_str().unwrap()),
            ("XDG_RUNTIME_DIR", runtime.to_str().unwrap()),
        ];
        assert_eq!(candidates(&Env::fixed(&variables, 0.0)), [own.as_path()]);
        let uid = crate::private_directory::own_uid();
        let temporary = PathBuf::from(format!("/tmp/entrar-{uid}"));
        let of_runtime = Env::fixed(&variables[1..], 0.0);
        if cfg!(target_os = "linux") {
            assert_eq!(
                candidates(&of_runtime),
                [runtime.join("entrar"), temporary.clone()]
            );
            fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(candidates(&of_runtime), [temporary]);
        }
    }

    #[test]
    fn it_is_made_once_and_found() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("entrar");
        let env = env(&path);
        assert_eq!(opened(&env), Ok(None));
        assert_eq!(SessionDirectory::create(&env).unwrap().path(), path);
        assert_eq!(SessionDirectory::create(&env).unwrap().path(), path);
        assert_eq!(opened(&env), Ok(Some(path)));
    }

    #[test]
    fn of_several_places_the_one_with_a_socket_is_taken() {
        let base = tempfile::tempdir().unwrap();
        let places = ["missing", "first", "second"].map(|name| base.path().join(name));
        let found = || {
            let found = SessionDirectory::among(&places).unwrap();
            found.map(|found| found.path().to_owned())
        };
        assert_eq!(found(), None);
        let [_, first, second] = &places;
        PrivateDirectory::create(second).unwrap();
        assert_eq!(found().as_ref(), Some(second));
        PrivateDirectory::create(first).unwrap();
        assert_eq!(found().as_ref(), Some(first));
        let _listener = UnixListener::bind(second.join(SOCKET)).unwrap();
        assert_eq!(found().as_ref(), Some(second));
    }

    #[test]
    fn what_a_stranger_makes_at_a_later_place_keeps_nobody_from_the_first() {
        if crate::private_directory::own_uid() != 0 {
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let places = ["first", "second"].map(|name| base.path().join(name));
        let [first, second] = &places;
        PrivateDirectory::create(second).unwrap();
        chown(second, Some(65534), None).unwrap();
        assert!(SessionDirectory::among(&places).unwrap().is_none());
        assert!(SessionDirectory::among(std::slice::from_ref(second)).is_err());
        PrivateDirectory::create(first).unwrap();
        let found = SessionDirectory::among(&places).unwrap().unwrap();
        assert_eq!(found.path(), first);
    }

    #[test]
    fn a_directory_that_is_refused_is_an_error_with_its_path_and_a_remedy() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("entrar");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let error = SessionDirectory::open(&env(&path)).unwrap_err();
        let shown = path.display();
        assert_eq!(
            error.message(),
            format!(
                "the directory of your agent is not used: {shown} can be entered by others (its mode is 0755)"
            )
        );
        assert_eq!(
            error.details().remedy.as_deref(),
            Some(&*format!("Close it to others: chmod 700 {shown}."))
        );
    }

    #[test]
    fn a_socket_is_ours_or_refused() {
        let base = tempfile::tempdir().unwrap();
        let env = env(&base.path().join("entrar"));
        let directory = SessionDirectory::create(&env).unwrap();
        let path = directory.socket_path();
        assert_eq!(directory.socket().unwrap(), None);

        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(directory.socket().unwrap(), Some(path.clone()));
        assert!(has_listener(&path));
        drop(listener);
        assert_eq!(directory.socket().unwrap(), Some(path.clone()));
        assert!(!has_listener(&path));

        if crate::private_directory::own_uid() == 0 {
            chown(&path, Some(65_534), None).unwrap();
            let error = directory.socket().unwrap_err();
            assert!(
                error
                    .message()
                    .ends_with("agent.sock belongs to another user, of uid 65534"),
                "{error}"
            );
            assert!(opened(&env).is_err());
        }
        fs::remove_file(&path).unwrap();
        assert!(!has_listener(&path));
        for make in [
            (|path: &Path| fs::write(path, "").unwrap()) as fn(&Path),
            |path: &Path| symlink("/run/elsewhere.sock", path).unwrap(),
        ] {
            make(&path);
            let error = directory.socket().unwrap_err();
            assert!(
                error.message().ends_with("agent.sock is not a socket"),
                "{error}"
            );
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_listener_that_takes_nobody_in_is_there_all_the_same() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("socket");
        let _listener = UnixListener::bind(&path).unwrap();
        // More than its queue holds.
        for _ in 0..10_000 {
            assert!(has_listener(&path));
        }
    }

    #[test]
    fn each_sign_in_and_each_sign_out_is_another_mark() {
        let base = tempfile::tempdir().unwrap();
        let env = env(&base.path().join("entrar"));
        let none = Mark::current(&env);
        let directory = SessionDirectory::create(&env).unwrap();
        assert_eq!(Mark::current(&env), none);
        assert!(directory.sign_in().is_none());

        let mut marks = vec![none];
        let mut ids = Vec::new();
        for account in [Some("ada"), Some("ada"), Some("bob"), None] {
            directory.mark_new_sign_in(account).unwrap();
            let mark = Mark::current(&env);
            assert!(!marks.contains(&mark));
            assert_eq!(Mark::current(&env), mark);
            marks.push(mark);
            let found = directory.sign_in().unwrap();
            assert_eq!(found.account.as_deref(), account);
            let id = found.id.expose_secret().to_owned();
            assert_eq!(id.len(), 64);
            assert!(!format!("{found:?}").contains(&id));
            assert!(!ids.contains(&id));
            ids.push(id);
        }
        let mode = fs::metadata(directory.path().join(MARK)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
