//! The agent as a process: how it leaves the one that starts it, and how it keeps other programs of the same person from
//! reading its memory.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the agent writes to its starter once it can be asked.
pub(super) const READY: &str = "ready";
/// What it writes when another agent of this person runs.
pub(super) const RUNNING: &str = "running";

/// How long an agent may take to start, on a machine that is slow and busy.
const LONGEST_START: Duration = Duration::from_secs(30);

/// The variables that an agent gets from whoever starts it. It outlives that process, and is not to depend on what else
/// happens to be set there.
const ALLOWED: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "PATH",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "TZ",
    "XDG_RUNTIME_DIR",
    "ENTRAR_RUNTIME_DIR",
    "ENTRAR_LOG",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    // What a program needs on Windows.
    "SYSTEMROOT",
    "USERPROFILE",
    "LOCALAPPDATA",
    "TEMP",
    "TMP",
];

/// What became of a start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Started {
    /// The new agent can be asked.
    Ready,
    /// Another one runs already.
    Running,
}

/// Starts an agent that outlives this process, with the arguments of `entrar agent run`, and waits until it can be asked.
///
/// # Errors
/// What the agent wrote before it ended.
pub(super) fn start(arguments: &[String]) -> io::Result<Started> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["agent", "run", "--detached"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env_clear()
        .current_dir(root());
    for name in ALLOWED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    #[cfg(unix)]
    keep_files();
    let mut child = command.spawn()?;
    let (said, errors) = (child.stdout.take(), child.stderr.take());
    let (sender, receiver) = std::sync::mpsc::channel();
    // A thread of its own, since a pipe can be waited for, but not for so long and no longer.
    std::thread::spawn(move || {
        let mut line = String::new();
        if let Some(said) = said {
            let _ = BufReader::new(said).read_line(&mut line);
        }
        let _ = sender.send(line);
    });
    match receiver.recv_timeout(LONGEST_START).as_deref() {
        Ok(line) if line.trim_end() == READY => Ok(Started::Ready),
        Ok(line) if line.trim_end() == RUNNING => Ok(Started::Running),
        Ok(_) => {
            let mut text = String::new();
            if let Some(errors) = errors {
                let _ = errors.take(16 * 1024).read_to_string(&mut text);
            }
            let _ = child.wait();
            let text = text.trim().trim_start_matches("entrar: ");
            Err(io::Error::other(if text.is_empty() {
                "it ended without a word"
            } else {
                text
            }))
        }
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            let seconds = LONGEST_START.as_secs();
            Err(io::Error::other(format!(
                "it could not be asked after {seconds} seconds"
            )))
        }
    }
}

/// Keeps from the agent what this process was given open beside its three streams. Whoever waits for the end of such a
/// file, a test runner for one, would wait for the agent's.
#[cfg(unix)]
#[allow(
    unsafe_code,
    reason = "nothing else marks a file that this process knows by its number alone"
)]
fn keep_files() {
    // Where the system does not list them, the agent gets them.
    let files = std::fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    for number in files.filter_map(|file| file.file_name().to_str()?.parse().ok()) {
        if number > 2 {
            // SAFETY: no memory is involved, and the file stays open here: it is only marked to be closed in a program
            // that this process becomes or starts. One that is closed already is an error without effect.
            let _ = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// A directory that no agent keeps from being unmounted.
fn root() -> &'static str {
    if cfg!(windows) { "C:\\" } else { "/" }
}

/// Leaves the session and the terminal of whoever started this process, so that their end is not this one's.
///
/// # Errors
/// When the system refuses.
#[cfg(unix)]
pub(super) fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Tells the starter how it went, and writes nothing to it from then on.
///
/// # Errors
/// When nobody can be told any more.
#[cfg(unix)]
pub(super) fn tell_starter(word: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut output = io::stdout();
    writeln!(output, "{word}")?;
    output.flush()?;
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    Ok(())
}

/// Keeps the memory of this process from other programs of the same person and from core dumps. On Linux it cannot be
/// traced, and its files under `/proc` belong to root; elsewhere only core dumps are off.
///
/// # Errors
/// When the system refuses.
#[cfg(unix)]
pub(super) fn harden() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, nothing)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    // Files and sockets are the owner's alone, whatever the starter's mask was.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    Ok(())
}
