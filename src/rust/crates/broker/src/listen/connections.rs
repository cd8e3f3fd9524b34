//! The connections that are held, and which of them goes when there are too many.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tower::ServiceExt;

use super::{Layer, Limits, Peer, Stream};

/// Connections by their age.
pub(super) struct Connections {
    limits: Limits,
    next: u64,
    held: Held,
}

type Held = Arc<Mutex<BTreeMap<u64, Connection>>>;

struct Connection {
    /// Of a Unix socket's peer.
    uid: Option<u32>,
    /// `None` until it is served.
    task: Option<AbortHandle>,
    /// How many of its requests are being answered.
    requests: Arc<AtomicUsize>,
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            next: 0,
            held: Arc::default(),
        }
    }

    /// Serves a new connection, if need be in the place of another one.
    pub(super) fn serve(
        &mut self,
        layer: impl Layer,
        stream: impl Stream,
        peer: Peer,
        service: &Router,
        watcher: Watcher,
    ) {
        let requests = Arc::new(AtomicUsize::new(0));
        let id = self.next;
        self.next += 1;
        let uid = peer.uid();
        let ended = Ended(id, Arc::clone(&self.held));
        {
            let mut held = lock(&self.held);
            let of_user = |connection: &Connection| uid.is_some() && connection.uid == uid;
            let has_room = make_room(&mut held, self.limits.of_one_user, of_user);
            if !has_room {
                drop(held);
                return;
            }
            // Where every connection has a request, one more is closed: the files of the others would be spent on it.
            if !make_room(&mut held, self.limits.connections, |_| true) {
                drop(held);
                return;
            }
            held.insert(
                id,
                Connection {
                    uid,
                    task: None,
                    requests: Arc::clone(&requests),
                },
            );
        }
        let (service, silence) = (service.clone(), self.limits.silence);
        // Not under the lock, which the end of the connection takes: a runtime that is closing drops what it is given at
        // once.
        let task = tokio::spawn(async move {
            let _ended = ended;
            let Ok(Ok(stream)) = timeout(silence, layer.over(stream)).await else {
                return;
            };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(silence)
                .serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request| {
                        answer(service.clone(), request, peer, Arc::clone(&requests))
                    }),
                );
            // Whoever breaks off has nobody to be told.
            let _ = watcher.watch(connection).await;
        });
        if let Some(connection) = lock(&self.held).get_mut(&id) {
            connection.task = Some(task.abort_handle());
        }
    }
}

/// Ends the oldest connection of these without a request, if there are too many; whether there is room for one more now. Where
/// every one has a request there is none: those end by themselves.
fn make_room(
    held: &mut BTreeMap<u64, Connection>,
    most: usize,
    counts: impl Fn(&Connection) -> bool,
) -> bool {
    let those = || held.iter().filter(|(_, connection)| counts(connection));
    if held.len() < most || those().count() < most {
        return true;
    }
    let oldest = those()
        .find(|(_, connection)| connection.requests.load(Ordering::Acquire) == 0)
        .map(|(id, _)| *id);
    let Some(connection) = oldest.and_then(|id| held.remove(&id)) else {
        return false;
    };
    if let Some(task) = connection.task {
        task.abort();
    }
    true
}

async fn answer(
    service: Router,
    request: Request<Incoming>,
    peer: Peer,
    requests: Arc<AtomicUsize>,
) -> Result<Response<Body>, Infallible> {
    let busy = Busy::new(requests);
    let arrived = Arc::clone(&busy.0);
    let mut request = request.map(|incoming| Body::new(Arriving { incoming, arrived }));
    if request.body().is_end_stream() {
        busy.0.begin();
    }
    request.extensions_mut().insert(peer);
    service.oneshot(request).await
}

/// A request's body. While it is still to come its connection may go, as one without a request: else whoever sends a part of
/// one holds a place for nothing.
struct Arriving {
    incoming: Incoming,
    arrived: Arc<Counted>,
}

impl hyper::body::Body for Arriving {
    type Data = <Incoming as hyper::body::Body>::Data;
    type Error = <Incoming as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.incoming.is_end_stream() {
            self.arrived.begin();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// A request that is counted once it has arrived whole.
struct Counted {
    is_counted: AtomicBool,
    requests: Arc<AtomicUsize>,
}

impl Counted {
    fn begin(&self) {
        if !self.is_counted.swap(true, Ordering::AcqRel) {
            self.requests.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// A request, until it is answered.
struct Busy(Arc<Counted>);

impl Busy {
    fn new(requests: Arc<AtomicUsize>) -> Self {
        Self(Arc::new(Counted {
            is_counted: AtomicBool::new(false),
            requests,
        }))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // What is left of the body counts no more.
        if self.0.is_counted.swap(true, Ordering::AcqRel) {
            self.0.requests.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Takes a connection out of those that are held, however it ends.
struct Ended(u64, Held);

impl Drop for Ended {
    fn drop(&mut self) {
        lock(&self.1).remove(&self.0);
    }
}

/// No change under the lock can stop half-way, so one poisoned by a panic elsewhere guards sound data.
fn lock(held: &Mutex<BTreeMap<u64, Connection>>) -> MutexGuard<'_, BTreeMap<u64, Connection>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
