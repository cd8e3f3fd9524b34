//! What a launcher asks, such as JupyterHub or a Slurm prolog: a session for a user on its list, by a key of its own.
//!
//! `POST /launcher/sessions` with `Authorization: Bearer KEY` and `{"user": …, "machine": …, "inline": false}` gives
//! `{"result": …}` with a [`Session`], or `{"failure": …}`. `POST /launcher/sessions/end` with `{"user": …, "session": ID}` ends
//! one that the same launcher has opened: `{"result": {"ended": true}}`, or `false` if it had ended before. A key counts from
//! one uid of this machine through the socket, or from one network by https.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use entrar_broker::listen::Peer;
use entrar_core::error::{Error, Kind};
use entrar_core::hub::{Failure, Secret};
use entrar_core::variables::{ADDRESS, COOKIE, ORIGIN};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::socket::{LARGEST_REQUEST, of_store, read};
use crate::hub::Hub;
use crate::local_user::LocalUser;
use crate::store::{Event, From, Launcher, NewSession, OpenedBy};

/// A session that is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The local user.
    user: String,
    /// Where the session will run, for show; this machine if it is left out.
    #[serde(default)]
    machine: String,
    /// Whether the cookie is to stand in the environment too, which ends up in job records.
    #[serde(default)]
    inline: bool,
}

/// A session that is over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Over {
    /// The local user whose session it is.
    user: String,
    /// The session's id.
    session: String,
}

/// What a session of the user needs.
#[derive(Debug, Serialize)]
struct Session {
    /// The session's id, by which the page and the administrator's list name it.
    id: String,
    /// For a file `rpc_cookie` of mode 0600 in a directory on tmpfs, which `PWB_SESSION_RUNTIME_DIR` names.
    cookie: Secret,
    /// When it expires, in Unix seconds.
    expires_at: f64,
    /// The variables to set.
    environment: BTreeMap<&'static str, Secret>,
}

/// The launchers' routes, at the socket and at the page.
pub fn routes(hub: &Arc<Hub>) -> Router {
    Router::new()
        .route("/launcher/sessions", post(open))
        .route("/launcher/sessions/end", post(end))
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(Arc::clone(hub))
}

async fn open(
    State(hub): State<Arc<Hub>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(hub.launched(peer, &headers, &body).await)
}

async fn end(
    State(hub): State<Arc<Hub>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let ended = hub.ended(peer, &headers, &body).await;
    answer(ended.map(|ended| json!({ "ended": ended })))
}

fn answer(outcome: Result<impl Serialize, Error>) -> Response {
    let reply = match outcome {
        Ok(result) => json!({ "result": result }),
        Err(error) => json!({ "failure": Failure::from(&error) }),
    };
    ([(CACHE_CONTROL, "no-store")], Json(reply)).into_response()
}

impl Hub {
    async fn launcher(&self, headers: &HeaderMap) -> Result<Launcher, Error> {
        let launcher = match bearer(headers) {
            Some(key) => self
                .store
                .launcher(key, self.now())
                .await
                .map_err(of_store)?,
            None => None,
        };
        launcher.ok_or_else(|| {
            Error::new(Kind::BadCookie, "the launcher's key is missing, not known, or has expired")
                .remedied(Some("`entrar-hub launchers` lists those that are known; `entrar-hub launcher add` makes a key."))
        })
    }

