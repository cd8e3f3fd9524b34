//! Which local user an account is bound to: one to one, and never changed but by the administrator, who unbinds.

use std::str::FromStr;

use entrar_broker::accounts::AccountId;
use entrar_core::time::UnixTime;
use tokio::time::Instant;

pub use crate::local_user::LocalUser;

use super::columns::{Parameters, Row, Value};
use super::database::Db;
use super::{Store, StoreError, UnknownWord, accounts, sessions};
use crate::seal::Fields;

const TABLE: &str = "bindings";
const COLUMNS: &str = "tid, oid, uid, user_name, bound_by, bound_at, mac, key_id";

/// What bound an account to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundBy {
    /// The administrator's rule on the user principal name.
    Rule,
    /// The administrator's table.
    Table,
    /// A code that was typed into the user's session.
    Pairing,
}

impl BoundBy {
    /// Its word in the database and in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Table => "table",
            Self::Pairing => "pairing",
        }
    }
}

impl FromStr for BoundBy {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        [Self::Rule, Self::Table, Self::Pairing]
            .into_iter()
            .find(|it| it.as_str() == word)
            .ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

/// An account and the user that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The account.
    pub account: AccountId,
    /// The user.
    pub user: LocalUser,
    /// What bound them.
    pub by: BoundBy,
    /// Since when.
    pub bound_at: UnixTime,
}

/// What came of binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// They are bound from now on.
    New,
    /// They were bound already.
    Already,
    /// The account, the uid or the name is bound to something else: all such bindings. Nothing was changed.
    Conflict(Vec<Binding>),
}

impl Store {
    /// Binds an account to a user, unless one of them, or only the uid or the name, is bound otherwise.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Forged`] for a binding that is in the way.
    pub async fn bind(&self, binding: &Binding) -> Result<Bound, StoreError> {
        let binding = binding.clone();
        self.threads.write(move |db| bind(db, &binding)).await
    }

    /// The account of a uid.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Forged`].
    pub async fn binding_of_user(&self, uid: u32) -> Result<Option<Binding>, StoreError> {
        let run = move |db: &Db<'_>| one(db, "uid = ?", (uid,));
        let asked = Instant::now();
        let said = self.threads.look_up(run).await;
        match self.memory() {
            Some(memory) => memory.binding(uid, (asked, said)),
            None => said,
        }
    }

    /// The user of an account.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Forged`].
    pub async fn binding_of_account(
        &self,
        account: AccountId,
    ) -> Result<Option<Binding>, StoreError> {
        let run = move |db: &Db<'_>| binding_of_account(db, account);
        self.threads.read(run).await
    }

    /// Unbinds an account, ends its user's sessions and its own in browsers, and deletes its refresh token. Whether it
    /// was bound. A forged binding is removed like any other.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn unbind(&self, account: AccountId) -> Result<bool, StoreError> {
        let run = move |db: &Db<'_>| {
            let uid: Option<u32> = db.row(
                "DELETE FROM bindings WHERE tid = ? AND oid = ? RETURNING uid",
                (account.tid.to_string(), account.oid.to_string()),
                |row| row.get(0),
            )?;
            if let Some(uid) = uid {
                sessions::end(db, "uid = ?", &(uid,))?;
            }
            accounts::delete(db, account)?;
            Ok(uid)
        };
        let unbound = self.threads.write(run).await;
        if let Some(memory) = self.memory() {
            memory.forget_account(account);
            memory.forget_binding(account);
            if let Ok(Some(uid)) = unbound {
                memory.forget_sessions(Some(uid));
            }
        }
        Ok(unbound?.is_some())
    }
}

pub(super) fn binding_of_account(
    db: &Db<'_>,
    account: AccountId,
) -> Result<Option<Binding>, StoreError> {
    let id = (account.tid.to_string(), account.oid.to_string());
    one(db, "tid = ? AND oid = ?", id)
}

fn bind(db: &Db<'_>, binding: &Binding) -> Result<Bound, StoreError> {
    let Binding {
        account,
        user,
        by,
        bound_at,
    } = binding;
    let (tid, oid) = (account.tid.to_string(), account.oid.to_string());
    let found = select(
        db,
        "(tid = ? AND oid = ?) OR uid = ? OR user_name = ?",
        (&tid, &oid, user.uid, &user.name),
    )?;
    match found.as_slice() {
        [] => {}
        [only] if only.account == *account && only.user == *user => return Ok(Bound::Already),
        _ => return Ok(Bound::Conflict(found)),
    }
    let mac = db.mac(&fields(binding))?;
    db.execute(
        &format!("INSERT INTO bindings ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
        (
            tid,
            oid,
            user.uid,
            &user.name,
            by.as_str(),
            bound_at,
            mac.mac,
            mac.key_id,
        ),
    )?;
    Ok(Bound::New)
}

/// Whether bindings that meet a condition were made with the keys.
///
/// # Errors
/// [`StoreError::Forged`]; those of the database.
pub(super) fn check(
    db: &Db<'_>,
    condition: &str,
    parameters: &[Value<'_>],
) -> Result<(), StoreError> {
    select(db, condition, parameters).map(drop)
}

/// Signs bindings anew that are not under the first key; how many.
pub(super) fn rekey(db: &Db<'_>, first: &str) -> Result<u64, StoreError> {
    let found = select(db, "key_id <> ? LIMIT 100", (first,))?;
    for binding in &found {
        let mac = db.mac(&fields(binding))?;
        db.execute(
            "UPDATE bindings SET mac = ?, key_id = ? WHERE uid = ?",
            (mac.mac, mac.key_id, binding.user.uid),
        )?;
    }
    Ok(found.len() as u64)
}

fn one(
    db: &Db<'_>,
    condition: &str,
    parameters: impl Parameters,
) -> Result<Option<Binding>, StoreError> {
    Ok(select(db, condition, parameters)?.pop())
}

fn select(
    db: &Db<'_>,
    condition: &str,
    parameters: impl Parameters,
) -> Result<Vec<Binding>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM bindings WHERE {condition}");
    let rows = db.rows(&sql, parameters, |row| Ok((binding_at(row)?, row.mac(6)?)))?;
    rows.into_iter()
        .map(|(binding, mac)| {
            let name = binding.account.to_string();
            db.verify(TABLE, &name, &fields(&binding), &mac)?;
            Ok(binding)
        })
        .collect()
}

fn binding_at(row: &Row<'_>) -> Result<Binding, StoreError> {
    Ok(Binding {
        account: row.account(0, 1)?,
        user: row.user(2)?,
        by: row.parsed(4)?,
        bound_at: row.time(5)?,
    })
}

fn fields(binding: &Binding) -> Fields {
    let Binding {
        account,
        user,
        by,
        bound_at,
    } = binding;
    Fields::of(TABLE)
        .text(&account.tid.to_string())
        .text(&account.oid.to_string())
        .integer(user.uid.into())
        .text(&user.name)
        .text(by.as_str())
        .time(*bound_at)
}
