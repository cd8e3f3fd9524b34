//! An app's certificate, and the assertions that are signed with its key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entrar_core::error::{Error, Kind};
use entrar_core::time::UnixTime;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::SecretString;
use serde_json::json;

/// For how many seconds an assertion is good: it is used at once, and clocks differ.
const LIFETIME: f64 = 300.0;

/// A certificate with its private key.
pub struct Certificate {
    key: RsaKeyPair,
    /// The SHA-256 hash of the certificate, by which the tenant finds the one that it knows.
    thumbprint: String,
}

// The key is never shown.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate")
            .field(&self.thumbprint)
            .finish()
    }
}

impl Certificate {
    /// Reads a certificate and its RSA key, in PEM form and in any order, as `AZURE_CLIENT_CERTIFICATE_PATH` names them.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`], saying what is missing or cannot be used. Nothing of the text is repeated.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let bad = |what: &str| {
            Error::new(
                Kind::Misconfigured,
                format!("the app's certificate file {what}"),
            )
        };
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        if certificates.is_empty() {
            return Err(bad("holds no certificate (BEGIN CERTIFICATE)"));
        }
        if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(bad(
                "has a private key with a password, which nobody could type here; write it without one",
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| bad("holds no private key (BEGIN PRIVATE KEY)"))?;
        let key = match &key {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            _ => {
                return Err(bad(
                    "has a key that is not of RSA, which Entra ID does not take",
                ));
            }
        };
        let key = key.map_err(|why| {
            bad(&format!(
                "has a private key that cannot be used: {why}; it is to be of RSA with 2048 bits or more"
            ))
        })?;
        // A certificate holds its public key in the form that the key has here (RFC 5280, 4.1.2.7; RFC 3279, 2.3.1). Those
        // that vouch for it may stand beside it.
        let public = key.public().as_ref();
        let certificate = certificates
            .iter()
            .find(|it| it.windows(public.len()).any(|part| part == public))
            .ok_or_else(|| bad("has a private key that is of another certificate"))?;
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, certificate));
        Ok(Self { key, thumbprint })
    }

    /// A statement that this is the app, for one token endpoint and a few minutes. It is a JSON Web Token signed with
    /// PS256. Source: "Microsoft identity platform application authentication certificate credentials".
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if the system gives no random bytes.
    pub(super) fn assertion(
        &self,
        client_id: &str,
        endpoint: &str,
        now: UnixTime,
    ) -> Result<SecretString, Error> {
        let failed = || Error::new(Kind::Misconfigured, "the app's assertion cannot be signed");
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| failed())?;
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint});
        let claims = json!({
            "aud": endpoint,
            "iss": client_id,
            "sub": client_id,
            "jti": URL_SAFE_NO_PAD.encode(id),
            "nbf": now.whole(),
            "iat": now.whole(),
            "exp": (now + LIFETIME).whole(),
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PSS_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .map_err(|_| failed())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
    use rustls::pki_types::SubjectPublicKeyInfoDer;
    use secrecy::ExposeSecret;
    use std::process::Command;

    /// What `openssl req` writes: a self-signed certificate and its key, with `arguments` for the key.
    fn pem(arguments: &[&str]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let (key, certificate) = (directory.path().join("k"), directory.path().join("c"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-subj", "/CN=app", "-days", "2", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        std::fs::read_to_string(key).unwrap() + &std::fs::read_to_string(certificate).unwrap()
    }

    const RSA: &[&str] = &["-newkey", "rsa:2048", "-nodes"];

    fn refused(text: &str) -> String {
        let error = Certificate::from_pem(text).unwrap_err();
        assert_eq!(error.kind(), Kind::Misconfigured);
        error.message().to_owned()
    }

    /// What `openssl x509` says of a certificate.
    fn x509(pem: &str, argument: &[&str]) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c");
        std::fs::write(&path, pem).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["x509", "-noout", "-in"]).arg(&path);
        openssl.args(argument).output().unwrap().stdout
    }

    /// Its SHA-256 hash, as a JSON Web Token has it.
    fn thumbprint(pem: &str) -> String {
        let shown = String::from_utf8(x509(pem, &["-fingerprint", "-sha256"])).unwrap();
        let digits = shown.trim().rsplit_once('=').unwrap().1;
        let bytes = digits
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap());
        URL_SAFE_NO_PAD.encode(bytes.collect::<Vec<_>>())
    }

    /// Its public key, in the form of PKCS #1.
    fn public_key(pem: &str) -> Vec<u8> {
        /// What says that it is of RSA stands before a key of 2048 bits.
        const ALGORITHM: usize = 24;
        let key = SubjectPublicKeyInfoDer::from_pem_slice(&x509(pem, &["-pubkey"])).unwrap();
        key[ALGORITHM..].to_vec()
    }

    #[test]
    fn an_assertion_says_who_asks_whom_and_is_verified_by_the_certificate() {
        let pem = pem(RSA);
        let certificate = Certificate::from_pem(&pem).unwrap();
        let now = UnixTime::of_whole(1_795_392_000);
        let endpoint = "https://login.example/t/oauth2/v2.0/token";
        let assertion = certificate.assertion("app", endpoint, now).unwrap();
        let assertion = assertion.expose_secret();
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, public_key(&pem));
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        key.verify(signed.as_bytes(), &signature).unwrap();
        let read = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        let (header, claims) = signed.split_once('.').unwrap();
        let header = read(header);
        assert_eq!(header["alg"], "PS256");
        assert_eq!(header["x5t#S256"], thumbprint(&pem));
        let claims = read(claims);
        assert_eq!(claims["aud"], endpoint);
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&json!("app"), &json!("app"))
        );
        assert_eq!(claims["exp"], 1_795_392_300);
        let other = certificate.assertion("app", endpoint, now).unwrap();
        let other = read(other.expose_secret().split('.').nth(1).unwrap());
        assert_ne!(claims["jti"], other["jti"]);
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_repeated() {
        let whole = pem(RSA);
        let (key, certificate) = whole.split_at(whole.find("-----BEGIN CERTIFICATE").unwrap());
        assert!(refused(key).contains("no certificate"));
        assert!(refused(certificate).contains("no private key"));
        assert!(refused("canary").contains("no certificate"));
        let other = pem(RSA);
        let (_, other) = other.split_at(other.find("-----BEGIN CERTIFICATE").unwrap());
        assert!(refused(&format!("{key}{other}")).contains("of another certificate"));
        let encrypted = pem(&["-newkey", "rsa:2048", "-passout", "pass:secret"]);
        assert!(refused(&encrypted).contains("with a password"));
        let elliptic = pem(&[
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ]);
        assert!(refused(&elliptic).contains("RSA"), "{}", refused(&elliptic));
    }

    #[test]
    fn of_several_certificates_it_is_the_one_of_the_key() {
        let (whole, other) = (pem(RSA), pem(RSA));
        let (_, other) = other.split_at(other.find("-----BEGIN CERTIFICATE").unwrap());
        for text in [format!("{whole}{other}"), format!("{other}{whole}")] {
            let certificate = Certificate::from_pem(&text).unwrap();
            assert_eq!(certificate.thumbprint, thumbprint(&whole));
        }
    }

    #[test]
    fn a_key_in_the_older_form_is_read_too() {
        let whole = pem(RSA);
        let (key, certificate) = whole.split_at(whole.find("-----BEGIN CERTIFICATE").unwrap());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, key).unwrap();
        let older = Command::new("openssl")
            .args(["rsa", "-traditional", "-in"])
            .arg(&path)
            .output()
            .unwrap();
        let older = String::from_utf8(older.stdout).unwrap();
        assert!(older.contains("BEGIN RSA PRIVATE KEY"));
        Certificate::from_pem(&(certificate.to_owned() + &older)).unwrap();
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", Certificate::from_pem(&pem(RSA)).unwrap());
        assert!(shown.starts_with("Certificate(\""), "{shown}");
        assert!(shown.len() < 80, "{shown}");
    }
}
