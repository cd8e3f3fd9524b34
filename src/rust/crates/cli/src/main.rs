//! The `entrar` command: what is for one person.

mod agent;
mod child;
mod command_line;
mod demo;
mod emulator;
mod policy;
mod session_env;
mod setup;
mod shell;
mod variables;

use std::process::ExitCode;

fn main() -> ExitCode {
    command_line::run()
}
