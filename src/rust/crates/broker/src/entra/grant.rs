//! What is given to a token endpoint for tokens.

use entrar_core::resource::Resource;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::Serializer;

/// An authorization grant (RFC 6749, 1.3; RFC 8628).
#[derive(Clone, Copy, Debug)]
pub enum Grant<'a> {
    /// A refresh token.
    Refresh(&'a SecretString),
    /// What a sign-in in a browser ended in.
    Code {
        /// The authorization code.
        code: &'a SecretString,
        /// Where the browser was sent, exactly as the sign-in said.
        redirect_uri: &'a str,
        /// The secret whose hash the sign-in began with (RFC 7636).
        verifier: &'a SecretString,
    },
    /// A sign-in whose code the person types elsewhere.
    DeviceCode(&'a SecretString),
    /// The app itself, for nobody (RFC 6749, 4.4): to see whether it can prove itself.
    ClientCredentials,
}

impl Grant<'_> {
    /// Adds its fields to a form.
    pub(super) fn add_to(&self, form: &mut Serializer<'_, String>) {
        match self {
            Self::Refresh(refresh_token) => form
                .append_pair("grant_type", "refresh_token")
                .append_pair("refresh_token", refresh_token.expose_secret()),
            Self::Code {
                code,
                redirect_uri,
                verifier,
            } => form
                .append_pair("grant_type", "authorization_code")
                .append_pair("code", code.expose_secret())
                .append_pair("redirect_uri", redirect_uri)
                .append_pair("code_verifier", verifier.expose_secret()),
            Self::DeviceCode(code) => form
                .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:device_code")
                .append_pair("device_code", code.expose_secret()),
            Self::ClientCredentials => form.append_pair("grant_type", "client_credentials"),
        };
    }

    /// What the endpoint may quote and must not be passed on.
    pub(super) fn secrets(&self) -> Vec<SecretString> {
        match self {
            Self::Refresh(secret) | Self::DeviceCode(secret) => vec![(*secret).clone()],
            Self::Code { code, verifier, .. } => vec![(*code).clone(), (*verifier).clone()],
            Self::ClientCredentials => Vec::new(),
        }
    }
}

/// The scope that asks for all the permissions which the app has for a resource, and for a new refresh token, which is how
/// a session outlives the first one.
#[must_use]
pub fn scope_of(resource: &Resource) -> String {
    format!("{resource}/.default offline_access")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(grant: Grant<'_>) -> String {
        let mut form = Serializer::new(String::new());
        grant.add_to(&mut form);
        form.finish()
    }

    #[test]
    fn each_grant_has_the_fields_of_its_type() {
        let secret = SecretString::from("a+b&c");
        assert_eq!(
            form(Grant::Refresh(&secret)),
            "grant_type=refresh_token&refresh_token=a%2Bb%26c"
        );
        assert_eq!(
            form(Grant::Code {
                code: &secret,
                redirect_uri: "http://localhost:1",
                verifier: &"v".into()
            }),
            "grant_type=authorization_code&code=a%2Bb%26c&redirect_uri=http%3A%2F%2Flocalhost%3A1&code_verifier=v"
        );
        assert_eq!(
            form(Grant::DeviceCode(&secret)),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=a%2Bb%26c"
        );
    }

    #[test]
    fn a_scope_is_the_resource_to_the_letter() {
        let resource = Resource::parse("https://database.windows.net/").unwrap();
        assert_eq!(
            scope_of(&resource),
            "https://database.windows.net//.default offline_access"
        );
    }
}
