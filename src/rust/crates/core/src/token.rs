//! An access token as a server's reply holds it, with the time at which it expires.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::time::UnixTime;

/// A delegated access token.
#[derive(Clone, Debug)]
pub struct Token {
    /// The secret itself.
    pub access_token: SecretString,
    /// How to present it, as a rule `Bearer`.
    pub token_type: String,
    /// The permissions it carries, separated by spaces.
    pub scope: Option<String>,
    /// When it expires, in whole seconds; `None` if nothing in the reply tells.
    pub expires_at: Option<UnixTime>,
    /// The person's identity as a signed JSON Web Token, where the server sends one.
    pub id_token: Option<SecretString>,
}

/// The longest lifetime that is believed, in seconds: a year and a day.
const LONGEST_LIFETIME: f64 = 366.0 * 86_400.0;

impl Token {
    /// Reads the `token` object of a reply to a request that left at `sent`.
    ///
    /// The expiry is `sent + expires_in`, else `expires_on`, else the token's own `exp`.
    ///
    /// # Errors
    /// What is wrong with the reply, in words that do not repeat it.
    pub fn from_reply(token: &Map<String, Value>, sent: UnixTime) -> Result<Self, String> {
        let access_token = match token.get("access_token") {
            Some(Value::String(text)) => text,
            Some(Value::Null) | None => return Err("it has no access_token".into()),
            Some(_) => return Err("its access_token is not a string".into()),
        };
        if access_token.is_empty() {
            return Err("its access_token is empty".into());
        }
        if !access_token.chars().all(|c| c.is_ascii_graphic()) {
            return Err("its access_token holds characters that no token has".into());
        }
        let text = |name: &str| {
            let value = token.get(name)?.as_str()?;
            let printable = !value.is_empty() && !value.chars().any(char::is_control);
            printable.then(|| value.to_owned())
        };
        Ok(Self {
            token_type: text("token_type").unwrap_or_else(|| "Bearer".into()),
            scope: text("scope"),
            expires_at: expiry(token, access_token, sent)?,
            id_token: text("id_token").map(SecretString::from),
            access_token: access_token.as_str().into(),
        })
    }
}

fn expiry(
    token: &Map<String, Value>,
    access_token: &str,
    sent: UnixTime,
) -> Result<Option<UnixTime>, String> {
    if let Some(expires_in) = number(token, "expires_in")? {
        return at(sent, expires_in, "expires_in").map(Some);
    }
    // Some servers write a date there: the token's own date says the same.
    let is_date = token
        .get("expires_on")
        .and_then(Value::as_str)
        .is_some_and(|text| text.trim().parse::<f64>().is_err());
    if is_date {
        return Ok(expiry_in_token(access_token));
    }
    if let Some(expires_on) = number(token, "expires_on")? {
        return at(sent, UnixTime::new(expires_on) - sent, "expires_on").map(Some);
    }
    Ok(expiry_in_token(access_token))
}

/// The field as a number, which some servers write as a string; `None` if it is absent or null.
fn number(token: &Map<String, Value>, name: &str) -> Result<Option<f64>, String> {
    let number = match token.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    match number {
        Some(number) if number.is_finite() => Ok(Some(number)),
        _ => Err(format!("its {name} is not a number")),
    }
}

fn at(sent: UnixTime, lifetime: f64, name: &str) -> Result<UnixTime, String> {
    if lifetime < 0.0 {
        return Err(match name {
            "expires_on" => {
                "its expires_on lies in the past; is the clock of this machine right?".into()
            }
            _ => format!("its {name} is negative"),
        });
    }
    if lifetime > LONGEST_LIFETIME {
        return Err(format!("its {name} is more than a year away"));
    }
    Ok((sent + lifetime).floor())
}

/// A claim that is a string, if the token happens to be a JSON Web Token. Its signature is not
/// verified: that is for the resource to do.
#[must_use]
pub fn claim(access_token: &str, name: &str) -> Option<String> {
    let claims = claims(access_token)?;
    let text = claims.get(name)?.as_str()?;
    let printable = !text.is_empty() && !text.chars().any(char::is_control);
    printable.then(|| text.to_owned())
}

fn expiry_in_token(access_token: &str) -> Option<UnixTime> {
    let exp = claims(access_token)?.get("exp")?.as_f64()?;
    (0.0..1e11)
        .contains(&exp)
        .then_some(UnixTime::new(exp).floor())
}

