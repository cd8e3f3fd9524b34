//! Apps that prove themselves.

use entra_emulator::{App, Credential, Emulator, Options as Tenants, OwnCertificate};
use entrar_broker::entra::{Assertion, Certificate, ClientAuth, ManagedIdentity};
use entrar_broker::sign_in::{Method, Options, SignIn, Status};
use entrar_core::env::Env;
use entrar_core::error::Kind;

use secrecy::ExposeSecret;

use super::{Browser, auto, options, start, tenant};
use crate::LONG;

/// The status of a sign-in to the default app with this credential, by a client that proves itself so.
async fn status(credential: Credential, auth: impl FnOnce(&Emulator) -> ClientAuth) -> Status {
    let emulator = tenant(Tenants {
        apps: vec![App::confidential(credential)],
        ..auto()
    });
    let options = Options {
        auth: auth(&emulator),
        ..options(&emulator, Method::Browser)
    };
    let sign_in = SignIn::begin(&Env::process(), options).await.unwrap();
    Browser::new().open(&start(&sign_in), "").await;
    sign_in.wait(LONG).await
}

fn is_signed_in(status: &Status) {
    assert!(matches!(status, Status::SignedIn(_)), "{status:?}");
}

#[tokio::test]
async fn an_app_proves_itself_by_its_secret() {
    let secret = || Credential::Secret("canary-right".into());
    is_signed_in(&status(secret(), |_| ClientAuth::Secret("canary-right".into())).await);
    for (auth, code) in [
        (ClientAuth::Secret("canary-wrong".into()), 7_000_215),
        (ClientAuth::Public, 7_000_218),
    ] {
        let status = status(secret(), |_| auth).await;
        let Status::Failed(error) = status else {
            panic!("{status:?}")
        };
        assert_eq!(error.kind(), Kind::Misconfigured);
        assert_eq!(error.details().aadsts, [code]);
        assert!(!error.to_string().contains("canary"), "{error}");
        assert!(error.details().remedy.is_some());
    }
}

#[tokio::test]
async fn an_app_proves_itself_by_its_certificate() {
    let own = OwnCertificate::generate("app").unwrap();
    let pem = own.private_key_pem.expose_secret().to_owned() + &own.certificate_pem;
    let certificate = Certificate::from_pem(&pem).unwrap();
    let credential = Credential::Certificate(own.public().unwrap());
    let auth = ClientAuth::Assertion(Assertion::Certificate(Box::new(certificate)));
    is_signed_in(&status(credential, |_| auth).await);
}

#[tokio::test]
async fn an_app_proves_itself_by_a_federated_token_of_today() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "canary, of yesterday").unwrap();
    let credential = Credential::Federated {
        subject: "workload".to_owned(),
    };
    let auth = |emulator: &Emulator| {
        let token = emulator.tenant().workload_token("workload", 600).unwrap();
        // The file is read when it is needed, not before.
        let auth = ClientAuth::Assertion(Assertion::File(path.clone()));
        std::fs::write(&path, token.expose_secret()).unwrap();
        auth
    };
    is_signed_in(&status(credential, auth).await);
}

#[tokio::test]
async fn an_app_proves_itself_by_the_identity_of_its_machine() {
    let of = |subject: &str| Credential::Federated {
        subject: subject.to_owned(),
    };
    let identity = |emulator: &Emulator, client_id| {
        let identity = ManagedIdentity::new(emulator.url(), client_id).unwrap();
        ClientAuth::Assertion(Assertion::ManagedIdentity(Box::new(identity)))
    };
    is_signed_in(&status(of("managed-identity"), |emulator| identity(emulator, None)).await);
    let client_id = "11111111-2222-4333-8444-555555555555";
    let own = |emulator: &Emulator| identity(emulator, Some(client_id.parse().unwrap()));
    is_signed_in(&status(of(client_id), own).await);
    let status = status(of("another"), own).await;
    let Status::Failed(error) = status else {
        panic!("{status:?}")
    };
    assert_eq!(error.kind(), Kind::Misconfigured);
}

#[tokio::test]
async fn a_machine_without_an_identity_is_told_as_such() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let identity = ManagedIdentity::new(&address, None).unwrap();
    let auth = ClientAuth::Assertion(Assertion::ManagedIdentity(Box::new(identity)));
    let credential = Credential::Federated {
        subject: "managed-identity".to_owned(),
    };
    let status = status(credential, |_| auth).await;
    let Status::Failed(error) = status else {
        panic!("{status:?}")
    };
    assert_eq!(error.kind(), Kind::Misconfigured);
    let said = error.details().server_text.clone().unwrap();
    assert!(
        said.starts_with("the managed identity of this machine gives no token"),
        "{said}"
    );
}
