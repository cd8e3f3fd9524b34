//! TLS: which certificates are trusted, and what a handshake that failed means in words.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, PeerIncompatible,
    RootCertStore, SignatureScheme,
};
use x509_cert::certificate::{Certificate, Version};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_SERVER_AUTH};
use x509_cert::der::{Decode, Encode, Header, Reader, SliceReader, Tag, TagNumber, Tagged};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};

use crate::error::{Error, Kind};
use crate::file::{read_beginning, reason};

/// The most that is read of a bundle, in bytes. The system's own have about 200 KiB.
const LARGEST_BUNDLE: u64 = 16 << 20;
/// The largest file of a directory that is looked at, in bytes.
const LARGEST_FILE: u64 = 1 << 20;
/// How many files of a directory are looked at.
const MOST_FILES: usize = 10_000;
/// How many faults are told one by one.
const TOLD_FAULTS: usize = 3;

/// The certificates that a variable names in the place of the system's.
#[derive(Debug)]
pub struct Bundle {
    variable: &'static str,
    path: PathBuf,
    certificates: Vec<CertificateDer<'static>>,
    /// Those of authorities: what they have signed is trusted too.
    roots: RootCertStore,
    /// What in it cannot be used, and why.
    faults: Vec<String>,
}

impl Bundle {
    /// Reads a file of certificates, or the files in a directory. What cannot be read is passed over and noted.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] if there is not one certificate that can be read.
    pub fn read(variable: &'static str, path: &Path) -> Result<Self, Error> {
        let bad = |why: String| {
            let shown = path.display();
            let message =
                format!("the certificates that {variable} names, {shown}, cannot be used: {why}");
            Error::new(Kind::Unreachable, message).lasting()
        };
        let mut bundle = Self {
            variable,
            path: path.to_owned(),
            certificates: Vec::new(),
            roots: RootCertStore::empty(),
            faults: Vec::new(),
        };
        let metadata = std::fs::metadata(path).map_err(|error| bad(reason(&error)))?;
        if metadata.is_dir() {
            let entries = std::fs::read_dir(path).map_err(|error| bad(reason(&error)))?;
            let mut left = LARGEST_BUNDLE;
            // Other things lie beside certificates.
            for file in entries.flatten().take(MOST_FILES).map(|entry| entry.path()) {
                let size = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
                if size > LARGEST_FILE.min(left) {
                    continue;
                }
                left -= size;
                if let Ok(text) = read_beginning(&file, LARGEST_FILE) {
                    bundle.add(&text, &file);
                }
            }
        } else {
            let text = read_beginning(path, LARGEST_BUNDLE).map_err(|error| bad(reason(&error)))?;
            bundle.add(&text, path);
        }
        if bundle.certificates.is_empty() {
            return Err(bad(match bundle.faults.len() {
                0 => "there is no certificate in it".into(),
                _ => bundle.faults().join(", and "),
            }));
        }
        Ok(bundle)
    }

    /// How many certificates can be read.
    pub fn count(&self) -> usize {
        self.certificates.len()
    }

    /// What in it cannot be used, and why: parts of sentences, of which the last may say how many more there are.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut told: Vec<String> = self.faults.iter().take(TOLD_FAULTS).cloned().collect();
        if let Some(more) = self
            .faults
            .len()
            .checked_sub(TOLD_FAULTS)
            .filter(|more| *more > 0)
        {
            told.push(format!("{more} more cannot be used either"));
        }
        told
    }

    fn add(&mut self, text: &[u8], file: &Path) {
        for (number, certificate) in (1..).zip(certificates(text)) {
            if let Err(fault) = certificate.and_then(|der| self.trust(der)) {
                let shown = file.display();
                self.faults
                    .push(format!("certificate {number} in {shown} {fault}"));
            }
        }
    }

    /// A server's own certificate is trusted for itself alone: nothing that its key has signed is.
    fn trust(&mut self, certificate: CertificateDer<'static>) -> Result<(), &'static str> {
        let mut readable = RootCertStore::empty();
        readable.add(certificate.clone()).map_err(|_| UNREADABLE)?;
        if Certificate::from_der(&certificate).is_ok_and(|read| is_authority(&read)) {
            self.roots.extend(readable.roots);
        }
        self.certificates.push(certificate);
        Ok(())
    }

    /// The certificate with these very bytes, if the bundle has it.
    fn has(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|known| known == certificate)
    }
}

