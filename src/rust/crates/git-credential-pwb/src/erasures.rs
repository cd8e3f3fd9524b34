//! Remembers refusals: git-lfs up to 3.7.1 asks again without end where its credential is refused, and every answer here is
//! a fresh token that looks as if it could help.
//!
//! `erase` says that an answer was refused, `store` that one was accepted. A file for each host, organisation
//! and account holds the times of the refusals since, and nothing else: no token, no name.

use std::fs::OpenOptions;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::PathBuf;

use entrar_core::file::read_beginning;
use entrar_core::time::UnixTime;

use crate::place::Place;
use crate::runtime_directory::open;

/// How many refusals end the asking ...
const TOO_MANY: usize = 2;
/// ... and within how many seconds. It ends for as long.
const WINDOW: f64 = 60.0;
/// The most that is read, in bytes: more than a minute's refusals.
const LARGEST: u64 = 64 << 10;

/// The refusals at one place.
pub(crate) struct Erasures(Option<PathBuf>);

impl Erasures {
    /// `directory` is where to remember; without one, nothing is.
    pub(crate) fn of(place: &Place, directory: Option<PathBuf>) -> Self {
        // A name may be too long for a file's, or be a secret that stands in its place.
        let mut hasher = DefaultHasher::new();
        (place.host(), place.organisation(), place.account()).hash(&mut hasher);
        Self(directory.map(|directory| directory.join(format!("{:016x}", hasher.finish()))))
    }

    /// Remembers a refusal. Where that fails, git-lfs goes on as if there were no memory.
    pub(crate) fn add(&self, now: UnixTime) {
        let Some(path) = &self.0 else { return };
        let goes_on = self.recent(now) > 0;
        let mut options = OpenOptions::new();
        // Several helpers may append at once; old times are forgotten.
        options.create(true).append(goes_on).write(true);
        options.truncate(!goes_on);
        if let Ok(mut file) = open(path, options) {
            let _ = file.write_all(format!("{:.3}\n", now.seconds()).as_bytes());
        }
    }

    /// Forgets the refusals, since an answer was accepted.
    pub(crate) fn clear(&self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Whether to stop answering.
    pub(crate) fn are_too_many(&self, now: UnixTime) -> bool {
        self.recent(now) >= TOO_MANY
    }

    fn recent(&self, now: UnixTime) -> usize {
        let bytes = self
            .0
            .as_ref()
            .and_then(|path| read_beginning(path, LARGEST).ok())
            .unwrap_or_default();
        String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(|line| line.parse::<f64>().ok())
            .filter(|time| (0.0..WINDOW).contains(&(now.seconds() - time)))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Request;
    use std::path::Path;

    fn erasures(directory: &Path, path: &str, username: &str) -> Erasures {
        let place = Place::of(&Request {
            protocol: Some("https".into()),
            host: Some("dev.azure.com".into()),
            path: Some(path.into()),
            username: Some(username.into()),
            ..Request::default()
        });
        Erasures::of(&place.unwrap(), Some(directory.to_owned()))
    }

    #[test]
    fn the_second_refusal_within_a_minute_is_one_too_many() {
        let directory = tempfile::tempdir().unwrap();
        let erasures = erasures(directory.path(), "contoso/p", "");
        assert!(!erasures.are_too_many(UnixTime::new(1_000.0)));
        erasures.add(UnixTime::new(1_000.0));
        assert!(!erasures.are_too_many(UnixTime::new(1_000.0)));
        erasures.add(UnixTime::new(1_000.5));
        assert!(erasures.are_too_many(UnixTime::new(1_000.5)));
        assert!(erasures.are_too_many(UnixTime::new(1_059.9)));
        assert!(!erasures.are_too_many(UnixTime::new(1_060.0)));
    }

    #[test]
    fn refusals_far_apart_are_no_loop_and_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let erasures = erasures(directory.path(), "contoso/p", "");
        for time in [1_000.0, 1_060.0, 1_120.0] {
            erasures.add(UnixTime::new(time));
            assert!(!erasures.are_too_many(UnixTime::new(time)));
        }
        let text = std::fs::read_to_string(erasures.0.unwrap()).unwrap();
        assert_eq!(text, "1120.000\n");
    }

    #[test]
    fn an_accepted_answer_clears_the_memory() {
        let directory = tempfile::tempdir().unwrap();
        let erasures = erasures(directory.path(), "contoso/p", "");
        erasures.add(UnixTime::new(1_000.0));
        erasures.add(UnixTime::new(1_000.0));
        erasures.clear();
        assert!(!erasures.are_too_many(UnixTime::new(1_000.0)));
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
        erasures.clear();
    }

    #[test]
    fn each_organisation_and_account_has_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let one = erasures(directory.path(), "contoso/p", "");
        one.add(UnixTime::new(1_000.0));
        one.add(UnixTime::new(1_000.0));
        assert!(
            erasures(directory.path(), "contoso/other", "").are_too_many(UnixTime::new(1_000.0))
        );
        assert!(!erasures(directory.path(), "fabrikam/p", "").are_too_many(UnixTime::new(1_000.0)));
        assert!(
            !erasures(directory.path(), "contoso/p", "ada").are_too_many(UnixTime::new(1_000.0))
        );
    }

    #[test]
    fn what_is_remembered_holds_no_name_and_is_the_owners() {
        let directory = tempfile::tempdir().unwrap();
        erasures(directory.path(), "contoso/p", "canary-pat").add(UnixTime::new(1_000.0));
        let file = directory
            .path()
            .read_dir()
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(file.file_name().len(), 16);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "1000.000\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
        }
    }

    #[test]
    fn nonsense_in_the_file_and_no_directory_at_all_do_no_harm() {
        let directory = tempfile::tempdir().unwrap();
        let erasures = erasures(directory.path(), "contoso/p", "");
        std::fs::write(erasures.0.as_ref().unwrap(), b"NaN\n\xff\n1e999\n").unwrap();
        assert!(!erasures.are_too_many(UnixTime::new(1_000.0)));
        let nowhere = Erasures(None);
        nowhere.add(UnixTime::new(1.0));
        nowhere.clear();
        assert!(!nowhere.are_too_many(UnixTime::new(1.0)));
    }
}
