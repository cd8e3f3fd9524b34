//! Which account is which local user: by the administrator's rule, by a table, or by a code that is typed into a session.

use std::collections::HashMap;

use entrar_broker::accounts::AccountId;
use entrar_broker::sign_in::Identity;
use entrar_core::guid::Guid;

/// Who is which local user.
#[derive(Debug, Default)]
pub struct People {
    /// The rule on the claim `upn`.
    pub rule: Option<Rule>,
    /// Tenants whose accounts the rule holds for.
    pub tenants: Vec<Guid>,
    /// Accounts that are named one by one.
    pub table: HashMap<AccountId, String>,
    /// Whether an administrator may let a person pair by a code.
    pub pairing: bool,
}

/// A user's name with what stands around it, such as `{user}@example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    before: String,
    after: String,
}

/// Why no local user is an account's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmapped {
    /// A guest of the tenant who is not in the table.
    Guest,
    /// An account of a tenant that is not listed.
    Tenant,
    /// The sign-in did not say the account's `upn`: the app's registration has to ask for that claim.
    NoUpn,
    /// The rule does not fit.
    Rule,
}

impl Unmapped {
    /// It in a few words, for the audit.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "a guest who is not in the table",
            Self::Tenant => "of a tenant that is not listed",
            Self::NoUpn => "the sign-in has no claim upn",
            Self::Rule => "the rule does not fit",
        }
    }
}

impl Rule {
    /// Reads a rule; `None` if it does not name the user exactly once, or is not plain ASCII.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.split_once("{user}")?;
        let is_plain = |text: &str| {
            text.chars()
                .all(|c| c.is_ascii_graphic() && !"{}".contains(c))
        };
        // Without a domain behind it every account of the tenant would fit.
        (is_plain(before) && is_plain(after) && after.contains('@')).then(|| Self {
            before: before.to_ascii_lowercase(),
            after: after.to_ascii_lowercase(),
        })
    }

    /// The local user's name that this `upn` stands for.
    #[must_use]
    pub fn user(&self, upn: &str) -> Option<String> {
        if !upn.is_ascii() {
            return None;
        }
        let upn = upn.to_ascii_lowercase();
        let user = upn.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        is_user_name(user).then(|| user.to_owned())
    }
}

/// Whether a text is a user's name that means nothing else anywhere (`useradd`'s own rule, in lower case).
fn is_user_name(text: &str) -> bool {
    let is_first = |c: char| c.is_ascii_lowercase() || c == '_';
    let is_other = |c: char| is_first(c) || c.is_ascii_digit() || "-.".contains(c);
    text.len() <= 32 && text.starts_with(is_first) && text.chars().all(is_other)
}

impl People {
    /// The local user's name for whoever has signed in, by table or rule.
    ///
    /// # Errors
    /// Why there is none.
    pub fn user(&self, identity: &Identity) -> Result<String, Unmapped> {
        if let Some(user) = self.table.get(&identity.account) {
            return Ok(user.clone());
        }
        let is_guest = identity.is_guest
            || identity
                .upn
                .as_deref()
                .is_some_and(|upn| upn.to_ascii_uppercase().contains("#EXT#"));
        if is_guest {
            return Err(Unmapped::Guest);
        }
        if !self.tenants.contains(&identity.account.tid) {
            return Err(Unmapped::Tenant);
        }
        let rule = self.rule.as_ref().ok_or(Unmapped::Rule)?;
        let upn = identity.upn.as_deref().ok_or(Unmapped::NoUpn)?;
        rule.user(upn).ok_or(Unmapped::Rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: Guid = Guid::from_bits(1);

    fn identity(upn: Option<&str>) -> Identity {
        Identity {
            account: AccountId {
                tid: TENANT,
                oid: Guid::from_bits(2),
            },
            username: Some("root@example.com".to_owned()),
            upn: upn.map(str::to_owned),
            name: None,
            is_guest: false,
        }
    }

    fn people() -> People {
        People {
            rule: Rule::parse("{user}@Example.com"),
            tenants: vec![TENANT],
            ..People::default()
        }
    }

    #[test]
    fn a_rule_names_the_user_once_before_a_domain() {
        for bad in [
            "",
            "{user}",
            "alice@example.com",
            "{user}{user}@example.com",
            "{user}@exämple.com",
            "{user}@a {b}",
        ] {
            assert_eq!(Rule::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn upn_is_compared_whole_and_in_lower_case() {
        let rule = Rule::parse("{user}@example.com").unwrap();
        for (upn, user) in [
            ("alice@example.com", Some("alice")),
            ("Alice@EXAMPLE.com", Some("alice")),
            ("a.b-c_9@example.com", Some("a.b-c_9")),
            ("alice@example.com.evil.example", None),
            ("alice@evil@example.com", None),
            ("@example.com", None),
            ("-rf@example.com", None),
            ("0@example.com", None),
            ("../x@example.com", None),
            ("al ice@example.com", None),
            // The sign of Kelvin is a k in lower case, if not in ASCII.
            ("\u{212a}ate@example.com", None),
        ] {
            assert_eq!(rule.user(upn).as_deref(), user, "{upn}");
        }
    }

    #[test]
    fn a_display_name_never_counts_and_guests_stand_in_the_table_only() {
        let mut people = people();
        assert_eq!(
            people.user(&identity(Some("alice@example.com"))).unwrap(),
            "alice"
        );
        assert_eq!(people.user(&identity(None)), Err(Unmapped::NoUpn));
        let guests = "bob_other.example#ext#@example.com";
        assert_eq!(people.user(&identity(Some(guests))), Err(Unmapped::Guest));
        let guest = Identity {
            is_guest: true,
            ..identity(Some("alice@example.com"))
        };
        assert_eq!(people.user(&guest), Err(Unmapped::Guest));
        people.table.insert(guest.account, "bob".to_owned());
        assert_eq!(people.user(&guest).unwrap(), "bob");
    }

    #[test]
    fn another_tenants_account_is_nobody_here() {
        let people = People {
            tenants: vec![Guid::from_bits(9)],
            ..people()
        };
        assert_eq!(
            people.user(&identity(Some("alice@example.com"))),
            Err(Unmapped::Tenant)
        );
    }
}
