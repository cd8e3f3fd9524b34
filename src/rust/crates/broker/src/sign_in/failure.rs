//! Why a sign-in fails, with what to do about it.

use entrar_core::error::{Details, Error, Kind};
use entrar_core::oauth;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::entra::Refusal;

/// An error with a remedy of its own.
pub(super) fn with_remedy(kind: Kind, what: &str, remedy: &str) -> Error {
    let details = Details {
        remedy: Some(remedy.to_owned()),
        ..Details::default()
    };
    Error::with(kind, what, details)
}

/// What was asked for cannot be.
pub(super) fn misconfigured(what: &str, remedy: &str) -> Error {
    with_remedy(Kind::Misconfigured, what, remedy)
}

/// What Entra ID said of a sign-in, by an OAuth error object. `secrets` are masked wherever it quotes them.
pub(super) fn of_object(object: &Map<String, Value>, secrets: &[SecretString]) -> Error {
    let error = oauth::error_from_object(object, secrets);
    let (what, remedy) = (headline(&error), remedy(&error));
    Error::with(error.kind(), what, error.details().clone())
        .with_outlook(error.outlook())
        .remedied(remedy)
}

/// Whether somebody has clicked "no", and no policy has.
fn is_declined(error: &Error) -> bool {
    let details = error.details();
    let is_without_code = error.kind() == Kind::AccessDenied
        && details.aadsts.is_empty()
        && details.oauth_error.as_deref() == Some("access_denied");
    is_without_code || details.aadsts.contains(&65_004)
}

/// What happened, where an exchange has other words for it.
fn headline(error: &Error) -> &str {
    match error.kind() {
        _ if is_declined(error) => "the sign-in was declined",
        Kind::SignInRequired => "Entra ID did not accept the sign-in",
        Kind::ConsentRequired => "consent to what the app asks for is missing",
        Kind::AccessDenied => "your organisation does not allow this sign-in",
        Kind::Misconfigured => "the app or the tenant is not set up for this sign-in",
        _ => error.message(),
    }
}

/// The same for a refusal of the token endpoint.
pub(super) fn of_refusal(refusal: &Refusal) -> Error {
    of_object(refusal.object(), &[])
}

/// Nobody answered.
pub(super) fn too_late() -> Error {
    with_remedy(
        Kind::Timeout,
        "nobody signed in within 15 minutes",
        "Begin again when you have the time.",
    )
}

/// Nobody typed the code, or not in time.
pub(super) fn code_expired() -> Error {
    with_remedy(
        Kind::Timeout,
        "the code has expired before anybody signed in with it",
        "Begin again when you have the time.",
    )
}

/// Whoever began has ended it.
pub(super) fn cancelled() -> Error {
    with_remedy(
        Kind::SignInRequired,
        "the sign-in was ended before it was done",
        "Begin again.",
    )
}

/// What to do, by code and then by kind, where a sign-in needs other words than an exchange.
fn remedy(error: &Error) -> Option<&'static str> {
    let of_code = error.details().aadsts.iter().find_map(|code| match code {
        50_011 => Some(
            "The app registration lacks the address that the browser comes back to. Ask its administrator to add http://localhost under \"Mobile and desktop applications\".",
        ),
        7_000_218 => Some(
            "The app is not a public client. Ask its administrator to allow public client flows, or set AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH.",
        ),
        700_016 => Some("Check `client_id` and `tenant`: this tenant knows no such app."),
        90_002 => Some("Check `tenant`: there is no such one."),
        50_194 => Some("The app is open to one tenant only: name it as `tenant`."),
        65_002 => Some("This app may not be used so in your tenant: use one of your organisation's own."),
        50_020 | 90_072 => Some(
            "Sign in with an account of this tenant, or ask its administrator to invite yours as a guest.",
        ),
        65_004 => Some("If that was a mistake, sign in again and agree to what the app asks for."),
        50_105 => Some("Ask an administrator to assign you to the app in Entra ID."),
        50_199 | 530_036 | 530_033 | 50_097 => Some(
            "Your organisation does not accept a device code here: sign in with method = \"browser\", or \"paste\".",
        ),
        _ => None,
    });
    // By code, core knows more than the kind tells.
    if of_code.is_some() || error.details().remedy.is_some() {
        return of_code;
    }
    match error.kind() {
        Kind::AccessDenied if is_declined(error) => {
            Some("If that was a mistake, sign in again and agree to what the app asks for.")
        }
        Kind::AccessDenied => Some(
            "Give what Entra ID said to an administrator, who knows from where, and with which devices, one may sign in.",
        ),
        Kind::SignInRequired => {
            Some("Sign in again, and complete what Entra ID asks for, such as a second factor.")
        }
        Kind::ConsentRequired => {
            Some("Ask an administrator of Entra ID to consent to the app for everybody.")
        }
        Kind::Misconfigured => {
            Some("Check `client_id` and `tenant`, or give this message to the app's administrator.")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn failure(error: &str, code: i32) -> Error {
        let description = match code {
            0 => "the person said no".to_owned(),
            _ => format!("AADSTS{code}: it is so."),
        };
        let object = json!({"error": error, "error_description": description});
        of_object(object.as_object().unwrap(), &[])
    }

    #[test]
    fn what_happened_is_said_of_the_sign_in_and_not_of_a_server() {
        for (error, code, words) in [
            ("access_denied", 0, "the sign-in was declined"),
            (
                "access_denied",
                53_003,
                "your organisation does not allow this sign-in",
            ),
            (
                "invalid_request",
                90_002,
                "the app or the tenant is not set up for this sign-in",
            ),
            (
                "consent_required",
                65_001,
                "consent to what the app asks for is missing",
            ),
            (
                "interaction_required",
                50_076,
                "Entra ID did not accept the sign-in",
            ),
            (
                "temporarily_unavailable",
                90_033,
                "the service is not available at the moment",
            ),
        ] {
            let failure = failure(error, code);
            assert_eq!(failure.message(), words);
            assert!(
                failure.to_string().contains("The server said: "),
                "{failure}"
            );
        }
    }

    #[test]
    fn what_a_sign_in_meets_has_its_kind_and_what_to_do() {
        for (error, code, kind, words) in [
            (
                "access_denied",
                0,
                Kind::AccessDenied,
                "If that was a mistake",
            ),
            ("access_denied", 65_004, Kind::ConsentRequired, "mistake"),
            (
                "invalid_request",
                50_011,
                Kind::Misconfigured,
                "http://localhost",
            ),
            (
                "invalid_client",
                7_000_218,
                Kind::Misconfigured,
                "public client flows",
            ),
            (
                "unauthorized_client",
                700_016,
                Kind::Misconfigured,
                "client_id",
            ),
            (
                "interaction_required",
                50_076,
                Kind::SignInRequired,
                "second factor",
            ),
            (
                "consent_required",
                65_001,
                Kind::ConsentRequired,
                "administrator",
            ),
            (
                "invalid_grant",
                530_036,
                Kind::SignInRequired,
                "device code",
            ),
            ("access_denied", 53_003, Kind::AccessDenied, ""),
        ] {
            let error = failure(error, code);
            assert_eq!(error.kind(), kind, "{code}");
            let remedy = error.details().remedy.clone().unwrap_or_default();
            assert!(remedy.contains(words), "{code}: {remedy}");
            assert_eq!(
                remedy.contains("mistake"),
                words.contains("mistake"),
                "{code}"
            );
        }
    }
}
