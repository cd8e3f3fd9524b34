//! Users of the system, such as those of services: no person logs in as one.

use std::path::Path;

use crate::file::read_beginning;
use crate::private_directory::is_own_uid;

/// Where a machine says which uids are those of system users, and the most that is read of it, in bytes.
const LOGIN_DEFINITIONS: (&str, u64) = ("/etc/login.defs", 64 << 10);
/// The highest uid of system users where the file does not tell.
const USUAL_HIGHEST: u32 = 999;

/// Whether a uid is root's or that of a user of the system.
#[must_use]
pub fn is_of_system(uid: u32) -> bool {
    uid == 0 || uid <= highest_system_uid()
}

/// The same, or this process's own: whom a process may take for a hub.
#[must_use]
pub fn is_of_system_or_own(uid: u32) -> bool {
    is_own_uid(uid) || is_of_system(uid)
}

fn highest_system_uid() -> u32 {
    let (path, most) = LOGIN_DEFINITIONS;
    let bytes = read_beginning(Path::new(path), most).unwrap_or_default();
    highest(&String::from_utf8_lossy(&bytes))
}

/// The highest uid of system users by the text of login.defs(5).
fn highest(definitions: &str) -> u32 {
    let number = |name: &str| {
        let mut lines = definitions.lines().map(str::split_whitespace);
        let mut found =
            lines.find_map(|mut words| (words.next() == Some(name)).then_some(words))?;
        found.next()?.parse::<u32>().ok()
    };
    number("SYS_UID_MAX")
        .or_else(|| number("UID_MIN")?.checked_sub(1))
        .unwrap_or(USUAL_HIGHEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn root_the_systems_users_and_oneself_are_trusted_and_nobody_else() {
        let own_uid = crate::private_directory::own_uid;
        assert!(is_of_system(0) && is_of_system(1) && !is_of_system(59_999));
        assert!(is_of_system_or_own(own_uid()));
        assert!(!is_of_system_or_own(own_uid() + 59_999));
    }

    #[test]
    fn the_machine_says_who_is_a_system_user() {
        for (definitions, expected) in [
            ("", 999),
            ("#SYS_UID_MAX\t\t  999\nUID_MIN\t\t\t 1000\n", 999),
            ("UID_MIN 500\n", 499),
            ("UID_MIN 1000\nSYS_UID_MAX 899 # low\n", 899),
            ("SYS_UID_MAX many\n", 999),
            ("UID_MIN 0\n", 999),
        ] {
            assert_eq!(highest(definitions), expected, "{definitions}");
        }
    }
}
