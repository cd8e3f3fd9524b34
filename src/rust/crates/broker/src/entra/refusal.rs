//! Why there is no token, as OAuth says it.

use std::time::Duration;

use entrar_core::error::{Error, Kind};
use entrar_core::oauth;
use serde_json::{Map, Value};

/// An OAuth error object: Entra's own, or one of ours that says why there is none.
#[derive(Clone, Debug)]
pub struct Refusal(Map<String, Value>);

impl Refusal {
    /// An error of ours: OAuth's name for it, and what happened. No secret may be in it.
    #[must_use]
    pub fn new(error: &str, description: impl Into<String>) -> Self {
        let fields = [
            ("error", error.to_owned()),
            ("error_description", description.into()),
        ];
        Self(
            fields
                .map(|(name, text)| (name.to_owned(), text.into()))
                .into_iter()
                .collect(),
        )
    }

    /// A token endpoint's own.
    pub(crate) fn from_object(object: Map<String, Value>) -> Self {
        Self(object)
    }

    /// The same with so long to wait, in whole seconds.
    #[must_use]
    pub fn waiting(mut self, wait: Duration) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "at most an hour")]
        let seconds = wait.as_secs_f64().ceil() as i64;
        self.0.insert("retry_after".to_owned(), seconds.into());
        self
    }

    /// The object itself.
    pub(crate) fn into_object(self) -> Map<String, Value> {
        self.0
    }

    /// The object as it goes into a reply.
    #[must_use]
    pub fn object(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Whether the person is to sign in again.
    pub(crate) fn asks_to_sign_in(&self) -> bool {
        self.error().kind() == Kind::SignInRequired
    }

    /// What it means for the person, and what else is known.
    #[must_use]
    pub fn error(&self) -> Error {
        oauth::error_from_object(&self.0, &[])
    }
}

impl From<&Error> for Refusal {
    /// Of an error that was found here, before anybody was asked.
    fn from(error: &Error) -> Self {
        let name = match error.kind() {
            Kind::Misconfigured => "invalid_client",
            Kind::BadResource => "invalid_resource",
            Kind::SignInRequired => "login_required",
            Kind::BadReply => "server_error",
            _ => "temporarily_unavailable",
        };
        Self::new(name, error.message())
    }
}
