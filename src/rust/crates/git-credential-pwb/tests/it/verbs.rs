//! The verbs that ask no server, and words that are not verbs.

use crate::support::{Session, contents, outcome};

const REQUEST: &[u8] =
    b"protocol=https\nhost=dev.azure.com\nusername=contoso\npassword=canary-token\n\n";

#[test]
fn capabilities_are_announced() {
    let expected = outcome(0, "version 0\ncapability state\n", "");
    assert_eq!(Session::nowhere().run(&["capability"], b""), expected);
}

#[test]
fn unknown_words_are_passed_over_in_silence() {
    for word in ["list", "GET", "", "get-all", "approve"] {
        let found = Session::nowhere().run(&[word], REQUEST);
        assert_eq!(found, outcome(0, "", ""), "{word}");
    }
}

#[test]
fn storing_stores_nothing() {
    let session = Session::nowhere();
    assert_eq!(session.run(&["store"], REQUEST), outcome(0, "", ""));
    assert_eq!(contents(session.directory.path()), []);
}

#[test]
fn erasing_remembers_a_time_and_nothing_else() {
    let session = Session::nowhere();
    assert_eq!(session.run(&["erase"], REQUEST), outcome(0, "", ""));
    let files = contents(session.directory.path());
    assert_eq!(files.len(), 1);
    assert!(
        files[0].1.trim_end().parse::<f64>().is_ok(),
        "{}",
        files[0].1
    );
    assert_eq!(session.run(&["store"], REQUEST), outcome(0, "", ""));
    assert_eq!(contents(session.directory.path()), []);
}

#[test]
fn what_is_not_azure_devops_is_not_remembered() {
    let session = Session::nowhere();
    for request in [
        &b"protocol=https\nhost=github.com\npassword=canary-x\n"[..],
        b"protocol=http\nhost=dev.azure.com\n",
        b"",
    ] {
        for verb in ["store", "erase"] {
            assert_eq!(session.run(&[verb], request), outcome(0, "", ""));
        }
    }
    assert_eq!(contents(session.directory.path()), []);
}

// The false git is a script.
#[cfg(unix)]
#[test]
fn get_store_and_erase_start_no_git() {
    let session = Session::nowhere().with("GIT_TERMINAL_PROMPT", "0");
    let fake = session.file("git");
    std::fs::write(&fake, "#!/bin/sh\necho started >> \"$HOME/started\"\n").unwrap();
    std::fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = session.directory.path().to_str().unwrap().to_owned();
    let session = session.with("PATH", &path);
    for verb in ["get", "store", "erase"] {
        session.run(&[verb], REQUEST);
    }
    assert!(!session.file("started").exists());
    // The false git is one that would be found.
    session.run(&["configure", "--project"], b"");
    assert!(session.file("started").exists());
}

#[test]
fn help_and_version_are_printed() {
    let session = Session::nowhere();
    let version = concat!("git-credential-pwb ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(session.run(&["--version"], b""), outcome(0, version, ""));
    let help = session.run(&["--help"], b"");
    assert!(help.stdout.contains("Usage: git-credential-pwb configure"));
    assert_eq!(session.run(&[], b""), outcome(2, "", &help.stdout));
}
