//! What local processes ask through the hub's socket beside tokens: who they are here, to sign in and out, and to open a
//! session for other people's clients. Whose request it is the kernel says.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use entrar_broker::accounts::AccountId;
use entrar_broker::listen::Peer;
use entrar_broker::rpc::app;
use entrar_core::error::{Details, Error, Kind};
use entrar_core::hub::{
    Account, BEGIN, Begun, Binding, CANCEL, Failure, ME, Me, Method, OPEN_SESSION, PAIR, Pair,
    Progress, SIGN_OUT, Secret, Session, SignedOut, WAIT, Wait,
};
use entrar_core::time::UnixTime;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout};

use crate::desk::SocketDesk;
use crate::hub::Hub;
use crate::limits::NOT_SERVED;
use crate::local_user::LocalUser;
use crate::pairing::{self, Awaited};
use crate::store::{AuditRow, Event, NewSession, OpenedBy, StoreError};
use crate::web::TICKET;

/// The longest that a request waits for a person, in seconds: shorter than what its sender waits for the reply.
const LONGEST_WAIT: f64 = 25.0;
/// The largest request, in bytes.
pub(crate) const LARGEST_REQUEST: usize = 16 * 1024;
/// How long a sign-in may take.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How often to look for a sign-in that another process of the hub has seen.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// All that is asked through the socket.
pub fn routes(hub: &Arc<Hub>) -> Router {
    Router::new()
        .route("/hub/{name}", post(answer))
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(Arc::clone(hub))
        .merge(app(Arc::new(SocketDesk(Arc::clone(hub)))))
}

