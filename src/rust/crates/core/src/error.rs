//! Why there is no token: the fourteen kinds of failure, and what is known about one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kinds and their names, written once.
macro_rules! kinds {
    ($($(#[$meaning:meta])* $kind:ident = $name:literal,)*) => {
        /// What sort of failure an [`Error`] is. Its name is the R condition's class, the broker's log
        /// field, and the heading in the help.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$meaning])* $kind,)*
        }

        impl Kind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The kind's name, for example `"bad_cookie"`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// Not a resource: not one non-empty string, or Entra ID knows no such resource or scope.
    BadResource = "bad_resource",
    /// No server to ask.
    NoSession = "no_session",
    /// The server is too old for delegated Azure tokens.
    ServerTooOld = "server_too_old",
    /// The session's cookie is missing, unreadable, expired or refused.
    BadCookie = "bad_cookie",
    /// Name resolution, connection or TLS failed.
    Unreachable = "unreachable",
    /// The deadline passed.
    Timeout = "timeout",
    /// The answer is not one that the protocol knows.
    BadReply = "bad_reply",
    /// The server reports an error of another sort than the others.
    ServerError = "server_error",
    /// The person has to sign in again.
    SignInRequired = "sign_in_required",
    /// A permission, or consent to it, is missing.
    ConsentRequired = "consent_required",
    /// A policy forbids it.
    AccessDenied = "access_denied",
    /// The server's own application, secret or tenant is set up wrongly.
    Misconfigured = "misconfigured",
    /// Too many requests.
    Throttled = "throttled",
    /// A passing fault that outlasted the retries.
    Unavailable = "unavailable",
}

impl Kind {
    /// What asking again would bring, where nothing else is known.
    fn outlook(self) -> Outlook {
        match self {
            Self::Unavailable => Outlook::Retry,
            Self::Unreachable | Self::Timeout | Self::Throttled => Outlook::Later,
            Self::NoSession | Self::BadCookie => Outlook::Mend,
            _ => Outlook::Final,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there is no token. Displays as what happened, followed by what the server said.
///
/// Every text in it is fit to be shown: no secret, no control character, no excessive length.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", self.full_message())]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: Kind,
    message: String,
    details: Details,
    outlook: Outlook,
}

/// What asking again would bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// The connection broke before a reply came, as a kept-alive one does that the server has closed: a new one will do.
    Reconnect,
    /// A fault that passes, and that nobody has tried again yet.
    Retry,
    /// It may pass, but not by coming back at once.
    Later,
    /// It was found here, or is for somebody here to mend, who may ask again at any time.
    Mend,
    /// The server's answer, which would be the same again.
    Final,
}

/// What is known about a failure beyond its kind; absent facts are `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Details {
    /// The server's own words.
    pub server_text: Option<String>,
    /// OAuth's `error`, for example `invalid_grant`.
    pub oauth_error: Option<String>,
    /// Entra ID's `suberror`.
    pub suberror: Option<String>,
    /// The claims challenge, a JSON text to be sent along with the next sign-in.
    pub claims: Option<String>,
    /// Entra ID's correlation id, which its operators can look up.
    pub correlation_id: Option<String>,
    /// Entra ID's trace id.
    pub trace_id: Option<String>,
    /// AADSTS codes, without the prefix.
    pub aadsts: Vec<i32>,
    /// HTTP status of the server's reply.
    pub http_status: Option<u16>,
    /// Seconds the server asks to wait.
    pub retry_after: Option<f64>,
    /// What to do, where more is known than the kind tells.
    pub remedy: Option<String>,
}

impl Error {
    /// An error of this kind; `message` says what happened, in the middle of a sentence and
    /// without a full stop.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self::with(kind, message, Details::default())
    }

    /// The same with what else is known.
    #[must_use]
    pub fn with(kind: Kind, message: impl Into<String>, details: Details) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            details,
            outlook: kind.outlook(),
        }))
    }

    /// What sort of failure this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What happened, without the server's own words.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What else is known.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.0.details
    }

    /// What asking again would bring.
    #[must_use]
    pub fn outlook(&self) -> Outlook {
        self.0.outlook
    }

    /// Whether the same question may be answered if it is asked again later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(
            self.0.outlook,
            Outlook::Reconnect | Outlook::Retry | Outlook::Later
        )
    }

    /// Whether the server has answered, and would give the same answer again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.0.outlook == Outlook::Final
    }

    /// The same error with another outlook than its kind's.
    #[must_use]
    pub fn with_outlook(mut self, outlook: Outlook) -> Self {
        self.0.outlook = outlook;
        self
    }

    /// Marks a fault of the set-up, which no waiting cures.
    #[must_use]
    pub fn lasting(self) -> Self {
        self.with_outlook(Outlook::Mend)
    }

    /// Whether Entra ID reported it, by way of a server.
    #[must_use]
    pub fn is_from_entra(&self) -> bool {
        self.0.details.oauth_error.is_some() || !self.0.details.aadsts.is_empty()
    }

    /// Notes the reply's HTTP status.
    #[must_use]
    pub fn at_status(mut self, status: u16) -> Self {
        self.0.details.http_status = Some(status);
        self
    }

    /// Notes how many seconds the server asks to wait.
    #[must_use]
    pub fn waiting(mut self, seconds: Option<f64>) -> Self {
        self.0.details.retry_after = seconds;
        self
    }

    /// Says what to do, in whole sentences, in the place of what is usual for the kind.
    #[must_use]
    pub fn remedied(mut self, remedy: Option<&str>) -> Self {
        if let Some(remedy) = remedy {
            self.0.details.remedy = Some(remedy.to_owned());
        }
        self
    }

    /// Adds to what happened.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.0.message.push_str(more);
        self
    }

    fn full_message(&self) -> String {
        match &self.0.details.server_text {
            Some(text) => format!("{}. The server said: {text}", self.0.message),
            None => self.0.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_fourteen_different_kinds() {
        let names: std::collections::BTreeSet<_> =
            Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), 14);
    }
}
