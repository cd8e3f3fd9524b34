//! The agent's start as a process of its own.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::system::{ROOT, spawn};

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
        .current_dir(ROOT);
    for name in ALLOWED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let mut child = spawn(&mut command)?;
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
