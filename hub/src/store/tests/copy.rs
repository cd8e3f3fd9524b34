//! Moving from a file to a server.

use std::sync::mpsc::{Sender, channel};

use entrar_broker::accounts::Accounts as _;
use secrecy::SecretString;

use super::super::copy::{TABLES, copy};
use super::super::testing::{ADA, BOB, NOW, Place, account, all_is_there, filled};
use super::super::{AuditRow, Copied, CopyError, Event, Recorded, Store, StoreError};
use super::{newest, row, session, sign_in};

/// A file with something in every table, 450 rows of the audit among it, and an empty database on the server.
struct Move {
    from: Place,
    to: Place,
    secrets: [SecretString; 3],
}

impl Move {
    async fn new() -> Self {
        let from = Place::with_a_file();
        let store = from.store().await;
        let secrets = filled(&store).await;
        let (id, _) = store.open_session(session(1_002, "bob")).await.unwrap();
        store.end_session(&id).await.unwrap();
        for number in 0..450 {
            let detail = Some(format!("row {number}"));
            let row = AuditRow {
                detail,
                ..row(Event::Token)
            };
            store.append(&row).await.unwrap();
        }
        store.close().await;
        let to = Place::new();
        Self { from, to, secrets }
    }

    async fn copy(&self) -> Result<Vec<Copied>, CopyError> {
        self.copy_under(&self.from).await
    }

    /// With the keys of another place.
    async fn copy_under(&self, place: &Place) -> Result<Vec<Copied>, CopyError> {
        let (told, hear) = channel();
        let told: Sender<Copied> = told;
        let tell = move |copied: &Copied| told.send(copied.clone()).unwrap();
        copy(
            &self.from.path("hub.db"),
            &self.to.server(),
            place.keys(),
            7,
            tell,
        )
        .await?;
        Ok(hear.try_iter().collect())
    }

    /// The store on the server, under the keys of the file.
    async fn open(&self) -> Result<Store, StoreError> {
        let opened = Store::open(&self.to.database(), self.from.keys()).await?;
        Ok(opened.for_client("client"))
    }

    fn count(&self, table: &str) -> usize {
        self.to.on_server(&format!("SELECT count(*) FROM {table}"))[0]
            .parse()
            .unwrap()
    }
}

fn written(copied: &[Copied]) -> u64 {
    copied.iter().map(|copied| copied.written).sum()
}

