//! The directory for what is remembered as long as a session lasts and is not secret.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use entrar_core::env::Env;
use entrar_core::variables::RUNTIME_DIRECTORY;

const NAME: &str = "git-credential-pwb";

/// A directory that only this person enters: in the session's runtime directory, else in the person's, else in
/// the machine's temporary one. It is made if need be; `None` if nowhere can be.
pub(crate) fn runtime_directory(env: &Env) -> Option<PathBuf> {
    let of_variable = |name| Some(PathBuf::from(env.var(name)?).join(NAME));
    [
        of_variable(RUNTIME_DIRECTORY),
        of_variable("XDG_RUNTIME_DIR"),
        Some(in_temporary(env)),
    ]
    .into_iter()
    .flatten()
    .find(|directory| make(directory) && is_private(directory))
}

/// Opens a file there to write to it. Nothing in its place makes us wait, as a pipe without a reader would, or leads
/// elsewhere, as a link would: anything but a regular file is an error.
pub(crate) fn open(path: &Path, options: OpenOptions) -> io::Result<File> {
    let file = guarded(options)?.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no file"))
    }
}

#[cfg(unix)]
fn guarded(mut options: OpenOptions) -> io::Result<OpenOptions> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    options.mode(0o600).custom_flags(flags);
    Ok(options)
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "on Unix it can fail")]
fn guarded(options: OpenOptions) -> io::Result<OpenOptions> {
    Ok(options)
}

/// The temporary directory is everybody's, so the name tells whose it is.
fn in_temporary(env: &Env) -> PathBuf {
    let temporary = env.var("TMPDIR").map(PathBuf::from);
    #[cfg(unix)]
    let name = format!("{NAME}-{}", rustix::process::geteuid().as_raw());
    #[cfg(not(unix))]
    let name = NAME;
    temporary.unwrap_or_else(std::env::temp_dir).join(name)
}

fn make(directory: &Path) -> bool {
    match new(directory) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::AlreadyExists,
    }
}

#[cfg(unix)]
fn new(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

#[cfg(not(unix))]
fn new(directory: &Path) -> io::Result<()> {
    std::fs::create_dir(directory)
}

/// Somebody else may have made it first, or put a link in its place.
#[cfg(unix)]
fn is_private(directory: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(directory).is_ok_and(|found| {
        found.is_dir()
            && found.uid() == rustix::process::geteuid().as_raw()
            && found.mode() & 0o077 == 0
    })
}

#[cfg(not(unix))]
fn is_private(directory: &Path) -> bool {
    directory.is_dir()
}

// What is tested here is Unix's own.
#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn found(variables: &[(&str, &Path)]) -> Option<PathBuf> {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, path)| (*name, path.to_str().unwrap()))
            .collect();
        runtime_directory(&Env::fixed(&variables, 0.0))
    }

    #[test]
    fn the_sessions_own_directory_comes_first_and_one_that_is_missing_is_passed_over() {
        let base = tempfile::tempdir().unwrap();
        let (session, person) = (base.path().join("session"), base.path().join("person"));
        for path in [&session, &person] {
            std::fs::create_dir(path).unwrap();
        }
        let variables = [
            (RUNTIME_DIRECTORY, &*session),
            ("XDG_RUNTIME_DIR", &*person),
        ];
        assert_eq!(found(&variables).unwrap(), session.join(NAME));
        let mode = std::fs::metadata(session.join(NAME)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o7777, 0o700);

        let missing = base.path().join("missing");
        let variables = [
            (RUNTIME_DIRECTORY, &*missing),
            ("XDG_RUNTIME_DIR", &*person),
        ];
        assert_eq!(found(&variables).unwrap(), person.join(NAME));

        let uid = rustix::process::geteuid().as_raw();
        assert_eq!(
            found(&[("TMPDIR", base.path())]).unwrap(),
            base.path().join(format!("{NAME}-{uid}"))
        );
    }

    #[test]
    fn a_directory_that_others_may_enter_or_that_is_a_link_is_not_used() {
        let base = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let path = base.path().join(format!("{NAME}-{uid}"));
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        assert_eq!(found(&[("TMPDIR", base.path())]), None);
        std::fs::remove_dir(&path).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), &path).unwrap();
        assert_eq!(found(&[("TMPDIR", base.path())]), None);
    }
    #[test]
    fn only_a_regular_file_is_opened_and_a_pipe_makes_nobody_wait() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let is_opened = |name: &str| {
            let mut options = OpenOptions::new();
            options.create(true).append(true);
            open(&at(name), options).is_ok()
        };
        assert!(is_opened("file"));
        let mode = std::fs::metadata(at("file")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        assert!(made.unwrap().success());
        symlink(at("file"), at("link")).unwrap();
        assert!(!is_opened("pipe"));
        // Also with somebody at its other end.
        let ends = OpenOptions::new()
            .read(true)
            .write(true)
            .open(at("pipe"))
            .unwrap();
        assert!(!is_opened("pipe"));
        drop(ends);
        assert!(!is_opened("link"));
        assert!(!is_opened("."));
    }
}
