//! The `git-credential-pwb` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    git_credential_pwb::main()
}
