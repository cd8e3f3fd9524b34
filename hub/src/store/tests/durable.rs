//! Whoever has an answer has it on disk: many at once, a disk that is full, a process that is killed, another that is in the
//! way; and what has expired goes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use entrar_broker::accounts::Accounts as _;
use entrar_core::cookie::BadCookie;
use secrecy::ExposeSecret as _;

use super::super::database::Db;
use super::super::testing::{ADA, NOW, Place, account, user};
use super::super::{
    AuditRow, Bound, Change, Database, Event, NewSession, OpenedBy, Session, Store, StoreError,
};
use super::{binding, newest, row, session, sign_in};
use crate::keys::Keys;

async fn written(store: &Store) -> Vec<String> {
    let rows = store.rows(NOW, 10_000).await.unwrap();
    rows.into_iter()
        .map(|recorded| recorded.row.result)
        .collect()
}

/// A row with this text where no text is cut.
fn about(result: String) -> AuditRow {
    AuditRow {
        result,
        ..row(Event::Token)
    }
}

#[tokio::test]
async fn many_open_a_new_database_at_once() {
    let place = Place::new();
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let (database, keys) = (place.database(), place.keys());
            tokio::spawn(async move { Store::open(&database, keys).await.unwrap() })
        })
        .collect();
    for (number, store) in opening.into_iter().enumerate() {
        let store = store.await.unwrap().for_client("client");
        store.append(&about(number.to_string())).await.unwrap();
        if number == 7 {
            assert_eq!(written(&store).await.len(), 8);
        }
    }
}

#[tokio::test]
async fn all_files_are_their_owners_alone() {
    let place = Place::with_a_file();
    let store = place.store().await;
    sign_in(&store, ADA, "refresh").await;
    for name in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        let mode = std::fs::metadata(place.path(name)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o7777, 0o600, "{name}");
    }
    store.close().await;
    // All is in the one file then.
    let log = std::fs::metadata(place.path("hub.db-wal"));
    assert_eq!(log.map_or(0, |found| found.len()), 0);
}

#[tokio::test]
async fn one_that_fails_spoils_nobody_elses_write() {
    let place = Place::new();
    let store = place.store().await;
    let writes: Vec<_> = (0..64)
        .map(|number| {
            let store = store.clone();
            let run = move |db: &Db<'_>| {
                db.execute(
                    "INSERT INTO state (name, value) VALUES (?, 0)",
                    (format!("write {number:02}"),),
                )?;
                match number % 3 {
                    0 => Err(StoreError::Fault("on purpose".to_owned())),
                    _ => Ok(number),
                }
            };
            tokio::spawn(async move { store.threads.write(run).await })
        })
        .collect();
    let mut kept = Vec::new();
    for write in writes {
        match write.await.unwrap() {
            Ok(number) => kept.push(format!("write {number:02}")),
            Err(error) => assert_eq!(error, StoreError::Fault("on purpose".to_owned())),
        }
    }
    assert_eq!(kept.len(), 42);
    let found = store.threads.read(|db: &Db<'_>| {
        db.rows(
            "SELECT name FROM state WHERE name LIKE 'write %' ORDER BY name",
            (),
            |row| row.get::<String>(0),
        )
    });
    assert_eq!(found.await.unwrap(), kept);
}

