//! Who asks through the socket, as the kernel says, and who gets nothing there.

use std::process::Command;

use entra_emulator::User;
use serde_json::json;

use crate::browser::Browser;
use crate::machine::{Local, Machine, STORAGE, post_as, subject};

fn refusal(reply: &serde_json::Value) -> String {
    assert_eq!(reply["oauth2_error"]["error"], "access_denied", "{reply}");
    reply["oauth2_error"]["error_description"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn uids_that_name_nobody_are_refused_in_words() {
    let machine = Machine::new(vec![User::default()], |settings| settings).await;
    for (uid, why) in [
        (0, "is root"),
        (65_534, "stands for users without a uid of their own"),
        (1, "is a user of the system"),
        (60_000, "is not among the uids that the hub serves"),
        (59_998, "has no name on this machine"),
    ] {
        let said = refusal(&machine.token_as(uid, STORAGE));
        assert!(said.contains(why), "{uid}: {said}");
        let (_, reply) = post_as(uid, &machine.socket(), "/hub/open_session", &json!({}));
        assert_eq!(reply["failure"]["kind"], "access_denied", "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_capitals_and_a_second_name_of_a_uid_are_nobodys() {
    let ada = Local::new("ada");
    let capital = Local::with("Ada", &["--badname"]);
    let uid = ada.uid.to_string();
    let second = Local::with("second", &["--non-unique", "--uid", &uid]);
    let people = [&ada, &capital, &second].map(|user| User::new(&user.name, &user.upn()));
    let machine = Machine::new(people.to_vec(), |settings| settings).await;
    // The rule knows names in lower case: whoever is called so in capitals is another user.
    let mut browser = Browser::new(&machine.page);
    let page = browser.sign_in(&capital.upn()).await;
    assert!(page.status.is_client_error(), "{}", page.text);
    // The second name leads to a uid that has another name.
    let mut browser = Browser::new(&machine.page);
    let page = browser.sign_in(&second.upn()).await;
    assert!(page.status.is_client_error(), "{}", page.text);
    assert!(
        page.text.contains("belongs to another uid too") || page.text.contains(&ada.name),
        "{}",
        page.text
    );
    machine.signed_in(&ada).await;
    assert_eq!(subject(&machine.token(&ada, STORAGE)), ada.upn());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_mapped_by_the_table_alone() {
    let (ada, guest) = (Local::new("ada"), Local::new("guest"));
    // Whoever chooses names in another tenant chooses this one.
    let person = User::new("Guest", &ada.upn()).guest();
    let id = person.object_id.clone();
    let table = |settings: String| {
        let tenant = settings
            .lines()
            .find(|line| line.starts_with("id = "))
            .unwrap()
            .replace("id", "tenant");
        settings
            + &format!(
                "[[people.table]]\nuser = \"{}\"\n{tenant}\nobject_id = \"{id}\"\n",
                guest.name
            )
    };
    let machine = Machine::new(vec![person.clone()], |settings| settings).await;
    let page = Browser::new(&machine.page)
        .sign_in(&person.user_principal_name)
        .await;
    assert!(page.status.is_client_error(), "{}", page.text);
    let machine = Machine::new(vec![person.clone()], table).await;
    let mut browser = Browser::new(&machine.page);
    let question = browser.sign_in(&person.user_principal_name).await;
    assert!(question.text.contains(&guest.name), "{}", question.text);
    browser
        .press(&question, "/confirm", &[("answer", "yes")])
        .await;
    assert_eq!(machine.token(&guest, STORAGE)["result"], true);
    assert_eq!(
        machine.token(&ada, STORAGE)["oauth2_error"]["error"],
        "login_required"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_who_asks_all_the_time_does_not_keep_others_waiting() {
    let (ada, mallory) = (Local::new("ada"), Local::new("mallory"));
    let people = [&ada, &mallory].map(|user| User::new(&user.name, &user.upn()));
    let machine = Machine::new(people.to_vec(), |settings| settings).await;
    machine.signed_in(&ada).await;
    machine.signed_in(&mallory).await;
    // A thousand connections that say nothing, more than a user may have, and requests on others as fast as they go.
    let flood = "import socket, sys, threading\n\
        path, body = sys.argv[1], sys.argv[2].encode()\n\
        idle = []\n\
        def connect():\n    s = socket.socket(socket.AF_UNIX); s.connect(path); return s\n\
        def ask():\n    while True:\n        try:\n            s = connect()\n            \
        s.sendall(b'POST /delegated_azure_token HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(body) + body)\n            s.recv(4096)\n        except OSError:\n            pass\n\
        for _ in range(4):\n    threading.Thread(target=ask, daemon=True).start()\n\
        print('ready', flush=True)\n\
        for _ in range(1000):\n    try:\n        idle.append(connect())\n    except OSError:\n        pass\n\
        sys.stdin.read()";
    let body = json!({"method": "delegated_azure_token", "params": [STORAGE]}).to_string();
    let mut flooding = Command::new("setpriv")
        .args([
            &format!("--reuid={}", mallory.uid),
            "--regid=65534",
            "--clear-groups",
        ])
        .args(["/usr/bin/env", "python3", "-c", flood])
        .arg(machine.socket())
        .arg(body)
        .current_dir("/")
        .env("PATH", "/usr/bin:/bin")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(flooding.stdout.as_mut().unwrap(), &mut ready).unwrap();
    for _ in 0..20 {
        assert_eq!(subject(&machine.token(&ada, STORAGE)), ada.upn());
    }
    flooding.kill().unwrap();
    flooding.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_goes_away_before_the_answer_is_bound_to_nobody() {
    let ada = Local::new("ada");
    let machine = Machine::new(vec![User::new("Ada", &ada.upn())], |settings| settings).await;
    let mut browser = Browser::new(&machine.page);
    let question = browser.sign_in(&ada.upn()).await;
    let renamed = format!("{}x", ada.name);
    let rename = |from: &str, to: &str| {
        let done = Command::new("usermod")
            .args(["--login", to, from])
            .status()
            .unwrap();
        assert!(done.success());
    };
    rename(&ada.name, &renamed);
    let page = browser
        .press(&question, "/confirm", &[("answer", "yes")])
        .await;
    rename(&renamed, &ada.name);
    assert!(page.status.is_client_error(), "{}", page.text);
    let (_, people) = machine.command(&["people", "--json"]);
    assert_eq!(people, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recycled_uid_gets_nothing_of_who_had_it_before() {
    let ada = Local::new("ada");
    let machine = Machine::new(vec![User::new("Ada", &ada.upn())], |settings| settings).await;
    let mut browser = machine.signed_in(&ada).await;
    assert_eq!(subject(&machine.token(&ada, STORAGE)), ada.upn());
    let session = machine.ask(&ada, "open_session", &json!({}));
    let cookie = session["cookie"].as_str().unwrap().to_owned();
    let renamed = format!("{}x", ada.name);
    let done = Command::new("usermod")
        .args(["--login", &renamed, &ada.name])
        .status()
        .unwrap();
    assert!(done.success());
    let said = refusal(&machine.token(&ada, STORAGE));
    assert!(said.contains("an administrator has to unbind"), "{said}");
    assert_eq!(machine.token_by_cookie(&cookie, STORAGE).await.0, 401);
    // Nor does a new sign-in help.
    let page = browser.sign_in(&ada.upn()).await;
    assert!(page.status.is_client_error(), "{}", page.text);
    let done = Command::new("usermod")
        .args(["--login", &ada.name, &renamed])
        .status()
        .unwrap();
    assert!(done.success());
}
