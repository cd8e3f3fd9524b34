//! What to do where there is no token: one row for each kind of failure and whoever opened the session, in the words of
//! R and of git. The reports print them too.

use entrar_core::error::{Error, Kind};
use entrar_core::oauth::headline;

use crate::origin::{Door, Origin, Session};

/// Whom a remedy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Somebody at the R console, or who reads what a script has printed.
    R,
    /// Somebody who runs git.
    Git,
}

/// What to do about this failure, in whole sentences. `origin` is who opened the session, or would open one here.
#[must_use]
pub fn remedy(error: &Error, origin: Option<Origin>, reader: Reader) -> String {
    match &error.details().remedy {
        Some(remedy) => remedy.clone(),
        None => usual(error.kind(), origin, reader).to_owned(),
    }
}

/// What usually helps against this kind of failure.
#[must_use]
pub fn usual(kind: Kind, origin: Option<Origin>, reader: Reader) -> &'static str {
    let (r, git) = row(kind, origin);
    match reader {
        Reader::R => r,
        Reader::Git => git,
    }
}

/// The same error as it is known in the end. An agent that was killed during a request has left no reply, and is not running
/// any more, and knows no app but the person's own. Where a session goes through the socket of a hub there is neither an address nor a cookie to look at.
pub(crate) fn advised(session: &Session, error: Error) -> Error {
    if error.kind() == Kind::Unreachable && session.is_deserted() {
        let server = match session.door() {
            Door::Address(address) => format!("your agent ({address})"),
            Door::Socket(_) => session.server(),
        };
        return Error::new(Kind::NoSession, format!("{server} is not running any more"));
    }
    // The app is the one that the person chose to sign in to.
    if session.origin() == Origin::Agent && error.message() == headline(Kind::Misconfigured) {
        let what = "the app that you signed in with, or its tenant, is not set up for this";
        return Error::with(error.kind(), what, error.details().clone())
            .with_outlook(error.outlook());
    }
    let is_hubs_socket =
        session.origin() == Origin::Hub && matches!(session.door(), Door::Socket(_));
    if !is_hubs_socket || error.details().remedy.is_some() {
        return error;
    }
    let words = match error.kind() {
        Kind::ServerTooOld => "Ask the administrator of the hub for a newer version.",
        Kind::BadCookie => "The hub refuses your user: ask its administrator.",
        Kind::Unreachable => {
            "The hub is not running, or its socket is closed to your user: ask its administrator."
        }
        Kind::BadReply => {
            "The hub is of another version of entrar, or something else answers in its place: ask its administrator."
        }
        Kind::SignInRequired => {
            "Sign in with `entrar::azure_sign_in()` in R, or on the page of the hub."
        }
        _ => return error,
    };
    error.remedied(Some(words))
}

