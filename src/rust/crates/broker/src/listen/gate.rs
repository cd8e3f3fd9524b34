//! Who may connect at all, which is judged once a connection and away from the runtime: to ask the system takes time, and
//! nobody who is served waits for it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use entrar_core::loopback;

/// How many connections are judged at a time at most.
pub(super) const TOGETHER: usize = 64;
/// How many strangers are told at a time that they are none of ours; whoever else comes is only closed.
pub(super) const STRANGERS: usize = 16;

/// A connection, and the address at its other end.
pub(super) type Connected = (tokio::net::TcpStream, SocketAddr);

type Judge = dyn Fn(&[SocketAddr], SocketAddr) -> Vec<bool> + Send + Sync;

/// Who may connect to a port. Connections that wait are judged together, and one such lot at a time: however many strangers
/// come, it is as much work at once as for one of them.
#[derive(Clone)]
pub struct Gate {
    judge: Arc<Judge>,
    pub(super) refusal: Router,
}

impl Gate {
    /// Lets in the peers for which `judge`, given their addresses and our own, says so. It may block. All others get the
    /// answer of `refusal` to their first request, or none, and are closed.
    pub fn new(
        judge: impl Fn(&[SocketAddr], SocketAddr) -> Vec<bool> + Send + Sync + 'static,
        refusal: Router,
    ) -> Self {
        Self {
            judge: Arc::new(judge),
            refusal: refusal.layer(from_fn(once)),
        }
    }

    /// Lets in processes of the user that this process runs as, at a loopback address. Only Linux tells: elsewhere it is
    /// whoever comes.
    #[must_use]
    pub fn own_user(refusal: Router) -> Self {
        Self::new(loopback::are_ours, refusal)
    }

    /// Which of these connections to one port are let in: none, where that cannot be told.
    pub(super) async fn admits(&self, lot: &[Connected]) -> Vec<bool> {
        let Some(Ok(own)) = lot.first().map(|(stream, _)| stream.local_addr()) else {
            return Vec::new();
        };
        let peers: Vec<SocketAddr> = lot.iter().map(|(_, peer)| *peer).collect();
        let judge = Arc::clone(&self.judge);
        let judged = tokio::task::spawn_blocking(move || judge(&peers, own)).await;
        judged.unwrap_or_default()
    }
}

/// Ends a connection with its first reply.
async fn once(request: Request, next: Next) -> Response {
    let mut reply = next.run(request).await;
    let headers = reply.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}
