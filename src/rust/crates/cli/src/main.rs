//! The `entrar` command: what is for one person.

mod child;
mod command_line;
mod demo;
mod emulator;
mod variables;

use std::process::ExitCode;

fn main() -> ExitCode {
    command_line::run()
}
