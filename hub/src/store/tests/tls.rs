//! A server that is reached over TCP, where TLS is all it takes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::super::testing::Place;
use super::super::{Database, Server, Store, StoreError};
use crate::configuration::SecretFile;

/// A directory with an address, its password and who vouches for the server.
fn tls(name: &str) -> PathBuf {
    let directory = std::env::var_os("ENTRAR_TEST_POSTGRES_TLS").unwrap();
    PathBuf::from(directory).join(name)
}

/// What comes of opening it with this password and these certificates.
async fn open(place: &Place, password: Option<PathBuf>, ca: Option<PathBuf>) -> Result<(), String> {
    let url = fs::read_to_string(tls("url")).unwrap();
    let server = Server::new(
        &url,
        password.map(SecretFile::new),
        ca,
        2,
        (Duration::ZERO, place.path("journal")),
    )
    .unwrap();
    match Store::open(&Database::Server(Box::new(server)), place.keys()).await {
        Ok(store) => {
            store.people().await.unwrap();
            store.close().await;
            Ok(())
        }
        Err(StoreError::Unavailable(why)) => Err(why),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn tls_and_the_password_are_needed_and_a_fault_is_told_without_it() {
    let place = Place::with_a_file();
    let (password, ca) = (Some(tls("password")), Some(tls("ca.pem")));
    open(&place, password.clone(), ca.clone()).await.unwrap();
    // The system's authorities do not vouch for it.
    let refused = open(&place, password.clone(), None).await.unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    let wrong = place.path("password");
    fs::write(&wrong, "canary-wrong").unwrap();
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = open(&place, Some(wrong), ca.clone()).await.unwrap_err();
    assert_eq!(
        refused,
        "password authentication failed for user \"postgres\""
    );
    let refused = open(&place, None, ca).await.unwrap_err();
    assert!(refused.contains("password"), "{refused}");
    let refused = open(&place, Some(place.path("missing")), None)
        .await
        .unwrap_err();
    assert!(
        refused.ends_with("missing cannot be read: No such file or directory"),
        "{refused}"
    );
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn without_tls_the_server_of_these_tests_takes_nobody() {
    let url = fs::read_to_string(tls("url")).unwrap();
    let password = fs::read_to_string(tls("password")).unwrap();
    let url = url.replace("postgres@", &format!("postgres:{password}@"));
    let connect = move || {
        postgres::Client::connect(&url, postgres::NoTls)
            .err()
            .unwrap()
    };
    let refused = tokio::task::spawn_blocking(connect).await.unwrap();
    let said = refused.as_db_error().unwrap().message().to_owned();
    assert!(said.contains("no encryption"), "{said}");
}
