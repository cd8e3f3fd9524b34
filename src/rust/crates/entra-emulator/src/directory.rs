//! Who is in the tenant, and the refresh tokens that stand for their sign-ins.

use std::collections::HashMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::errors::Error;
use crate::random;
use crate::refusals::Refusal;
use crate::user::User;

/// Users in the order they came, and what is known of each refresh token ever handed out.
#[derive(Default)]
pub(crate) struct Directory {
    users: Vec<User>,
    refresh_tokens: HashMap<String, RefreshToken>,
}

/// Who signed in to which app.
#[derive(Clone, Debug)]
pub(crate) struct SignIn {
    pub(crate) object_id: String,
    pub(crate) client_id: String,
}

/// What a refresh token stands for.
struct RefreshToken {
    sign_in: SignIn,
    issued_at: i64,
    revoked: bool,
}

impl Directory {
    pub(crate) fn users(&self) -> &[User] {
        &self.users
    }

    pub(crate) fn user(&self, object_id: &str) -> Option<User> {
        let mut users = self.users.iter();
        users.find(|user| user.object_id == object_id).cloned()
    }

    /// Adds the user, or brings what is known up to date.
    pub(crate) fn add(&mut self, user: &User) {
        let mut users = self.users.iter_mut();
        match users.find(|known| known.object_id == user.object_id) {
            Some(known) => *known = user.clone(),
            None => self.users.push(user.clone()),
        }
    }

    /// A new refresh token for a sign-in.
    pub(crate) fn issue(&mut self, sign_in: SignIn, now: i64) -> Result<SecretString, Error> {
        let refresh_token = random::text::<48>()?;
        let grant = RefreshToken {
            sign_in,
            issued_at: now,
            revoked: false,
        };
        self.refresh_tokens.insert(refresh_token.clone(), grant);
        Ok(refresh_token.into())
    }

    /// Who holds `refresh_token` as a user of the app, unless it is unknown, revoked, or `lifetime` seconds old.
    pub(crate) fn holder(
        &self,
        refresh_token: &SecretString,
        client_id: &str,
        now: i64,
        lifetime: u32,
    ) -> Result<User, Refusal> {
        let grant = self
            .refresh_tokens
            .get(refresh_token.expose_secret())
            .ok_or(Refusal::MalformedRefreshToken)?;
        if grant.sign_in.client_id != client_id {
            return Err(Refusal::OtherClientsGrant);
        }
        if grant.revoked {
            return Err(Refusal::RevokedRefreshToken);
        }
        if now >= grant.issued_at.saturating_add(lifetime.into()) {
            return Err(Refusal::ExpiredRefreshToken);
        }
        self.user(&grant.sign_in.object_id)
            .ok_or(Refusal::MalformedRefreshToken)
    }

    pub(crate) fn revoke(&mut self, refresh_token: &SecretString) {
        if let Some(grant) = self.refresh_tokens.get_mut(refresh_token.expose_secret()) {
            grant.revoked = true;
        }
    }

    pub(crate) fn revoke_all(&mut self, object_id: &str) {
        for grant in self
            .refresh_tokens
            .values_mut()
            .filter(|grant| grant.sign_in.object_id == object_id)
        {
            grant.revoked = true;
        }
    }
}

/// The keys of the map are secrets, so only numbers are shown.
impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("users", &self.users.len())
            .field("refresh_tokens", &self.refresh_tokens.len())
            .finish()
    }
}
