//! Where the database lies: a file that its owner alone can use, in a directory where nobody else can put another in its
//! place, on a disk of this machine.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use entrar_core::file::reason;
use entrar_core::private_directory::{is_on_network, own_uid};
use nix::fcntl::OFlag;

use super::StoreError;

/// The path to open, without a link in it. The file is made, with mode 0600, if there is none.
///
/// # Errors
/// [`StoreError::Place`].
pub(super) fn prepare(path: &Path) -> Result<PathBuf, StoreError> {
    let name = path
        .file_name()
        .ok_or_else(|| refused(path, "is not the path of a file"))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = parent
        .canonicalize()
        .map_err(|error| system(parent, "found", &error))?;
    look_at_directory(&directory)?;
    let path = directory.join(name);
    look_at_file(&path, true)?;
    // SQLite makes these with the mode of the file itself.
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut beside = path.clone().into_os_string();
        beside.push(suffix);
        look_at_file(Path::new(&beside), false)?;
    }
    Ok(path)
}

fn look_at_directory(path: &Path) -> Result<(), StoreError> {
    let directory = File::open(path).map_err(|error| system(path, "opened", &error))?;
    let found = directory
        .metadata()
        .map_err(|error| system(path, "looked at", &error))?;
    if !found.is_dir() {
        return Err(refused(path, "is not a directory"));
    }
    if ![0, own_uid()].contains(&found.uid()) {
        return Err(foreign(path, &found));
    }
    if found.mode() & 0o022 != 0 {
        let fault = format!(
            "can be written to by others (its mode is {:04o}), who could put another database there; close it to them: chmod go-w",
            found.mode() & 0o7777
        );
        return Err(refused(path, &fault));
    }
    if is_on_network(&directory) || is_on_network_by_fuse(&found) {
        return Err(refused(
            path,
            "is on a network file system, where SQLite's locks do not hold; put the database on a disk of this machine",
        ));
    }
    Ok(())
}

fn look_at_file(path: &Path, make: bool) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        // Neither a link nor a pipe in its place leads anywhere.
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !make {
                return Ok(());
            }
            // Two processes may be at it at once: the other's file is as good.
            let made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path);
            if let Err(error) = made
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(system(path, "made", &error));
            }
            options.open(path)
        }
        opened => opened,
    };
    let file = match file {
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => {
            return Err(refused(path, "is a link; name the database itself"));
        }
        opened => opened.map_err(|error| system(path, "opened", &error))?,
    };
    let found = file
        .metadata()
        .map_err(|error| system(path, "looked at", &error))?;
    if !found.is_file() {
        return Err(refused(path, "is not a file"));
    }
    if found.uid() != own_uid() {
        return Err(foreign(path, &found));
    }
    if found.mode() & 0o077 != 0 {
        let fault = format!(
            "can be used by others (its mode is {:04o}); close it to them: chmod 600",
            found.mode() & 0o7777
        );
        return Err(refused(path, &fault));
    }
    Ok(())
}

/// File systems behind FUSE have one number, whatever they are: the mount's entry names them.
fn is_on_network_by_fuse(directory: &Metadata) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let device = directory.dev();
    let device = format!(
        "{}:{}",
        nix::sys::stat::major(device),
        nix::sys::stat::minor(device)
    );
    mounts
        .lines()
        .filter(|line| line.split(' ').nth(2) == Some(&device))
        .filter_map(type_of_mount)
        .any(|kind| kind.starts_with("fuse.") && !LOCAL_FUSE.contains(&kind))
}

/// What containers without root lie on.
const LOCAL_FUSE: [&str; 1] = ["fuse.fuse-overlayfs"];

/// The type stands behind the hyphen that ends the optional fields (proc_pid_mountinfo(5)).
fn type_of_mount(line: &str) -> Option<&str> {
    let (_, after) = line.split_once(" - ")?;
    after.split(' ').next()
}

fn refused(path: &Path, fault: &str) -> StoreError {
    StoreError::Place {
        path: path.display().to_string(),
        fault: fault.to_owned(),
    }
}

fn foreign(path: &Path, found: &Metadata) -> StoreError {
    let uid = found.uid();
    refused(
        path,
        &format!("belongs to another user, of uid {uid}; run this as that user"),
    )
}

fn system(path: &Path, doing: &str, error: &io::Error) -> StoreError {
    refused(path, &format!("cannot be {doing} ({})", reason(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn fault(path: &Path) -> String {
        match prepare(path).unwrap_err() {
            StoreError::Place { fault, .. } => fault,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_missing_file_is_made_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.db");
        for _ in 0..2 {
            assert_eq!(
                prepare(&path).unwrap(),
                directory.path().canonicalize().unwrap().join("hub.db")
            );
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        }
    }

    #[test]
    fn a_file_that_others_can_use_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.db");
        for (name, wide) in [
            ("hub.db", 0o640),
            ("hub.db-wal", 0o604),
            ("hub.db-shm", 0o660),
        ] {
            let file = directory.path().join(name);
            fs::write(&file, "").unwrap();
            mode(&file, wide);
            assert_eq!(
                fault(&path),
                format!(
                    "can be used by others (its mode is {wide:04o}); close it to them: chmod 600"
                )
            );
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, wide);
            mode(&file, 0o600);
        }
    }

    #[test]
    fn links_pipes_and_directories_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("real"), "").unwrap();
        mode(&at("real"), 0o600);
        symlink(at("real"), at("link")).unwrap();
        assert_eq!(fault(&at("link")), "is a link; name the database itself");
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(fault(&at("pipe")), "is not a file");
        fs::create_dir(at("directory")).unwrap();
        assert_eq!(fault(&at("directory")), "is not a file");
        assert_eq!(
            fault(&at("missing/hub.db")),
            "cannot be found (No such file or directory)"
        );
        assert_eq!(fault(Path::new("/")), "is not the path of a file");
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.db");
        for wide in [0o720, 0o702, 0o1777] {
            mode(directory.path(), wide);
            assert!(
                fault(&path).starts_with(&format!(
                    "can be written to by others (its mode is {wide:04o})"
                )),
                "{wide:o}"
            );
            assert!(!path.exists());
        }
        mode(directory.path(), 0o755);
        assert!(prepare(&path).is_ok());
    }

    #[test]
    fn a_mounts_type_is_read() {
        let line = "36 35 98:0 / /data rw,noatime shared:1 master:2 - fuse.sshfs host:/ rw";
        assert_eq!(type_of_mount(line), Some("fuse.sshfs"));
        let none = "36 35 98:0 / / rw - ext4 /dev/root rw";
        assert_eq!(type_of_mount(none), Some("ext4"));
        assert_eq!(type_of_mount("garbage"), None);
    }
}
