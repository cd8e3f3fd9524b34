//! The first files: `hub.toml`, with a word on each setting, and the keys.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use entrar_core::file::reason;

use crate::configuration::TEMPLATE;
use crate::keys::Keys;

/// Writes both into a directory; the result is their paths.
///
/// # Errors
/// What keeps them from being written, in a sentence. Nothing is overwritten.
pub fn init(directory: &Path) -> Result<[PathBuf; 2], String> {
    let settings = directory.join("hub.toml");
    let keys = directory.join("hub.key");
    let failed = |path: &Path, error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{} is there already, and stays as it is", path.display())
        }
        _ => format!("{} cannot be written: {}", path.display(), reason(error)),
    };
    if settings.exists() || keys.exists() {
        let path = if keys.exists() { &keys } else { &settings };
        return Err(failed(path, &std::io::ErrorKind::AlreadyExists.into()));
    }
    Keys::generate_file(&keys).map_err(|error| error.to_string())?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(&settings)
        .and_then(|mut file| file.write_all(TEMPLATE.as_bytes()))
        .map_err(|error| failed(&settings, &error))?;
    Ok([settings, keys])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn nobody_else_reads_the_keys_and_nothing_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let [settings, keys] = init(directory.path()).unwrap();
        assert_eq!(std::fs::metadata(&keys).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_to_string(&settings).unwrap(), TEMPLATE);
        Keys::read(&keys).unwrap();
        let before = std::fs::read(&keys).unwrap();
        let refused = init(directory.path()).unwrap_err();
        assert!(
            refused.ends_with("hub.key is there already, and stays as it is"),
            "{refused}"
        );
        std::fs::remove_file(&settings).unwrap();
        init(directory.path()).unwrap_err();
        assert_eq!(std::fs::read(&keys).unwrap(), before);
    }
}
