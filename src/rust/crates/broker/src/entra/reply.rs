//! What a token endpoint replies: a token, or why there is none.

use entrar_core::address::Address;
use entrar_core::error::{Error, Kind, Outlook};
use entrar_core::http::Reply;
use entrar_core::oauth;
use entrar_core::time::UnixTime;
use entrar_core::token::Token;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::refusal::Refusal;

/// How long to wait, in seconds, where Entra throttles without saying for how long. A choice of ours: coming back too
/// early prolongs the throttling.
const USUAL_WAIT: f64 = 60.0;
/// "Loop detected": throttling that comes as `invalid_grant`.
const LOOP_DETECTED: i32 = 50_196;

/// What the token endpoint granted.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The secret itself.
    pub access_token: SecretString,
    /// How to present it, as a rule `Bearer`.
    pub token_type: String,
    /// The permissions it carries, separated by spaces.
    pub scope: Option<String>,
    /// The person's identity as a signed JSON Web Token, where the tenant sends one.
    pub id_token: Option<SecretString>,
    /// Seconds from [`Granted::sent`] to its expiry, if anything in the reply tells.
    pub expires_in: Option<i64>,
    /// Seconds from [`Granted::sent`] to the end of the grace that Entra gives while it is out of order.
    pub ext_expires_in: Option<i64>,
    /// The refresh token to use from now on, if there is a new one.
    pub refresh_token: Option<SecretString>,
    /// When the request left.
    pub sent: Instant,
}

/// A refusal, and what the same request would bring.
pub(super) struct Failed {
    pub(super) refusal: Refusal,
    pub(super) outlook: Outlook,
    /// Seconds that the token endpoint asks to wait.
    pub(super) retry_after: Option<f64>,
}

impl Failed {
    /// One that was found here.
    pub(super) fn of_ours(refusal: Refusal) -> Self {
        Self {
            refusal,
            outlook: Outlook::Final,
            retry_after: None,
        }
    }

    pub(super) fn finally(error: &str, description: String) -> Self {
        Self::of_ours(Refusal::new(error, description))
    }
}

/// The reply to a request that left at `sent`, which is `now` by the clock.
pub(super) fn read(
    server: &Address,
    reply: &Reply,
    sent: Instant,
    now: UnixTime,
) -> Result<Granted, Failed> {
    let status = reply.status;
    match serde_json::from_str(&reply.body) {
        Ok(Value::Object(object)) if object.get("error").is_some_and(Value::is_string) => {
            Err(refused(object, reply))
        }
        Ok(Value::Object(object)) if status < 400 => granted(&object, sent, now).map_err(|what| {
            let description = format!("the reply from {server} holds no usable token: {what}");
            Failed::finally("server_error", description)
        }),
        _ if status == 429 => {
            let description = format!("{server} takes no more requests for now (HTTP status 429)");
            let refusal = Refusal::new("temporarily_unavailable", description);
            Err(refused(refusal.into_object(), reply))
        }
        _ if status >= 500 => {
            let description = format!("{server} is out of order (HTTP status {status})");
            let refusal = Refusal::new("temporarily_unavailable", description);
            Err(refused(refusal.into_object(), reply))
        }
        _ => {
            let description = format!(
                "the reply from {server} is not one of a token endpoint (HTTP status {status})"
            );
            Err(Failed::finally("server_error", description))
        }
    }
}

/// Why there is no reply.
pub(super) fn no_reply(failure: Error) -> Failed {
    let error = match failure.kind() {
        Kind::BadReply => "server_error",
        _ => "temporarily_unavailable",
    };
    Failed {
        outlook: match failure.outlook() {
            Outlook::Reconnect => Outlook::Reconnect,
            _ => Outlook::Final,
        },
        ..Failed::finally(error, failure.message().to_owned())
    }
}

