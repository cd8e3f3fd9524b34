//! Hubs that share a database on a server.

use std::time::Duration;

use entrar_broker::accounts::{Accounts as _, Turn};
use entrar_core::cookie::BadCookie;
use secrecy::ExposeSecret as _;

use super::super::testing::{ADA, BOB, NOW, Place};
use super::super::{AuditRow, Event, Store};
use super::{binding, newest, row, session, sign_in};

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

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn people_seen_lately_go_on_while_the_database_is_away_and_nothing_is_lost() {
    let place = Place::new();
    let store = place.store().await;
    for (account, uid, name) in [(ADA, 1_001, "ada"), (BOB, 1_002, "bob")] {
        sign_in(&store, account, "first").await;
        store.bind(&binding(account, uid, name)).await.unwrap();
    }
    let (_, cookie) = store.open_session(session(1_001, "ada")).await.unwrap();
    let (_, unseen) = store.open_session(session(1_001, "ada")).await.unwrap();
    let (_, used) = newest(&store).await.unwrap();
    let known = store.binding_of_user(1_001).await.unwrap();
    let cookie = cookie.expose_secret();
    let seen = store.session(cookie, NOW).await.unwrap().unwrap();
    place.is_away(true);
    assert_eq!(store.session(cookie, NOW).await, Ok(Ok(seen)));
    let expired = store.session(cookie, NOW + 60.0).await.unwrap();
    assert_eq!(expired, Err(BadCookie::Expired));
    assert_eq!(store.binding_of_user(1_001).await.unwrap(), known);
    assert_eq!(newest(&store).await, Some(("first".to_owned(), used)));
    // Whoever was not seen waits.
    assert!(store.session(unseen.expose_secret(), NOW).await.is_err());
    assert!(store.binding_of_user(1_002).await.is_err());
    assert!(store.newest(BOB).await.is_err());
    assert!(store.keep(BOB, None, used, None).await.is_err());
    // Nobody takes a turn that others cannot see.
    assert!(store.take_turn(ADA, LONG).await.is_err());
    assert!(store.sign_out(BOB).await.is_err());
    for token in ["second", "third"] {
        let row = AuditRow {
            detail: Some(token.to_owned()),
            ..row(Event::Token)
        };
        let kept = store.keep(ADA, Some(token.into()), used, Some(row)).await;
        assert!(kept.unwrap());
        assert_eq!(newest(&store).await, Some((token.to_owned(), used)));
    }
    store.append(&row(Event::EndSession)).await.unwrap();
    assert!(store.catch_up().await.is_err());
    place.is_away(false);
    // Not written yet, and the newest all the same.
    assert_eq!(newest(&store).await, Some(("third".to_owned(), used)));
    store.catch_up().await.unwrap();
    let (token, version) = newest(&place.store().await).await.unwrap();
    assert_eq!(token, "third");
    assert!(version > used);
    let rows = store.rows(NOW, 9).await.unwrap().into_iter();
    let rows: Vec<_> = rows.map(|it| (it.row.event, it.row.detail)).collect();
    assert_eq!(
        rows,
        [
            (Event::Token, Some("second".to_owned())),
            (Event::Token, Some("third".to_owned())),
            (Event::EndSession, None),
        ]
    );
    store.catch_up().await.unwrap();
    assert_eq!(store.rows(NOW, 9).await.unwrap().len(), 3, "once");
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn what_was_kept_last_is_what_goes_on_while_the_database_is_away() {
    let place = Place::new();
    let store = place.store().await;
    sign_in(&store, ADA, "first").await;
    let (_, used) = newest(&store).await.unwrap();
    let keep = async |token: &str, used| store.keep(ADA, Some(token.into()), used, None).await;
    assert!(keep("second", used).await.unwrap());
    place.is_away(true);
    let (token, second) = newest(&store).await.unwrap();
    assert_eq!(token, "second");
    assert!(second > used);
    assert!(keep("third", second).await.unwrap());
    place.is_away(false);
    store.catch_up().await.unwrap();
    // The next time it goes away too.
    place.is_away(true);
    let (token, third) = newest(&store).await.unwrap();
    assert_eq!(token, "third");
    place.is_away(false);
    assert_eq!(newest(&place.store().await).await, Some((token, third)));
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn who_signs_out_at_another_hub_does_not_come_back_with_what_was_granted_meanwhile() {
    let place = Place::new();
    let (one, other) = (place.store().await, place.store().await);
    sign_in(&one, ADA, "first").await;
    let (_, used) = newest(&one).await.unwrap();
    place.is_away(true);
    assert!(
        one.keep(ADA, Some("second".into()), used, None)
            .await
            .unwrap()
    );
    place.is_away(false);
    other.sign_out(ADA).await.unwrap();
    one.catch_up().await.unwrap();
    assert_eq!(newest(&one).await, None);
    assert_eq!(newest(&other).await, None);
    // Nor is it put in the place of a later sign-in's.
    sign_in(&other, ADA, "again").await;
    let (_, used) = newest(&one).await.unwrap();
    place.is_away(true);
    assert!(
        one.keep(ADA, Some("late".into()), used, None)
            .await
            .unwrap()
    );
    place.is_away(false);
    sign_in(&other, ADA, "newer").await;
    one.catch_up().await.unwrap();
    assert_eq!(newest(&one).await.unwrap().0, "newer");
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn what_ends_here_is_forgotten_here_at_once() {
    let place = Place::new();
    let store = place.store().await;
    sign_in(&store, ADA, "first").await;
    store.bind(&binding(ADA, 1_001, "ada")).await.unwrap();
    let (id, one) = store.open_session(session(1_001, "ada")).await.unwrap();
    let (_, two) = store.open_session(session(1_001, "ada")).await.unwrap();
    newest(&store).await.unwrap();
    store.binding_of_user(1_001).await.unwrap();
    for cookie in [&one, &two] {
        let found = store.session(cookie.expose_secret(), NOW).await.unwrap();
        found.unwrap();
    }
    store.end_session(&id).await.unwrap();
    place.is_away(true);
    assert!(store.session(one.expose_secret(), NOW).await.is_err());
    assert!(store.session(two.expose_secret(), NOW).await.is_ok());
    place.is_away(false);
    store.unbind(ADA).await.unwrap();
    place.is_away(true);
    assert!(store.session(two.expose_secret(), NOW).await.is_err());
    assert!(store.binding_of_user(1_001).await.is_err());
    assert!(store.newest(ADA).await.is_err());
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn after_the_grace_nobody_goes_on() {
    let place = Place::with_grace(Duration::ZERO);
    let store = place.store().await;
    sign_in(&store, ADA, "first").await;
    newest(&store).await.unwrap();
    assert_eq!(store.holds_everywhere_at(NOW), None);
    place.is_away(true);
    assert!(store.newest(ADA).await.is_err());
    let kept = store.keep(ADA, Some("second".into()), 1, Some(row(Event::Token)));
    assert!(kept.await.is_err());
    assert_eq!(std::fs::read(place.path("journal")).unwrap(), b"");
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn a_turn_that_did_not_come_harms_nobody_afterwards() {
    let place = Place::new();
    let store = place.store().await;
    sign_in(&store, ADA, "first").await;
    let held = place.hold_turn(12);
    // On each of its connections.
    let waiting = [(); 4].map(|()| {
        let store = store.clone();
        tokio::spawn(async move { store.sign_out(ADA).await })
    });
    for waited in waiting {
        assert!(waited.await.unwrap().is_err());
    }
    held.join().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(newest(&store).await.unwrap().0, "first", "nothing was done");
    for _ in 0..8 {
        store.append(&row(Event::Token)).await.unwrap();
        sign_in(&store, ADA, "second").await;
    }
    assert_eq!(store.rows(NOW, 99).await.unwrap().len(), 8);
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn a_server_that_takes_no_changes_counts_as_away() {
    let place = Place::with_grace(Duration::from_secs(1));
    let store = place.store().await;
    sign_in(&store, ADA, "first").await;
    let (_, used) = newest(&store).await.unwrap();
    place.is_read_only(true);
    place.is_away(true);
    place.is_away(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(store.newest(ADA).await.is_err());
    let kept = store.keep(ADA, Some("second".into()), used, Some(row(Event::Token)));
    assert!(kept.await.is_err());
    place.is_read_only(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(newest(&store).await, Some(("first".to_owned(), used)));
}
