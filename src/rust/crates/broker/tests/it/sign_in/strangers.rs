//! Whoever else comes to the port: other pages, other names, other users of this machine.

#[cfg(target_os = "linux")]
use std::process::Command;

use axum::http::StatusCode;
use entrar_broker::sign_in::{Method, Status};
use reqwest::header::{HOST, ORIGIN, SET_COOKIE};

use super::{Browser, auto, begin, callback, start, tenant, username};

#[tokio::test]
async fn another_hosts_name_another_page_and_another_verb_get_nothing() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    let http = Browser::new().http;
    let get = || http.get(start.clone());
    let port = start.port().unwrap();
    for request in [
        get().header(HOST, "evil.example"),
        get().header(HOST, format!("evil.example:{port}")),
        get().header(HOST, "localhost:1"),
        get().header(HOST, "localhost"),
        // There a browser would keep the cookie to itself when it comes back to localhost.
        get().header(HOST, format!("127.0.0.1:{port}")),
        get().header(ORIGIN, "https://evil.example"),
        get().header(ORIGIN, "null"),
    ] {
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
        assert!(!reply.headers().contains_key(SET_COOKIE));
    }
    for request in [
        http.post(start.clone()),
        http.request(reqwest::Method::OPTIONS, start.clone()),
    ] {
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert!(!reply.headers().contains_key("access-control-allow-origin"));
    }
    assert_eq!(get().send().await.unwrap().status(), StatusCode::FOUND);
}

#[tokio::test]
async fn both_loopback_addresses_answer() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let port = start(&sign_in).port().unwrap();
    let has_version_6 = std::net::TcpListener::bind(("::1", 0)).is_ok();
    for host in ["127.0.0.1", "[::1]"] {
        if host == "[::1]" && !has_version_6 {
            continue;
        }
        let request = Browser::new().http.get(format!("http://{host}:{port}/"));
        let request = request.header(HOST, format!("localhost:{port}"));
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::NOT_FOUND, "{host}");
    }
}

/// What a program of another user gets at an address: its status, or nothing.
#[cfg(target_os = "linux")]
async fn as_another_user(url: &str, cookie: &str) -> String {
    let program = "import sys, urllib.request, urllib.error\n\
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n\
        request = urllib.request.Request(sys.argv[1], headers={'Cookie': sys.argv[2]})\n\
        try: print(opener.open(request).status)\n\
        except urllib.error.HTTPError as error: print(error.code)";
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args(["/usr/bin/env", "python3", "-c", program, url, cookie]);
    command.current_dir("/");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A user who reads the address from the browser's command line opens it first, and posts a code of their own.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn another_user_of_this_machine_gets_nothing_and_ends_nothing() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    assert_eq!(as_another_user(start.as_str(), "").await, "403");
    let mut browser = Browser::new();
    let answer = browser.open(&start, &callback(&start)).await.url;
    // Even with everything that the person's own browser has.
    let cookie = browser.cookies.join("; ");
    assert_eq!(as_another_user(answer.as_str(), &cookie).await, "403");
    assert!(matches!(sign_in.status(), Status::Waiting));
    browser.open(&answer, "").await;
    assert_eq!(username(&sign_in).await, "ada@example.com");
}