    async fn launched(
        &self,
        peer: Peer,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Session, Error> {
        let now = self.now();
        let launcher = self.launcher(headers).await?;
        let wanted: Wanted = read(body)?;
        let opened = self.open_for(&launcher, peer, &wanted).await;
        let mut row = self.row(Event::LauncherSession);
        row.machine = Some(wanted.machine.clone());
        row.detail = Some(format!("launcher {}, for {}", launcher.name, wanted.user));
        match &opened {
            Ok((id, user, _)) => {
                row.session = Some(id.clone());
                row.user = Some(user.clone());
            }
            Err(error) => row.result = error.kind().as_str().to_owned(),
        }
        self.note(row).await?;
        let (id, _, cookie) = opened?;
        // What runs on another machine asks beside the page; this machine's own address is nothing there.
        let address = match &launcher.from {
            From::Uid(_) => self.address_of_sessions()?,
            From::Network(_) => self.configuration().public_url.to_string(),
        };
        let mut environment = BTreeMap::from([
            (ADDRESS, Secret(address.into())),
            (ORIGIN, Secret("hub".into())),
        ]);
        if wanted.inline {
            environment.insert(COOKIE, cookie.clone());
        }
        Ok(Session {
            id,
            cookie,
            expires_at: (now + self.configuration().session).seconds(),
            environment,
        })
    }

    /// Ends a session that the launcher has opened for the user; whether it was open.
    async fn ended(&self, peer: Peer, headers: &HeaderMap, body: &[u8]) -> Result<bool, Error> {
        let launcher = self.launcher(headers).await?;
        let over: Over = read(body)?;
        let user = listed(&launcher, peer, &over.user)?.clone();
        let opened_by = OpenedBy::Launcher(launcher.name.clone());
        let open = self.store.sessions_of_user(user.uid, self.now()).await;
        let found = open
            .map_err(of_store)?
            .into_iter()
            .find(|session| session.id.as_str() == over.session && session.opened_by == opened_by);
        let Some(session) = found else {
            return Ok(false);
        };
        let mut row = self.row(Event::EndSession);
        row.user = Some(user);
        row.session = Some(over.session);
        row.detail = Some(format!("launcher {}", launcher.name));
        self.note(row).await?;
        self.store.end_session(&session.id).await.map_err(of_store)
    }

    async fn open_for(
        &self,
        launcher: &Launcher,
        peer: Peer,
        wanted: &Wanted,
    ) -> Result<(String, LocalUser, Secret), Error> {
        let listed = listed(launcher, peer, &wanted.user)?;
        // The list names uid and name; either may be somebody else's by now.
        let user = self
            .user_named(&wanted.user)
            .await
            .map_err(|why| denied(format!("{} {why}", wanted.user)))?;
        if user != *listed {
            return Err(denied(format!(
                "{user} is not the user on the list of launcher {}, which is {listed}",
                launcher.name
            )));
        }
        self.check_number_of_sessions(&user).await?;
        let now = self.now();
        let machine = if wanted.machine.is_empty() {
            &self.machine
        } else {
            &wanted.machine
        };
        let session = NewSession {
            user: user.clone(),
            opened_by: OpenedBy::Launcher(launcher.name.clone()),
            machine: machine
                .chars()
                .filter(|symbol| !symbol.is_control())
                .take(255)
                .collect(),
            opened_at: now,
            expires_at: now + self.configuration().session,
        };
        let (id, cookie) = self.store.open_session(session).await.map_err(of_store)?;
        Ok((id.as_str().to_owned(), user, Secret(cookie)))
    }
}

fn denied(what: String) -> Error {
    Error::new(Kind::AccessDenied, what)
}

/// The user of this name on the launcher's list, if its key counts from there.
fn listed<'a>(launcher: &'a Launcher, peer: Peer, name: &str) -> Result<&'a LocalUser, Error> {
    if !counts(&launcher.from, peer) {
        return Err(denied(format!(
            "the key of launcher {} does not count from here",
            launcher.name
        )));
    }
    let listed = launcher.users.iter().find(|user| user.name == name);
    listed.ok_or_else(|| {
        denied(format!(
            "launcher {} may open no session for {name}",
            launcher.name
        ))
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let value = given.next()?.to_str().ok()?;
    if given.next().is_some() {
        return None;
    }
    value.strip_prefix("Bearer ").map(str::trim)
}

/// Whether a launcher's key counts from there.
fn counts(from: &From, peer: Peer) -> bool {
    match (from, peer) {
        (From::Uid(uid), Peer::Unix { uid: asks }) => *uid == asks,
        (From::Network(network), Peer::Tcp(address)) => {
            let network: Option<IpNet> = network.parse().ok();
            // A socket of IPv6 names callers of IPv4 in its own form.
            let ip = match address.ip() {
                IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
                ip => ip,
            };
            network.is_some_and(|network| network.contains(&ip))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_from_one_uid_or_one_network() {
        let tcp = |ip: &str| Peer::Tcp((ip.parse::<IpAddr>().unwrap(), 1).into());
        let network = From::Network("10.1.0.0/16".to_owned());
        assert!(counts(&network, tcp("10.1.2.3")));
        assert!(counts(&network, tcp("::ffff:10.1.2.3")));
        assert!(!counts(&network, tcp("10.2.0.1")));
        assert!(!counts(&network, tcp("::1")));
        assert!(!counts(&network, Peer::Unix { uid: 0 }));
        assert!(counts(&From::Uid(998), Peer::Unix { uid: 998 }));
        assert!(!counts(&From::Uid(998), Peer::Unix { uid: 0 }));
        assert!(!counts(&From::Uid(998), tcp("127.0.0.1")));
        assert!(!counts(
            &From::Network("nonsense".to_owned()),
            tcp("10.1.2.3")
        ));
    }
}
