//! The client against faults on the wire, which the raw-socket server of the R tests makes
//! (`tests/testthat/wire.py`): what is tried again, what is not, and when a call ends.
//! The same for the probe that asks for no token.

// The helpers below are test code too, which clippy.toml's exceptions do not see.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entrar_client::origin::Session;
use entrar_client::probe::{Answer, probe};
use entrar_client::rpc::delegated_token;
use entrar_core::env::Env;
use entrar_core::error::Error;
use entrar_core::http::Http;
use entrar_core::resource::Resource;
use entrar_core::time::UnixTime;
use entrar_core::token::Token;
use serde_json::{Value, json};

struct Server {
    _process: Child,
    port: u64,
}

/// Started once; it ends with this process.
static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../../tests/testthat/wire.py"
    );
    let owner = std::process::id();
    let ready = std::env::temp_dir().join(format!("entrar-wire-{owner}.json"));
    let process = Command::new("python3")
        .args([script, ready.to_str().unwrap(), &owner.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let text = loop {
        match std::fs::read_to_string(&ready) {
            Ok(text) => break text,
            Err(_) if started.elapsed() < Duration::from_secs(120) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("the raw-socket server did not start: {error}"),
        }
    };
    let _ = std::fs::remove_file(&ready);
    let ready: Value = serde_json::from_str(&text).unwrap();
    Server {
        _process: process,
        port: ready["ports"][0].as_u64().unwrap(),
    }
});

fn reply(status: &str, headers: &str, body: &str) -> Value {
    let length = body.len();
    json!([
        "send",
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
    ])
}

fn good() -> Value {
    reply(
        "200 OK",
        "",
        r#"{"token": {"access_token": "canary-token", "expires_in": 60}}"#,
    )
}

struct Asked<T> {
    outcome: Result<T, Error>,
    seconds: f64,
    requests: usize,
    /// Whether one of them carried the cookie.
    with_cookie: bool,
}

/// Asks for a token.
fn ask(replies: Value, timeout: f64) -> Asked<Token> {
    let timeout = Duration::from_secs_f64(timeout);
    ask_server(replies, async |http, env, session| {
        let resource = Resource::parse("https://storage.azure.com").unwrap();
        delegated_token(http, env, session, &resource, timeout).await
    })
}

/// Asks whether anybody is there.
fn ask_without_cookie(replies: Value, timeout: f64) -> Asked<Answer> {
    let timeout = Duration::from_secs_f64(timeout);
    ask_server(replies, async |http, env, session| {
        probe(http, env, session, timeout).await
    })
}

/// Asks a server that answers the n-th request with the n-th of `replies`, and the last ever after.
fn ask_server<T>(
    mut replies: Value,
    question: impl AsyncFnOnce(&Http, &Env, &Session) -> Result<T, Error>,
) -> Asked<T> {
    static SCRIPTS: AtomicU32 = AtomicU32::new(0);
    // A step that does nothing makes each script's path its own.
    let number = f64::from(SCRIPTS.fetch_add(1, Ordering::Relaxed)) / 1e9;
    replies[0]
        .as_array_mut()
        .unwrap()
        .insert(0, json!(["wait", number]));
    let path = URL_SAFE_NO_PAD.encode(replies.to_string());
    let server = format!("http://127.0.0.1:{}", SERVER.port);
    let address = format!("{server}/{path}");
    let cookie = "u|garbage|canary-cookie";
    let env = Env::fixed(
        &[
            ("RS_SERVER_ADDRESS", &address),
            ("RS_SESSION_RPC_COOKIE", cookie),
        ],
        1_795_392_000.0,
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let session = Session::find(&env).unwrap();
        let http = Http::new(session.settings(&env)).unwrap();
        let started = Instant::now();
        let outcome = question(&http, &env, &session).await;
        let seconds = started.elapsed().as_secs_f64();
        let log = http
            .client()
            .get(format!("{server}/log"))
            .send()
            .await
            .unwrap();
        let log: Vec<Value> = serde_json::from_str(&log.text().await.unwrap()).unwrap();
        let requests: Vec<&Value> = log
            .iter()
            .filter(|request| request["path"].as_str().unwrap().contains(&path))
            .collect();
        let with_cookie = |request: &&Value| request.to_string().contains("canary-cookie");
        Asked {
            outcome,
            seconds,
            requests: requests.len(),
            with_cookie: requests.iter().any(with_cookie),
        }
    })
}

/// The kind of the failure, and the number of requests.
fn failure(replies: Value, timeout: f64) -> (&'static str, usize) {
    let asked = ask(replies, timeout);
    let error = asked.outcome.unwrap_err();
    assert!(
        !format!("{error} {error:?}").contains("canary"),
        "{error:?}"
    );
    assert!(asked.seconds < timeout + 15.0, "{} s", asked.seconds);
    (error.kind().as_str(), asked.requests)
}

