//! The random texts of one sign-in, by which its answer is known and nobody else can redeem it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::random;

/// What the authorization request and its answer have in common.
#[derive(Debug)]
pub struct Secrets {
    /// Comes back with the answer.
    pub state: SecretString,
    /// Comes back in the id_token.
    pub nonce: SecretString,
    /// Proves to the token endpoint that who redeems the code is who asked for it (RFC 7636).
    pub verifier: SecretString,
}

impl Secrets {
    /// New ones, of 256 bits each.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let secret = || random::text::<32>().map(SecretString::from);
        Ok(Self {
            state: secret()?,
            nonce: secret()?,
            verifier: secret()?,
        })
    }

    /// The hash of the verifier, which the authorization request shows.
    pub(super) fn challenge(&self) -> String {
        challenge(self.verifier.expose_secret())
    }
}

fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// Whether a text is the secret. How long the answer takes tells nothing of it.
pub(super) fn is(secret: &SecretString, text: &str) -> bool {
    secret
        .expose_secret()
        .as_bytes()
        .ct_eq(text.as_bytes())
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_one_of_rfc_7636() {
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn all_secrets_differ_and_none_shows() {
        let (one, other) = (Secrets::generate().unwrap(), Secrets::generate().unwrap());
        assert!(!is(&one.state, other.state.expose_secret()));
        assert!(!is(&one.state, one.nonce.expose_secret()));
        assert!(!is(&one.state, ""));
        assert!(is(&one.state, one.state.expose_secret()));
        assert!(!format!("{one:?}").contains(one.state.expose_secret()));
    }
}
