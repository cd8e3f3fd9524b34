//! Whoever else comes to the port: other pages, other names, other users of this machine.

#[cfg(target_os = "linux")]
use std::process::Command;

use axum::http::StatusCode;
use entrar_broker::sign_in::{Method, Status};
use reqwest::header::{HOST, ORIGIN, SET_COOKIE};

use super::{Browser, auto, begin, callback, start, tenant, username};
use crate::LONG;

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
        assert_eq!(reply.headers()["allow"], "GET");
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

/// What a program of another user gets at an address, by name and by each loopback address: the statuses.
#[cfg(target_os = "linux")]
async fn as_another_user(url: &str, cookie: &str) -> String {
    let program = "import sys, socket, urllib.request, urllib.error\n\
        from urllib.parse import urlsplit\n\
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n\
        port = urlsplit(sys.argv[1]).port\n\
        for host in ('localhost', '127.0.0.1', '[::1]'):\n\
        \u{20}   address = sys.argv[1].replace('localhost', host, 1)\n\
        \u{20}   head = {'Cookie': sys.argv[2], 'Host': 'localhost:%d' % port}\n\
        \u{20}   try: print(opener.open(urllib.request.Request(address, headers=head)).status)\n\
        \u{20}   except urllib.error.HTTPError as error: print(error.code)\n\
        \u{20}   except urllib.error.URLError: print('closed')";
    run_as_another_user(&["python3", "-c", program, url, cookie]).await
}

/// What a program of another user prints.
#[cfg(target_os = "linux")]
async fn run_as_another_user(words: &[&str]) -> String {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg("/usr/bin/env").args(words);
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

/// A program of the person's own that has the start address on its command line, as a browser that was just opened.
#[cfg(target_os = "linux")]
struct Opened(std::process::Child);

#[cfg(target_os = "linux")]
impl Opened {
    fn new(start: &url::Url) -> Self {
        let words = ["-c", "import sys; sys.stdin.read()", start.as_str()];
        let mut command = Command::new("python3");
        command.args(words).stdin(std::process::Stdio::piped());
        Self(command.spawn().unwrap())
    }
}

#[cfg(target_os = "linux")]
impl Drop for Opened {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A user who reads the address from the browser's command line opens it first, and brings a code of their own.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn another_user_of_this_machine_gets_nothing_and_ends_nothing() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    let opened = Opened::new(&start);
    let path = format!("/proc/{}/cmdline", opened.0.id());
    let seen = async {
        loop {
            // A program that is being started has no words yet.
            let words = run_as_another_user(&["cat", &path]).await;
            let found = words.split('\0').find(|word| word.contains("/start/"));
            if let Some(found) = found {
                break found.to_owned();
            }
        }
    };
    let found = tokio::time::timeout(LONG, seen).await.unwrap();
    assert_eq!(found, start.as_str());
    let has_version_6 = std::net::TcpListener::bind(("::1", 0)).is_ok();
    let refused = match has_version_6 {
        true => "403\n403\n403",
        false => "403\n403\nclosed",
    };
    assert_eq!(as_another_user(&found, "").await, refused);
    let own = format!("{}code=canary&state=canary", callback(&start));
    assert_eq!(as_another_user(&own, "").await, refused);
    let mut browser = Browser::new();
    let answer = browser.open(&start, &callback(&start)).await.url;
    // Even with everything that the person's own browser has.
    let cookie = browser.cookies.join("; ");
    assert_eq!(as_another_user(answer.as_str(), &cookie).await, refused);
    assert!(matches!(sign_in.status(), Status::Waiting));
    browser.open(&answer, "").await;
    assert_eq!(username(&sign_in).await, "ada@example.com");
}
