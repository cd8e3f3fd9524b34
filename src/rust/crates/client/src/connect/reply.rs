//! What Connect's replies mean: a token, or which kind of failure. Errors come as OAuth's object or in one of Connect's own two
//! forms, by version.

use entrar_core::error::{Details, Error, Kind};
use entrar_core::http::Reply;
use entrar_core::oauth;
use entrar_core::text::presentable;
use entrar_core::time::UnixTime;
use entrar_core::token::Token;
use secrecy::SecretString;
use serde_json::{Map, Value};

/// No integration is attached to the content.
const NONE_ATTACHED: i64 = 212;

/// The token in a reply to a request that left at `sent`.
pub(super) fn token(
    reply: &Reply,
    server: &str,
    sent: UnixTime,
    secrets: &[SecretString],
) -> Result<Token, Error> {
    match json(reply, server, secrets)? {
        Value::Object(token) => Token::from_reply(&token, sent).map_err(|what| {
            let message = format!("the reply from {server} holds no usable token: {what}");
            Error::new(Kind::BadReply, message)
        }),
        _ => Err(Error::new(
            Kind::BadReply,
            format!("the reply from {server} holds no token"),
        )),
    }
}

/// What a good reply says.
pub(super) fn json(reply: &Reply, server: &str, secrets: &[SecretString]) -> Result<Value, Error> {
    let parsed: Option<Value> = serde_json::from_str(&reply.body).ok();
    let object = parsed.as_ref().and_then(Value::as_object);
    let reported = object.and_then(|object| reported(object, reply.status, secrets));
    if let Some(error) = reported {
        return Err(with_status(error, reply));
    }
    if reply.status >= 400 {
        let text = reply.is_plain_text.then(|| reply.body.clone());
        let error = of_status(reply.status, text.as_deref(), secrets);
        return Err(with_status(error, reply));
    }
    parsed.ok_or_else(|| {
        let message = format!("the reply from {server} is not JSON");
        Error::new(Kind::BadReply, message)
    })
}

fn with_status(error: Error, reply: &Reply) -> Error {
    let wait = error.details().retry_after.or(reply.retry_after);
    let error = error.waiting(wait);
    if reply.status >= 400 {
        error.at_status(reply.status)
    } else {
        error
    }
}

/// The error in an object, if it is one.
fn reported(object: &Map<String, Value>, status: u16, secrets: &[SecretString]) -> Option<Error> {
    let number = |name: &str| object.get(name).and_then(Value::as_i64);
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    if let Some(code) = number("code").or_else(|| number("error_code")) {
        let said = text("error").or_else(|| text("error_message"));
        return Some(of_connect(code, said.unwrap_or_default(), status, secrets));
    }
    text("error")?;
    let error = oauth::error_from_object(object, secrets);
    let said = text("error_description").unwrap_or_default();
    let kind = match kind_of_words(said) {
        Some(kind) => kind,
        // An integration that is not attached, or one of several that was not named: no resource of Entra ID's.
        None if text("error") == Some("invalid_target") && error.details().aadsts.is_empty() => {
            Kind::ConsentRequired
        }
        None => return Some(error),
    };
    Some(Error::with(kind, headline(kind), error.details().clone()))
}

/// An error in a form of Connect's own.
fn of_connect(code: i64, said: &str, status: u16, secrets: &[SecretString]) -> Error {
    if let Some(error) = oauth::error_from_text(said, secrets) {
        return error;
    }
    let kind = if code == NONE_ATTACHED {
        Some(Kind::ConsentRequired)
    } else {
        kind_of_words(said)
    };
    match kind {
        Some(kind) => Error::with(kind, headline(kind), details(said, secrets)),
        None => of_status(status, Some(said), secrets),
    }
}

/// What Connect says in words only.
fn kind_of_words(said: &str) -> Option<Kind> {
    let said = said.to_ascii_lowercase();
    let says = |words: &str| said.contains(words);
    if says("no refresh token found") || says("does not support") && says("auth flows") {
        Some(Kind::Misconfigured)
    } else if says("no oauth integration") || says("is not associated with") {
        Some(Kind::ConsentRequired)
    } else if says("subject_token") || says("session token") {
        Some(Kind::SignInRequired)
    } else {
        None
    }
}

