//! https with certificates of the emulator's own, made at start and gone with it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use chrono::{DateTime, Datelike, Days};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use crate::clock::Clock;
use crate::errors::Error;

/// How long the certificates are good for, in days.
const DAYS: u64 = 30;
/// Whom the server's certificate is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How long a client may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// An authority's certificate, and what the server shows that it signed. The authority's key is not kept.
pub(crate) struct Identity {
    ca_pem: String,
    config: Arc<ServerConfig>,
}

impl Identity {
    /// A new authority, which vouches for names of loopback alone, and a server's certificate from it.
    pub(crate) fn generate() -> Result<Self, Error> {
        let mut authority = parameters("Entra emulator's throwaway authority")?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        authority.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![
                GeneralSubtree::DnsName("localhost".to_owned()),
                GeneralSubtree::IpAddress(CidrSubnet::V4([127, 0, 0, 0], [255, 0, 0, 0])),
                GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(LOOPBACK_V6, 128)),
            ],
            excluded_subtrees: Vec::new(),
        });
        let authority_key = KeyPair::generate().map_err(Error::certificate)?;
        let authority_certificate = authority
            .self_signed(&authority_key)
            .map_err(Error::certificate)?;

        let mut server = parameters("Entra emulator")?;
        server.subject_alt_names = CertificateParams::new(NAMES.map(str::to_owned))
            .map_err(Error::certificate)?
            .subject_alt_names;
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        let server_key = KeyPair::generate().map_err(Error::certificate)?;
        let issuer = Issuer::new(authority, authority_key);
        let server_certificate = server
            .signed_by(&server_key, &issuer)
            .map_err(Error::certificate)?;
        Ok(Self {
            ca_pem: authority_certificate.pem(),
            config: config(server_certificate.der().clone(), server_key)?,
        })
    }

    /// The authority's certificate in PEM.
    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Accepts connections of `listener` as https. It needs a tokio runtime around it.
    pub(crate) fn listen(&self, listener: TcpListener) -> TlsListener {
        let address = listener.local_addr();
        let (sender, accepted) = mpsc::channel(16);
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        tokio::spawn(accept(listener, acceptor, sender));
        TlsListener { accepted, address }
    }
}

const LOOPBACK_V6: [u8; 16] = std::net::Ipv6Addr::LOCALHOST.octets();

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("ca_pem", &self.ca_pem)
            .finish_non_exhaustive()
    }
}

/// Good from yesterday on. Clients judge that by their own clocks, so the tenant's does not count.
fn parameters(common_name: &str) -> Result<CertificateParams, Error> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let today = DateTime::from_timestamp(Clock::default().now(), 0).map(|time| time.date_naive());
    let from = today.and_then(|today| today.checked_sub_days(Days::new(1)));
    let until = today.and_then(|today| today.checked_add_days(Days::new(DAYS)));
    let (Some(from), Some(until)) = (from, until) else {
        return Err(Error::certificate("the clock is wrong"));
    };
    let date = |day: chrono::NaiveDate| {
        #[allow(clippy::cast_possible_truncation, reason = "months and days are small")]
        let (month, day_of_month) = (day.month() as u8, day.day() as u8);
        date_time_ymd(day.year(), month, day_of_month)
    };
    parameters.not_before = date(from);
    parameters.not_after = date(until);
    Ok(parameters)
}

fn config(certificate: CertificateDer<'static>, key: KeyPair) -> Result<Arc<ServerConfig>, Error> {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::certificate)?;
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(Error::certificate)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Connections whose handshake is done. They shake hands side by side, so that a client which does not holds up nobody.
pub(crate) struct TlsListener {
    accepted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: io::Result<SocketAddr>,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // The task that accepts ends only with the runtime.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(error.kind().into()),
        }
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    sender: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    while !sender.is_closed() {
        let Ok((stream, address)) = listener.accept().await else {
            // Out of descriptors, as a rule: some are given back in a while.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Replies are small and whole: waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        tokio::spawn(async move {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await {
                let _ = sender.send((stream, address)).await;
            }
        });
    }
}
