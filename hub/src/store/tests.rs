//! What the database keeps, what it refuses, and what somebody has who reads or writes the file.

mod copy;
mod durable;
mod forged;
mod shared;
mod tls;

use std::process::Command;

use entrar_broker::accounts::Accounts as _;
use entrar_core::cookie::BadCookie;
use secrecy::{ExposeSecret, SecretString};

use super::testing::{ADA, BOB, NOW, Place, user};
use super::{
    AuditRow, Binding, Bound, BoundBy, Database, Event, NewSession, OpenedBy, ProfileNames, Store,
    StoreError,
};
use crate::keys::Keys;

async fn sign_in(store: &Store, account: entrar_broker::accounts::AccountId, token: &str) {
    let names = ProfileNames {
        username: "ada@example.com".to_owned(),
        name: "Ada".to_owned(),
    };
    store
        .sign_in_person(account, &names, token.into(), NOW)
        .await
        .unwrap();
}

async fn newest(store: &Store) -> Option<(String, u64)> {
    let newest = store.newest(ADA).await.unwrap()?;
    Some((
        newest.refresh_token.expose_secret().to_owned(),
        newest.version,
    ))
}

fn binding(account: entrar_broker::accounts::AccountId, uid: u32, name: &str) -> Binding {
    Binding {
        account,
        user: user(uid, name),
        by: BoundBy::Rule,
        bound_at: NOW,
    }
}

fn session(uid: u32, name: &str) -> NewSession {
    NewSession {
        user: user(uid, name),
        opened_by: OpenedBy::Socket,
        machine: "node".to_owned(),
        opened_at: NOW,
        expires_at: NOW + 60.0,
    }
}

fn row(event: Event) -> AuditRow {
    AuditRow {
        at: NOW,
        event,
        account: Some(ADA),
        user: Some(user(1_001, "ada")),
        session: None,
        machine: None,
        resource: None,
        result: "ok".to_owned(),
        correlation_id: None,
        detail: None,
    }
}

fn is_forged(outcome: Result<impl std::fmt::Debug, StoreError>, table: &str) {
    match outcome {
        Err(StoreError::Forged { table: of, .. }) => assert_eq!(of, table),
        other => panic!("{table}: {other:?}"),
    }
}

