//! How confidential clients prove who they are: by a secret, a certificate, the token of a workload.

use std::sync::LazyLock;

use axum::http::StatusCode;
use entra_emulator::{App, Certificate, Credential, Options, OwnCertificate};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{Emulated, HOST, NOW, Reply};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const SUBJECT: &str = "system:serviceaccount:default:entrar";

/// Keys take a while to make, and one is as good as another.
static CERTIFICATE: LazyLock<OwnCertificate> =
    LazyLock::new(|| OwnCertificate::generate("entrar's test").unwrap());

fn emulated() -> Emulated {
    let credentials = vec![
        Credential::Secret("canary-secret-1".into()),
        Credential::Secret("canary-secret-2".into()),
        Credential::Certificate(CERTIFICATE.public().unwrap()),
        Credential::Federated {
            subject: SUBJECT.to_owned(),
        },
    ];
    Emulated::with(Options {
        apps: vec![App {
            credentials,
            ..App::default()
        }],
        ..Options::default()
    })
}

fn ask(emulated: &Emulated, proof: &[(&str, &str)]) -> Reply {
    let scope = "https://storage.azure.com/.default";
    let form = emulated.form(&emulated.refresh_token, scope);
    emulated.post(&[&form[..], proof].concat())
}

fn assert(emulated: &Emulated, assertion: &str) -> Reply {
    ask(
        emulated,
        &[
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion),
        ],
    )
}

fn assert_refused(reply: &Reply, code: u32) {
    let body = reply.json();
    assert_eq!(
        (reply.status.as_u16(), &body["error"], &body["error_codes"]),
        (401, &json!("invalid_client"), &json!([code])),
        "{body}"
    );
    assert!(!reply.text.contains("canary"));
}

/// SHA-256 or SHA-1 of the certificate, in base64url.
fn thumbprint(algorithm: &'static ring::digest::Algorithm) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let lines = CERTIFICATE.certificate_pem.lines();
    let base64: String = lines.filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(base64).unwrap();
    // With padding, as MSAL for Python writes it.
    URL_SAFE.encode(ring::digest::digest(algorithm, &der))
}

/// A header as MSAL sends it: PS256 with the thumbprint in SHA-256.
fn header(algorithm: Algorithm) -> Header {
    Header {
        x5t_s256: Some(thumbprint(&ring::digest::SHA256)),
        ..Header::new(algorithm)
    }
}

fn claims(emulated: &Emulated) -> Value {
    let client_id = emulated.tenant.client_id();
    json!({
        "aud": format!("http://{HOST}/{}/oauth2/v2.0/token", emulated.tenant.id()),
        "iss": client_id, "sub": client_id, "jti": "1", "nbf": NOW, "exp": 1_795_407_000.5,
    })
}

fn sign(header: &Header, claims: &Value, own: &OwnCertificate) -> String {
    let pem = own.private_key_pem.expose_secret();
    let key = RsaPrivateKey::from_pkcs8_pem(pem).unwrap();
    let der = key.to_pkcs1_der().unwrap();
    encode(header, claims, &EncodingKey::from_rsa_der(der.as_bytes())).unwrap()
}

fn acr(emulated: &Emulated, reply: &Reply) -> Value {
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    emulated.claims(reply.json()["access_token"].as_str().unwrap())["appidacr"].clone()
}

#[test]
fn any_of_its_secrets_will_do_and_the_token_says_that_it_was_one() {
    let emulated = emulated();
    for secret in ["canary-secret-1", "canary-secret-2"] {
        let reply = ask(&emulated, &[("client_secret", secret)]);
        assert_eq!(acr(&emulated, &reply), "1");
    }
    assert_refused(&ask(&emulated, &[("client_secret", "canary")]), 7_000_215);
    assert_refused(&ask(&emulated, &[]), 7_000_218);
}

#[test]
fn a_certificate_proves_it_by_ps256_and_by_rs256() {
    let emulated = emulated();
    let by_sha1 = Header {
        x5t: Some(thumbprint(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY)),
        ..Header::new(Algorithm::RS256)
    };
    for header in [header(Algorithm::PS256), header(Algorithm::RS256), by_sha1] {
        let assertion = sign(&header, &claims(&emulated), &CERTIFICATE);
        // MSAL sends one several times.
        for _ in 0..2 {
            assert_eq!(acr(&emulated, &assert(&emulated, &assertion)), "2");
        }
    }
}

