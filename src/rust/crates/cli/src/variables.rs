//! The environment variables that make a session: given to a command, or written to a file for another process.

use std::borrow::Cow;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use tokio::process::Command;

/// Names and values; an empty value means that the variable is to be unset. Some of them are secrets.
#[derive(Default)]
pub(crate) struct Variables(Vec<(Cow<'static, str>, SecretString)>);

impl Variables {
    /// Adds one.
    pub(crate) fn set(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<SecretString>,
    ) {
        self.0.push((name.into(), value.into()));
    }

    /// Puts them into the environment of a command that is about to run.
    pub(crate) fn give_to(&self, command: &mut Command) {
        for (name, value) in &self.0 {
            match value.expose_secret() {
                "" => command.env_remove(&**name),
                value => command.env(&**name, value),
            };
        }
    }

    /// Writes them to a new file that only its owner reads, a line `NAME=VALUE` each. There is no moment at which the file
    /// is there and not whole. One that was there before stays as it is, and is an error.
    pub(crate) fn write(&self, path: PathBuf) -> io::Result<Written> {
        let lines = self.0.iter();
        let lines: String = lines
            .map(|(name, value)| format!("{name}={}\n", value.expose_secret()))
            .collect();
        write_new(path, lines.as_bytes())
    }
}

/// A file that is removed when this is dropped.
pub(crate) struct Written(PathBuf);

impl Drop for Written {
    fn drop(&mut self) {
        // Whoever it was for may have removed it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes a new file, whole from the moment it is there and removed with the result. One that was there before stays as
/// it is, and is an error.
pub(crate) fn write_new(path: PathBuf, contents: &[u8]) -> io::Result<Written> {
    // Readable by its owner alone, as every file that tempfile makes.
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
    file.write_all(contents)?;
    file.persist_noclobber(&path).map_err(|error| error.error)?;
    Ok(Written(path))
}

/// Writes a new file that only its owner reads.
pub(crate) fn write_private(path: &Path, secret: &SecretString) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)?
        .write_all(secret.expose_secret().as_bytes())
}
