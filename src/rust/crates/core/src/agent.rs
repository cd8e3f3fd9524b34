//! What our own clients ask an agent beside tokens: to sign a person in, who is signed in, and to end it.
//!
//! A request is `POST /agent/NAME` through the agent's socket, with a JSON object as its body. The reply has status 200
//! and is `{"result": …}`, or `{"failure": …}` with a [`Failure`]. The names are [`BEGIN`], [`WAIT`], [`ACCEPT`],
//! [`ANSWER`], [`CANCEL`], [`ACCOUNT`], [`SIGN_OUT`], [`OPEN_SESSION`], [`STATUS`] and [`STOP`].

use serde::{Deserialize, Serialize};

use crate::guid::Guid;
pub use crate::question::{Account, Failure, Method, Secret, Wait, Which};

/// What the paths of these requests begin with.
pub const PATH: &str = "/agent/";
/// Begins a sign-in: takes a [`SignIn`], gives an [`Attempt`]. It ends the attempt before it.
pub const BEGIN: &str = "begin";
/// Waits for an attempt's end: takes a [`Wait`], gives a [`Progress`].
pub const WAIT: &str = "wait";
/// Lets an account take the place of the one before: takes a [`Which`], gives a [`Progress`].
pub const ACCEPT: &str = "accept";
/// Hands in where the person's own browser ended: takes an [`Answer`], gives a [`Progress`].
pub const ANSWER: &str = "answer";
/// Ends an attempt: takes a [`Which`], gives `null`.
pub const CANCEL: &str = "cancel";
/// Who is signed in: takes `{}`, gives an [`Account`] or `null`.
pub const ACCOUNT: &str = "account";
/// Signs the person out and ends the agent: takes `{}`, gives the [`Account`] that was signed in, or `null`.
pub const SIGN_OUT: &str = "sign_out";
/// Opens a session for clients that know an address and a cookie only: takes `{}`, gives a [`Session`].
pub const OPEN_SESSION: &str = "open_session";
/// What the agent says of itself: takes `{}`, gives a [`Status`].
pub const STATUS: &str = "status";
/// Ends the agent: takes `{}`, gives `null`.
pub const STOP: &str = "stop";

/// Azure CLI's own app, with which nothing is pasted: to those who watch a tenant that looks like an attack.
pub const AZURE_CLI: Guid = Guid::from_bits(0x04b0_7795_8ddb_461a_bbee_02f9_e1bf_7b46);

/// A sign-in that is wanted.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SignIn {
    /// Entra ID's address, such as `https://login.microsoftonline.com`.
    pub authority: String,
    /// The tenant: a GUID, a domain, or `organizations`.
    pub tenant: String,
    /// The app to sign in to, a GUID.
    pub client_id: String,
    /// How the app proves itself.
    pub credential: Credential,
    /// How the person meets Entra ID.
    pub method: Method,
    /// The user name that the sign-in page begins with.
    pub login_hint: Option<String>,
    /// Whether the page lets the person choose an account though one is signed in to it.
    pub select_account: bool,
}

/// How an app proves itself to Entra ID.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// A public client has nothing to prove itself by.
    Public,
    /// A secret that the app shares with Entra ID.
    Secret(Secret),
    /// The path of a PEM file with a certificate and its private key.
    Certificate(String),
    /// The path of a file that holds an assertion of somebody whom the app trusts, read anew for each request.
    FederatedToken(String),
}

/// A sign-in that has begun.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Attempt {
    /// Names the attempt. Whoever knows it may answer for the person, so that it stays with who began.
    pub id: Secret,
    /// How the person meets Entra ID.
    pub method: Method,
    /// Where the person's browser is to go: for [`Method::Browser`] an address of this machine that serves once, for
    /// [`Method::Paste`] one of Entra ID, for [`Method::DeviceCode`] the page that asks for the code.
    pub address: String,
    /// The code to type there, for [`Method::DeviceCode`].
    pub user_code: Option<String>,
    /// When the attempt ends, in Unix seconds.
    pub expires_at: f64,
}

/// Where the person's own browser ended.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Answer {
    /// The [`Attempt::id`].
    pub id: Secret,
    /// The whole address, which holds the authorization code.
    pub address: Secret,
}

/// How far an attempt is. A failed one is a [`Failure`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Progress {
    /// The person has not answered yet.
    Waiting,
    /// Somebody signed in who is not the one before; [`ACCEPT`] lets them.
    Confirm {
        /// Who signed in.
        account: Account,
        /// Who is signed in until then.
        replaces: Account,
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
    /// The address to ask, of this machine.
    pub address: String,
    /// The directory whose file `rpc_cookie` holds the cookie, newest first.
    pub directory: String,
    /// The cookie.
    pub cookie: Secret,
    /// When the cookie expires, in Unix seconds. A newer one is in the file before.
    pub expires_at: f64,
}

/// What an agent says of itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Status {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it started, in Unix seconds.
    pub since: f64,
    /// After how many seconds without a request it ends.
    pub idle: f64,
    /// Who is signed in.
    pub account: Option<Account>,
    /// The address of other people's clients, once a session was opened for them.
    pub address: Option<String>,
    /// The proxies that it was started with: the variable and the address, without a password.
    pub proxies: Vec<String>,
    /// The certificates that it was started with: the variable and the path.
    pub bundle: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn progress_says_its_state() {
        let waiting = serde_json::to_value(Progress::Waiting).unwrap();
        assert_eq!(waiting, json!({"state": "waiting"}));
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = Secret("canary".to_owned().into());
        let credential = Credential::Secret(secret.clone());
        let shown = format!("{:?} {credential:?}", Which { id: secret });
        assert!(!shown.contains("canary"), "{shown}");
    }
}
