//! The emulator over https: whom its authority vouches for, and that it serves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use entra_emulator::{Emulator, Options, Tenant};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

fn start() -> Emulator {
    let options = Options {
        https: true,
        ..Options::default()
    };
    let tenant = Arc::new(Tenant::new(options).unwrap());
    Emulator::start(tenant, ([127, 0, 0, 1], 0).into()).unwrap()
}

fn address(emulator: &Emulator) -> &str {
    emulator.url().strip_prefix("https://").unwrap()
}

/// Discovery's text, as told to a client that calls the server by `name` and trusts the authority in `ca_pem`.
fn discover(emulator: &Emulator, name: &'static str, ca_pem: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(address(emulator))?;
    let mut stream = StreamOwned::new(connection, stream);
    let request = format!(
        "GET /common/v2.0/.well-known/openid-configuration HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        address(emulator)
    );
    stream.write_all(request.as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

#[test]
fn its_certificate_is_good_for_loopback_by_each_name_and_addresses_are_https() {
    let emulator = start();
    let ca = emulator.tenant().ca_pem().unwrap();
    for name in ["localhost", "127.0.0.1", "::1"] {
        let reply = discover(&emulator, name, ca).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        let endpoint = format!("\"{}/common/oauth2/v2.0/token\"", emulator.url());
        assert!(reply.contains(&endpoint), "{reply}");
    }
    assert!(emulator.authority().starts_with("https://127.0.0.1:"));
}

#[test]
fn another_name_and_another_authority_are_not_believed() {
    let (emulator, other) = (start(), start());
    let (own, others) = (
        emulator.tenant().ca_pem().unwrap(),
        other.tenant().ca_pem().unwrap(),
    );
    assert!(discover(&emulator, "login.microsoftonline.com", own).is_err());
    assert!(discover(&emulator, "localhost", others).is_err());
}

#[test]
fn a_client_that_never_shakes_hands_holds_up_nobody() {
    let emulator = start();
    let silent: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(address(&emulator)).unwrap())
        .collect();
    let ca = emulator.tenant().ca_pem().unwrap();
    assert!(discover(&emulator, "localhost", ca).is_ok());
    drop(silent);
}

#[test]
fn plain_http_has_no_authority() {
    let tenant = Tenant::new(Options::default()).unwrap();
    assert_eq!(tenant.ca_pem(), None);
}