#[test]
fn a_broken_connection_is_tried_again_at_once() {
    let asked = ask(json!([[["reset"]], [good()]]), 10.0);
    assert_eq!(
        asked.outcome.unwrap().expires_at,
        Some(UnixTime::of_whole(1_795_392_060))
    );
    assert_eq!(asked.requests, 2);
    assert_eq!(failure(json!([[["close"]]]), 10.0), ("unreachable", 3));
}

#[test]
fn a_passing_fault_is_tried_twice_more() {
    let busy = || reply("503 Service Unavailable", "", "");
    assert_eq!(ask(json!([[busy()], [busy()], [good()]]), 10.0).requests, 3);
    assert_eq!(failure(json!([[busy()]]), 10.0), ("unavailable", 3));
    let rpc = reply(
        "200 OK",
        "",
        r#"{"error": {"code": 13, "message": "offline"}}"#,
    );
    assert_eq!(failure(json!([[rpc]]), 10.0), ("unavailable", 3));
}

#[test]
fn a_wait_that_does_not_fit_the_deadline_is_not_begun() {
    let busy = reply("429 Too Many Requests", "Retry-After: 90\r\n", "");
    let asked = ask(json!([[busy]]), 60.0);
    assert_eq!(asked.outcome.unwrap_err().details().retry_after, Some(90.0));
    assert!(asked.seconds < 30.0, "{} s", asked.seconds);
    assert_eq!(asked.requests, 1);
}

#[test]
fn an_error_of_oauth_is_final() {
    let body = r#"{"result": false, "oauth2_error": {"error": "temporarily_unavailable"}}"#;
    assert_eq!(
        failure(json!([[reply("200 OK", "", body)]]), 10.0),
        ("unavailable", 1)
    );
}

#[test]
fn a_refused_cookie_is_not_sent_again_if_there_is_no_other() {
    let refusal = reply("401 Unauthorized", "", "");
    assert_eq!(failure(json!([[refusal]]), 10.0), ("bad_cookie", 1));
}

#[test]
fn silence_and_a_trickle_end_at_the_deadline() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n";
    assert_eq!(failure(json!([[["wait", 20]]]), 0.5), ("timeout", 1));
    assert_eq!(failure(json!([[["drip", head, 1]]]), 0.5), ("timeout", 1));
    assert_eq!(
        failure(json!([[["send", head], ["drip", "canary", 1]]]), 0.5),
        ("timeout", 1)
    );
}

#[test]
fn what_is_too_large_redirected_or_no_http_is_a_bad_reply() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n";
    let large = json!([[["send", head], ["repeat", "canary  ", 262_144]]]);
    let elsewhere = reply(
        "307 Temporary Redirect",
        "Location: http://127.0.0.1:1/canary\r\n",
        "",
    );
    for replies in [
        large,
        json!([[elsewhere]]),
        json!([[["send", "220 canary\r\n\r\n"]]]),
    ] {
        assert_eq!(failure(replies, 10.0), ("bad_reply", 1));
    }
}

#[test]
fn the_cookie_goes_with_a_question_for_a_token_and_not_with_a_probe() {
    assert!(ask(json!([[good()]]), 10.0).with_cookie);
    let probed = ask_without_cookie(json!([[good()]]), 10.0);
    assert_eq!(probed.requests, 1);
    assert!(!probed.with_cookie);
}

#[test]
fn a_probe_takes_any_status_for_an_answer_and_reads_its_date() {
    let date = "Date: Mon, 23 Nov 2026 00:05:00 GMT\r\n";
    for status in ["302 Found", "404 Not Found", "500 Internal Server Error"] {
        let answer = ask_without_cookie(json!([[reply(status, date, "")]]), 10.0)
            .outcome
            .unwrap();
        assert!(status.starts_with(&answer.status.to_string()));
        assert!((answer.clock_skew.unwrap() - 300.0).abs() < 5.0);
    }
    let undated = ask_without_cookie(json!([[reply("200 OK", "", "")]]), 10.0);
    assert_eq!(undated.outcome.unwrap().clock_skew, None);
}

#[test]
fn a_probe_tries_a_broken_connection_once_more_and_ends_at_the_deadline() {
    let ok = || reply("200 OK", "", "");
    assert_eq!(
        ask_without_cookie(json!([[["reset"]], [ok()]]), 10.0).requests,
        2
    );
    let broken = ask_without_cookie(json!([[["close"]]]), 10.0);
    assert_eq!(broken.outcome.unwrap_err().kind().as_str(), "unreachable");
    assert_eq!(broken.requests, 2);

    let silent = ask_without_cookie(json!([[["wait", 20]]]), 0.5);
    assert_eq!(silent.outcome.unwrap_err().kind().as_str(), "timeout");
    assert!(silent.seconds < 1.5, "{} s", silent.seconds);
}
