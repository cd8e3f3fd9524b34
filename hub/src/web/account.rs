//! What a person does on the account page.

use entrar_broker::accounts::AccountId;
use entrar_core::error::Error;
use entrar_core::resource::Resource;
use entrar_core::time::UnixTime;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

use axum::response::Response;

use super::cookies::csrf;
use super::pages::{Account, Notice, OpenedBy, Page, Person, Session, Tried};
use super::routes::Web;
use crate::desk::Caller;
use crate::doors::socket::{of_store, some};
use crate::hub::Hub;
use crate::local_user::LocalUser;
use crate::store::{self, AuditRow, Event, SessionId, StoreError};

/// How long a browser stays signed in on the page.
const LIFETIME: Duration = Duration::from_secs(8 * 3_600);

/// Who looks at the page.
struct Visitor {
    id: store::WebSessionId,
    account: AccountId,
    user: LocalUser,
}

impl Hub {
    /// Opens a browser's session on the page.
    pub(super) async fn open_web_session(
        &self,
        account: AccountId,
    ) -> Result<SecretString, StoreError> {
        let now = self.now();
        self.store
            .open_web_session(account, now, now + LIFETIME)
            .await
    }
}

impl Web {
    /// Who the browser's session is of; `None` if it is over.
    async fn visitor(&self, session: &SecretString) -> Result<Option<Visitor>, Error> {
        let store = &self.hub.store;
        let session = store
            .web_session(session.expose_secret(), self.hub.now())
            .await
            .map_err(of_store)?;
        let Some(session) = session else {
            return Ok(None);
        };
        let binding = store
            .binding_of_account(session.account)
            .await
            .map_err(of_store)?;
        Ok(binding.map(|binding| Visitor {
            id: session.id,
            account: session.account,
            user: binding.user,
        }))
    }

    /// The claims challenge that a sign-in of the visitor is to meet.
    pub(super) async fn claims(&self, session: &SecretString) -> Result<Option<String>, Error> {
        let visitor = self.visitor(session).await?;
        let exchanges = self.hub.exchanges_if_any();
        Ok(visitor.and_then(|visitor| exchanges?.claims(visitor.account)))
    }

    /// The account page; `None` if the browser's session is over.
    pub(super) async fn account_page(
        &self,
        browser: &SecretString,
        session: &SecretString,
        tried: Option<Tried>,
        notice: Option<Notice>,
    ) -> Result<Option<Response>, Error> {
        let Some(visitor) = self.visitor(session).await? else {
            return Ok(None);
        };
        let store = &self.hub.store;
        let Some(profile) = store.profile(visitor.account).await.map_err(of_store)? else {
            return Ok(None);
        };
        let Some(signed_in_at) = profile.signed_in_at else {
            return Ok(None);
        };
        let now = self.hub.now();
        let sessions = store
            .sessions_of_user(visitor.user.uid, now)
            .await
            .map_err(of_store)?;
        let sessions = sessions
            .into_iter()
            .map(|session| Session {
                id: session.id.as_str().to_owned(),
                machine: session.machine,
                opened_by: match session.opened_by {
                    store::OpenedBy::Socket => OpenedBy::User,
                    store::OpenedBy::Launcher(name) => OpenedBy::Launcher(name),
                },
                opened_at: session.opened_at,
                last_used: (session.opened_at < session.last_used).then_some(session.last_used),
                expires_at: session.expires_at,
            })
            .collect();
        let page = Account {
            person: Person {
                name: some(&profile.name),
                username: some(&profile.username),
                account: visitor.account,
            },
            user: visitor.user.name,
            uid: visitor.user.uid,
            signed_in_at,
            must_sign_in: self.hub.must_sign_in(visitor.account),
            sessions,
            tried,
            notice,
            csrf: csrf(browser).into(),
        };
        Ok(Some(self.page(Page::Account(page))))
    }

