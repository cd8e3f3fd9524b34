//! The hub's socket on this machine, and whether it is the hub's.
//!
//! Whoever answers at the socket says whose tokens a process gets and which page a person is sent to, so that another user
//! of this machine must not be able to put one of theirs there. Its owner is root or a system user, which nobody logs in
//! as; and in none of the directories above can anybody but root or that user put another in its place.

use std::path::PathBuf;

use crate::env::Env;
use crate::error::Error;

/// The variable that names the socket; [`OFF`] in it says that no hub is to be asked.
pub const VARIABLE: &str = "ENTRAR_HUB_SOCKET";
/// The value by which no hub is asked.
pub const OFF: &str = "off";

/// The hub's socket, if there is one. Whether anybody listens at it is another question:
/// [`has_listener`](crate::session_directory::has_listener).
///
/// # Errors
/// [`Kind::NoSession`](crate::error::Kind::NoSession) if what is there is refused, or if the variable names one and there
/// is nothing, with the path and what to do.
#[cfg(unix)]
pub fn find(env: &Env) -> Result<Option<PathBuf>, Error> {
    unix::find(env)
}

/// The hub's socket: there are none on this system.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn find(_: &Env) -> Result<Option<PathBuf>, Error> {
    Ok(None)
}

#[cfg(unix)]
mod unix {
    use std::fs::{self, Metadata};
    use std::io;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::path::{Path, PathBuf};

    use super::{OFF, VARIABLE};
    use crate::env::Env;
    use crate::error::{Error, Kind};
    use crate::file::reason;
    use crate::system_user::{is_of_system, is_of_system_or_own};

    /// Where the socket is if no variable says so.
    const USUAL: Option<&str> = if cfg!(target_os = "linux") {
        Some("/run/entrar/hub.sock")
    } else {
        None
    };
    pub(super) fn find(env: &Env) -> Result<Option<PathBuf>, Error> {
        match (env.var(VARIABLE).as_deref(), USUAL) {
            (Some(OFF), _) | (None, None) => Ok(None),
            (Some(named), _) if !Path::new(named).is_absolute() => {
                let message = format!("{VARIABLE} is neither an absolute path nor \"{OFF}\"");
                let remedy =
                    format!("Set {VARIABLE} to the path of the hub's socket, or unset it.");
                Err(Error::new(Kind::NoSession, message).remedied(Some(&remedy)))
            }
            // Whoever has set it may run a hub of their own, to try it.
            (Some(named), _) => match checked(Path::new(named), is_of_system_or_own) {
                Ok(None) => {
                    let message = format!(
                        "the hub is not running: nothing is at {named}, where {VARIABLE} has it"
                    );
                    Err(Error::new(Kind::NoSession, message))
                }
                found => found,
            },
            (None, Some(usual)) => checked(Path::new(usual), is_of_system),
        }
    }

    /// The socket at this path by a path without links; `None` if there is nothing.
    fn checked(
        path: &Path,
        may_be_the_hub: impl Fn(u32) -> bool,
    ) -> Result<Option<PathBuf>, Error> {
        look_at(path, may_be_the_hub).map_err(|(place, fault)| {
            let place = place.display();
            let message = format!("the socket of the hub is not used: {place} {fault}");
            Error::new(Kind::NoSession, message).remedied(Some(
                "Ask the administrator of the hub: its socket and the directories above it have to belong to root or to the hub's own system user, and nobody else may write there.",
            ))
        })
    }

    type Refusal = (PathBuf, String);

