//! The tenant's token endpoint: a refresh token and a resource in, an access token or an OAuth error out.

use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use entrar_core::address::Address;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind, Outlook};
use entrar_core::http::{Http, Reply, Settings, send};
use entrar_core::oauth;
use entrar_core::resource::Resource;
use entrar_core::retry::{RETRIES, retried};
use entrar_core::text::masked;
use entrar_core::time::UnixTime;
use entrar_core::token::Token;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::form_urlencoded::{self, Serializer};

/// How long an exchange may take, connections and retries included. It is shorter than the 30 seconds that a client
/// waits, so that the client gets an answer which says what happened.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How long to wait, in seconds, where Entra throttles without saying for how long. A choice of ours: coming back too
/// early prolongs the throttling.
const USUAL_WAIT: f64 = 60.0;
/// "Loop detected": throttling that comes as `invalid_grant`.
const LOOP_DETECTED: i32 = 50_196;

/// The app's registration with its tenant.
#[derive(Debug)]
pub struct Registration {
    /// The tenant's address, for example `https://login.microsoftonline.com/TENANT`.
    pub authority: String,
    /// The app's id.
    pub client_id: String,
    /// The app's secret; a public client has none and sends none.
    pub client_secret: Option<SecretString>,
    /// Whether the provider revokes a refresh token once it has granted a new one. Entra ID does not, so that it may be
    /// asked for several resources at once.
    pub revokes_used_refresh_tokens: bool,
}

/// A client of one tenant's token endpoint.
pub struct Entra {
    http: Http,
    env: Env,
    token_endpoint: Address,
    registration: Registration,
    deadline: Duration,
}

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

/// An OAuth error object: Entra's own, or one of ours that says why there is none.
#[derive(Clone, Debug)]
pub struct Refusal(Map<String, Value>);

impl Refusal {
    /// An error of ours: OAuth's name for it, and what happened. No secret may be in it.
    #[must_use]
    pub fn new(error: &str, description: impl Into<String>) -> Self {
        let fields = [
            ("error", error.to_owned()),
            ("error_description", description.into()),
        ];
        Self(
            fields
                .map(|(name, text)| (name.to_owned(), text.into()))
                .into_iter()
                .collect(),
        )
    }

    /// A token endpoint's own.
    #[cfg(test)]
    pub(crate) fn from_object(object: Map<String, Value>) -> Self {
        Self(object)
    }

    /// The same with so long to wait, in whole seconds.
    #[must_use]
    pub(crate) fn waiting(mut self, wait: Duration) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "at most an hour")]
        let seconds = wait.as_secs_f64().ceil() as i64;
        self.0.insert("retry_after".to_owned(), seconds.into());
        self
    }

    /// The object as it goes into a reply.
    #[must_use]
    pub fn object(&self) -> &Map<String, Value> {
        &self.0
    }

    /// What it means for the person, and what else is known.
    #[must_use]
    pub fn error(&self) -> Error {
        oauth::error_from_object(&self.0, &[])
    }
}

/// A refusal, and what the same request would bring.
struct Failed {
    refusal: Refusal,
    outlook: Outlook,
    /// Seconds that the token endpoint asks to wait.
    retry_after: Option<f64>,
}

impl Failed {
    fn finally(error: &str, description: String) -> Self {
        Self {
            refusal: Refusal::new(error, description),
            outlook: Outlook::Final,
            retry_after: None,
        }
    }
}

impl Entra {
    /// A client for this registration; `deadline` is that of one exchange, as a rule [`DEADLINE`].
    ///
    /// # Errors
    /// If the authority is no https address (http will do for this machine), or the CA bundle or proxy that the
    /// environment names cannot be used.
    pub fn new(env: Env, registration: Registration, deadline: Duration) -> Result<Self, Error> {
        let authority = authority(&registration.authority)?;
        let token_endpoint = authority.below("oauth2/v2.0/token");
        Ok(Self {
            http: Http::new(Settings::new(&env, token_endpoint.url()))?,
            env,
            token_endpoint,
            registration,
            deadline,
        })
    }

