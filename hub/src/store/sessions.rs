//! The sessions of local users, each with a cookie. A session is of a user, not of an account, which is looked up at each
//! exchange: so a session may be opened before the sign-in.

use std::fmt;

use entrar_core::cookie::{BadCookie, Cookie, CookieKey, Source};
use entrar_core::time::UnixTime;
use secrecy::ExposeSecret as _;
use secrecy::SecretString;
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use super::columns::{Parameters, Row, Value};
use super::database::Db;
use super::{LocalUser, Store, StoreError};
use crate::seal::{Fields, hash};

const TABLE: &str = "sessions";
/// How often a session's last use is written down, in seconds.
const BETWEEN_USES: f64 = 60.0;
const COLUMNS: &str = "id, cookie_hash, uid, user_name, launcher, machine, opened_at, expires_at, last_used, mac, key_id";

/// Names a session. It is no secret, and worth nothing without the rest of the cookie.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for SessionId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Who asked for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenedBy {
    /// A process of the user, through the socket.
    Socket,
    /// The launcher of this name.
    Launcher(String),
}

/// A session to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// Whose it is.
    pub user: LocalUser,
    /// Who asked for it.
    pub opened_by: OpenedBy,
    /// Where it runs, for show.
    pub machine: String,
    /// Now.
    pub opened_at: UnixTime,
    /// When its cookie expires; whole seconds count.
    pub expires_at: UnixTime,
}

/// A session that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: LocalUser,
    /// Who asked for it.
    pub opened_by: OpenedBy,
    /// Where it runs, for show.
    pub machine: String,
    /// Since when.
    pub opened_at: UnixTime,
    /// When its cookie expires.
    pub expires_at: UnixTime,
    /// When it was last used, give or take a minute; the time of its opening if it was not.
    pub last_used: UnixTime,
}

