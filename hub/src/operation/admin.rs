//! The administrator's requests: `POST /admin/NAME` through the hub's socket, from root or the hub's own user. None of them
//! yields a token.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use entrar_broker::accounts::AccountId;
use entrar_broker::listen::Peer;
use entrar_core::error::{Error, Kind};
use entrar_core::hub::Failure;
use entrar_core::private_directory::own_uid;
use entrar_core::time::UnixTime;
use ipnet::IpNet;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::doors::socket::{LARGEST_REQUEST, of_store, read, some, written};
use crate::hub::Hub;
use crate::keys::Keys;
use crate::store::{
    AuditRow, Binding, Event, From, Launcher, OpenedBy, Recorded, Session, StoreError,
};

/// Who has signed in or is bound: takes `{}`, gives a list of [`Person`].
pub const PEOPLE: &str = "people";
/// Sessions that are open: takes `{}`, gives a list of [`OpenSession`].
pub const SESSIONS: &str = "sessions";
/// Signs a person out everywhere: takes a [`Whom`], gives a [`Done`].
pub const REVOKE: &str = "revoke";
/// Signs everybody out: takes `{}`, gives a [`Done`].
pub const REVOKE_ALL: &str = "revoke_all";
/// Signs a person out and forgets which local user they are: takes a [`Whom`], gives a [`Done`].
pub const UNBIND: &str = "unbind";
/// The audit: takes a [`Since`], gives a list of [`AuditRow`].
pub const AUDIT: &str = "audit";
/// Seals everything under the first key: takes a [`Rekey`], gives a [`Done`].
pub const REKEY: &str = "rekey";

/// Lets a local user pair by a code: takes a [`Permit`], gives a [`Done`].
pub const PAIR: &str = "pair";
/// Launchers: takes `{}`, gives a list of [`KnownLauncher`].
pub const LAUNCHERS: &str = "launchers";
/// Adds a launcher: takes a [`NewLauncher`], gives a [`Done`] with its key.
pub const ADD_LAUNCHER: &str = "add_launcher";
/// Takes a launcher's key back and ends its sessions: takes a [`Named`], gives a [`Done`].
pub const REMOVE_LAUNCHER: &str = "remove_launcher";

/// For how long a local user may pair.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Permit {
    /// The local user's name.
    pub user: String,
    /// Seconds.
    pub seconds: f64,
}

/// A launcher by name.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Named {
    /// It.
    pub name: String,
}

/// A launcher that is to be added.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NewLauncher {
    /// Its name.
    pub name: String,
    /// The local users that it may open sessions for, by name.
    pub users: Vec<String>,
    /// The uid from which its key counts, through the socket.
    pub uid: Option<u32>,
    /// Or the network from which it counts, by https.
    pub network: Option<String>,
    /// For how many seconds.
    pub seconds: f64,
}

/// A launcher.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct KnownLauncher {
    /// Its name.
    pub name: String,
    /// Whom it may open sessions for.
    pub users: String,
    /// From where its key counts.
    pub from: String,
    /// Until when, in Unix seconds.
    pub expires_at: f64,
}

/// Under which key to seal.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Rekey {
    /// Whether a new key is put before the others first.
    pub new_key: bool,
}

/// A person by local user, user name or object id.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Whom {
    /// It.
    pub person: String,
}

/// How many rows of the audit.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Since {
    /// Not before this time, in Unix seconds.
    pub since: f64,
    /// The newest so many.
    pub most: u32,
}

/// What was done.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Done {
    /// In a sentence.
    pub said: String,
}

/// Somebody whom the hub knows.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Person {
    /// The local user, if one is bound.
    pub user: Option<String>,
    /// That user's uid.
    pub uid: Option<u32>,
    /// The user name, for show.
    pub username: Option<String>,
    /// The tenant's id.
    pub tenant: String,
    /// The object id.
    pub object_id: String,
    /// When they signed in, in Unix seconds; `None` for who is bound and signed out.
    pub signed_in_at: Option<f64>,
}

