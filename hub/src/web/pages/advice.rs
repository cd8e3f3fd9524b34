//! What to do about a failure, for somebody who reads it on a page of the hub.

use entrar_core::error::{Error, Kind};

/// There is no token for a resource.
pub(super) fn for_a_token(error: &Error) -> &str {
    if let Some(advice) = by_code(error).or(error.details().remedy.as_deref()) {
        return advice;
    }
    match error.kind() {
        Kind::BadResource => {
            "Check the spelling. A resource is an address such as https://storage.azure.com, an api:// name, or an application's id."
        }
        Kind::SignInRequired => "Sign in again on this page.",
        Kind::ConsentRequired => {
            "Ask an administrator of Entra ID to give this hub's app registration the delegated permission for this resource, and to consent to it."
        }
        kind => by_kind(kind),
    }
}

/// A sign-in has failed.
pub(super) fn for_a_sign_in(error: &Error) -> &str {
    // What the broker says of the app is for one person with an app of their own.
    let remedy = match error.kind() {
        Kind::Misconfigured => None,
        _ => error.details().remedy.as_deref(),
    };
    if let Some(advice) = by_code(error).or(remedy) {
        return advice;
    }
    match error.kind() {
        Kind::SignInRequired => {
            "Sign in again, and complete what Entra ID asks for, such as a second factor."
        }
        Kind::ConsentRequired => {
            "Ask an administrator of Entra ID to consent to this hub's app registration for everybody."
        }
        kind => by_kind(kind),
    }
}

/// Where the code tells more than the kind does.
fn by_code(error: &Error) -> Option<&'static str> {
    error.details().aadsts.iter().find_map(|code| match code {
        50_097 | 50_199 | 530_033 => Some(
            "Sign in with a browser on a device that your organisation manages.",
        ),
        50_105 => Some(
            "Ask an administrator of Entra ID to assign you, or a group that you are in, to this hub's enterprise application.",
        ),
        _ => None,
    })
}

fn by_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::AccessDenied => {
            "Asking again does not help. Give what Entra ID said to an administrator of Entra ID, who knows from where, and with which devices, one may sign in."
        }
        Kind::Misconfigured => {
            "You cannot mend this yourself: give this message to the administrator of this server, who looks after the hub's app registration."
        }
        Kind::Throttled => "Wait a minute, then try again.",
        Kind::Unavailable | Kind::Unreachable | Kind::Timeout => {
            "Try again in a few minutes. If it stays, give this message to the administrator of this server."
        }
        Kind::SignInRequired => "Sign in again.",
        Kind::BadResource
        | Kind::NoSession
        | Kind::ServerTooOld
        | Kind::BadCookie
        | Kind::BadReply
        | Kind::ServerError
        | Kind::ConsentRequired => {
            "Try again. If it stays, give this message to the administrator of this server."
        }
    }
}
