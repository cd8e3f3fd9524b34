//! `entrar agent` and `entrar env`, as processes: sign-ins at an emulated tenant, ends of every kind, and strangers.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use entra_emulator::User;
use entrar_core::agent::Progress;
use entrar_core::error::Kind;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::agent_support::{
    CookieSession, Entra, GRAPH, LONGEST, NOBODY, Place, STORAGE, again_as_nobody, by_nobody,
    cookie_line, ended, is_root, post, raw, stderr, stdout, until,
};

const BOB: Option<&str> = Some("bob@example.com");

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// The process in a sentence such as "The agent has started (process 7)."
fn pid_in(text: &str) -> u32 {
    let (_, rest) = text.split_once("(process ").unwrap();
    rest.split_once(')').unwrap().0.parse().unwrap()
}

fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // One that nobody has waited for yet is dead all the same.
    status
        .rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

// Its life.

#[test]
fn a_person_signs_in_once_and_every_process_gets_tokens_until_they_sign_out() {
    let (place, entra) = (Place::new(), Entra::new());
    let pid = pid_in(&place.succeeds(&["agent", "start"]));
    assert_eq!(place.token(GRAPH).unwrap_err().kind(), Kind::SignInRequired);
    let before = place.mark();
    place.sign_ada_in(&entra);
    assert_ne!(place.mark(), before);
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
    // Each call is an exchange of its own.
    assert_ne!(place.token(GRAPH).unwrap(), place.token(GRAPH).unwrap());
    let status = place.succeeds(&["agent", "status"]);
    assert!(
        status.contains(&format!("agent:     process {pid}, version ")),
        "{status}"
    );
    assert!(
        status.contains("signed in: ada@example.com, tenant "),
        "{status}"
    );

    let session = CookieSession::open(&place);
    let cookie = session.cookie();
    assert_eq!(session.status(&cookie), 200);
    let during = place.mark();
    let account = place.ask("sign_out", json!({})).unwrap();
    assert_eq!(account["username"], "ada@example.com");
    // Nobody finds it from the moment of its answer.
    assert_eq!(place.ask_kind("account"), Kind::NoSession);
    until("the agent has ended", || !is_alive(pid));
    assert_ne!(place.mark(), during);
    assert_eq!(place.files(), ["agent.lock", "sign-in"]);
    for words in [["agent", "status"], ["agent", "stop"]] {
        let output = place.run(&words);
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(
            stderr(&output),
            "entrar: no agent of yours runs; `entrar agent start` starts one\n"
        );
    }
}

#[test]
fn two_starts_at_once_leave_one_agent() {
    let place = Place::new();
    for round in 0..3 {
        let starts: Vec<_> = (0..4)
            .map(|_| place.command(&["agent", "start"]).spawn().unwrap())
            .collect();
        let mut said = Vec::new();
        for start in starts {
            let output = ended(start);
            assert!(output.status.success(), "{round}: {}", stderr(&output));
            said.push(stdout(&output).to_owned());
        }
        let pids: Vec<u32> = said.iter().map(|text| pid_in(text)).collect();
        assert!(pids.iter().all(|pid| Some(*pid) == place.pid()), "{said:?}");
        let started = said.iter().filter(|text| text.contains("has started"));
        assert_eq!(started.count(), 1, "{said:?}");
        let running = said.iter().filter(|text| text.contains("runs already"));
        assert_eq!(running.count(), 3, "{said:?}");
        let again = place.fails(&["agent", "run"]);
        assert_eq!(
            again,
            "entrar: another agent of yours runs already; `entrar agent stop` ends it\n"
        );
        // The next start does not take the one that is about to end for one that runs.
        place.succeeds(&["agent", "stop"]);
    }
}

#[test]
fn it_outlives_whoever_started_it_and_keeps_nothing_of_theirs_open() {
    let place = Place::new();
    let mut command = std::process::Command::new("sh");
    // As programs do that give files to their children: a test runner, make.
    command.args(["-c", "exec 9>&1; \"$0\" agent start; kill -9 0"]);
    command.arg(env!("CARGO_BIN_EXE_entrar"));
    place.furnish(&mut command);
    let mut child = command.process_group(0).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        sender.send(text).unwrap();
    });
    let text = receiver
        .recv_timeout(LONGEST)
        .expect("its output has no end");
    assert!(child.wait().unwrap().code().is_none());
    assert_eq!(place.pid(), Some(pid_in(&text)));
    if is_root() {
        let cwd = fs::read_link(format!("/proc/{}/cwd", pid_in(&text)));
        assert_eq!(cwd.unwrap(), Path::new("/"));
    }
}

