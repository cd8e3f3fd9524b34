//! What is asked: sign-ins of every kind, and those that take another's place.

use std::fs;
use std::io::Write;
use std::thread;

use entra_emulator::{App, Credential, OwnCertificate};
use entrar_core::agent::Progress;
use entrar_core::error::Kind;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::BOB;
use crate::agent_support::{CookieSession, Entra, GRAPH, Place, is_root, post, raw};

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

/// The proof is asked for at the sign-in, and again at each exchange.
#[test]
fn an_app_proves_itself_by_secret_certificate_or_federated_token() {
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = files.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let own = OwnCertificate::generate("app").unwrap();
    let both = own.private_key_pem.expose_secret().to_owned() + &own.certificate_pem;
    let certificate = write("certificate.pem", &both);
    let token = write("token", "canary, of yesterday");
    let workload = || Credential::Federated {
        subject: "workload".to_owned(),
    };
    for (registered, given, code) in [
        (
            Credential::Secret("canary-right".into()),
            json!({"secret": "canary-right"}),
            None,
        ),
        (
            Credential::Secret("canary-right".into()),
            json!({"secret": "canary-wrong"}),
            Some(7_000_215),
        ),
        (
            Credential::Certificate(own.public().unwrap()),
            json!({"certificate": certificate}),
            None,
        ),
        (
            Credential::Certificate(own.public().unwrap()),
            json!("public"),
            Some(7_000_218),
        ),
        (workload(), json!({"federated_token": token}), None),
        (
            workload(),
            json!({"federated_token": write("stale", "canary")}),
            Some(50_027),
        ),
    ] {
        let (place, entra) = (Place::new(), Entra::with_app(App::confidential(registered)));
        let _agent = place.agent();
        let attempt = place
            .begin_with(&entra, json!({"credential": given}))
            .unwrap();
        // The file is read when it is needed.
        let today = entra.tenant.workload_token("workload", 600).unwrap();
        fs::write(&token, today.expose_secret()).unwrap();
        attempt.browse();
        let progress = place.progress(&attempt);
        let Some(code) = code else {
            assert!(matches!(progress.unwrap(), Progress::SignedIn { .. }));
            assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
            continue;
        };
        let error = progress.unwrap_err();
        assert_eq!(error.kind(), Kind::Misconfigured, "{given}: {error}");
        assert_eq!(error.details().aadsts, [code], "{given}");
        assert!(!error.to_string().contains("canary"), "{error}");
        assert_eq!(place.account(), None);
    }
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
