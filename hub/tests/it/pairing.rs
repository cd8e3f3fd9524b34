//! Pairing by a code: who gets it, who may type it, and what a sent link leads to.

use entra_emulator::User;
use reqwest::StatusCode;
use serde_json::{Value, json};
use url::Url;

use crate::browser::{Browser, Page};
use crate::machine::{Local, Machine, STORAGE, subject};

/// A hub whose rule fits nobody, and that lets this user pair.
async fn machine(user: &Local, people: &[&str]) -> Machine {
    let people = people
        .iter()
        .map(|name| User::new(name, &format!("{name}@example.com")))
        .collect();
    let change = |settings: String| {
        settings.replace(
            "{user}@example.com\"",
            "{user}@elsewhere.example\"\npairing = true",
        )
    };
    let machine = Machine::new(people, change).await;
    let (good, said) = machine.command(&["pair", &user.name, "--for", "1h"]);
    assert!(good && said.contains("may pair once until"), "{said}");
    machine
}

async fn begin(machine: &Machine, user: &Local) -> (Value, Url) {
    let begun = machine.ask(user, "begin", &json!({}));
    assert_eq!(begun["pairs"], true, "{begun}");
    let address = begun["address"].as_str().unwrap();
    (begun["id"].clone(), Url::parse(address).unwrap())
}

/// Opens a session's address and signs in as this person; the page that comes of it.
async fn signed_in(machine: &Machine, browser: &mut Browser, address: &Url, person: &str) -> Page {
    let start = browser.open(address).await;
    assert_eq!(
        start.url, machine.page,
        "the ticket does not stay in the address"
    );
    let tenant = browser.press(&start, "/sign-in", &[]).await;
    let asked: Vec<_> = tenant.url.query_pairs().into_owned().collect();
    assert!(
        asked.contains(&("prompt".to_owned(), "select_account".to_owned())),
        "{asked:?}"
    );
    let user = format!("{person}@example.com");
    browser
        .at_tenant(&tenant, &[("answer", "sign_in"), ("user", &user)])
        .await
}

fn code(page: &Page) -> String {
    let symbols = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    let words = page.text.split(|c: char| !symbols(c) && c != '-');
    let mut codes = words.filter(|word| word.len() == 9 && word.chars().nth(4) == Some('-'));
    codes
        .next()
        .unwrap_or_else(|| panic!("{}", page.text))
        .to_owned()
}

fn state(machine: &Machine, user: &Local, id: &Value) -> Value {
    machine.ask(user, "wait", &json!({"id": id, "seconds": 0}))
}

