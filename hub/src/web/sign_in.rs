//! A sign-in on the hub's page: to Entra ID and back, and which local user it is.

use std::sync::Arc;
use std::time::Duration;

use entrar_broker::accounts::AccountId;
use entrar_broker::random;
use entrar_broker::sign_in::{Answer, Identity, Secrets, SignedIn, Wishes};
use entrar_core::error::{Error, Kind};
use entrar_core::time::UnixTime;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::pages::Person;
use crate::configuration::Unmapped;
use crate::doors::socket::{of_store, some};
use crate::hub::{Hub, no_random_bytes};
use crate::local_user::{LocalUser, NotServed};
use crate::store::{AuditRow, BoundBy, Event, ProfileNames};

/// How long a person may take to sign in.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long a person may take to say that they meant it.
const QUESTION: Duration = Duration::from_secs(5 * 60);

/// What the hub has to remember of a sign-in until its answer comes. It lies in the database, sealed.
#[derive(Deserialize, Serialize)]
struct Begun {
    nonce: String,
    verifier: String,
    /// Of the session that asks for it, where it ends with a code.
    ticket: Option<String>,
}

/// Somebody who has signed in for the first time, until they say that they meant it. It lies in the database, sealed.
#[derive(Deserialize, Serialize)]
struct Waiting {
    tid: String,
    oid: String,
    username: Option<String>,
    name: Option<String>,
    refresh_token: String,
    uid: u32,
    user: String,
    by_table: bool,
    expires_at: f64,
}

impl Waiting {
    fn person(&self, account: AccountId) -> Person {
        Person {
            name: self.name.clone(),
            username: self.username.clone(),
            account,
        }
    }

    fn user(&self) -> LocalUser {
        LocalUser {
            uid: self.uid,
            name: self.user.clone(),
        }
    }
}

/// The question that is put to somebody who signs in for the first time.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) person: Person,
    pub(super) user: LocalUser,
    pub(super) expires_at: UnixTime,
}

/// What an answer of Entra ID has led to.
#[derive(Debug)]
pub(super) enum Finished {
    /// The account is signed in.
    SignedIn(AccountId),
    /// The person is asked first. Who holds this may answer.
    Asked(SecretString),
    /// The page shows a code.
    Code,
}

