//! The hub, tested as people, their processes and its administrator meet it.

// The helpers below are test code too, which clippy.toml's exceptions do not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod browser;
mod local;
mod machine;
mod web;
mod whole_way;
