//! What goes wrong around the hub, and what does not come of it.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use entra_emulator::{Fault, FaultKind, User};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::machine::{Local, Machine, STORAGE, post_as, post_with, subject};

const VAULT: &str = "https://vault.azure.net";
/// Long enough that no test on a busy machine meets it by accident.
const LONG: Duration = Duration::from_secs(120);

fn error(reply: &Value) -> (String, Value) {
    let error = &reply["oauth2_error"];
    (
        error["error"].as_str().unwrap_or_default().to_owned(),
        error["error_codes"].clone(),
    )
}

async fn machine(user: &Local) -> (Machine, Browser) {
    let machine = Machine::new(vec![User::new("Ada", &user.upn())], |settings| settings).await;
    let browser = machine.signed_in(user).await;
    (machine, browser)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_away_signs_nobody_out() {
    let ada = Local::new("ada");
    let (mut machine, mut browser) = machine(&ada).await;
    machine.tenant_is_up(false);
    assert_eq!(
        error(&machine.token(&ada, STORAGE)).0,
        "temporarily_unavailable"
    );
    let page = browser.open(&machine.page).await;
    assert_eq!(page.heading(), "Your Azure sign-in");
    // The hub starts without it too, and finds it when it is back.
    machine.stop().await;
    machine.start().await;
    assert_eq!(
        error(&machine.token(&ada, STORAGE)).0,
        "temporarily_unavailable"
    );
    let mut other = Browser::new(&machine.page);
    let start = other.open(&machine.page).await;
    let refused = other.press(&start, "/sign-in", &[]).await;
    assert!(refused.status.is_server_error(), "{}", refused.text);
    machine.tenant_is_up(true);
    let begun = Instant::now();
    loop {
        let reply = machine.token(&ada, STORAGE);
        if reply["result"] == true {
            assert_eq!(subject(&reply), ada.upn());
            break;
        }
        assert!(begun.elapsed() < LONG, "{reply}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_that_is_missing_for_one_resource_ends_nothing_else() {
    let ada = Local::new("ada");
    let faults = vec![Fault::new(FaultKind::ConsentRequired, Some(VAULT))];
    let people = vec![User::new("Ada", &ada.upn())];
    let machine = Machine::with_faults(people, faults, |settings| settings).await;
    machine.signed_in(&ada).await;
    let refused = machine.token(&ada, VAULT);
    assert_eq!(
        error(&refused),
        ("invalid_grant".to_owned(), json!([65_001])),
        "{refused}"
    );
    assert_eq!(subject(&machine.token(&ada, STORAGE)), ada.upn());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_during_an_exchange_gets_no_token_and_does_not_come_back() {
    let ada = Local::new("ada");
    let faults = vec![Fault::new(FaultKind::Slow, Some(VAULT))];
    let people = vec![User::new("Ada", &ada.upn())];
    let machine = Machine::with_faults(people, faults, |settings| settings).await;
    let mut browser = machine.signed_in(&ada).await;
    let (socket, uid) = (machine.socket(), ada.uid);
    let asking = std::thread::spawn(move || {
        let body = json!({"method": "delegated_azure_token", "params": [VAULT]});
        post_as(uid, &socket, "/delegated_azure_token", &body).1
    });
    // Long enough for the exchange to be under way, as a rule; whatever the order is, there must be no token.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let account = browser.open(&machine.page).await;
    let out = browser.press(&account, "/sign-out-everywhere", &[]).await;
    assert!(out.text.contains("60 to 90 minutes"), "{}", out.text);
    let reply = asking.join().unwrap();
    // It may have asked too late: then it got nothing either.
    assert!(reply["token"].is_null(), "{reply}");
    assert_eq!(error(&machine.token(&ada, STORAGE)).0, "login_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_refresh_token_asks_for_a_sign_in_and_keeps_the_binding() {
    let ada = Local::new("ada");
    let (machine, mut browser) = machine(&ada).await;
    let person = machine
        .tenant
        .users()
        .into_iter()
        .find(|user| user.user_principal_name == ada.upn());
    machine.tenant.revoke(&person.unwrap());
    let refused = machine.token(&ada, STORAGE);
    assert_eq!(
        error(&refused),
        ("invalid_grant".to_owned(), json!([50_173])),
        "{refused}"
    );
    let page = browser.open(&machine.page).await;
    assert!(page.text.contains("Sign in again"), "{}", page.text);
    let page = browser.sign_in_again(&ada.upn()).await;
    assert_eq!(page.heading(), "Your Azure sign-in");
    assert_eq!(subject(&machine.token(&ada, STORAGE)), ada.upn());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_secret_of_the_app_is_everybodys_fault_and_signs_nobody_out() {
    let ada = Local::new("ada");
    let (mut machine, _browser) = machine(&ada).await;
    let secret = machine.directory.path().join("secret");
    for (text, good) in [("canary-expired", false), ("canary-secret", true)] {
        machine.stop().await;
        std::fs::write(&secret, text).unwrap();
        machine.start().await;
        let reply = machine.token(&ada, STORAGE);
        if good {
            assert_eq!(subject(&reply), ada.upn());
        } else {
            assert_eq!(
                error(&reply),
                ("invalid_client".to_owned(), json!([7_000_215])),
                "{reply}"
            );
            assert!(!reply.to_string().contains("canary"), "{reply}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_much_waits_and_others_do_not() {
    let (ada, bob) = (Local::new("ada"), Local::new("bob"));
    let people = vec![User::new("Ada", &ada.upn()), User::new("Bob", &bob.upn())];
    let limits = |settings: String| settings + "[limits]\nexchanges_per_minute = 3\nsessions = 1\n";
    let machine = Machine::new(people, limits).await;
    machine.signed_in(&ada).await;
    machine.signed_in(&bob).await;
    for _ in 0..3 {
        subject(&machine.token(&ada, STORAGE));
    }
    let refused = machine.token(&ada, STORAGE);
    let wait = refused["oauth2_error"]["retry_after"]
        .as_i64()
        .unwrap_or_else(|| panic!("{refused}"));
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(subject(&machine.token(&bob, STORAGE)), bob.upn());
    machine.ask(&ada, "open_session", &json!({}));
    let (_, refused) = ada.post(&machine.socket(), "/hub/open_session", &json!({}));
    assert_eq!(refused["failure"]["kind"], "throttled", "{refused}");
    machine.ask(&bob, "open_session", &json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_at_each_door_and_harms_nobody() {
    let ada = Local::new("ada");
    let (machine, mut browser) = machine(&ada).await;
    let nonsense = json!({"x": 1});
    for path in [
        "/hub/wait",
        "/hub/pair",
        "/hub/no-such",
        "/admin/people",
        "/launcher/sessions",
        "/delegated_azure_token",
        "/",
    ] {
        let (status, reply) = ada.post(&machine.socket(), path, &nonsense);
        assert!(
            status >= 400 || reply.get("failure").is_some() || reply.get("error").is_some(),
            "{path}: {status} {reply}"
        );
    }
    for header in [
        "host: evil.example",
        "origin: http://localhost",
        "sec-fetch-site: same-origin",
    ] {
        let body = json!({"method": "delegated_azure_token", "params": [STORAGE]});
        let (status, _) = post_with(
            ada.uid,
            &machine.socket(),
            "/delegated_azure_token",
            &body,
            &[header],
        );
        assert_eq!(status, 403, "{header}");
    }
    for cookie in [
        "",
        "x",
        "a|b|c",
        "a|Mon%2C%2023%20Nov%202026%2000%3A00%3A00%20GMT|x",
    ] {
        assert_eq!(
            machine.token_by_cookie(cookie, STORAGE).await.0,
            401,
            "{cookie}"
        );
    }
    for path in [
        "/no-such",
        "/ticket/",
        "/ticket/a%2Fb",
        "/callback?state=a&state=b&code=c",
        "/callback",
    ] {
        let page = browser.open(&machine.page.join(path).unwrap()).await;
        assert!(page.status.is_client_error(), "{path}: {}", page.status);
    }
    assert_eq!(subject(&machine.token(&ada, STORAGE)), ada.upn());
}

/// The command itself, which can be killed.
struct Hub(Child);

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Hub {
    fn start(machine: &Machine) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_entrar-hub"))
            .arg("--config")
            .arg(machine.settings())
            .arg("serve")
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let hub = Self(child);
        let begun = Instant::now();
        while std::net::TcpStream::connect(machine.page.socket_addrs(|| None).unwrap()[0]).is_err()
        {
            assert!(begun.elapsed() < LONG, "the hub does not serve");
            std::thread::sleep(Duration::from_millis(5));
        }
        hub
    }

    /// Kills it; what it had logged.
    fn kill(mut self) -> String {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        let mut log = String::new();
        self.0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        log
    }
}

/// At a tenant that revokes a used refresh token, hubs that share a database wait for the end of the turn that died.
fn token_after_a_crash(machine: &Machine, user: &Local) {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let reply = machine.token(user, STORAGE);
        if reply["result"] == true {
            assert_eq!(subject(&reply), user.upn());
            return;
        }
        assert_eq!(error(&reply).0, "temporarily_unavailable");
        assert!(Instant::now() < until, "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_killed_loses_no_sign_in_and_has_logged_no_secret() {
    let ada = Local::new("ada");
    let machine =
        Machine::without_hub(vec![User::new("Ada", &ada.upn())], Vec::new(), |settings| {
            settings
        });
    let mut logs = String::new();
    let mut browser = Browser::new(&machine.page);
    let hub = Hub::start(&machine);
    // In the middle of a sign-in: the answer is good at the hub that comes after.
    let start = browser.open(&machine.page).await;
    let tenant = browser.press(&start, "/sign-in", &[]).await;
    logs += &hub.kill();
    let hub = Hub::start(&machine);
    let question = browser
        .at_tenant(&tenant, &[("answer", "sign_in"), ("user", &ada.upn())])
        .await;
    assert_eq!(question.heading(), "Is this you?");
    logs += &hub.kill();
    let hub = Hub::start(&machine);
    browser
        .press(&question, "/confirm", &[("answer", "yes")])
        .await;
    let session = machine.ask(&ada, "open_session", &json!({}));
    let cookie = session["cookie"].as_str().unwrap().to_owned();
    logs += &hub.kill();
    // In the middle of exchanges.
    for _ in 0..3 {
        let hub = Hub::start(&machine);
        token_after_a_crash(&machine, &ada);
        let (socket, uid) = (machine.socket(), ada.uid);
        let asking: Vec<_> = (0..4)
            .map(|number| {
                let socket = socket.clone();
                std::thread::spawn(move || {
                    let resource = [STORAGE, VAULT][number % 2];
                    let body = json!({"method": "delegated_azure_token", "params": [resource]});
                    // It may or may not be answered.
                    std::panic::catch_unwind(|| {
                        post_as(uid, &socket, "/delegated_azure_token", &body)
                    })
                    .is_ok()
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(30));
        logs += &hub.kill();
        for asked in asking {
            asked.join().unwrap();
        }
    }
    let hub = Hub::start(&machine);
    token_after_a_crash(&machine, &ada);
    let (status, reply) = machine.token_by_cookie(&cookie, STORAGE).await;
    assert_eq!((status, subject(&reply)), (200, ada.upn()));
    logs += &hub.kill();
    assert!(logs.contains("exchange account="), "{logs}");
    let page_session = browser.cookie("__Host-entrar-session").unwrap();
    for secret in ["canary", "eyJ", &cookie, page_session] {
        assert!(!logs.contains(secret), "{logs}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_found_by_check() {
    let machine = Machine::without_hub(vec![User::default()], Vec::new(), |settings| settings);
    for (shift, direction) in [
        ("+5 minutes", "300 seconds ahead of"),
        ("-5 minutes", "300 seconds behind"),
    ] {
        let output = Command::new("faketime")
            .args(["-f", shift, env!("CARGO_BIN_EXE_entrar-hub"), "--config"])
            .arg(machine.settings())
            .arg("check")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("PROBLEM  clock"), "{said}");
        let rounded = direction.replace("300", "");
        assert!(said.contains(rounded.trim()), "{direction}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_users_ask_at_once_and_each_gets_their_own() {
    let users: Vec<_> = (0..200).map(|_| Local::new("many")).collect();
    let people = users
        .iter()
        .map(|user| User::new(&user.name, &user.upn()))
        .collect();
    let machine = Machine::new(people, |settings| settings).await;
    for user in &users {
        machine.signed_in(user).await;
    }
    let machine = std::sync::Arc::new(machine);
    let asked: Vec<_> = users
        .iter()
        .map(|user| {
            let (machine, uid, upn) = (std::sync::Arc::clone(&machine), user.uid, user.upn());
            std::thread::spawn(move || (subject(&machine.token_as(uid, STORAGE)), upn))
        })
        .collect();
    for asked in asked {
        let (subject, upn) = asked.join().unwrap();
        assert_eq!(subject, upn);
    }
    let (_, audit) = machine.command(&["audit", "--json", "--rows", "200"]);
    let tokens = audit
        .lines()
        .filter(|line| line.contains("\"event\":\"token\""))
        .count();
    assert_eq!(tokens, 200, "a row for each");
}