impl Store {
    /// Opens a session; the result is its id and its cookie, which is not kept.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn open_session(
        &self,
        new: NewSession,
    ) -> Result<(SessionId, SecretString), StoreError> {
        let id = SessionId(entrar_broker::random::text::<16>()?);
        let expires_at = new.expires_at.floor();
        // The signature of a key that nobody has is 256 random bits.
        let cookie = CookieKey::generate()?.mint(id.as_str(), expires_at);
        let cookie_hash = hash(cookie.expose_secret());
        let session = Session {
            id: id.clone(),
            user: new.user,
            opened_by: new.opened_by,
            machine: new.machine,
            opened_at: new.opened_at,
            expires_at,
            last_used: new.opened_at,
        };
        self.threads
            .write(move |db| insert(db, &session, &cookie_hash))
            .await?;
        Ok((id, cookie))
    }

    /// The session of a cookie, or why there is none.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Forged`].
    pub async fn session(
        &self,
        cookie: &str,
        now: UnixTime,
    ) -> Result<Result<Session, BadCookie>, StoreError> {
        let Some((id, _)) = cookie.split_once('|') else {
            return Ok(Err(BadCookie::Forged));
        };
        let (id, given) = (SessionId::from(id), hash(cookie));
        // Nobody can tell from its date whether a cookie was ever good; it only words the refusal.
        let refusal = match Cookie::parse(cookie, Source::Variable("")) {
            Some(cookie) if cookie.is_expired(now) => BadCookie::Expired,
            _ => BadCookie::Forged,
        };
        let run = move |db: &Db<'_>| {
            let found = select(db, "id = ?", (id.as_str(),))?.pop();
            Ok(match found {
                Some((_, cookie_hash)) if !is_same(&cookie_hash, &given) => Err(BadCookie::Forged),
                Some((session, _)) if session.expires_at <= now => Err(BadCookie::Expired),
                Some((session, _)) => Ok(session),
                None if has_ended(db, &id, &given)? => Err(BadCookie::Ended),
                None => Err(refusal),
            })
        };
        let asked = Instant::now();
        let said = self.threads.look_up(run).await;
        let Some(memory) = self.memory() else {
            return said;
        };
        let (said, refused) = match said {
            Ok(Ok(session)) => (Ok(Some(session)), refusal),
            Ok(Err(refused)) => (Ok(None), refused),
            Err(error) => (Err(error), refusal),
        };
        let found = memory.session(given, (asked, said))?;
        Ok(match found {
            Some(session) if session.expires_at <= now => Err(BadCookie::Expired),
            found => found.ok_or(refused),
        })
    }

    /// The sessions of a user that are open, the oldest first.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Forged`].
    pub async fn sessions_of_user(
        &self,
        uid: u32,
        now: UnixTime,
    ) -> Result<Vec<Session>, StoreError> {
        let run = move |db: &Db<'_>| {
            select(
                db,
                "uid = ? AND expires_at > ? ORDER BY opened_at, id",
                (uid, now),
            )
        };
        let found = self.threads.read(run).await?;
        Ok(found.into_iter().map(|(session, _)| session).collect())
    }

    /// All sessions that are open, the oldest first.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Forged`].
    pub async fn sessions(&self, now: UnixTime) -> Result<Vec<Session>, StoreError> {
        let run = move |db: &Db<'_>| select(db, "expires_at > ? ORDER BY opened_at, id", (now,));
        let found = self.threads.read(run).await?;
        Ok(found.into_iter().map(|(session, _)| session).collect())
    }

    /// Ends a session; whether there was one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_session(&self, id: &SessionId) -> Result<bool, StoreError> {
        let wanted = id.clone();
        let run = move |db: &Db<'_>| end(db, "id = ?", &(wanted.as_str(),));
        let ended = self.threads.write(run).await;
        if let Some(memory) = self.memory() {
            memory.forget_session(id);
        }
        Ok(ended? > 0)
    }

    /// Ends all sessions of a user; how many.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_sessions_of_user(&self, uid: u32) -> Result<u64, StoreError> {
        let run = move |db: &Db<'_>| end(db, "uid = ?", &(uid,));
        let ended = self.threads.write(run).await;
        if let Some(memory) = self.memory() {
            memory.forget_sessions(Some(uid));
        }
        ended
    }

    /// Ends everything that is open: all sessions, those in browsers, sign-ins and pairings under way, and permissions to
    /// pair. How many sessions there were, browsers' included.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_all_sessions(&self) -> Result<u64, StoreError> {
        let run = |db: &Db<'_>| {
            let ended = end(db, "TRUE", &())?;
            let in_browsers = db.execute("DELETE FROM web_sessions", ())?;
            for table in ["sign_ins", "pairings", "permits", "launchers"] {
                db.execute(&format!("DELETE FROM {table}"), ())?;
            }
            Ok(ended + in_browsers)
        };
        let ended = self.threads.write(run).await;
        if let Some(memory) = self.memory() {
            memory.forget_sessions(None);
        }
        ended
    }

    /// Notes that a session was used, at most once a minute.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Forged`].
    pub async fn touch_session(&self, id: &SessionId, now: UnixTime) -> Result<(), StoreError> {
        let id = id.clone();
        let run = move |db: &Db<'_>| {
            let latest = now - BETWEEN_USES;
            let condition = "id = ? AND last_used <= ?";
            let found = select(db, condition, (id.as_str(), latest))?.pop();
            let Some((mut session, cookie_hash)) = found else {
                return Ok(());
            };
            let before = std::mem::replace(&mut session.last_used, now);
            let mac = db.mac(&fields(&session, &cookie_hash))?;
            // Whoever has noted or signed it meanwhile has done so for what was there then.
            db.execute(
                "UPDATE sessions SET last_used = ?, mac = ?, key_id = ? WHERE id = ? AND last_used = ?",
                (now, mac.mac, mac.key_id, id.as_str(), before),
            )?;
            Ok(())
        };
        // Everybody's first request of a morning does: none of them is to wait for the others, or for the disk.
        self.threads.write_loosely(run).await
    }
}

