//! The database's schema, in numbered steps. The number of the last one stands in the file (`PRAGMA user_version`).

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// What each step does. One that was ever released is never changed.
const STEPS: [&str; 1] = [include_str!("schema/1.sql")];

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

fn schema_of(connection: &Connection) -> Result<i64, StoreError> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > NEWEST {
        return Err(StoreError::Newer {
            found,
            newest: NEWEST,
        });
    }
    Ok(found)
}