/// A refusal from this error object. Only throttling gets a `retry_after`: beside anything else, a client would take it
/// for throttling.
fn refused(mut object: Map<String, Value>, reply: &Reply) -> Failed {
    let error = oauth::error_from_object(&object, &[]);
    let throttled = reply.status == 429 || error.details().aadsts.contains(&LOOP_DETECTED);
    if throttled {
        let wait = reply.retry_after.unwrap_or(USUAL_WAIT);
        #[allow(clippy::cast_possible_truncation, reason = "at most a week")]
        object
            .entry("retry_after")
            .or_insert((wait.ceil() as i64).into());
    }
    Failed {
        refusal: Refusal::from_object(object),
        outlook: if error.kind() == Kind::Unavailable && !throttled {
            Outlook::Retry
        } else {
            Outlook::Final
        },
        retry_after: reply.retry_after,
    }
}

/// The token in a reply. Its expiry is counted from the whole second before `now`, so that a lifetime comes out as the
/// number that went in.
fn granted(object: &Map<String, Value>, sent: Instant, now: UnixTime) -> Result<Granted, String> {
    let now = now.floor();
    let token = Token::from_reply(object, now)?;
    let refresh_token = object.get("refresh_token").and_then(Value::as_str);
    let lifetime = |expires_at: UnixTime| (expires_at.whole() - now.whole()).max(0);
    Ok(Granted {
        access_token: token.access_token,
        token_type: token.token_type,
        scope: token.scope,
        id_token: token.id_token,
        expires_in: token.expires_at.map(lifetime),
        ext_expires_in: object.get("ext_expires_in").and_then(whole_seconds),
        refresh_token: refresh_token
            .filter(|text| !text.is_empty())
            .map(SecretString::from),
        sent,
    })
}

