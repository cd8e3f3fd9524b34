//! App registrations: which apps may ask, where their answers go, and how they prove who they are.

use secrecy::SecretString;
use url::Url;

use crate::certificate::Certificate;

/// The redirect of the default app: any port of `localhost`.
const LOOPBACK: &str = "http://localhost";

/// An app registration. The default is a public client with a made-up id that is the same at every start.
#[derive(Clone, Debug)]
pub struct App {
    /// The app's id, a GUID.
    pub client_id: String,
    /// What the pages call it.
    pub name: String,
    /// Where answers may go. `http://localhost` and `http://127.0.0.1` match with any port; all else must be equal to
    /// the letter.
    pub redirect_uris: Vec<String>,
    /// How it may prove who it is. Without any it is a public client, which must not send a proof.
    pub credentials: Vec<Credential>,
    /// Whether its id tokens have the optional claims `upn` and `acct`.
    pub optional_claims: bool,
}

/// One way for an app to prove who it is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A secret.
    Secret(SecretString),
    /// A certificate, whose key signs a client assertion.
    Certificate(Certificate),
    /// Trust in a workload's token, as [`Tenant::workload_token`](crate::Tenant::workload_token) makes them.
    Federated {
        /// The subject that the token must have.
        subject: String,
    },
}

impl App {
    /// The default app, as a confidential client with one credential.
    pub fn confidential(credential: Credential) -> Self {
        Self {
            credentials: vec![credential],
            ..Self::default()
        }
    }

    pub(crate) fn is_public(&self) -> bool {
        self.credentials.is_empty()
    }

    /// Whether answers may go to `redirect_uri`.
    pub(crate) fn may_redirect_to(&self, redirect_uri: &str) -> bool {
        let any_port = without_port(redirect_uri);
        self.redirect_uris.iter().any(|registered| {
            registered == redirect_uri || any_port.is_some() && without_port(registered) == any_port
        })
    }
}

impl Default for App {
    fn default() -> Self {
        Self {
            client_id: "8b6a0c1e-52f4-4d3b-9a77-1c0de5e1f00d".to_owned(),
            name: "Emulated app".to_owned(),
            redirect_uris: vec![LOOPBACK.to_owned()],
            credentials: Vec::new(),
            optional_claims: false,
        }
    }
}

/// A plain http address on loopback, without its port.
fn without_port(uri: &str) -> Option<Url> {
    let mut url = Url::parse(uri).ok()?;
    let is_loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1"));
    let is_plain =
        url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if url.scheme() != "http" || !is_loopback || !is_plain {
        return None;
    }
    url.set_port(None).ok()?;
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_loopback_address_does_not_count_and_all_else_does() {
        let app = App {
            redirect_uris: [
                "http://localhost",
                "http://127.0.0.1/callback",
                "https://hub.example/callback",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..App::default()
        };
        for uri in [
            "http://localhost",
            "http://localhost:1234",
            "http://localhost:1234/",
            "http://127.0.0.1:99/callback",
            "https://hub.example/callback",
        ] {
            assert!(app.may_redirect_to(uri), "{uri}");
        }
        for uri in [
            "",
            "localhost",
            "http://localhost:1234/callback",
            "http://localhost:1234?a=b",
            "http://localhost:1234#a",
            "http://somebody@localhost:1234",
            "http://localhost.example:1234",
            "http://127.0.0.1:1234",
            "http://127.0.0.1:99/Callback",
            "http://[::1]:1234",
            "https://localhost:1234",
            "https://hub.example:8443/callback",
            "https://hub.example/callback/",
            "javascript:alert(1)",
        ] {
            assert!(!app.may_redirect_to(uri), "{uri}");
        }
    }
}
