//! A tenant served on a socket, by a thread of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::serve::ListenerExt;
use tokio::runtime::{Builder, Runtime};

use crate::app;
use crate::background::Background;
use crate::tenant::Tenant;

/// A running emulator. Dropping it closes the socket and every connection, and waits for its thread to end.
#[derive(Debug)]
pub struct Emulator {
    tenant: Arc<Tenant>,
    url: String,
    _background: Background,
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
        serve(&runtime, listener, Arc::clone(&tenant))?;
        Ok(Self {
            tenant,
            url,
            _background: Background::start(runtime, "entra-emulator")?,
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