/// What is wrong with a certificate that cannot be decoded.
const UNREADABLE: &str = "cannot be read";

/// The certificates in a text of PEM form, or what is wrong with one. OpenSSL's "trusted" ones have something behind the
/// certificate itself, and editors put a byte order mark before the text.
fn certificates(text: &[u8]) -> Vec<Result<CertificateDer<'static>, &'static str>> {
    let mut text = decoded(text);
    for label in ["TRUSTED CERTIFICATE", "X509 CERTIFICATE"] {
        text = text.replace(&format!("{label}-----"), "CERTIFICATE-----");
    }
    CertificateDer::pem_slice_iter(text.as_bytes())
        .map(|certificate| trusted(certificate.map_err(|_| UNREADABLE)?.as_ref()))
        .collect()
}

/// The certificate at the beginning, if what OpenSSL has put behind it does not say that it is not for servers.
fn trusted(der: &[u8]) -> Result<CertificateDer<'static>, &'static str> {
    let length = first_element(der).ok_or(UNREADABLE)?;
    let (certificate, settings) = der.split_at_checked(length).ok_or(UNREADABLE)?;
    if !settings.is_empty() && !are_for_servers(settings).ok_or(UNREADABLE)? {
        return Err("is not trusted for servers");
    }
    Ok(CertificateDer::from(certificate.to_owned()))
}

/// The uses of a certificate that are a server's: its own, and any.
const FOR_SERVERS: [ObjectIdentifier; 2] = [ID_KP_SERVER_AUTH, ANY_EXTENDED_KEY_USAGE];

/// Whether OpenSSL's settings trust a certificate for servers: `SEQUENCE { trusted SEQUENCE OF OID OPTIONAL, rejected [0]
/// SEQUENCE OF OID OPTIONAL, ... }`.
fn are_for_servers(settings: &[u8]) -> Option<bool> {
    let names_servers = |list: &AnyRef<'_>| {
        let uses = elements(list.value())?;
        let uses = uses.iter().map(|part| part.decode_as::<ObjectIdentifier>());
        Some(uses.flatten().any(|found| FOR_SERVERS.contains(&found)))
    };
    let [settings] = elements(settings)?.try_into().ok()?;
    let parts = elements(settings.value())?;
    let trusted = parts.iter().find(|part| part.tag() == Tag::Sequence);
    let rejected = parts
        .iter()
        .find(|part| part.tag().is_context_specific() && part.tag().number() == TagNumber::N0);
    let is_trusted = trusted.is_none_or(|list| names_servers(list) == Some(true));
    let is_rejected = rejected.is_some_and(|list| names_servers(list) != Some(false));
    Some(is_trusted && !is_rejected)
}

/// The elements of DER that stand behind each other.
fn elements(der: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(der).ok()?;
    let mut found = Vec::new();
    while !reader.is_finished() {
        found.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(found)
}

/// A text in UTF-8 without its byte order mark, which tells one in UTF-16.
fn decoded(text: &[u8]) -> String {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let pairs = bytes
            .chunks_exact(2)
            .filter_map(|pair| pair.try_into().ok());
        String::from_utf16_lossy(&pairs.map(unit).collect::<Vec<u16>>())
    };
    match text {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => String::from_utf8_lossy(text).into_owned(),
    }
}

/// The length of the first element of DER.
fn first_element(der: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(der).ok()?;
    let header = Header::decode(&mut reader).ok()?;
    let length = (reader.position() + header.length).ok()?;
    usize::try_from(length).ok()
}

/// What is learnt of TLS for a client's connections, and kept to explain a failure with.
#[derive(Clone, Debug)]
pub struct Tls {
    bundle: Option<Arc<Bundle>>,
    client_certificate: Arc<ClientCertificate>,
}