async fn answer(
    State(hub): State<Arc<Hub>>,
    Path(name): Path<String>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Response {
    let reply = match hub.asked(peer, &name, &body).await {
        Ok(Some(result)) => json!({ "result": result }),
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => json!({ "failure": Failure::from(&error) }),
    };
    ([(CACHE_CONTROL, "no-store")], Json(reply)).into_response()
}

impl Hub {
    /// The result of a request; `None` if there is none of this name.
    async fn asked(&self, peer: Peer, name: &str, body: &[u8]) -> Result<Option<Value>, Error> {
        let user = self.caller(peer).await?;
        let result = match name {
            ME => written(self.me(&user).await?),
            BEGIN => written(self.begin(&user).await?),
            WAIT => {
                let Wait { id, seconds } = read(body)?;
                let seconds = if seconds.is_finite() { seconds } else { 0.0 };
                let longest = Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_WAIT));
                written(self.wait(&user, &id, longest).await?)
            }
            PAIR => {
                let Pair { id, code } = read(body)?;
                written(self.take_code(&user, &id, &code).await?)
            }
            CANCEL => Ok(Value::Null),
            SIGN_OUT => written(self.sign_out_user(&user).await?),
            OPEN_SESSION => written(self.open_session(&user).await?),
            _ => return Ok(None),
        };
        result.map(Some)
    }

    async fn caller(&self, peer: Peer) -> Result<LocalUser, Error> {
        let Peer::Unix { uid } = peer else {
            return Err(Error::new(
                Kind::AccessDenied,
                "this is asked through the hub's socket only",
            ));
        };
        let user = self.user_of(uid).await;
        let counted = user.as_ref().map_or(NOT_SERVED, |user| user.uid);
        self.limiter
            .admit(counted, Instant::now())
            .map_err(|wait| {
                let details = Details {
                    retry_after: Some(wait.as_secs_f64()),
                    ..Details::default()
                };
                Error::with(
                    Kind::Throttled,
                    "this user has asked the hub for more than its administrator allows at once",
                    details,
                )
            })?;
        user.map_err(|why| {
            Error::new(
                Kind::AccessDenied,
                format!("the hub serves nobody here: uid {uid} {why}"),
            )
        })
    }

    async fn me(&self, user: &LocalUser) -> Result<Me, Error> {
        let account = self.account_or_error(user).await?;
        let signed_in = match account {
            // Who has to sign in again is not signed in.
            Some(account) if !self.must_sign_in(account) => self.signed_in(account).await?,
            _ => None,
        };
        let (account, mark) = signed_in.unzip();
        Ok(Me {
            user: user.name.clone(),
            uid: user.uid,
            machine: self.machine.clone(),
            page: self.configuration().public_url.to_string(),
            account,
            binding: if self.pairs(user).await? {
                Binding::Paired
            } else {
                Binding::Mapped
            },
            mark,
        })
    }

    async fn account_or_error(&self, user: &LocalUser) -> Result<Option<AccountId>, Error> {
        self.account_of(user)
            .await
            .map_err(|refusal| refusal.error())
    }

    /// Who an account is, if it is signed in, and the mark of that sign-in.
    pub(crate) async fn signed_in(
        &self,
        account: AccountId,
    ) -> Result<Option<(Account, Secret)>, Error> {
        let Some(profile) = self.store.profile(account).await.map_err(of_store)? else {
            return Ok(None);
        };
        let Some(signed_in_at) = profile.signed_in_at else {
            return Ok(None);
        };
        let configuration = self.configuration();
        let tenant = &configuration.tenant;
        let known = Account {
            username: some(&profile.username),
            name: some(&profile.name),
            tenant: account.tid.to_string(),
            object_id: account.oid.to_string(),
            client_id: tenant.client_id.to_string(),
            authority: tenant.authority.to_string(),
            method: Method::Browser,
            since: signed_in_at.seconds(),
        };
        let mark = self.mark(account, signed_in_at).map_err(of_store)?;
        Ok(Some((known, Secret(mark))))
    }

    async fn begin(&self, user: &LocalUser) -> Result<Begun, Error> {
        let now = self.now();
        let configuration = self.configuration();
        let page = &configuration.public_url;
        if self.pairs(user).await? {
            let ticket = self.begin_pairing(user).await?;
            return Ok(Begun {
                address: format!("{page}{TICKET}/{}", ticket.expose_secret()),
                id: Secret(ticket),
                expires_at: (now + pairing::LIFETIME).seconds(),
                pairs: true,
            });
        }
        Ok(Begun {
            id: Secret(now.seconds().to_string().into()),
            address: page.to_string(),
            expires_at: (now + LIFETIME).seconds(),
            pairs: false,
        })
    }

    /// Waits until this user's account has signed in since the attempt began, or a code is to be typed.
    async fn wait(
        &self,
        user: &LocalUser,
        id: &Secret,
        longest: Duration,
    ) -> Result<Progress, Error> {
        let deadline = Instant::now() + longest;
        loop {
            let changed = self.signed_in_somewhere.notified();
            let progress = match begun_at(id) {
                Some(begun) => self.progress_since(user, begun).await?,
                None => self.progress_of(user, id).await?,
            };
            if !matches!(progress, Progress::Waiting) || Instant::now() >= deadline {
                return Ok(progress);
            }
            tokio::select! {
                _ = timeout(BETWEEN_LOOKS, changed) => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// How far a sign-in is whose account says which user it is.
    async fn progress_since(&self, user: &LocalUser, begun: UnixTime) -> Result<Progress, Error> {
        if self.now() - begun > LIFETIME.as_secs_f64() {
            return Err(
                Error::new(Kind::Timeout, "nobody signed in within 15 minutes")
                    .remedied(Some("Begin again when you have the time.")),
            );
        }
        let Some(account) = self.account_or_error(user).await? else {
            return Ok(Progress::Waiting);
        };
        Ok(match self.signed_in(account).await? {
            Some((account, _)) if account.since >= begun.seconds() => {
                Progress::SignedIn { account }
            }
            _ => Progress::Waiting,
        })
    }

    /// How far a sign-in is that ends with a code.
    async fn progress_of(&self, user: &LocalUser, id: &Secret) -> Result<Progress, Error> {
        match self.awaited(user, id.expose()).await? {
            Some(Awaited::SignIn) => Ok(Progress::Waiting),
            Some(Awaited::Code { tries_left }) => Ok(Progress::CodeWanted { tries_left }),
            None => Err(Error::new(
                Kind::SignInRequired,
                "the sign-in was stopped, or took too long",
            )
            .remedied(Some("Begin again with azure_sign_in()."))),
        }
    }

    async fn take_code(
        &self,
        user: &LocalUser,
        id: &Secret,
        code: &Secret,
    ) -> Result<Progress, Error> {
        let account = match self.pair(user, id.expose(), code.expose()).await? {
            Ok(account) => account,
            Err(tries_left) => return Ok(Progress::CodeWanted { tries_left }),
        };
        match self.signed_in(account).await? {
            Some((account, _)) => Ok(Progress::SignedIn { account }),
            None => Err(Error::new(
                Kind::SignInRequired,
                "the account has signed out meanwhile",
            )),
        }
    }

    async fn sign_out_user(&self, user: &LocalUser) -> Result<SignedOut, Error> {
        let Some(account) = self.account_or_error(user).await? else {
            return Ok(SignedOut {
                account: None,
                holds_at: None,
            });
        };
        let known = self.signed_in(account).await?;
        self.sign_out(account, Some(user)).await?;
        let holds_at = self.store.holds_everywhere_at(self.now());
        Ok(SignedOut {
            account: known.map(|(account, _)| account),
            holds_at: holds_at.map(UnixTime::seconds),
        })
    }

    /// The address at which clients ask that know an address and a cookie only.
    pub(crate) fn address_of_sessions(&self) -> Result<String, Error> {
        match self.configuration().rpc {
            Some(address) => Ok(format!("http://{address}")),
            None => Err(Error::new(
                Kind::Misconfigured,
                "the hub offers no address for other people's clients",
            )
            .remedied(Some("Ask its administrator to set [rpc] in hub.toml."))),
        }
    }

    /// Refuses one session too many.
    pub(crate) async fn check_number_of_sessions(&self, user: &LocalUser) -> Result<(), Error> {
        let open = self.store.sessions_of_user(user.uid, self.now());
        let open = open.await.map_err(of_store)?;
        let most = usize::try_from(self.configuration().limits.sessions).unwrap_or(usize::MAX);
        if open.len() < most {
            return Ok(());
        }
        Err(Error::new(
            Kind::Throttled,
            format!("{user} has {most} sessions, which is as many as the hub allows"),
        )
        .remedied(Some("End some of them on the hub's page.")))
    }

    async fn open_session(&self, user: &LocalUser) -> Result<Session, Error> {
        let address = self.address_of_sessions()?;
        self.check_number_of_sessions(user).await?;
        let now = self.now();
        let expires_at = now + self.configuration().session;
        let session = NewSession {
            user: user.clone(),
            opened_by: OpenedBy::Socket,
            machine: self.machine.clone(),
            opened_at: now,
            expires_at,
        };
        let (id, cookie) = self.store.open_session(session).await.map_err(of_store)?;
        let row = AuditRow {
            user: Some(user.clone()),
            session: Some(id.as_str().to_owned()),
            machine: Some(self.machine.clone()),
            ..self.row(Event::OpenSession)
        };
        self.note(row).await?;
        Ok(Session {
            cookie: Secret(cookie),
            address,
            expires_at: expires_at.seconds(),
        })
    }
}

/// When an attempt began whose id says no more than that.
fn begun_at(id: &Secret) -> Option<UnixTime> {
    let begun: f64 = id.expose().parse().ok()?;
    begun.is_finite().then(|| UnixTime::new(begun))
}

/// A text that is not empty.
pub(crate) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// What a fault of the database is called to people.
pub(crate) const DATABASE: &str = "the hub's database cannot be used";

/// What the person is told of a fault of the database. The log has the rest.
pub(crate) fn of_store(fault: StoreError) -> Error {
    tracing::error!(%fault, "the database");
    Error::new(Kind::Unavailable, DATABASE).remedied(Some(
        "Try again later; if it stays, tell the hub's administrator.",
    ))
}

pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    // What serde says may quote the body, which holds secrets.
    serde_json::from_slice(body)
        .map_err(|_| Error::new(Kind::BadReply, "the hub does not understand this request"))
}

pub(crate) fn written(result: impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(result)
        .map_err(|_| Error::new(Kind::ServerError, "the hub's reply cannot be written"))
}