/// The words for R and for git.
#[allow(
    clippy::too_many_lines,
    reason = "a table, which is read from top to bottom"
)]
fn row(kind: Kind, origin: Option<Origin>) -> (&'static str, &'static str) {
    use Origin::{Agent, Hub, Workbench};
    let both = |words| (words, words);
    match (kind, origin) {
        (Kind::BadResource, _) => (
            "Use a name of azure_resources(), or the resource's URI or GUID as its documentation gives it.",
            "Ask an administrator whether the tenant knows Azure DevOps (499b84ac-1321-427f-aa17-267ca6975798).",
        ),
        (Kind::NoSession, Some(Workbench)) => (
            "Ask the administrator of Posit Workbench to set launcher-sessions-callback-address and to enable delegated Azure credentials.",
            "Ask the administrator of Posit Workbench to set launcher-sessions-callback-address and to enable delegated Azure credentials; or sign in to Azure DevOps another way: `entrar::use_azure_git(remove = TRUE)` in R takes this helper out.",
        ),
        (Kind::NoSession, Some(Hub)) => both("Ask the administrator of the hub to start it."),
        (Kind::NoSession, Some(Agent)) => (
            "Sign in with azure_sign_in(): a sign-in ends with its agent.",
            "Sign in with `entrar::azure_sign_in()` in R: a sign-in ends with its agent.",
        ),
        (Kind::NoSession, None) => (
            "Sign in with azure_sign_in(). To try it without a tenant, see \"Without Workbench\" in ?entrar::entrar.",
            "Sign in with `entrar::azure_sign_in()` in R, or to Azure DevOps another way: `entrar::use_azure_git(remove = TRUE)` in R takes this helper out.",
        ),
        (Kind::ServerTooOld, Some(Workbench) | None) => (
            "Ask the administrator for Posit Workbench 2024.12.0 or later with delegated Azure credentials, and check that RS_SERVER_ADDRESS is its address.",
            "Ask the administrator for Posit Workbench 2024.12.0 or later with delegated Azure credentials.",
        ),
        (Kind::ServerTooOld, Some(Agent)) => (
            "The agent is of another version of entrar: sign in again with azure_sign_in().",
            "The agent is of another version of entrar: sign in again with `entrar::azure_sign_in()` in R.",
        ),
        (Kind::ServerTooOld, Some(Hub)) => both(
            "Check that RS_SERVER_ADDRESS is the address of the hub; else ask its administrator for a newer version.",
        ),
        (Kind::BadCookie, Some(Workbench) | None) => (
            "Restart R. If that does not help, sign out of Posit Workbench and sign in again.",
            "Restart the session. If that does not help, sign out of Posit Workbench and sign in again.",
        ),
        (Kind::BadCookie, Some(Agent)) => (
            "The cookie is of an earlier sign-in, as a rule: sign in with azure_sign_in(), and start what was given this address and cookie anew.",
            "The cookie is of an earlier sign-in, as a rule: sign in with `entrar::azure_sign_in()` in R, and start what was given this address and cookie anew.",
        ),
        (Kind::BadCookie, Some(Hub)) => both("Start this session anew: it gets a new cookie then."),
        (Kind::Unreachable, Some(Agent)) => (
            "The agent is not running any more, as a rule: sign in with azure_sign_in().",
            "The agent is not running any more, as a rule: sign in with `entrar::azure_sign_in()` in R.",
        ),
        (Kind::Unreachable, Some(Workbench | Hub) | None) => (
            "Check RS_SERVER_ADDRESS and the network; for https also REQUESTS_CA_BUNDLE.",
            "Check RS_SERVER_ADDRESS and the network; for https also REQUESTS_CA_BUNDLE (git's own http.sslCAInfo is not used here).",
        ),
        (Kind::Timeout, _) => (
            "Try again. To wait longer, set options(entrar.timeout = 60), in seconds.",
            "Try again. To wait longer, set ENTRAR_TIMEOUT to a number of seconds.",
        ),
        (Kind::BadReply, Some(Workbench) | None) => both(
            "Check that RS_SERVER_ADDRESS is the address of Posit Workbench, and that no proxy stands in between.",
        ),
        (Kind::BadReply, Some(Agent)) => (
            "Something else answers in the agent's place, or it is of another version of entrar: sign in again with azure_sign_in().",
            "Something else answers in the agent's place, or it is of another version of entrar: sign in again with `entrar::azure_sign_in()` in R.",
        ),
        (Kind::BadReply, Some(Hub)) => both(
            "Check that RS_SERVER_ADDRESS is the address of the hub, and that no proxy stands in between.",
        ),
        (Kind::ServerError, Some(Workbench)) => both(
            "Try again; if it stays, give this message to the administrator of Posit Workbench.",
        ),
        (Kind::ServerError, Some(Hub)) => {
            both("Try again; if it stays, give this message to the administrator of the hub.")
        }
        (Kind::ServerError, Some(Agent) | None) => both(
            "Try again; if it stays, give this message to an administrator of Entra ID in your organisation.",
        ),
        (Kind::SignInRequired, Some(Workbench)) => {
            both("Sign out of Posit Workbench and sign in again.")
        }
        (Kind::SignInRequired, Some(Hub)) => {
            both("Sign in on the page of the hub; its administrator knows the address.")
        }
        (Kind::SignInRequired, Some(Agent) | None) => (
            "Sign in again with azure_sign_in().",
            "Sign in again with `entrar::azure_sign_in()` in R.",
        ),
        (Kind::ConsentRequired, Some(Agent) | None) => (
            "Ask an administrator to give the app that you signed in with delegated permission for this resource, and to consent to it.",
            "Ask an administrator to give the app that you signed in with the delegated permission Azure DevOps / user_impersonation, and to consent to it.",
        ),
        (Kind::ConsentRequired, Some(Workbench | Hub)) => (
            "Ask an administrator to give the server's app registration delegated permission for this resource, and to consent to it.",
            "Ask an administrator to give the server's app registration the delegated permission Azure DevOps / user_impersonation, and to consent to it.",
        ),
        (Kind::AccessDenied, _) => both(
            "An administrator of your organisation decides about this; asking again does not help.",
        ),
        (Kind::Misconfigured, Some(Agent) | None) => (
            "Check the tenant and the client_id that you signed in with; the app's registration is for an administrator of Entra ID to mend.",
            "Check the tenant and the client_id that you signed in with in R; the app's registration is for an administrator of Entra ID to mend.",
        ),
        (Kind::Misconfigured, Some(Workbench | Hub)) => both(
            "You cannot mend this: ask the administrator to check the server's app registration, its secret and its tenant.",
        ),
        (Kind::Throttled, _) => (
            "Wait before you try again, and reuse a token until shortly before it expires.",
            "Wait before you try again, and fetch many repositories or submodules with fewer jobs at once.",
        ),
        (Kind::Unavailable, _) => both("Try again later."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use entrar_core::env::Env;
    use entrar_core::resource::DEVOPS;
    use std::collections::BTreeSet;

    fn origins() -> impl Iterator<Item = Option<Origin>> {
        Origin::ALL.into_iter().map(Some).chain([None])
    }

    #[test]
    fn each_kind_has_its_own_remedy_in_whole_sentences() {
        for origin in origins() {
            for reader in [Reader::R, Reader::Git] {
                let remedies: BTreeSet<_> = Kind::ALL
                    .iter()
                    .map(|kind| usual(*kind, origin, reader))
                    .collect();
                assert_eq!(remedies.len(), Kind::ALL.len(), "{origin:?} {reader:?}");
                for remedy in remedies {
                    assert!(remedy.ends_with('.'), "{remedy}");
                }
            }
        }
    }

    #[test]
    fn workbench_is_named_in_workbench_alone_and_our_sign_in_elsewhere_alone() {
        for kind in Kind::ALL {
            for reader in [Reader::R, Reader::Git] {
                for origin in [Some(Origin::Agent), Some(Origin::Hub)] {
                    let remedy = usual(*kind, origin, reader);
                    assert!(!remedy.contains("Posit Workbench"), "{origin:?}: {remedy}");
                }
                let remedy = usual(*kind, Some(Origin::Workbench), reader);
                assert!(!remedy.contains("azure_sign_in"), "{remedy}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn at_a_hubs_socket_nobody_is_told_to_look_at_an_address_or_a_cookie() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.sock");
        let _hub = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let places = [
            ("ENTRAR_RUNTIME_DIR", "/nowhere/entrar"),
            ("ENTRAR_HUB_SOCKET", path.to_str().unwrap()),
        ];
        let session = Session::find(&Env::fixed(&places, 0.0)).unwrap();
        for kind in Kind::ALL {
            let error = advised(&session, Error::new(*kind, "no"));
            for reader in [Reader::R, Reader::Git] {
                let words = remedy(&error, Some(Origin::Hub), reader);
                assert!(words.ends_with('.'), "{words}");
                for word in ["RS_SERVER_ADDRESS", "cookie", "proxy"] {
                    assert!(!words.contains(word), "{kind}: {words}");
                }
            }
        }
        let own = Error::new(Kind::Unreachable, "no").remedied(Some("Do this."));
        let words = remedy(&advised(&session, own), None, Reader::R);
        assert_eq!(words, "Do this.");
    }

    #[test]
    fn azure_devops_is_named_as_it_is_asked_for() {
        let remedy = usual(Kind::BadResource, None, Reader::Git);
        assert!(remedy.contains(DEVOPS), "{remedy}");
    }

    #[test]
    fn an_error_that_knows_better_has_its_own_remedy() {
        let error = Error::new(Kind::Unreachable, "no").remedied(Some("Do this."));
        assert_eq!(remedy(&error, None, Reader::R), "Do this.");
        let error = Error::new(Kind::Unavailable, "no");
        assert_eq!(remedy(&error, None, Reader::Git), "Try again later.");
    }
}
