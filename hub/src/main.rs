//! The command `entrar-hub`.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// What the TLS library would take certificates from behind our back.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

fn main() -> ExitCode {
    // Whom the hub trusts stands in its settings and nowhere else. A process cannot safely change its own environment, so that
    // it takes its own place with another one.
    let is_set = |name: &str| std::env::var_os(name).is_some();
    if CERTIFICATES.iter().any(|name| is_set(name))
        && let Ok(program) = std::env::current_exe()
    {
        let mut command = Command::new(program);
        command.args(std::env::args_os().skip(1));
        for name in CERTIFICATES {
            command.env_remove(name);
        }
        // It only returns if it has failed.
        let error = command.exec();
        let _ = writeln!(
            std::io::stderr(),
            "entrar-hub: it cannot be run without SSL_CERT_FILE: {error}"
        );
        return ExitCode::FAILURE;
    }
    entrar_hub::command_line::run()
}
