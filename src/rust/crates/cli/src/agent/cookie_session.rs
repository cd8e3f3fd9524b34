//! The session of other people's clients, which know an address and a cookie only: a port of this machine, and a file that
//! only its owner reads.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use entrar_broker::accounts::AccountId;
use entrar_broker::listen::{Gate, Limits, Server};
use entrar_core::agent::{Secret, Session};
use entrar_core::error::{Error, Kind};
use entrar_core::session_directory::SessionDirectory;
use entrar_core::variables::COOKIE_FILE;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;

use super::requests::tokens;
use super::state::Agent;

/// How long a cookie is good. It is written anew after half of that, and clients read the file again.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the file is.
fn place(directory: &SessionDirectory) -> PathBuf {
    directory.path().join("session")
}

/// Removes what an agent has left that was killed. Its cookie is good for nothing, and is not to be sent to whoever has
/// taken the port since.
pub(super) fn remove(directory: &SessionDirectory) {
    // As a rule there is nothing.
    let _ = fs::remove_dir_all(place(directory));
}

/// The session. Dropping it closes the port and removes the file.
pub(super) struct CookieSession {
    address: String,
    directory: PathBuf,
    _server: Server,
    renewal: tokio::task::AbortHandle,
}

impl CookieSession {
    /// Opens the port and writes the file.
    pub(super) async fn open(
        agent: &Arc<Agent>,
        account: AccountId,
    ) -> Result<(Self, Session), Error> {
        let refused = |error: std::io::Error| {
            let message = format!("this machine has no port for a session: {error}");
            Error::new(Kind::Unavailable, message)
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(refused)?;
        let address = format!("http://{}", listener.local_addr().map_err(refused)?);
        let directory = place(&agent.directory);
        let made = match fs::create_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        };
        made.map_err(|error| agent.not_written(&error))?;
        // Another user of this machine has no business here, cookie or not.
        let gate = Gate::own_user(Router::new().fallback(async || StatusCode::FORBIDDEN));
        let service = tokens(Arc::clone(agent));
        let server = Server::start_behind(gate, listener, service, Limits::default());
        let weak = Arc::downgrade(agent);
        let renewal = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LIFETIME / 2).await;
                match weak.upgrade() {
                    Some(agent) => agent.renew_session().await,
                    None => return,
                }
            }
        });
        let session = Self {
            address,
            directory,
            _server: server,
            renewal: renewal.abort_handle(),
        };
        let described = session.renew(agent, account)?;
        Ok((session, described))
    }

    /// Writes a new cookie.
    pub(super) fn renew(&self, agent: &Agent, account: AccountId) -> Result<Session, Error> {
        let now = agent.env.now();
        let expires_at = now + LIFETIME;
        let (_, cookie) = agent
            .broker
            .admission()
            .open_session(account, now, expires_at)
            .map_err(|error| {
                let message = format!("the system gives no random bytes: {error}");
                Error::new(Kind::Unavailable, message)
            })?;
        // In its place at once and whole, and only its owner's: as every file that tempfile makes.
        tempfile::NamedTempFile::new_in(&self.directory)
            .and_then(|mut file| {
                file.write_all(cookie.expose_secret().as_bytes())?;
                file.persist(self.directory.join(COOKIE_FILE))
                    .map_err(|error| error.error)
            })
            .map_err(|error| agent.not_written(&error))?;
        Ok(Session {
            address: self.address.clone(),
            directory: self.directory.to_string_lossy().into_owned(),
            cookie: Secret(cookie),
            expires_at: expires_at.seconds(),
        })
    }

    /// Where it is asked.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for CookieSession {
    fn drop(&mut self) {
        self.renewal.abort();
        // Whoever cleans up the directory may have removed it.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
