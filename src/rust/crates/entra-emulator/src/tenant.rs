//! The tenant: its app registrations, its users, its key, and the sign-ins under way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use secrecy::SecretString;

use crate::app::App;
use crate::assertions;
use crate::clock::Clock;
use crate::codes::Codes;
use crate::devices::Devices;
use crate::directory::{Directory, SignIn};
use crate::errors::Error;
use crate::faults::{Fault, FaultKind, Step};
use crate::https::Identity;
use crate::keys::SigningKey;
use crate::random;
use crate::refusals::Refusal;
use crate::tokens;
use crate::user::{Membership, User};

/// How a tenant behaves.
///
/// The default has one app, a public client, and one user, who signs in on a page.
#[derive(Clone, Debug)]
pub struct Options {
    /// The registered apps.
    pub apps: Vec<App>,
    /// Who can sign in. The first is the default user.
    pub users: Vec<User>,
    /// Whether a sign-in asks nobody: the user whom `login_hint` names, else the default one, is signed in at once.
    pub auto_consent: bool,
    /// How long access tokens and id tokens live, in seconds. 3599, as Entra says most often.
    pub token_lifetime: u32,
    /// How long an unused refresh token lives, in seconds. 90 days, as in Entra.
    pub refresh_token_lifetime: u32,
    /// Whether a refresh token dies when a newer one is handed out for it. Entra lets it live; other OpenID providers
    /// do not.
    pub revoke_used_refresh_tokens: bool,
    /// How long a device code lives, in seconds. 900, as in Entra.
    pub device_code_lifetime: u32,
    /// How often a client may ask whether a device code was typed, in seconds. 5, as in Entra.
    pub device_code_interval: u32,
    /// Whether it is served over https, with certificates that are made at start and die with the tenant.
    pub https: bool,
    /// What the tenant does in the place of what is asked; by default it has no faults. Of several that fit, the first
    /// that names the resource counts, else the first.
    pub faults: Vec<Fault>,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            apps: vec![App::default()],
            users: vec![User::default()],
            auto_consent: false,
            token_lifetime: 3599,
            refresh_token_lifetime: 90 * 24 * 60 * 60,
            revoke_used_refresh_tokens: false,
            device_code_lifetime: 900,
            device_code_interval: 5,
            https: false,
            faults: Vec::new(),
            clock: Clock::default(),
        }
    }
}

/// A directory with its app registrations and a signing key. Its `Debug` shows no secret.
#[derive(Debug)]
pub struct Tenant {
    id: String,
    options: Options,
    key: SigningKey,
    identity: Option<Identity>,
    directory: Mutex<Directory>,
    pub(crate) codes: Codes,
    pub(crate) devices: Devices,
}

impl Tenant {
    /// A tenant with a random id, a new 2048-bit key, and nobody signed in.
    ///
    /// # Errors
    ///
    /// When the operating system gives no random bytes, or no key could be made of them.
    pub fn new(options: Options) -> Result<Self, Error> {
        let mut directory = Directory::default();
        for user in &options.users {
            directory.add(user);
        }
        Ok(Self {
            id: random::guid()?,
            key: SigningKey::generate()?,
            identity: options.https.then(Identity::generate).transpose()?,
            directory: Mutex::new(directory),
            codes: Codes::default(),
            devices: Devices::default(),
            options,
        })
    }

    /// The tenant's id, a GUID in lower case.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id of the first app.
    pub fn client_id(&self) -> &str {
        let first = self.options.apps.first();
        first.map_or("", |app| &app.client_id)
    }

    /// The registered apps.
    pub fn apps(&self) -> &[App] {
        &self.options.apps
    }

    /// Everybody who can sign in, the default user first.
    pub fn users(&self) -> Vec<User> {
        self.directory().users().to_vec()
    }

    /// The certificate, in PEM, of the authority to trust for https; `None` without [`Options::https`].
    pub fn ca_pem(&self) -> Option<&str> {
        self.identity.as_ref().map(Identity::ca_pem)
    }

    /// Signs a user in to the first app, adding them to the directory if need be: a refresh token of their own. Tokens of
    /// earlier sign-ins stay valid.
    ///
    /// # Errors
    ///
    /// When the operating system gives no random bytes.
    pub fn sign_in(&self, user: &User) -> Result<SecretString, Error> {
        let mut directory = self.directory();
        directory.add(user);
        let sign_in = SignIn {
            object_id: user.object_id.clone(),
            client_id: self.client_id().to_owned(),
        };
        directory.issue(sign_in, self.now())
    }

