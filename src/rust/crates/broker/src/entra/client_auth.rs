//! How an app proves to a token endpoint that it is the app.

use std::path::PathBuf;

use entrar_core::error::{Error, Kind};
use entrar_core::file::{read_beginning, reason};
use entrar_core::time::UnixTime;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::Serializer;

use super::certificate::Certificate;

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
    /// It is the text of a file that somebody whom the app trusts keeps fresh: read for each request.
    File(PathBuf),
}

impl ClientAuth {
    /// Adds the proof to a form that goes to `endpoint` at `now`; the result is what must not be passed on of it.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if an assertion cannot be read or signed.
    pub(super) fn add_to(
        &self,
        form: &mut Serializer<'_, String>,
        client_id: &str,
        endpoint: &str,
        now: UnixTime,
    ) -> Result<Option<SecretString>, Error> {
        let assertion = match self {
            Self::Public => return Ok(None),
            Self::Secret(secret) => {
                form.append_pair("client_secret", secret.expose_secret());
                return Ok(Some(secret.clone()));
            }
            Self::Assertion(Assertion::Certificate(certificate)) => {
                certificate.assertion(client_id, endpoint, now)?
            }
            Self::Assertion(Assertion::File(path)) => {
                let shown = path.display();
                let misconfigured = |what: &str| {
                    let message = format!("the app's federated token in {shown} {what}");
                    Error::new(Kind::Misconfigured, message)
                };
                let bytes = read_beginning(path, LARGEST_ASSERTION).map_err(|error| {
                    misconfigured(&format!("cannot be read: {}", reason(&error)))
                })?;
                let text = String::from_utf8(bytes).map_err(|_| misconfigured("is not text"))?;
                if text.trim().is_empty() {
                    return Err(misconfigured("is empty"));
                }
                text.trim().to_owned().into()
            }
        };
        form.append_pair(
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        )
        .append_pair("client_assertion", assertion.expose_secret());
        Ok(Some(assertion))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(auth: &ClientAuth) -> Result<String, Error> {
        let mut form = Serializer::new(String::new());
        auth.add_to(
            &mut form,
            "app",
            "https://x.example/token",
            UnixTime::new(0.0),
        )?;
        Ok(form.finish())
    }

    #[test]
    fn only_who_has_a_secret_sends_one() {
        assert_eq!(form(&ClientAuth::Public).unwrap(), "");
        let secret = ClientAuth::Secret("s=1".into());
        assert_eq!(form(&secret).unwrap(), "client_secret=s%3D1");
        assert!(!format!("{secret:?}").contains("s=1"));
    }

    #[test]
    fn a_federated_token_is_read_for_each_request() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let auth = ClientAuth::Assertion(Assertion::File(path.clone()));
        for text in ["one", "two"] {
            std::fs::write(&path, format!("{text}\n")).unwrap();
            let expected = format!(
                "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={text}"
            );
            assert_eq!(form(&auth).unwrap(), expected);
        }
        for (text, what) in [("", "is empty"), ("\n", "is empty")] {
            std::fs::write(&path, text).unwrap();
            assert!(form(&auth).unwrap_err().message().ends_with(what));
        }
        std::fs::remove_file(&path).unwrap();
        let error = form(&auth).unwrap_err();
        assert_eq!(error.kind(), Kind::Misconfigured);
        assert!(error.message().contains("cannot be read"), "{error}");
    }
}