#[tokio::test]
async fn of_many_writes_to_a_disk_that_fills_up_exactly_those_are_kept_whose_answer_was_good() {
    let place = Place::with_a_file();
    let store = place.store().await;
    let limit = |db: &Db<'_>| db.row("PRAGMA max_page_count = 120", (), |row| row.get::<i64>(0));
    store.threads.write(limit).await.unwrap();
    let appends: Vec<_> = (0..128)
        .map(|number| {
            let store = store.clone();
            // Large ones and small ones, so that some of a group fit and others do not.
            let detail = format!(
                "{number} {}",
                "x".repeat(if number % 2 == 0 { 9_000 } else { 9 })
            );
            tokio::spawn(async move {
                let appended = store.append(&about(detail.clone())).await;
                (detail, appended)
            })
        })
        .collect();
    let (mut kept, mut refused) = (Vec::new(), 0);
    for append in appends {
        match append.await.unwrap() {
            (detail, Ok(())) => kept.push(detail),
            (_, Err(error)) => {
                assert_eq!(
                    error,
                    StoreError::Unavailable("the disk is full".to_owned())
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && !kept.is_empty(), "{refused}");
    let mut found = written(&store).await;
    found.sort_unstable();
    kept.sort_unstable();
    assert_eq!(found, kept);
    let none = |db: &Db<'_>| {
        db.row("PRAGMA max_page_count = 100000", (), |row| {
            row.get::<i64>(0)
        })
    };
    store.threads.write(none).await.unwrap();
    store.append(&about("later".to_owned())).await.unwrap();
}

#[tokio::test]
async fn a_lock_of_another_process_is_waited_for() {
    let place = Place::with_a_file();
    let store = place.store().await;
    let other = place.stolen();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.append(&about("waited".to_owned())).await }
    });
    // Who reads does not wait for it.
    assert!(written(&store).await.is_empty());
    other.execute_batch("COMMIT").unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(written(&store).await, ["waited"]);
}

#[tokio::test]
async fn who_stops_waiting_does_not_stop_a_write() {
    let place = Place::with_a_file();
    let store = place.store().await;
    sign_in(&store, ADA, "first").await;
    let (_, used) = newest(&store).await.unwrap();
    let other = place.stolen();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let keeping = store.keep(ADA, Some("second".into()), used, None);
    // The write is queued by then, and cannot be done yet.
    assert!(
        tokio::time::timeout(Duration::from_millis(50), keeping)
            .await
            .is_err()
    );
    other.execute_batch("COMMIT").unwrap();
    // One after the other: what comes later sees it.
    store.append(&about("after".to_owned())).await.unwrap();
    assert_eq!(newest(&store).await.unwrap().0, "second");
}

#[tokio::test]
async fn after_the_end_every_copy_is_told_so() {
    let place = Place::new();
    let store = place.store().await;
    let copy = store.clone();
    store.close().await;
    let closed = copy.append(&about(String::new())).await;
    assert_eq!(closed, Err(StoreError::Closed));
    let refusal = copy.newest(ADA).await.unwrap_err();
    assert_eq!(refusal.object()["error"], "temporarily_unavailable");
    assert_eq!(copy.sessions(NOW).await, Err(StoreError::Closed));
}

#[tokio::test]
async fn of_many_who_are_bound_to_one_user_at_once_one_is() {
    let place = Place::new();
    let store = place.store().await;
    let attempts: Vec<_> = (1..=8)
        .map(|oid| {
            let (store, new) = (store.clone(), binding(account(oid), 1_001, "ada"));
            tokio::spawn(async move { store.bind(&new).await.unwrap() })
        })
        .collect();
    let mut new = 0;
    for attempt in attempts {
        match attempt.await.unwrap() {
            Bound::New => new += 1,
            Bound::Conflict(others) => assert_eq!(others.len(), 1),
            Bound::Already => panic!("it was not bound"),
        }
    }
    assert_eq!(new, 1);
}

#[tokio::test]
async fn of_many_callbacks_at_once_one_takes_the_sign_in() {
    let place = Place::new();
    let store = place.store().await;
    let (state, browser) = ("state".into(), "browser".into());
    let begun = store.begin_sign_in(&state, &browser, b"payload", NOW + 60.0);
    begun.await.unwrap();
    let callbacks: Vec<_> = (0..16)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.take_sign_in("state", "browser", NOW).await })
        })
        .collect();
    let mut taken = 0;
    for callback in callbacks {
        taken += usize::from(callback.await.unwrap().unwrap().is_some());
    }
    assert_eq!(taken, 1);
}

#[tokio::test]
async fn the_last_use_is_noted_once_a_minute() {
    let place = Place::new();
    let store = place.store().await;
    let long = NewSession {
        expires_at: NOW + 1_000.0,
        ..session(1_001, "ada")
    };
    let (id, cookie) = store.open_session(long).await.unwrap();
    for (moment, noted) in [
        (0.0, 0.0),
        (59.0, 0.0),
        (60.0, 60.0),
        (30.0, 60.0),
        (119.0, 60.0),
    ] {
        store.touch_session(&id, NOW + moment).await.unwrap();
        let open = Session {
            id: id.clone(),
            user: user(1_001, "ada"),
            opened_by: OpenedBy::Socket,
            machine: "node".to_owned(),
            opened_at: NOW,
            expires_at: NOW + 1_000.0,
            last_used: NOW + noted,
        };
        let found = store.session(cookie.expose_secret(), NOW).await;
        assert_eq!(found, Ok(Ok(open)), "{moment}");
    }
}