/// Whether sessions that meet a condition were made with the keys.
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

/// Signs sessions anew that are not under the first key; how many.
pub(super) fn rekey(db: &Db<'_>, first: &str) -> Result<u64, StoreError> {
    let found = select(db, "key_id <> ? LIMIT 100", (first,))?;
    for (session, cookie_hash) in &found {
        let mac = db.mac(&fields(session, cookie_hash))?;
        db.execute(
            "UPDATE sessions SET mac = ?, key_id = ? WHERE id = ? AND last_used = ?",
            (mac.mac, mac.key_id, session.id.as_str(), session.last_used),
        )?;
    }
    Ok(found.len() as u64)
}

fn insert(db: &Db<'_>, session: &Session, cookie_hash: &[u8; 32]) -> Result<(), StoreError> {
    let mac = db.mac(&fields(session, cookie_hash))?;
    db.execute(
        &format!("INSERT INTO sessions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
        (
            session.id.as_str(),
            cookie_hash,
            session.user.uid,
            &session.user.name,
            launcher(session),
            &session.machine,
            session.opened_at,
            session.expires_at,
            session.last_used,
            mac.mac,
            mac.key_id,
        ),
    )?;
    Ok(())
}

fn launcher(session: &Session) -> Option<&str> {
    match &session.opened_by {
        OpenedBy::Socket => None,
        OpenedBy::Launcher(name) => Some(name),
    }
}

/// Ends those that meet a condition, whoever wrote them; how many.
pub(super) fn end(
    db: &Db<'_>,
    condition: &str,
    parameters: &impl Parameters,
) -> Result<u64, StoreError> {
    db.execute(
        &format!(
            "INSERT INTO ended_sessions SELECT id, cookie_hash, expires_at FROM sessions WHERE {condition}
             ON CONFLICT DO NOTHING"
        ),
        parameters,
    )?;
    let ended = db.execute(
        &format!("DELETE FROM sessions WHERE {condition}"),
        parameters,
    )?;
    Ok(ended)
}

fn has_ended(db: &Db<'_>, id: &SessionId, given: &[u8; 32]) -> Result<bool, StoreError> {
    let found: Option<[u8; 32]> = db.row(
        "SELECT cookie_hash FROM ended_sessions WHERE id = ?",
        (id.as_str(),),
        |row| row.get(0),
    )?;
    Ok(found.is_some_and(|cookie_hash| is_same(&cookie_hash, given)))
}

fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

fn select(
    db: &Db<'_>,
    condition: &str,
    parameters: impl Parameters,
) -> Result<Vec<(Session, [u8; 32])>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE {condition}");
    let rows = db.rows(&sql, parameters, |row| {
        let mac = row.mac(9)?;
        Ok((session_at(row)?, row.get(1)?, mac))
    })?;
    rows.into_iter()
        .map(|(session, cookie_hash, mac)| {
            let fields = fields(&session, &cookie_hash);
            db.verify(TABLE, session.id.as_str(), &fields, &mac)?;
            Ok((session, cookie_hash))
        })
        .collect()
}

fn session_at(row: &Row<'_>) -> Result<Session, StoreError> {
    let launcher: Option<String> = row.get(4)?;
    Ok(Session {
        id: SessionId(row.get(0)?),
        user: row.user(2)?,
        opened_by: launcher.map_or(OpenedBy::Socket, OpenedBy::Launcher),
        machine: row.get(5)?,
        opened_at: row.time(6)?,
        expires_at: row.time(7)?,
        last_used: row.time(8)?,
    })
}

fn fields(session: &Session, cookie_hash: &[u8; 32]) -> Fields {
    Fields::of(TABLE)
        .text(session.id.as_str())
        .bytes(cookie_hash)
        .integer(session.user.uid.into())
        .text(&session.user.name)
        .optional(launcher(session))
        .text(&session.machine)
        .time(session.opened_at)
        .time(session.expires_at)
        .time(session.last_used)
}
