//! Front doors, on real sockets, in front of an app that shows what reaches it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use entra_emulator::User;
use entra_emulator::connect::{Options, Server};

use super::{Content, VISITOR, bob, connect};
use crate::GRAPH;

/// Far more than anything here takes.
const LONGEST: Duration = Duration::from_secs(60);

/// An app that answers each connection by `answer`, given the head that reached it.
fn app(answer: impl Fn(&str, &mut TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(LONGEST)).unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.extend(byte);
            }
            answer(&String::from_utf8(head).unwrap(), &mut stream);
        }
    });
    address
}

/// An app whose answer is what it has read: the head, and `length` bytes after it.
fn mirror(length: usize) -> SocketAddr {
    app(move |head, stream| {
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let seen = format!("{head}{}", String::from_utf8(body).unwrap());
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{seen}",
            seen.len()
        );
        stream.write_all(reply.as_bytes()).unwrap();
    })
}

fn serve(address: SocketAddr) -> (Content, Server) {
    let content = Content::failing(&[]);
    let server = Server::start(Arc::clone(&content.connect), address).unwrap();
    (content, server)
}

fn open(server: &Server, visitor: Option<&User>) -> TcpStream {
    let mut doors = server.doors().iter();
    let door = doors.find(|door| door.visitor.as_ref() == visitor).unwrap();
    let address = door.url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address.trim_end_matches('/')).unwrap();
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    stream
}

fn ask(server: &Server, visitor: Option<&User>, request: &str) -> String {
    let mut stream = open(server, visitor);
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

/// The session token in what an app saw.
fn token(seen: &str) -> Option<secrecy::SecretString> {
    let mut lines = seen.lines();
    let value = lines.find_map(|line| line.strip_prefix("Posit-Connect-User-Session-Token: "));
    value.map(Into::into)
}

#[test]
fn the_app_knows_each_visitor_by_a_token_of_their_own() {
    let (content, server) = serve(mirror(0));
    for (visitor, name) in [(User::default(), "Ada Example"), (bob(), "Bob Example")] {
        let seen = ask(&server, Some(&visitor), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let reply = content.exchange_of(VISITOR, &token(&seen).unwrap(), &[]);
        assert_eq!(content.display_name(&reply), name);
    }
}

#[test]
fn what_a_browser_says_of_itself_does_not_count() {
    let (_content, server) = serve(mirror(0));
    let request =
        "GET / HTTP/1.1\r\nHost: a\r\nposit-connect-user-session-token: canary-forged\r\n\r\n";
    let of_bob = ask(&server, Some(&bob()), request);
    assert!(!of_bob.contains("forged") && token(&of_bob).is_some());
    let of_nobody = ask(&server, None, request);
    assert!(of_nobody.starts_with("HTTP/1.1 200"));
    assert!(!of_nobody.to_lowercase().contains("session-token"));
}

#[test]
fn one_connection_carries_one_request() {
    let (_content, server) = serve(mirror(4));
    // The second one would have had no token, and its own if the browser liked.
    let requests =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET /second HTTP/1.1\r\n\r\n";
    let seen = ask(&server, Some(&bob()), requests);
    assert!(seen.ends_with("body"), "the second request came through");
    assert!(seen.contains("\r\nConnection: close\r\n"));
}

#[test]
fn a_websocket_is_a_pipe_once_the_app_agrees() {
    let handshake =
        "GET /websocket/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let agrees = app(|head, stream| {
        assert!(token(head).is_some() && head.contains("\r\nConnection: Upgrade\r\n"));
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\nhello")
            .unwrap();
        let mut said = [0; 6];
        stream.read_exact(&mut said).unwrap();
        stream.write_all(&said).unwrap();
    });
    let (_content, server) = serve(agrees);
    let mut stream = open(&server, Some(&bob()));
    stream.write_all(handshake.as_bytes()).unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"hello") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        reply.extend(byte);
    }
    stream.write_all(b"\0thing").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"\0thing");

    let refuses = app(|_, stream| {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap();
        let mut more = Vec::new();
        stream.read_to_end(&mut more).unwrap();
        assert_eq!(more, b"", "what follows is no other protocol");
    });
    let (_content, server) = serve(refuses);
    let reply = ask(
        &server,
        Some(&bob()),
        &format!("{handshake}GET / HTTP/1.1\r\n\r\n"),
    );
    assert_eq!(reply, "HTTP/1.1 404 Not Found\r\n\r\n");
}

#[test]
fn what_is_no_request_is_answered_here() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (_content, server) = serve(free);
    let status = |request: &str| {
        let reply = ask(&server, Some(&bob()), request);
        reply.lines().next().unwrap().to_owned()
    };
    assert_eq!(
        status("GET / HTTP/1.1\r\n\r\n"),
        "HTTP/1.1 503 Service Unavailable"
    );
    assert_eq!(
        status("GET / HTTP/1.1\r\n a\r\n\r\n"),
        "HTTP/1.1 400 Bad Request"
    );
    let long = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(70_000));
    assert!(status(&long).contains("431"));
}

#[test]
fn dropping_it_ends_every_connection() {
    let (content, server) = serve(mirror(0));
    assert!(server.url().starts_with("http://127.0.0.1:"));
    let mut idle = open(&server, Some(&bob()));
    idle.write_all(b"GET / HT").unwrap();
    drop(server);
    assert!(!matches!(idle.read(&mut [0; 16]), Ok(1..)));

    // The path is a part of the address.
    let options = Options {
        path: "/connect".to_owned(),
        integrations: vec![super::viewer(GRAPH)],
        ..Options::default()
    };
    let with_path = connect(&content.emulated.tenant, options);
    let server = Server::start(with_path, mirror(0)).unwrap();
    assert!(server.url().ends_with("/connect"));
}