/// How many rows are in the tables of what expires.
async fn left(store: &Store) -> i64 {
    let count = store.threads.read(|db: &Db<'_>| {
        db.row(
            "SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM ended_sessions)
             + (SELECT count(*) FROM web_sessions) + (SELECT count(*) FROM sign_ins)
             + (SELECT count(*) FROM pairings) + (SELECT count(*) FROM permits)",
            (),
            |row| row.get(0),
        )
    });
    count.await.unwrap().unwrap()
}

/// Something in each table of what expires, until these moments.
async fn open_everything(store: &Store, number: u32, expires_at: f64) {
    let expires_at = NOW + expires_at;
    for ends in [true, false] {
        let new = NewSession {
            expires_at,
            ..session(1_000 + number, "user")
        };
        let (id, _) = store.open_session(new).await.unwrap();
        if ends {
            assert_eq!(store.end_session(&id).await, Ok(true));
        }
    }
    store.open_web_session(ADA, NOW, expires_at).await.unwrap();
    let (state, browser) = (format!("state {number}").into(), "browser".into());
    let begun = store.begin_sign_in(&state, &browser, b"payload", expires_at);
    begun.await.unwrap();
    let ticket = format!("ticket {number}").into();
    let begun = store.begin_pairing(&ticket, b"payload", NOW, expires_at);
    begun.await.unwrap();
    let permitted = user(1_000 + number, "user");
    store.permit(&permitted, expires_at).await.unwrap();
}

#[tokio::test]
async fn what_has_expired_is_thrown_away_and_the_rest_stays() {
    let place = Place::new();
    let store = place.store().await;
    open_everything(&store, 1, 60.0).await;
    open_everything(&store, 2, 61.0).await;
    assert_eq!(left(&store).await, 12);
    assert_eq!(store.purge(NOW + 59.0).await, Ok(0));
    assert_eq!(store.purge(NOW + 60.0).await, Ok(6));
    assert_eq!(left(&store).await, 6);
    let taken = store.take_sign_in("state 2", "browser", NOW + 60.0).await;
    assert!(taken.unwrap().is_some());
    assert_eq!(store.sessions(NOW + 60.0).await.unwrap().len(), 1);
}

#[tokio::test]
async fn revoking_all_leaves_nothing_open() {
    let place = Place::new();
    let store = place.store().await;
    open_everything(&store, 1, 60.0).await;
    let (_, cookie) = store.open_session(session(1_001, "ada")).await.unwrap();
    assert_eq!(store.end_all_sessions().await, Ok(3));
    let refused = store.session(cookie.expose_secret(), NOW).await;
    assert_eq!(refused, Ok(Err(BadCookie::Ended)));
    // What is left is only what tells cookies that they have ended.
    assert_eq!(left(&store).await, 3);
    assert_eq!(store.sessions(NOW).await, Ok(Vec::new()));
    let pairing = store.change_pairing("ticket 1", NOW, |_| Change::None(()));
    assert_eq!(pairing.await, Ok(None));
    let permitted = store.is_permitted(&user(1_001, "user"), NOW).await;
    assert_eq!(permitted, Ok(false));
}

#[tokio::test]
async fn the_audit_is_thrown_away_in_steps_and_its_numbers_are_not_used_again() {
    let place = Place::new();
    let store = place.store().await;
    let many = |db: &Db<'_>| {
        db.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
             INSERT INTO audit (at, event, result) SELECT ?, 'token', 'ok' FROM n",
            (NOW,),
        )
    };
    assert_eq!(store.threads.write(many).await, Ok(2_500));
    let later = AuditRow {
        at: NOW + 60.0,
        ..row(Event::Token)
    };
    store.append(&later).await.unwrap();
    assert_eq!(store.purge_audit(NOW + 60.0).await, Ok(2_500));
    assert_eq!(store.purge_audit(NOW).await, Ok(0));
    assert!(place.try_to_tamper("DELETE FROM audit").is_err());
    assert_eq!(store.purge_audit(NOW + 61.0).await, Ok(1));
    store.append(&later).await.unwrap();
    let rows = store.rows(NOW, 9).await.unwrap();
    let numbers: Vec<_> = rows.iter().map(|recorded| recorded.number).collect();
    assert_eq!(numbers, [2_502]);
}

