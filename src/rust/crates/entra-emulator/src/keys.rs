//! Keys: the tenant's own, made and read once at start, and the public keys of apps; and the JSON Web Tokens that they sign.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters,
    UnparsedPublicKey,
};
use rsa::RsaPrivateKey;
use rsa::pkcs1::{EncodeRsaPrivateKey, EncodeRsaPublicKey};
use rsa::traits::PublicKeyParts;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::errors::Error;
use crate::random;

/// As long as Entra's own keys.
const BITS: usize = 2048;

/// An RS256 key pair with its identifier.
pub(crate) struct SigningKey {
    kid: String,
    /// The header of all tokens, in base64url.
    header: String,
    pair: KeyPair,
    public: PublicKey,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl SigningKey {
    pub(crate) fn generate() -> Result<Self, Error> {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, BITS).map_err(Error::key)?;
        let private = key.to_pkcs1_der().map_err(Error::key)?;
        let public = key.to_public_key().to_pkcs1_der().map_err(Error::key)?;
        let kid = random::text::<20>()?;
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": kid}).to_string();
        Ok(Self {
            header: URL_SAFE_NO_PAD.encode(header),
            kid,
            pair: KeyPair::from_der(private.as_bytes()).map_err(Error::key)?,
            public: PublicKey::from_der(public.into_vec()),
            modulus: key.n().to_bytes_be(),
            exponent: key.e().to_bytes_be(),
        })
    }

    /// `claims` as a signed JWT.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<SecretString, Error> {
        let claims = serde_json::to_vec(claims).map_err(Error::key)?;
        let mut token = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                token.as_bytes(),
                &mut signature,
            )
            .map_err(Error::key)?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token.into())
    }

    /// The claims of `token`, if this key signed it. What the claims say is for the caller to judge: only the caller
    /// knows the tenant's clock.
    pub(crate) fn claims<C: DeserializeOwned>(&self, token: &str) -> Option<C> {
        let token = WebToken::read(token)?;
        let is_ours = token.header.kid.as_deref() == Some(&*self.kid)
            && token.header.alg == "RS256"
            && self.public.has_signed(&token);
        if is_ours { token.claims() } else { None }
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

/// An RSA key that checks signatures.
#[derive(Clone)]
pub(crate) struct PublicKey(Vec<u8>);

impl PublicKey {
    /// From the modulus and the exponent as PKCS #1 writes them. A key that is none has signed nothing.
    pub(crate) fn from_der(der: Vec<u8>) -> Self {
        Self(der)
    }

    /// Whether this key signed `token`, by RS256 or PS256, as the token itself says.
    pub(crate) fn has_signed(&self, token: &WebToken<'_>) -> bool {
        let algorithm: &'static RsaParameters = match &*token.header.alg {
            "RS256" => &RSA_PKCS1_2048_8192_SHA256,
            "PS256" => &RSA_PSS_2048_8192_SHA256,
            _ => return false,
        };
        UnparsedPublicKey::new(algorithm, &self.0)
            .verify(token.signed.as_bytes(), &token.signature)
            .is_ok()
    }
}

/// A JSON Web Token that was read and not yet believed.
pub(crate) struct WebToken<'a> {
    pub(crate) header: Header,
    signed: &'a str,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

/// What a token says of its signature.
#[derive(Deserialize)]
pub(crate) struct Header {
    alg: String,
    kid: Option<String>,
    /// The certificate's thumbprint in SHA-1, in base64url.
    pub(crate) x5t: Option<String>,
    /// The same in SHA-256.
    #[serde(rename = "x5t#S256")]
    pub(crate) x5t_s256: Option<String>,
}

impl<'a> WebToken<'a> {
    pub(crate) fn read(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self {
            header: serde_json::from_slice(&decode(header)?).ok()?,
            signed,
            claims: decode(claims)?,
            signature: decode(signature)?,
        })
    }

    /// The claims, whoever signed them.
    pub(crate) fn claims<C: DeserializeOwned>(&self) -> Option<C> {
        serde_json::from_slice(&self.claims).ok()
    }
}

/// The bytes of a text in base64url; some write it with padding.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