/// A number of seconds, which version 1 of the endpoint writes as a string.
fn whole_seconds(value: &Value) -> Option<i64> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    #[allow(clippy::cast_possible_truncation, reason = "bounded by the range")]
    (0.0..1e9).contains(&seconds).then_some(seconds as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use serde_json::json;

    const NOW: UnixTime = UnixTime::new(1_795_392_000.75);

    fn read(status: u16, retry_after: Option<f64>, body: &str) -> Result<Granted, Failed> {
        let reply = Reply {
            status,
            retry_after,
            is_plain_text: false,
            body: body.to_owned(),
        };
        let server = Address::parse("http://127.0.0.1:1/tenant/oauth2/v2.0/token").unwrap();
        super::read(&server, &reply, Instant::now(), NOW)
    }

    fn failed(status: u16, retry_after: Option<f64>, body: &str) -> Failed {
        read(status, retry_after, body).err().unwrap()
    }

    #[test]
    fn a_version_2_reply_is_read_whole() {
        let body = json!({
            "token_type": "Bearer", "scope": "s", "expires_in": 3599, "ext_expires_in": 7199,
            "access_token": "a", "refresh_token": "r", "id_token": "i", "refresh_in": 1800
        });
        let granted = read(200, None, &body.to_string()).ok().unwrap();
        assert_eq!(granted.access_token.expose_secret(), "a");
        assert_eq!(granted.refresh_token.unwrap().expose_secret(), "r");
        assert_eq!(granted.id_token.unwrap().expose_secret(), "i");
        assert_eq!(
            (granted.expires_in, granted.ext_expires_in),
            (Some(3599), Some(7199))
        );
        assert_eq!(
            (granted.token_type.as_str(), granted.scope.as_deref()),
            ("Bearer", Some("s"))
        );
    }

    #[test]
    fn a_version_1_reply_with_numbers_as_strings_is_read_too() {
        for (body, expires_in) in [
            (
                json!({"access_token": "a", "expires_in": "3599", "ext_expires_in": "7199"}),
                3599,
            ),
            (
                json!({"access_token": "a", "expires_on": "1795395599", "ext_expires_in": 7199.5}),
                3599,
            ),
        ] {
            let granted = read(200, None, &body.to_string()).ok().unwrap();
            assert_eq!(granted.expires_in, Some(expires_in));
            assert_eq!(granted.ext_expires_in, Some(7199));
        }
    }

    #[test]
    fn an_opaque_token_without_lifetime_is_good_enough() {
        let granted = read(
            200,
            None,
            r#"{"access_token": "opaque", "ext_expires_in": []}"#,
        );
        let granted = granted.ok().unwrap();
        assert_eq!((granted.expires_in, granted.ext_expires_in), (None, None));
        assert!(granted.refresh_token.is_none());
    }

    #[test]
    fn entras_error_object_is_kept_unchanged() {
        let body = json!({
            "error": "invalid_grant", "error_description": "AADSTS65001: no.\r\nTrace ID: 7",
            "error_codes": [65001], "suberror": "consent_required", "claims": "{}", "new": [1, {}]
        });
        let failed = failed(400, Some(5.0), &body.to_string());
        assert_eq!(Value::from(failed.refusal.into_object()), body);
        assert_eq!(failed.outlook, Outlook::Final);
    }

    #[test]
    fn throttling_gets_a_retry_after_and_is_not_tried_again() {
        let loop_detected = json!({"error": "invalid_grant", "error_codes": [50196]}).to_string();
        let transient = json!({"error": "temporarily_unavailable"}).to_string();
        for (status, asked, body, retry_after) in [
            (429, Some(16.2), "slow down", 17),
            (429, None, "slow down", 60),
            (429, Some(3.0), "{}", 3),
            (429, Some(3.0), transient.as_str(), 3),
            (400, None, loop_detected.as_str(), 60),
        ] {
            let failed = failed(status, asked, body);
            assert_eq!(
                failed.refusal.object()["retry_after"],
                retry_after,
                "{body}"
            );
            assert_eq!(failed.refusal.error().kind(), Kind::Throttled);
            assert_eq!(failed.outlook, Outlook::Final);
        }
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        for code in [90_055, 90_006, 90_024, 50_033, 90_033] {
            let body = json!({"error": "invalid_grant", "error_codes": [code]}).to_string();
            assert_eq!(failed(400, None, &body).outlook, Outlook::Retry, "{code}");
        }
        for code in [700_082, 50_076, 65_001, 53_003, 500_011, 7_000_215] {
            let body = json!({"error": "server_error", "error_codes": [code]}).to_string();
            assert_eq!(failed(500, None, &body).outlook, Outlook::Final, "{code}");
        }
        assert_eq!(failed(503, None, "<html>").outlook, Outlook::Retry);
        assert_eq!(failed(404, None, "<html>").outlook, Outlook::Final);
        assert_eq!(failed(200, None, "<html>").outlook, Outlook::Final);
    }

    #[test]
    fn a_reply_that_makes_no_sense_is_described_without_its_body() {
        for (status, body, description) in [
            (
                200,
                "canary",
                "is not one of a token endpoint (HTTP status 200)",
            ),
            (
                200,
                "[\"canary\"]",
                "is not one of a token endpoint (HTTP status 200)",
            ),
            (
                404,
                "{\"canary\": 1}",
                "is not one of a token endpoint (HTTP status 404)",
            ),
            (
                200,
                "{\"token\": \"canary\"}",
                "holds no usable token: it has no access_token",
            ),
            (
                200,
                "{\"access_token\": \"canary\", \"expires_in\": -1}",
                "holds no usable token: its expires_in is negative",
            ),
        ] {
            let object = failed(status, None, body).refusal.into_object();
            assert_eq!(object["error"], "server_error");
            assert_eq!(
                object["error_description"],
                format!("the reply from http://127.0.0.1:1/tenant/oauth2/v2.0/token {description}")
            );
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let body = r#"{"access_token": "canary", "refresh_token": "canary", "id_token": "canary"}"#;
        let shown = format!("{:?}", read(200, None, body).ok().unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }
}
