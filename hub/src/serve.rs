//! The hub's life: it takes its sockets, serves, and lets the last replies out.

use std::fs::File;
use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use entrar_broker::listen::{Layer, Limits, Server, Stream};
use entrar_broker::rpc::app;
use entrar_core::file::reason;
use listenfd::ListenFd;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, User};
use secrecy::ExposeSecret;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use tracing::{error, info, warn};

use crate::configuration::{Configuration, SecretFile, Web, read_secret};
use crate::desk::CookieDesk;
use crate::doors::{health, launcher, socket};
use crate::hub::Hub;
use crate::keys::{KeyError, Keys};
use crate::local_user::check_namespace;
use crate::operation::admin;
use crate::reload::reload;
use crate::service_manager::{self, Watchdog};
use crate::store::{Store, StoreError};
use crate::upkeep::Upkeep;
use crate::web;

/// What a connection may cost at each of the hub's three doors, where a process has two as a rule.
fn limits() -> Limits {
    let of_two = Limits::default();
    Limits {
        connections: (of_two.connections / 2).max(1),
        ..of_two
    }
}

/// The same for load balancers and monitoring, who are few.
fn of_health() -> Limits {
    Limits {
        connections: 32,
        ..Limits::default()
    }
}

/// How many connections to the socket one user may have.
const OF_ONE_USER: usize = 256;
/// How long the exchanges under way may take at the end.
const LAST_EXCHANGES: Duration = Duration::from_secs(20);

/// Why the hub does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its settings.
    #[error(transparent)]
    Configuration(#[from] crate::configuration::Error),
    /// Its keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Its database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A socket, a port or a file.
    #[error("{0}: {1}")]
    Place(String, String),
    /// The machine.
    #[error("{0}")]
    Machine(String),
    /// The app's credential, or the way to the tenant.
    #[error("{}", .0.message())]
    Tenant(entrar_core::error::Error),
}

fn place(what: impl ToString) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::Place(what.to_string(), reason(&error))
}

/// Sockets that the service manager holds open, so that nobody else gets them while the hub is restarted (systemd's
/// `LISTEN_FDS`). Each is taken by the address that it is bound to.
struct Given {
    tcp: Vec<std::net::TcpListener>,
    unix: Vec<std::os::unix::net::UnixListener>,
    /// Sockets that were not given: they are ours to take away again.
    own: Vec<PathBuf>,
}

impl Given {
    fn from_env() -> Result<Self, Error> {
        let mut given = ListenFd::from_env();
        let (mut tcp, mut unix) = (Vec::new(), Vec::new());
        for number in 0..given.len() {
            // Of the wrong kind for one is of the right kind for the other, or of no use.
            if let Ok(Some(listener)) = given.take_tcp_listener(number) {
                tcp.push(listener);
            } else if let Ok(Some(listener)) = given.take_unix_listener(number) {
                unix.push(listener);
            } else {
                return Err(Error::Machine(format!(
                    "socket {number} that the service manager handed over is of no use here"
                )));
            }
        }
        Ok(Self {
            tcp,
            unix,
            own: Vec::new(),
        })
    }

    async fn tcp(&mut self, address: SocketAddr) -> Result<TcpListener, Error> {
        let fits = |listener: &std::net::TcpListener| {
            listener.local_addr().is_ok_and(|own| own == address)
        };
        match self.tcp.iter().position(fits) {
            Some(number) => {
                let listener = self.tcp.swap_remove(number);
                listener.set_nonblocking(true).map_err(place(address))?;
                TcpListener::from_std(listener).map_err(place(address))
            }
            None => TcpListener::bind(address).await.map_err(place(address)),
        }
    }

    fn unix(&mut self, path: &Path) -> Result<UnixListener, Error> {
        let fits = |listener: &std::os::unix::net::UnixListener| {
            listener
                .local_addr()
                .is_ok_and(|own| own.as_pathname() == Some(path))
        };
        match self.unix.iter().position(fits) {
            Some(number) => {
                let listener = self.unix.swap_remove(number);
                listener
                    .set_nonblocking(true)
                    .map_err(place(path.display()))?;
                UnixListener::from_std(listener).map_err(place(path.display()))
            }
            None => {
                self.own.push(path.to_owned());
                bound(path, 0o666).map_err(place(path.display()))
            }
        }
    }
}

