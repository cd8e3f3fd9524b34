//! How an app proves to a token endpoint that it is the app.

use std::path::{Path, PathBuf};

use entrar_core::error::{Error, Kind};
use entrar_core::file::{read_beginning, reason};
use entrar_core::time::UnixTime;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::Serializer;

use super::certificate::Certificate;
use super::managed_identity::ManagedIdentity;

/// The largest assertion that is read from a file, in bytes.
const LARGEST_ASSERTION: u64 = 64 * 1024;

/// How an app proves itself.
#[derive(Debug)]
pub enum ClientAuth {
    /// A public client sends no proof.
    Public,
    /// A secret that the app shares with its tenant.
    Secret(SecretString),
    /// A signed statement of who the app is (RFC 7523).
    Assertion(Assertion),
}

/// Where an assertion comes from.
#[derive(Debug)]
pub enum Assertion {
    /// It is signed with the app's certificate, for each request anew.
    Certificate(Box<Certificate>),
    /// It is a token of an identity that this machine has.
    ManagedIdentity(Box<ManagedIdentity>),
    /// It is the text of a file that somebody whom the app trusts keeps fresh: read for each request.
    File(PathBuf),
}

impl ClientAuth {
    /// The proof for a request to `endpoint` at `now`: the name of its field, and the text, which must not be passed on.
    /// `None` for a client that sends none.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if an assertion cannot be read, signed or had of the machine.
    pub(super) async fn proof(
        &self,
        client_id: &str,
        endpoint: &str,
        now: UnixTime,
    ) -> Result<Option<Proof>, Error> {
        Ok(match self {
            Self::Public => None,
            Self::Secret(secret) => Some(Proof::Secret(secret.clone())),
            Self::Assertion(assertion) => {
                let assertion = match assertion {
                    Assertion::Certificate(certificate) => {
                        certificate.assertion(client_id, endpoint, now)?
                    }
                    Assertion::ManagedIdentity(identity) => identity.assertion(now).await?,
                    Assertion::File(path) => federated_token(path)?,
                };
                Some(Proof::Assertion(assertion))
            }
        })
    }
}

/// What proves an app in one request.
pub(super) enum Proof {
    Secret(SecretString),
    Assertion(SecretString),
}

impl Proof {
    /// Adds it to a form.
    pub(super) fn add_to(&self, form: &mut Serializer<'_, String>) {
        match self {
            Self::Secret(secret) => form.append_pair("client_secret", secret.expose_secret()),
            Self::Assertion(assertion) => form
                .append_pair(
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                )
                .append_pair("client_assertion", assertion.expose_secret()),
        };
    }

    /// What must not be passed on though the endpoint may quote it.
    pub(super) fn into_secret(self) -> SecretString {
        match self {
            Self::Secret(secret) | Self::Assertion(secret) => secret,
        }
    }
}

fn federated_token(path: &Path) -> Result<SecretString, Error> {
    let shown = path.display();
    let misconfigured = |what: &str| {
        let message = format!("the app's federated token in {shown} {what}");
        Error::new(Kind::Misconfigured, message)
    };
    let bytes = read_beginning(path, LARGEST_ASSERTION)
        .map_err(|error| misconfigured(&format!("cannot be read: {}", reason(&error))))?;
    let text = String::from_utf8(bytes).map_err(|_| misconfigured("is not text"))?;
    match text.trim() {
        "" => Err(misconfigured("is empty")),
        text => Ok(text.to_owned().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn form(auth: &ClientAuth) -> Result<String, Error> {
        let now = UnixTime::new(0.0);
        let proof = auth.proof("app", "https://x.example/token", now).await?;
        let mut form = Serializer::new(String::new());
        if let Some(proof) = proof {
            proof.add_to(&mut form);
        }
        Ok(form.finish())
    }

    #[tokio::test]
    async fn only_who_has_a_secret_sends_one() {
        assert_eq!(form(&ClientAuth::Public).await.unwrap(), "");
        let secret = ClientAuth::Secret("s=1".into());
        assert_eq!(form(&secret).await.unwrap(), "client_secret=s%3D1");
        assert!(!format!("{secret:?}").contains("s=1"));
    }

    #[tokio::test]
    async fn a_federated_token_is_read_for_each_request() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let auth = ClientAuth::Assertion(Assertion::File(path.clone()));
        for text in ["one", "two"] {
            std::fs::write(&path, format!("{text}\n")).unwrap();
            let expected = format!(
                "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={text}"
            );
            assert_eq!(form(&auth).await.unwrap(), expected);
        }
        for (text, what) in [("", "is empty"), ("\n", "is empty")] {
            std::fs::write(&path, text).unwrap();
            assert!(form(&auth).await.unwrap_err().message().ends_with(what));
        }
        std::fs::remove_file(&path).unwrap();
        let error = form(&auth).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Misconfigured);
        assert!(error.message().contains("cannot be read"), "{error}");
    }
}
