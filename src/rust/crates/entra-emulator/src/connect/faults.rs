//! Faults of Connect; those of the tenant behind it are the tenant's own.

use std::str::FromStr;

use crate::user::User;

/// A fault that lasts as long as the Connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it does.
    pub kind: FaultKind,
    /// The visitor it is for, by sign-in name or object id; without one it is for all. Only some have a visitor.
    pub visitor: Option<String>,
}

impl Fault {
    /// A fault for all visitors.
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            visitor: None,
        }
    }

    pub(crate) fn is_for(&self, visitor: &User) -> bool {
        let named = self.visitor.as_deref();
        named.is_none_or(|name| visitor.is_named(name))
    }
}

impl FromStr for Fault {
    type Err = UnknownFault;

    /// Reads `[VISITOR=]KIND`.
    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let (visitor, kind) = match text.rsplit_once('=') {
            Some((visitor, kind)) => (Some(visitor.to_owned()), kind),
            None => (None, text),
        };
        let mut all = FaultKind::ALL.into_iter();
        let kind = all.find(|known| known.as_str() == kind);
        let fault = Self {
            kind: kind.ok_or(UnknownFault)?,
            visitor,
        };
        if fault.visitor.is_some() && !fault.kind.may_name_a_visitor() {
            return Err(UnknownFault);
        }
        Ok(fault)
    }
}

/// What Connect does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The content's API key has expired.
    KeyExpired,
    /// A visitor's session token is refused.
    VisitorRefused,
    /// The content's own session token is refused.
    ContentRefused,
    /// The integration got no refresh token at the visitor's sign-in: its scopes lack `offline_access`.
    NoRefreshToken,
    /// Tokens are no web tokens, so that nobody sees when they expire; no resource takes them.
    OpaqueToken,
    /// Nobody may list the integrations of the content.
    ListingRefused,
    /// Nobody may read an integration's settings.
    ScopesRefused,
    /// Replies of the exchange tell the lifetime, which those of Connect do not.
    Lifetime,
    /// The exchange's errors are Connect's own, `code` and `error`, in the place of OAuth's.
    ConnectErrors,
    /// The same as they were before: `error_code` and `error_message`.
    OldErrors,
    /// The content's own session token is good for one exchange; its file then has another one.
    Rotated,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::KeyExpired,
        Self::VisitorRefused,
        Self::ContentRefused,
        Self::NoRefreshToken,
        Self::OpaqueToken,
        Self::ListingRefused,
        Self::ScopesRefused,
        Self::Lifetime,
        Self::ConnectErrors,
        Self::OldErrors,
        Self::Rotated,
    ];

    /// Its name, for a command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeyExpired => "key_expired",
            Self::VisitorRefused => "visitor_refused",
            Self::ContentRefused => "content_refused",
            Self::NoRefreshToken => "no_refresh_token",
            Self::OpaqueToken => "opaque_token",
            Self::ListingRefused => "listing_refused",
            Self::ScopesRefused => "scopes_refused",
            Self::Lifetime => "lifetime",
            Self::ConnectErrors => "connect_errors",
            Self::OldErrors => "old_errors",
            Self::Rotated => "rotated",
        }
    }

    fn may_name_a_visitor(self) -> bool {
        matches!(
            self,
            Self::VisitorRefused | Self::NoRefreshToken | Self::OpaqueToken
        )
    }
}

/// A name that no fault has, or a visitor before one that is for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it must be one of {}; visitor_refused, no_refresh_token and opaque_token may follow a visitor's name and '='",
    FaultKind::ALL.map(FaultKind::as_str).join(", ")
)]
pub struct UnknownFault;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_may_be_for_one_visitor() {
        assert_eq!("rotated".parse(), Ok(Fault::new(FaultKind::Rotated)));
        let fault: Fault = "bob@example.com=visitor_refused".parse().unwrap();
        assert!(fault.is_for(&User::new("Bob", "bob@example.com")));
        assert!(!fault.is_for(&User::default()));
        for text in ["", "fast", "bob@example.com=rotated", "rotated="] {
            assert_eq!(text.parse::<Fault>(), Err(UnknownFault), "{text}");
        }
    }
}