#[test]
fn a_start_waits_for_one_that_is_about_to_end() {
    let (place, entra) = (Place::new(), Entra::new());
    let agent = place.agent();
    place.sign_ada_in(&entra);
    entra.close();
    thread::scope(|scope| {
        let asking = scope.spawn(|| place.token(GRAPH));
        entra.wait_for_visitor();
        // It ends once the exchange is over, and listens to nobody from now on.
        place.succeeds(&["agent", "stop"]);
        assert!(!place.socket().exists());
        let start = place.command(&["agent", "start"]).spawn().unwrap();
        assert!(is_alive(agent.pid()));
        // Long enough for it to find the place taken, as a rule.
        thread::sleep(Duration::from_millis(300));
        entra.open();
        asking.join().unwrap().unwrap();
        let output = ended(start);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stdout(&output).contains("has started"));
    });
    assert_eq!(agent.end().code(), Some(0));
    assert_eq!(place.account(), None);
}

#[test]
fn a_start_right_after_a_sign_out_is_a_new_agent() {
    let (place, entra) = (Place::new(), Entra::new());
    for _ in 0..3 {
        let pid = pid_in(&place.succeeds(&["agent", "start"]));
        place.sign_ada_in(&entra);
        place.ask("sign_out", json!({})).unwrap();
        let next = place.succeeds(&["agent", "start"]);
        assert!(next.contains("has started"), "{next}");
        assert_ne!(pid_in(&next), pid);
        assert_eq!(place.account(), None);
        place.succeeds(&["agent", "stop"]);
    }
}

#[test]
fn after_a_kill_the_next_start_works_and_nobody_is_signed_in() {
    let (place, entra) = (Place::new(), Entra::new());
    let agent = place.agent();
    place.sign_ada_in(&entra);
    let session = CookieSession::open(&place);
    let (cookie, mark) = (session.cookie(), place.mark());
    agent.kill();
    // It could not tidy up.
    assert!(place.socket().exists() && session.directory.exists());
    assert_eq!(place.token(GRAPH).unwrap_err().kind(), Kind::NoSession);
    assert_eq!(place.run(&["agent", "status"]).status.code(), Some(3));

    place.succeeds(&["agent", "start"]);
    assert_ne!(place.mark(), mark);
    assert_eq!(place.account(), None);
    assert_eq!(place.token(GRAPH).unwrap_err().kind(), Kind::SignInRequired);
    // Whoever took over the port before is not sent the cookie of the dead one.
    assert_eq!(place.files(), ["agent.lock", "agent.sock", "sign-in"]);
    place.sign_ada_in(&entra);
    let session = CookieSession::open(&place);
    assert_eq!(session.status(&cookie), 401);
    assert_eq!(session.status(&session.cookie()), 200);
}

#[test]
fn a_kill_during_a_sign_in_is_an_error_of_a_kind_for_who_waits() {
    let (place, entra) = (Place::new(), Entra::new());
    let agent = place.agent();
    let attempt = place.begin(&entra, None);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| place.progress(&attempt));
        // It is in the request, or about to send it: both must end.
        thread::sleep(Duration::from_millis(50));
        agent.kill();
        let error = waiting.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::NoSession, "{error}");
    });
    let _next = place.agent();
    let error = place.progress(&attempt).unwrap_err();
    assert_eq!(error.kind(), Kind::SignInRequired);
    assert_eq!(
        error.message(),
        "this sign-in has ended, or another one has begun since"
    );
}

#[test]
fn a_stop_during_a_sign_in_is_told_to_who_waits() {
    let (place, entra) = (Place::new(), Entra::new());
    let agent = place.agent();
    let attempt = place.begin(&entra, None);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| place.progress(&attempt));
        place.succeeds(&["agent", "stop"]);
        let error = waiting.join().unwrap().unwrap_err();
        assert!(
            matches!(error.kind(), Kind::SignInRequired | Kind::NoSession),
            "{error}"
        );
    });
    assert_eq!(agent.end().code(), Some(0));
}

#[test]
fn a_kill_during_an_exchange_is_an_error_of_a_kind() {
    let (place, entra) = (Place::new(), Entra::new());
    let agent = place.agent();
    place.sign_ada_in(&entra);
    entra.close();
    thread::scope(|scope| {
        let asking = scope.spawn(|| place.token(GRAPH));
        entra.wait_for_visitor();
        agent.kill();
        let error = asking.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::NoSession, "{error}");
    });
}

#[test]
fn a_signal_ends_it_cleanly_once_the_exchange_under_way_is_over() {
    for kind in [Signal::TERM, Signal::INT] {
        let (place, entra) = (Place::new(), Entra::new());
        let agent = place.agent();
        place.sign_ada_in(&entra);
        CookieSession::open(&place);
        let mark = place.mark();
        entra.close();
        thread::scope(|scope| {
            let asking = scope.spawn(|| place.token(GRAPH));
            entra.wait_for_visitor();
            agent.signal(kind);
            until("the socket is gone", || !place.socket().exists());
            entra.open();
            let token = asking.join().unwrap().unwrap();
            assert_eq!(entra.whose(&token), "ada@example.com");
        });
        assert_eq!(agent.end().code(), Some(0));
        assert_ne!(place.mark(), mark);
        assert_eq!(place.files(), ["agent.lock", "sign-in"]);
    }
}

