//! Somebody writes to the database, without the key: no row with a changed column is ever used, and the administrator gets by.

use entrar_broker::accounts::Accounts as _;
use entrar_core::cookie::BadCookie;
use secrecy::ExposeSecret as _;

use super::super::testing::{ADA, BOB, NOW, Place};
use super::super::{Bound, BoundBy, StoreError};
use super::{binding, is_forged, session, sign_in};
use crate::seal::hash;

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn no_column_of_a_binding_can_be_changed() {
    for change in [
        "uid = 1002",
        "user_name = 'bob'",
        "oid = '00000000-0000-0000-0000-000000000002'",
        "tid = '00000000-0000-0000-0000-000000000002'",
        "bound_by = 'pairing'",
        "bound_at = 0",
        "mac = x''",
    ] {
        let place = Place::new();
        let store = place.store().await;
        store.bind(&binding(ADA, 1_001, "ada")).await.unwrap();
        place.tamper(&format!("UPDATE bindings SET {change}"));
        let found = [
            store.binding_of_user(1_001).await,
            store.binding_of_user(1_002).await,
            store.binding_of_account(ADA).await,
            store.binding_of_account(BOB).await,
        ];
        let mut forged = 0;
        for found in found {
            if found != Ok(None) {
                is_forged(found, "bindings");
                forged += 1;
            }
        }
        assert!(forged > 0, "{change}");
        // Nobody is bound around it either.
        let again = store.bind(&binding(ADA, 1_001, "ada")).await;
        is_forged(again, "bindings");
    }
}

#[tokio::test]
async fn no_column_of_a_session_can_be_changed() {
    for change in [
        "id = 'another'",
        "uid = 0",
        "user_name = 'root'",
        "launcher = 'jupyter'",
        "launcher = ''",
        "machine = 'another'",
        "opened_at = 0",
        "expires_at = expires_at + 1",
        "last_used = 0",
        "cookie_hash = zeroblob(32)",
        "mac = x''",
    ] {
        let place = Place::new();
        let store = place.store().await;
        let (id, cookie) = store.open_session(session(1_001, "ada")).await.unwrap();
        place.tamper(&format!("UPDATE sessions SET {change}"));
        match store.session(cookie.expose_secret(), NOW).await {
            // Under another id it is not even found.
            Ok(found) => assert_eq!(found, Err(BadCookie::Forged), "{change}"),
            forged => is_forged(forged, "sessions"),
        }
        is_forged(store.sessions(NOW).await, "sessions");
        let touched = store.touch_session(&id, NOW + 90.0).await;
        assert!(touched.is_err() || change.starts_with("id"), "{change}");
        assert_eq!(store.end_all_sessions().await, Ok(1), "{change}");
    }
}

#[tokio::test]
async fn no_column_of_a_browsers_session_can_be_changed() {
    for change in [
        "oid = '00000000-0000-0000-0000-000000000002'",
        "tid = '00000000-0000-0000-0000-000000000002'",
        "opened_at = 0",
        "expires_at = expires_at + 1",
        "cookie_hash = zeroblob(32)",
        "mac = x''",
    ] {
        let place = Place::new();
        let store = place.store().await;
        let cookie = store.open_web_session(ADA, NOW, NOW + 60.0).await.unwrap();
        place.tamper(&format!("UPDATE web_sessions SET {change}"));
        let found = store.web_session(cookie.expose_secret(), NOW).await;
        is_forged(found, "web_sessions");
    }
}

#[tokio::test]
async fn a_session_or_sign_in_cannot_be_copied_for_a_cookie_of_ones_own() {
    let place = Place::new();
    let store = place.store().await;
    store.open_session(session(1_001, "ada")).await.unwrap();
    let mine = "mine|Mon%2C%2023%20Nov%202026%2000%3A01%3A00%20GMT|c2ln";
    let cookie_hash = hex(&hash(mine));
    place.tamper(&format!(
        "UPDATE sessions SET id = 'mine', cookie_hash = x'{cookie_hash}'"
    ));
    is_forged(store.session(mine, NOW).await, "sessions");

    let (state, browser) = ("state".into(), "browser".into());
    let begun = store.begin_sign_in(&state, &browser, b"payload", NOW + 60.0);
    begun.await.unwrap();
    let browser_hash = hex(&hash("mine"));
    place.tamper(&format!(
        "UPDATE sign_ins SET browser_hash = x'{browser_hash}'"
    ));
    is_forged(store.take_sign_in("state", "mine", NOW).await, "sign_ins");
    // It is gone all the same.
    let again = store.take_sign_in("state", "mine", NOW).await;
    assert_eq!(again, Ok(None));
}

