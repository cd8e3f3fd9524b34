//! The hub as those meet it who use it: people in a browser, their processes, its administrator.

// The helpers below are test code too, which clippy.toml's exceptions do not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod browser;
mod commands;
mod database;
mod doors;
mod faults;
mod launchers;
mod local;
mod machine;
mod operation;
mod pages;
mod pairing;
mod web;
mod whole_way;