#[test]
fn a_sign_out_leaves_an_exchange_under_way_without_a_token() {
    let (place, entra) = (Place::new(), Entra::new());
    let agent = place.agent();
    place.sign_ada_in(&entra);
    entra.close();
    thread::scope(|scope| {
        let asking = scope.spawn(|| place.token(GRAPH));
        entra.wait_for_visitor();
        place.ask("sign_out", json!({})).unwrap();
        entra.open();
        let error = asking.join().unwrap().unwrap_err();
        assert!(
            matches!(error.kind(), Kind::SignInRequired | Kind::NoSession),
            "{error}"
        );
    });
    assert_eq!(agent.end().code(), Some(0));
}

// Where it lives.

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

// Who asks.

#[test]
fn another_user_of_this_machine_gets_nothing() {
    if !is_root() {
        return;
    }
    let (place, entra) = (Place::new(), Entra::new());
    let agent = place.agent();
    place.sign_ada_in(&entra);
    let session = CookieSession::open(&place);

    let port = "import sys, urllib.request, urllib.error
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
body = b'{\"method\": \"delegated_azure_token\", \"params\": [\"https://graph.microsoft.com\"]}'
head = {'X-RS-Session-Server-RPC-Cookie': sys.argv[2]}
request = urllib.request.Request(sys.argv[1] + '/delegated_azure_token', body, head)
try: print(opener.open(request).status)
except urllib.error.HTTPError as error: print(error.code)";
    // Nor with the cookie, which a bug report may show.
    let (address, cookie) = (format!("http://{}", session.host), session.cookie());
    for cookie in ["canary", &cookie] {
        let output = by_nobody(&["/usr/bin/env", "python3", "-c", port, &address, cookie]);
        assert_eq!(stdout(&output).trim(), "403", "{}", stderr(&output));
    }
    assert_eq!(session.status(&cookie), 200);

    let socket = "import socket, sys
try: socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print('let in')
except PermissionError: print('kept out')";
    let connect = || {
        let path = place.socket();
        let path = path.to_str().unwrap();
        let output = by_nobody(&["/usr/bin/env", "python3", "-c", socket, path]);
        stdout(&output).trim().to_owned()
    };
    assert_eq!(connect(), "kept out");

    let pid = agent.pid();
    let cookie = session.directory.join("rpc_cookie");
    let files = [
        cookie.to_str().unwrap().to_owned(),
        place.path().join("sign-in").to_str().unwrap().to_owned(),
        format!("/proc/{pid}/mem"),
        format!("/proc/{pid}/environ"),
        format!("/proc/{pid}/maps"),
    ];
    for file in &files {
        let output = by_nobody(&["head", "-c", "1", file]);
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert!(
            stderr(&output).contains("Permission denied"),
            "{file}: {}",
            stderr(&output)
        );
        assert_eq!(output.stdout, b"");
    }
    for directory in [place.path().to_str().unwrap(), &format!("/proc/{pid}/fd")] {
        let output = by_nobody(&["ls", directory]);
        assert_eq!(output.status.code(), Some(2), "{directory}");
        assert_eq!(output.stdout, b"");
    }
    // Even one that the directory does not keep out is told by the kernel.
    for path in [place.path(), place.socket()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    assert_eq!(connect(), "let in");
    let ask = "import socket, sys
for path, body in ('/agent/status', b'{}'), ('/agent/stop', b'{}'), ('/agent/sign_out', b'{}'), ('/delegated_azure_token', b'{\"method\": \"delegated_azure_token\", \"params\": [\"https://graph.microsoft.com\"]}'):
    agent = socket.socket(socket.AF_UNIX)
    agent.connect(sys.argv[1])
    agent.sendall(b'POST %s HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n' % (path.encode(), len(body)) + body)
    print(agent.makefile('rb').readline().split()[1].decode(), end=' ')";
    let path = place.socket();
    let output = by_nobody(&["/usr/bin/env", "python3", "-c", ask, path.to_str().unwrap()]);
    assert_eq!(
        stdout(&output).trim(),
        "403 403 403 401",
        "{}",
        stderr(&output)
    );
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(place.account().as_deref(), Some("ada@example.com"));
    assert_eq!(place.pid(), Some(pid));
}

/// As root this says nothing, since root may read everything.
#[test]
fn other_programs_of_its_owner_cannot_read_its_memory_and_a_browser_of_theirs_signs_in() {
    if is_root() {
        again_as_nobody(
            "other_programs_of_its_owner_cannot_read_its_memory_and_a_browser_of_theirs_signs_in",
        );
        return;
    }
    let (place, entra) = (Place::new(), Entra::new());
    let agent = place.agent();
    place.sign_ada_in(&entra);
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
    let of_agent = |file: &str| format!("/proc/{}/{file}", agent.pid());
    for file in ["mem", "environ", "maps", "auxv"] {
        let error = fs::read(of_agent(file)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{file}");
    }
    for directory in ["fd", "map_files"] {
        assert!(fs::read_dir(of_agent(directory)).is_err(), "{directory}");
    }
    // What is refused there is not so for every process.
    let mut other = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    let environ = fs::read(format!("/proc/{}/environ", other.id()));
    let _ = other.kill();
    let _ = other.wait();
    assert!(environ.is_ok());
    let limits = fs::read_to_string(of_agent("limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core: Vec<&str> = core.unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"]);
}

#[test]
fn only_the_newest_sign_ins_cookie_is_good() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    let session = CookieSession::open(&place);
    let cookie = session.cookie();
    assert_eq!(session.status(&cookie), 200);
    assert_eq!(session.ask("POST", &[]).status, 401);
    let fields: Vec<&str> = cookie.split('|').collect();
    let [id, date, signature] = fields[..] else {
        panic!("a cookie has three fields");
    };
    let later = "Fri%2C%2031%20Dec%202100%2023%3A59%3A59%20GMT";
    let earlier = "Sat%2C%2001%20Jan%202000%2000%3A00%3A00%20GMT";
    let swapped: String = id.chars().rev().collect();
    for forged in [
        "",
        "x",
        "||",
        id,
        &format!("{id}|{later}|{signature}"),
        &format!("{id}|{earlier}|{signature}"),
        &format!("{swapped}|{date}|{signature}"),
        &format!("{id}|{date}|"),
        &format!("{id}|{date}|AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D"),
        &format!("{cookie}|{signature}"),
    ] {
        let reply = session.ask("POST", &[&cookie_line(forged)]);
        assert_eq!(reply.status, 401, "{forged}");
        assert!(!reply.body.contains(signature));
    }
    let twice = [&*cookie_line(&cookie), &*cookie_line("x")];
    assert_eq!(session.ask("POST", &twice).status, 401);
    // The agent's own requests are not for who has a cookie.
    let status = post(
        crate::agent_support::tcp(&session.host),
        "/agent/status",
        "{}",
    );
    assert_eq!(status.unwrap().status, 404);

    // The same person once more: a new session all the same.
    place.sign_ada_in(&entra);
    assert_eq!(session.status(&cookie), 401);
    assert_eq!(session.status(&session.cookie()), 200);
}

#[test]
fn a_page_in_a_browser_is_turned_away_cookie_or_not() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    let session = CookieSession::open(&place);
    let cookie = cookie_line(&session.cookie());
    let port = session.host.rsplit_once(':').unwrap().1;
    let rebound = format!("Host: evil.example:{port}");
    for lines in [
        &["Origin: https://evil.example"][..],
        &["Origin: null"],
        &["Sec-Fetch-Site: cross-site"],
        &[&rebound],
        &["Host: 10.0.0.1"],
    ] {
        for verb in ["POST", "GET", "OPTIONS"] {
            let mut lines = lines.to_vec();
            lines.push(&cookie);
            let reply = session.ask(verb, &lines);
            assert_eq!(reply.status, 403, "{verb} {:?}", lines[0]);
            assert!(
                !reply.head.to_lowercase().contains("access-control"),
                "{}",
                reply.head
            );
        }
    }
    let preflight = session.ask("OPTIONS", &["Access-Control-Request-Method: POST"]);
    assert_eq!(preflight.status, 405);
    assert!(!preflight.head.to_lowercase().contains("access-control"));
    let good = session.ask("GET", &[&cookie]);
    assert_eq!(good.status, 200);
    assert_eq!(good.header("cache-control"), Some("no-store"));
}

