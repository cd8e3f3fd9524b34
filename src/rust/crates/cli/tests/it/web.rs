//! As much of HTTP as the tests need: one request a connection, over TCP or a Unix socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Far more than an answer takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);

pub struct Reply {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Reply {
    /// The values of a header, whose name is in lower case.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|_| panic!("{}: {}", self.status, self.body))
    }
}

/// Sends these bytes and reads the reply to its end; `None` if there is none.
fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Option<Reply> {
    // Whoever refuses a request may not read it to its end.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// A request's text, with what every request has.
pub fn request(
    method: &str,
    target: &str,
    host: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// To an address of this machine, `http://HOST:PORT/…`.
pub fn over_tcp(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Option<Reply> {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, target) = match rest.split_once('/') {
        Some((host, target)) => (host, format!("/{target}")),
        None => (rest, "/".to_owned()),
    };
    let stream = TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    let host = headers
        .iter()
        .find(|(name, _)| *name == "Host")
        .map_or(host, |(_, host)| host);
    let headers: Vec<_> = headers
        .iter()
        .filter(|(name, _)| *name != "Host")
        .copied()
        .collect();
    exchange(
        stream,
        request(method, &target, host, &headers, body).as_bytes(),
    )
}

/// Raw bytes to a Unix socket.
pub fn raw_over_socket(socket: &Path, bytes: &[u8]) -> Option<Reply> {
    let stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    exchange(stream, bytes)
}

/// A browser that keeps the cookies of `localhost` and follows redirects, from `url` to their end or to the first address
/// that begins with `until`. The result is the address and the last page.
pub fn browse(url: &str, until: &str) -> (String, Reply) {
    let mut url = url.to_owned();
    let mut cookies: Vec<String> = Vec::new();
    for _ in 0..10 {
        let cookie = cookies.join("; ");
        let is_local = url.starts_with("http://localhost:");
        let headers = [("Cookie", cookie.as_str())];
        let headers = if is_local && !cookie.is_empty() {
            &headers[..]
        } else {
            &[]
        };
        let reply =
            over_tcp("GET", &url, headers, "").unwrap_or_else(|| panic!("no reply from {url}"));
        for cookie in reply.header("set-cookie") {
            cookies.push(cookie.split(';').next().unwrap().to_owned());
        }
        let Some(location) = reply.header("location").first().map(|to| (*to).to_owned()) else {
            return (url, reply);
        };
        url = if location.starts_with('/') {
            let (host, _) = url["http://".len()..].split_once('/').unwrap();
            format!("http://{host}{location}")
        } else {
            location
        };
        if !until.is_empty() && url.starts_with(until) {
            return (url, reply);
        }
    }
    panic!("sent round in circles at {url}");
}
