//! What every way to sign in has in common: one answer, which is redeemed once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::guid::Guid;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tokio::time::Instant;
use url::Url;

use super::Options;
use super::answer::{Answer, Outcome};
use super::discovery::Discovery;
use super::failure::{of_object, of_refusal, too_late, with_remedy};
use super::id_token::{Expected, Identity, identity};
use super::secrets::{self, Secrets};
use crate::entra::{DEADLINE, Entra, Grant, Granted, Refusal, Registration};

/// How far a sign-in is.
#[derive(Clone, Debug)]
pub enum Status {
    /// The person has not answered yet.
    Waiting,
    /// The person is known.
    SignedIn(Identity),
    /// It has failed.
    Failed(Error),
}

/// What a sign-in yields.
#[derive(Debug)]
pub struct SignedIn {
    /// Who it is.
    pub identity: Identity,
    /// The refresh token.
    pub refresh_token: SecretString,
    /// Where it is exchanged.
    pub entra: Arc<Entra>,
}

/// What became of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is not for this attempt, which goes on.
    NotThisOne,
    /// The attempt was answered before.
    Over,
    /// The attempt has ended with it.
    Ended,
}

#[derive(Debug)]
pub(super) struct Attempt {
    env: Env,
    entra: Arc<Entra>,
    discovery: Discovery,
    client_id: String,
    /// The tenant, if it was asked for by its id.
    tenant: Option<Guid>,
    pub(super) scope: String,
    redirect_uri: String,
    login_hint: Option<String>,
    select_account: bool,
    claims: Option<String>,
    secrets: Secrets,
    is_answered: AtomicBool,
    status: watch::Sender<Status>,
    signed_in: Mutex<Option<SignedIn>>,
}