/// The sockets of a hub that serves. Dropping it closes them.
pub struct Serving {
    hub: Arc<Hub>,
    servers: Vec<Server>,
    /// Where health and metrics are told, to the end.
    health: Option<Server>,
    /// The certificate that the page is served with.
    tls: Option<Tls>,
    /// The sockets that the hub has made itself.
    sockets: Vec<PathBuf>,
    upkeep: Upkeep,
}

impl Serving {
    /// Opens the database and the sockets, and serves.
    ///
    /// # Errors
    /// What is missing or taken.
    pub async fn start(configuration: Configuration) -> Result<Self, Error> {
        if !configuration.socket.uids.is_empty() {
            check_namespace().map_err(Error::Machine)?;
        }
        let mut given = Given::from_env()?;
        let keys = Keys::read(configuration.key_file.path())?;
        let client_id = configuration.tenant.client_id.to_string();
        let store = Store::open(&configuration.database, keys.clone()).await?;
        let hub = Hub::new(configuration, keys, store.for_client(&client_id));
        let configuration = hub.configuration();
        let socket = &configuration.socket.path;
        let mut servers = vec![Server::start(
            given.unix(socket)?,
            socket::routes(&hub)
                .merge(admin::routes(&hub))
                .merge(launcher::routes(&hub)),
            Limits {
                of_one_user: OF_ONE_USER,
                ..limits()
            },
        )];
        if let Some(address) = configuration.rpc {
            let listener = given.tcp(address).await?;
            let desk = app(Arc::new(CookieDesk::local(&hub)));
            servers.push(Server::start(listener, desk, limits()));
        }
        let (page, tls) = web_server(&configuration.web, web::routes(&hub), &mut given).await?;
        servers.push(page);
        let health = match configuration.health {
            Some(address) => {
                let listener = given.tcp(address).await?;
                Some(Server::start(listener, health::routes(&hub), of_health()))
            }
            None => None,
        };
        info!(page = %configuration.public_url, socket = %socket.display(), "serving");
        Ok(Self {
            upkeep: Upkeep::start(&hub),
            hub,
            servers,
            health,
            tls,
            sockets: given.own,
        })
    }

    /// The hub that is served.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Puts settings that were read anew in the place of those before.
    ///
    /// # Errors
    /// As [`reload`]; then all is as it was.
    pub async fn reload(&self, settings: Configuration) -> Result<Vec<&'static str>, Error> {
        reload(&self.hub, self.tls.as_ref(), settings).await
    }

    /// Takes no more requests, and lets the exchanges under way and the last replies out.
    pub async fn stop(mut self) {
        self.hub.health.stopping();
        for path in &self.sockets {
            let _ = std::fs::remove_file(path);
        }
        drop(self.upkeep);
        for server in &mut self.servers {
            server.refuse();
        }
        if let Some(exchanges) = self.hub.exchanges_if_any() {
            let _ = tokio::time::timeout(LAST_EXCHANGES, exchanges.finish()).await;
        }
        for server in self.servers {
            server.stop().await;
        }
        drop(self.health);
        if let Err(error) = self.hub.store.catch_up().await {
            warn!(%error, "what was kept while the database was away is not all written");
        }
        self.hub.store.clone().close().await;
    }
}

/// Makes the process hold what it knows to itself: no core file, no other process of the same user that looks into its
/// memory, no file that others can read.
fn harden() -> Result<(), Error> {
    let failed = |error: nix::errno::Errno| {
        Error::Machine(format!(
            "the hub's memory cannot be protected: {}",
            error.desc()
        ))
    };
    nix::sys::prctl::set_dumpable(false).map_err(failed)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed)?;
    nix::sys::stat::umask(Mode::from_bits_truncate(0o077));
    // Each connection is a file. Where more are not allowed, fewer are held.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    Ok(())
}

