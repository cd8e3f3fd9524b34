//! Hubs that share a database on a server.

use std::time::Duration;

use entrar_broker::accounts::{Accounts as _, Turn};
use secrecy::ExposeSecret as _;

use super::super::Store;
use super::super::testing::{ADA, BOB, NOW, Place};
use super::{newest, session, sign_in};

const LONG: Duration = Duration::from_secs(60);

async fn turn(store: &Store) -> (u64, u64) {
    match store.take_turn(ADA, LONG).await.unwrap() {
        Turn::Given(newest, turn) => (newest.version, turn),
        other => panic!("{other:?}"),
    }
}

async fn is_taken(store: &Store) -> bool {
    matches!(store.take_turn(ADA, LONG).await, Ok(Turn::Taken))
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn a_refresh_token_that_works_once_is_used_by_one_hub_at_a_time() {
    let place = Place::new();
    let (one, other) = (place.store().await, place.store().await);
    assert!(matches!(
        one.take_turn(ADA, LONG).await,
        Ok(Turn::NotSignedIn)
    ));
    sign_in(&one, ADA, "first").await;
    let (used, first) = turn(&one).await;
    assert!(is_taken(&other).await && is_taken(&one).await);
    // Nobody ends a turn of somebody else's.
    other.end_turn(ADA, first + 1).await;
    assert!(is_taken(&other).await);
    one.end_turn(ADA, first).await;
    let (again, _) = turn(&other).await;
    assert_eq!(again, used);
    // What is kept ends the turn too, and whoever comes next has the newest.
    assert!(
        other
            .keep(ADA, Some("second".into()), used, None)
            .await
            .unwrap()
    );
    let (newer, _) = turn(&one).await;
    assert_ne!(newer, used);
    assert_eq!(newest(&other).await, Some(("second".to_owned(), newer)));
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn a_turn_whose_time_is_over_is_given_to_the_next() {
    let place = Place::new();
    let (one, other) = (place.store().await, place.store().await);
    sign_in(&one, ADA, "first").await;
    let short = one.take_turn(ADA, Duration::ZERO).await.unwrap();
    assert!(matches!(short, Turn::Given(..)));
    turn(&other).await;
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn versions_of_two_hubs_are_never_the_same() {
    let place = Place::new();
    let (one, other) = (place.store().await, place.store().await);
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..40 {
        let (store, account) = [(&one, ADA), (&other, BOB)][number % 2];
        sign_in(store, account, "token").await;
        let newest = store.newest(account).await.unwrap().unwrap();
        assert!(seen.insert(newest.version));
    }
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn what_one_hub_ends_the_other_refuses() {
    let place = Place::new();
    let (one, other) = (place.store().await, place.store().await);
    let (id, cookie) = one.open_session(session(1_001, "ada")).await.unwrap();
    let cookie = cookie.expose_secret();
    assert!(other.session(cookie, NOW).await.unwrap().is_ok());
    assert!(one.end_session(&id).await.unwrap());
    assert!(other.session(cookie, NOW).await.unwrap().is_err());
    sign_in(&one, ADA, "first").await;
    let (_, used) = newest(&other).await.unwrap();
    assert!(one.sign_out(ADA).await.unwrap());
    assert!(
        !other
            .keep(ADA, Some("late".into()), used, None)
            .await
            .unwrap()
    );
    assert_eq!(newest(&other).await, None);
}