// What is asked.

#[test]
fn requests_that_make_no_sense_change_nothing() {
    let (place, entra) = (Place::new(), Entra::new());
    let agent = place.agent();
    place.sign_ada_in(&entra);
    let mark = place.mark();
    let asked = |path: &str, body: &str| post(place.connect().unwrap(), path, body).unwrap();
    assert_eq!(asked("/agent/nothing", "{}").status, 404);
    assert_eq!(asked("/agent/", "{}").status, 404);
    assert_eq!(asked("/agent/stop/x", "{}").status, 404);
    for name in ["begin", "wait", "accept", "answer", "cancel"] {
        for body in ["", "canary", "[]", "{}", r#"{"id": 7}"#, "\u{0}"] {
            let reply = asked(&format!("/agent/{name}"), body);
            assert_eq!(reply.status, 200, "{name} {body}");
            let failure: Value = serde_json::from_str(&reply.body).unwrap();
            assert_eq!(failure["failure"]["kind"], "bad_reply", "{name} {body}");
            assert!(!reply.body.contains("canary"));
        }
    }
    let get = raw(
        place.connect().unwrap(),
        b"GET /agent/stop HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(get.unwrap().status, 405);
    let huge = "x".repeat(3 << 20);
    assert_eq!(asked("/agent/begin", &huge).status, 413);
    assert_eq!(asked("/delegated_azure_token", &huge).status, 413);
    let garbage: [&[u8]; 6] = [
        b"\r\n\r\n\r\n",
        b"\0\0\0\0",
        b"GET\r\n\r\n",
        b"POST /agent/stop HTTP/9.9\r\n\r\n",
        b"POST /agent/stop HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for bytes in garbage {
        let mut stream = place.connect().unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        if let Some(reply) = raw(&stream, b"") {
            assert_eq!(reply.status, 400, "{bytes:?}");
        }
    }
    // Half a request, whose sender goes on and on, keeps nobody waiting.
    let mut slow = place.connect().unwrap();
    slow.write_all(b"POST /agent/stop HTTP/1.1\r\nHost: local")
        .unwrap();
    assert_eq!(place.account().as_deref(), Some("ada@example.com"));
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
    assert_eq!(place.mark(), mark);
    assert_eq!(place.pid(), Some(agent.pid()));
}

#[test]
fn another_attempts_id_changes_nothing() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    let attempt = place.begin(&entra, None);
    let shorter = &attempt.id[..attempt.id.len() - 1];
    for id in ["", "x", shorter, &format!("{}x", attempt.id)] {
        for (name, parameters) in [
            ("wait", json!({"id": id, "seconds": 0})),
            (
                "answer",
                json!({"id": id, "address": "http://localhost/?code=a&state=b"}),
            ),
            ("accept", json!({"id": id})),
        ] {
            let error = place.ask(name, parameters).unwrap_err();
            assert_eq!(error.kind(), Kind::SignInRequired, "{name}");
            assert_eq!(
                error.message(),
                "this sign-in has ended, or another one has begun since"
            );
        }
        let cancelled = place.ask("cancel", json!({"id": id})).unwrap();
        assert_eq!(cancelled, Value::Null);
    }
    // Nor does what only another kind of sign-in, or one that has got further, is asked.
    let error = place.ask("accept", json!({"id": attempt.id})).unwrap_err();
    assert_eq!(error.kind(), Kind::SignInRequired);
    let answer = json!({"id": attempt.id, "address": "http://localhost/?code=a&state=b"});
    let error = place.ask("answer", answer).unwrap_err();
    assert_eq!(error.kind(), Kind::Misconfigured);
    let waiting = place.ask("wait", json!({"id": attempt.id, "seconds": 0}));
    assert_eq!(waiting.unwrap(), json!({"state": "waiting"}));
    attempt.browse();
    let progress = place.progress(&attempt).unwrap();
    assert!(matches!(progress, Progress::SignedIn { .. }));
    // It is over.
    assert_eq!(
        place.progress(&attempt).unwrap_err().kind(),
        Kind::SignInRequired
    );
}