/// Serves until the process is told to end. `settings` are read at the beginning, and anew at each SIGHUP.
///
/// # Errors
/// As [`Serving::start`].
pub async fn run(
    settings: impl Fn() -> Result<Configuration, crate::configuration::Error>,
) -> Result<(), Error> {
    let configuration = settings()?;
    let mut hung_up = signal(SignalKind::hangup()).map_err(place("signals"))?;
    let mut terminated = signal(SignalKind::terminate()).map_err(place("signals"))?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(place("signals"))?;
    harden()?;
    let serving = Serving::start(configuration).await?;
    let status = format!("serving {}", serving.hub.configuration().public_url);
    service_manager::ready(&status);
    let _watchdog = Watchdog::start(&serving.hub.store);
    loop {
        tokio::select! {
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
            _ = hung_up.recv() => {}
        }
        service_manager::reloading();
        let reloaded = match settings() {
            Ok(settings) => serving.reload(settings).await,
            Err(error) => Err(error.into()),
        };
        serving.hub.metrics.reloaded(reloaded.is_ok());
        match reloaded {
            Ok(named) => {
                for setting in named {
                    warn!(setting, "restart the hub for this setting to count");
                }
                info!("the settings and certificates are read anew");
                service_manager::ready(&status);
            }
            Err(error) => {
                error!(%error, "the settings are not read anew, and stay as they were");
                let said = format!("{status}; the last reload came to nothing: {error}");
                service_manager::ready(&said);
            }
        }
    }
    info!("stopping");
    service_manager::stopping();
    serving.stop().await;
    Ok(())
}

/// A socket at this path, in the place of one that a hub which was killed has left.
fn bound(path: &Path, mode: u32) -> io::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt as _;
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::other("what is there is not a socket"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::other("another hub listens there"));
        }
        Ok(_) => std::fs::remove_file(path)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

async fn web_server(
    web: &Web,
    routes: Router,
    given: &mut Given,
) -> Result<(Server, Option<Tls>), Error> {
    match web {
        Web::Https {
            listen,
            certificate,
            key,
        } => {
            let tls = Tls::new(tls(certificate, key)?);
            let listener = given.tcp(*listen).await?;
            let server = Server::start_over(tls.clone(), listener, routes, limits());
            Ok((server, Some(tls)))
        }
        Web::Loopback(listen) => {
            let listener = given.tcp(*listen).await?;
            Ok((Server::start(listener, routes, limits()), None))
        }
        Web::Proxied { socket, user } => {
            let uid = proxy_uid(user)?;
            let listener = given.unix(socket)?;
            let routes = web::of_one_peer(routes, uid);
            Ok((Server::start(listener, routes, limits()), None))
        }
    }
}

pub(crate) fn proxy_uid(user: &str) -> Result<Uid, Error> {
    let found = User::from_name(user)
        .map_err(|error| Error::Place(user.to_owned(), error.desc().to_owned()))?;
    match found {
        Some(user) => Ok(user.uid),
        None => Err(Error::Machine(format!(
            "proxy_user: there is no user {user}"
        ))),
    }
}

/// TLS over the connections of browsers. A connection keeps the certificate that it began with; copies share the one that the
/// next will have.
#[derive(Clone)]
pub(crate) struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

impl Tls {
    fn new(config: ServerConfig) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// From the next connection on, this holds.
    pub(crate) fn change(&self, config: ServerConfig) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    fn acceptor(&self) -> TlsAcceptor {
        let config = self.0.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }
}

impl Layer for Tls {
    type Stream<S: Stream> = TlsStream<S>;

    async fn over<S: Stream>(self, stream: S) -> io::Result<TlsStream<S>> {
        self.acceptor().accept(stream).await
    }
}

pub(crate) fn tls(certificate: &Path, key: &SecretFile) -> Result<ServerConfig, Error> {
    let said = |path: &Path, what: String| Error::Place(path.display().to_string(), what);
    let file = File::open(certificate).map_err(place(certificate.display()))?;
    let chain = CertificateDer::pem_reader_iter(BufReader::new(file));
    let chain: Vec<_> = chain
        .collect::<Result<_, _>>()
        .map_err(|error| said(certificate, format!("is not PEM: {error}")))?;
    let pem = read_secret(key).map_err(Error::Machine)?;
    // The parser's own words may quote the key.
    let key_der = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes())
        .map_err(|_| said(key.path(), "holds no private key in PEM".to_owned()))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth())
        .and_then(|builder| builder.with_single_cert(chain, key_der))
        .map_err(|error| said(certificate, format!("and its key cannot be used: {error}")))
}
