//! A service on a socket: connections taken up to a limit, none that holds others up, and a stop that lets the last replies
//! out.

mod connections;
mod gate;

use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt as _;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use connections::Connections;
use gate::{Connected, STRANGERS, TOGETHER};

pub use gate::Gate;

/// How long the last replies may take to go out once their exchanges are over.
const LAST_REPLIES: Duration = Duration::from_secs(1);
/// How long to wait before the next connection is taken where the system has given none, as when it is out of files.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);
/// How many connections a socket holds where nothing says that they are to be fewer.
const MOST_CONNECTIONS: usize = 4_096;

/// What a connection may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a connection may be silent between two requests, or take for the head of one.
    pub silence: Duration,
    /// How many connections are held. One more takes the place of the oldest that has no request under way; if every one has,
    /// it is closed.
    pub connections: usize,
    /// How many of them one user may have at a Unix socket. One more takes the place of the user's own, or is closed.
    pub of_one_user: usize,
}

impl Default for Limits {
    /// For one of at most two sockets, by the number of files that this process may open now.
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(30),
            connections: most_connections(files()),
            of_one_user: usize::MAX,
        }
    }
}

/// The most connections of a socket in a process that may open so many files. A connection is a file: were all of them
/// spent on those that say nothing, none would be left to ask the tenant by.
fn most_connections(files: Option<u64>) -> usize {
    let share = files.and_then(|files| usize::try_from(files / 4).ok());
    share.map_or(MOST_CONNECTIONS, |share| share.clamp(1, MOST_CONNECTIONS))
}

/// How many files this process may open; `None` if nothing limits them.
fn files() -> Option<u64> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(unix))]
    None
}

/// A socket that takes connections.
#[derive(Debug)]
pub enum Listener {
    /// An address and a port.
    Tcp(TcpListener),
    /// A file.
    #[cfg(unix)]
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// Who is at the other end. It stands among the extensions of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Whoever uses this port.
    Tcp(SocketAddr),
    /// A process of this user, as the kernel says.
    Unix {
        /// The user's id.
        uid: u32,
    },
}

impl Peer {
    /// The user at the other end of a Unix socket.
    fn uid(self) -> Option<u32> {
        match self {
            Self::Unix { uid } => Some(uid),
            Self::Tcp(_) => None,
        }
    }
}

/// What is put over a connection before HTTP is spoken, such as TLS.
pub trait Layer: Clone + Send + 'static {
    /// The connection with it.
    type Stream<S: Stream>: Stream;

    /// Puts it over a connection. It may take as long as a connection may be silent.
    ///
    /// # Errors
    /// Why the connection is of no use.
    fn over<S: Stream>(self, stream: S)
    -> impl Future<Output = io::Result<Self::Stream<S>>> + Send;
}

/// What a connection carries.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Nothing is put over a connection.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Layer for Plain {
    type Stream<S: Stream> = S;

    fn over<S: Stream>(self, stream: S) -> impl Future<Output = io::Result<S>> + Send {
        ready(Ok(stream))
    }
}

/// A service on its socket. Dropping it closes the socket.
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves whoever connects, until [`Server::stop`].
    #[must_use]
    pub fn start(listener: impl Into<Listener>, service: Router, limits: Limits) -> Self {
        Self::start_over(Plain, listener, service, limits)
    }

    /// The same for those whom `gate` lets in.
    #[must_use]
    pub fn start_behind(
        gate: Gate,
        listener: TcpListener,
        service: Router,
        limits: Limits,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve_behind(gate, listener, service, limits, stopped));
        let stop = Some(stop);
        Self { stop, task }
    }

    /// The same over a layer such as TLS.
    #[must_use]
    pub fn start_over(
        layer: impl Layer,
        listener: impl Into<Listener>,
        service: Router,
        limits: Limits,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(layer, listener.into(), service, limits, stopped));
        let stop = Some(stop);
        Self { stop, task }
    }

    /// Takes no more connections, and no more requests on those there are.
    pub fn refuse(&mut self) {
        self.stop = None;
    }

    /// Lets the last replies out; a connection that says nothing holds nothing up.
    pub async fn stop(mut self) {
        self.refuse();
        let _ = timeout(LAST_REPLIES, &mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    layer: impl Layer,
    listener: Listener,
    service: Router,
    limits: Limits,
    mut stopped: oneshot::Receiver<()>,
) {
    let graceful = GracefulShutdown::new();
    let mut connections = Connections::new(limits);
    loop {
        let taken = tokio::select! {
            taken = take(&listener) => taken,
            _ = &mut stopped => break,
        };
        match taken {
            Ok((Taken::Tcp(stream), peer)) => {
                // Replies are small and whole: waiting to fill a packet would only delay them.
                let _ = stream.set_nodelay(true);
                connections.serve(layer.clone(), stream, peer, &service, graceful.watcher());
            }
            #[cfg(unix)]
            Ok((Taken::Unix(stream), peer)) => {
                connections.serve(layer.clone(), stream, peer, &service, graceful.watcher());
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => sleep(AFTER_REFUSAL).await,
        }
    }
    // Whoever connects from now on is refused at once.
    drop(listener);
    graceful.shutdown().await;
}

async fn serve_behind(
    gate: Gate,
    listener: TcpListener,
    service: Router,
    limits: Limits,
    mut stopped: oneshot::Receiver<()>,
) {
    let graceful = GracefulShutdown::new();
    let mut admitted = Connections::new(limits);
    // Apart, so that they take the place of none that is served.
    let mut strangers = Connections::new(Limits {
        connections: STRANGERS,
        ..limits
    });
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            _ = &mut stopped => break,
        };
        let first = match taken {
            Ok(first) => first,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(_) => {
                sleep(AFTER_REFUSAL).await;
                continue;
            }
        };
        let lot = with_those_who_wait(first, &listener);
        let judged = tokio::select! {
            judged = gate.admits(&lot) => judged,
            _ = &mut stopped => break,
        };
        // Who is not judged is closed.
        for ((stream, address), is_admitted) in lot.into_iter().zip(judged) {
            let _ = stream.set_nodelay(true);
            let (connections, service) = if is_admitted {
                (&mut admitted, &service)
            } else {
                (&mut strangers, &gate.refusal)
            };
            let peer = Peer::Tcp(address);
            connections.serve(Plain, stream, peer, service, graceful.watcher());
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

/// A connection, and those that have come meanwhile.
fn with_those_who_wait(first: Connected, listener: &TcpListener) -> Vec<Connected> {
    let mut lot = vec![first];
    while lot.len() < TOGETHER {
        match listener.accept().now_or_never() {
            Some(Ok(next)) => lot.push(next),
            // An error comes again when the next one is waited for.
            Some(Err(_)) | None => break,
        }
    }
    lot
}

enum Taken {
    Tcp(tokio::net::TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

/// Whether an error says no more than that whoever has connected is gone.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
    )
}

async fn take(listener: &Listener) -> io::Result<(Taken, Peer)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            Ok((Taken::Tcp(stream), Peer::Tcp(address)))
        }
        #[cfg(unix)]
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let uid = stream.peer_cred()?.uid();
            Ok((Taken::Unix(stream), Peer::Unix { uid }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_most_files_to_others() {
        for (files, connections) in [
            (Some(0), 1),
            (Some(64), 16),
            (Some(1_024), 256),
            (Some(1_048_576), 4_096),
            (Some(u64::MAX), 4_096),
            (None, 4_096),
        ] {
            assert_eq!(most_connections(files), connections, "{files:?}");
        }
    }
}