/// What a JSON Web Token says: its middle part, without a look at its signature. Any other token says nothing.
#[must_use]
pub fn claims(token: &str) -> Option<Value> {
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&claims).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;
    use serde_json::json;

    const SENT: UnixTime = UnixTime::new(1_795_392_000.75);

    fn read(reply: Value) -> Result<Token, String> {
        Token::from_reply(reply.as_object().unwrap(), SENT)
    }

    fn expires_at(mut reply: Value) -> Result<Option<i64>, String> {
        reply["access_token"] = reply
            .get("access_token")
            .cloned()
            .unwrap_or(json!("secret"));
        read(reply).map(|token| token.expires_at.map(UnixTime::whole))
    }

    #[test]
    fn a_full_reply_is_read_whole() {
        let token = read(json!({
            "access_token": "secret", "token_type": "Bearer", "expires_in": 3599,
            "ext_expires_in": 3599, "scope": "a b", "id_token": "id", "refresh_token": "no"
        }))
        .unwrap();
        assert_eq!(token.access_token.expose_secret(), "secret");
        assert_eq!(token.token_type, "Bearer");
        assert_eq!(token.scope.as_deref(), Some("a b"));
        assert_eq!(token.expires_at, Some(UnixTime::of_whole(1_795_395_599)));
        assert_eq!(token.id_token.unwrap().expose_secret(), "id");
    }

    #[test]
    fn a_bare_reply_gets_the_usual_type_and_no_expiry() {
        let token = read(json!({"access_token": "opaque", "scope": null})).unwrap();
        assert_eq!(token.token_type, "Bearer");
        assert_eq!(token.scope, None);
        assert_eq!(token.expires_at, None);
        assert!(token.id_token.is_none());
    }

    #[test]
    fn a_lifetime_is_an_integer_a_float_or_a_text() {
        for lifetime in [json!(3599), json!(3599.0), json!("3599"), json!(" 3599 ")] {
            assert_eq!(
                expires_at(json!({"expires_in": lifetime})),
                Ok(Some(1_795_395_599))
            );
        }
        assert_eq!(
            expires_at(json!({"expires_in": 0.2})),
            Ok(Some(1_795_392_000))
        );
    }

    #[test]
    fn an_absolute_expiry_stands_where_no_lifetime_does() {
        assert_eq!(
            expires_at(json!({"expires_on": "1795395599"})),
            Ok(Some(1_795_395_599))
        );
        assert_eq!(
            expires_at(json!({"expires_in": 60, "expires_on": 1_795_395_599})),
            Ok(Some(1_795_392_060))
        );
    }

    #[test]
    fn the_tokens_own_expiry_comes_last() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"exp":1795395599}"#);
        assert_eq!(
            expires_at(json!({"access_token": format!("eyJh.{claims}.sig")})),
            Ok(Some(1_795_395_599))
        );
    }

    #[test]
    fn a_date_for_an_absolute_expiry_leaves_the_tokens_own() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"exp":1795395599}"#);
        let date = "2026-11-23T00:59:59Z";
        let token = format!("eyJh.{claims}.sig");
        assert_eq!(
            expires_at(json!({"access_token": token, "expires_on": date})),
            Ok(Some(1_795_395_599))
        );
        assert_eq!(expires_at(json!({"expires_on": date})), Ok(None));
    }

    #[test]
    fn a_claim_is_read_from_a_web_token_and_from_no_other() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"tid":"contoso","n":1,"e":"","c":"a\nb"}"#);
        let token = format!("eyJh.{claims}.sig");
        assert_eq!(claim(&token, "tid").as_deref(), Some("contoso"));
        for name in ["n", "e", "c", "absent"] {
            assert_eq!(claim(&token, name), None, "{name}");
        }
        for token in ["opaque", "a.b.c", "a..c", ""] {
            assert_eq!(claim(token, "tid"), None, "{token}");
        }
    }

    #[test]
    fn an_unbelievable_lifetime_is_an_error() {
        for (reply, wrong) in [
            (json!({"expires_in": -1}), "its expires_in is negative"),
            (
                json!({"expires_in": 1e12}),
                "its expires_in is more than a year away",
            ),
            (
                json!({"expires_in": "soon"}),
                "its expires_in is not a number",
            ),
            (
                json!({"expires_in": "NaN"}),
                "its expires_in is not a number",
            ),
            (
                json!({"expires_in": "inf"}),
                "its expires_in is not a number",
            ),
            (
                json!({"expires_in": true}),
                "its expires_in is not a number",
            ),
            (json!({"expires_in": [1]}), "its expires_in is not a number"),
            (
                json!({"expires_on": 1e12}),
                "its expires_on is more than a year away",
            ),
        ] {
            assert_eq!(expires_at(reply), Err(wrong.to_owned()));
        }
        assert!(
            expires_at(json!({"expires_on": 1}))
                .unwrap_err()
                .contains("in the past")
        );
    }

    #[test]
    fn a_reply_without_a_usable_token_is_an_error() {
        for (reply, wrong) in [
            (json!({}), "it has no access_token"),
            (json!({"access_token": null}), "it has no access_token"),
            (json!({"access_token": ""}), "its access_token is empty"),
            (
                json!({"access_token": 7}),
                "its access_token is not a string",
            ),
            (
                json!({"access_token": "a\nb"}),
                "its access_token holds characters that no token has",
            ),
        ] {
            assert_eq!(read(reply).unwrap_err(), wrong);
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = read(json!({"access_token": "canary-a", "id_token": "canary-b"})).unwrap();
        assert!(!format!("{token:?}").contains("canary"));
    }

    proptest! {
        #[test]
        fn a_lifetime_never_reaches_beyond_what_the_reply_says(lifetime in -1e12_f64..1e12) {
            if let Ok(Some(at)) = expires_at(json!({"expires_in": lifetime})) {
                let at = UnixTime::of_whole(at);
                prop_assert!(at <= SENT + lifetime);
                prop_assert!(at > SENT + lifetime - 1.0);
            } else {
                prop_assert!(!(0.0..=LONGEST_LIFETIME).contains(&lifetime));
            }
        }

        #[test]
        fn any_text_for_a_lifetime_is_read_or_refused(text in ".*") {
            let _ = expires_at(json!({"expires_in": text}));
        }
    }
}
