//! A directory that one person alone enters, for what no other user of the machine may read or put there.
//!
//! Its last component is opened without following a link, and what is opened is what is looked at. On Unix it must be
//! this user's, closed to all others and on a disk or in memory of this machine; on Windows a person's own directories
//! are private by what they inherit, and only that it is a directory is looked at.

use std::io;
use std::path::{Path, PathBuf};

use crate::file::reason;

/// A directory that was checked and is this user's alone. Nobody else can put another one in its place: that takes the
/// right to write to a directory above it, all of which are checked too.
#[derive(Debug)]
pub struct PrivateDirectory {
    path: PathBuf,
}

/// Why a directory is not used.
#[derive(Debug, thiserror::Error)]
#[error("{} {fault}", path.display())]
pub struct Refusal {
    path: PathBuf,
    fault: Fault,
}

/// What is wrong with a directory, as the end of a sentence.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(
    not(unix),
    allow(dead_code, reason = "only Unix tells whose a directory is")
)]
enum Fault {
    #[error("belongs to another user, of uid {0}")]
    Foreign(u32),
    #[error("can be entered by others (its mode is {0:04o})")]
    Open(u32),
    #[error("is a link")]
    Link,
    #[error("is not a directory")]
    NoDirectory,
    #[error("is on a network file system, which other machines see too")]
    Network,
    #[error("lies in a directory where others can put another in its place")]
    Replaceable,
    #[error("cannot be {0} ({reason})", reason = reason(.1))]
    System(&'static str, io::Error),
}

impl Refusal {
    /// What to do about it, in a whole sentence; `variable` is the one that names another directory.
    #[must_use]
    pub fn remedy(&self, variable: &str) -> String {
        let path = self.path.display();
        let other = if cfg!(unix) {
            "to a directory of this machine that is yours alone (mode 0700)."
        } else {
            "to a directory of this machine that is yours alone."
        };
        match &self.fault {
            Fault::Open(_) => format!("Close it to others: chmod 700 {path}."),
            Fault::Foreign(_) | Fault::Link | Fault::NoDirectory => {
                format!("Have {path} removed, or set {variable} {other}")
            }
            Fault::Network | Fault::Replaceable | Fault::System(..) => {
                format!("Set {variable} {other}")
            }
        }
    }

    /// Whether another user's is in its place.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        matches!(self.fault, Fault::Foreign(_))
    }
}

impl PrivateDirectory {
    /// The directory at this path; `None` if there is nothing.
    ///
    /// # Errors
    /// Why what is there is not used.
    pub fn open(path: &Path) -> Result<Option<Self>, Refusal> {
        // A slash at its end would follow a link.
        let path: PathBuf = path.components().collect();
        match look_at(&path) {
            Ok(()) => Ok(Some(Self { path })),
            Err(Fault::System(_, error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(fault) => Err(Refusal { path, fault }),
        }
    }

    /// The same, made if there is nothing. The directory that it lies in must be there.
    ///
    /// # Errors
    /// Why what is there is not used, or why it cannot be made.
    pub fn create(path: &Path) -> Result<Self, Refusal> {
        let path: PathBuf = path.components().collect();
        let made = match make(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Fault::System("made", error))
            }
            _ => look_at(&path),
        };
        match made {
            Ok(()) => Ok(Self { path }),
            Err(fault) => Err(Refusal { path, fault }),
        }
    }

    /// Its path, without a slash at its end.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what is written to it stays in memory. Only Linux tells; elsewhere it is `false`.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        is_in_memory(&self.path)
    }
}

#[cfg(unix)]
fn make(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// What lies in a person's own directories is theirs, the system's and the administrators', by what it inherits.
#[cfg(not(unix))]
fn make(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)
}

#[cfg(unix)]
fn look_at(path: &Path) -> Result<(), Fault> {
    use rustix::fs::{Mode, OFlags};
    use std::fs::File;

    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let system = |error: rustix::io::Errno| Fault::System("opened", error.into());
    let directory = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(directory) => File::from(directory),
        Err(error) => return Err(unopened(path).unwrap_or_else(|| system(error))),
    };
    let found = directory
        .metadata()
        .map_err(|error| Fault::System("looked at", error))?;
    judged(&found)?;
    if is_on_network(&directory) {
        return Err(Fault::Network);
    }
    if is_replaceable(directory).map_err(|error| Fault::System("looked at", error))? {
        return Err(Fault::Replaceable);
    }
    Ok(())
}