#[test]
fn an_assertion_that_is_wrong_in_one_way_is_refused() {
    let emulated = emulated();
    let other = OwnCertificate::generate("another").unwrap();
    for (name, value, code) in [
        (
            "aud",
            json!("https://login.microsoftonline.com/t/oauth2/v2.0/token"),
            700_023,
        ),
        ("iss", json!("somebody else"), 700_021),
        ("sub", json!("somebody else"), 700_021),
        ("jti", json!(""), 50027),
        ("exp", json!(NOW - 300), 700_024),
        ("nbf", json!(NOW + 301), 700_024),
        ("exp", json!(null), 50027),
        ("exp", json!("soon"), 50027),
    ] {
        let mut claims = claims(&emulated);
        claims[name] = value;
        let assertion = sign(&header(Algorithm::PS256), &claims, &CERTIFICATE);
        assert_refused(&assert(&emulated, &assertion), code);
    }
    let good = claims(&emulated);
    let forged = sign(&header(Algorithm::PS256), &good, &other);
    assert_refused(&assert(&emulated, &forged), 700_027);
    let without_thumbprint = sign(&Header::new(Algorithm::PS256), &good, &CERTIFICATE);
    assert_refused(&assert(&emulated, &without_thumbprint), 700_027);
    let longer = sign(&header(Algorithm::RS512), &good, &CERTIFICATE);
    assert_refused(&assert(&emulated, &longer), 700_027);
    for nonsense in ["canary", "a.b.c", "..", "canary.canary.canary"] {
        assert_refused(&assert(&emulated, nonsense), 50027);
    }
    let one_type_only = [
        ("client_assertion_type", "canary-type"),
        ("client_assertion", "a"),
    ];
    let reply = ask(&emulated, &one_type_only);
    assert_eq!(reply.json()["error_codes"], json!([90023]));
}

#[test]
fn an_unsigned_assertion_proves_nothing() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let emulated = emulated();
    let header = json!({"alg": "none", "x5t#S256": thumbprint(&ring::digest::SHA256)});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let assertion = format!("{}.{}.", part(&header), part(&claims(&emulated)));
    assert_refused(&assert(&emulated, &assertion), 700_027);
}

#[test]
fn a_workloads_token_proves_it_while_it_lives_and_for_its_subject() {
    let emulated = emulated();
    let token = |subject: &str| {
        let token = emulated.tenant.workload_token(subject, 60).unwrap();
        token.expose_secret().to_owned()
    };
    let good = token(SUBJECT);
    assert_eq!(acr(&emulated, &assert(&emulated, &good)), "2");
    assert_refused(&assert(&emulated, &token("another")), 700_213);
    let foreign = Emulated::new();
    let foreign = foreign.tenant.workload_token(SUBJECT, 60).unwrap();
    assert_refused(&assert(&emulated, foreign.expose_secret()), 700_027);
    emulated.wait(60 + 299);
    assert_eq!(assert(&emulated, &good).status, StatusCode::OK);
    emulated.wait(1);
    assert_refused(&assert(&emulated, &good), 700_024);
}

#[test]
fn an_app_gets_a_token_of_its_own_if_it_can_prove_who_it_is() {
    let emulated = emulated();
    let client_id = emulated.tenant.client_id();
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("scope", "https://storage.azure.com/.default"),
        ("client_secret", "canary-secret-1"),
    ];
    let reply = emulated.post(&fields);
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    let body = reply.json();
    assert_eq!(body["refresh_token"], json!(null));
    let claims = emulated.claims(body["access_token"].as_str().unwrap());
    assert_eq!(
        json!([
            claims["aud"],
            claims["appid"],
            claims["idtyp"],
            claims["oid"],
            claims["scp"],
            claims["upn"]
        ]),
        json!([
            "https://storage.azure.com",
            client_id,
            "app",
            client_id,
            null,
            null
        ])
    );
    let containers = emulated.get_with_token(
        "/demostorage?comp=list",
        body["access_token"].as_str().unwrap(),
    );
    assert_eq!(containers.status, StatusCode::OK);

    let public = Emulated::new();
    assert_refused(&public.post(&fields[..3]), 7_000_216);
}

#[test]
fn a_text_without_a_certificate_of_rsa_is_none() {
    let key = rcgen::KeyPair::generate().unwrap();
    let curve = rcgen::CertificateParams::default().self_signed(&key);
    for pem in ["", "canary", &curve.unwrap().pem()] {
        let error = Certificate::from_pem(pem).unwrap_err().to_string();
        assert!(error.starts_with("a certificate failed: "), "{error}");
        assert!(!error.contains("canary"));
    }
}
