//! The pages: that nothing hostile comes out of them as it went in, and that they need nobody else.

use axum::http::StatusCode;
use entra_emulator::{App, Options, User};

use crate::browser::{Browser, SCOPE};
use crate::{Emulated, Reply};

const HOSTILE: &str = "\"'><script>alert(1)</script>&amp;\u{1b}\u{0}";

fn assert_harmless(reply: &Reply) {
    assert!(!reply.text.contains("<script>"), "{}", reply.text);
    assert!(!reply.text.contains("alert(1)</"), "{}", reply.text);
    assert!(!reply.text.contains(['\u{1b}', '\u{0}']));
    assert!(reply.text.starts_with("<!doctype html>"));
    assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(reply.header("x-frame-options"), "DENY");
    assert_eq!(reply.header("referrer-policy"), "no-referrer");
    assert_eq!(reply.header("cache-control"), "no-store");
    let policy = reply.header("content-security-policy");
    assert!(policy.starts_with(
        "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'"
    ));
    assert!(policy.contains("frame-ancestors 'none'; base-uri 'none'"));
}

#[test]
fn what_a_request_and_a_registration_say_is_escaped() {
    let emulated = Emulated::with(Options {
        apps: vec![App {
            name: HOSTILE.to_owned(),
            redirect_uris: vec!["https://hub.example/?a='&b=\"<script>".to_owned()],
            ..App::default()
        }],
        users: vec![User {
            object_id: HOSTILE.to_owned(),
            ..User::new(HOSTILE, HOSTILE)
        }],
        ..Options::default()
    });
    let browser = || {
        Browser::new(&emulated)
            .with("redirect_uri", "https://hub.example/?a='&b=\"<script>")
            .with("state", HOSTILE)
            .with("login_hint", HOSTILE)
            .with("domain_hint", HOSTILE)
            .with("claims", "{\"a\": \"<script>alert(1)</script>\"}")
            .with("response_mode", "form_post")
    };
    let page = browser().get();
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("&lt;script&gt;alert(1)"));
    assert_harmless(&page);
    assert_harmless(&browser().post(&page, &[("answer", HOSTILE)]));
    let nobody = [("answer", "sign_in"), ("user", "<script>alert(1)</script>")];
    assert_harmless(&browser().post(&page, &nobody));
    assert_harmless(&browser().post(&page, &[("answer", "fail"), ("error", HOSTILE)]));
    let posted = browser().post(&page, &[("answer", "sign_in"), ("user", HOSTILE)]);
    assert_eq!(posted.status, StatusCode::OK, "{}", posted.text);
    assert_harmless(&posted);
    assert_harmless(&browser().post(&page, &[("answer", "deny")]));

    for (name, value) in [
        ("client_id", HOSTILE),
        (
            "redirect_uri",
            "https://elsewhere.example/<script>alert(1)</script>",
        ),
    ] {
        assert_harmless(&browser().with(name, value).get());
    }
    let fields = [("client_id", emulated.tenant.client_id()), ("scope", SCOPE)];
    let device = emulated.post_form("/common/oauth2/v2.0/devicecode", &fields);
    let device = device.json();
    let typed = format!("{}<script>", device["user_code"].as_str().unwrap());
    assert_harmless(&emulated.post_form("/device", &[("user_code", HOSTILE)]));
    let fields = [("user_code", typed.as_str())];
    assert_harmless(&emulated.post_form("/device", &fields));
    assert_harmless(&emulated.get("/device"));
}

#[test]
fn the_tenants_name_and_the_host_are_escaped_or_refused() {
    let emulated = Emulated::new();
    let reply = emulated.get("/%22%3E%3Cscript%3E/oauth2/v2.0/authorize");
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.header("content-type"), "application/json");
}

#[test]
fn style_and_script_are_served_by_the_emulator_itself() {
    let emulated = Emulated::new();
    let page = Browser::new(&emulated).get();
    assert!(page.text.contains("href=\"/emulator/style.css\""));
    let style = emulated.get("/emulator/style.css");
    assert_eq!(style.header("content-type"), "text/css; charset=utf-8");
    assert!(style.text.contains("light dark"));
    assert!(!style.text.contains("url(") && !style.text.contains("@import"));
    let script = emulated.get("/emulator/post.js");
    assert_eq!(
        script.header("content-type"),
        "text/javascript; charset=utf-8"
    );
    // The sign-in's own page works without any script.
    assert!(!page.text.contains("<script"));
}

#[test]
fn a_malformed_request_gets_a_page() {
    let emulated = Emulated::new();
    let path = format!("/{}/oauth2/v2.0/authorize", emulated.tenant.id());
    for reply in [
        emulated.get(&format!("{path}?client_id=a&client_id=b")),
        emulated.post_form(&path, &[("request", "a"), ("request", "b")]),
        emulated.post_form(&path, &[("request", "nothing"), ("answer", "deny")]),
    ] {
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_harmless(&reply);
    }
}