/// Whether others can put another directory in this one's place, or in that of one above it: who owns the directory that it
/// lies in, and who may write to that where the owners of what is in it are not heeded (its sticky bit).
#[cfg(unix)]
fn is_replaceable(directory: std::fs::File) -> io::Result<bool> {
    use rustix::fs::{Mode, OFlags};
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    // Linux opens so what may be searched and not read.
    #[cfg(target_os = "linux")]
    const LOOK: OFlags = OFlags::PATH;
    #[cfg(not(target_os = "linux"))]
    const LOOK: OFlags = OFlags::RDONLY;
    const STICKY: u32 = 0o1000;
    let mut below = directory;
    let mut found_below = below.metadata()?;
    loop {
        let flags = LOOK | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // One that cannot be opened is as a rule an administrator's, and is trusted with all above it.
        let Ok(above) = rustix::fs::openat(&below, "..", flags, Mode::empty()) else {
            return Ok(false);
        };
        let above = File::from(above);
        let found = above.metadata()?;
        // The root is above itself.
        if (found.dev(), found.ino()) == (found_below.dev(), found_below.ino()) {
            return Ok(false);
        }
        let is_trusted = [0, own_uid()].contains(&found.uid()) || is_unknown(found.uid());
        let is_open = found.mode() & 0o022 != 0 && found.mode() & STICKY == 0;
        if !is_trusted || is_open {
            return Ok(true);
        }
        (below, found_below) = (above, found);
    }
}

/// Whether a user is shown by this number who has none here: in a user namespace, as of a container, those outside, the
/// machine's root among them (user_namespaces(7)).
#[cfg(unix)]
fn is_unknown(uid: u32) -> bool {
    const OVERFLOW: u32 = 65_534;
    let map = || std::fs::read_to_string("/proc/self/uid_map").ok();
    uid == OVERFLOW && map().is_some_and(|map| !is_mapped(&map, uid))
}

/// Whether a user namespace has a user of this number: each line of the map is a first number inside, one outside, and how
/// many there are.
#[cfg(unix)]
fn is_mapped(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), _, Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        (first..first.saturating_add(count)).contains(&u64::from(uid))
    })
}

/// What is there instead of a directory that can be opened.
#[cfg(unix)]
fn unopened(path: &Path) -> Option<Fault> {
    let found = std::fs::symlink_metadata(path).ok()?;
    if found.is_symlink() {
        Some(Fault::Link)
    } else if found.is_dir() {
        judged(&found).err()
    } else {
        Some(Fault::NoDirectory)
    }
}

#[cfg(unix)]
fn judged(found: &std::fs::Metadata) -> Result<(), Fault> {
    use std::os::unix::fs::MetadataExt;
    if found.uid() != own_uid() {
        return Err(Fault::Foreign(found.uid()));
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(Fault::Open(mode))
    }
}

/// The user that this process acts as.
#[cfg(unix)]
#[must_use]
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether that is the user of this number.
#[cfg(unix)]
#[must_use]
pub fn is_own_uid(uid: u32) -> bool {
    uid == own_uid()
}

/// Users have no numbers here, so that none is this one's.
#[cfg(not(unix))]
#[must_use]
pub fn is_own_uid(_: u32) -> bool {
    false
}

/// Network file systems by the number that Linux knows them by (statfs(2) and `linux/magic.h`).
#[cfg(target_os = "linux")]
const NETWORK: [u32; 13] = [
    0x6969,      // NFS
    0x517B,      // SMB
    0xFF53_4D42, // CIFS
    0xFE53_4D42, // SMB2
    0x5346_414F, // AFS
    0x6B41_4653, // AFS of the kernel
    0x7375_7245, // Coda
    0x0BD0_0BD0, // Lustre
    0x4750_4653, // GPFS
    0x1983_0326, // BeeGFS
    0x00C3_6400, // Ceph
    0x0116_1970, // GFS2
    0x7461_636F, // OCFS2
];

/// Whether a file or directory is on a file system that other machines see too.
#[cfg(target_os = "linux")]
#[must_use]
pub fn is_on_network(directory: &std::fs::File) -> bool {
    // The kernel's number has 32 bits; the type that it comes in may be wider, or signed.
    let number = rustix::fs::fstatfs(directory).map(|found| found.f_type as u32);
    number.is_ok_and(|number| NETWORK.contains(&number))
}

/// File systems in memory, by the same numbers.
#[cfg(target_os = "linux")]
const IN_MEMORY: [u32; 2] = [
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
];

#[cfg(target_os = "linux")]
fn is_in_memory(path: &Path) -> bool {
    let number = rustix::fs::statfs(path).map(|found| found.f_type as u32);
    number.is_ok_and(|number| IN_MEMORY.contains(&number))
}

#[cfg(not(target_os = "linux"))]
fn is_in_memory(_: &Path) -> bool {
    false
}

/// Only Linux's numbers are known here: elsewhere a network file system is not noticed.
#[cfg(all(unix, not(target_os = "linux")))]
#[must_use]
pub fn is_on_network(_: &std::fs::File) -> bool {
    false
}

#[cfg(not(unix))]
fn look_at(path: &Path) -> Result<(), Fault> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(Fault::Link),
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Fault::NoDirectory),
        Err(error) => Err(Fault::System("opened", error)),
    }
}