#[test]
fn another_account_takes_the_place_of_the_first_only_once_it_is_let() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    let session = CookieSession::open(&place);
    let (cookie, mark) = (session.cookie(), place.mark());
    let is_adas = || {
        assert_eq!(place.account().as_deref(), Some("ada@example.com"));
        assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
        assert_eq!(session.status(&cookie), 200);
        assert_eq!(place.mark(), mark);
    };
    let second = || {
        let attempt = place.begin(&entra, BOB);
        attempt.browse();
        // However often it is asked.
        for _ in 0..2 {
            let progress = place.progress(&attempt).unwrap();
            let Progress::Confirm { account, replaces } = progress else {
                panic!("{progress:?}");
            };
            assert_eq!(account.username.as_deref(), Some("bob@example.com"));
            assert_eq!(replaces.username.as_deref(), Some("ada@example.com"));
        }
        is_adas();
        attempt
    };
    let attempt = second();
    place.ask("cancel", json!({"id": attempt.id})).unwrap();
    is_adas();
    let error = place.ask("accept", json!({"id": attempt.id})).unwrap_err();
    assert_eq!(error.kind(), Kind::SignInRequired);
    is_adas();

    let attempt = second();
    // A sign-in that begins afterwards ends it, and the same person is not asked.
    place.begin(&entra, None);
    let error = place.ask("accept", json!({"id": attempt.id})).unwrap_err();
    assert_eq!(error.kind(), Kind::SignInRequired);
    is_adas();

    let attempt = second();
    let accepted = place.ask("accept", json!({"id": attempt.id})).unwrap();
    assert_eq!(accepted["state"], "signed_in");
    assert_eq!(place.account().as_deref(), Some("bob@example.com"));
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "bob@example.com");
    assert_ne!(place.mark(), mark);
    assert_eq!(session.status(&cookie), 401);
    assert_eq!(session.status(&session.cookie()), 200);
    let error = place.ask("accept", json!({"id": attempt.id})).unwrap_err();
    assert_eq!(error.kind(), Kind::SignInRequired);
}

