//! Who is in the tenant: persons, and the refresh tokens they hold.

use std::collections::HashMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::errors::{Error, Refusal};
use crate::random;

/// A member of the tenant. The default is one made-up person, Ada Example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The object id, a GUID: what tells persons apart.
    pub object_id: String,
    /// The sign-in name, which looks like an address of mail and serves as one.
    pub user_principal_name: String,
    /// The first name.
    pub given_name: String,
    /// The family name.
    pub surname: String,
}

impl Person {
    /// The full name.
    pub fn display_name(&self) -> String {
        format!("{} {}", self.given_name, self.surname)
    }
}

impl Default for Person {
    fn default() -> Self {
        Self {
            object_id: "3f1d6f0e-94c7-4f0b-8d52-6a0c7e21b9a4".to_owned(),
            user_principal_name: "ada@example.com".to_owned(),
            given_name: "Ada".to_owned(),
            surname: "Example".to_owned(),
        }
    }
}

/// Persons by object id, and what is known of each refresh token ever handed out.
#[derive(Default)]
pub(crate) struct Directory {
    persons: HashMap<String, Person>,
    refresh_tokens: HashMap<String, Grant>,
}

/// What a refresh token stands for.
struct Grant {
    object_id: String,
    issued_at: i64,
    revoked: bool,
}

impl Directory {
    pub(crate) fn person(&self, object_id: &str) -> Option<Person> {
        self.persons.get(object_id).cloned()
    }

    /// Adds the person, or brings what is known up to date.
    pub(crate) fn add(&mut self, person: &Person) {
        self.persons
            .insert(person.object_id.clone(), person.clone());
    }

    /// A new refresh token for a person.
    pub(crate) fn issue(&mut self, object_id: &str, now: i64) -> Result<SecretString, Error> {
        let refresh_token = random::text::<48>()?;
        let grant = Grant {
            object_id: object_id.to_owned(),
            issued_at: now,
            revoked: false,
        };
        self.refresh_tokens.insert(refresh_token.clone(), grant);
        Ok(refresh_token.into())
    }

    /// The person who holds `refresh_token`, unless it is unknown, revoked, or `lifetime` seconds old.
    pub(crate) fn holder(
        &self,
        refresh_token: &SecretString,
        now: i64,
        lifetime: u32,
    ) -> Result<Person, Refusal> {
        let grant = self
            .refresh_tokens
            .get(refresh_token.expose_secret())
            .ok_or(Refusal::MalformedRefreshToken)?;
        if grant.revoked {
            return Err(Refusal::RevokedRefreshToken);
        }
        if now >= grant.issued_at.saturating_add(lifetime.into()) {
            return Err(Refusal::ExpiredRefreshToken);
        }
        self.person(&grant.object_id)
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
            .filter(|grant| grant.object_id == object_id)
        {
            grant.revoked = true;
        }
    }
}

/// The keys of the map are secrets, so only numbers are shown.
impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("persons", &self.persons.len())
            .field("refresh_tokens", &self.refresh_tokens.len())
            .finish()
    }
}
