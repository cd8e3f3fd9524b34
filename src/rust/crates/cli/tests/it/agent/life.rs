//! Its life: how it starts, whom it outlives, and how it ends.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use entrar_core::error::Kind;
use rustix::process::Signal;
use serde_json::json;

use super::{is_alive, pid_in};
use crate::agent_support::{
    CookieSession, Entra, GRAPH, LONGEST, Place, ended, is_root, stderr, stdout, until,
};

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
