//! What an administrator has turned off on this machine: `/etc/entrar/policy.toml`.
//!
//! It is a default for honest users and no boundary: whoever may run programs of their own can sign in with one of those.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

/// Where the policy is.
pub(crate) const PATH: &str = "/etc/entrar/policy.toml";
/// The largest file that is read, in bytes.
const LARGEST: u64 = 64 * 1024;

/// The ways to sign in that are open.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Policy {
    /// Whether the address at which a browser ended may be pasted.
    pub(crate) paste: bool,
    /// Whether a device code may be used.
    pub(crate) device_code: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            paste: true,
            device_code: true,
        }
    }
}

impl Policy {
    /// Reads the policy. Without a file everything is open.
    ///
    /// # Errors
    /// Why the file cannot be followed. Nothing is open then: half a policy is none.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(format!("{shown} cannot be read: {error}")),
        };
        check_owner(&file).map_err(|what| format!("{shown} {what}"))?;
        let mut text = String::new();
        Read::by_ref(&mut file)
            .take(LARGEST)
            .read_to_string(&mut text)
            .map_err(|error| format!("{shown} cannot be read: {error}"))?;
        basic_toml::from_str(&text).map_err(|error| format!("{shown}: {error}"))
    }
}

/// A file that others may write is theirs, not the administrator's.
#[cfg(unix)]
fn check_owner(file: &File) -> Result<(), &'static str> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file
        .metadata()
        .map_err(|_| "is there, but its owner is not known")?;
    if !metadata.is_file() {
        return Err("is no file");
    }
    if metadata.uid() != 0 {
        return Err("does not belong to root");
    }
    if metadata.mode() & 0o022 != 0 {
        return Err("may be written by others than root");
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_owner(_: &File) -> Result<(), &'static str> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Policy, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.toml");
        std::fs::write(&path, text).unwrap();
        // Tests do not always run as root.
        #[cfg(unix)]
        if !rustix::process::geteuid().is_root() {
            return basic_toml::from_str(text).map_err(|error| error.to_string());
        }
        Policy::read(&path)
    }

    #[test]
    fn what_is_not_named_is_open() {
        assert_eq!(read(""), Ok(Policy::default()));
        let policy = read("# no pasting\npaste = false\n").unwrap();
        assert_eq!(
            policy,
            Policy {
                paste: false,
                device_code: true
            }
        );
        let missing = Policy::read(Path::new("/nowhere/policy.toml"));
        assert_eq!(missing, Ok(Policy::default()));
    }

    #[test]
    fn what_is_not_understood_opens_nothing() {
        for text in ["pasting = false", "paste = \"no\"", "paste"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_write_is_no_policy() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o666)).unwrap();
        let why = Policy::read(file.path()).unwrap_err();
        assert!(why.contains("root"), "{why}");
    }
}
