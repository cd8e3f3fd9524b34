//! Where it lives: a directory and a socket that are its owner's alone.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;

use entrar_core::error::Kind;

use super::mode;
use crate::agent_support::{CookieSession, Entra, GRAPH, NOBODY, Place, ended, is_root, stderr};

#[test]
fn a_directory_that_is_not_the_owners_alone_is_refused_and_left_as_it_is() {
    let place = Place::new();
    let path = place.path();
    let shown = path.display();
    let refused = |what: &str, remedy: &str| {
        for words in [["agent", "start"], ["agent", "run"], ["agent", "status"]] {
            let said = place.fails(&words);
            assert!(said.contains(&format!("{shown} {what}")), "{said}");
            assert!(said.contains(remedy), "{said}");
        }
    };
    let remove =
        format!("Have {shown} removed, or set ENTRAR_RUNTIME_DIR to a directory of this machine");

    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    refused(
        "can be entered by others (its mode is 0755)",
        &format!("Close it to others: chmod 700 {shown}."),
    );
    assert_eq!(mode(&path), 0o755);
    assert!(place.files().is_empty());

    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    if is_root() {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        refused("belongs to another user, of uid 65534", &remove);
        assert_eq!(fs::metadata(&path).unwrap().uid(), NOBODY);
        assert!(place.files().is_empty());
        chown(&path, Some(0), Some(0)).unwrap();
    }

    let elsewhere = place.base().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    refused("is a link", &remove);
    assert_eq!(fs::read_link(&path).unwrap(), elsewhere);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);

    fs::remove_file(&path).unwrap();
    fs::write(&path, "somebody's").unwrap();
    refused("is not a directory", &remove);
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
}

#[test]
fn a_place_that_cannot_be_had_is_named() {
    let place = Place::named("missing/entrar");
    let said = place.fails(&["agent", "start"]);
    let expected = format!(
        "entrar: the agent cannot be started: the directory of your agent is not used: {} cannot be made (",
        place.path().display()
    );
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains("Set ENTRAR_RUNTIME_DIR to "), "{said}");

    // Longer than the address of a socket may be.
    let place = Place::named(&"x".repeat(120));
    let said = place.fails(&["agent", "start"]);
    let expected = format!(
        "entrar: the agent cannot be started: the agent cannot use {}: the path is too long for a socket. Set ENTRAR_RUNTIME_DIR to ",
        place.socket().display()
    );
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn a_disk_that_is_full_or_cannot_be_written_is_said_at_the_start() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.path()).unwrap();
    // Room for what is written at the start; for the files, but not for what is in them; for no file at all; for nothing.
    for (options, is_full, words) in [
        ("size=64k", false, None),
        (
            "size=4k",
            true,
            Some("No space left on device. Make room there."),
        ),
        (
            "nr_inodes=1",
            false,
            Some("No space left on device. Make room there."),
        ),
        (
            "ro",
            false,
            Some("Read-only file system. Set ENTRAR_RUNTIME_DIR to "),
        ),
    ] {
        let script = format!(
            "mount -t tmpfs -o mode=0700,{options} tmpfs \"$ENTRAR_RUNTIME_DIR\" || exit 9
            if {is_full}; then head -c 4096 /dev/zero >\"$ENTRAR_RUNTIME_DIR/full\" || exit 9; fi
            \"$0\" agent start || exit
            \"$0\" agent stop"
        );
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, env!("CARGO_BIN_EXE_entrar")]);
        place.furnish(&mut command);
        let output = ended(command.spawn().unwrap());
        let Some(words) = words else {
            assert!(output.status.success(), "{}", stderr(&output));
            continue;
        };
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let expected = format!(
            "entrar: the agent cannot be started: the agent cannot use {}",
            place.path().display()
        );
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn what_it_makes_is_its_owners_alone() {
    let (place, entra) = (Place::new(), Entra::new());
    let mut command = std::process::Command::new("sh");
    // Whatever its starter's mask is.
    command.args(["-c", "umask 0; exec \"$0\" agent start"]);
    command.arg(env!("CARGO_BIN_EXE_entrar"));
    place.furnish(&mut command);
    assert!(ended(command.spawn().unwrap()).status.success());
    place.sign_ada_in(&entra);
    let session = CookieSession::open(&place);
    assert_eq!(session.directory, place.path().join("session"));
    for (name, expected) in [
        ("", 0o700),
        ("agent.lock", 0o600),
        ("agent.sock", 0o700),
        ("sign-in", 0o600),
        ("session", 0o700),
        ("session/rpc_cookie", 0o600),
    ] {
        let path = place.path().join(name);
        assert_eq!(mode(&path), expected, "{name}");
    }
    assert_eq!(place.files().len(), 4);
    assert_eq!(fs::read_dir(&session.directory).unwrap().count(), 1);
}

#[test]
fn a_socket_of_somebody_else_is_not_spoken_to() {
    let place = Place::new();
    fs::create_dir(place.path()).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let shown = place.socket().display().to_string();
    if is_root() {
        let listener = UnixListener::bind(place.socket()).unwrap();
        listener.set_nonblocking(true).unwrap();
        chown(place.socket(), Some(NOBODY), None).unwrap();
        let expected = format!(
            "entrar: the socket of your agent is not used: {shown} belongs to another user, of uid 65534. Remove {shown}.\n"
        );
        assert_eq!(place.fails(&["agent", "status"]), expected);
        assert_eq!(place.fails(&["env"]), expected);
        let error = place.token(GRAPH).unwrap_err();
        assert_eq!(error.kind(), Kind::NoSession);
        assert_eq!(
            listener.accept().unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock
        );
        fs::remove_file(place.socket()).unwrap();
    }
    fs::write(place.socket(), "").unwrap();
    assert_eq!(
        place.fails(&["agent", "status"]),
        format!(
            "entrar: the socket of your agent is not used: {shown} is not a socket. Remove {shown}.\n"
        )
    );
    // Only who may write in the directory can have put it there: its owner.
    let _agent = place.agent();
    assert_eq!(place.account(), None);
}
