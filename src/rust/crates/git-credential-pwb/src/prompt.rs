//! Whether git, left without an answer, would wait for an input that nobody is there to give.
//!
//! git asks a person by the program of an `ASKPASS` variable, else on the controlling terminal, else it gives
//! up by itself.

use std::io::IsTerminal;

use entrar_core::env::Env;

/// Where this process stands.
pub(crate) struct Surroundings {
    /// Whether there is a controlling terminal.
    pub(crate) terminal: bool,
    /// Whether stderr, which is git's, leads to a terminal.
    pub(crate) stderr_is_terminal: bool,
}

impl Surroundings {
    pub(crate) fn of_this_process() -> Self {
        Self {
            // git asks there, whatever stdin is.
            terminal: cfg!(not(unix)) || std::fs::File::open("/dev/tty").is_ok(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
        }
    }
}

/// Whether a prompt would hang a script: git can ask on a terminal, but its messages go elsewhere or it runs
/// under continuous integration.
pub(crate) fn would_hang(env: &Env, surroundings: &Surroundings) -> bool {
    let asks_in_a_window = ["GIT_ASKPASS", "SSH_ASKPASS"]
        .iter()
        .any(|name| env.var(name).is_some());
    let asks_nobody = env
        .var("GIT_TERMINAL_PROMPT")
        .is_some_and(|value| is_false(&value));
    let unattended =
        !surroundings.stderr_is_terminal || env.var("CI").is_some_and(|value| !is_false(&value));
    surroundings.terminal && !asks_in_a_window && !asks_nobody && unattended
}

/// As git reads a boolean.
fn is_false(value: &str) -> bool {
    ["0", "false", "no", "off"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hangs(terminal: bool, stderr_is_terminal: bool, variables: &[(&str, &str)]) -> bool {
        let surroundings = Surroundings {
            terminal,
            stderr_is_terminal,
        };
        would_hang(&Env::fixed(variables, 0.0), &surroundings)
    }

    #[test]
    fn a_person_at_a_terminal_or_a_window_may_be_asked() {
        assert!(!hangs(true, true, &[]));
        assert!(!hangs(true, true, &[("CI", "false")]));
        for name in ["GIT_ASKPASS", "SSH_ASKPASS"] {
            assert!(!hangs(true, false, &[(name, "ask")]), "{name}");
        }
    }

    #[test]
    fn a_script_with_a_terminal_that_nobody_watches_would_hang() {
        assert!(hangs(true, false, &[]));
        assert!(hangs(true, true, &[("CI", "true")]));
        assert!(hangs(true, false, &[("GIT_TERMINAL_PROMPT", "1")]));
    }

    #[test]
    fn where_git_asks_nobody_it_ends_by_itself() {
        assert!(!hangs(false, false, &[]));
        for no in ["0", "False", "no", "off"] {
            assert!(!hangs(true, false, &[("GIT_TERMINAL_PROMPT", no)]), "{no}");
        }
    }
}
