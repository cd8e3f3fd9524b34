//! Files with secrets: where one is looked for, and who may read it.

use std::fmt;
use std::path::{Path, PathBuf};

use entrar_core::file::{read_beginning, reason};
use secrecy::SecretString;

/// The largest secret that is read, in bytes.
const LARGEST: u64 = 64 * 1024;

/// Where relative names lead.
#[derive(Debug)]
pub(super) struct Near<'a> {
    /// The directory of `hub.toml`.
    pub(super) directory: &'a Path,
    /// A directory of secrets that the service manager hands over.
    pub(super) credentials: Option<&'a Path>,
}

impl Near<'_> {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What the service manager hands over goes first: it lies in memory.
    pub(super) fn secret(&self, name: &str) -> SecretFile {
        let handed_over = self.credentials.map(|directory| directory.join(name));
        match handed_over {
            Some(path) if !Path::new(name).is_absolute() && path.exists() => SecretFile(path),
            _ => SecretFile(self.path(name)),
        }
    }
}

/// The path of a file that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile(PathBuf);

impl SecretFile {
    /// The file at this path.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// The text of a file that only its owner and perhaps its group can read, without white space around it.
///
/// # Errors
/// Why it is not used, with its path.
pub fn read_secret(file: &SecretFile) -> Result<SecretString, String> {
    let path = file.path();
    let said = |what: &str| format!("{} {what}", path.display());
    let bytes = read_beginning(path, LARGEST)
        .map_err(|error| said(&format!("cannot be read: {}", reason(&error))))?;
    check_mode(path).map_err(|what| said(&what))?;
    let text = String::from_utf8(bytes).map_err(|_| said("is not text"))?;
    match text.trim() {
        "" => Err(said("is empty")),
        text => Ok(text.to_owned().into()),
    }
}

fn check_mode(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    let found =
        std::fs::metadata(path).map_err(|error| format!("cannot be read: {}", reason(&error)))?;
    if found.mode() & 0o007 != 0 || found.mode() & 0o020 != 0 {
        return Err(format!(
            "can be read or written by others (mode {:o}): `chmod 600 {}`",
            found.mode() & 0o7777,
            path.display()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_its_files_text_if_nobody_else_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let file = SecretFile(path.clone());
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode));
        std::fs::write(&path, " canary\n").unwrap();
        for allowed in [0o600, 0o400, 0o440, 0o640] {
            mode(allowed).unwrap();
            let text = read_secret(&file).unwrap();
            assert_eq!(text.expose_secret(), "canary", "{allowed:o}");
        }
        for refused in [0o644, 0o604, 0o660, 0o601] {
            mode(refused).unwrap();
            let why = read_secret(&file).unwrap_err();
            assert!(
                why.contains("chmod 600") && !why.contains("canary"),
                "{why}"
            );
        }
        std::fs::write(&path, "\n").unwrap();
        mode(0o600).unwrap();
        assert!(read_secret(&file).unwrap_err().ends_with("is empty"));
    }

    #[test]
    fn what_the_service_manager_hands_over_goes_first() {
        let (own, handed_over) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let near = Near {
            directory: own.path(),
            credentials: Some(handed_over.path()),
        };
        assert_eq!(near.secret("s").path(), own.path().join("s"));
        std::fs::write(handed_over.path().join("s"), "x").unwrap();
        assert_eq!(near.secret("s").path(), handed_over.path().join("s"));
        assert_eq!(near.secret("/s").path(), Path::new("/s"));
    }
}
