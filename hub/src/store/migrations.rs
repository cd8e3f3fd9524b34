//! The database's schema, in numbered steps. The number of the last one stands in SQLite's file (`PRAGMA user_version`), and in
//! PostgreSQL's table `schema`.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;
use super::database::Connection as _;
use super::postgres::Session;

/// What each step does. One that was ever released is never changed.
const STEPS: [&str; 1] = [include_str!("schema/sqlite-1.sql")];
/// The same for PostgreSQL.
const POSTGRES_STEPS: [&str; STEPS.len()] = [include_str!("schema/postgres-1.sql")];

/// The number of the newest schema.
#[allow(clippy::cast_possible_wrap, reason = "a handful")]
pub(super) const NEWEST: i64 = STEPS.len() as i64;

/// Brings the database to the newest schema.
///
/// # Errors
/// [`StoreError::Newer`], and those of the database.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    if schema_of(connection)? == NEWEST {
        return Ok(());
    }
    // Another process may be at it: under the lock the number is read again.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = schema_of(&transaction)?;
    for (number, step) in (1..).zip(STEPS) {
        if found < number {
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", number)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// The same for PostgreSQL, inside a transaction that keeps other writers away.
///
/// # Errors
/// [`StoreError::Newer`], and those of the database.
pub(super) fn migrate_postgres(session: &Session) -> Result<(), StoreError> {
    session.batch("CREATE TABLE IF NOT EXISTS schema (version BIGINT NOT NULL)")?;
    let mut found = 0;
    session.query("SELECT version FROM schema", &[], &mut |row| {
        found = row.get(0)?;
        Ok(())
    })?;
    is_known(found)?;
    for (number, step) in (1..).zip(POSTGRES_STEPS) {
        if found < number {
            session.batch(step)?;
        }
    }
    if found < NEWEST {
        session.batch(&format!(
            "DELETE FROM schema; INSERT INTO schema VALUES ({NEWEST})"
        ))?;
    }
    Ok(())
}

fn schema_of(connection: &Connection) -> Result<i64, StoreError> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    is_known(found)?;
    Ok(found)
}

fn is_known(found: i64) -> Result<(), StoreError> {
    if found > NEWEST {
        return Err(StoreError::Newer {
            found,
            newest: NEWEST,
        });
    }
    Ok(())
}