#[tokio::test]
async fn the_newest_refresh_token_is_kept_by_version_and_survives_the_process() {
    let place = Place::new();
    let store = place.store().await;
    sign_in(&store, ADA, "first").await;
    let (_, first) = newest(&store).await.unwrap();
    assert!(
        store
            .keep(ADA, Some("second".into()), first, None)
            .await
            .unwrap()
    );
    let (token, second) = newest(&store).await.unwrap();
    assert_eq!(token, "second");
    assert!(
        store
            .keep(ADA, Some("late".into()), first, None)
            .await
            .unwrap()
    );
    assert!(store.keep(ADA, None, second, None).await.unwrap());
    // As after kill -9: nothing is closed.
    let again = place.store().await;
    assert_eq!(newest(&again).await, Some(("second".to_owned(), second)));
    assert_eq!(again.profile(ADA).await.unwrap().unwrap().name, "Ada");
    // The tokens of another app are no use to this one.
    assert!(
        again
            .for_client("another")
            .newest(ADA)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn an_account_that_has_signed_out_does_not_come_back() {
    let place = Place::new();
    let store = place.store().await;
    sign_in(&store, ADA, "first").await;
    let web = store.open_web_session(ADA, NOW, NOW + 60.0).await.unwrap();
    let (_, used) = newest(&store).await.unwrap();
    assert!(store.sign_out(ADA).await.unwrap());
    assert!(!store.sign_out(ADA).await.unwrap());
    assert!(
        !store
            .keep(ADA, Some("late".into()), used, None)
            .await
            .unwrap()
    );
    assert_eq!(newest(&store).await, None);
    assert!(
        store
            .web_session(web.expose_secret(), NOW)
            .await
            .unwrap()
            .is_none()
    );
    sign_in(&store, ADA, "again").await;
    assert!(
        store
            .keep(ADA, Some("late".into()), used, None)
            .await
            .unwrap()
    );
    assert_eq!(newest(&store).await.unwrap().0, "again");
}

#[tokio::test]
async fn who_reads_the_database_has_nothing() {
    let place = Place::new();
    let store = place.store().await;
    sign_in(&store, ADA, "canary-refresh").await;
    let (_, cookie) = store.open_session(session(1_001, "ada")).await.unwrap();
    let web = store.open_web_session(ADA, NOW, NOW + 60.0).await.unwrap();
    let (state, browser) = (
        SecretString::from("canary-state"),
        SecretString::from("canary-browser"),
    );
    store
        .begin_sign_in(&state, &browser, b"canary-verifier", NOW + 60.0)
        .await
        .unwrap();
    store
        .begin_pairing(&"canary-ticket".into(), b"canary-code", NOW, NOW + 60.0)
        .await
        .unwrap();
    let secrets = ["canary", cookie.expose_secret(), web.expose_secret()];
    let content = place.content();
    for secret in secrets {
        for shape in [secret.to_owned(), forged::hex(secret.as_bytes())] {
            let found = content
                .windows(shape.len())
                .any(|window| window == shape.as_bytes());
            assert!(!found, "{secret}");
        }
    }
}

#[tokio::test]
async fn who_writes_the_database_without_the_key_gets_nothing() {
    let place = Place::new();
    let store = place.store().await;
    sign_in(&store, ADA, "of-ada").await;
    sign_in(&store, BOB, "of-bob").await;
    let older = "(SELECT sealed FROM refresh_tokens WHERE oid LIKE '%1')";
    place.tamper(&format!("CREATE TABLE kept AS SELECT {older} AS sealed"));
    let (_, used) = newest(&store).await.unwrap();
    store
        .keep(ADA, Some("newer".into()), used, None)
        .await
        .unwrap();
    // An old one under a newer version; then another's.
    place
        .tamper("UPDATE refresh_tokens SET sealed = (SELECT sealed FROM kept) WHERE oid LIKE '%1'");
    assert!(store.newest(ADA).await.is_err());
    place.tamper("UPDATE refresh_tokens SET sealed = (SELECT sealed FROM refresh_tokens WHERE oid LIKE '%2') WHERE oid LIKE '%1'");
    assert!(store.newest(ADA).await.is_err());
    place.tamper("UPDATE refresh_tokens SET client_id = 'another' WHERE oid LIKE '%2'");
    assert!(store.for_client("another").newest(BOB).await.is_err());

    store.bind(&binding(ADA, 1_001, "ada")).await.unwrap();
    place.tamper("UPDATE bindings SET uid = 1002, user_name = 'eve'");
    is_forged(store.binding_of_user(1_002).await, "bindings");
    is_forged(store.binding_of_account(ADA).await, "bindings");
    place.tamper("UPDATE bindings SET uid = 1001, user_name = 'ada'");
    let other = format!(
        "UPDATE bindings SET tid = '{}', oid = '{}'",
        BOB.tid, BOB.oid
    );
    place.tamper(&other);
    is_forged(store.binding_of_user(1_001).await, "bindings");

    let (_, cookie) = store.open_session(session(1_001, "ada")).await.unwrap();
    for forged in [
        "UPDATE sessions SET uid = 1002, user_name = 'eve'",
        "UPDATE sessions SET uid = 1001, user_name = 'ada', expires_at = expires_at + 1000",
    ] {
        place.tamper(forged);
        is_forged(store.session(cookie.expose_secret(), NOW).await, "sessions");
    }
    let web = store.open_web_session(ADA, NOW, NOW + 60.0).await.unwrap();
    place.tamper(&format!("UPDATE web_sessions SET oid = '{}'", BOB.oid));
    is_forged(
        store.web_session(web.expose_secret(), NOW).await,
        "web_sessions",
    );
    let (state, browser) = ("state".into(), "browser".into());
    store
        .begin_sign_in(&state, &browser, b"payload", NOW + 60.0)
        .await
        .unwrap();
    place.tamper("UPDATE sign_ins SET expires_at = expires_at + 1000");
    is_forged(
        store.take_sign_in("state", "browser", NOW).await,
        "sign_ins",
    );
}

#[tokio::test]
async fn an_account_and_a_user_are_bound_one_to_one() {
    let place = Place::new();
    let store = place.store().await;
    let ada = binding(ADA, 1_001, "ada");
    assert!(matches!(store.bind(&ada).await.unwrap(), Bound::New));
    assert!(matches!(store.bind(&ada).await.unwrap(), Bound::Already));
    for other in [
        binding(BOB, 1_001, "ada"),
        binding(ADA, 1_002, "bob"),
        binding(BOB, 1_001, "bob"),
        binding(BOB, 1_002, "ada"),
        binding(ADA, 1_001, "renamed"),
    ] {
        assert!(
            matches!(store.bind(&other).await.unwrap(), Bound::Conflict(_)),
            "{other:?}"
        );
    }
    assert_eq!(
        store.binding_of_user(1_001).await.unwrap(),
        Some(ada.clone())
    );
    assert_eq!(store.binding_of_account(ADA).await.unwrap(), Some(ada));
    assert_eq!(store.binding_of_account(BOB).await.unwrap(), None);
    sign_in(&store, ADA, "refresh").await;
    let (_, cookie) = store.open_session(session(1_001, "ada")).await.unwrap();
    assert!(store.unbind(ADA).await.unwrap());
    assert!(!store.unbind(ADA).await.unwrap());
    assert_eq!(newest(&store).await, None);
    assert!(
        store
            .session(cookie.expose_secret(), NOW)
            .await
            .unwrap()
            .is_err()
    );
    assert!(matches!(
        store.bind(&binding(BOB, 1_001, "ada")).await.unwrap(),
        Bound::New
    ));
}

#[tokio::test]
async fn a_cookie_is_its_sessions_until_that_ends_or_expires() {
    let place = Place::new();
    let store = place.store().await;
    let (id, cookie) = store.open_session(session(1_001, "ada")).await.unwrap();
    let (_, other) = store.open_session(session(1_001, "ada")).await.unwrap();
    let cookie = cookie.expose_secret();
    assert_eq!(cookie.split('|').next(), Some(id.as_str()));
    let found = store.session(cookie, NOW).await.unwrap().unwrap();
    assert_eq!(
        (found.id.as_str(), found.user),
        (id.as_str(), user(1_001, "ada"))
    );
    let asked = async |cookie: &str, now| store.session(cookie, now).await.unwrap().map(|_| ());
    assert_eq!(asked(cookie, NOW + 60.0).await, Err(BadCookie::Expired));
    // The id of one with the rest of another.
    let rest = other.expose_secret().split_once('|').unwrap().1;
    assert!(
        asked(&format!("{}|{rest}", id.as_str()), NOW)
            .await
            .is_err()
    );
    for nonsense in ["", "|", "a|b|c", id.as_str()] {
        assert!(asked(nonsense, NOW).await.is_err(), "{nonsense}");
    }
    assert!(store.end_session(&id).await.unwrap());
    assert!(!store.end_session(&id).await.unwrap());
    assert_eq!(asked(cookie, NOW).await, Err(BadCookie::Ended));
    assert_eq!(asked(other.expose_secret(), NOW).await, Ok(()));
    assert_eq!(store.end_sessions_of_user(1_001).await.unwrap(), 1);
    assert_eq!(
        asked(other.expose_secret(), NOW).await,
        Err(BadCookie::Ended)
    );
}

#[tokio::test]
async fn a_sign_in_is_taken_once_by_the_browser_that_began() {
    let place = Place::new();
    let store = place.store().await;
    let (state, browser) = ("state".into(), "browser".into());
    store
        .begin_sign_in(&state, &browser, b"payload", NOW + 60.0)
        .await
        .unwrap();
    assert!(
        store
            .take_sign_in("state", "another", NOW)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .take_sign_in("another", "browser", NOW)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .read_sign_in("state", "browser", NOW + 60.0)
            .await
            .unwrap()
            .is_none()
    );
    let taken = store
        .take_sign_in("state", "browser", NOW)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&**taken, b"payload");
    assert!(
        store
            .take_sign_in("state", "browser", NOW)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn after_a_back_up_was_restored_no_earlier_session_is_accepted() {
    let place = Place::with_a_file();
    let store = place.store().await;
    let (id, ended) = store.open_session(session(1_001, "ada")).await.unwrap();
    let web = store.open_web_session(ADA, NOW, NOW + 60.0).await.unwrap();
    store.clone().close().await;
    let back_up = std::fs::read(place.path("hub.db")).unwrap();
    let store = place.store().await;
    store.end_session(&id).await.unwrap();
    store.close().await;
    std::fs::write(place.path("hub.db"), back_up).unwrap();
    let store = place.store().await;
    assert!(
        store
            .session(ended.expose_secret(), NOW)
            .await
            .unwrap()
            .is_ok(),
        "so the first step is needed"
    );
    store.end_all_sessions().await.unwrap();
    assert!(
        store
            .session(ended.expose_secret(), NOW)
            .await
            .unwrap()
            .is_err()
    );
    assert!(
        store
            .web_session(web.expose_secret(), NOW)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn the_audit_is_added_to_and_never_changed() {
    let place = Place::new();
    let store = place.store().await;
    for event in [Event::SignIn, Event::Token, Event::SignOut] {
        store.append(&row(event)).await.unwrap();
    }
    let rows = store.rows(NOW, 1_000).await.unwrap();
    let events: Vec<_> = rows.iter().map(|recorded| recorded.row.event).collect();
    assert_eq!(events, [Event::SignIn, Event::Token, Event::SignOut]);
    let newest = store.rows(NOW, 1).await.unwrap();
    assert_eq!(newest[0].row.event, Event::SignOut);
    assert!(store.rows(NOW + 1.0, 9).await.unwrap().is_empty());
    for change in ["UPDATE audit SET result = 'x'", "DELETE FROM audit"] {
        let refused = place.try_to_tamper(change).unwrap_err();
        assert!(refused.contains("the audit is"), "{refused}");
    }
    assert_eq!(store.purge_audit(NOW).await.unwrap(), 0);
    assert_eq!(store.purge_audit(NOW + 1.0).await.unwrap(), 3);
    assert!(store.rows(NOW, 1_000).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_row_of_the_audit_comes_with_the_refresh_token_and_not_without_an_account() {
    let place = Place::new();
    let store = place.store().await;
    sign_in(&store, ADA, "first").await;
    let (_, used) = newest(&store).await.unwrap();
    let about = |detail: &str| {
        let detail = Some(detail.to_owned());
        Some(AuditRow {
            detail,
            ..row(Event::Token)
        })
    };
    let keep = async |granted: Option<&str>, detail| {
        let granted = granted.map(Into::into);
        store.keep(ADA, granted, used, about(detail)).await.unwrap()
    };
    assert!(keep(Some("second"), "newer").await);
    assert!(keep(Some("late"), "older").await);
    assert!(keep(None, "the same").await);
    store.sign_out(ADA).await.unwrap();
    assert!(!keep(Some("late"), "signed out").await);
    assert!(!keep(None, "signed out").await);
    let rows = store.rows(NOW, 9).await.unwrap().into_iter();
    let details: Vec<_> = rows.filter_map(|recorded| recorded.row.detail).collect();
    assert_eq!(details, ["newer", "older", "the same"]);
}

#[tokio::test]
async fn a_text_that_somebody_else_wrote_is_cut() {
    let place = Place::new();
    let store = place.store().await;
    let resource = Some(format!("\0{}", "é".repeat(300)));
    let long = AuditRow {
        resource,
        ..row(Event::Token)
    };
    store.append(&long).await.unwrap();
    let rows = store.rows(NOW, 1).await.unwrap();
    assert_eq!(
        rows[0].row.resource,
        Some(format!("\u{FFFD}{}", "é".repeat(299)))
    );
}

#[tokio::test]
async fn another_key_and_a_newer_schema_are_refused() {
    let place = Place::new();
    let store = place.store().await;
    sign_in(&store, ADA, "refresh").await;
    store.close().await;
    let other = Place::new();
    let refused = Store::open(&place.database(), other.keys())
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::WrongKey { .. }), "{refused}");
    place.tamper("PRAGMA user_version = 99");
    let refused = Store::open(&place.database(), place.keys())
        .await
        .unwrap_err();
    assert!(
        matches!(refused, StoreError::Newer { found: 99, .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let place = Place::with_a_file();
    std::fs::write(
        place.path("hub.db"),
        "this is no database, though it is long enough to look like one",
    )
    .unwrap();
    let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(place.path("hub.db"), own).unwrap();
    assert!(Store::open(&place.database(), place.keys()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once_lose_nothing() {
    let place = Place::new();
    let store = place.store().await;
    sign_in(&store, ADA, "refresh-0").await;
    let mut tasks = Vec::new();
    for number in 0..200 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            store.append(&row(Event::Token)).await.unwrap();
            let used = store.newest(ADA).await.unwrap().unwrap().version;
            store
                .keep(ADA, Some(format!("refresh-{number}").into()), used, None)
                .await
                .unwrap()
        }));
    }
    for task in tasks {
        assert!(task.await.unwrap());
    }
    assert_eq!(store.rows(NOW, 1_000).await.unwrap().len(), 200);
    assert!(newest(&store).await.unwrap().0.starts_with("refresh-"));
}

/// A file system of this size, as long as this lives. Only root can have one.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"])
            .arg(directory.path())
            .output()
            .unwrap();
        assert!(
            mounted.status.success(),
            "{}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Self(directory)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_lost() {
    let (place, small) = (Place::with_a_file(), Small::new());
    let path = small.0.path().join("hub.db");
    let store = Store::open(&Database::File(path), place.keys())
        .await
        .unwrap()
        .for_client("client");
    sign_in(&store, ADA, "first").await;
    let long = AuditRow {
        result: "x".repeat(10_000),
        ..row(Event::Token)
    };
    let mut kept = 0;
    let full = loop {
        match store.append(&long).await {
            Ok(()) => kept += 1,
            Err(full) => break full,
        }
        assert!(kept < 1_000, "the disk is never full");
    };
    assert!(matches!(full, StoreError::Unavailable(_)), "{full}");
    assert_eq!(newest(&store).await.unwrap().0, "first");
    assert_eq!(store.rows(NOW, 1_000).await.unwrap().len(), kept);
    let remounted = Command::new("mount")
        .args(["-o", "remount,size=8m"])
        .arg(small.0.path())
        .status()
        .unwrap();
    assert!(remounted.success());
    store.append(&long).await.unwrap();
    let (_, used) = newest(&store).await.unwrap();
    assert!(
        store
            .keep(ADA, Some("second".into()), used, None)
            .await
            .unwrap()
    );
    store.close().await;
}

#[test]
fn keys_are_not_shown() {
    let place = Place::new();
    let text = std::fs::read_to_string(place.path("keys")).unwrap();
    let key = text.split_whitespace().last().unwrap();
    let keys = Keys::read(&place.path("keys")).unwrap();
    assert!(!format!("{keys:?}").contains(key));
}
