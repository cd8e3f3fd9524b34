//! The tenant's signing key: made at start, it signs tokens, checks signatures and shows its public half as a JWK.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::traits::PublicKeyParts;
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::errors::Error;
use crate::random;

/// As long as Entra's own keys.
const BITS: usize = 2048;

/// An RS256 key pair with its identifier.
pub(crate) struct SigningKey {
    kid: String,
    private: EncodingKey,
    public: DecodingKey,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl SigningKey {
    pub(crate) fn generate() -> Result<Self, Error> {
        let pair = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, BITS)
            .map_err(|e| Error::Key(e.to_string()))?;
        let der = pair.to_pkcs1_der().map_err(|e| Error::Key(e.to_string()))?;
        let (modulus, exponent) = (pair.n().to_bytes_be(), pair.e().to_bytes_be());
        Ok(Self {
            kid: random::text::<20>()?,
            private: EncodingKey::from_rsa_der(der.as_bytes()),
            public: DecodingKey::from_rsa_raw_components(&modulus, &exponent),
            modulus,
            exponent,
        })
    }

    /// `claims` as a signed JWT.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<SecretString, Error> {
        let header = Header {
            kid: Some(self.kid.clone()),
            ..Header::new(Algorithm::RS256)
        };
        let token = jsonwebtoken::encode(&header, claims, &self.private)
            .map_err(|e| Error::Key(e.to_string()))?;
        Ok(token.into())
    }

    /// The claims of `token`, if this key signed it. What the claims say is for the caller to judge: only the caller
    /// knows the tenant's clock.
    pub(crate) fn claims<C: DeserializeOwned>(&self, token: &str) -> Option<C> {
        let mut only_the_signature = Validation::new(Algorithm::RS256);
        only_the_signature.validate_exp = false;
        only_the_signature.validate_aud = false;
        only_the_signature.required_spec_claims.clear();
        let data = jsonwebtoken::decode(token, &self.public, &only_the_signature).ok()?;
        (data.header.kid.as_deref() == Some(self.kid.as_str())).then_some(data.claims)
    }

    /// The public half, as a member of a JWK set.
    pub(crate) fn jwk(&self) -> Value {
        json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": URL_SAFE_NO_PAD.encode(&self.modulus),
            "e": URL_SAFE_NO_PAD.encode(&self.exponent),
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}
