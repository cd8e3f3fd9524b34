//! The command, as its users see it: by what it prints, its exit codes, what it leaves behind.

// The helpers below are test code too, which clippy.toml's exceptions do not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[cfg(unix)]
mod agent;
#[cfg(unix)]
mod agent_support;
#[cfg(unix)]
mod demo;
#[cfg(unix)]
mod emulator;
