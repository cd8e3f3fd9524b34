//! What other people's clients are told.

use std::collections::HashMap;

use crate::agent_support::{CookieSession, Entra, Place, ended, stderr, stdout};

/// The variables that a shell has once it has evaluated what `entrar env` prints.
fn variables_in(place: &Place, shell: &str, script: &str) -> HashMap<String, String> {
    let mut command = std::process::Command::new(shell);
    command.args(["-c", script]);
    place.furnish(&mut command);
    command
        .env("ENTRAR", env!("CARGO_BIN_EXE_entrar"))
        .env("RS_SESSION_RPC_COOKIE", "another session's")
        .env("RSTUDIO_VERSION", "2021.09.0");
    let output = ended(command.spawn().unwrap());
    assert!(output.status.success(), "{shell}: {}", stderr(&output));
    assert_eq!(stderr(&output), "", "{shell}");
    stdout(&output)
        .split_terminator('\0')
        .map(|variable| {
            let (name, value) = variable.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

#[test]
fn shells_get_the_variables_back_exactly_whatever_the_directory_is_called() {
    let entra = Entra::new();
    let shells = [
        ("sh", r#"eval "$("$ENTRAR" env --shell sh)"; env -0"#),
        ("bash", r#"eval "$("$ENTRAR" env --shell sh)"; env -0"#),
        ("fish", r#"$ENTRAR env --shell fish | source; env -0"#),
    ];
    let is_installed = |shell: &str| {
        let mut command = std::process::Command::new(shell);
        command.args(["-c", "exit"]).output().is_ok()
    };
    let shells: Vec<_> = shells
        .into_iter()
        .filter(|(shell, _)| is_installed(shell))
        .collect();
    assert!(!shells.is_empty());
    for name in [
        "two words",
        "it's \"quoted\"",
        "$HOME `id` $(touch pwned) ${x}",
        "new\nline\n",
        "back\\slash\\",
        "; exit 7 #",
        "-n *?[a] ~ %s é",
    ] {
        let place = Place::named(name);
        let _agent = place.agent();
        place.sign_ada_in(&entra);
        let directory = place.path().join("session");
        for (shell, script) in &shells {
            let variables = variables_in(&place, shell, script);
            let value = |name: &str| variables.get(name).map(String::as_str);
            assert_eq!(
                value("PWB_SESSION_RUNTIME_DIR"),
                directory.to_str(),
                "{shell}"
            );
            assert_eq!(value("ENTRAR_ORIGIN"), Some("agent"));
            assert_eq!(value("RS_SESSION_RPC_COOKIE"), None, "{shell}");
            assert_eq!(value("RSTUDIO_VERSION"), None, "{shell}");
            let session = CookieSession::open(&place);
            assert_eq!(
                value("RS_SERVER_ADDRESS"),
                Some(&*format!("http://{}", session.host))
            );
        }
    }
}

#[test]
fn the_cookie_is_in_the_environment_only_when_it_is_asked_for() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    let said = place.fails(&["env"]);
    assert_eq!(
        said,
        "entrar: nobody is signed in. Call azure_sign_in() in R first.\n"
    );
    place.sign_ada_in(&entra);
    let usual = place.succeeds(&["env", "--shell", "sh"]);
    let session = CookieSession::open(&place);
    let host = &session.host;
    assert!(usual.contains(&format!("export RS_SERVER_ADDRESS='http://{host}';\n")));
    assert!(usual.contains("unset RS_SESSION_RPC_COOKIE;\n"), "{usual}");
    assert!(!usual.contains('|'), "{usual}");
    let script = r#"eval "$("$ENTRAR" env --inline --shell sh)"; env -0"#;
    let inline = variables_in(&place, "sh", script);
    assert_eq!(session.status(&inline["RS_SESSION_RPC_COOKIE"]), 200);
}
