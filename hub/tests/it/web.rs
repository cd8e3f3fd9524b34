//! The page: who may answer a sign-in, what a form has to bring along, and what a stranger meets.

use entra_emulator::User;
use reqwest::{Method, StatusCode};
use serde_json::json;
use url::Url;

use crate::browser::{Browser, Page, client};
use crate::machine::{Local, Machine, STORAGE, subject};

async fn machine(user: &Local) -> Machine {
    Machine::new(vec![User::new("Ada Lovelace", &user.upn())], |settings| {
        settings
    })
    .await
}

/// The address that the tenant sends the browser back to, which has not been opened yet.
async fn answer(machine: &Machine, browser: &mut Browser, user: &Local) -> Url {
    let start = browser.open(&machine.page).await;
    let tenant = browser.press(&start, "/sign-in", &[]).await;
    let page = browser
        .submit(&tenant, &[("answer", "sign_in"), ("user", &user.upn())])
        .await;
    let location = page.headers["location"].to_str().unwrap();
    assert!(location.starts_with(machine.page.as_str()), "{location}");
    Url::parse(location).unwrap()
}

fn is_closed(page: &Page) {
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(page.headers[name], value, "{}", page.url);
    }
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_in_the_browser_that_began_and_once() {
    let ada = Local::new("ada");
    let machine = machine(&ada).await;
    let mut browser = Browser::new(&machine.page);
    let answer = answer(&machine, &mut browser, &ada).await;
    // A link that somebody sends leads nowhere in the reader's browser, and does not end the sign-in.
    let mut other = Browser::new(&machine.page);
    let refused = other.open(&answer).await;
    assert!(refused.status.is_client_error(), "{}", refused.status);
    other.open(&machine.page).await;
    let refused = other.open(&answer).await;
    assert!(refused.status.is_client_error(), "{}", refused.status);
    assert_eq!(refused.url, machine.page.join("/other-browser").unwrap());
    is_closed(&refused);
    // Nor does a wrong state, or a POST.
    let mut wrong = answer.clone();
    wrong.set_query(Some("code=x&state=y"));
    assert!(browser.open(&wrong).await.status.is_client_error());
    let posted = browser
        .ask(Method::POST, &answer, Some(String::new()))
        .await;
    assert_eq!(posted.status, StatusCode::METHOD_NOT_ALLOWED);
    let question = browser.open(&answer).await;
    assert_eq!(question.heading(), "Is this you?");
    // The code and the state have served.
    let again = browser.open(&answer).await;
    assert!(again.status.is_client_error(), "{}", again.status);
    let account = browser
        .press(&question, "/confirm", &[("answer", "yes")])
        .await;
    assert_eq!(account.heading(), "Your Azure sign-in");
    is_closed(&account);
    // The question is answered once.
    let over = browser
        .press(&question, "/confirm", &[("answer", "yes")])
        .await;
    assert!(over.status.is_client_error(), "{}", over.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_no_is_kept_nowhere() {
    let ada = Local::new("ada");
    let machine = machine(&ada).await;
    let mut browser = Browser::new(&machine.page);
    let question = browser.sign_in(&ada.upn()).await;
    let declined = browser
        .press(&question, "/confirm", &[("answer", "no")])
        .await;
    assert_eq!(declined.status, StatusCode::OK);
    assert!(browser.cookie("__Host-entrar-session").is_none());
    assert_eq!(
        machine.token(&ada, STORAGE)["oauth2_error"]["error"],
        "login_required"
    );
    // The next sign-in asks again.
    assert_eq!(browser.sign_in(&ada.upn()).await.heading(), "Is this you?");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_taken_from_our_own_page_only() {
    let ada = Local::new("ada");
    let machine = machine(&ada).await;
    let mut browser = Browser::new(&machine.page);
    let start = browser.open(&machine.page).await;
    let csrf = start.hidden("csrf").to_owned();
    let url = machine.page.join("/sign-in").unwrap();
    for form in [
        String::new(),
        "csrf=".to_owned(),
        "csrf=x".to_owned(),
        "x=%".to_owned(),
    ] {
        let page = browser.ask(Method::POST, &url, Some(form.clone())).await;
        assert!(page.status.is_client_error(), "{form}: {}", page.status);
    }
    // Of another browser.
    let mut other = Browser::new(&machine.page);
    other.open(&machine.page).await;
    let page = other
        .ask(Method::POST, &url, Some(format!("csrf={csrf}")))
        .await;
    assert!(page.status.is_client_error(), "{}", page.status);
    // From another site.
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("host", "evil.example"),
    ] {
        let page = browser
            .ask_with(
                Method::POST,
                &url,
                Some(format!("csrf={csrf}")),
                &[(name, value)],
            )
            .await;
        assert!(
            page.status.is_client_error(),
            "{name}: {value}: {}",
            page.status
        );
    }
    for host in ["evil.example", "127.0.0.1", "localhost", "a b", ""] {
        let page = browser
            .ask_with(Method::GET, &machine.page, None, &[("host", host)])
            .await;
        assert!(page.status.is_client_error(), "{host}: {}", page.status);
        assert!(page.headers.get("set-cookie").is_none(), "{host}");
    }
    // What a proxy would say about where it comes from changes nothing.
    let forwarded = [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "host=evil.example"),
    ];
    let page = browser
        .ask_with(Method::GET, &machine.page, None, &forwarded)
        .await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.text.contains("evil.example"));
    let tenant = browser
        .ask_with(Method::POST, &url, Some(format!("csrf={csrf}")), &forwarded)
        .await;
    assert_eq!(tenant.status, StatusCode::OK, "{}", tenant.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_tenant_says_is_shown_without_markup() {
    let ada = Local::new("ada");
    let machine = machine(&ada).await;
    let mut browser = Browser::new(&machine.page);
    let start = browser.open(&machine.page).await;
    let tenant = browser.press(&start, "/sign-in", &[]).await;
    let state = tenant
        .url
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    let mut answer = machine.page.join("/callback").unwrap();
    answer
        .query_pairs_mut()
        .append_pair("error", "access_denied")
        .append_pair(
            "error_description",
            "<script>alert(1)</script>\"onload=x\u{202e}\u{1b}[31m",
        )
        .append_pair("state", &state);
    let page = browser.open(&answer).await;
    assert!(page.status.is_client_error(), "{}", page.status);
    assert!(
        page.text.contains("&#60;script&#62;") || page.text.contains("&lt;script&gt;"),
        "{}",
        page.text
    );
    assert!(
        !page.text.contains("<script") && !page.text.contains(['\u{202e}', '\u{1b}']),
        "{}",
        page.text
    );
    is_closed(&page);
    // What the browser shows, and keeps, is not the address with the answer.
    let outcome = machine.page.join("/outcome").unwrap();
    assert_eq!(page.url, outcome);
    assert_eq!(browser.open(&outcome).await.text, page.text);
    let mut other = Browser::new(&machine.page);
    assert_eq!(other.open(&outcome).await.url, machine.page);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_ends_everything_and_says_what_it_cannot() {
    let ada = Local::new("ada");
    let machine = machine(&ada).await;
    let mut browser = machine.signed_in(&ada).await;
    let account = browser.open(&machine.page).await;
    let session = machine.ask(&ada, "open_session", &json!({}));
    let cookie = session["cookie"].as_str().unwrap().to_owned();
    assert_eq!(
        subject(&machine.token_by_cookie(&cookie, STORAGE).await.1),
        ada.upn()
    );
    // Programs of other machines ask beside the page.
    let page = machine.page.as_str().trim_end_matches('/');
    let (status, reply) = machine.token_at(page, &cookie, STORAGE).await;
    assert_eq!((status, subject(&reply)), (200, ada.upn()));
    let account = browser.open(&account.url).await;
    let id = cookie.split('|').next().unwrap();
    assert!(account.text.contains(id), "{}", account.text);
    let out = browser.press(&account, "/sign-out-everywhere", &[]).await;
    assert!(out.text.contains("60 to 90 minutes"), "{}", out.text);
    assert_eq!(machine.token_by_cookie(&cookie, STORAGE).await.0, 401);
    assert_eq!(
        machine.token(&ada, STORAGE)["oauth2_error"]["error"],
        "login_required"
    );
    assert_eq!(
        browser.open(&machine.page).await.heading(),
        "Azure tokens for your sessions on ".to_owned() + machine.page.authority()
    );
    // Who has been bound is not asked again.
    assert_eq!(
        browser.sign_in(&ada.upn()).await.heading(),
        "Your Azure sign-in"
    );
    assert_eq!(subject(&machine.token(&ada, STORAGE)), ada.upn());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_ended_by_its_own_user_alone() {
    let (ada, bob) = (Local::new("ada"), Local::new("bob"));
    let people = vec![User::new("Ada", &ada.upn()), User::new("Bob", &bob.upn())];
    let machine = Machine::new(people, |settings| settings).await;
    let mut pages = Vec::new();
    for user in [&ada, &bob] {
        let mut browser = Browser::new(&machine.page);
        let question = browser.sign_in(&user.upn()).await;
        let account = browser
            .press(&question, "/confirm", &[("answer", "yes")])
            .await;
        pages.push((browser, account));
    }
    let cookie = |user: &Local| {
        let session = machine.ask(user, "open_session", &json!({}));
        session["cookie"].as_str().unwrap().to_owned()
    };
    let (of_ada, of_bob) = (cookie(&ada), cookie(&bob));
    let id = |cookie: &str| cookie.split('|').next().unwrap().to_owned();
    let (mut browser, account) = pages.pop().unwrap();
    let page = browser
        .press(&account, "/sessions/end", &[("session", &id(&of_ada))])
        .await;
    assert!(
        page.text.contains("That session had ended already."),
        "{}",
        page.text
    );
    assert_eq!(machine.token_by_cookie(&of_ada, STORAGE).await.0, 200);
    let page = browser
        .press(&account, "/sessions/end", &[("session", &id(&of_bob))])
        .await;
    assert!(
        page.text.contains("The session was ended."),
        "{}",
        page.text
    );
    assert_eq!(machine.token_by_cookie(&of_bob, STORAGE).await.0, 401);
    assert_eq!(machine.token_by_cookie(&of_ada, STORAGE).await.0, 200);
    // A forged or foreign cookie is refused in the same words.
    let forged = of_ada.replace(&id(&of_ada), &id(&of_bob));
    assert_eq!(machine.token_by_cookie(&forged, STORAGE).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_is_tried_without_a_token_being_shown() {
    let ada = Local::new("ada");
    let machine = machine(&ada).await;
    let mut browser = machine.signed_in(&ada).await;
    let account = browser.open(&machine.page).await;
    let good = browser
        .press(&account, "/try", &[("resource", STORAGE)])
        .await;
    assert!(good.text.contains("It works"), "{}", good.text);
    assert!(!good.text.contains("eyJ"), "{}", good.text);
    let bad = browser
        .press(&account, "/try", &[("resource", "https://no-such.example")])
        .await;
    assert!(bad.text.contains("No token"), "{}", bad.text);
    let nonsense = browser
        .press(&account, "/try", &[("resource", "<b>&\"'")])
        .await;
    assert!(!nonsense.text.contains("<b>"), "{}", nonsense.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_page_in_another_tab_does_nothing_to_somebody_else() {
    let (ada, bob) = (Local::new("ada"), Local::new("bob"));
    let people = vec![User::new("Ada", &ada.upn()), User::new("Bob", &bob.upn())];
    let machine = Machine::new(people, |settings| settings).await;
    let mut browser = Browser::new(&machine.page);
    let about_ada = browser.sign_in(&ada.upn()).await;
    let about_bob = browser.sign_in(&bob.upn()).await;
    // A yes to Ada must not sign Bob in.
    let stale = browser
        .press(&about_ada, "/confirm", &[("answer", "yes")])
        .await;
    assert_eq!(stale.status, StatusCode::FORBIDDEN, "{}", stale.text);
    let of_bob = browser
        .press(&about_bob, "/confirm", &[("answer", "yes")])
        .await;
    assert_eq!(of_bob.heading(), "Your Azure sign-in");
    browser.press(&of_bob, "/sign-out", &[]).await;
    let question = browser.sign_in(&ada.upn()).await;
    browser
        .press(&question, "/confirm", &[("answer", "yes")])
        .await;
    let stale = browser.press(&of_bob, "/sign-out-everywhere", &[]).await;
    assert_eq!(stale.status, StatusCode::FORBIDDEN, "{}", stale.text);
    for user in [&ada, &bob] {
        assert_eq!(subject(&machine.token(user, STORAGE)), user.upn());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_not_taken_in() {
    let machine = Machine::new(vec![User::default()], |settings| settings).await;
    let http = client(None);
    for path in ["/launcher/sessions", "/sign-in"] {
        let url = machine.page.join(path).unwrap();
        let reply = http
            .post(url)
            .body(vec![b'x'; 20_000])
            .send()
            .await
            .unwrap();
        assert!(
            reply.status().is_client_error(),
            "{path}: {}",
            reply.status()
        );
    }
}