#[tokio::test]
async fn a_seal_is_of_one_table() {
    let place = Place::new();
    let store = place.store().await;
    let (state, browser) = ("ticket".into(), "browser".into());
    let begun = store.begin_sign_in(&state, &browser, b"payload", NOW + 60.0);
    begun.await.unwrap();
    place.tamper(
        "INSERT INTO pairings (ticket_hash, expires_at, sealed, key_id)
         SELECT state_hash, expires_at, sealed, key_id FROM sign_ins",
    );
    let looked_at = store.change_pairing("ticket", NOW, |_| super::super::Change::None(()));
    is_forged(looked_at.await, "pairings");
}

#[tokio::test]
async fn a_forged_binding_hides_nobody_and_is_taken_out_by_unbinding() {
    let place = Place::new();
    let store = place.store().await;
    sign_in(&store, ADA, "of-ada").await;
    sign_in(&store, BOB, "of-bob").await;
    store.bind(&binding(ADA, 1_001, "ada")).await.unwrap();
    store.bind(&binding(BOB, 1_002, "bob")).await.unwrap();
    place.tamper("UPDATE bindings SET uid = 1003 WHERE uid = 1001");
    let people = store.people().await.unwrap();
    let shown: Vec<_> = people
        .iter()
        .map(|person| (person.account, person.binding.is_some(), person.forged))
        .collect();
    assert_eq!(shown, [(ADA, false, true), (BOB, true, false)]);
    assert_eq!(store.unbind(ADA).await, Ok(true));
    assert_eq!(
        store.bind(&binding(ADA, 1_001, "ada")).await,
        Ok(Bound::New)
    );
}

#[tokio::test]
async fn a_sign_in_mends_a_refresh_token_that_was_tampered_with() {
    let place = Place::new();
    let store = place.store().await;
    sign_in(&store, ADA, "old").await;
    place.tamper("UPDATE refresh_tokens SET sealed = x'00', version = version + 1");
    let refusal = store.newest(ADA).await.unwrap_err();
    assert_eq!(refusal.object()["error"], "server_error");
    sign_in(&store, ADA, "new").await;
    let newest = store.newest(ADA).await.unwrap().unwrap();
    assert_eq!(newest.refresh_token.expose_secret(), "new");
}

#[tokio::test]
async fn what_is_written_in_words_unknown_is_a_fault_and_no_panic() {
    let place = Place::new();
    let store = place.store().await;
    store.bind(&binding(ADA, 1_001, "ada")).await.unwrap();
    for (change, column) in [
        ("bound_by = 'magic'", "bound_by"),
        ("tid = 'no guid'", "tid"),
        ("uid = -1", "uid"),
        ("uid = 4294967296 + 1001", "uid"),
    ] {
        place.tamper(&format!(
            "CREATE TABLE kept AS SELECT {column} FROM bindings; UPDATE bindings SET {change}"
        ));
        let found = store.binding_of_user(1_001).await;
        let listed = store.people().await;
        if column == "uid" {
            // A number is compared whole: this one is nobody's.
            assert_eq!(found, Ok(None), "{change}");
        } else {
            assert!(matches!(found, Err(StoreError::Fault(_))), "{change}");
        }
        assert!(listed.is_err(), "{change}");
        place.tamper(&format!(
            "UPDATE bindings SET {column} = (SELECT {column} FROM kept); DROP TABLE kept"
        ));
    }
    let found = store.binding_of_user(1_001).await.unwrap().unwrap();
    assert_eq!(found.by, BoundBy::Rule);
}