impl Tls {
    /// Trusts the bundle, or without one the system's certificates.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] if the system has no certificates.
    pub fn new(bundle: Option<Bundle>) -> Result<(Self, ClientConfig), Error> {
        let bad = |error: rustls::Error| {
            let message = format!("no TLS connection can be prepared: {error}");
            Error::new(Kind::Unreachable, crate::text::presentable(&message, &[])).lasting()
        };
        let tls = Self {
            bundle: bundle.map(Arc::new),
            client_certificate: Arc::default(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match &tls.bundle {
            Some(bundle) => Arc::new(Verifier::new(bundle, &provider).map_err(bad)?),
            None => Arc::new(
                rustls_platform_verifier::Verifier::new(Arc::clone(&provider)).map_err(bad)?,
            ),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(bad)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::clone(&tls.client_certificate) as _);
        Ok((tls, config))
    }

    /// What a failure means: what happened, and what to do about it if that is known.
    pub fn in_words(&self, error: &rustls::Error) -> (String, Option<&'static str>) {
        use AlertDescription as Alert;
        let refused_for_want_of_a_certificate = matches!(
            error,
            rustls::Error::AlertReceived(
                Alert::CertificateRequired
                    | Alert::HandshakeFailure
                    | Alert::BadCertificate
                    | Alert::AccessDenied
                    | Alert::CertificateUnknown
            )
        ) && self.client_certificate.was_asked_for();
        if refused_for_want_of_a_certificate {
            return (
                "it wants a certificate of this client, which has none".into(),
                Some(
                    "Ask its administrator for an address that needs no client certificate: entrar proves who asks by the session's cookie.",
                ),
            );
        }
        match error {
            rustls::Error::InvalidCertificate(bad) => self.certificate_in_words(bad),
            rustls::Error::InvalidMessage(_) => (
                "it does not speak TLS; is it \"http\" rather than \"https\"?".into(),
                None,
            ),
            rustls::Error::AlertReceived(Alert::ProtocolVersion)
            | rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => (
                "it speaks no TLS newer than 1.1".into(),
                Some(
                    "Ask its administrator to enable TLS 1.2 or 1.3: older versions are broken and not spoken here.",
                ),
            ),
            rustls::Error::AlertReceived(Alert::HandshakeFailure | Alert::InsufficientSecurity) => {
                (
                    "it accepts none of this client's ciphers, all of which have forward secrecy"
                        .into(),
                    Some(
                        "Ask its administrator to enable cipher suites with forward secrecy (ECDHE with AES-GCM or ChaCha20-Poly1305).",
                    ),
                )
            }
            rustls::Error::AlertReceived(Alert::UnrecognisedName) => (
                "it does not know the host name that it was asked by".into(),
                None,
            ),
            rustls::Error::AlertReceived(alert) => (
                format!(
                    "it broke off the TLS handshake (alert {})",
                    u8::from(*alert)
                ),
                None,
            ),
            _ => (
                "its TLS is not understood, so the handshake was broken off".into(),
                None,
            ),
        }
    }

    fn certificate_in_words(&self, error: &CertificateError) -> (String, Option<&'static str>) {
        use CertificateError as Bad;
        let known = |what: &str, remedy| (what.to_owned(), Some(remedy));
        match error {
            Bad::UnknownIssuer => (self.unknown_issuer(), None),
            Bad::Expired | Bad::ExpiredContext { .. } => known(
                "its certificate has expired",
                "Ask its administrator to renew the certificate, and check this machine's clock.",
            ),
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => known(
                "its certificate is not valid yet",
                "Check this machine's clock, and ask its administrator about the certificate.",
            ),
            Bad::NotValidForNameContext { presented, .. } if presented.is_empty() => known(
                "its certificate names no host: it has no subjectAltName, and a common name alone does not count",
                "Ask its administrator for a certificate with subjectAltName, or put this very certificate into the file that REQUESTS_CA_BUNDLE names: then its common name counts.",
            ),
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => known(
                "its certificate is for another host name",
                "Use the name that the certificate is for, or ask its administrator for one with this name in subjectAltName.",
            ),
            Bad::Revoked => known(
                "its certificate was revoked",
                "Ask its administrator for a new certificate.",
            ),
            Bad::BadSignature => known(
                "a signature in its certificates is wrong",
                "Ask its administrator to check the certificate and those between it and its authority.",
            ),
            Bad::UnsupportedSignatureAlgorithmContext { .. }
            | Bad::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => known(
                "its certificate is signed in a way that is not trusted any more (such as SHA-1)",
                "Ask its administrator for a certificate signed with SHA-256 or better, by an RSA key of at least 2048 bits or an ECDSA key.",
            ),
            Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => known(
                "its certificate is not meant for servers",
                "Ask its administrator for one whose extended key usage has serverAuth.",
            ),
            Bad::UnhandledCriticalExtension => known(
                "its certificate has a critical extension that is not known here",
                "Ask its administrator for a certificate without it.",
            ),
            Bad::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
                Some(webpki::Error::CaUsedAsEndEntity) => known(
                    "its certificate is that of an authority (CA:TRUE), not of a server",
                    "Put this very certificate into the file that REQUESTS_CA_BUNDLE names, or ask its administrator for one that is made with CA:FALSE.",
                ),
                Some(webpki::Error::UnsupportedCertVersion) => known(
                    "its certificate is of X.509 version 1",
                    "Put this very certificate into the file that REQUESTS_CA_BUNDLE names, or ask its administrator for one of version 3.",
                ),
                Some(webpki::Error::NameConstraintViolation) => known(
                    "its authority may not sign for this host name",
                    "Ask its administrator for a certificate of an authority that may.",
                ),
                _ => known(
                    "its certificate is not in order",
                    "Ask its administrator to check it, for example with `openssl x509 -text`.",
                ),
            },
            _ => known(
                "its certificate is not in order",
                "Ask its administrator to check it, for example with `openssl x509 -text`.",
            ),
        }
    }

    /// A certificate of the bundle that cannot be read may be the one that is missing.
    fn unknown_issuer(&self) -> String {
        let what = "its certificate is signed by an authority that is not trusted here";
        match self.bundle.as_deref() {
            Some(bundle) if !bundle.faults.is_empty() => format!(
                "{what}; of what {} names, {}",
                bundle.variable,
                bundle.faults().join(", and ")
            ),
            Some(bundle) => format!(
                "{what}: {} names {}",
                bundle.variable,
                bundle.path.display()
            ),
            None => what.to_owned(),
        }
    }
}

/// This client has no certificate, and notes that one was asked for.
#[derive(Debug, Default)]
struct ClientCertificate(AtomicBool);

impl ClientCertificate {
    fn was_asked_for(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Trusts what the bundle's certificates have signed, and each of them itself: many name the server's own certificate,
/// as `openssl req -x509` makes it.
struct Verifier {
    /// `None` without an authority in the bundle.
    usual: Option<Arc<WebPkiServerVerifier>>,
    bundle: Arc<Bundle>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    fn new(bundle: &Arc<Bundle>, provider: &Arc<CryptoProvider>) -> Result<Self, rustls::Error> {
        let usual = if bundle.roots.is_empty() {
            None
        } else {
            let roots = Arc::new(bundle.roots.clone());
            let verifier =
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
            Some(verifier.map_err(|error| rustls::Error::General(error.to_string()))?)
        };
        Ok(Self {
            usual,
            bundle: Arc::clone(bundle),
            algorithms: provider.signature_verification_algorithms,
        })
    }

    /// The certificate, read, if the bundle has it.
    fn known(&self, certificate: &CertificateDer<'_>) -> Option<Certificate> {
        let is_known = self.bundle.has(certificate);
        Certificate::from_der(certificate).ok().filter(|_| is_known)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let usual = match &self.usual {
            Some(usual) => usual.verify_server_cert(certificate, intermediates, server, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match self.known(certificate) {
            Some(known) if usual.as_ref().is_err_and(is_forgiven) => accept(&known, server, now),
            _ => usual,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let usual = verify_tls12_signature(message, certificate, signature, &self.algorithms);
        match self.known(certificate) {
            Some(known) if usual.is_err() => {
                verify_signature(&self.algorithms, message, &known, signature)
            }
            _ => usual,
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let usual = verify_tls13_signature(message, certificate, signature, &self.algorithms);
        match self.known(certificate) {
            Some(known) if usual.is_err() => {
                let key = known.tbs_certificate.subject_public_key_info.to_der();
                let key = SubjectPublicKeyInfoDer::from(key.map_err(|_| bad_encoding())?);
                verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
            }
            _ => usual,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn bad_encoding() -> rustls::Error {
    CertificateError::BadEncoding.into()
}

/// Whether a certificate that the bundle has may be judged by itself: it is its own authority, or of a form in which no
/// authority signs any more.
fn is_forgiven(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(bad) = error else {
        return false;
    };
    match bad {
        CertificateError::UnknownIssuer => true,
        CertificateError::NotValidForNameContext { presented, .. } => presented.is_empty(),
        CertificateError::Other(other) => matches!(
            other.0.downcast_ref::<webpki::Error>(),
            Some(webpki::Error::CaUsedAsEndEntity | webpki::Error::UnsupportedCertVersion)
        ),
        _ => false,
    }
}

/// Judges a certificate that is trusted by itself: whether it is for servers, for this one, and for this time.
fn accept(
    certificate: &Certificate,
    server: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, rustls::Error> {
    let validity = &certificate.tbs_certificate.validity;
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    if !is_for_servers(certificate) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    if names(certificate).iter().any(|name| name.fits(server)) {
        return Ok(ServerCertVerified::assertion());
    }
    Err(CertificateError::NotValidForName.into())
}

/// Whether a certificate may sign others: it says so, or it is of version 1, which cannot say it.
fn is_authority(certificate: &Certificate) -> bool {
    match extension::<BasicConstraints>(certificate) {
        Some(constraints) => constraints.is_ok_and(|constraints| constraints.ca),
        None => {
            certificate.tbs_certificate.version == Version::V1
                || extension::<KeyUsage>(certificate)
                    .is_some_and(|usage| usage.is_ok_and(|usage| usage.key_cert_sign()))
        }
    }
}

fn is_for_servers(certificate: &Certificate) -> bool {
    extension::<ExtendedKeyUsage>(certificate).is_none_or(|usage| {
        usage.is_ok_and(|usage| {
            let is_meant = |found| FOR_SERVERS.contains(found);
            usage.0.iter().any(is_meant)
        })
    })
}

/// An extension, read, if the certificate has it.
fn extension<'a, E: AssociatedOid + Decode<'a>>(
    certificate: &'a Certificate,
) -> Option<x509_cert::der::Result<E>> {
    let extensions = certificate.tbs_certificate.extensions.iter().flatten();
    let mut found = extensions.filter(|extension| extension.extn_id == E::OID);
    found
        .next()
        .map(|extension| E::from_der(extension.extn_value.as_bytes()))
}

/// What a certificate is for.
enum Name {
    Dns(String),
    Address(IpAddr),
}

impl Name {
    /// A common name is the one or the other.
    fn read(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Dns(text.to_owned()), Self::Address)
    }

    fn fits(&self, server: &ServerName<'_>) -> bool {
        match (self, server) {
            (Self::Address(address), ServerName::IpAddress(asked)) => {
                *address == IpAddr::from(*asked)
            }
            (Self::Dns(name), ServerName::DnsName(asked)) => {
                let asked = asked.as_ref().trim_end_matches('.');
                // A star is one whole label, and the first.
                match name.strip_prefix("*.") {
                    Some(domain) => asked
                        .split_once('.')
                        .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
                    None => asked.eq_ignore_ascii_case(name),
                }
            }
            _ => false,
        }
    }
}

/// The names in subjectAltName; only without one, the common name.
fn names(certificate: &Certificate) -> Vec<Name> {
    use x509_cert::der::oid::db::rfc4519::CN;
    let fields = &certificate.tbs_certificate;
    match extension::<SubjectAltName>(certificate) {
        Some(Ok(SubjectAltName(names))) => names.iter().filter_map(alternative).collect(),
        Some(Err(_)) => Vec::new(),
        None => {
            let parts = fields.subject.0.iter().flat_map(|part| part.0.iter());
            parts
                .filter(|part| part.oid == CN)
                .filter_map(|part| std::str::from_utf8(part.value.value()).ok())
                .map(Name::read)
                .collect()
        }
    }
}

fn alternative(name: &GeneralName) -> Option<Name> {
    match name {
        GeneralName::DnsName(name) => Some(Name::Dns(name.as_str().to_owned())),
        GeneralName::IpAddress(address) => {
            let bytes = address.as_bytes();
            let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            address.ok().map(Name::Address)
        }
        _ => None,
    }
}

/// The signature of a handshake of TLS 1.2, by the key of a certificate whose form is too old for anybody else here.
fn verify_signature(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    certificate: &Certificate,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let key = &certificate.tbs_certificate.subject_public_key_info;
    let kind = key.algorithm.to_der().map_err(|_| bad_encoding())?;
    let bits = key.subject_public_key.raw_bytes();
    let candidates = algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == signature.scheme)
        .flat_map(|(_, candidates)| candidates.iter());
    for candidate in candidates {
        // Of the two, only one has the tag and the length, two bytes.
        let fits = kind.get(2..) == Some(candidate.public_key_alg_id().as_ref());
        if fits
            && candidate
                .verify_signature(bits, message, signature.signature())
                .is_ok()
        {
            return Ok(HandshakeSignatureValid::assertion());
        }
    }
    Err(CertificateError::BadSignature.into())
}