/// Why nobody has signed in.
#[derive(Debug)]
pub(super) enum Failed {
    /// The answer is not to a sign-in that began in this browser, or that was answered before.
    NotThisOne,
    /// The session that asked for it does not wait any more.
    PairingOver,
    /// Entra ID's, or what keeps the hub from asking it.
    Error(Error),
    /// The account is no local user here.
    Unmapped(Unmapped, Identity),
    /// The local user is not served.
    NotServed(Person, String, NotServed),
    /// The account, or the local user, is bound otherwise.
    Bound(Person, LocalUser),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Hub {
    /// Begins a sign-in in this browser; the result is where Entra ID takes it over. Who `chooses` is asked which account it is to
    /// be though the browser is signed in to one.
    pub(super) async fn begin_sign_in(
        &self,
        browser: &SecretString,
        ticket: Option<&SecretString>,
        claims: Option<String>,
        chooses: bool,
    ) -> Result<Url, Error> {
        self.may_begin_sign_in()?;
        let app = self.tenant.app().await?;
        let secrets = Secrets::generate().map_err(|error| no_random_bytes(&error))?;
        let begun = Begun {
            nonce: secrets.nonce.expose_secret().to_owned(),
            verifier: secrets.verifier.expose_secret().to_owned(),
            ticket: ticket.map(|ticket| ticket.expose_secret().to_owned()),
        };
        let expires_at = self.now() + LIFETIME;
        self.store
            .begin_sign_in(&secrets.state, browser, &payload(&begun)?, expires_at)
            .await
            .map_err(of_store)?;
        let wishes = Wishes {
            // Whoever follows a link is to see as whom.
            select_account: chooses || ticket.is_some(),
            claims,
            ..Wishes::default()
        };
        Ok(app.authorization_url(&secrets, &wishes))
    }

    /// Takes what the browser has brought from Entra ID.
    pub(super) async fn finish_sign_in(
        self: &Arc<Self>,
        browser: &SecretString,
        query: &str,
    ) -> Result<Finished, Failed> {
        let answer = Answer::read(query).ok_or(Failed::NotThisOne)?;
        let state = answer.state.clone();
        let begun = self
            .store
            .take_sign_in(&state, browser.expose_secret(), self.now());
        let begun = begun.await.map_err(of_store)?.ok_or(Failed::NotThisOne)?;
        let begun: Begun = read(&begun)?;
        let ticket = begun.ticket;
        let secrets = Secrets {
            state: state.into(),
            nonce: begun.nonce.into(),
            verifier: begun.verifier.into(),
        };
        // A code serves once: who goes away meanwhile must not lose what it brings.
        let hub = Arc::clone(self);
        let (browser, outcome) = (browser.clone(), answer.outcome);
        let finished = tokio::spawn(async move {
            let app = hub.tenant.app().await?;
            let signed_in = app.redeem_answer(&secrets, outcome).await;
            match signed_in {
                Ok(signed_in) => hub.recognised(&browser, signed_in, ticket).await,
                Err(error) => {
                    let row = AuditRow {
                        result: error.kind().as_str().to_owned(),
                        correlation_id: error.details().correlation_id.clone(),
                        ..hub.row(Event::SignIn)
                    };
                    hub.note(row).await?;
                    Err(error.into())
                }
            }
        });
        match finished.await {
            Ok(finished) => finished,
            Err(_) => Err(Error::new(Kind::ServerError, "the sign-in broke off").into()),
        }
    }

    /// Finds the local user of whoever has signed in. The first time the person is asked.
    async fn recognised(
        &self,
        browser: &SecretString,
        signed_in: SignedIn,
        ticket: Option<String>,
    ) -> Result<Finished, Failed> {
        let SignedIn {
            identity,
            refresh_token,
            entra: _,
        } = signed_in;
        let account = identity.account;
        let person = Person {
            name: identity.name.clone(),
            username: identity.username.clone(),
            account,
        };
        let names = ProfileNames {
            username: identity.username.clone().unwrap_or_default(),
            name: identity.name.clone().unwrap_or_default(),
        };
        let bound = self
            .store
            .binding_of_account(account)
            .await
            .map_err(of_store)?;
        if let Some(binding) = bound {
            let user = self.user_named(&binding.user.name).await;
            // Name or uid have gone to somebody else since.
            if !matches!(&user, Ok(user) if *user == binding.user) {
                self.refused(&identity, Some(&binding.user), "bound otherwise")
                    .await?;
                return Err(Failed::Bound(person, binding.user));
            }
            self.keep(account, &names, refresh_token, &binding.user)
                .await?;
            return Ok(Finished::SignedIn(account));
        }
        let name = match self.configuration().people.user(&identity) {
            Ok(name) => name,
            Err(why) => {
                if let Some(ticket) = ticket {
                    let offered = self.offer_code(&ticket, browser, &identity, &refresh_token, why);
                    match offered.await? {
                        Ok(Some(())) => return Ok(Finished::Code),
                        Ok(None) => return Err(Failed::PairingOver),
                        Err(_) => {}
                    }
                }
                self.refused(&identity, None, why.as_str()).await?;
                return Err(Failed::Unmapped(why, identity));
            }
        };
        let user = match self.user_named(&name).await {
            Ok(user) => user,
            Err(why) => {
                self.refused(&identity, None, &format!("{name} {why}"))
                    .await?;
                return Err(Failed::NotServed(person, name, why));
            }
        };
        if let Some(other) = self
            .store
            .binding_of_user(user.uid)
            .await
            .map_err(of_store)?
        {
            self.refused(&identity, Some(&user), "bound otherwise")
                .await?;
            return Err(Failed::Bound(person, other.user));
        }
        let expires_at = self.now() + QUESTION;
        let waiting = Waiting {
            tid: account.tid.to_string(),
            oid: account.oid.to_string(),
            username: some(&names.username),
            name: some(&names.name),
            refresh_token: refresh_token.expose_secret().to_owned(),
            uid: user.uid,
            user: user.name,
            by_table: self.configuration().people.table.contains_key(&account),
            expires_at: expires_at.seconds(),
        };
        let handle =
            SecretString::from(random::text::<32>().map_err(|error| no_random_bytes(&error))?);
        self.store
            .begin_sign_in(&handle, browser, &payload(&waiting)?, expires_at)
            .await
            .map_err(of_store)?;
        Ok(Finished::Asked(handle))
    }

    /// What the person is asked; `None` if it is over.
    pub(super) async fn question(
        &self,
        browser: &SecretString,
        handle: &SecretString,
    ) -> Result<Option<Question>, Error> {
        let (handle, browser) = (handle.expose_secret(), browser.expose_secret());
        let waiting = self
            .store
            .read_sign_in(handle, browser, self.now())
            .await
            .map_err(of_store)?;
        let Some(waiting) = waiting else {
            return Ok(None);
        };
        let (account, waiting) = waiting_of(&waiting)?;
        Ok(Some(Question {
            person: waiting.person(account),
            user: waiting.user(),
            expires_at: UnixTime::new(waiting.expires_at),
        }))
    }

    /// The person has said whether they meant it. `None` if the question is over.
    pub(super) async fn answered(
        &self,
        browser: &SecretString,
        handle: &SecretString,
        is_meant: bool,
    ) -> Result<Option<AccountId>, Failed> {
        let (handle, browser) = (handle.expose_secret(), browser.expose_secret());
        let waiting = self
            .store
            .take_sign_in(handle, browser, self.now())
            .await
            .map_err(of_store)?;
        let Some(waiting) = waiting else {
            return Ok(None);
        };
        let (account, waiting) = waiting_of(&waiting)?;
        let user = waiting.user();
        if !is_meant {
            let row = AuditRow {
                result: "declined".to_owned(),
                account: Some(account),
                user: Some(user),
                ..self.row(Event::SignIn)
            };
            self.note(row).await?;
            return Ok(None);
        }
        // The name or the uid may have gone to somebody else since the question was put.
        match self.user_named(&user.name).await {
            Ok(found) if found == user => {}
            Ok(_) => return Err(Failed::Bound(waiting.person(account), user)),
            Err(why) => {
                return Err(Failed::NotServed(waiting.person(account), user.name, why));
            }
        }
        let by = if waiting.by_table {
            BoundBy::Table
        } else {
            BoundBy::Rule
        };
        if !self.bind(account, &user, by).await? {
            return Err(Failed::Bound(waiting.person(account), user));
        }
        let names = ProfileNames {
            username: waiting.username.unwrap_or_default(),
            name: waiting.name.unwrap_or_default(),
        };
        self.keep(account, &names, waiting.refresh_token.into(), &user)
            .await?;
        Ok(Some(account))
    }

    /// Keeps the refresh token of an account that has signed in.
    pub(crate) async fn keep(
        &self,
        account: AccountId,
        names: &ProfileNames,
        refresh_token: SecretString,
        user: &LocalUser,
    ) -> Result<(), Error> {
        let row = AuditRow {
            account: Some(account),
            user: Some(user.clone()),
            ..self.row(Event::SignIn)
        };
        self.note(row).await?;
        let exchanges = self.exchanges().await?;
        self.store
            .sign_in_person(account, names, refresh_token, self.now())
            .await
            .map_err(of_store)?;
        exchanges.begin_anew(account);
        self.signed_in_somewhere.notify_waiters();
        Ok(())
    }

    async fn refused(
        &self,
        identity: &Identity,
        user: Option<&LocalUser>,
        why: &str,
    ) -> Result<(), Error> {
        let row = AuditRow {
            result: "access_denied".to_owned(),
            account: Some(identity.account),
            user: user.cloned(),
            detail: Some(why.to_owned()),
            ..self.row(Event::SignIn)
        };
        self.note(row).await
    }

    /// Signs an account out everywhere: its refresh token is deleted, and every session of its user ends.
    ///
    /// # Errors
    /// The database's.
    pub async fn sign_out(
        &self,
        account: AccountId,
        user: Option<&LocalUser>,
    ) -> Result<(), Error> {
        match self.exchanges_if_any() {
            Some(exchanges) => {
                exchanges
                    .sign_out(account)
                    .await
                    .map_err(|refusal| refusal.error())?;
            }
            None => {
                entrar_broker::accounts::Accounts::sign_out(&self.store, account)
                    .await
                    .map_err(|refusal| refusal.error())?;
            }
        }
        if let Some(user) = user {
            self.store
                .end_sessions_of_user(user.uid)
                .await
                .map_err(of_store)?;
        }
        let row = AuditRow {
            account: Some(account),
            user: user.cloned(),
            ..self.row(Event::SignOut)
        };
        self.note(row).await
    }
}

fn payload(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value)
        .map_err(|_| Error::new(Kind::ServerError, "the hub cannot note a sign-in"))
}

fn read<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, Error> {
    // What serde says may quote the bytes, which hold secrets.
    serde_json::from_slice(bytes).map_err(|_| {
        Error::new(
            Kind::ServerError,
            "the hub cannot read what it noted of a sign-in",
        )
    })
}

fn waiting_of(bytes: &[u8]) -> Result<(AccountId, Waiting), Error> {
    let waiting: Waiting = read(bytes)?;
    match (waiting.tid.parse(), waiting.oid.parse()) {
        (Ok(tid), Ok(oid)) => Ok((AccountId { tid, oid }, waiting)),
        _ => Err(Error::new(
            Kind::ServerError,
            "the hub cannot read what it noted of a sign-in",
        )),
    }
}