    /// How long a caller waits for an exchange, its turn included.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Whether one exchange of a person has to end before the next one begins.
    #[must_use]
    pub fn revokes_used_refresh_tokens(&self) -> bool {
        self.registration.revokes_used_refresh_tokens
    }

    /// Exchanges a refresh token for an access token, before the deadline. Faults that pass are tried at most twice more.
    ///
    /// # Errors
    /// Entra's error object, unchanged but for `retry_after` (whole seconds) where it throttles; or one of ours:
    /// `temporarily_unavailable` if the token endpoint cannot be reached, is too slow or is out of order,
    /// `server_error` if its reply makes no sense.
    pub async fn exchange(
        &self,
        refresh_token: &SecretString,
        resource: &Resource,
        deadline: Instant,
    ) -> Result<Granted, Refusal> {
        let judge = |failed: &Failed| (failed.outlook, failed.retry_after);
        let attempt = || self.attempt(refresh_token, resource);
        match retried(deadline, RETRIES, judge, attempt).await {
            Ok(outcome) => outcome.map_err(|failed| failed.refusal),
            Err(_) => Err(self.too_slow()),
        }
    }

    /// The answer to whoever has waited until the deadline.
    #[must_use]
    pub fn too_slow(&self) -> Refusal {
        let description = format!(
            "{} gave no answer within {} seconds",
            self.token_endpoint,
            self.deadline.as_secs_f64()
        );
        Refusal::new("temporarily_unavailable", description)
    }