    fn look_at(
        path: &Path,
        may_be_the_hub: impl Fn(u32) -> bool,
    ) -> Result<Option<PathBuf>, Refusal> {
        let unseen = |place: &Path, error: &io::Error| {
            let fault = format!("cannot be looked at ({})", reason(error));
            (place.to_owned(), fault)
        };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err((path.to_owned(), "is not a socket".to_owned()));
        };
        // A link on the way may lead elsewhere tomorrow. What is looked at and what is asked is the path that it leads to now.
        let directory = match fs::canonicalize(parent) {
            Err(error) if is_absent(&error) => return Ok(None),
            found => found.map_err(|error| unseen(parent, &error))?,
        };
        let path = directory.join(name);
        let found = match fs::symlink_metadata(&path) {
            Err(error) if is_absent(&error) => return Ok(None),
            found => found.map_err(|error| unseen(&path, &error))?,
        };
        if !found.file_type().is_socket() {
            return Err((path, "is not a socket".to_owned()));
        }
        let hub = found.uid();
        if !may_be_the_hub(hub) {
            let fault = format!("belongs to uid {hub}, who is neither root nor a system user");
            return Err((path, fault));
        }
        for (above, directory) in directory.ancestors().enumerate() {
            let found = fs::metadata(directory).map_err(|error| unseen(directory, &error))?;
            if let Some(fault) = replaceable(&found, hub, above > 0) {
                return Err((directory.to_owned(), fault));
            }
        }
        Ok(Some(path))
    }

    fn is_absent(error: &io::Error) -> bool {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        )
    }

    /// What lets somebody put another socket, or another directory, into this directory. In one `above` the socket's own
    /// others may write if they cannot rename there what is not theirs.
    fn replaceable(directory: &Metadata, hub: u32, above: bool) -> Option<String> {
        const STICKY: u32 = 0o1000;
        let owner = directory.uid();
        if ![0, hub].contains(&owner) {
            return Some(format!("belongs to uid {owner}, who is not the hub"));
        }
        let mode = directory.mode() & 0o7777;
        let is_open = mode & 0o022 != 0 && !(above && mode & STICKY != 0);
        is_open.then(|| format!("can be written to by others (its mode is {mode:04o})"))
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::private_directory::own_uid;
        use std::os::unix::fs::{PermissionsExt, chown, symlink};
        use std::os::unix::net::UnixListener;
        use tempfile::TempDir;

        const HUB: u32 = 998;
        const ALICE: u32 = 1_234;

        /// A directory of this test's own that root owns, with a socket in `run/entrar`.
        struct Machine(TempDir);

        impl Machine {
            fn new() -> Self {
                let base = tempfile::tempdir().unwrap();
                let machine = Self(base);
                fs::create_dir_all(machine.directory()).unwrap();
                for directory in [machine.0.path(), &machine.at("run"), &machine.directory()] {
                    mode(directory, 0o755);
                }
                drop(UnixListener::bind(machine.socket()).unwrap());
                machine
            }

            fn at(&self, name: &str) -> PathBuf {
                self.0.path().canonicalize().unwrap().join(name)
            }

            fn directory(&self) -> PathBuf {
                self.at("run/entrar")
            }

            fn socket(&self) -> PathBuf {
                self.directory().join("hub.sock")
            }

            fn checked(&self) -> Result<Option<PathBuf>, String> {
                checked_at(&self.socket())
            }
        }

        /// What a client whose own uid is not looked at finds, with the test's directory out of the words.
        fn checked_at(path: &Path) -> Result<Option<PathBuf>, String> {
            checked(path, |uid| uid <= 999).map_err(|error| {
                assert_eq!(error.kind(), Kind::NoSession);
                assert!(error.details().remedy.is_some());
                error.message().to_owned()
            })
        }

        fn mode(path: &Path, mode: u32) {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }

        fn refused(place: &Path, fault: &str) -> Result<Option<PathBuf>, String> {
            let place = place.display();
            Err(format!(
                "the socket of the hub is not used: {place} {fault}"
            ))
        }

        #[test]
        fn root_or_one_and_the_same_system_user_has_socket_and_directory() {
            if own_uid() != 0 {
                return;
            }
            let machine = Machine::new();
            let found = Ok(Some(machine.socket()));
            assert_eq!(machine.checked(), found);
            chown(machine.socket(), Some(HUB), None).unwrap();
            assert_eq!(machine.checked(), found);
            chown(machine.directory(), Some(HUB), None).unwrap();
            assert_eq!(machine.checked(), found);
            mode(&machine.socket(), 0o666);
            assert_eq!(machine.checked(), found);

            chown(machine.directory(), Some(HUB - 1), None).unwrap();
            let fault = format!("belongs to uid {}, who is not the hub", HUB - 1);
            assert_eq!(machine.checked(), refused(&machine.directory(), &fault));
            chown(machine.directory(), Some(ALICE), None).unwrap();
            let fault = format!("belongs to uid {ALICE}, who is not the hub");
            assert_eq!(machine.checked(), refused(&machine.directory(), &fault));
        }

        #[test]
        fn a_socket_of_somebody_who_logs_in_is_refused() {
            if own_uid() != 0 {
                return;
            }
            let machine = Machine::new();
            for uid in [1_000, ALICE, 65_534] {
                chown(machine.socket(), Some(uid), None).unwrap();
                let fault = format!("belongs to uid {uid}, who is neither root nor a system user");
                assert_eq!(machine.checked(), refused(&machine.socket(), &fault));
            }
        }

        #[test]
        fn a_directory_that_others_write_to_is_refused() {
            let machine = Machine::new();
            for bits in [0o775, 0o757, 0o1777] {
                mode(&machine.directory(), bits);
                let fault = format!("can be written to by others (its mode is {bits:04o})");
                assert_eq!(machine.checked(), refused(&machine.directory(), &fault));
            }
            mode(&machine.directory(), 0o755);
            mode(&machine.at("run"), 0o777);
            let fault = "can be written to by others (its mode is 0777)";
            assert_eq!(machine.checked(), refused(&machine.at("run"), fault));
            mode(&machine.at("run"), 0o1777);
            assert_eq!(machine.checked(), Ok(Some(machine.socket())));
            if own_uid() == 0 {
                chown(machine.at("run"), Some(ALICE), None).unwrap();
                let fault = format!("belongs to uid {ALICE}, who is not the hub");
                assert_eq!(machine.checked(), refused(&machine.at("run"), &fault));
            }
        }

        #[test]
        fn a_link_to_the_directory_is_followed_once_and_one_in_the_sockets_place_is_not() {
            let machine = Machine::new();
            let link = machine.at("link");
            symlink(machine.directory(), &link).unwrap();
            assert_eq!(
                checked_at(&link.join("hub.sock")),
                Ok(Some(machine.socket()))
            );
            let link = machine.directory().join("other.sock");
            symlink(machine.socket(), &link).unwrap();
            assert_eq!(checked_at(&link), refused(&link, "is not a socket"));
        }

        #[test]
        fn where_nothing_is_there_is_no_hub_unless_it_was_named() {
            let machine = Machine::new();
            let nothing = machine.directory().join("nothing");
            assert_eq!(checked_at(&nothing), Ok(None));
            assert_eq!(checked_at(&nothing.join("hub.sock")), Ok(None));
            assert_eq!(checked_at(&machine.socket().join("hub.sock")), Ok(None));
            let named = |path: &str| {
                let found = find(&Env::fixed(&[(VARIABLE, path)], 0.0));
                found.map_err(|error| error.message().to_owned())
            };
            let nothing = nothing.display();
            let expected =
                format!("the hub is not running: nothing is at {nothing}, where {VARIABLE} has it");
            assert_eq!(named(&nothing.to_string()), Err(expected));
            assert_eq!(
                named(machine.socket().to_str().unwrap()),
                Ok(Some(machine.socket()))
            );
            assert_eq!(named(OFF), Ok(None));
            let relative = format!("{VARIABLE} is neither an absolute path nor \"off\"");
            assert_eq!(named("hub.sock"), Err(relative));
        }
    }
}
