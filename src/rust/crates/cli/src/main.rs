//! The `entrar` command: what is for one person.

#[cfg(unix)]
mod agent;
mod child;
mod command_line;
mod demo;
mod emulator;
#[cfg(unix)]
mod policy;
#[cfg(unix)]
mod session_env;
mod setup;
#[cfg(unix)]
mod shell;
mod variables;

use std::process::ExitCode;

fn main() -> ExitCode {
    command_line::run()
}
