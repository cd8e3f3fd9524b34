//! What the wires of agent and hub share, where our own clients ask them for more than tokens.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Details, Error, Kind};

/// A text that is never shown, and stands on the wire in clear: the wire is a socket that its owner alone opens.
#[derive(Clone, Debug)]
pub struct Secret(pub SecretString);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// Which attempt to sign in.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Which {
    /// The attempt's id.
    pub id: Secret,
}

/// How long to wait for which attempt.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Wait {
    /// The attempt's id.
    pub id: Secret,
    /// Seconds after which the reply tells that nothing has happened yet.
    pub seconds: f64,
}

/// How a person meets Entra ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// In a browser of this machine, which is sent back to this machine.
    Browser,
    /// In a browser of another machine: the person pastes the address at which it ended.
    Paste,
    /// With a code that the person types on a page of Entra ID.
    DeviceCode,
}

/// Who is signed in.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Account {
    /// The user name, for show.
    pub username: Option<String>,
    /// The person's name, for show.
    pub name: Option<String>,
    /// The tenant that the account is in, a GUID.
    pub tenant: String,
    /// The account's object id, a GUID.
    pub object_id: String,
    /// The app that was signed in to, a GUID.
    pub client_id: String,
    /// Entra ID's address.
    pub authority: String,
    /// How the person signed in.
    pub method: Method,
    /// When, in Unix seconds.
    pub since: f64,
}

impl Account {
    /// Whether both are the same account; names are for show.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        (&self.tenant, &self.object_id) == (&other.tenant, &other.object_id)
    }
}

/// Why a request failed: an [`Error`] on the wire.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Failure {
    kind: String,
    message: String,
    details: Details,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind().as_str().to_owned(),
            message: error.message().to_owned(),
            details: error.details().clone(),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = Kind::ALL
            .iter()
            .find(|kind| kind.as_str() == failure.kind)
            .copied()
            .unwrap_or(Kind::ServerError);
        Self::with(kind, failure.message, failure.details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_every_kind_and_detail() {
        for kind in Kind::ALL {
            let details = Details {
                aadsts: vec![65001],
                remedy: Some("Ask.".to_owned()),
                retry_after: Some(1.5),
                ..Details::default()
            };
            let error = Error::with(*kind, "it is so", details);
            let text = serde_json::to_string(&Failure::from(&error)).unwrap();
            let read = Error::from(serde_json::from_str::<Failure>(&text).unwrap());
            assert_eq!(read.kind(), *kind);
            assert_eq!(read.message(), "it is so");
            assert_eq!(read.details(), error.details());
        }
    }
}
