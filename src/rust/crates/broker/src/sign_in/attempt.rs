//! What every way to sign in has in common: one answer, which is redeemed once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use entrar_core::error::{Error, Kind};
use tokio::sync::watch;
use url::Url;

use super::answer::Answer;
use super::app::{App, SignedIn, Wishes};
use super::failure::too_late;
use super::id_token::Identity;
use super::secrets::{self, Secrets};

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

/// A sign-in to an app, as far as its one answer has brought it.
#[derive(Debug)]
pub(super) struct Attempt {
    app: App,
    wishes: Wishes,
    secrets: Secrets,
    is_answered: AtomicBool,
    status: watch::Sender<Status>,
    signed_in: Mutex<Option<SignedIn>>,
}

impl Attempt {
    pub(super) fn new(app: App, wishes: Wishes) -> Result<Self, Error> {
        Ok(Self {
            app,
            wishes,
            secrets: Secrets::generate().map_err(|error| no_random_bytes(&error))?,
            is_answered: AtomicBool::new(false),
            status: watch::Sender::new(Status::Waiting),
            signed_in: Mutex::new(None),
        })
    }

    pub(super) fn app(&self) -> &App {
        &self.app
    }

    /// Where the person's browser meets Entra ID.
    pub(super) fn authorization_url(&self) -> Url {
        self.app.authorization_url(&self.secrets, &self.wishes)
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
            let outcome = own.app.redeem_answer(&own.secrets, answer.outcome).await;
            own.end(outcome);
        });
        // It does not panic, and nobody ends it.
        let _ = ended.await;
        Taken::Ended
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
