//! What our own clients ask a hub beside tokens, through its socket: who they are there, to sign in and out, and to open
//! a session for other people's clients.
//!
//! A request is `POST /hub/NAME` with a JSON object as its body. Whose it is the kernel says: the user that the process at
//! the other end of the socket runs as. The reply has status 200 and is `{"result": …}`, or `{"failure": …}` with a
//! [`Failure`]. The names are [`ME`], [`BEGIN`], [`WAIT`], [`PAIR`], [`CANCEL`], [`SIGN_OUT`] and [`OPEN_SESSION`].

use serde::{Deserialize, Serialize};

pub use crate::question::{Account, Failure, Method, Secret, Wait, Which};

/// What the paths of these requests begin with.
pub const PATH: &str = "/hub/";
/// Who asks, and who is signed in for them: takes `{}`, gives a [`Me`].
pub const ME: &str = "me";
/// Begins a sign-in: takes `{}`, gives a [`Begun`].
pub const BEGIN: &str = "begin";
/// Waits until something happens: takes a [`Wait`], gives a [`Progress`].
pub const WAIT: &str = "wait";
/// Hands in the code that the hub's page shows: takes a [`Pair`], gives a [`Progress`]. After a wrong one that is
/// [`Progress::CodeWanted`] again, and after the last one a failure.
pub const PAIR: &str = "pair";
/// Ends an attempt: takes a [`Which`], gives `null`.
pub const CANCEL: &str = "cancel";
/// Signs the person out everywhere: takes `{}`, gives a [`SignedOut`].
pub const SIGN_OUT: &str = "sign_out";
/// Opens a session for clients that know an address and a cookie only: takes `{}`, gives a [`Session`]. Nobody needs to be
/// signed in for it: whose tokens it gets is looked up at each exchange.
pub const OPEN_SESSION: &str = "open_session";

/// What came of a sign-out.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SignedOut {
    /// Who was signed in, if anybody was.
    pub account: Option<Account>,
    /// When it holds on every hub that shares the database, in Unix seconds; without it it holds already.
    pub holds_at: Option<f64>,
}

/// Who asks, as the hub sees them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Me {
    /// The name of the local user.
    pub user: String,
    /// The local user's number.
    pub uid: u32,
    /// The machine's name, as the hub's pages show it.
    pub machine: String,
    /// The https address of the hub's page.
    pub page: String,
    /// Who is signed in for this user; [`Account::method`] is always [`Method::Browser`].
    pub account: Option<Account>,
    /// How a sign-in is bound to this user.
    pub binding: Binding,
    /// A text that no two sign-ins have in common, that only this user's processes are told, and that is gone after a
    /// sign-out: what is kept of a session is kept under it. `None` where nobody is signed in.
    pub mark: Option<Secret>,
}

/// How a person who signs in on the hub's page is bound to a local user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// By the administrator's rule or table: the account says which user it is.
    Mapped,
    /// By a code, which the page shows and the person types into the session that asked.
    Paired,
}

/// A sign-in that has begun.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Begun {
    /// Names the attempt. It stays with who began.
    pub id: Secret,
    /// The page to open. Where the sign-in is bound by a code, it holds a ticket of this attempt.
    pub address: String,
    /// When the attempt ends, in Unix seconds.
    pub expires_at: f64,
    /// Whether a code will be asked for.
    pub pairs: bool,
}

/// The code that the hub's page shows.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Pair {
    /// The [`Begun::id`].
    pub id: Secret,
    /// The code, as the person has typed it.
    pub code: Secret,
}

/// How far an attempt is. A failed one is a [`Failure`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Progress {
    /// The person has not signed in on the page yet.
    Waiting,
    /// The page shows a code, which is to be handed in by [`PAIR`].
    CodeWanted {
        /// How many codes may still be tried.
        tries_left: u32,
    },
    /// The person is signed in.
    SignedIn {
        /// Who it is.
        account: Account,
    },
}

/// A session of clients that know an address and a cookie only.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Session {
    /// The cookie. No file holds it yet.
    pub cookie: Secret,
    /// The address to ask: of this machine, or of https.
    pub address: String,
    /// When the cookie expires, in Unix seconds.
    pub expires_at: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_on_the_wire_has_these_names() {
        let account = json!({
            "username": "ada@example.com", "name": "Ada", "tenant": "t", "object_id": "o", "client_id": "c",
            "authority": "https://login.microsoftonline.com", "method": "browser", "since": 1.0
        });
        for (value, expected) in [
            (
                serde_json::to_value(Progress::Waiting),
                json!({"state": "waiting"}),
            ),
            (
                serde_json::to_value(Progress::CodeWanted { tries_left: 3 }),
                json!({"state": "code_wanted", "tries_left": 3}),
            ),
            (
                serde_json::to_value(Progress::SignedIn {
                    account: serde_json::from_value(account.clone()).unwrap(),
                }),
                json!({"state": "signed_in", "account": account}),
            ),
            (serde_json::to_value(Binding::Mapped), json!("mapped")),
            (serde_json::to_value(Binding::Paired), json!("paired")),
        ] {
            assert_eq!(value.unwrap(), expected);
        }
        let me = json!({
            "user": "ada", "uid": 1000, "machine": "node1", "page": "https://hub.example", "account": account,
            "binding": "mapped"
        });
        let me: Me = serde_json::from_value(me).unwrap();
        assert_eq!(me.account.unwrap().method, Method::Browser);
        assert!(me.mark.is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = || Secret("canary".to_owned().into());
        let pair = Pair {
            id: secret(),
            code: secret(),
        };
        let session = Session {
            cookie: secret(),
            address: "https://hub.example".to_owned(),
            expires_at: 0.0,
        };
        let shown = format!("{pair:?} {session:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
