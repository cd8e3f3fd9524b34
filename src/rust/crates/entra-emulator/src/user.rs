//! Who can sign in to the tenant.

use ring::digest::{SHA256, digest};

use crate::random::guid_of;

/// The domain after which the tenant names its guests.
const TENANT_DOMAIN: &str = "example.onmicrosoft.com";

/// Somebody who can sign in. The default is one made-up member, Ada Example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The object id, a GUID: what tells users apart.
    pub object_id: String,
    /// The sign-in name, which looks like an address of mail and serves as one.
    pub user_principal_name: String,
    /// The first name.
    pub given_name: String,
    /// The family name; it may be empty.
    pub surname: String,
    /// How the user belongs to the tenant.
    pub membership: Membership,
}

/// How a user belongs to the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// A member.
    Member,
    /// Invited from elsewhere: tokens have `acct` 1, and a `upn` with `#EXT#`.
    Guest,
    /// A member of another tenant, which has this id (a GUID), and a stranger here. Signs in through `organizations` and
    /// `common` only, and gets tokens of that tenant.
    Other(String),
}

impl User {
    /// A member with this full name and sign-in name; the object id is made of the latter and so always the same.
    ///
    /// ```
    /// let bob = entra_emulator::User::new("Bob van der Berg", "bob@example.com");
    /// assert_eq!((bob.given_name.as_str(), bob.surname.as_str()), ("Bob", "van der Berg"));
    /// ```
    pub fn new(name: &str, user_principal_name: &str) -> Self {
        let (given_name, surname) = name.trim().split_once(' ').unwrap_or((name.trim(), ""));
        let digest = digest(&SHA256, user_principal_name.to_lowercase().as_bytes());
        let bytes = digest.as_ref().first_chunk().copied().unwrap_or_default();
        Self {
            object_id: guid_of(bytes),
            user_principal_name: user_principal_name.to_owned(),
            given_name: given_name.to_owned(),
            surname: surname.to_owned(),
            membership: Membership::Member,
        }
    }

    /// The same user, invited from elsewhere.
    #[must_use]
    pub fn guest(self) -> Self {
        Self {
            membership: Membership::Guest,
            ..self
        }
    }

    /// The full name.
    pub fn display_name(&self) -> String {
        format!("{} {}", self.given_name, self.surname)
            .trim_end()
            .to_owned()
    }

    /// The claim `upn`: a guest's is made of the sign-in name at home and the tenant that invited them.
    pub(crate) fn upn(&self) -> String {
        match self.membership {
            Membership::Guest => {
                let local = self.user_principal_name.replace('@', "_");
                format!("{local}#EXT#@{TENANT_DOMAIN}")
            }
            Membership::Member | Membership::Other(_) => self.user_principal_name.clone(),
        }
    }

    /// The claim `acct`.
    pub(crate) fn acct(&self) -> u8 {
        u8::from(self.membership == Membership::Guest)
    }

    /// Whether `name` is this user's sign-in name, in any case, or object id.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.user_principal_name.eq_ignore_ascii_case(name) || self.object_id == name
    }
}

impl Default for User {
    fn default() -> Self {
        Self {
            object_id: "3f1d6f0e-94c7-4f0b-8d52-6a0c7e21b9a4".to_owned(),
            user_principal_name: "ada@example.com".to_owned(),
            given_name: "Ada".to_owned(),
            surname: "Example".to_owned(),
            membership: Membership::Member,
        }
    }
}