    async fn attempt(
        &self,
        refresh_token: &SecretString,
        resource: &Resource,
    ) -> Result<Granted, Failed> {
        let request = self
            .http
            .client()
            .post(self.token_endpoint.url().clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(self.form(refresh_token, resource));
        let (sent, now) = (Instant::now(), self.env.now());
        let reply = send(&self.http, request, &self.token_endpoint.to_string(), now)
            .await
            .map_err(no_reply)?;
        self.read(&reply, sent, now).map_err(|mut failed| {
            let mut object = Value::Object(failed.refusal.0);
            mask(&mut object, &self.secrets(refresh_token));
            failed.refusal = Refusal(match object {
                Value::Object(object) => object,
                _ => Map::new(),
            });
            failed
        })
    }

    /// What a token endpoint is sent and must not be passed on, though it may quote it.
    fn secrets(&self, refresh_token: &SecretString) -> Vec<SecretString> {
        let client_secret = self.registration.client_secret.iter();
        let mut secrets: Vec<SecretString> = client_secret
            .chain([refresh_token])
            .flat_map(quotable)
            .collect();
        // One may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        secrets
    }

    /// `offline_access` asks for a new refresh token, which is how a session outlives the first one.
    fn form(&self, refresh_token: &SecretString, resource: &Resource) -> String {
        let mut form = Serializer::new(String::new());
        form.append_pair("client_id", &self.registration.client_id)
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", refresh_token.expose_secret())
            .append_pair("scope", &format!("{resource}/.default offline_access"));
        if let Some(client_secret) = &self.registration.client_secret {
            form.append_pair("client_secret", client_secret.expose_secret());
        }
        form.finish()
    }

    /// The reply to a request that left at `sent`, which is `now` by the clock.
    fn read(&self, reply: &Reply, sent: Instant, now: UnixTime) -> Result<Granted, Failed> {
        let server = &self.token_endpoint;
        let status = reply.status;
        match serde_json::from_str(&reply.body) {
            Ok(Value::Object(object)) if object.get("error").is_some_and(Value::is_string) => {
                Err(refused(object, reply))
            }
            Ok(Value::Object(object)) if status < 400 => {
                granted(&object, sent, now).map_err(|what| {
                    let description =
                        format!("the reply from {server} holds no usable token: {what}");
                    Failed::finally("server_error", description)
                })
            }
            _ if status == 429 => {
                let description =
                    format!("{server} takes no more requests for now (HTTP status 429)");
                let refusal = Refusal::new("temporarily_unavailable", description);
                Err(refused(refusal.0, reply))
            }
            _ if status >= 500 => {
                let description = format!("{server} is out of order (HTTP status {status})");
                let refusal = Refusal::new("temporarily_unavailable", description);
                Err(refused(refusal.0, reply))
            }
            _ => {
                let description = format!(
                    "the reply from {server} is not one of a token endpoint (HTTP status {status})"
                );
                Err(Failed::finally("server_error", description))
            }
        }
    }
}

/// The tenant's address. Refresh token and client secret go there, so that nobody else may read them on the way.
fn authority(text: &str) -> Result<Address, Error> {
    // The text is not repeated: it may hold a password.
    let bad = |what: &str| {
        Error::new(
            Kind::Misconfigured,
            format!("the tenant's authority {what}"),
        )
    };
    if !text.contains("://") {
        return Err(bad("has no scheme; write https:// before it"));
    }
    let address = Address::parse(text).map_err(|_| bad("is not an address that can be asked"))?;
    if address.is_in_clear() {
        return Err(bad(
            "is an address of plain http, over which others could read the refresh token; write https:// instead",
        ));
    }
    Ok(address)
}

/// The forms in which a token endpoint may quote a secret: as it is, and percent-encoded in the ways of forms and of URLs,
/// with capital letters or small ones.
fn quotable(secret: &SecretString) -> Vec<SecretString> {
    /// To mask a shorter one would garble any text.
    const SHORTEST: usize = 4;
    const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    let plain = secret.expose_secret();
    let in_form: String = form_urlencoded::byte_serialize(plain.as_bytes()).collect();
    let in_url = utf8_percent_encode(plain, UNRESERVED).to_string();
    let spaced = in_form.replace('+', "%20");
    let small = [&in_form, &in_url, &spaced].map(|text| small_escapes(text));
    [plain.to_owned(), in_form, in_url, spaced]
        .into_iter()
        .chain(small)
        .filter(|text| text.len() >= SHORTEST)
        .map(SecretString::from)
        .collect()
}

/// The text with the letters of its percent-escapes in lower case.
fn small_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let mut small = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escape, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        small.push('%');
        small.push_str(&escape.to_ascii_lowercase());
        small.push_str(rest);
    }
    small
}

