//! A token's way through the hub: who asks, which account that is, how much they have asked lately, the exchange, and the
//! row in the audit without which nobody gets a token.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use entrar_broker::accounts::AccountId;
use entrar_broker::entra::{Granted, Refusal};
use entrar_broker::exchange::Record;
use entrar_broker::listen::Peer;
use entrar_broker::rpc::{Desk, Refused};
use entrar_core::address::is_loopback_host;
use entrar_core::cookie::BadCookie;
use entrar_core::error::Kind;
use entrar_core::resource::Resource;
use entrar_core::rpc::COOKIE_HEADER;
use tokio::time::Instant;
use tracing::error;

use crate::hub::Hub;
use crate::limits::{NOT_SERVED, Pass};
use crate::local_user::{LocalUser, NotServed};
use crate::metrics::label_of;
use crate::store::{AuditRow, Event};

/// How often a session's last use is noted, in seconds.
const BETWEEN_USES: f64 = 60.0;

/// Answers through the hub's socket, where the kernel says who asks.
pub struct SocketDesk(pub Arc<Hub>);

/// Answers at an address, where a session's cookie says who asks.
pub struct CookieDesk {
    hub: Arc<Hub>,
    /// Whether other machines reach it, by the page's own name.
    is_public: bool,
}

impl CookieDesk {
    /// For processes of this machine.
    #[must_use]
    pub fn local(hub: &Arc<Hub>) -> Self {
        Self {
            hub: Arc::clone(hub),
            is_public: false,
        }
    }

    /// Beside the hub's page.
    #[must_use]
    pub fn public(hub: &Arc<Hub>) -> Self {
        Self {
            hub: Arc::clone(hub),
            is_public: true,
        }
    }
}

/// Who asks.
pub struct Caller {
    user: Result<LocalUser, (u32, NotServed)>,
    session: Option<String>,
    machine: String,
}

impl Caller {
    /// Somebody who tries a resource on the hub's page.
    pub(crate) fn on_the_page(user: LocalUser, machine: String) -> Self {
        Self {
            user: Ok(user),
            session: None,
            machine,
        }
    }
}

impl Desk for SocketDesk {
    type Caller = Caller;

    async fn admit(&self, peer: Option<Peer>, _: &HeaderMap) -> Result<Caller, Refused> {
        let Some(Peer::Unix { uid }) = peer else {
            return Err(BadCookie::Missing.into());
        };
        Ok(Caller {
            user: self.0.user_of(uid).await.map_err(|why| (uid, why)),
            session: None,
            machine: self.0.machine.clone(),
        })
    }

    async fn token(
        &self,
        caller: Caller,
        resource: Result<Resource, Refusal>,
    ) -> Result<Granted, Refusal> {
        self.0.token(caller, resource).await
    }
}

impl Desk for CookieDesk {
    type Caller = Caller;

    fn is_own_host(&self, host: &str) -> bool {
        if self.is_public {
            self.hub.configuration().is_own_host(host)
        } else {
            is_loopback_host(host)
        }
    }

    async fn admit(&self, _: Option<Peer>, headers: &HeaderMap) -> Result<Caller, Refused> {
        let mut cookies = headers.get_all(COOKIE_HEADER).iter();
        let cookie = match (cookies.next().map(|cookie| cookie.to_str()), cookies.next()) {
            (Some(Ok(cookie)), None) => cookie.trim(),
            _ => return Err(BadCookie::Missing.into()),
        };
        let session = self.hub.store.session(cookie, self.hub.now()).await;
        let session = session.map_err(|fault| {
            error!(%fault, "a session cannot be looked up");
            unavailable()
        })??;
        // The name may have gone to somebody else since.
        let uid = session.user.uid;
        let user = match self.hub.user_of(uid).await {
            Ok(user) if user == session.user => Ok(user),
            Ok(_) => return Err(BadCookie::Ended.into()),
            Err(why) => Err((uid, why)),
        };
        if self.hub.now() - session.last_used > BETWEEN_USES {
            let noted = self.hub.store.touch_session(&session.id, self.hub.now());
            if let Err(fault) = noted.await {
                error!(%fault, "a session's last use cannot be noted");
            }
        }
        Ok(Caller {
            user,
            session: Some(session.id.as_str().to_owned()),
            machine: session.machine,
        })
    }

    async fn token(
        &self,
        caller: Caller,
        resource: Result<Resource, Refusal>,
    ) -> Result<Granted, Refusal> {
        self.hub.token(caller, resource).await
    }
}

fn unavailable() -> Refused {
    use axum::http::StatusCode;
    use entrar_core::rpc::Code;
    Refused::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Code::Unavailable,
        "the hub's database cannot be used",
    )
}

