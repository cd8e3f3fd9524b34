//! The command, as its users see it: by what it prints, its exit codes, what it leaves behind.

// The helpers below are test code too, which clippy.toml's exceptions do not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

// What other programs see of a process is looked at under /proc.
#[cfg(target_os = "linux")]
mod agent;
#[cfg(windows)]
mod agent_on_windows;
#[cfg(target_os = "linux")]
mod agent_support;
#[cfg(unix)]
mod demo;
#[cfg(unix)]
mod demo_connect;
#[cfg(unix)]
mod emulator;
#[cfg(target_os = "linux")]
mod hub;
