//! The administrator's commands.

use entra_emulator::User;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::machine::{Local, Machine, STORAGE, post_as, subject};

async fn signed_in(user: &Local) -> (Machine, Browser) {
    let machine = Machine::new(vec![User::new("Ada", &user.upn())], |settings| settings).await;
    let mut browser = Browser::new(&machine.page);
    let question = browser.sign_in(&user.upn()).await;
    browser
        .press(&question, "/confirm", &[("answer", "yes")])
        .await;
    assert_eq!(subject(&machine.token(user, STORAGE)), user.upn());
    (machine, browser)
}

fn rows(printed: &str) -> Vec<Value> {
    printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sessions_and_the_audit_are_listed_without_a_secret() {
    let ada = Local::new("ada");
    let (machine, _browser) = signed_in(&ada).await;
    let session = machine.ask(&ada, "open_session", &json!({}));
    let cookie = session["cookie"].as_str().unwrap();
    machine
        .token_by_cookie(cookie, "https://vault.azure.net")
        .await;
    let stranger = machine.token_as(0, STORAGE);
    assert_eq!(stranger["oauth2_error"]["error"], "access_denied");
    let (_, people) = machine.command(&["people", "--json"]);
    let people = rows(&people);
    assert_eq!(people.len(), 1);
    assert_eq!(
        (&people[0]["user"], &people[0]["uid"]),
        (&json!(ada.name), &json!(ada.uid))
    );
    let (_, sessions) = machine.command(&["sessions", "--json"]);
    assert_eq!(rows(&sessions)[0]["opened_by"], "socket");
    let (good, audit) = machine.command(&["audit", "--json"]);
    assert!(good, "{audit}");
    let audit: Vec<_> = rows(&audit)
        .iter()
        .map(|row| {
            format!(
                "{} {}",
                row["event"].as_str().unwrap(),
                row["result"].as_str().unwrap()
            )
        })
        .collect();
    for expected in [
        "bind ok",
        "sign_in ok",
        "token ok",
        "open_session ok",
        "token access_denied",
    ] {
        assert!(
            audit.iter().any(|row| row == expected),
            "{expected}: {audit:?}"
        );
    }
    assert_eq!(
        audit.iter().filter(|row| *row == "token ok").count(),
        2,
        "{audit:?}"
    );
    for command in ["people", "sessions", "audit"] {
        let (good, printed) = machine.command(&[command]);
        assert!(good, "{printed}");
        assert!(printed.contains(&ada.name), "{printed}");
        for secret in [cookie, "canary", "eyJ"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_signs_in_again_and_who_is_unbound_is_asked_again() {
    let ada = Local::new("ada");
    let (machine, mut browser) = signed_in(&ada).await;
    let (good, said) = machine.command(&["revoke", &ada.name]);
    assert!(good && said.contains("60 to 90 minutes"), "{said}");
    assert_eq!(
        machine.token(&ada, STORAGE)["oauth2_error"]["error"],
        "login_required"
    );
    let (good, said) = machine.command(&["revoke", "nobody-of-this-name"]);
    assert!(
        !good && said.contains("knows nobody by nobody-of-this-name"),
        "{said}"
    );
    assert_eq!(
        browser.sign_in(&ada.upn()).await.heading(),
        "Your Azure sign-in"
    );
    let session = machine.ask(&ada, "open_session", &json!({}));
    let cookie = session["cookie"].as_str().unwrap().to_owned();
    let (good, said) = machine.command(&["revoke", "--all"]);
    assert!(
        good && said.contains("everybody is signed out (1)"),
        "{said}"
    );
    assert_eq!(machine.token_by_cookie(&cookie, STORAGE).await.0, 401);
    assert_eq!(
        browser.sign_in(&ada.upn()).await.heading(),
        "Your Azure sign-in"
    );
    let (good, said) = machine.command(&["unbind", &ada.upn()]);
    assert!(good, "{said}");
    assert_eq!(browser.sign_in(&ada.upn()).await.heading(), "Is this you?");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_root_and_the_hubs_user_administer_it() {
    let ada = Local::new("ada");
    let (machine, _browser) = signed_in(&ada).await;
    for name in ["people", "sessions", "audit", "revoke_all"] {
        let (_, reply) = post_as(
            ada.uid,
            &machine.socket(),
            &format!("/admin/{name}"),
            &json!({}),
        );
        assert_eq!(reply["failure"]["kind"], "access_denied", "{reply}");
    }
    assert_eq!(subject(&machine.token(&ada, STORAGE)), ada.upn());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_setting_is_tried_with_a_line_each() {
    let ada = Local::new("ada");
    let (mut machine, _browser) = signed_in(&ada).await;
    let (good, said) = machine.command(&["check"]);
    assert!(good, "{said}");
    for line in [
        "ok       database",
        "ok       tenant",
        "ok       credential",
        "ok       clock",
        "ok       socket",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    std::fs::write(machine.directory.path().join("secret"), "canary-wrong").unwrap();
    let (good, said) = machine.command(&["check"]);
    assert!(
        !good && said.contains("PROBLEM  credential") && said.contains("AADSTS7000215"),
        "{said}"
    );
    assert!(!said.contains("canary"), "{said}");
    machine.stop().await;
    let (good, said) = machine.command(&["people"]);
    assert!(
        !good && said.contains("is not serving: start it first"),
        "{said}"
    );
}
