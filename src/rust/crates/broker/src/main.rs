//! The `entrar` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    entrar_broker::cli::run()
}