impl Attempt {
    pub(super) fn new(
        env: &Env,
        options: Options,
        discovery: Discovery,
        redirect_uri: String,
    ) -> Result<Self, Error> {
        let registration = Registration {
            token_endpoint: discovery.token_endpoint.to_string(),
            client_id: options.client_id.to_string(),
            auth: options.auth,
            // Others than Entra ID may, and nothing says so beforehand.
            revokes_used_refresh_tokens: !options.authority.is_a_cloud(),
        };
        // Consent is asked for all that the app is registered for at once, where any one resource is named with
        // `.default`. Graph is what every registration has.
        let scope = format!(
            "openid profile offline_access {}/.default",
            options.authority.graph()
        );
        Ok(Self {
            env: env.clone(),
            entra: Arc::new(Entra::new(env.clone(), registration, DEADLINE)?),
            discovery,
            client_id: options.client_id.to_string(),
            tenant: options.tenant.parse().ok(),
            scope,
            redirect_uri,
            login_hint: options.login_hint,
            select_account: options.select_account,
            claims: options.claims,
            secrets: Secrets::generate().map_err(|error| no_random_bytes(&error))?,
            is_answered: AtomicBool::new(false),
            status: watch::Sender::new(Status::Waiting),
            signed_in: Mutex::new(None),
        })
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Where the person's browser meets Entra ID.
    pub(super) fn authorization_url(&self) -> Url {
        let mut url = self.discovery.authorization_endpoint.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("client_id", &self.client_id)
            .append_pair("response_type", "code")
            .append_pair("response_mode", "query")
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", &self.scope)
            .append_pair("state", self.secrets.state.expose_secret())
            .append_pair("nonce", self.secrets.nonce.expose_secret())
            .append_pair("code_challenge", &self.secrets.challenge())
            .append_pair("code_challenge_method", "S256");
        if self.select_account {
            query.append_pair("prompt", "select_account");
        }
        if let Some(hint) = &self.login_hint {
            query.append_pair("login_hint", hint);
        }
        if let Some(claims) = &self.claims {
            query.append_pair("claims", claims);
        }
        drop(query);
        url
    }

    /// Takes an answer. Its state is looked at before anything else of it: one that is not this attempt's ends nothing. The
    /// attempt goes on to its end though whoever waits for this goes away.
    pub(super) async fn take(attempt: &Arc<Self>, answer: Answer) -> Taken {
        if !secrets::is(&attempt.secrets.state, &answer.state) {
            return Taken::NotThisOne;
        }
        let is_over = !matches!(attempt.status(), Status::Waiting);
        if is_over || attempt.is_answered.swap(true, Ordering::AcqRel) {
            return Taken::Over;
        }
        let own = Arc::clone(attempt);
        let ended = tokio::spawn(async move {
            let outcome = own.redeemed(answer.outcome).await;
            own.end(outcome);
        });
        // It does not panic, and nobody ends it.
        let _ = ended.await;
        Taken::Ended
    }

    async fn redeemed(&self, outcome: Outcome) -> Result<SignedIn, Error> {
        let code = match outcome {
            Outcome::Code(code) => code,
            Outcome::Error(object) => {
                let Secrets {
                    state,
                    nonce,
                    verifier,
                } = &self.secrets;
                return Err(of_object(
                    &object,
                    &[state, nonce, verifier].map(Clone::clone),
                ));
            }
        };
        let grant = Grant::Code {
            code: &code,
            redirect_uri: &self.redirect_uri,
            verifier: &self.secrets.verifier,
        };
        let granted = self
            .redeem(&grant)
            .await
            .map_err(|refusal| of_refusal(&refusal))?;
        self.signed_in(granted, Some(&self.secrets.nonce))
    }

    /// Redeems a grant of this sign-in.
    pub(super) async fn redeem(&self, grant: &Grant<'_>) -> Result<Granted, Refusal> {
        let deadline = Instant::now() + self.entra.deadline();
        self.entra.redeem(grant, &self.scope, deadline).await
    }

    /// Finds out who it is that the token endpoint has granted this to.
    pub(super) fn signed_in(
        &self,
        granted: Granted,
        nonce: Option<&SecretString>,
    ) -> Result<SignedIn, Error> {
        let expected = Expected {
            issuer: &self.discovery.issuer,
            client_id: &self.client_id,
            nonce,
            tenant: self.tenant,
            now: self.env.now(),
        };
        let identity = identity(granted.id_token.as_ref(), &expected)?;
        let refresh_token = granted.refresh_token.ok_or_else(|| {
            with_remedy(
                Kind::Misconfigured,
                "Entra ID granted no refresh token, without which nobody stays signed in",
                "Ask an administrator to give the app the permission offline_access.",
            )
        })?;
        Ok(SignedIn {
            identity,
            refresh_token,
            entra: Arc::clone(&self.entra),
        })
    }

    /// Ends the attempt, unless it has ended before; whether this has ended it.
    pub(super) fn end(&self, outcome: Result<SignedIn, Error>) -> bool {
        self.status.send_if_modified(|status| {
            if !matches!(status, Status::Waiting) {
                return false;
            }
            *status = match outcome {
                Ok(signed_in) => {
                    let identity = signed_in.identity.clone();
                    *self.kept() = Some(signed_in);
                    Status::SignedIn(identity)
                }
                Err(error) => Status::Failed(error),
            };
            true
        })
    }

    /// Ends the attempt because nobody has answered; whether somebody had. Who answered in the last moment is not sent
    /// away: then it ends with what comes of that, which the token endpoint's deadline bounds.
    pub(super) async fn expire(&self) -> bool {
        let is_answered = self.is_answered.swap(true, Ordering::AcqRel);
        if is_answered {
            self.ended().await;
        } else {
            self.end(Err(too_late()));
        }
        is_answered
    }

    pub(super) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Resolves when the attempt has ended.
    pub(super) async fn ended(&self) {
        let mut status = self.status.subscribe();
        let _ = status
            .wait_for(|status| !matches!(status, Status::Waiting))
            .await;
    }

    pub(super) fn take_signed_in(&self) -> Option<SignedIn> {
        self.kept().take()
    }

    /// No change under the lock can stop half-way, so one poisoned by a panic elsewhere guards sound data.
    fn kept(&self) -> std::sync::MutexGuard<'_, Option<SignedIn>> {
        self.signed_in
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn no_random_bytes(error: &getrandom::Error) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("the system gives no random bytes: {error}"),
    )
}
