//! Faults: what the token endpoint does in the place of granting a token, for those who test what they do then.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long [`FaultKind::Slow`] lets wait: longer than most tests want to, and shorter than the broker does.
pub(crate) const SLOWNESS: Duration = Duration::from_secs(10);
/// The `Retry-After` of [`FaultKind::Throttled`], in seconds.
pub(crate) const THROTTLED_FOR: &str = "60";

/// A fault of the token endpoint that lasts as long as the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it does.
    pub kind: FaultKind,
    /// The resource it is for, with or without a slash at its end; without one it is for all that have none of their own.
    pub resource: Option<String>,
}

/// What the token endpoint does. Only a request that deserves a token meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The refresh token has expired: AADSTS700082.
    SignInRequired,
    /// Nobody consented: AADSTS65001, with a `suberror`.
    ConsentRequired,
    /// Conditional Access forbids it: AADSTS53003, with a `suberror` and `claims`.
    AccessDenied,
    /// HTTP 429 with `Retry-After` and, as Entra does, a body in plain text.
    Throttled,
    /// A transient error: AADSTS90033, HTTP 503.
    Unavailable,
    /// A token, after ten seconds.
    Slow,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::SignInRequired,
        Self::ConsentRequired,
        Self::AccessDenied,
        Self::Throttled,
        Self::Unavailable,
        Self::Slow,
    ];

    /// Its name, for a command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignInRequired => "sign_in_required",
            Self::ConsentRequired => "consent_required",
            Self::AccessDenied => "access_denied",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Slow => "slow",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FaultKind {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.as_str() == name).ok_or(UnknownFault)
    }
}

/// A name that no fault has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is none of {}", FaultKind::ALL.map(FaultKind::as_str).join(", "))]
pub struct UnknownFault;
