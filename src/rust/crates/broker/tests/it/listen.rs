//! Sockets: who is at the other end, how much a connection may cost, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use axum::{Extension, Router};
use entrar_broker::listen::{Gate, Limits, Peer, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::LONG;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn start(limits: Limits) -> (Server, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (Server::start(listener, service(), limits), address)
}

/// Says who has asked.
fn service() -> Router {
    Router::new().fallback(|Extension(peer): Extension<Peer>| async move { format!("{peer:?}") })
}

/// The body of the reply to one request on this connection.
async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> io::Result<String> {
    stream.write_all(REQUEST).await?;
    let mut reply = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        reply.extend(byte);
        let text = String::from_utf8_lossy(&reply);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            return Ok(body.to_owned());
        }
    }
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let read = timeout(LONG, stream.read(&mut [0])).await.unwrap();
    matches!(read, Ok(0) | Err(_))
}

#[tokio::test]
async fn a_connection_serves_several_requests_and_says_whose_it_is() {
    let (_server, address) = start(Limits::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let own = stream.local_addr().unwrap();
    for _ in 0..3 {
        let said = ask(&mut stream).await.unwrap();
        assert_eq!(said, format!("{:?}", Peer::Tcp(own)));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_sockets_peer_is_named_by_the_kernel() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let _server = Server::start(listener, service(), Limits::default());
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let uid = rustix::process::geteuid().as_raw();
    let said = ask(&mut stream).await.unwrap();
    assert_eq!(said, format!("{:?}", Peer::Unix { uid }));
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_half_a_request_is_closed() {
    let limits = Limits {
        silence: Duration::from_millis(100),
        ..Limits::default()
    };
    let (_server, address) = start(limits).await;
    for beginning in [&b""[..], b"GET / HTTP/1.1\r\nHost:"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        assert!(is_closed(&mut stream).await);
    }
    let mut idle = TcpStream::connect(address).await.unwrap();
    ask(&mut idle).await.unwrap();
    assert!(is_closed(&mut idle).await);
}

#[tokio::test]
async fn one_connection_too_many_takes_the_place_of_the_oldest_without_a_request() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let (_server, address) = start(limits).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream).await.unwrap();
        streams.push(stream);
    }
    assert!(is_closed(&mut streams[0]).await);
    ask(&mut streams[1]).await.unwrap();
    ask(&mut streams[2]).await.unwrap();
}

#[tokio::test]
async fn half_a_body_holds_no_place() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let read = |body: axum::body::Bytes| async move { body.len().to_string() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _server = Server::start(listener, Router::new().fallback(read), limits);
    let mut slow = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let half = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx";
        stream.write_all(half).await.unwrap();
        slow.push(stream);
    }
    for stream in &mut slow[..3] {
        assert!(is_closed(stream).await);
    }
    let mut other = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(&mut other).await.unwrap(), "0");
}

#[cfg(unix)]
#[tokio::test]
async fn one_user_holds_no_more_connections_than_their_share() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let limits = Limits {
        of_one_user: 2,
        ..Limits::default()
    };
    let busy = Router::new().fallback(std::future::pending::<()>);
    let _server = Server::start(listener, busy, limits);
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        streams.push(stream);
    }
    // Until both are being answered a third takes the place of one of them; after that it is closed itself.
    streams.push(tokio::net::UnixStream::connect(&path).await.unwrap());
    let ends = streams.iter_mut().map(|stream| {
        Box::pin(async {
            let _ = stream.read(&mut [0]).await;
        })
    });
    let ended = timeout(LONG, futures_util::future::select_all(ends)).await;
    assert!(ended.is_ok(), "three are held");
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_harms_nobody_else() {
    let (_server, address) = start(Limits::default()).await;
    for nonsense in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n\0\0\0\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(nonsense).await.unwrap();
        let mut reply = Vec::new();
        timeout(LONG, stream.read_to_end(&mut reply))
            .await
            .unwrap()
            .unwrap();
        let reply = String::from_utf8_lossy(&reply);
        assert!(
            reply.is_empty() || reply.starts_with("HTTP/1.1 400"),
            "{reply}"
        );
    }
    let mut other = TcpStream::connect(address).await.unwrap();
    ask(&mut other).await.unwrap();
}

#[tokio::test]
async fn at_the_end_idle_connections_are_closed_and_nobody_can_connect() {
    let (server, address) = start(Limits::default()).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    ask(&mut idle).await.unwrap();
    server.stop().await;
    assert!(is_closed(&mut idle).await);
    assert!(TcpStream::connect(address).await.is_err());
}

/// To ask the system about a peer takes time. The runtime has one thread, as an agent's.
#[tokio::test]
async fn a_hundred_strangers_are_judged_apart_and_together() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let own = socket.local_addr().unwrap();
    let (judged, mut lots) = tokio::sync::mpsc::unbounded_channel();
    let (go, may_go) = std::sync::mpsc::channel();
    let may_go = Mutex::new(may_go);
    let gate = Gate::new(
        move |peers, _| {
            judged.send(peers.len()).unwrap();
            may_go.lock().unwrap().recv_timeout(LONG).unwrap();
            peers.iter().map(|peer| *peer == own).collect()
        },
        Router::new().fallback(async || "stranger"),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::start_behind(gate, listener, service(), Limits::default());
    let (_other, others) = start(Limits::default()).await;
    let mut strangers = Vec::new();
    for _ in 0..100 {
        strangers.push(TcpStream::connect(address).await.unwrap());
    }
    let mut friend = socket.connect(address).await.unwrap();
    let mut sizes = vec![timeout(LONG, lots.recv()).await.unwrap().unwrap()];
    // Others are served while these are judged, one lot at a time.
    let mut stream = TcpStream::connect(others).await.unwrap();
    ask(&mut stream).await.unwrap();
    assert!(lots.try_recv().is_err());
    // 64 of them are a lot, so that three are all there can be.
    for _ in 0..3 {
        go.send(()).unwrap();
    }
    let said = timeout(LONG, ask(&mut friend)).await.unwrap().unwrap();
    assert_eq!(said, format!("{:?}", Peer::Tcp(own)));
    for mut stranger in strangers {
        if let Ok(said) = timeout(LONG, ask(&mut stranger)).await.unwrap() {
            assert_eq!(said, "stranger");
        }
        assert!(is_closed(&mut stranger).await);
    }
    server.stop().await;
    while let Some(size) = lots.recv().await {
        sizes.push(size);
    }
    assert_eq!(sizes.iter().sum::<usize>(), 101);
}

#[tokio::test]
async fn this_users_own_processes_pass_their_gate() {
    let gate = Gate::own_user(Router::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _server = Server::start_behind(gate, listener, service(), Limits::default());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let own = stream.local_addr().unwrap();
    for _ in 0..2 {
        let said = ask(&mut stream).await.unwrap();
        assert_eq!(said, format!("{:?}", Peer::Tcp(own)));
    }
}
