//! The tenant: its app registration, its key, and the persons in it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::clock::Clock;
use crate::directory::{Directory, Person};
use crate::errors::{Error, Refusal};
use crate::faults::{Fault, FaultKind};
use crate::keys::SigningKey;
use crate::random;
use crate::scope::without_slash;

/// How a tenant and its one app registration behave.
///
/// The default is a public client with a made-up id that is the same at every start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The app's id, a GUID.
    pub client_id: String,
    /// The app's secret. Without one the app is a public client, which must not send any.
    pub client_secret: Option<SecretString>,
    /// How long access tokens and id tokens live, in seconds. 3599, as Entra says most often.
    pub token_lifetime: u32,
    /// How long an unused refresh token lives, in seconds. 90 days, as in Entra.
    pub refresh_token_lifetime: u32,
    /// Whether a refresh token dies when a newer one is handed out for it. Entra lets it live; other OpenID providers
    /// do not.
    pub revoke_used_refresh_tokens: bool,
    /// What the token endpoint does in the place of granting tokens; by default it has no faults. Of several for one
    /// resource the first counts.
    pub faults: Vec<Fault>,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client_id: "8b6a0c1e-52f4-4d3b-9a77-1c0de5e1f00d".to_owned(),
            client_secret: None,
            token_lifetime: 3599,
            refresh_token_lifetime: 90 * 24 * 60 * 60,
            revoke_used_refresh_tokens: false,
            faults: Vec::new(),
            clock: Clock::default(),
        }
    }
}

/// A directory with one app registration and a signing key. Its `Debug` shows no secret.
#[derive(Debug)]
pub struct Tenant {
    id: String,
    options: Options,
    key: SigningKey,
    directory: Mutex<Directory>,
}

impl Tenant {
    /// A tenant with a random id, a new 2048-bit key, and nobody in it.
    ///
    /// # Errors
    ///
    /// When the operating system gives no random bytes, or no key could be made of them.
    pub fn new(options: Options) -> Result<Self, Error> {
        Ok(Self {
            id: random::guid()?,
            options,
            key: SigningKey::generate()?,
            directory: Mutex::default(),
        })
    }

    /// The tenant's id, a GUID in lower case.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id of the app that may ask for tokens.
    pub fn client_id(&self) -> &str {
        &self.options.client_id
    }

    /// Signs a person in to the app, adding them to the directory if need be: a refresh token of their own. Tokens of
    /// earlier sign-ins stay valid.
    ///
    /// # Errors
    ///
    /// When the operating system gives no random bytes.
    pub fn sign_in(&self, person: &Person) -> Result<SecretString, Error> {
        let mut directory = self.directory();
        directory.add(person);
        directory.issue(&person.object_id, self.now())
    }

    /// Revokes every refresh token that a person holds, as a change of password does. They may sign in again.
    pub fn revoke(&self, person: &Person) {
        self.directory().revoke_all(&person.object_id);
    }

    pub(crate) fn now(&self) -> i64 {
        self.options.clock.now()
    }

    pub(crate) fn token_lifetime(&self) -> u32 {
        self.options.token_lifetime
    }

    /// The fault that a request for this resource meets.
    pub(crate) fn fault(&self, resource: &str) -> Option<FaultKind> {
        let faults = &self.options.faults;
        let own = faults.iter().find(|fault| {
            let named = fault.resource.as_deref().map(without_slash);
            named == Some(without_slash(resource))
        });
        let fault = own.or_else(|| faults.iter().find(|fault| fault.resource.is_none()));
        fault.map(|fault| fault.kind)
    }

    pub(crate) fn is_confidential(&self) -> bool {
        self.options.client_secret.is_some()
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(crate) fn person(&self, object_id: &str) -> Option<Person> {
        self.directory().person(object_id)
    }

    /// Who signs the access tokens.
    pub(crate) fn issuer(&self) -> String {
        format!("https://sts.windows.net/{}/", self.id)
    }

    /// Checks who asks: a confidential client by its secret, a public one by sending none.
    pub(crate) fn authenticate_client(&self, given: Option<&SecretString>) -> Result<(), Refusal> {
        match (&self.options.client_secret, given) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(Refusal::SecretFromPublicClient),
            (Some(_), None) => Err(Refusal::MissingClientSecret),
            (Some(secret), Some(given)) => {
                let equal = secret
                    .expose_secret()
                    .as_bytes()
                    .ct_eq(given.expose_secret().as_bytes());
                if equal.into() {
                    Ok(())
                } else {
                    Err(Refusal::WrongClientSecret)
                }
            }
        }
    }

    /// The person behind a refresh token and, if `renew`, a new one for them. One lock for all of it: of two exchanges
    /// that use one token at once, where used tokens die, only the first succeeds.
    pub(crate) fn redeem(
        &self,
        refresh_token: &SecretString,
        renew: bool,
    ) -> Result<(Person, Option<SecretString>), Refusal> {
        let now = self.now();
        let mut directory = self.directory();
        let person = directory.holder(refresh_token, now, self.options.refresh_token_lifetime)?;
        if !renew {
            return Ok((person, None));
        }
        let newer = directory.issue(&person.object_id, now)?;
        if self.options.revoke_used_refresh_tokens {
            directory.revoke(refresh_token);
        }
        Ok((person, Some(newer)))
    }

    /// No change to the directory can stop half-way, so a lock poisoned by a panic elsewhere guards sound data.
    fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
