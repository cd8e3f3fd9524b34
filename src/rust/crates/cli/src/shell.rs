//! Variables as the commands of a shell that set them.

use std::fmt::Write as _;

/// A shell whose commands are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    /// sh, bash, zsh, dash, ksh
    Sh,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
}

impl Shell {
    /// The shell at this path, as the variable SHELL has it; [`Shell::Sh`] for any that is not known.
    pub(crate) fn at(path: Option<&str>) -> Self {
        let name = path.and_then(|path| path.rsplit(['/', '\\']).next());
        match name.map(|name| name.trim_end_matches(".exe")) {
            Some("fish") => Self::Fish,
            Some("pwsh" | "powershell") => Self::Powershell,
            _ if cfg!(windows) => Self::Powershell,
            _ => Self::Sh,
        }
    }

    /// The commands that set these variables; one without a value is unset.
    pub(crate) fn commands(self, variables: &[(String, Option<String>)]) -> String {
        let mut commands = String::new();
        for (name, value) in variables {
            // Writing to a string cannot fail.
            let _ = match (self, value.as_deref().map(|value| self.quoted(value))) {
                (Self::Sh, Some(value)) => writeln!(commands, "export {name}={value};"),
                (Self::Sh, None) => writeln!(commands, "unset {name};"),
                (Self::Fish, Some(value)) => writeln!(commands, "set -gx {name} {value};"),
                (Self::Fish, None) => writeln!(commands, "set -e {name};"),
                (Self::Powershell, Some(value)) => writeln!(commands, "$env:{name} = {value};"),
                (Self::Powershell, None) => writeln!(
                    commands,
                    "Remove-Item Env:{name} -ErrorAction SilentlyContinue;"
                ),
            };
        }
        commands
    }

    /// A word in which the shell finds nothing to expand.
    fn quoted(self, value: &str) -> String {
        let mut quoted = String::from("'");
        for c in value.chars() {
            match (self, c) {
                (Self::Sh, '\'') => quoted.push_str("'\\''"),
                (Self::Fish, '\'' | '\\') => {
                    quoted.push('\\');
                    quoted.push(c);
                }
                // PowerShell takes four other characters for a quotation mark as well.
                (Self::Powershell, '\'' | '\u{2018}'..='\u{201b}') => {
                    quoted.push(c);
                    quoted.push(c);
                }
                _ => quoted.push(c),
            }
        }
        quoted.push('\'');
        quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use std::process::Command;

    #[cfg(unix)]
    const HOSTILE: &[&str] = &[
        "plain",
        "",
        "two words",
        "it's",
        "$HOME `id` $(id) \"x\"",
        "back\\slash\\",
        "new\nline",
        "; rm -rf x #",
        "a\\'b",
        "\u{2019}; id \u{2018}",
    ];

    fn variables(value: &str) -> Vec<(String, Option<String>)> {
        vec![
            ("ENTRAR_TEST".to_owned(), Some(value.to_owned())),
            ("ENTRAR_GONE".to_owned(), None),
        ]
    }

    /// What a shell has in the variables once it has run the commands.
    #[cfg(unix)]
    fn seen_by(program: &str, shell: Shell, value: &str) -> String {
        let print = match shell {
            Shell::Sh => "printf '%s' \"$ENTRAR_TEST|${ENTRAR_GONE-unset}\"",
            _ => {
                "printf '%s|%s' \"$ENTRAR_TEST\" (set -q ENTRAR_GONE; and echo set; or echo unset)"
            }
        };
        let output = Command::new(program)
            .args(["-c", &(shell.commands(&variables(value)) + print)])
            .env("ENTRAR_GONE", "still there")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[cfg(unix)]
    fn is_installed(program: &str) -> bool {
        Command::new(program).arg("-c").arg("exit").output().is_ok()
    }

    #[cfg(unix)]
    #[test]
    fn shells_read_back_every_value_as_it_is() {
        let shells = [
            ("sh", Shell::Sh),
            ("bash", Shell::Sh),
            ("zsh", Shell::Sh),
            ("fish", Shell::Fish),
        ];
        let mut tried = 0;
        for (program, shell) in shells {
            if !is_installed(program) {
                continue;
            }
            tried += 1;
            for value in HOSTILE {
                assert_eq!(
                    seen_by(program, shell, value),
                    format!("{value}|unset"),
                    "{program}"
                );
            }
        }
        assert!(tried > 0);
    }

    #[test]
    fn powershell_doubles_its_quotation_marks() {
        let commands = Shell::Powershell.commands(&variables("it's \u{2019}$x"));
        assert_eq!(
            commands,
            "$env:ENTRAR_TEST = 'it''s \u{2019}\u{2019}$x';\n\
             Remove-Item Env:ENTRAR_GONE -ErrorAction SilentlyContinue;\n"
        );
    }

    #[test]
    fn a_shell_is_known_by_its_path() {
        assert_eq!(Shell::at(Some("/usr/bin/fish")), Shell::Fish);
        assert_eq!(Shell::at(Some("/usr/bin/pwsh")), Shell::Powershell);
        if !cfg!(windows) {
            assert_eq!(Shell::at(Some("/bin/zsh")), Shell::Sh);
            assert_eq!(Shell::at(None), Shell::Sh);
        }
    }
}