#[test]
fn an_account_whose_sign_in_cannot_be_noted_takes_nobodys_place() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    let session = CookieSession::open(&place);
    let attempt = place.begin(&entra, BOB);
    attempt.browse();
    let progress = place.progress(&attempt).unwrap();
    assert!(matches!(progress, Progress::Confirm { .. }));
    // No file can take a directory's place.
    let mark = place.path().join("sign-in");
    fs::remove_file(&mark).unwrap();
    fs::create_dir(&mark).unwrap();
    let error = place.ask("accept", json!({"id": attempt.id})).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let expected = format!("the agent cannot write to {}: ", place.path().display());
    assert!(error.message().starts_with(&expected), "{error}");
    assert_eq!(place.account().as_deref(), Some("ada@example.com"));
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
    assert_eq!(session.status(&session.cookie()), 200);
    fs::remove_dir(&mark).unwrap();
    // Nor does a cookie that cannot be written keep somebody from signing in.
    fs::remove_dir_all(&session.directory).unwrap();
    place.sign_ada_in(&entra);
    assert_eq!(
        place.ask("status", json!({})).unwrap()["address"],
        Value::Null
    );
    let session = CookieSession::open(&place);
    assert_eq!(session.status(&session.cookie()), 200);
}

#[test]
fn an_exchange_under_way_brings_no_token_of_the_first_account_once_another_is_signed_in() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    let attempt = place.begin(&entra, BOB);
    attempt.browse();
    let progress = place.progress(&attempt).unwrap();
    assert!(matches!(progress, Progress::Confirm { .. }));
    entra.close();
    thread::scope(|scope| {
        let asking = scope.spawn(|| place.token(GRAPH));
        entra.wait_for_visitor();
        place.ask("accept", json!({"id": attempt.id})).unwrap();
        entra.open();
        let error = asking.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::SignInRequired, "{error}");
    });
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "bob@example.com");
}

#[test]
fn an_exchange_under_way_brings_its_token_though_the_same_person_signs_in_again() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    let attempt = place.begin(&entra, None);
    attempt.browse();
    entra.close();
    thread::scope(|scope| {
        let asking = scope.spawn(|| place.token(GRAPH));
        entra.wait_for_visitor();
        let progress = place.progress(&attempt).unwrap();
        assert!(matches!(progress, Progress::SignedIn { .. }));
        entra.open();
        let token = asking.join().unwrap().unwrap();
        assert_eq!(entra.whose(&token), "ada@example.com");
    });
}

#[test]
fn a_pasted_address_signs_in_if_it_is_of_this_sign_in() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    let begin = || {
        let paste = json!({"method": "paste"});
        place.begin_with(&entra, paste).unwrap()
    };
    let others = begin().browse();
    let attempt = begin();
    let address = attempt.browse();
    assert!(address.starts_with("http://localhost/?code="), "{address}");
    let answer = |address: &str| {
        let parameters = json!({"id": attempt.id, "address": address});
        place.ask("answer", parameters)
    };
    for wrong in [&*others, "", "canary", "http://localhost/?code=canary"] {
        let error = answer(wrong).unwrap_err();
        assert_eq!(error.kind(), Kind::BadReply, "{wrong}");
        assert!(!error.to_string().contains("canary"), "{error}");
        let waiting = place.ask("wait", json!({"id": attempt.id, "seconds": 0}));
        assert_eq!(waiting.unwrap(), json!({"state": "waiting"}));
        assert_eq!(place.account(), None);
    }
    assert_eq!(answer(&address).unwrap()["state"], "signed_in");
    let status = place.ask("account", json!({})).unwrap();
    assert_eq!(status["method"], "paste");
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
}

#[test]
fn a_device_code_signs_in() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    let device_code = json!({"method": "device_code"});
    let mut attempt = place.begin_with(&entra, device_code).unwrap();
    // The tenant asks nobody, so that nobody has to type it.
    assert_eq!(attempt.address, format!("{}/device", entra.url()));
    assert!(attempt.user_code.take().is_some_and(|code| code.len() >= 8));
    let progress = place.progress(&attempt).unwrap();
    assert!(matches!(progress, Progress::SignedIn { .. }));
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
}

