//! The emulator on a real socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entra_emulator::{Emulator, Options, Tenant, User};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::encode;

fn start() -> Emulator {
    let tenant = Arc::new(Tenant::new(Options::default()).unwrap());
    Emulator::start(tenant, ([127, 0, 0, 1], 0).into()).unwrap()
}

fn address(emulator: &Emulator) -> &str {
    emulator.url().strip_prefix("http://").unwrap()
}

#[test]
fn a_token_is_exchanged_and_spent_over_a_socket() {
    let emulator = start();
    let tenant = emulator.tenant();
    let refresh_token = tenant.sign_in(&User::default()).unwrap();
    let form = format!(
        "client_id={}&grant_type=refresh_token&refresh_token={}&scope={}",
        tenant.client_id(),
        encode(refresh_token.expose_secret()),
        encode("https://graph.microsoft.com/.default")
    );
    let path = emulator.authority().replace(emulator.url(), "");
    assert_eq!(path, format!("/{}", tenant.id()));
    let post = format!(
        "POST {path}/oauth2/v2.0/token HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        address(&emulator),
        form.len()
    );
    let token = send(&emulator, &post)["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let get = format!(
        "GET /v1.0/me HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n",
        address(&emulator)
    );
    let me = send(&emulator, &get);
    assert_eq!(me["displayName"], "Ada Example");
    assert_eq!(
        me["@odata.context"],
        format!("{}/v1.0/$metadata#users/$entity", emulator.url())
    );
}

#[test]
fn dropping_it_ends_even_a_connection_that_says_nothing() {
    let emulator = start();
    let mut idle = TcpStream::connect(address(&emulator)).unwrap();
    idle.write_all(b"GET /v1.0/me HT").unwrap();
    let address = address(&emulator).to_owned();
    let started = Instant::now();
    drop(emulator);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(TcpStream::connect(address).is_err());
    // The server's end is closed: nothing more arrives.
    idle.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    assert!(!matches!(idle.read(&mut [0; 16]), Ok(1..)));
}

#[test]
fn an_address_in_use_is_an_error() {
    let emulator = start();
    let tenant = Arc::new(Tenant::new(Options::default()).unwrap());
    let error = Emulator::start(tenant, address(&emulator).parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

/// The JSON body of the reply to a whole request.
fn send(emulator: &Emulator, request: &str) -> Value {
    let mut stream = TcpStream::connect(address(emulator)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap()
}
