//! Who asks: bare sockets, kept alive, one thread each, the next request as soon as the last reply is there.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::message;

/// What `getDelegatedAzureToken()` sends, byte for byte but for the cookie.
pub fn ask(address: &str, cookie: &str) -> String {
    let body = r#"{"method":"delegated_azure_token","params":["https://storage.azure.com"]}"#;
    post(
        &format!("{address}/delegated_azure_token"),
        &format!("content-type: application/json\r\nx-rs-session-server-rpc-cookie: {cookie}\r\n"),
        body,
    )
}

/// What the broker sends for it.
pub fn exchange(address: &str) -> String {
    let body = format!(
        "client_id=11111111-2222-3333-4444-555555555555&grant_type=refresh_token&refresh_token={}\
         &scope=https%3A%2F%2Fstorage.azure.com%2F.default+offline_access",
        "1.AXoA-bQ7zN_0.".repeat(80)
    );
    post(
        &format!("{address}/oauth2/v2.0/token"),
        "content-type: application/x-www-form-urlencoded\r\n",
        &body,
    )
}

fn post(url: &str, headers: &str, body: &str) -> String {
    let (host, path) = host_and_path(url);
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\n{headers}user-agent: entrar/0.1.0\r\naccept: */*\r\nhost: {host}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

pub fn host_and_path(url: &str) -> (&str, &str) {
    let url = url.strip_prefix("http://").unwrap();
    url.split_at(url.find('/').unwrap_or(url.len()))
}

/// Sends each of these requests on a connection of its own, over and over, `total` times in all.
pub fn run(address: &str, requests: &[String], total: usize) {
    let (host, _) = host_and_path(address);
    let each = total / requests.len();
    let start = Barrier::new(requests.len() + 1);
    let (times, took) = thread::scope(|scope| {
        let start = &start;
        let threads: Vec<_> = requests
            .iter()
            .map(|request| scope.spawn(move || connection(host, request, each, start)))
            .collect();
        start.wait();
        let started = Instant::now();
        let times = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        (times.collect::<Vec<_>>(), started.elapsed())
    });
    println!("{}", summary(times, took));
}

/// Median and 99 % quantile in microseconds, and how many a second.
pub fn summary(mut times: Vec<Duration>, took: Duration) -> String {
    times.sort_unstable();
    let microseconds = |percent| {
        let time: Duration = times[(times.len() - 1) * percent / 100];
        time.as_secs_f64() * 1e6
    };
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let rate = times.len() as f64 / took.as_secs_f64();
    format!("{:.1} {:.1} {rate:.0}", microseconds(50), microseconds(99))
}

/// How long each of so many round trips took.
fn connection(host: &str, request: &str, count: usize, start: &Barrier) -> Vec<Duration> {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reply = Vec::new();
    let mut round_trip = || {
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        assert!(message::read(&mut stream, &mut reply).unwrap());
        let time = sent.elapsed();
        assert!(is_token(&reply), "{}", String::from_utf8_lossy(&reply));
        time
    };
    round_trip();
    start.wait();
    (0..count).map(|_| round_trip()).collect()
}

pub fn is_token(reply: &[u8]) -> bool {
    let name = br#""access_token":"ey"#;
    reply.starts_with(b"HTTP/1.1 200 ") && reply.windows(name.len()).any(|text| text == name)
}