/// Where the process that is to be killed finds its database.
const PLACE: &str = "ENTRAR_HUB_TEST_OF_KILLING";

/// Not a test: what is killed. It keeps refresh tokens, opens sessions and changes keys, and says what it has the answer to.
#[test]
#[ignore = "a process of another test"]
fn child() {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let keys = Keys::read(&place.join("keys")).unwrap();
        let store = Store::open(&Database::File(place.join("hub.db")), keys)
            .await
            .unwrap();
        let store = store.for_client("client");
        let rekeyed = {
            let (store, keys) = (store.clone(), place.join("keys"));
            tokio::spawn(async move {
                loop {
                    Keys::add_to_file(&keys).unwrap();
                    store.rekey().await.unwrap();
                }
            })
        };
        let first = match newest(&store).await {
            Some((token, _)) => token.parse::<u64>().unwrap() + 1,
            None => {
                sign_in(&store, ADA, "0").await;
                1
            }
        };
        for number in first.. {
            let (_, used) = newest(&store).await.unwrap();
            let kept = store.keep(ADA, Some(number.to_string().into()), used, None);
            assert!(kept.await.unwrap());
            let (_, cookie) = store.open_session(session(1_001, "ada")).await.unwrap();
            let mut out = std::io::stdout().lock();
            writeln!(out, "kept {number} {}", cookie.expose_secret()).unwrap();
            assert!(!rekeyed.is_finished());
        }
    });
}

/// Ends the process, however the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets it say so many things, kills it, and returns all that it has said.
fn killed_after(place: &Place, most: usize) -> Vec<(u64, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::durable::child", "--ignored"])
        .args(["--nocapture", "--test-threads=1"])
        .env(PLACE, place.path(""))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut child = Killed(child);
    let (say, said) = channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if let Some((_, kept)) = line.split_once("kept ")
                && let Some((number, cookie)) = kept.split_once(' ')
            {
                let kept = (number.parse().unwrap(), cookie.to_owned());
                if say.send(kept).is_err() {
                    return;
                }
            }
        }
    });
    let until = Instant::now() + Duration::from_secs(60);
    let mut all = Vec::new();
    while all.len() < most {
        let left = until.saturating_duration_since(Instant::now());
        all.push(said.recv_timeout(left).unwrap());
    }
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    // What it said before it was killed counts, whenever it is read.
    all.extend(said.iter());
    all
}

#[tokio::test]
async fn a_process_that_is_killed_while_it_keeps_tokens_and_changes_keys_loses_nothing() {
    let place = Place::with_a_file();
    for most in [1, 7, 20] {
        let said = killed_after(&place, most);
        let (last, _) = *said.last().as_ref().unwrap();
        let store = place.store().await;
        let (token, _) = newest(&store).await.unwrap();
        assert!(token.parse::<u64>().unwrap() >= *last, "{token} < {last}");
        for (number, cookie) in &said {
            let session = store.session(cookie, NOW).await.unwrap();
            assert!(session.is_ok(), "{number} of {last}");
        }
        // What was interrupted is finished, and then one key is enough.
        store.rekey().await.unwrap();
        store.close().await;
        let keys = std::fs::read_to_string(place.path("keys")).unwrap();
        let first = keys.lines().find(|line| !line.starts_with('#')).unwrap();
        std::fs::write(place.path("keys"), format!("{first}\n")).unwrap();
        let store = place.store().await;
        let (_, cookie) = said.first().unwrap();
        assert!(store.session(cookie, NOW).await.unwrap().is_ok());
        assert_eq!(newest(&store).await.unwrap().0, token);
        store.close().await;
    }
}
