//! Who answers at a Unix socket in a test, and how it is asked.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use entrar_client::origin::Session;
use entrar_client::rpc::delegated_token;
use entrar_core::env::Env;
use entrar_core::error::Error;
use entrar_core::http::Http;
use entrar_core::resource::Resource;
use secrecy::ExposeSecret;
use serde_json::Value;

/// Far longer than anything takes.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Gives these replies at a socket, each to a connection of its own; what is asked comes out of the channel.
pub fn answering(socket: &Path, replies: &[&str]) -> Receiver<String> {
    let listener = UnixListener::bind(socket).unwrap();
    let replies: Vec<String> = replies.iter().map(|reply| (*reply).to_owned()).collect();
    let (asked, requests) = channel();
    std::thread::spawn(move || {
        for reply in replies {
            let (mut connection, _) = listener.accept().unwrap();
            let _ = asked.send(read(&mut connection));
            let _ = connection.write_all(reply.as_bytes());
        }
    });
    requests
}

/// A whole request.
fn read(connection: &mut UnixStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && connection.read(&mut byte).unwrap() == 1 {
        request.push(byte[0]);
    }
    let head = String::from_utf8(request).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1);
    let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    connection.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

pub fn reply(body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

pub fn run<T>(env: &Env, question: impl AsyncFnOnce(&Http, &Session) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let session = Session::find(env).unwrap();
    let http = Http::new(session.settings(env)).unwrap();
    runtime.block_on(question(&http, &session))
}

pub fn token(env: &Env) -> Result<String, Error> {
    let resource = Resource::parse("https://storage.azure.com").unwrap();
    let token = run(env, async |http, session| {
        delegated_token(http, env, session, &resource, LIMIT).await
    });
    token.map(|token| token.access_token.expose_secret().to_owned())
}

pub fn kind(error: &Error) -> &'static str {
    error.kind().as_str()
}
