//! A Connect served on sockets, by a thread of its own: its API, and a front door for each visitor.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use crate::background::Background;
use crate::connect::front_door::{FrontDoor, serve};
use crate::connect::{Connect, app};
use crate::user::User;

/// A running Connect. Dropping it closes its sockets and every connection, and waits for its thread to end.
#[derive(Debug)]
pub struct Server {
    connect: Arc<Connect>,
    url: String,
    doors: Vec<Door>,
    _background: Background,
}

/// Where a visitor comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// Who it is that comes in there; without one, somebody who has not signed in.
    pub visitor: Option<User>,
    /// `http://127.0.0.1:PORT/`.
    pub url: String,
}

impl Server {
    /// Serves `connect` on free ports of 127.0.0.1, with a front door to `app` for each of the tenant's users and one for
    /// somebody who has not signed in. It accepts connections when this returns; the app may come later.
    ///
    /// # Errors
    ///
    /// When a socket, the thread or its runtime cannot be made.
    pub fn start(connect: Arc<Connect>, content: SocketAddr) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (listener, address) = listen(&runtime)?;
        let routes = app(Arc::clone(&connect));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        let visitors = connect.tenant.users().into_iter().map(Some);
        let doors = visitors
            .chain([None])
            .map(|visitor| {
                let (listener, address) = listen(&runtime)?;
                let door = FrontDoor {
                    connect: Arc::clone(&connect),
                    visitor: visitor.clone(),
                    app: content,
                };
                runtime.spawn(serve(listener, Arc::new(door)));
                Ok(Door {
                    visitor,
                    url: format!("http://{address}/"),
                })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            url: format!("http://{address}{}", connect.options.path),
            connect,
            doors,
            _background: Background::start(runtime, "emulated-connect")?,
        })
    }

    /// `http://127.0.0.1:PORT`, with the path of the options: what content finds in `CONNECT_SERVER`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The front doors, in the order of the tenant's users, and after them that of somebody who has not signed in.
    pub fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// The Connect that is served.
    pub fn connect(&self) -> &Connect {
        &self.connect
    }
}

fn listen(runtime: &Runtime) -> io::Result<(tokio::net::TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let _context = runtime.enter();
    Ok((tokio::net::TcpListener::from_std(listener)?, address))
}
