//! A sign-in: the one time that a person meets Entra ID. It yields an account and a refresh token.
//!
//! [`SignIn::begin`] asks the tenant where its endpoints are and invites the person: to a browser on this machine, which
//! comes back here; to one elsewhere, whose last address the person hands in; or to a page that asks for a code.
//! [`SignIn::wait`] tells how far it is, [`SignIn::take`] hands out what came of it.

mod answer;
mod app;
mod ask;
mod attempt;
mod browser;
mod device_code;
mod discovery;
mod failure;
mod id_token;
mod pages;
mod secrets;

use std::sync::Arc;
use std::time::Duration;

use entrar_core::authority::Authority;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::guid::Guid;
use entrar_core::time::UnixTime;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use crate::entra::ClientAuth;
use answer::pasted_query;
use attempt::{Attempt, Taken};
pub use entrar_core::agent::AZURE_CLI;
use failure::misconfigured;

pub use answer::{Answer, Outcome};
pub use app::{App, SignedIn, Wishes};
pub use attempt::Status;
pub use id_token::{Identity, is_of_another};
pub use secrets::Secrets;

/// How long a person may take.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// What to sign in to, and how.
#[derive(Debug)]
pub struct Options {
    /// Where Entra ID is.
    pub authority: Authority,
    /// The tenant: a GUID, a domain, `organizations`.
    pub tenant: String,
    /// The app.
    pub client_id: Guid,
    /// How the app proves itself.
    pub auth: ClientAuth,
    /// How the person meets Entra ID.
    pub method: Method,
    /// What the page is to ask.
    pub wishes: Wishes,
}

/// How a person meets Entra ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// In a browser on this machine.
    Browser,
    /// In a browser elsewhere; the person hands in the address at which it ended.
    Paste,
    /// With a code that the person types.
    DeviceCode,
}

/// What the person is to do.
#[derive(Clone, Debug)]
pub enum Invitation {
    /// Open this address of this machine. It serves once.
    Browser(Url),
    /// Open this address anywhere, and hand in where it ends.
    Paste(Url),
    /// Open this address anywhere and type the code.
    DeviceCode {
        /// The page that asks for the code.
        address: Url,
        /// The code.
        user_code: String,
    },
}

/// A sign-in under way. Dropping it ends it as [`SignIn::cancel`] does.
#[derive(Debug)]
pub struct SignIn {
    attempt: Arc<Attempt>,
    invitation: Invitation,
    method: Method,
    expires_at: UnixTime,
    task: AbortHandle,
}

impl SignIn {
    /// Begins a sign-in, which then goes on by itself on the runtime that this is called on.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if there is no such tenant, or the method is not open to the app; [`Kind::Unavailable`] if
    /// this machine has no port for the browser to come back to; [`Kind::Timeout`] if the tenant takes more than 20 seconds
    /// to say where its endpoints are; its own errors, and what keeps it from being reached.
    pub async fn begin(env: &Env, options: Options) -> Result<Self, Error> {
        if options.method == Method::Paste && options.client_id == AZURE_CLI {
            return Err(misconfigured(
                "with Azure CLI's app nothing is pasted: to those who watch a tenant that looks like an attack",
                "Name an app registration of your own organisation as `client_id`.",
            ));
        }
        let method = options.method;
        let find = async |redirect_uri: String| {
            let Options {
                authority,
                tenant,
                client_id,
                auth,
                method: _,
                wishes,
            } = options;
            let app = App::find(
                env,
                &authority,
                &tenant,
                client_id,
                auth,
                redirect_uri,
                None,
            )
            .await?;
            Attempt::new(app, wishes).map(Arc::new)
        };
        let mut lifetime = LIFETIME;
        let deadline = Instant::now() + LIFETIME;
        let (attempt, invitation, task) = match method {
            Method::Browser => {
                let loopback = browser::Loopback::bind()?;
                let attempt = find(loopback.redirect_uri()).await?;
                let (start, server) = browser::serve(loopback, Arc::clone(&attempt))?;
                let ended = server.run(deadline);
                (attempt, Invitation::Browser(start), tokio::spawn(ended))
            }
            Method::Paste => {
                // Nobody listens there: the person's browser shows the address, and that it cannot be reached.
                let nowhere = "http://localhost".to_owned();
                let attempt = find(nowhere).await?;
                let address = attempt.authorization_url();
                let late = Arc::clone(&attempt);
                let ended = async move {
                    if timeout_at(deadline, late.ended()).await.is_err() {
                        late.expire().await;
                    }
                };
                (attempt, Invitation::Paste(address), tokio::spawn(ended))
            }
            Method::DeviceCode => {
                let attempt = find(String::new()).await?;
                let device = device_code::Device::ask(env, attempt.app()).await?;
                lifetime = device.lifetime;
                let invitation = device.invitation();
                let polled = Arc::clone(&attempt);
                let ended = async move {
                    let outcome = device.poll(polled.app(), Instant::now() + lifetime).await;
                    polled.end(outcome);
                };
                (attempt, invitation, tokio::spawn(ended))
            }
        };
        Ok(Self {
            attempt,
            invitation,
            method,
            expires_at: env.now() + lifetime,
            task: task.abort_handle(),
        })
    }

    /// What the person is to do.
    #[must_use]
    pub fn invitation(&self) -> &Invitation {
        &self.invitation
    }

    /// Until when the person may do it.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// How far it is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.attempt.status()
    }

    /// Waits until it has ended, or for so long.
    pub async fn wait(&self, longest: Duration) -> Status {
        let _ = timeout(longest, self.attempt.ended()).await;
        self.status()
    }

    /// Takes the address at which the person's browser ended, or its query.
    ///
    /// # Errors
    /// [`Kind::BadReply`] if it is not the answer to this sign-in, which goes on; [`Kind::Misconfigured`] if nothing is
    /// pasted for it.
    pub async fn answer(&self, pasted: &str) -> Result<Status, Error> {
        if self.method != Method::Paste {
            return Err(misconfigured(
                "for this sign-in nothing is pasted",
                "Finish it in the browser, or begin again with method = \"paste\".",
            ));
        }
        let not_this_one = |what: &str| {
            failure::with_remedy(
                Kind::BadReply,
                what,
                "Copy the whole address from the address line of the browser in which you signed in, beginning with http://localhost.",
            )
        };
        let answer = Answer::read(pasted_query(pasted))
            .ok_or_else(|| not_this_one("what was pasted is not where a sign-in ends"))?;
        match Attempt::take(&self.attempt, answer).await {
            Taken::NotThisOne => Err(not_this_one("what was pasted is of another sign-in")),
            Taken::Over | Taken::Ended => Ok(self.status()),
        }
    }

    /// Ends it, unless it has ended. Where it has, the browser that ended it still gets its last page.
    pub fn cancel(&self) {
        if self.attempt.end(Err(failure::cancelled())) {
            self.task.abort();
        }
    }

    /// What came of it, once.
    #[must_use]
    pub fn take(&self) -> Option<SignedIn> {
        self.attempt.take_signed_in()
    }
}

impl Drop for SignIn {
    fn drop(&mut self) {
        self.cancel();
    }
}