fn too_many(wait: Duration) -> Refusal {
    Refusal::new(
        "temporarily_unavailable",
        "this user has asked the hub for more than its administrator allows at once",
    )
    .waiting(wait)
}

impl Hub {
    pub(crate) async fn token(
        &self,
        caller: Caller,
        resource: Result<Resource, Refusal>,
    ) -> Result<Granted, Refusal> {
        let label = label_of(resource.as_ref().ok());
        let outcome = self.granted(caller, resource).await;
        self.metrics.answered(label, &outcome);
        outcome
    }

    async fn granted(
        &self,
        caller: Caller,
        resource: Result<Resource, Refusal>,
    ) -> Result<Granted, Refusal> {
        let uid = match &caller.user {
            Ok(user) => user.uid,
            Err(_) => NOT_SERVED,
        };
        let turned_away = self.limiter.admit(uid, Instant::now()).map_err(too_many)?;
        let mut row = self.row(Event::Token);
        if turned_away > 0 {
            row.detail = Some(format!(
                "{turned_away} requests before were turned away unread"
            ));
        }
        row.session = caller.session;
        row.machine = Some(caller.machine);
        row.resource = resource
            .as_ref()
            .ok()
            .map(|resource| resource.as_str().to_owned());
        let (outcome, row) = match caller.user {
            Ok(user) => {
                row.user = Some(user.clone());
                self.exchanged(&user, resource, row).await
            }
            Err((uid, why)) => {
                row.detail = Some(format!("uid {uid} {why}"));
                let refusal = Refusal::new("access_denied", format!("uid {uid} {why}"));
                (Err(refusal), Some(row))
            }
        };
        let Some(mut row) = row else {
            return outcome;
        };
        let error = outcome.as_ref().err().map(Refusal::error);
        let kind = error.as_ref().map_or("ok", |error| error.kind().as_str());
        row.result = kind.to_owned();
        row.correlation_id = error.and_then(|error| error.details().correlation_id.clone());
        // No row, no token: what nobody can read about did not happen.
        if let Err(fault) = self.store.append(&row).await {
            error!(%fault, "the audit cannot be written");
            return Err(fault.into());
        }
        outcome
    }

    /// A token for a user, and the row of the audit where it is still to be written.
    async fn exchanged(
        &self,
        user: &LocalUser,
        resource: Result<Resource, Refusal>,
        mut row: AuditRow,
    ) -> (Result<Granted, Refusal>, Option<AuditRow>) {
        let entered = self.entered(user, resource, &mut row).await;
        let (account, resource, pass) = match entered {
            Ok(entered) => entered,
            Err(refusal) => return (Err(refusal), Some(row)),
        };
        let record = Record::new(row);
        let outcome = match self.exchanges().await {
            Ok(exchanges) => exchanges.recorded_token(account, resource, &record).await,
            Err(error) => Err(Refusal::from(&error)),
        };
        drop(pass);
        // Signed out, or never signed in: the page's address helps more than the exchange's words.
        let outcome = match outcome {
            Err(refusal)
                if refusal.error().kind() == Kind::SignInRequired
                    && refusal.error().details().aadsts.is_empty() =>
            {
                Err(self.sign_in_first())
            }
            outcome => outcome,
        };
        (outcome, record.take())
    }

    /// Whose token it is to be, noted in the row, and the user's place among their exchanges.
    async fn entered(
        &self,
        user: &LocalUser,
        resource: Result<Resource, Refusal>,
        row: &mut AuditRow,
    ) -> Result<(AccountId, Resource, Pass), Refusal> {
        let resource = resource?;
        row.account = self.account_of(user).await?;
        let account = row.account.ok_or_else(|| self.sign_in_first())?;
        let pass = self.limiter.enter(user.uid, &resource, Instant::now());
        Ok((account, resource, pass.map_err(too_many)?))
    }

    /// The account that a user is bound to.
    ///
    /// # Errors
    /// If the user's name and uid are not those that were bound: everything is refused until an administrator unbinds them.
    pub async fn account_of(&self, user: &LocalUser) -> Result<Option<AccountId>, Refusal> {
        let binding = self
            .store
            .binding_of_user(user.uid)
            .await
            .map_err(|fault| {
                error!(%fault, "a binding cannot be looked up");
                Refusal::from(fault)
            })?;
        match binding {
            None => Ok(None),
            Some(binding) if binding.user == *user => Ok(Some(binding.account)),
            Some(binding) => Err(Refusal::new(
                "access_denied",
                format!(
                    "{user} is not the user that was bound to an account here, which was {}: an administrator has to unbind that one (entrar-hub unbind)",
                    binding.user
                ),
            )),
        }
    }
}
