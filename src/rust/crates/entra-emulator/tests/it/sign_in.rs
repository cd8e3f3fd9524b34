//! The authorization endpoint: what it asks, and how its answers reach the app.

use axum::http::StatusCode;
use entra_emulator::{App, Fault, FaultKind, Membership, Options, Step, User};

use crate::browser::{Browser, hidden, location};
use crate::{Emulated, Reply};

fn refused(reply: &Reply) -> (String, String) {
    let (_, mut query) = location(reply);
    assert_eq!(query["state"], "the state");
    let description = query.remove("error_description").unwrap();
    let (code, _) = description.split_once(':').unwrap();
    (query["error"].clone(), code.to_owned())
}

#[test]
fn a_person_signs_in_and_the_app_gets_a_code_and_its_state() {
    let emulated = Emulated::new();
    let browser = Browser::new(&emulated);
    let reply = browser.answer(&[("answer", "sign_in"), ("user", "ADA@example.com")]);
    let (address, query) = location(&reply);
    assert_eq!(address, "http://localhost:1234/");
    let mut names: Vec<_> = query.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["code", "session_state", "state"]);
    assert_eq!(query["state"], "the state");
    assert_eq!(reply.header("referrer-policy"), "no-referrer");
    assert_eq!(reply.header("cache-control"), "no-store");
}

#[test]
fn the_answer_comes_in_the_query_the_fragment_or_a_form() {
    let emulated = Emulated::new();
    let ada = [("answer", "sign_in"), ("user", "ada@example.com")];
    let browser = Browser::new(&emulated).with("response_mode", "fragment");
    let reply = browser.answer(&ada);
    let location = reply.header("location");
    assert!(
        location.starts_with("http://localhost:1234/#code="),
        "{location}"
    );
    assert!(location.ends_with("&state=the+state"), "{location}");

    let browser = Browser::new(&emulated)
        .with("response_mode", "form_post")
        .with("state", "\"><script>");
    let reply = browser.answer(&ada);
    assert_eq!(reply.status, StatusCode::OK);
    assert!(
        reply
            .text
            .contains("<form method=\"post\" action=\"http://localhost:1234/\">")
    );
    assert_eq!(hidden(&reply, "state"), "&quot;&gt;&lt;script&gt;");
    assert_eq!(hidden(&reply, "code").len(), 64);
    assert!(
        reply
            .header("content-security-policy")
            .contains("form-action 'self' http://localhost:1234;")
    );
}

#[test]
fn a_person_declines_or_lets_the_sign_in_fail() {
    let emulated = Emulated::new();
    let browser = Browser::new(&emulated);
    let answer = |fields: &[(&str, &str)]| refused(&browser.answer(fields));
    let expect = |error: &str, code: &str| (error.to_owned(), code.to_owned());
    assert_eq!(
        answer(&[("answer", "deny")]),
        expect("access_denied", "AADSTS65004")
    );
    assert_eq!(
        answer(&[("answer", "fail"), ("error", "50105")]),
        expect("access_denied", "AADSTS50105")
    );
    assert_eq!(
        answer(&[("answer", "fail"), ("error", "90094")]),
        expect("access_denied", "AADSTS90094")
    );
    assert_eq!(
        answer(&[("answer", "fail"), ("error", "123456")]),
        expect("server_error", "AADSTS123456")
    );
}

#[test]
fn a_page_is_answered_once_and_within_ten_minutes() {
    let emulated = Emulated::new();
    let browser = Browser::new(&emulated);
    let (page, late) = (browser.get(), browser.get());
    let ada = [("answer", "sign_in"), ("user", "ada@example.com")];
    // What makes no sense is no answer.
    for fields in [
        &[("answer", "sign_in")][..],
        &[("answer", "sign_in"), ("user", "nobody@example.com")],
        &[("answer", "fail"), ("error", "many")],
        &[("answer", "perhaps")],
        &[],
    ] {
        let reply = browser.post(&page, fields);
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{fields:?}");
        assert!(reply.text.contains("AADSTS"), "{}", reply.text);
    }
    emulated.wait(599);
    assert_eq!(browser.post(&page, &ada).status, StatusCode::FOUND);
    emulated.wait(1);
    for page in [page, late] {
        let reply = browser.post(&page, &ada);
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(reply.text.contains("This sign-in is over"));
    }
}

#[test]
fn an_app_that_is_not_known_and_an_address_that_is_not_registered_get_no_answer() {
    let emulated = Emulated::new();
    for (name, value, code) in [
        (
            "client_id",
            "11111111-2222-4333-8444-555555555555",
            "AADSTS700016",
        ),
        ("client_id", "", "AADSTS900144"),
        ("redirect_uri", "https://elsewhere.example/", "AADSTS50011"),
        ("redirect_uri", "http://localhost:1/callback", "AADSTS50011"),
        ("redirect_uri", "javascript:alert(1)", "AADSTS50011"),
        ("redirect_uri", "", "AADSTS900144"),
    ] {
        let reply = Browser::new(&emulated).with(name, value).get();
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{value}");
        assert!(reply.headers.get("location").is_none());
        assert!(reply.text.contains(&format!("{code}: ")), "{}", reply.text);
    }
}

