//! The command `entrar-hub`.

use std::process::ExitCode;

fn main() -> ExitCode {
    entrar_hub::command_line::run()
}