// What is tested here is Unix's own.
#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    const NOBODY: u32 = 65_534;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refused(path: &Path) -> String {
        let opened = PrivateDirectory::open(path).unwrap_err();
        let made = PrivateDirectory::create(path).unwrap_err();
        assert_eq!(opened.to_string(), made.to_string());
        let remedy = opened.remedy("VARIABLE");
        assert!(remedy.ends_with('.'), "{remedy}");
        let shown = path.display().to_string();
        opened
            .to_string()
            .replace(shown.trim_end_matches('/'), "DIRECTORY")
    }

    #[test]
    fn it_is_made_for_its_owner_alone_and_found_again() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("private");
        assert!(PrivateDirectory::open(&path).unwrap().is_none());
        for _ in 0..2 {
            let made = PrivateDirectory::create(&path.join("")).unwrap();
            assert_eq!(made.path(), path);
        }
        let found = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(found & 0o7777, 0o700);
        assert!(PrivateDirectory::open(&path).unwrap().is_some());
    }

    #[test]
    fn one_that_others_may_enter_is_refused_with_what_to_do() {
        let base = tempfile::tempdir().unwrap();
        for bits in [0o755, 0o770, 0o701, 0o710, 0o1777] {
            let path = base.path().join(format!("{bits:o}"));
            fs::create_dir(&path).unwrap();
            mode(&path, bits);
            let expected = format!("DIRECTORY can be entered by others (its mode is {bits:04o})");
            assert_eq!(refused(&path), expected);
            let remedy = PrivateDirectory::open(&path)
                .unwrap_err()
                .remedy("VARIABLE");
            assert!(remedy.contains("chmod 700"), "{remedy}");
        }
    }

    #[test]
    fn a_link_is_not_followed_with_a_slash_at_its_end_neither() {
        let base = tempfile::tempdir().unwrap();
        let target = base.path().join("target");
        PrivateDirectory::create(&target).unwrap();
        let link = base.path().join("link");
        symlink(&target, &link).unwrap();
        assert_eq!(refused(&link), "DIRECTORY is a link");
        assert_eq!(refused(&link.join("")), "DIRECTORY is a link");
        let dangling = base.path().join("dangling");
        symlink(base.path().join("nowhere"), &dangling).unwrap();
        assert_eq!(refused(&dangling), "DIRECTORY is a link");
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("file");
        fs::write(&path, "").unwrap();
        assert_eq!(refused(&path), "DIRECTORY is not a directory");
    }

    #[test]
    fn another_users_is_refused() {
        if own_uid() != 0 {
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("private");
        PrivateDirectory::create(&path).unwrap();
        chown(&path, Some(NOBODY), None).unwrap();
        assert_eq!(
            refused(&path),
            "DIRECTORY belongs to another user, of uid 65534"
        );
        assert!(PrivateDirectory::open(&path).unwrap_err().is_foreign());
    }

    #[test]
    fn where_another_could_be_put_in_its_place_it_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("private");
        PrivateDirectory::create(&path).unwrap();
        let words = "DIRECTORY lies in a directory where others can put another in its place";
        mode(base.path(), 0o777);
        assert_eq!(refused(&path), words);
        mode(base.path(), 0o1777);
        assert!(PrivateDirectory::open(&path).unwrap().is_some());
        if own_uid() == 0 {
            chown(base.path(), Some(NOBODY), None).unwrap();
            assert_eq!(refused(&path), words);
        }
    }

    #[test]
    fn where_another_could_be_put_in_the_place_of_one_above_it_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let above = base.path().join("above");
        let path = above.join("between").join("private");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Others may not search this one, so that it is not the directory itself that they can reach.
        mode(path.parent().unwrap(), 0o700);
        PrivateDirectory::create(&path).unwrap();
        let words = "DIRECTORY lies in a directory where others can put another in its place";
        for open in [0o777, 0o775, 0o757] {
            mode(&above, open);
            assert_eq!(refused(&path), words, "{open:o}");
        }
        for closed in [0o1777, 0o755, 0o311] {
            mode(&above, closed);
            assert!(PrivateDirectory::open(&path).is_ok(), "{closed:o}");
        }
        if own_uid() == 0 {
            chown(&above, Some(NOBODY), None).unwrap();
            assert_eq!(refused(&path), words);
        }
    }

    #[test]
    fn a_user_without_a_number_here_is_told_from_one_that_has_it() {
        let whole = "         0          0 4294967295\n";
        assert!(is_mapped(whole, NOBODY));
        let container = "0 1000 1\n1 100000 65536\n";
        assert!(is_mapped(container, NOBODY));
        assert!(!is_mapped("1000 1000 1\n", NOBODY));
        assert!(!is_mapped("", NOBODY));
    }

    #[test]
    fn one_that_cannot_be_made_is_told_with_the_systems_reason() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("missing").join("private");
        assert!(PrivateDirectory::open(&path).unwrap().is_none());
        let refusal = PrivateDirectory::create(&path).unwrap_err().to_string();
        assert!(
            refusal.ends_with("private cannot be made (No such file or directory)"),
            "{refusal}"
        );
    }
}