#[test]
fn every_table_and_column_is_copied() {
    let place = Place::with_a_file();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { place.store().await.close().await });
    let file = place.stolen();
    let mut found = file
        .prepare(
            "SELECT t.name || '.' || c.name FROM sqlite_master t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name <> 'state'
             AND c.name NOT LIKE 'leased_%' ORDER BY 1",
        )
        .unwrap();
    let found: Vec<String> = found
        .query_map((), |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut listed: Vec<_> = TABLES
        .iter()
        .flat_map(|table| {
            table
                .columns
                .iter()
                .map(|column| format!("{}.{column}", table.name))
        })
        .collect();
    listed.sort();
    assert_eq!(listed, found);
    for table in &TABLES {
        let key = "SELECT count(*) FROM pragma_table_info(?) WHERE pk > 0";
        let columns: isize = file.query_row(key, [table.name], |row| row.get(0)).unwrap();
        assert_eq!(table.named_by.cast_signed(), columns, "{}", table.name);
    }
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn all_that_was_in_the_file_works_on_the_server() {
    let moved = Move::new().await;
    let before = moved.from.store().await;
    let (token, version) = newest(&before).await.unwrap();
    let rows = before.rows(NOW, 10_000).await.unwrap();
    before.close().await;
    let copied = moved.copy().await.unwrap();
    assert_eq!(copied.len(), TABLES.len());
    for copied in &copied {
        assert!(
            copied.rows > 0 && (copied.written == copied.rows || copied.table == "keys"),
            "{copied:?}"
        );
        assert_eq!(copied.forged, None);
    }
    let store = moved.open().await.unwrap();
    all_is_there(&store, &moved.secrets).await;
    // The same rows under the same numbers, and one that says what was done.
    let mut there = store.rows(NOW, 10_000).await.unwrap();
    let own = there.pop().unwrap();
    assert_eq!(there, rows);
    assert_eq!(own.number, rows.last().unwrap().number + 1);
    assert_eq!(own.row.event, Event::Command);
    let detail = own.row.detail.unwrap();
    assert!(
        detail.starts_with("copied from /") && detail.ends_with("hub.db, by uid 7"),
        "{detail}"
    );
    // Versions go on above the copied ones, and numbers of the audit too.
    assert_eq!(newest(&store).await, Some((token, version)));
    assert!(
        store
            .keep(ADA, Some("newer".into()), version, None)
            .await
            .unwrap()
    );
    let (token, newer) = newest(&store).await.unwrap();
    assert_eq!(token, "newer");
    assert!(newer > version);
    store.append(&row(Event::Token)).await.unwrap();
    let last = store.rows(NOW, 1).await.unwrap();
    assert_eq!(last[0].number, own.number + 1);
    store.close().await;
    let again = moved.copy().await.unwrap_err();
    assert!(matches!(again, CopyError::Finished { .. }), "{again}");
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn versions_and_numbers_that_were_used_in_the_file_are_not_used_again() {
    let moved = Move::new().await;
    let before = moved.from.store().await;
    before.purge_audit(NOW + 1.0).await.unwrap();
    before.close().await;
    moved
        .from
        .tamper("UPDATE state SET value = 123456 WHERE name = 'refresh_token_version'");
    moved.copy().await.unwrap();
    let store = moved.open().await.unwrap();
    sign_in(&store, BOB, "token").await;
    let version = store.newest(BOB).await.unwrap().unwrap().version;
    assert_eq!(version, 124_001);
    store.append(&row(Event::Token)).await.unwrap();
    let rows = store.rows(NOW, 10).await.unwrap();
    let numbers: Vec<_> = rows.iter().map(|recorded| recorded.number).collect();
    assert_eq!(numbers, [451, 452]);
    // What was given up there is given up here.
    assert_eq!(
        moved
            .to
            .on_server("SELECT value FROM state WHERE name = 'audit_kept_from'"),
        [(NOW + 1.0).seconds().to_string()]
    );
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn one_that_was_interrupted_goes_on_and_no_hub_serves_before() {
    let moved = Move::new().await;
    // The server refuses the audit's 300th row: 200 have been committed by then.
    Store::open(&moved.to.database(), moved.from.keys())
        .await
        .unwrap()
        .close()
        .await;
    moved
        .to
        .on_server("ALTER TABLE audit ADD CONSTRAINT stop CHECK (id <> 300)");
    let stopped = moved.copy().await.unwrap_err();
    assert!(matches!(stopped, CopyError::Target { .. }), "{stopped}");
    assert_eq!((moved.count("sessions"), moved.count("audit")), (1, 200));
    let refused = moved.open().await.unwrap_err();
    assert_eq!(refused, StoreError::Unfinished);
    moved.to.on_server("ALTER TABLE audit DROP CONSTRAINT stop");
    moved.to.on_server("DELETE FROM launchers");
    let copied = moved.copy().await.unwrap();
    assert_eq!(written(&copied), 251);
    let audit = copied.last().unwrap();
    assert_eq!((audit.rows, audit.written), (450, 250));
    all_is_there(&moved.open().await.unwrap(), &moved.secrets).await;
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn a_row_that_was_changed_is_told_and_nothing_is_overwritten() {
    let moved = Move::new().await;
    Store::open(&moved.to.database(), moved.from.keys())
        .await
        .unwrap()
        .close()
        .await;
    moved
        .to
        .on_server("ALTER TABLE audit ADD CONSTRAINT stop CHECK (id <> 300)");
    moved.copy().await.unwrap_err();
    moved.to.on_server("UPDATE bindings SET user_name = 'eve'");
    let differs = moved.copy().await.unwrap_err();
    match &differs {
        CopyError::Differs { table, row, column } => {
            assert_eq!((*table, *column), ("bindings", "user_name"));
            assert_eq!(*row, ADA.to_string());
        }
        other => panic!("{other}"),
    }
    assert_eq!(
        moved.to.on_server("SELECT user_name FROM bindings"),
        ["eve"]
    );
    moved.to.on_server("UPDATE bindings SET user_name = 'ada'");
    // One that is there alone is told too.
    let own = "INSERT INTO accounts (tid, oid) VALUES ('x', 'y')";
    moved.to.on_server(own);
    let more = moved.copy().await.unwrap_err();
    assert!(
        matches!(
            more,
            CopyError::More {
                table: "accounts",
                here: 1,
                there: 2
            }
        ),
        "{more}"
    );
    assert_eq!(moved.open().await.unwrap_err(), StoreError::Unfinished);
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn a_row_that_no_key_has_made_is_copied_and_told() {
    let moved = Move::new().await;
    moved
        .from
        .tamper("UPDATE sessions SET uid = 1002, user_name = 'eve'");
    let copied = moved.copy().await.unwrap();
    let forged: Vec<_> = copied
        .iter()
        .filter(|copied| copied.forged.is_some())
        .collect();
    assert_eq!(forged.len(), 1);
    assert!(matches!(
        forged[0].forged,
        Some(StoreError::Forged {
            table: "sessions",
            ..
        })
    ));
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn a_server_that_holds_something_else_is_refused() {
    let moved = Move::new().await;
    let other = moved.open().await.unwrap();
    sign_in(&other, account(3), "another").await;
    other.close().await;
    let refused = moved.copy().await.unwrap_err();
    assert!(
        matches!(
            refused,
            CopyError::NotEmpty {
                table: "accounts",
                ..
            }
        ),
        "{refused}"
    );
    assert_eq!(moved.count("refresh_tokens"), 1);
    moved.open().await.unwrap();
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn a_server_that_was_written_under_another_key_is_refused() {
    let moved = Move::new().await;
    moved.to.store().await.close().await;
    let refused = moved.copy().await.unwrap_err();
    let is_wrong = matches!(
        refused,
        CopyError::Target {
            error: StoreError::WrongKey { .. },
            ..
        }
    );
    assert!(is_wrong, "{refused}");
    let refused = moved.copy_under(&moved.to).await.unwrap_err();
    let is_wrong = matches!(
        refused,
        CopyError::Source {
            error: StoreError::WrongKey { .. },
            ..
        }
    );
    assert!(is_wrong, "{refused}");
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn a_file_that_a_hub_has_open_and_one_that_is_not_there_are_refused() {
    let moved = Move::new().await;
    let serving = moved.from.store().await;
    let refused = moved.copy().await.unwrap_err();
    assert!(matches!(refused, CopyError::InUse(_)), "{refused}");
    serving.close().await;
    moved.copy().await.unwrap();
    std::fs::remove_file(moved.from.path("hub.db")).unwrap();
    let refused = moved.copy().await.unwrap_err();
    assert!(matches!(refused, CopyError::Missing(_)), "{refused}");
    assert!(!moved.from.path("hub.db").exists());
}

#[tokio::test]
#[ignore = "needs a server: tests/hub/postgres.py"]
async fn the_character_that_postgresql_cannot_hold_is_replaced_in_the_audit_alone() {
    let moved = Move::new().await;
    moved.from.tamper(
        "INSERT INTO audit (at, event, result, resource)
         SELECT max(at) + 1, 'token', 'ok', 'a' || char(0) || 'b' FROM audit;
         UPDATE accounts SET name = 'x' || char(0)",
    );
    let refused = moved.copy().await.unwrap_err();
    assert!(
        matches!(
            refused,
            CopyError::Null {
                table: "accounts",
                ..
            }
        ),
        "{refused}"
    );
    moved.from.tamper("UPDATE accounts SET name = 'x'");
    moved.copy().await.unwrap();
    let rows = moved.open().await.unwrap().rows(NOW, 9).await.unwrap();
    let replaced = |it: &Recorded| it.row.resource.as_deref() == Some("a\u{FFFD}b");
    assert!(rows.iter().any(replaced), "{rows:?}");
}
