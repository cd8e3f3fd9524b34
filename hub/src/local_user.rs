//! Local users: who a uid is, and whether that says anything about a person.

use std::fmt;
use std::path::{Path, PathBuf};

use entrar_core::file::read_beginning;
use entrar_core::system_user::is_of_system;
use nix::unistd::{Uid, User};

/// The uid that stands for everybody who has none here, as on network file systems and in containers.
const OVERFLOW: u32 = 65_534;
/// The uid that stands for no uid.
const NONE: u32 = u32::MAX;
/// The largest list of subordinate uids that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalUser {
    /// The uid.
    pub uid: u32,
    /// The name.
    pub name: String,
}

impl fmt::Display for LocalUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (uid {})", self.name, self.uid)
    }
}

/// Why a uid or a name is nobody's whom the hub serves: the end of a sentence that begins with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// Root can become anybody, and is nobody in particular.
    #[error("is root, who gets no tokens: run this as the person's own user")]
    Root,
    /// A number that stands for no user.
    #[error(
        "stands for users without a uid of their own here, as in a container or on a network file system"
    )]
    NoUid,
    /// A user of the system's own, such as that of a service.
    #[error("is a user of the system, who is no person")]
    System,
    /// Not among the uids of the configuration.
    #[error("is not among the uids that the hub serves")]
    OutOfRange,
    /// Somebody may take it on in a namespace of their own.
    #[error("is in the subordinate uids of {0} (/etc/subuid): it names nobody")]
    Subordinate(String),
    /// No name belongs to it.
    #[error("has no name on this machine")]
    Nameless,
    /// The name is another uid's.
    #[error("has a name that belongs to another uid too: {0}")]
    Ambiguous(String),
    /// There is no such user.
    #[error("is no user of this machine")]
    Unknown,
    /// The system does not say.
    #[error("cannot be looked up: {0}")]
    Unreadable(String),
}

/// Which users are served.
#[derive(Clone, Debug)]
pub struct Rules {
    uids: Vec<(u32, u32)>,
    subordinate: PathBuf,
}

impl Rules {
    /// Users with a uid in these ranges, from first to last.
    #[must_use]
    pub fn new(uids: Vec<(u32, u32)>) -> Self {
        Self {
            uids,
            subordinate: PathBuf::from("/etc/subuid"),
        }
    }

    /// The user of this uid, which the kernel has named. It asks the system's user directory, which may take its time.
    ///
    /// # Errors
    /// Why nobody of this uid is served.
    pub fn user_of(&self, uid: u32) -> Result<LocalUser, NotServed> {
        self.check(uid)?;
        let named = User::from_uid(Uid::from_raw(uid)).map_err(unreadable)?;
        let name = named.ok_or(NotServed::Nameless)?.name;
        // Names are bound to accounts: one that leads elsewhere would bind another uid.
        match User::from_name(&name).map_err(unreadable)? {
            Some(back) if back.uid.as_raw() == uid => Ok(LocalUser { uid, name }),
            _ => Err(NotServed::Ambiguous(name)),
        }
    }

    /// The user of this name.
    ///
    /// # Errors
    /// Why nobody of this name is served.
    pub fn user_named(&self, name: &str) -> Result<LocalUser, NotServed> {
        let found = User::from_name(name).map_err(unreadable)?;
        let user = self.user_of(found.ok_or(NotServed::Unknown)?.uid.as_raw())?;
        // A uid may have a second name, and some directories know a name in any case.
        if user.name == name {
            Ok(user)
        } else {
            Err(NotServed::Ambiguous(user.name))
        }
    }

    fn check(&self, uid: u32) -> Result<(), NotServed> {
        match uid {
            0 => return Err(NotServed::Root),
            OVERFLOW | NONE => return Err(NotServed::NoUid),
            _ if is_of_system(uid) => return Err(NotServed::System),
            _ => {}
        }
        if !self
            .uids
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&uid))
        {
            return Err(NotServed::OutOfRange);
        }
        let holders = subordinates(&self.subordinate).map_err(NotServed::Unreadable)?;
        match holders.into_iter().find(|range| range.holds(uid)) {
            Some(range) => Err(NotServed::Subordinate(range.holder)),
            None => Ok(()),
        }
    }

    /// Which of the served ranges hold subordinate uids, each as a sentence for the administrator.
    ///
    /// # Errors
    /// Why the list of subordinate uids cannot be read.
    pub fn overlaps(&self) -> Result<Vec<String>, String> {
        let ranges = subordinates(&self.subordinate)?;
        Ok(ranges
            .into_iter()
            .filter(|range| {
                let own = self.uids.iter();
                own.clone().any(|(first, last)| {
                    range.first <= u64::from(*last) && range.end() > u64::from(*first)
                })
            })
            .map(|range| {
                let last = range.end() - 1;
                format!(
                    "uids {} to {last} are subordinate to {}: whoever has one of them is refused",
                    range.first, range.holder
                )
            })
            .collect())
    }
}

