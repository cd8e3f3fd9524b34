//! The administrator's commands.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entra_emulator::{App, Credential, Emulator, Options, Tenant, User};
use entrar_core::time::UnixTime;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::machine::{Local, Machine, STORAGE, post_as, subject};

async fn signed_in(user: &Local) -> (Machine, Browser) {
    let machine = Machine::new(vec![User::new("Ada", &user.upn())], |settings| settings).await;
    let browser = machine.signed_in(user).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_binding_is_shown_and_keeps_nobody_from_unbinding_or_revoking() {
    let ada = Local::new("ada");
    let (machine, mut browser) = signed_in(&ada).await;
    machine.database.run("UPDATE bindings SET uid = uid + 1");
    let refused = machine.token(&ada, STORAGE);
    assert_eq!(refused["token"], Value::Null, "{refused}");
    let (good, people) = machine.command(&["people", "--json"]);
    assert!(good, "{people}");
    assert_eq!(rows(&people)[0]["user"], "(forged: unbind it)");
    let (good, said) = machine.command(&["revoke", &ada.upn()]);
    assert!(good, "{said}");
    let (good, said) = machine.command(&["revoke", "--all"]);
    assert!(good, "{said}");
    let (good, said) = machine.command(&["unbind", &ada.upn()]);
    assert!(good, "{said}");
    let question = browser.sign_in(&ada.upn()).await;
    assert_eq!(question.heading(), "Is this you?");
    browser
        .press(&question, "/confirm", &[("answer", "yes")])
        .await;
    assert_eq!(subject(&machine.token(&ada, STORAGE)), ada.upn());
}

fn count(machine: &Machine, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    machine.database.number(&sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_nobody_answers_and_old_rows_of_the_audit_are_thrown_away() {
    let ada = Local::new("ada");
    let people = vec![User::new("Ada", &ada.upn())];
    let mut machine = Machine::new(people, |settings| settings).await;
    let question = Browser::new(&machine.page).sign_in(&ada.upn()).await;
    assert_eq!(question.heading(), "Is this you?");
    // Time goes by while the hub is not there.
    machine.stop().await;
    machine.database.run(&format!(
        "UPDATE sign_ins SET expires_at = 1;
         INSERT INTO audit (at, event, result) VALUES (1, 'token', 'ok');
         INSERT INTO audit (at, event, result) VALUES ({}, 'token', 'ok');",
        UnixTime::now().seconds() - 399.0 * 86_400.0
    ));
    let kept = count(&machine, "audit");
    assert_eq!(count(&machine, "sign_ins"), 1);
    machine.start().await;
    let until = Instant::now() + Duration::from_secs(10);
    while (count(&machine, "sign_ins"), count(&machine, "audit")) != (0, kept - 1) {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_hub_trusts_stands_in_its_settings_alone() {
    let app = App::confidential(Credential::Secret("canary-secret".into()));
    let options = Options {
        apps: vec![app],
        https: true,
        ..Options::default()
    };
    let tenant = Arc::new(Tenant::new(options).unwrap());
    let emulator = Emulator::start(Arc::clone(&tenant), ([127, 0, 0, 1], 0).into()).unwrap();
    let machine = Machine::without_hub(vec![User::default()], Vec::new(), |settings| {
        let authority = settings
            .lines()
            .find(|line| line.starts_with("authority"))
            .unwrap()
            .to_owned();
        let id = settings
            .lines()
            .find(|line| line.starts_with("id = "))
            .unwrap();
        let id = id.split('"').nth(1).unwrap().to_owned();
        let by_https = format!(
            "authority = \"{}\"\n# ca_bundle = \"ca.pem\"",
            emulator.url()
        );
        settings
            .replace(&authority, &by_https)
            .replace(&id, tenant.id())
    });
    let ca = machine.directory.path().join("ca.pem");
    std::fs::write(&ca, tenant.ca_pem().unwrap()).unwrap();
    let check = || {
        let output = Command::new(env!("CARGO_BIN_EXE_entrar-hub"))
            .arg("--config")
            .arg(machine.settings())
            .arg("check")
            .env_clear()
            .envs(["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"].map(|name| (name, &ca)))
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = check();
    assert!(said.contains("PROBLEM  tenant"), "{said}");
    let settings = std::fs::read_to_string(machine.settings()).unwrap();
    std::fs::write(
        machine.settings(),
        settings.replace("# ca_bundle", "ca_bundle"),
    )
    .unwrap();
    let said = check();
    assert!(said.contains("ok       tenant"), "{said}");
}
