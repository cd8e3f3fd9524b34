//! An app's certificate: what the registration keeps of it, and one made for a test.

use std::fmt;

use ring::digest::{Digest, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use secrecy::SecretString;
use x509_cert::der::{Decode, DecodePem, Encode};

use crate::errors::Error;
use crate::keys::PublicKey;

/// A certificate's public half, as an app registration keeps it.
#[derive(Clone)]
pub struct Certificate {
    pub(crate) key: PublicKey,
    sha256: Digest,
    sha1: Digest,
}

impl Certificate {
    /// Reads the first certificate of a PEM text. Its key must be an RSA key.
    ///
    /// # Errors
    ///
    /// When the text holds no such certificate.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let wrong = |error: x509_cert::der::Error| Error::Certificate(error.to_string());
        let certificate = x509_cert::Certificate::from_pem(pem).map_err(wrong)?;
        let der = certificate.to_der().map_err(wrong)?;
        let key = &certificate.tbs_certificate.subject_public_key_info;
        let key = key.subject_public_key.as_bytes().unwrap_or_default();
        // Any key is a string of bits; only an RSA key is one that reads as a modulus and an exponent.
        x509_cert::der::asn1::SequenceRef::from_der(key).map_err(wrong)?;
        Ok(Self {
            key: PublicKey::from_der(key.to_vec()),
            sha256: digest(&SHA256, &der),
            sha1: digest(&SHA1_FOR_LEGACY_USE_ONLY, &der),
        })
    }

    /// Whether it has this thumbprint, in SHA-256 (`x5t#S256`).
    pub(crate) fn has_sha256(&self, thumbprint: &[u8]) -> bool {
        self.sha256.as_ref() == thumbprint
    }

    /// Whether it has this thumbprint, in SHA-1 (`x5t`).
    pub(crate) fn has_sha1(&self, thumbprint: &[u8]) -> bool {
        self.sha1.as_ref() == thumbprint
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({:?})", self.sha256)
    }
}

/// A new certificate that signed itself, with its private key: what an app would have.
#[derive(Debug)]
pub struct OwnCertificate {
    /// The certificate, in PEM.
    pub certificate_pem: String,
    /// The private key, in PEM (PKCS #8).
    pub private_key_pem: SecretString,
}

impl OwnCertificate {
    /// A new RSA key of 2048 bits, and a certificate with this common name.
    ///
    /// # Errors
    ///
    /// When no key could be made.
    pub fn generate(common_name: &str) -> Result<Self, Error> {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).map_err(Error::key)?;
        let der = key.to_pkcs8_der().map_err(Error::key)?;
        let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(Error::key)?;
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
            &der.as_bytes().into(),
            &rcgen::PKCS_RSA_SHA256,
        )
        .map_err(Error::certificate)?;
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, common_name);
        let certificate = parameters.self_signed(&pair).map_err(Error::certificate)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            private_key_pem: pem.as_str().into(),
        })
    }

    /// What the registration keeps of it.
    ///
    /// # Errors
    ///
    /// When the PEM text was changed into one that holds no certificate.
    pub fn public(&self) -> Result<Certificate, Error> {
        Certificate::from_pem(&self.certificate_pem)
    }
}