fn unreadable(error: nix::errno::Errno) -> NotServed {
    NotServed::Unreadable(error.desc().to_owned())
}

/// A line of `/etc/subuid`: uids that its holder may take on.
struct Range {
    holder: String,
    first: u64,
    count: u64,
}

impl Range {
    fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }

    fn holds(&self, uid: u32) -> bool {
        (self.first..self.end()).contains(&u64::from(uid))
    }
}

fn subordinates(path: &Path) -> Result<Vec<Range>, String> {
    let shown = path.display();
    let bytes = match read_beginning(path, LARGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{shown}: {}", entrar_core::file::reason(&error))),
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            // A line that is not understood may be the one that counts.
            range(line).ok_or_else(|| format!("{shown} has a line that is not understood"))
        })
        .collect()
}

fn range(line: &str) -> Option<Range> {
    let mut parts = line.split(':');
    let (holder, first, count) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(Range {
        holder: holder.to_owned(),
        first: first.parse().ok()?,
        count: count.parse().ok()?,
    })
}

/// Whether uids are what they seem: not where this process sees another set of them than the machine's own.
///
/// # Errors
/// What is wrong.
pub fn check_namespace() -> Result<(), String> {
    let path = Path::new("/proc/self/uid_map");
    let bytes = read_beginning(path, 4 << 10).map_err(|error| {
        format!(
            "{} cannot be read: {}",
            path.display(),
            entrar_core::file::reason(&error)
        )
    })?;
    let text = String::from_utf8_lossy(&bytes);
    if text.split_whitespace().eq(["0", "0", "4294967295"]) {
        return Ok(());
    }
    Err("this process is in a user namespace, where the kernel's uids are not those of the machine: run the hub outside of containers, or without [socket]".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(subordinate: &str) -> (tempfile::TempDir, Rules) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("subuid");
        std::fs::write(&path, subordinate).unwrap();
        let rules = Rules {
            uids: vec![(1, u32::MAX)],
            subordinate: path,
        };
        (directory, rules)
    }

    #[test]
    fn uids_that_name_nobody_are_refused() {
        let (_directory, rules) = rules("");
        assert_eq!(rules.user_of(0), Err(NotServed::Root));
        assert_eq!(rules.user_of(65_534), Err(NotServed::NoUid));
        assert_eq!(rules.user_of(u32::MAX), Err(NotServed::NoUid));
        assert_eq!(rules.user_of(3_999_999_999), Err(NotServed::Nameless));
        assert_eq!(rules.user_of(1), Err(NotServed::System));
        let narrow = Rules::new(vec![(2_005, 2_006), (2_008, 2_008)]);
        for uid in [2_004, 2_007, 2_009] {
            assert_eq!(narrow.user_of(uid), Err(NotServed::OutOfRange), "{uid}");
        }
    }

    #[test]
    fn a_name_leads_to_a_user_who_is_served() {
        let (_directory, rules) = rules("");
        assert_eq!(rules.user_named("daemon"), Err(NotServed::System));
        assert_eq!(rules.user_named("nobody"), Err(NotServed::NoUid));
        assert_eq!(rules.user_named("root"), Err(NotServed::Root));
        assert_eq!(
            rules.user_named("nobody-of-this-name"),
            Err(NotServed::Unknown)
        );
    }

    #[test]
    fn uids_of_a_subordinate_range_are_refused_and_reported() {
        let (_directory, rules) = rules("# c\nalice:100000:65536\n1000:3000000000:1000000000\n");
        assert_eq!(
            rules.user_of(100_000),
            Err(NotServed::Subordinate("alice".to_owned()))
        );
        assert_eq!(
            rules.user_of(165_535),
            Err(NotServed::Subordinate("alice".to_owned()))
        );
        assert_eq!(rules.user_of(165_536), Err(NotServed::Nameless));
        assert_eq!(
            rules.user_of(3_999_999_999),
            Err(NotServed::Subordinate("1000".to_owned()))
        );
        assert_eq!(rules.overlaps().unwrap().len(), 2);
        let elsewhere = Rules {
            uids: vec![(1_000, 99_999), (165_536, 200_000)],
            ..rules
        };
        assert_eq!(elsewhere.overlaps().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_list_that_is_not_understood_lets_nobody_in() {
        for line in ["alice:1", "alice:x:1", "alice:1:2:3"] {
            let (_directory, rules) = rules(line);
            assert!(
                matches!(rules.user_of(1_000), Err(NotServed::Unreadable(_))),
                "{line}"
            );
        }
    }
}
