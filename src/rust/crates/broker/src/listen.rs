//! A service on a socket: connections taken, and a stop that lets the last replies out.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long the last replies may take to go out once their exchanges are over.
const LAST_REPLIES: Duration = Duration::from_secs(1);

/// A service on its socket.
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Serves whoever connects, until [`Server::stop`].
    #[must_use]
    pub fn start(listener: TcpListener, service: Router) -> Self {
        let listener = listener.tap_io(|stream| {
            // Replies are small and whole: waiting to fill a packet would only delay them.
            let _ = stream.set_nodelay(true);
        });
        let (stop, stopped) = oneshot::channel();
        let server = axum::serve(listener, service)
            .with_graceful_shutdown(async move { stopped.await.unwrap_or_default() });
        let task = tokio::spawn(server.into_future());
        let stop = Some(stop);
        Self { stop, task }
    }

    /// Takes no more connections, and no more requests on those there are.
    pub fn refuse(&mut self) {
        self.stop = None;
    }

    /// Lets the last replies out; a connection that says nothing holds nothing up.
    pub async fn stop(self) {
        let _ = timeout(LAST_REPLIES, self.task).await;
    }
}
