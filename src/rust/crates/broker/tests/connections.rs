//! Two thousand half-open connections, in a process of their own: their files would be missing to other tests.

// The helper below is test code too, which clippy.toml's exceptions do not see.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use axum::Router;
use entrar_broker::listen::{Limits, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Long enough that no test on a busy machine meets it by accident.
const LONG: Duration = Duration::from_secs(120);

#[tokio::test]
async fn two_thousand_half_open_connections_are_held_while_others_are_served() {
    raise_limit_of_files();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Router::new().fallback(|| async { "here" });
    let _server = Server::start(listener, service, Limits::default());
    let mut half_open = Vec::new();
    for _ in 0..2_000 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        half_open.push(stream);
    }
    let mut other = TcpStream::connect(address).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_ok(&mut other).await;
    // The first of them was held all the while: the rest of its request is answered.
    assert_ok(&mut half_open[0]).await;
}

/// Sends the rest of the request on this connection, and sees that it is answered.
async fn assert_ok(stream: &mut TcpStream) {
    stream.write_all(b"Host: localhost\r\n\r\n").await.unwrap();
    let mut reply = [0; 15];
    let read = timeout(LONG, stream.read_exact(&mut reply)).await;
    read.unwrap().unwrap();
    assert_eq!(&reply, b"HTTP/1.1 200 OK");
}

/// Each of the connections has two ends in this process.
fn raise_limit_of_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let most = getrlimit(Resource::Nofile).maximum;
        let raised = Rlimit {
            current: most,
            maximum: most,
        };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
}
