//! What to do on Connect where there is no token: who attaches an integration, and who mends one.

use entrar_core::error::{Error, Kind};

use crate::remedy::{self, Reader};

/// Where no visitor is known.
const IN_A_SESSION: &str = "Ask within a visitor's session, or pass it: `session = session` in Shiny, `session = req` in plumber. For the content's own integration say `identity = \"content\"`.";

const ATTACH: &str = "In the content's settings on Connect, under Access, attach an OAuth integration for this resource; an administrator of Connect sets integrations up.";

/// What usually helps on Connect.
#[must_use]
pub fn usual(kind: Kind, is_viewer: bool) -> &'static str {
    match kind {
        Kind::NoSession => IN_A_SESSION,
        Kind::ServerTooOld => {
            "Ask the administrator of Posit Connect for a version with OAuth integrations."
        }
        Kind::BadCookie => {
            "Restart the content. If that does not help, ask the administrator of Posit Connect."
        }
        Kind::Unreachable => {
            "Check CONNECT_SERVER and the network; for https also REQUESTS_CA_BUNDLE."
        }
        Kind::BadReply => {
            "Check that CONNECT_SERVER is the address of Posit Connect, and that no proxy stands in between."
        }
        Kind::ServerError => {
            "Try again; if it stays, give this message to the administrator of Posit Connect."
        }
        Kind::SignInRequired if is_viewer => {
            "The visitor has to load the page again, and to sign in where Connect asks for it."
        }
        Kind::SignInRequired => {
            "Ask the administrator of Posit Connect: the integration's own sign-in has to be renewed."
        }
        Kind::ConsentRequired => ATTACH,
        Kind::Misconfigured => {
            "Ask the administrator of Posit Connect to check the OAuth integration."
        }
        // The same wherever one is.
        Kind::BadResource
        | Kind::Timeout
        | Kind::AccessDenied
        | Kind::Throttled
        | Kind::Unavailable => remedy::usual(kind, None, Reader::R),
    }
}

/// The error with what to do about it, unless it knows better.
#[must_use]
pub fn advised(error: Error, is_viewer: bool) -> Error {
    if error.details().remedy.is_some() {
        return error;
    }
    let words = usual(error.kind(), is_viewer);
    error.remedied(Some(words))
}
