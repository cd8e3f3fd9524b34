//! The helper as git runs it: a process, its stdin, stdout and stderr.

// The helpers below are test code too, which clippy.toml's exceptions do not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod get;
mod report;
mod set_up;
mod support;
mod verbs;