fn pair(machine: &Machine, user: &Local, id: &Value, code: &str) -> Value {
    let (_, reply) = user.post(
        &machine.socket(),
        "/hub/pair",
        &json!({"id": id, "code": code}),
    );
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_from_the_page_typed_into_the_session_binds_both() {
    let ada = Local::new("ada");
    let machine = machine(&ada, &["lovelace"]).await;
    let (id, address) = begin(&machine, &ada).await;
    assert_eq!(state(&machine, &ada, &id)["state"], "waiting");
    let mut browser = Browser::new(&machine.page);
    let page = signed_in(&machine, &mut browser, &address, "lovelace").await;
    assert_eq!((page.url.path(), page.url.query()), ("/pairing", None));
    assert!(
        page.text.contains(&ada.name) && page.text.contains("lovelace"),
        "{}",
        page.text
    );
    assert_eq!(
        state(&machine, &ada, &id),
        json!({"state": "code_wanted", "tries_left": 3})
    );
    // A click is not enough: nobody is signed in yet.
    assert_eq!(
        machine.token(&ada, STORAGE)["oauth2_error"]["error"],
        "login_required"
    );
    let typed = code(&page).to_lowercase();
    let paired = pair(&machine, &ada, &id, &typed);
    assert_eq!(
        paired["result"]["account"]["username"], "lovelace@example.com",
        "{paired}"
    );
    assert_eq!(
        subject(&machine.token(&ada, STORAGE)),
        "lovelace@example.com"
    );
    // The code, the ticket and the permission have served.
    assert_eq!(
        pair(&machine, &ada, &id, &typed)["failure"]["kind"],
        "sign_in_required"
    );
    assert_eq!(machine.ask(&ada, "begin", &json!({}))["pairs"], false);
    let gone = browser.open(&page.url).await;
    assert_eq!(gone.status, StatusCode::GONE);
    let (_, audit) = machine.command(&["audit", "--json"]);
    assert!(
        !audit.contains(&code(&page)) && audit.contains("by a code"),
        "{audit}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_wrong_code_throws_the_sign_in_away() {
    let ada = Local::new("ada");
    let machine = machine(&ada, &["lovelace"]).await;
    let (id, address) = begin(&machine, &ada).await;
    let mut browser = Browser::new(&machine.page);
    assert_eq!(
        pair(&machine, &ada, &id, "AAAA-AAAA")["failure"]["kind"],
        "bad_reply"
    );
    let page = signed_in(&machine, &mut browser, &address, "lovelace").await;
    for left in [2, 1] {
        let wrong = pair(&machine, &ada, &id, "not it");
        assert_eq!(
            wrong["result"],
            json!({"state": "code_wanted", "tries_left": left}),
            "{wrong}"
        );
    }
    let last = pair(&machine, &ada, &id, "not it");
    assert_eq!(last["failure"]["kind"], "sign_in_required", "{last}");
    let fourth = pair(&machine, &ada, &id, &code(&page));
    assert_eq!(fourth["failure"]["kind"], "sign_in_required", "{fourth}");
    assert_eq!(
        machine.token(&ada, STORAGE)["oauth2_error"]["error"],
        "login_required"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_sent_brings_the_sender_nothing() {
    let (mallory, bob) = (Local::new("mallory"), Local::new("bob"));
    let machine = machine(&mallory, &["robert"]).await;
    let (id, address) = begin(&machine, &mallory).await;
    // Robert follows Mallory's link and signs in. He is told who asks, and can stop it.
    let mut roberts = Browser::new(&machine.page);
    let page = signed_in(&machine, &mut roberts, &address, "robert").await;
    assert!(page.text.contains(&mallory.name), "{}", page.text);
    assert_eq!(
        machine.token(&mallory, STORAGE)["oauth2_error"]["error"],
        "login_required"
    );
    // Mallory's own browser is not shown the code, though it knows the ticket.
    let mut mallorys = Browser::new(&machine.page);
    mallorys.open(&address).await;
    let peeked = mallorys.open(&page.url).await;
    assert_eq!(peeked.status, StatusCode::GONE, "{}", peeked.text);
    // Nor can another user type it.
    let foreign = pair(&machine, &bob, &id, &code(&page));
    assert_eq!(foreign["failure"]["kind"], "sign_in_required", "{foreign}");
    let stopped = roberts.press(&page, "/pairing/not-me", &[]).await;
    assert!(
        stopped.text.contains("The pairing was stopped"),
        "{}",
        stopped.text
    );
    let late = pair(&machine, &mallory, &id, &code(&page));
    assert_eq!(late["failure"]["kind"], "sign_in_required", "{late}");
    assert_eq!(
        machine.token(&mallory, STORAGE)["oauth2_error"]["error"],
        "login_required"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_pairs_without_the_administrators_word_or_anew() {
    let (ada, bob) = (Local::new("ada"), Local::new("bob"));
    let machine = machine(&ada, &["lovelace"]).await;
    // Bob may not.
    assert_eq!(machine.ask(&bob, "begin", &json!({}))["pairs"], false);
    let mut browser = Browser::new(&machine.page);
    let page = browser.sign_in("lovelace@example.com").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text);
    let (id, address) = begin(&machine, &ada).await;
    let page = signed_in(&machine, &mut browser, &address, "lovelace").await;
    pair(&machine, &ada, &id, &code(&page));
    // An account that is bound already is not bound to somebody else.
    let (good, said) = machine.command(&["pair", &bob.name]);
    assert!(good, "{said}");
    let (id, address) = begin(&machine, &bob).await;
    let mut again = Browser::new(&machine.page);
    let page = signed_in(&machine, &mut again, &address, "lovelace").await;
    assert_eq!(
        page.heading(),
        "Your Azure sign-in",
        "the account page of its own user"
    );
    assert_eq!(state(&machine, &bob, &id)["state"], "waiting");
    assert_eq!(
        machine.token(&bob, STORAGE)["oauth2_error"]["error"],
        "login_required"
    );
    let (good, said) = machine.command(&["pair", &ada.name]);
    assert!(
        !good && said.contains("is bound to an account already"),
        "{said}"
    );
    let (good, said) = machine.command(&["pair", "root"]);
    assert!(!good && said.contains("is root"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_permission_binds_once_whatever_was_shown_before() {
    let ada = Local::new("ada");
    let machine = machine(&ada, &["first", "second"]).await;
    let mut asked = Vec::new();
    for person in ["first", "second"] {
        let (id, address) = begin(&machine, &ada).await;
        let mut browser = Browser::new(&machine.page);
        let page = signed_in(&machine, &mut browser, &address, person).await;
        asked.push((id, code(&page)));
    }
    let (id, code) = &asked[0];
    assert_eq!(
        pair(&machine, &ada, id, code)["result"]["state"],
        "signed_in"
    );
    let (good, said) = machine.command(&["unbind", &ada.name]);
    assert!(good, "{said}");
    let (id, code) = &asked[1];
    assert_eq!(
        pair(&machine, &ada, id, code)["failure"]["kind"],
        "access_denied"
    );
    assert_eq!(
        machine.token(&ada, STORAGE)["oauth2_error"]["error"],
        "login_required"
    );
}