    /// Ends a session of the visitor's own; `None` if nobody is signed in.
    pub(super) async fn end_session(
        &self,
        session: Option<&SecretString>,
        id: &str,
    ) -> Result<Option<Notice>, Error> {
        let Some(visitor) = self.visitor_of(session).await? else {
            return Ok(None);
        };
        let store = &self.hub.store;
        let own = store
            .sessions_of_user(visitor.user.uid, self.hub.now())
            .await
            .map_err(of_store)?;
        let Some(session) = own.into_iter().find(|session| session.id.as_str() == id) else {
            return Ok(Some(Notice::SessionGone));
        };
        let was_there = store.end_session(&session.id).await.map_err(of_store)?;
        self.noted(&visitor, Event::EndSession, Some(session.id))
            .await?;
        Ok(Some(if was_there {
            Notice::SessionEnded
        } else {
            Notice::SessionGone
        }))
    }

    /// Ends all sessions of the visitor's user; `None` if nobody is signed in.
    pub(super) async fn end_sessions(
        &self,
        session: Option<&SecretString>,
    ) -> Result<Option<Notice>, Error> {
        let Some(visitor) = self.visitor_of(session).await? else {
            return Ok(None);
        };
        let ended = self
            .hub
            .store
            .end_sessions_of_user(visitor.user.uid)
            .await
            .map_err(of_store)?;
        self.noted(&visitor, Event::EndSession, None).await?;
        Ok(Some(Notice::SessionsEnded(ended)))
    }

    /// Asks for a token, to tell how that goes; `None` if nobody is signed in.
    pub(super) async fn tried(
        &self,
        session: &SecretString,
        resource: &str,
    ) -> Result<Option<Tried>, Error> {
        let Some(visitor) = self.visitor(session).await? else {
            return Ok(None);
        };
        let outcome = match Resource::parse(resource.trim()) {
            Ok(parsed) => {
                let caller = Caller::on_the_page(visitor.user, self.hub.machine.clone());
                let sent = self.hub.now();
                let granted = self.hub.token(caller, Ok(parsed)).await;
                granted
                    .map(|granted| expiry(sent, granted.expires_in))
                    .map_err(|refusal| refusal.error())
            }
            Err(error) => Err(error),
        };
        Ok(Some(Tried {
            resource: resource.trim().to_owned(),
            outcome,
        }))
    }

    /// Ends the browser's session.
    pub(super) async fn close(&self, session: &SecretString) -> Result<(), Error> {
        if let Some(visitor) = self.visitor(session).await? {
            self.hub
                .store
                .end_web_session(&visitor.id)
                .await
                .map_err(of_store)?;
        }
        Ok(())
    }

    /// Signs the visitor out; whether anybody was signed in.
    pub(super) async fn sign_out_everywhere(&self, session: &SecretString) -> Result<bool, Error> {
        let Some(visitor) = self.visitor(session).await? else {
            return Ok(false);
        };
        self.hub
            .sign_out(visitor.account, Some(&visitor.user))
            .await?;
        Ok(true)
    }

    async fn visitor_of(&self, session: Option<&SecretString>) -> Result<Option<Visitor>, Error> {
        match session {
            Some(session) => self.visitor(session).await,
            None => Ok(None),
        }
    }

    async fn noted(
        &self,
        visitor: &Visitor,
        event: Event,
        session: Option<SessionId>,
    ) -> Result<(), Error> {
        let row = AuditRow {
            account: Some(visitor.account),
            user: Some(visitor.user.clone()),
            session: session.map(|id| id.as_str().to_owned()),
            ..self.hub.row(event)
        };
        self.hub.note(row).await
    }
}

fn expiry(sent: UnixTime, expires_in: Option<i64>) -> UnixTime {
    #[allow(
        clippy::cast_precision_loss,
        reason = "a token's lifetime is far smaller"
    )]
    let seconds = expires_in.unwrap_or_default() as f64;
    sent + seconds
}
