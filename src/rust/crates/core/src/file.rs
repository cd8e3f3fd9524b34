//! Files that somebody else writes: read in a way that nothing in their place can make us wait.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// At most `largest` bytes from the beginning of a regular file. A pipe in its place could keep us waiting for ever, and
/// a device has no end; what is opened is what is looked at, so that neither can be swapped in meanwhile.
///
/// # Errors
/// The operating system's, and one of its own for anything but a regular file.
pub fn read_beginning(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    // With room for all of it, it comes in one piece: some are read at each request. A byte more shows the end.
    let expected = metadata.len().min(largest);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0).saturating_add(1));
    file.take(largest).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// To open a pipe waits for its other end, unless it is opened like this.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// The operating system's reason without its number.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    #[test]
    fn only_the_beginning_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "abcdef").unwrap();
        assert_eq!(read_beginning(&path, 3).unwrap(), b"abc");
    }

    /// Between a look at what there is and its opening, a file may become a pipe.
    #[test]
    fn a_pipe_that_is_swapped_in_keeps_nobody_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        assert!(made.unwrap().success());
        std::fs::write(at("regular"), "cookie").unwrap();
        let swapping = Arc::new(AtomicBool::new(true));
        let swapper = std::thread::spawn({
            let (swapping, pipe, regular, path) =
                (Arc::clone(&swapping), at("pipe"), at("regular"), at("path"));
            move || {
                while swapping.load(Ordering::Relaxed) {
                    for target in [&regular, &pipe] {
                        let new = path.with_extension("new");
                        std::fs::hard_link(target, &new).unwrap();
                        std::fs::rename(&new, &path).unwrap();
                        // Two links to the same file: rename leaves both.
                        let _ = std::fs::remove_file(&new);
                    }
                }
            }
        });
        let (done, end) = mpsc::channel();
        let path = at("path");
        std::thread::spawn(move || {
            for _ in 0..5_000 {
                if let Ok(bytes) = read_beginning(&path, 100) {
                    assert_eq!(bytes, b"cookie");
                }
            }
            done.send(()).unwrap();
        });
        let ended = end.recv_timeout(Duration::from_secs(60));
        swapping.store(false, Ordering::Relaxed);
        swapper.join().unwrap();
        assert!(ended.is_ok(), "a read waits for the pipe's other end");
    }
}