fn of_status(status: u16, said: Option<&str>, secrets: &[SecretString]) -> Error {
    let kind = match status {
        401 => Kind::BadCookie,
        403 => Kind::AccessDenied,
        404 | 405 => Kind::ServerTooOld,
        407 => Kind::Unreachable,
        429 => Kind::Throttled,
        502..=504 => Kind::Unavailable,
        _ => Kind::ServerError,
    };
    let what = match status {
        401 => "Posit Connect has refused the content's API key (CONNECT_API_KEY)",
        403 => "Posit Connect does not allow this content to ask for that",
        407 => "a proxy before Posit Connect wants a sign-in",
        _ => headline(kind),
    };
    let message = format!("{what} (HTTP status {status})");
    Error::with(kind, message, details(said.unwrap_or_default(), secrets))
}

fn headline(kind: Kind) -> &'static str {
    match kind {
        Kind::ConsentRequired => {
            "no OAuth integration that is attached to this content brings tokens for this"
        }
        Kind::Misconfigured => "the OAuth integration on Posit Connect is not in order",
        Kind::SignInRequired => "Posit Connect has refused the session token",
        Kind::ServerTooOld => "Posit Connect knows no OAuth integrations at this address",
        _ => oauth::headline(kind),
    }
}

fn details(said: &str, secrets: &[SecretString]) -> Details {
    let said = presentable(said, secrets);
    Details {
        server_text: (!said.is_empty()).then_some(said),
        ..Details::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(status: u16, body: &str) -> Result<Token, Error> {
        let reply = Reply {
            status,
            retry_after: None,
            is_plain_text: false,
            body: body.to_owned(),
        };
        let secrets = ["canary-key".into(), "canary-session".into()];
        token(&reply, "Posit Connect", UnixTime::of_whole(1_000), &secrets)
    }

    #[test]
    fn a_token_without_a_lifetime_is_one() {
        let body = json!({"access_token": "canary", "token_type": "Bearer"});
        assert_eq!(asked(200, &body.to_string()).unwrap().expires_at, None);
        let body = json!({"access_token": "canary", "expires_in": 60});
        let token = asked(200, &body.to_string()).unwrap();
        assert_eq!(token.expires_at, Some(UnixTime::of_whole(1_060)));
    }

    #[test]
    fn all_forms_of_an_error_are_understood() {
        let no_refresh_token = "No refresh token found in response. Are you missing a scope?";
        let flows = "OAuth integration 1 does not support Viewer auth flows";
        for (status, body, kind) in [
            (
                400,
                json!({"code": 212, "error": "No OAuth integrations", "payload": null}),
                "consent_required",
            ),
            (
                400,
                json!({"error_code": 212, "error_message": "none"}),
                "consent_required",
            ),
            (
                400,
                json!({"error": "invalid_request", "error_description": "No OAuth integrations have been associated with it."}),
                "consent_required",
            ),
            (
                400,
                json!({"error": "invalid_target", "error_description": "several"}),
                "consent_required",
            ),
            (
                400,
                json!({"error": "invalid_grant", "error_description": "The subject_token has expired."}),
                "sign_in_required",
            ),
            (
                400,
                json!({"error_code": 219, "error_message": "The subject_token is not valid."}),
                "sign_in_required",
            ),
            (
                400,
                json!({"error": "invalid_request", "error_description": no_refresh_token}),
                "misconfigured",
            ),
            (400, json!({"code": 219, "error": flows}), "misconfigured"),
            (
                400,
                json!({"error": "invalid_grant", "error_description": "AADSTS65001: no consent"}),
                "consent_required",
            ),
            (
                400,
                json!({"code": 219, "error": "AADSTS53003: blocked"}),
                "access_denied",
            ),
            (
                401,
                json!({"code": 30, "error": "The API key is not valid."}),
                "bad_cookie",
            ),
            (403, json!({"code": 22, "error": "no"}), "access_denied"),
            (404, json!({"code": 4, "error": "no"}), "server_too_old"),
            (429, json!({}), "throttled"),
            (503, json!({}), "unavailable"),
            (500, json!({"code": 1, "error": "no"}), "server_error"),
            (200, json!({}), "bad_reply"),
            (200, json!([]), "bad_reply"),
        ] {
            let error = asked(status, &body.to_string()).unwrap_err();
            assert_eq!(error.kind().as_str(), kind, "{status} {body}");
        }
        assert_eq!(asked(200, "<html>").unwrap_err().kind(), Kind::BadReply);
        assert_eq!(asked(502, "<html>").unwrap_err().kind(), Kind::Unavailable);
    }

    #[test]
    fn secrets_that_a_server_repeats_are_masked() {
        for body in [
            json!({"code": 1, "error": "key canary-key"}),
            json!({"error": "invalid_grant", "error_description": "subject_token canary-session"}),
        ] {
            let error = asked(400, &body.to_string()).unwrap_err();
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
}
