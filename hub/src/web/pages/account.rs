//! What the account page shows.

use entrar_core::error::Error;
use entrar_core::time::UnixTime;
use secrecy::SecretString;

use super::Person;

/// The page of somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Account {
    /// Who has signed in.
    pub person: Person,
    /// The local user that the account is bound to.
    pub user: String,
    /// That user's uid.
    pub uid: u32,
    /// Since when.
    pub signed_in_at: UnixTime,
    /// Whether Entra ID wants to see the person again before there are more tokens.
    pub must_sign_in: bool,
    /// The local user's sessions.
    pub sessions: Vec<Session>,
    /// A resource that the person has tried just now.
    pub tried: Option<Tried>,
    /// What the person has done just now.
    pub notice: Option<Notice>,
    /// The token of every form.
    pub csrf: SecretString,
}

/// A session, which holds a cookie.
#[derive(Clone, Debug)]
pub struct Session {
    /// By which it is ended; the cookie's first field.
    pub id: String,
    /// Where it was opened.
    pub machine: String,
    /// Who has opened it.
    pub opened_by: OpenedBy,
    /// When.
    pub opened_at: UnixTime,
    /// When it last asked for a token.
    pub last_used: Option<UnixTime>,
    /// When it ends by itself.
    pub expires_at: UnixTime,
}

/// Who has opened a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenedBy {
    /// A process of the local user, through the socket.
    User,
    /// The launcher of this name.
    Launcher(String),
}

/// How it went to ask for a token, which is never shown.
#[derive(Clone, Debug)]
pub struct Tried {
    /// As the person typed it.
    pub resource: String,
    /// When the token expires, or why there is none.
    pub outcome: Result<UnixTime, Error>,
}

/// What the person has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Ended one session.
    SessionEnded,
    /// Tried to end a session that was not there any more.
    SessionGone,
    /// Ended this many sessions.
    SessionsEnded(u64),
}

impl Notice {
    /// It in words.
    pub(super) fn words(self) -> String {
        match self {
            Self::SessionEnded => {
                "The session was ended. Its cookie is refused from now on.".to_owned()
            }
            Self::SessionGone => "That session had ended already.".to_owned(),
            Self::SessionsEnded(0) => "There was no session to end.".to_owned(),
            Self::SessionsEnded(1) => {
                "One session was ended. Its cookie is refused from now on.".to_owned()
            }
            Self::SessionsEnded(count) => {
                format!("{count} sessions were ended. Their cookies are refused from now on.")
            }
        }
    }
}