#[test]
fn a_sign_in_that_cannot_begin_says_why_and_leaves_the_one_under_way() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    let attempt = place.begin(&entra, None);
    let missing = place.base().join("missing.pem");
    let missing = missing.to_str().unwrap();
    let unreadable = format!("the certificate {missing} cannot be read: No such file or directory");
    for (wanted, words) in [
        (
            json!({"authority": "http://login.example.com"}),
            "the authority cannot be used: it is an address of plain http",
        ),
        (
            json!({"authority": "https://canary:canary@login.example.com"}),
            "the authority cannot be used: a user name or password has no place in it",
        ),
        (json!({"client_id": "R"}), "the client id is no GUID"),
        (json!({"credential": {"certificate": missing}}), &unreadable),
        (
            json!({"credential": {"certificate": "/dev/null"}}),
            "certificate",
        ),
        (
            json!({"tenant": "99999999-0000-0000-0000-000000000000"}),
            "",
        ),
    ] {
        let error = place.begin_with(&entra, wanted.clone()).err().unwrap();
        assert_eq!(error.kind(), Kind::Misconfigured, "{wanted}: {error}");
        assert!(error.message().contains(words), "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    attempt.browse();
    let progress = place.progress(&attempt).unwrap();
    assert!(matches!(progress, Progress::SignedIn { .. }));
}

#[test]
fn what_an_administrator_turns_off_is_refused() {
    if !is_root() {
        return;
    }
    let (place, entra) = (Place::new(), Entra::new());
    let mut command = std::process::Command::new("unshare");
    let script = "mount -t tmpfs -o mode=0755 tmpfs /etc && mkdir /etc/entrar || exit 9
        printf 'paste = false\\ndevice_code = false\\n' >/etc/entrar/policy.toml || exit 9
        exec \"$0\" agent run";
    command.args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_entrar")]);
    place.furnish(&mut command);
    let _agent = place.agent_by(command);
    for (method, what) in [
        ("paste", "pasting an address"),
        ("device_code", "a device code"),
    ] {
        let wanted = json!({"method": method});
        let error = place.begin_with(&entra, wanted).err().unwrap();
        assert_eq!(error.kind(), Kind::AccessDenied);
        assert_eq!(
            error.message(),
            format!("signing in by {what} is turned off on this machine (/etc/entrar/policy.toml)")
        );
    }
    place.sign_ada_in(&entra);
}

#[test]
fn nothing_secret_is_logged_however_much_is() {
    let (place, entra) = (Place::new(), Entra::new());
    let log = place.base().join("log");
    let mut command = place.command(&["agent", "run"]);
    command
        .env("ENTRAR_LOG", "trace")
        .stdout(fs::File::create(&log).unwrap())
        .stderr(fs::File::options().append(true).open(&log).unwrap());
    let agent = place.agent_by(command);
    let paste = json!({"method": "paste"});
    let attempt = place.begin_with(&entra, paste).unwrap();
    let address = attempt.browse();
    let parameters = json!({"id": attempt.id, "address": address});
    place.ask("answer", parameters).unwrap();
    let token = place.token(GRAPH).unwrap();
    let session = CookieSession::open(&place);
    let cookie = session.cookie();
    assert_eq!(session.status(&cookie), 200);
    assert_eq!(session.status("canary"), 401);
    entra.tenant.revoke(&User::default());
    place.token(GRAPH).unwrap_err();
    place.ask("sign_out", json!({})).unwrap();
    agent.end();
    let logged = fs::read_to_string(&log).unwrap();
    // It is one that something is written to.
    assert!(logged.contains("INFO"), "{logged}");
    let code = address.split(['=', '&']).nth(1).unwrap();
    let signature = cookie.rsplit_once('|').unwrap().1;
    for secret in [&*token, &cookie, signature, &attempt.id, code, "canary"] {
        assert!(secret.len() > 5 && !logged.contains(secret), "{logged}");
    }
}

#[test]
fn two_hundred_processes_at_once_all_get_a_token() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    let commands: Vec<_> = (0..20)
        .map(|_| place.command(&["env", "--shell", "sh"]).spawn().unwrap())
        .collect();
    // Of all that is installed everywhere it starts fastest.
    let program = r#"use Socket;
alarm 60;
my $body = qq({"method": "delegated_azure_token", "params": ["$ARGV[1]"]});
my $head = "POST /delegated_azure_token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
socket(my $agent, PF_UNIX, SOCK_STREAM, 0) or die $!;
connect($agent, pack_sockaddr_un($ARGV[0])) or die $!;
syswrite($agent, $head . "Content-Length: " . length($body) . "\r\n\r\n" . $body) or die $!;
print while <$agent>;"#;
    let resources = [
        GRAPH,
        STORAGE,
        "https://vault.azure.net",
        "https://database.windows.net",
    ];
    let asking: Vec<_> = resources
        .into_iter()
        .cycle()
        .take(200)
        .map(|resource| {
            let mut command = std::process::Command::new("perl");
            command.args(["-e", program]);
            command.arg(place.socket()).arg(resource);
            place.furnish(&mut command);
            command.spawn().unwrap()
        })
        .collect();
    for asking in asking {
        let output = ended(asking);
        let reply = stdout(&output);
        assert!(
            reply.contains("{\"result\":true,\"token\":{\"access_token\":\"ey"),
            "{reply}{}",
            stderr(&output)
        );
    }
    let mut addresses = Vec::new();
    for command in commands {
        let output = ended(command);
        assert!(output.status.success(), "{}", stderr(&output));
        addresses.push(stdout(&output).to_owned());
    }
    addresses.dedup();
    assert_eq!(addresses.len(), 1, "{addresses:?}");
    let session = CookieSession::open(&place);
    assert_eq!(session.status(&session.cookie()), 200);
}

