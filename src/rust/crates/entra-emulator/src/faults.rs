//! Faults: what the tenant does in the place of what is asked, for those who test what they do then.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::scope::without_slash;

/// How long [`FaultKind::Slow`] lets wait: longer than most tests want to, and shorter than the broker does.
pub(crate) const SLOWNESS: Duration = Duration::from_secs(10);
/// The `Retry-After` of [`FaultKind::Throttled`], in seconds.
pub(crate) const THROTTLED_FOR: &str = "60";

/// A fault that lasts as long as the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it does.
    pub kind: FaultKind,
    /// The resource it is for, with or without a slash at its end; without one it is for all that have none of their own.
    pub resource: Option<String>,
    /// Where it is met; without a step at every grant of the token endpoint ([`FaultKind::WrongState`]: at the
    /// authorization endpoint).
    pub step: Option<Step>,
}

impl Fault {
    /// A fault of the token endpoint, for one resource or for all.
    pub fn new(kind: FaultKind, resource: Option<&str>) -> Self {
        Self {
            kind,
            resource: resource.map(str::to_owned),
            step: None,
        }
    }

    /// The same at one step alone.
    #[must_use]
    pub fn at(self, step: Step) -> Self {
        Self {
            step: Some(step),
            ..self
        }
    }

    pub(crate) fn is_at(&self, step: Step) -> bool {
        match self.step {
            Some(own) => own == step,
            None if self.kind == FaultKind::WrongState => step == Step::Authorize,
            None => !matches!(step, Step::Authorize | Step::DeviceCode),
        }
    }

    pub(crate) fn names(&self, resource: &str) -> bool {
        self.resource.as_deref().map(without_slash) == Some(without_slash(resource))
    }
}

/// What is answered where a fault may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The authorization endpoint.
    Authorize,
    /// The token endpoint, for an authorization code.
    Code,
    /// The endpoint that hands out device codes.
    DeviceCode,
    /// The token endpoint, for a device code that was typed.
    Device,
    /// The token endpoint, for a refresh token.
    Refresh,
    /// The token endpoint, for an app that asks for itself.
    App,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Authorize,
        Self::Code,
        Self::DeviceCode,
        Self::Device,
        Self::Refresh,
        Self::App,
    ];

    /// Its name, for a command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Code => "code",
            Self::DeviceCode => "device_code",
            Self::Device => "device",
            Self::Refresh => "refresh",
            Self::App => "app",
        }
    }
}

impl FromStr for Step {
    type Err = UnknownStep;

    fn from_str(name: &str) -> Result<Self, UnknownStep> {
        let mut all = Self::ALL.into_iter();
        all.find(|step| step.as_str() == name).ok_or(UnknownStep)
    }
}

/// What the tenant does. Only a request that deserves what it asks for meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The refresh token has expired: AADSTS700082. Where somebody signs in, nobody is signed in: AADSTS50058.
    SignInRequired,
    /// Nobody consented: AADSTS65001, with a `suberror`.
    ConsentRequired,
    /// Conditional Access forbids it: AADSTS53003, with a `suberror` and `claims`.
    AccessDenied,
    /// HTTP 429 with `Retry-After` and, as Entra does, a body in plain text.
    Throttled,
    /// A transient error: AADSTS90033, HTTP 503.
    Unavailable,
    /// What was asked for, after ten seconds.
    Slow,
    /// Multi-factor authentication is wanted: AADSTS50076.
    MfaRequired,
    /// An answer of the authorization endpoint has another `state`.
    WrongState,
    /// An id token has another `nonce`.
    WrongNonce,
    /// An id token is for another app.
    WrongAudience,
    /// An id token is another issuer's.
    WrongIssuer,
    /// An id token expired a day ago.
    ExpiredIdToken,
    /// An id token is about another user of the same tenant.
    OtherUser,
    /// There is no id token, though it was asked for.
    NoIdToken,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::SignInRequired,
        Self::ConsentRequired,
        Self::AccessDenied,
        Self::Throttled,
        Self::Unavailable,
        Self::Slow,
        Self::MfaRequired,
        Self::WrongState,
        Self::WrongNonce,
        Self::WrongAudience,
        Self::WrongIssuer,
        Self::ExpiredIdToken,
        Self::OtherUser,
        Self::NoIdToken,
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
            Self::MfaRequired => "mfa_required",
            Self::WrongState => "wrong_state",
            Self::WrongNonce => "wrong_nonce",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer => "wrong_issuer",
            Self::ExpiredIdToken => "expired_id_token",
            Self::OtherUser => "other_user",
            Self::NoIdToken => "no_id_token",
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
#[error("it must be one of {}", FaultKind::ALL.map(FaultKind::as_str).join(", "))]
pub struct UnknownFault;

/// A name that no step has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be one of {}", Step::ALL.map(Step::as_str).join(", "))]
pub struct UnknownStep;
