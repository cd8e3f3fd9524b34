//! The hub's settings: `hub.toml`, read whole and judged before anything is served. Secrets stand in files of their own.

mod files;
mod fixed;
mod people;
mod settings;

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use entrar_core::authority::Authority;
use entrar_core::env::Env;
use entrar_core::file::{read_beginning, reason};
use entrar_core::guid::Guid;
use url::Url;

pub use files::{SecretFile, read_secret};
pub use people::{People, Rule, Unmapped};
use settings::Settings;

use crate::store::Database;

/// The file as `init` writes it.
pub const TEMPLATE: &str = include_str!("hub.toml");
/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{0} is not used: {1}")]
    Unreadable(PathBuf, String),
    /// Something in it is wrong: the path with line and column, and what it is.
    #[error("{place}: {what}")]
    Wrong {
        /// The path, the line and the column, such as `/etc/entrar/hub.toml:3:7`.
        place: String,
        /// What is wrong, and what to write instead.
        what: String,
    },
}

/// The settings, each of which makes sense by itself and beside the others.
#[derive(Debug)]
pub struct Configuration {
    /// The address of the hub's page.
    pub public_url: Url,
    /// Whose hub it is, for show.
    pub name: String,
    /// Whom to ask, for show.
    pub contact: Option<String>,
    /// The tenant and the app.
    pub tenant: Tenant,
    /// Where the database is.
    pub database: Database,
    /// The file with the keys.
    pub key_file: SecretFile,
    /// The socket of local processes.
    pub socket: Socket,
    /// The hub's page.
    pub web: Web,
    /// Where clients ask that know an address and a cookie only.
    pub rpc: Option<SocketAddr>,
    /// Who is which local user.
    pub people: People,
    /// How much one person may ask.
    pub limits: Limits,
    /// How long the audit is kept.
    pub audit: Duration,
    /// How long a session of other people's clients lives.
    pub session: Duration,
    /// Where health and metrics are asked for.
    pub health: Option<SocketAddr>,
    /// Whether the log is JSON lines.
    pub log_is_json: bool,
}

/// The tenant and the app that people sign in to.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Where Entra ID is.
    pub authority: Authority,
    /// The tenant: a GUID or a domain.
    pub id: String,
    /// The app.
    pub client_id: Guid,
    /// How the app proves itself.
    pub credential: Credential,
    /// The proxy to the tenant.
    pub proxy: Option<String>,
    /// The certificates by which the tenant proves itself.
    pub ca_bundle: Option<PathBuf>,
    /// Whether a refresh token is revoked once another one was granted for it; without it as the authority is known for.
    pub refresh_tokens_work_once: Option<bool>,
}

impl Tenant {
    /// What the tenant is reached by: of these settings, and of nothing in this process's environment.
    #[must_use]
    pub fn env(&self) -> Env {
        let bundle = self.ca_bundle.as_deref().and_then(Path::to_str);
        let proxy = self.proxy.as_deref();
        let variables = [("SSL_CERT_FILE", bundle), ("HTTPS_PROXY", proxy)];
        let variables: Vec<_> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        Env::with_variables(&variables)
    }
}

/// How the app proves itself.
#[derive(Clone, Debug)]
pub enum Credential {
    /// By a secret that it shares with the tenant.
    Secret(SecretFile),
    /// By a certificate: PEM, with its private key.
    Certificate(SecretFile),
    /// By a token that somebody whom the app trusts keeps fresh in this file.
    FederatedToken(PathBuf),
    /// By an identity that is assigned to this machine in Azure, by its client id.
    ManagedIdentity(Guid),
}

/// The socket of local processes, and whom it serves.
#[derive(Debug)]
pub struct Socket {
    /// Where it is.
    pub path: PathBuf,
    /// Whose processes are served: first and last uid. The administrator's commands come this way too.
    pub uids: Vec<(u32, u32)>,
}

/// How browsers reach the hub's page.
#[derive(Clone, Debug)]
pub enum Web {
    /// By https at this address.
    Https {
        /// Address and port.
        listen: SocketAddr,
        /// Certificate chain, PEM.
        certificate: PathBuf,
        /// Private key, PEM.
        key: SecretFile,
    },
    /// By http at a loopback address: for trying it on one's own machine.
    Loopback(SocketAddr),
    /// Through a reverse proxy that this user runs.
    Proxied {
        /// The Unix socket.
        socket: PathBuf,
        /// The user whose connections are taken.
        user: String,
    },
}

/// How much one person may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Exchanges a minute.
    pub exchanges: u32,
    /// Exchanges under way at once.
    pub in_flight: u32,
    /// Sessions of other people's clients.
    pub sessions: u32,
}

impl Configuration {
    /// Reads `hub.toml`. Secrets are looked for in `credentials` first, a directory such as systemd's
    /// `$CREDENTIALS_DIRECTORY`; other relative names are of files beside `hub.toml`.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn read(path: &Path, credentials: Option<&Path>) -> Result<Self, Error> {
        let unreadable = |why: String| Error::Unreadable(path.to_owned(), why);
        let bytes = read_beginning(path, LARGEST).map_err(|error| unreadable(reason(&error)))?;
        let found = std::fs::metadata(path).map_err(|error| unreadable(reason(&error)))?;
        if found.mode() & 0o022 != 0 {
            let why = format!(
                "others can write it (mode {:o}), and who does chooses who is signed in: chmod 640",
                found.mode() & 0o7777
            );
            return Err(unreadable(why));
        }
        let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not text".to_owned()))?;
        let near = files::Near {
            directory: path.parent().unwrap_or(Path::new(".")),
            credentials,
        };
        Self::parse(&text, &near).map_err(|fault| fault.at(path, &text))
    }

    fn parse(text: &str, near: &files::Near<'_>) -> Result<Self, settings::Fault> {
        let settings: Settings = toml::from_str(text).map_err(settings::Fault::from)?;
        settings.judged(near)
    }

    /// Whether a host's name is one by which browsers and other machines reach this hub.
    #[must_use]
    pub fn is_own_host(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.public_url
            .host_str()
            .map(|own| own.trim_start_matches('[').trim_end_matches(']'))
            .is_some_and(|own| own.eq_ignore_ascii_case(host))
    }
}

#[cfg(test)]
mod tests;