#[test]
fn an_agent_that_may_open_few_files_answers_though_others_hold_connections() {
    let (place, mut entra) = (Place::new(), Entra::new());
    let program = place.command(&[]).get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 64 && exec \"$0\" agent run"]);
    place.furnish(command.arg(program));
    let _agent = place.agent_by(command);
    place.sign_ada_in(&entra);
    let half_open: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = place.connect().unwrap();
            // Those that had to go may be gone already.
            let _ = stream.write_all(b"POST /delegated_azure_token HTTP/1.1\r\n");
            stream
        })
        .collect();
    // The agent has to connect to the tenant anew.
    entra.stop();
    entra.restart();
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
    drop(half_open);
}

#[test]
fn a_refresh_token_that_is_revoked_means_to_sign_in_again() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    place.token(GRAPH).unwrap();
    entra.tenant.revoke(&User::default());
    let error = place.token(GRAPH).unwrap_err();
    assert_eq!(error.kind(), Kind::SignInRequired);
    assert_eq!(error.details().aadsts, [50173]);
    // Who it was is still known, and signs in again without being asked whether they may.
    assert_eq!(place.account().as_deref(), Some("ada@example.com"));
    place.sign_ada_in(&entra);
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
}

#[test]
fn a_token_endpoint_that_is_down_ends_no_sign_in() {
    let (place, mut entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    place.token(GRAPH).unwrap();
    entra.stop();
    let error = place.token(GRAPH).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert_eq!(place.account().as_deref(), Some("ada@example.com"));
    entra.restart();
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
}

#[test]
fn its_status_shows_how_it_reaches_entra_and_no_secret() {
    let place = Place::new();
    let bundle = place.base().join("bundle.pem");
    fs::write(&bundle, "").unwrap();
    let mut command = place.command(&["agent", "start"]);
    command
        .env("https_proxy", "http://me:canary@proxy.example:3128")
        .env("HTTP_PROXY", "http://me:can/ary@proxy.example:3128")
        .env("no_proxy", "localhost,.example")
        .env("REQUESTS_CA_BUNDLE", &bundle)
        .env("AZURE_CLIENT_SECRET", "canary")
        .env("RS_SERVER_ADDRESS", "http://elsewhere.example");
    let output = ended(command.spawn().unwrap());
    assert!(output.status.success(), "{}", stderr(&output));
    let status = place.succeeds(&["agent", "status"]);
    for line in [
        "signed in: nobody",
        "ends:      after 720 minutes without a request",
        "proxy:     https_proxy: http://proxy.example:3128",
        "proxy:     HTTP_PROXY: an address that is not understood",
        "proxy:     no_proxy: localhost,.example",
        &format!(
            "trusted:   the certificates of REQUESTS_CA_BUNDLE: {}",
            bundle.display()
        ),
    ] {
        assert!(
            status.lines().any(|found| found == line),
            "{line}: {status}"
        );
    }
    assert!(
        !status.contains("canary") && !status.contains("ary@"),
        "{status}"
    );
    if is_root() {
        // It has what it was started with and is to have, and nothing else.
        let environ = fs::read(format!("/proc/{}/environ", place.pid().unwrap())).unwrap();
        let environ = String::from_utf8(environ).unwrap();
        let mut names: Vec<&str> = environ
            .split_terminator('\0')
            .map(|variable| variable.split_once('=').unwrap().0)
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "ENTRAR_RUNTIME_DIR",
                "HOME",
                "HTTP_PROXY",
                "PATH",
                "REQUESTS_CA_BUNDLE",
                "https_proxy",
                "no_proxy"
            ]
        );
    }
}

// What other people's clients are told.

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
