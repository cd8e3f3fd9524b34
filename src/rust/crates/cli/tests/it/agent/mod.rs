//! `entrar agent` and `entrar env`, as processes: sign-ins at an emulated tenant, ends of every kind, and strangers.

mod life;
mod place;
mod sign_ins;
mod strangers;
mod tokens;
mod variables;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const BOB: Option<&str> = Some("bob@example.com");

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// The process in a sentence such as "The agent has started (process 7)."
fn pid_in(text: &str) -> u32 {
    let (_, rest) = text.split_once("(process ").unwrap();
    rest.split_once(')').unwrap().0.parse().unwrap()
}

fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // One that nobody has waited for yet is dead all the same.
    status
        .rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