    /// Revokes every refresh token that a user holds, as a change of password does. They may sign in again.
    pub fn revoke(&self, user: &User) {
        self.directory().revoke_all(&user.object_id);
    }

    /// A token with which an app that has [`Credential::Federated`](crate::Credential::Federated) with this subject
    /// proves who it is, good for `lifetime` seconds: what a platform writes to `AZURE_FEDERATED_TOKEN_FILE`.
    ///
    /// # Errors
    ///
    /// When the operating system gives no random bytes, or the key fails.
    pub fn workload_token(&self, subject: &str, lifetime: u32) -> Result<SecretString, Error> {
        assertions::workload_token(self, subject, lifetime)
    }

    pub(crate) fn now(&self) -> i64 {
        self.options.clock.now()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    pub(crate) fn app(&self, client_id: &str) -> Result<&App, Refusal> {
        let mut apps = self.options.apps.iter();
        apps.find(|app| app.client_id == client_id)
            .ok_or_else(|| Refusal::UnknownClient(client_id.to_owned()))
    }

    /// The fault that a request for this resource meets at this step.
    pub(crate) fn fault(&self, step: Step, resource: &str) -> Option<FaultKind> {
        let here = || {
            let faults = self.options.faults.iter();
            faults.filter(move |fault| fault.is_at(step))
        };
        let own = here().find(|fault| fault.names(resource));
        let fault = own.or_else(|| here().find(|fault| fault.resource.is_none()));
        fault.map(|fault| fault.kind)
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(crate) fn user(&self, object_id: &str) -> Option<User> {
        self.directory().user(object_id)
    }

    /// The user with this sign-in name or object id.
    pub(crate) fn user_named(&self, name: &str) -> Option<User> {
        let directory = self.directory();
        let mut users = directory.users().iter();
        users.find(|user| user.is_named(name)).cloned()
    }

    /// Whom nobody has to ask: the user of this name, else the default one.
    pub(crate) fn default_user(&self, login_hint: Option<&str>) -> Option<User> {
        let named = login_hint.and_then(|name| self.user_named(name));
        named.or_else(|| self.directory().users().first().cloned())
    }

    /// The id of the tenant whose tokens a user gets.
    pub(crate) fn tenant_of<'a>(&'a self, user: &'a User) -> &'a str {
        match &user.membership {
            Membership::Other(id) => id,
            Membership::Member | Membership::Guest => &self.id,
        }
    }

    /// Who signs this tenant's access tokens.
    pub(crate) fn issuer(&self) -> String {
        tokens::issuer(&self.id)
    }

    /// Whether tokens of the tenant with this id come from here: it is this one, or that of a user.
    pub(crate) fn issues_for(&self, tenant_id: &str) -> bool {
        let directory = self.directory();
        let mut users = directory.users().iter();
        tenant_id == self.id || users.any(|user| self.tenant_of(user) == tenant_id)
    }

    /// The user behind a refresh token and, if `renew`, a new one for them. One lock for all of it: of two exchanges
    /// that use one token at once, where used tokens die, only the first succeeds.
    pub(crate) fn redeem(
        &self,
        refresh_token: &SecretString,
        client_id: &str,
        renew: bool,
    ) -> Result<(User, Option<SecretString>), Refusal> {
        let now = self.now();
        let mut directory = self.directory();
        let lifetime = self.options.refresh_token_lifetime;
        let user = directory.holder(refresh_token, client_id, now, lifetime)?;
        if !renew {
            return Ok((user, None));
        }
        let sign_in = SignIn {
            object_id: user.object_id.clone(),
            client_id: client_id.to_owned(),
        };
        let newer = directory.issue(sign_in, now)?;
        if self.options.revoke_used_refresh_tokens {
            directory.revoke(refresh_token);
        }
        Ok((user, Some(newer)))
    }

    /// The first refresh token of a sign-in.
    pub(crate) fn begin(&self, sign_in: SignIn) -> Result<SecretString, Error> {
        self.directory().issue(sign_in, self.now())
    }

    /// No change to the directory can stop half-way, so a lock poisoned by a panic elsewhere guards sound data.
    fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