#[test]
fn a_request_that_makes_no_sense_is_answered_to_the_app() {
    let emulated = Emulated::new();
    for (name, value, error, code) in [
        (
            "response_type",
            "token",
            "unsupported_response_type",
            "AADSTS700054",
        ),
        ("response_type", "", "invalid_request", "AADSTS900144"),
        ("response_mode", "pigeon", "invalid_request", "AADSTS90023"),
        ("scope", "", "invalid_request", "AADSTS900144"),
        ("scope", "User.Read", "invalid_scope", "AADSTS70011"),
        (
            "scope",
            "https://nowhere.example/.default",
            "invalid_resource",
            "AADSTS500011",
        ),
        ("code_challenge", "short", "invalid_request", "AADSTS501491"),
        (
            "code_challenge_method",
            "plain",
            "invalid_request",
            "AADSTS90023",
        ),
        ("prompt", "beg", "invalid_request", "AADSTS90023"),
        ("claims", "no json", "invalid_request", "AADSTS90023"),
        ("prompt", "none", "login_required", "AADSTS50058"),
    ] {
        let reply = Browser::new(&emulated).with(name, value).get();
        let expected = (error.to_owned(), code.to_owned());
        assert_eq!(refused(&reply), expected, "{name}={value}");
    }
}

fn several_users() -> Options {
    let stranger = User {
        membership: Membership::Other("aaaaaaaa-1111-4222-8333-444444444444".to_owned()),
        ..User::new("Zoe Elsewhere", "zoe@elsewhere.example")
    };
    Options {
        users: vec![
            User::default(),
            User::new("Bob van der Berg", "bob@example.com"),
            User::new("Grace Partner", "grace@partner.example").guest(),
            stranger,
        ],
        apps: vec![App {
            optional_claims: true,
            ..App::default()
        }],
        ..Options::default()
    }
}

#[test]
fn the_page_offers_everybody_and_preselects_whom_the_app_names() {
    let emulated = Emulated::with(several_users());
    let checked = |page: &Reply| {
        let (before, _) = page.text.split_once(" checked")?;
        Some(
            before
                .rsplit_once("value=\"")?
                .1
                .trim_end_matches("\" required")
                .to_owned(),
        )
    };
    let page = Browser::new(&emulated).get();
    assert_eq!(page.text.matches("type=\"radio\"").count(), 4);
    assert!(page.text.contains("Grace Partner (guest)"));
    assert_eq!(checked(&page), Some(User::default().object_id));
    let page = Browser::new(&emulated)
        .with("login_hint", "BOB@example.com")
        .get();
    let bob = User::new("", "bob@example.com").object_id;
    assert_eq!(checked(&page), Some(bob));
    let page = Browser::new(&emulated)
        .with("prompt", "select_account")
        .get();
    assert_eq!(checked(&page), None);
}

#[test]
fn a_stranger_signs_in_through_an_alias_alone() {
    let emulated = Emulated::with(several_users());
    let zoe = [("answer", "sign_in"), ("user", "zoe@elsewhere.example")];
    let reply = Browser::new(&emulated).answer(&zoe);
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert!(reply.text.contains("AADSTS50020: "));
    for alias in ["organizations", "common"] {
        let reply = Browser::new(&emulated).at(alias).answer(&zoe);
        assert_eq!(location(&reply).0, "http://localhost:1234/");
    }
}

#[test]
fn nobody_is_asked_where_consent_is_automatic() {
    let emulated = Emulated::with(Options {
        auto_consent: true,
        ..several_users()
    });
    let object_id = |browser: Browser<'_>| {
        let code = location(&browser.get()).1["code"].clone();
        let reply = crate::codes::redeem(&emulated, &code);
        emulated.claims(reply.json()["id_token"].as_str().unwrap())["oid"].clone()
    };
    assert_eq!(
        object_id(Browser::new(&emulated).with("prompt", "none")),
        User::default().object_id
    );
    let bob = Browser::new(&emulated).with("login_hint", "bob@example.com");
    assert_eq!(object_id(bob), User::new("", "bob@example.com").object_id);
}

#[test]
fn the_authorization_endpoint_has_faults_of_its_own() {
    let emulated = |kind: FaultKind| {
        Emulated::with(Options {
            faults: vec![Fault::new(kind, None).at(Step::Authorize)],
            ..Options::default()
        })
    };
    for (kind, error, code) in [
        (FaultKind::SignInRequired, "login_required", "AADSTS50058"),
        (
            FaultKind::ConsentRequired,
            "consent_required",
            "AADSTS65001",
        ),
        (FaultKind::AccessDenied, "access_denied", "AADSTS53003"),
        (
            FaultKind::MfaRequired,
            "interaction_required",
            "AADSTS50076",
        ),
        (
            FaultKind::Unavailable,
            "temporarily_unavailable",
            "AADSTS90033",
        ),
    ] {
        let reply = Browser::new(&emulated(kind)).get();
        assert_eq!(refused(&reply), (error.to_owned(), code.to_owned()));
    }
    assert_eq!(
        Browser::new(&emulated(FaultKind::Throttled)).get().status,
        429
    );
    // The token endpoint has none of them.
    let throttled = emulated(FaultKind::Throttled);
    let scope = "https://storage.azure.com/.default";
    assert_eq!(
        throttled.exchange(&throttled.refresh_token, scope).status,
        200
    );

    let wrong_state = Emulated::with(Options {
        faults: vec![Fault::new(FaultKind::WrongState, None)],
        ..Options::default()
    });
    let ada = [("answer", "sign_in"), ("user", "ada@example.com")];
    let reply = Browser::new(&wrong_state).answer(&ada);
    assert_eq!(location(&reply).1["state"], "another state");
}
