//! What has happened: rows that are only ever added, and deleted when they are older than they are kept for.

use std::str::FromStr;

use entrar_broker::accounts::AccountId;
use entrar_core::time::UnixTime;

use super::columns::Row;
use super::database::Db;
use super::{LocalUser, Store, StoreError, UnknownWord};

/// The most of a text that a row holds, in characters.
const LONGEST: usize = 300;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Somebody asked for a token.
    Token,
    /// Somebody signed in, or tried to.
    SignIn,
    /// Somebody signed out, or was signed out.
    SignOut,
    /// An account was bound to a user, or was to be.
    Bind,
    /// The administrator took a binding away.
    Unbind,
    /// A session was opened through the socket.
    OpenSession,
    /// A launcher opened a session, or wanted to.
    LauncherSession,
    /// A session was ended.
    EndSession,
    /// A pairing code was typed.
    Pair,
    /// A command of the administrator's.
    Command,
}

impl Event {
    const ALL: [Self; 10] = [
        Self::Token,
        Self::SignIn,
        Self::SignOut,
        Self::Bind,
        Self::Unbind,
        Self::OpenSession,
        Self::LauncherSession,
        Self::EndSession,
        Self::Pair,
        Self::Command,
    ];

    /// Its word in the database and in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::SignIn => "sign_in",
            Self::SignOut => "sign_out",
            Self::Bind => "bind",
            Self::Unbind => "unbind",
            Self::OpenSession => "open_session",
            Self::LauncherSession => "launcher_session",
            Self::EndSession => "end_session",
            Self::Pair => "pair",
            Self::Command => "command",
        }
    }
}

impl FromStr for Event {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|it| it.as_str() == word)
            .ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

/// One thing that has happened. No secret is ever in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// When.
    pub at: UnixTime,
    /// What.
    pub event: Event,
    /// Whose account.
    pub account: Option<AccountId>,
    /// Which user of this machine.
    pub user: Option<LocalUser>,
    /// From which session, by its id.
    pub session: Option<String>,
    /// On which machine, or by which launcher.
    pub machine: Option<String>,
    /// For which resource.
    pub resource: Option<String>,
    /// `ok`, or the kind of the error.
    pub result: String,
    /// The tenant's correlation id.
    pub correlation_id: Option<String>,
    /// What else there is to say.
    pub detail: Option<String>,
}

/// A row with its number. Numbers grow, and none is ever used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The number.
    pub number: i64,
    /// What happened.
    pub row: AuditRow,
}

const COLUMNS: &str = "id, at, event, tid, oid, uid, user_name, session, machine, resource, result, correlation_id, detail";

impl Store {
    /// Adds a row; it is on disk when this returns, on this machine's if the database is away.
    ///
    /// # Errors
    /// Those of the database. Then nothing may happen that the row was to record.
    pub async fn append(&self, row: &AuditRow) -> Result<(), StoreError> {
        let copy = row.clone();
        let done = self.threads.write_beside(move |db| append(db, &copy)).await;
        match (&self.shared, done) {
            (Some(shared), Err(StoreError::Unavailable(_))) => shared.journal.append(row).await,
            (_, done) => done,
        }
    }

    /// The newest so many rows since a moment, the oldest of them first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rows(&self, since: UnixTime, newest: u32) -> Result<Vec<Recorded>, StoreError> {
        self.threads.read(move |db| rows(db, since, newest)).await
    }

    /// Deletes the rows from before this moment; how many.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn purge_audit(&self, before: UnixTime) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            // In small steps, between which the hub serves.
            let step = self.threads.write(move |db| delete_some(db, before));
            match step.await? {
                0 => return Ok(deleted),
                some => deleted += some,
            }
        }
    }
}

fn delete_some(db: &Db<'_>, before: UnixTime) -> Result<u64, StoreError> {
    let any = db.row(
        "SELECT 1 FROM audit WHERE at < ? LIMIT 1",
        (before,),
        |_| Ok(()),
    )?;
    if any.is_none() {
        return Ok(0);
    }
    db.execute(
        "UPDATE state SET value = ?1 WHERE name = 'audit_kept_from' AND value < ?1",
        (before,),
    )?;
    let deleted = db.execute(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ? LIMIT 1000)",
        (before,),
    )?;
    Ok(deleted)
}

pub(super) fn append(db: &Db<'_>, row: &AuditRow) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO audit (at, event, tid, oid, uid, user_name, session, machine, resource, result, correlation_id, detail)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.at,
            row.event.as_str(),
            row.account.map(|account| account.tid.to_string()),
            row.account.map(|account| account.oid.to_string()),
            row.user.as_ref().map(|user| user.uid),
            row.user.as_ref().map(|user| &user.name),
            &row.session,
            cut(&row.machine),
            cut(&row.resource),
            &row.result,
            cut(&row.correlation_id),
            cut(&row.detail),
        ),
    )?;
    Ok(())
}

/// Others have written some of the texts, and rows are many. PostgreSQL's texts hold no NUL.
fn cut(text: &Option<String>) -> Option<String> {
    let symbols = text.as_deref()?.chars().take(LONGEST);
    Some(
        symbols
            .map(|it| {
                if it == '\0' {
                    char::REPLACEMENT_CHARACTER
                } else {
                    it
                }
            })
            .collect(),
    )
}

fn rows(db: &Db<'_>, since: UnixTime, newest: u32) -> Result<Vec<Recorded>, StoreError> {
    let mut rows = db.rows(
        &format!("SELECT {COLUMNS} FROM audit WHERE at >= ? ORDER BY id DESC LIMIT ?"),
        (since, newest),
        recorded_at,
    )?;
    rows.reverse();
    Ok(rows)
}

fn recorded_at(row: &Row<'_>) -> Result<Recorded, StoreError> {
    let tid: Option<String> = row.get(3)?;
    let account = tid.map(|_| row.account(3, 4)).transpose()?;
    let uid: Option<u32> = row.get(5)?;
    let user = match uid {
        Some(uid) => Some(LocalUser {
            uid,
            name: row.get(6)?,
        }),
        None => None,
    };
    Ok(Recorded {
        number: row.get(0)?,
        row: AuditRow {
            at: row.time(1)?,
            event: row.parsed(2)?,
            account,
            user,
            session: row.get(7)?,
            machine: row.get(8)?,
            resource: row.get(9)?,
            result: row.get(10)?,
            correlation_id: row.get(11)?,
            detail: row.get(12)?,
        },
    })
}
