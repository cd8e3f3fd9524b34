//! Launchers: whom they may open sessions for, from where, and until when.

use entra_emulator::User;
use serde_json::{Value, json};

use crate::machine::{Local, Machine, STORAGE, post_with, subject};

fn launched(machine: &Machine, uid: u32, key: &str, body: &Value) -> Value {
    asked(machine, uid, "/launcher/sessions", key, body)
}

fn ended(machine: &Machine, uid: u32, key: &str, user: &str, session: &Value) -> Value {
    let over = json!({"user": user, "session": session["id"]});
    asked(machine, uid, "/launcher/sessions/end", key, &over)
}

fn asked(machine: &Machine, uid: u32, path: &str, key: &str, body: &Value) -> Value {
    let header = format!("authorization: Bearer {key}");
    post_with(uid, &machine.socket(), path, body, &[&header]).1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launcher_opens_sessions_for_the_users_on_its_list_and_takes_them_along() {
    let (ada, bob, launcher) = (Local::new("ada"), Local::new("bob"), Local::new("jupyter"));
    let machine = Machine::new(vec![User::new("Ada", &ada.upn())], |settings| settings).await;
    machine.signed_in(&ada).await;
    let uid = launcher.uid.to_string();
    let add = [
        "launcher", "add", "jupyter", "--users", &ada.name, "--uid", &uid, "--for", "1d",
    ];
    let (good, key) = machine.command(&add);
    assert!(good, "{key}");
    let key = key.trim().to_owned();
    let (good, said) = machine.command(&add);
    assert!(
        !good && said.contains("there is a launcher jupyter already"),
        "{said}"
    );

    let opened = launched(
        &machine,
        launcher.uid,
        &key,
        &json!({"user": ada.name, "machine": "node7"}),
    );
    let session = &opened["result"];
    assert_eq!(session["environment"]["ENTRAR_ORIGIN"], "hub", "{opened}");
    assert_eq!(session["environment"]["RS_SERVER_ADDRESS"], machine.rpc);
    assert!(session["environment"]["RS_SESSION_RPC_COOKIE"].is_null());
    let cookie = session["cookie"].as_str().unwrap();
    let (status, reply) = machine.token_by_cookie(cookie, STORAGE).await;
    assert_eq!((status, subject(&reply)), (200, ada.upn()));
    let inline = launched(
        &machine,
        launcher.uid,
        &key,
        &json!({"user": ada.name, "inline": true}),
    );
    let inline = &inline["result"];
    assert_eq!(
        inline["environment"]["RS_SESSION_RPC_COOKIE"],
        inline["cookie"]
    );

    let wanted = json!({"user": ada.name});
    for (what, uid, key, body, kind) in [
        (
            "a user who is not on the list",
            launcher.uid,
            key.as_str(),
            json!({"user": bob.name}),
            "access_denied",
        ),
        (
            "root",
            launcher.uid,
            &key,
            json!({"user": "root"}),
            "access_denied",
        ),
        (
            "from another uid",
            bob.uid,
            &key,
            wanted.clone(),
            "access_denied",
        ),
        ("from root", 0, &key, wanted.clone(), "access_denied"),
        (
            "another key",
            launcher.uid,
            "x",
            wanted.clone(),
            "bad_cookie",
        ),
        ("no key", launcher.uid, "", wanted.clone(), "bad_cookie"),
        (
            "nonsense",
            launcher.uid,
            &key,
            json!({"users": "x"}),
            "bad_reply",
        ),
    ] {
        let refused = launched(&machine, uid, key, &body);
        assert_eq!(refused["failure"]["kind"], kind, "{what}: {refused}");
    }
    let (_, listed) = machine.command(&["launchers"]);
    assert!(
        listed.contains("jupyter") && listed.contains(&ada.name) && !listed.contains(&key),
        "{listed}"
    );
    let (good, said) = machine.command(&["launcher", "remove", "jupyter"]);
    assert!(
        good && said.contains("its sessions have ended (2)"),
        "{said}"
    );
    assert_eq!(machine.token_by_cookie(cookie, STORAGE).await.0, 401);
    let refused = launched(&machine, launcher.uid, &key, &wanted);
    assert_eq!(refused["failure"]["kind"], "bad_cookie", "{refused}");
    let (_, audit) = machine.command(&["audit", "--json"]);
    let count = audit
        .lines()
        .filter(|line| line.contains("launcher_session"))
        .count();
    assert_eq!(
        count, 6,
        "each opening and each refusal of a known launcher: {audit}"
    );
    assert!(!audit.contains(&key) && !audit.contains(cookie), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launcher_ends_its_own_sessions_and_no_others() {
    let (ada, launcher) = (Local::new("ada"), Local::new("jupyter"));
    let machine = Machine::new(vec![User::new("Ada", &ada.upn())], |settings| settings).await;
    machine.signed_in(&ada).await;
    let uid = launcher.uid.to_string();
    let add = |name| {
        let (good, key) =
            machine.command(&["launcher", "add", name, "--users", &ada.name, "--uid", &uid]);
        assert!(good, "{key}");
        key.trim().to_owned()
    };
    let (key, other) = (add("jupyter"), add("slurm"));
    let wanted = json!({"user": ada.name});
    let open = |key| launched(&machine, launcher.uid, key, &wanted)["result"].clone();
    let (one, two) = (open(&key), open(&key));
    let statuses = async || {
        let mut statuses = Vec::new();
        for session in [&one, &two] {
            let cookie = session["cookie"].as_str().unwrap();
            statuses.push(machine.token_by_cookie(cookie, STORAGE).await.0);
        }
        statuses
    };

    let refused = ended(&machine, ada.uid, &key, &ada.name, &one);
    assert_eq!(refused["failure"]["kind"], "access_denied", "{refused}");
    let refused = ended(&machine, launcher.uid, "x", &ada.name, &one);
    assert_eq!(refused["failure"]["kind"], "bad_cookie", "{refused}");
    let refused = ended(&machine, launcher.uid, &key, "root", &one);
    assert_eq!(refused["failure"]["kind"], "access_denied", "{refused}");
    let not_its_own = ended(&machine, launcher.uid, &other, &ada.name, &one);
    assert_eq!(not_its_own["result"]["ended"], false, "{not_its_own}");
    assert_eq!(statuses().await, [200, 200]);

    let over = ended(&machine, launcher.uid, &key, &ada.name, &one);
    assert_eq!(over["result"]["ended"], true, "{over}");
    assert_eq!(statuses().await, [401, 200]);
    let again = ended(&machine, launcher.uid, &key, &ada.name, &one);
    assert_eq!(again["result"]["ended"], false, "{again}");
    let (_, audit) = machine.command(&["audit", "--json"]);
    let rows = audit.lines().filter(|line| line.contains("end_session"));
    assert_eq!(rows.count(), 1, "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_restored_back_up_brings_back_ends_with_revoke_all() {
    let (ada, launcher) = (Local::new("ada"), Local::new("jupyter"));
    let mut machine = Machine::new(vec![User::new("Ada", &ada.upn())], |settings| settings).await;
    let uid = launcher.uid.to_string();
    let (good, key) = machine.command(&[
        "launcher", "add", "jupyter", "--users", &ada.name, "--uid", &uid,
    ]);
    assert!(good, "{key}");
    machine.stop().await;
    machine.database.back_up();
    machine.start().await;
    machine.command(&["launcher", "remove", "jupyter"]);
    machine.stop().await;
    machine.database.restore();
    machine.start().await;
    let wanted = json!({"user": ada.name});
    let opened = launched(&machine, launcher.uid, key.trim(), &wanted);
    assert!(
        opened["failure"].is_null(),
        "so the first step is needed: {opened}"
    );
    let (good, said) = machine.command(&["revoke", "--all"]);
    assert!(good && said.contains("launchers need new keys"), "{said}");
    let refused = launched(&machine, launcher.uid, key.trim(), &wanted);
    assert_eq!(refused["failure"]["kind"], "bad_cookie", "{refused}");
}
