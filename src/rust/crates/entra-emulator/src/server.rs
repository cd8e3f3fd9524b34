//! A tenant served on a socket, by a thread of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use axum::serve::ListenerExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::app;
use crate::tenant::Tenant;

/// A running emulator. Dropping it closes the socket and every connection, and waits for its thread to end.
#[derive(Debug)]
pub struct Emulator {
    tenant: Arc<Tenant>,
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Serves `tenant` on `address`, over https if its options say so and else over plain http; port 0 takes any free one. It accepts connections when this returns.
    ///
    /// # Errors
    ///
    /// When the address is not free, or the thread or its runtime cannot be made.
    pub fn start(tenant: Arc<Tenant>, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let scheme = if tenant.options().https {
            "https"
        } else {
            "http"
        };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        serve(&runtime, listener, Arc::clone(&tenant))?;
        let thread = thread::Builder::new()
            .name("entra-emulator".to_owned())
            .spawn(move || {
                // An error means that the sender is gone, which is the signal. The runtime ends here, and with it all
                // connections: a client that never finishes its request holds nothing up.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Self {
            tenant,
            url,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// `http://127.0.0.1:PORT`, or with https: the resources' address, without a slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `http://127.0.0.1:PORT/TENANT-ID`, or with https, to which `/oauth2/v2.0/token` is appended.
    pub fn authority(&self) -> String {
        format!("{}/{}", self.url, self.tenant.id())
    }

    /// The tenant that is served.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can only fail if the thread panicked, and then it has ended too.
            let _ = thread.join();
        }
    }
}

/// Starts serving as a task of `runtime`, which runs as soon as that does.
fn serve(runtime: &Runtime, listener: TcpListener, tenant: Arc<Tenant>) -> io::Result<()> {
    let _context = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    if let Some(identity) = tenant.identity() {
        let listener = identity.listen(listener);
        runtime.spawn(async move { axum::serve(listener, app(tenant)).await });
    } else {
        let listener = listener.tap_io(|stream| {
            // Replies are small and whole: waiting to fill a packet would only delay them.
            let _ = stream.set_nodelay(true);
        });
        runtime.spawn(async move { axum::serve(listener, app(tenant)).await });
    }
    Ok(())
}
