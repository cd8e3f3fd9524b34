//! The file of git's configuration: where it is, and how it is changed in one step.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use entrar_core::env::Env;

use super::Error;

/// As git chooses the file that `git config --global` writes to.
pub(super) fn users_file(env: &Env, windows: bool) -> Result<PathBuf, Error> {
    if let Some(file) = env.var("GIT_CONFIG_GLOBAL") {
        return Ok(file.into());
    }
    let home = home(env, windows);
    let base = env.var("XDG_CONFIG_HOME").map(PathBuf::from);
    let in_home = home.as_ref().map(|home| home.join(".gitconfig"));
    let in_base = base
        .or_else(|| Some(home?.join(".config")))
        .map(|base| base.join("git").join("config"));
    match (in_home, in_base) {
        (Some(in_home), Some(in_base)) if !in_home.exists() && in_base.exists() => Ok(in_base),
        (Some(in_home), _) => Ok(in_home),
        (None, Some(in_base)) if in_base.exists() => Ok(in_base),
        (None, _) => Err(Error::NoHome),
    }
}

/// The person's own directory: on Windows, where HOME is as a rule not set, as git for Windows finds it.
fn home(env: &Env, windows: bool) -> Option<PathBuf> {
    let variable = |name| env.var(name).map(PathBuf::from);
    let on_drive = || {
        let path = format!("{}{}", env.var("HOMEDRIVE")?, env.var("HOMEPATH")?);
        Some(PathBuf::from(path)).filter(|path| path.is_dir())
    };
    let home = variable("HOME");
    if windows {
        home.or_else(on_drive).or_else(|| variable("USERPROFILE"))
    } else {
        home
    }
}

/// Only git knows where a repository, or one of several worktrees, keeps its configuration.
pub(super) fn projects_file() -> Result<PathBuf, Error> {
    let output = Command::new("git")
        .args(["rev-parse", "--git-path", "config"])
        .output()
        .map_err(Error::NoGit)?;
    let mut path = output.stdout;
    if !output.status.success() || path.pop() != Some(b'\n') {
        return Err(Error::NoRepository);
    }
    #[cfg(unix)]
    let path: OsString = std::os::unix::ffi::OsStringExt::from_vec(path);
    #[cfg(not(unix))]
    let path = OsString::from(String::from_utf8_lossy(&path).into_owned());
    Ok(path.into())
}

/// The file's lock, which git takes too.
pub(super) struct Lock(PathBuf);

impl Lock {
    pub(super) fn take(file: &Path) -> Result<Self, Error> {
        let mut path: OsString = file.into();
        path.push(".lock");
        let path = PathBuf::from(path);
        let shown = file.display().to_string();
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(_) => Ok(Self(path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Locked(shown)),
            Err(error) => Err(Error::Io(shown, error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Replaces the file in one step, whoever reads it meanwhile.
pub(super) fn write(file: &Path, text: &[u8]) -> io::Result<()> {
    let mut name: OsString = file.into();
    name.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(name);
    let written = (|| {
        let mut output = OpenOptions::new().write(true).create_new(true).open(&new)?;
        if let Ok(found) = fs::metadata(file) {
            output.set_permissions(found.permissions())?;
        }
        output.write_all(text)?;
        output.sync_all()?;
        fs::rename(&new, file)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_file_is_the_one_that_git_would_write_to() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().to_str().unwrap();
        let file = |variables: &[(&str, &str)]| users_file(&Env::fixed(variables, 0.0), false);
        assert!(matches!(file(&[]), Err(Error::NoHome)));
        let at_home = [("HOME", path)];
        assert_eq!(file(&at_home).unwrap(), home.path().join(".gitconfig"));
        let in_base = home.path().join(".config/git/config");
        fs::create_dir_all(in_base.parent().unwrap()).unwrap();
        fs::write(&in_base, "").unwrap();
        assert_eq!(file(&at_home).unwrap(), in_base);
        fs::write(home.path().join(".gitconfig"), "").unwrap();
        assert_eq!(file(&at_home).unwrap(), home.path().join(".gitconfig"));
        let named = [("HOME", path), ("GIT_CONFIG_GLOBAL", "/named")];
        assert_eq!(file(&named).unwrap(), Path::new("/named"));
    }

    #[test]
    fn on_windows_home_is_where_git_for_windows_finds_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().to_str().unwrap();
        let file = |variables: &[(&str, &str)], windows| {
            users_file(&Env::fixed(variables, 0.0), windows).ok()
        };
        let in_home = Some(home.path().join(".gitconfig"));
        let profile = ("USERPROFILE", path);
        let gone = [("HOMEDRIVE", path), ("HOMEPATH", "/gone"), profile];
        assert_eq!(file(&[profile], true), in_home);
        assert_eq!(file(&gone, true), in_home);
        let (drive, rest) = path.split_at(1);
        let on_drive = [
            ("HOMEDRIVE", drive),
            ("HOMEPATH", rest),
            ("USERPROFILE", "/p"),
        ];
        assert_eq!(file(&on_drive, true), in_home);
        assert_eq!(
            file(&[("HOME", path), ("USERPROFILE", "/p")], true),
            in_home
        );
        assert_eq!(file(&[profile], false), None);
    }
}