/// Masks secrets in every text of a JSON value, also in the names of fields.
fn mask(value: &mut Value, secrets: &[SecretString]) {
    match value {
        Value::String(text) => *text = masked(text, secrets),
        Value::Array(values) => values.iter_mut().for_each(|value| mask(value, secrets)),
        Value::Object(object) => {
            let fields = std::mem::take(object);
            for (name, mut value) in fields {
                mask(&mut value, secrets);
                object.insert(masked(&name, secrets), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn no_reply(failure: Error) -> Failed {
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
        refusal: Refusal(object),
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
    use serde_json::json;

    const NOW: UnixTime = UnixTime::new(1_795_392_000.75);

    fn entra(client_secret: Option<&str>) -> Entra {
        let registration = Registration {
            authority: "http://127.0.0.1:1/tenant/".to_owned(),
            client_id: "the app".to_owned(),
            client_secret: client_secret.map(SecretString::from),
            revokes_used_refresh_tokens: false,
        };
        Entra::new(Env::fixed(&[], NOW), registration, DEADLINE).unwrap()
    }

    fn read(status: u16, retry_after: Option<f64>, body: &str) -> Result<Granted, Failed> {
        let reply = Reply {
            status,
            retry_after,
            is_plain_text: false,
            body: body.to_owned(),
        };
        entra(None).read(&reply, Instant::now(), NOW)
    }

    fn failed(status: u16, retry_after: Option<f64>, body: &str) -> Failed {
        read(status, retry_after, body).err().unwrap()
    }

    #[test]
    fn the_form_has_what_the_endpoint_wants_and_a_secret_only_if_there_is_one() {
        let resource = Resource::parse("https://database.windows.net/").unwrap();
        let form = |secret| entra(secret).form(&"a+b&c".into(), &resource);
        let public = "client_id=the+app&grant_type=refresh_token&refresh_token=a%2Bb%26c\
                      &scope=https%3A%2F%2Fdatabase.windows.net%2F%2F.default+offline_access";
        assert_eq!(form(None), public);
        assert_eq!(form(Some("s=1")), format!("{public}&client_secret=s%3D1"));
    }

    #[test]
    fn an_authority_is_of_https_or_of_this_machine() {
        let new = |authority: &str| {
            let registration = Registration {
                authority: authority.to_owned(),
                client_id: "app".to_owned(),
                client_secret: None,
                revokes_used_refresh_tokens: false,
            };
            Entra::new(Env::fixed(&[], NOW), registration, DEADLINE)
        };
        for good in [
            "http://127.0.0.1:1/t",
            "http://localhost/t",
            "http://[::1]/t",
        ] {
            assert!(new(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("login.microsoftonline.com/canary", "has no scheme"),
            ("127.0.0.1/canary", "has no scheme"),
            ("http://login.microsoftonline.com/canary", "plain http"),
            ("http://localhost.evil.example/canary", "plain http"),
            ("ftp://canary", "is not an address"),
            ("https://user:canary/word@host", "is not an address"),
        ] {
            let error = new(bad).err().unwrap();
            assert_eq!(error.kind(), Kind::Misconfigured, "{bad}");
            assert!(error.message().contains(why), "{bad}: {error}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }

    #[test]
    fn what_the_endpoint_quotes_of_our_secrets_is_masked_wherever_it_stands() {
        let secrets: Vec<_> = [&"canary+a/b".into(), &"canary s=1".into()]
            .into_iter()
            .flat_map(quotable)
            .collect();
        let mut value = json!({
            "error_description": "no: refresh_token=canary%2Ba%2Fb&client_secret=canary+s%3D1",
            "claims": "{\"canary+a/b\":\"canary%20s%3D1\"}",
            "net": "canary%2ba%2fb canary+s%3d1",
            "canary s=1": [{"deep": "canary+a/b"}, 7]
        });
        mask(&mut value, &secrets);
        assert_eq!(
            value,
            json!({
                "error_description": "no: refresh_token=<REDACTED>&client_secret=<REDACTED>",
                "claims": "{\"<REDACTED>\":\"<REDACTED>\"}",
                "net": "<REDACTED> <REDACTED>",
                "<REDACTED>": [{"deep": "<REDACTED>"}, 7]
            })
        );
    }

    #[test]
    fn the_token_endpoint_lies_below_the_authority() {
        let endpoint = entra(None).token_endpoint;
        assert_eq!(
            endpoint.url().as_str(),
            "http://127.0.0.1:1/tenant/oauth2/v2.0/token"
        );
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
        assert_eq!(Value::from(failed.refusal.0), body);
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
            assert_eq!(failed.refusal.0["retry_after"], retry_after, "{body}");
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
            let object = failed(status, None, body).refusal.0;
            assert_eq!(object["error"], "server_error");
            assert_eq!(
                object["error_description"],
                format!("the reply from http://127.0.0.1:1/tenant/oauth2/v2.0/token {description}")
            );
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", entra(Some("canary")).registration);
        assert!(!shown.contains("canary"), "{shown}");
        let body = r#"{"access_token": "canary", "refresh_token": "canary", "id_token": "canary"}"#;
        let shown = format!("{:?}", read(200, None, body).ok().unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }
}