/// A session.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OpenSession {
    /// Its id.
    pub id: String,
    /// Whose.
    pub user: String,
    /// Where.
    pub machine: String,
    /// By the socket, or by which launcher.
    pub opened_by: String,
    /// When, in Unix seconds.
    pub opened_at: f64,
    /// Until when, in Unix seconds.
    pub expires_at: f64,
}

/// The administrator's routes.
pub fn routes(hub: &Arc<Hub>) -> Router {
    Router::new()
        .route("/admin/{name}", post(answer))
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(Arc::clone(hub))
}

async fn answer(
    State(hub): State<Arc<Hub>>,
    Path(name): Path<String>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Response {
    let by = match peer {
        Peer::Unix { uid } if uid == 0 || uid == own_uid() => uid,
        _ => {
            let denied = Error::new(
                Kind::AccessDenied,
                "only root and the hub's own user administer it",
            )
            .remedied(Some("Run this with sudo."));
            return Json(json!({ "failure": Failure::from(&denied) })).into_response();
        }
    };
    let reply = match hub.administered(by, &name, &body).await {
        Ok(Some(result)) => json!({ "result": result }),
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => json!({ "failure": Failure::from(&error) }),
    };
    ([(CACHE_CONTROL, "no-store")], Json(reply)).into_response()
}

impl Hub {
    /// The end of a sentence about what holds now: when it does on hubs that cannot reach the shared database.
    fn until_everywhere(&self) -> String {
        match self.store.holds_everywhere_at(self.now()) {
            Some(at) => format!(
                "; every hub that shares the database holds to it by {}",
                at.to_iso()
            ),
            None => String::new(),
        }
    }

    async fn administered(&self, by: u32, name: &str, body: &[u8]) -> Result<Option<Value>, Error> {
        let result = match name {
            PEOPLE => written(self.people().await?),
            SESSIONS => written(self.open_sessions().await?),
            REVOKE => {
                let (account, shown) = self.person(&read::<Whom>(body)?.person).await?;
                let binding = self.sound_binding(account).await?;
                self.sign_out(account, binding.as_ref().map(|binding| &binding.user))
                    .await?;
                self.administrated(by, "revoke", Some(account)).await?;
                written(Done {
                    said: format!(
                        "{shown} is signed out; tokens that are out live on for 60 to 90 minutes{}",
                        self.until_everywhere()
                    ),
                })
            }
            REVOKE_ALL => {
                // What anybody could have forged comes last, so that nothing keeps this from happening.
                self.store.end_all_sessions().await.map_err(of_store)?;
                let mut count = 0;
                for person in self.store.people().await.map_err(of_store)? {
                    if person.signed_in {
                        self.sign_out(
                            person.account,
                            person.binding.as_ref().map(|binding| &binding.user),
                        )
                        .await?;
                        count += 1;
                    }
                }
                self.administrated(by, "revoke --all", None).await?;
                written(Done {
                    said: format!(
                        "everybody is signed out ({count}), every session has ended, and launchers need new keys; `entrar-hub people` lists who is bound to whom still{}",
                        self.until_everywhere()
                    ),
                })
            }
            UNBIND => {
                let (account, shown) = self.person(&read::<Whom>(body)?.person).await?;
                let binding = self.sound_binding(account).await?;
                self.sign_out(account, binding.as_ref().map(|binding| &binding.user))
                    .await?;
                self.store.unbind(account).await.map_err(of_store)?;
                self.administrated(by, "unbind", Some(account)).await?;
                written(Done {
                    said: format!(
                        "{shown} is signed out and bound to nobody: the next sign-in asks anew{}",
                        self.until_everywhere()
                    ),
                })
            }
            AUDIT => {
                let Since { since, most } = read(body)?;
                let rows = self
                    .store
                    .rows(UnixTime::new(since), most)
                    .await
                    .map_err(of_store)?;
                written(rows.iter().map(row).collect::<Vec<_>>())
            }
            REKEY => {
                if read::<Rekey>(body)?.new_key {
                    let path = self.configuration().key_file.path().to_owned();
                    let added = spawn_blocking(move || Keys::add_to_file(&path)).await;
                    added
                        .map_err(|_| Error::new(Kind::ServerError, "the key was not made"))?
                        .map_err(|error| Error::new(Kind::Misconfigured, error.to_string()))?;
                }
                let count = self
                    .store
                    .rekey()
                    .await
                    .map_err(|error| Error::new(Kind::Unavailable, error.to_string()))?;
                self.administrated(by, "rekey", None).await?;
                written(Done {
                    said: format!(
                        "{count} rows are sealed under the first key; the others can be taken out of the key file, and the hub restarted"
                    ),
                })
            }
            PAIR => written(self.permit(by, read(body)?).await?),
            LAUNCHERS => written(self.known_launchers().await?),
            ADD_LAUNCHER => written(self.add_launcher(by, read(body)?).await?),
            REMOVE_LAUNCHER => {
                let Named { name } = read(body)?;
                let ended = self.store.remove_launcher(&name).await.map_err(of_store)?;
                let ended = ended.ok_or_else(|| {
                    Error::new(Kind::BadResource, format!("there is no launcher {name}"))
                })?;
                self.administrated(by, &format!("launcher {name} removed"), None)
                    .await?;
                written(Done {
                    said: format!(
                        "launcher {name} is removed, and its sessions have ended ({ended})"
                    ),
                })
            }
            _ => return Ok(None),
        };
        result.map(Some)
    }

    async fn permit(&self, by: u32, permit: Permit) -> Result<Done, Error> {
        let refused = |what: String| Err(Error::new(Kind::BadResource, what));
        if !self.configuration().people.pairing {
            return refused(
                "hub.toml does not allow pairing: set pairing = true in [people]".to_owned(),
            );
        }
        let user = match self.user_named(&permit.user).await {
            Ok(user) => user,
            Err(why) => return refused(format!("{} {why}", permit.user)),
        };
        if self
            .store
            .binding_of_user(user.uid)
            .await
            .map_err(of_store)?
            .is_some()
        {
            return refused(format!(
                "{user} is bound to an account already: unbind it first"
            ));
        }
        let seconds = permit.seconds.clamp(60.0, 30.0 * 86_400.0);
        let until = self.now() + seconds;
        self.store.permit(&user, until).await.map_err(of_store)?;
        self.administrated(by, &format!("pairing opened for {user}"), None)
            .await?;
        Ok(Done {
            said: format!("{user} may pair once until {}", until.to_iso()),
        })
    }

    async fn known_launchers(&self) -> Result<Vec<KnownLauncher>, Error> {
        let launchers = self.store.launchers().await.map_err(of_store)?;
        let known = launchers.into_iter().map(|launcher| KnownLauncher {
            users: launcher
                .users
                .iter()
                .map(|user| user.name.as_str())
                .collect::<Vec<_>>()
                .join(","),
            from: match launcher.from {
                From::Uid(uid) => format!("uid {uid}"),
                From::Network(network) => network,
            },
            name: launcher.name,
            expires_at: launcher.expires_at.seconds(),
        });
        Ok(known.collect())
    }

    async fn add_launcher(&self, by: u32, new: NewLauncher) -> Result<Done, Error> {
        let refused = |what: String| Error::new(Kind::BadResource, what);
        let from = match (new.uid, new.network) {
            (Some(uid), None) => From::Uid(uid),
            (None, Some(network)) => {
                let read = network.parse::<IpNet>();
                let read = read
                    .map_err(|_| refused(format!("{network} is no network such as 10.1.0.0/16")))?;
                From::Network(read.trunc().to_string())
            }
            _ => {
                return Err(refused(
                    "a launcher's key counts either from a uid or from a network".to_owned(),
                ));
            }
        };
        let mut users = Vec::new();
        for name in &new.users {
            let user = self.user_named(name).await;
            users.push(user.map_err(|why| refused(format!("{name} {why}")))?);
        }
        let now = self.now();
        let launcher = Launcher {
            name: new.name,
            users,
            from,
            added_at: now,
            expires_at: now + new.seconds.clamp(60.0, 400.0 * 86_400.0),
        };
        let key = self.store.add_launcher(&launcher).await.map_err(of_store)?;
        let key =
            key.ok_or_else(|| refused(format!("there is a launcher {} already", launcher.name)))?;
        self.administrated(by, &format!("launcher {} added", launcher.name), None)
            .await?;
        Ok(Done {
            said: key.expose_secret().to_owned(),
        })
    }

    async fn administrated(
        &self,
        by: u32,
        what: &str,
        account: Option<AccountId>,
    ) -> Result<(), Error> {
        let row = AuditRow {
            account,
            detail: Some(format!("{what}, by uid {by}")),
            ..self.row(Event::Command)
        };
        self.note(row).await
    }

    async fn people(&self) -> Result<Vec<Person>, Error> {
        let people = self.store.people().await.map_err(of_store)?;
        Ok(people
            .into_iter()
            .map(|person| Person {
                user: match &person.binding {
                    Some(binding) => Some(binding.user.name.clone()),
                    None => person.forged.then(|| "(forged: unbind it)".to_owned()),
                },
                uid: person.binding.as_ref().map(|binding| binding.user.uid),
                username: some(&person.profile.username),
                tenant: person.account.tid.to_string(),
                object_id: person.account.oid.to_string(),
                signed_in_at: person
                    .profile
                    .signed_in_at
                    .filter(|_| person.signed_in)
                    .map(UnixTime::seconds),
            })
            .collect())
    }

    async fn open_sessions(&self) -> Result<Vec<OpenSession>, Error> {
        let sessions = self.store.sessions(self.now()).await.map_err(of_store)?;
        Ok(sessions
            .into_iter()
            .map(|session: Session| OpenSession {
                id: session.id.as_str().to_owned(),
                user: session.user.to_string(),
                machine: session.machine,
                opened_by: match session.opened_by {
                    OpenedBy::Socket => "socket".to_owned(),
                    OpenedBy::Launcher(name) => name,
                },
                opened_at: session.opened_at.seconds(),
                expires_at: session.expires_at.seconds(),
            })
            .collect())
    }

    /// Whose an account is. A row that the hub did not write says nothing of it, and is no reason not to take it away.
    async fn sound_binding(&self, account: AccountId) -> Result<Option<Binding>, Error> {
        match self.store.binding_of_account(account).await {
            Err(StoreError::Forged { .. }) => Ok(None),
            found => found.map_err(of_store),
        }
    }

    /// The one account that a text means.
    async fn person(&self, text: &str) -> Result<(AccountId, String), Error> {
        let people = self.store.people().await.map_err(of_store)?;
        let mut found = people.into_iter().filter(|person| {
            let user = person
                .binding
                .as_ref()
                .map(|binding| binding.user.name.as_str());
            let username = &person.profile.username;
            user == Some(text)
                || username.eq_ignore_ascii_case(text)
                || person.account.oid.to_string().eq_ignore_ascii_case(text)
        });
        match (found.next(), found.next()) {
            (Some(person), None) => {
                let user = person.binding.map(|binding| binding.user.name);
                let shown = user
                    .or(some(&person.profile.username))
                    .unwrap_or_else(|| person.account.to_string());
                Ok((person.account, shown))
            }
            (None, _) => Err(Error::new(
                Kind::BadResource,
                format!("the hub knows nobody by {text}"),
            )
            .remedied(Some("`entrar-hub people` lists everybody."))),
            _ => Err(
                Error::new(Kind::BadResource, format!("{text} may be several people"))
                    .remedied(Some("Name the person by object id.")),
            ),
        }
    }
}

/// A row of the audit as it is printed.
fn row(recorded: &Recorded) -> Value {
    let row = &recorded.row;
    json!({
        "number": recorded.number,
        "at": row.at.seconds(),
        "event": row.event.as_str(),
        "account": row.account.map(|account| account.to_string()),
        "user": row.user.as_ref().map(ToString::to_string),
        "session": row.session,
        "machine": row.machine,
        "resource": row.resource,
        "result": row.result,
        "correlation_id": row.correlation_id,
        "detail": row.detail,
    })
}
