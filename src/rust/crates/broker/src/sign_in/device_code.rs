//! Signing in with a code that the person types on a page of Entra ID (RFC 8628).

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::http::{Http, Settings, send};
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use url::Url;
use url::form_urlencoded::Serializer;

use super::Invitation;
use super::attempt::{Attempt, SignedIn};
use super::failure::{misconfigured, of_object, of_refusal, too_late, with_remedy};
use crate::entra::Grant;

/// By how much longer to wait each time that the endpoint is asked too often.
const SLOWER: Duration = Duration::from_secs(5);
/// The shortest and the longest interval that is believed.
const INTERVALS: (f64, f64) = (1.0, 60.0);

/// A code that was given out.
#[derive(Debug)]
pub(super) struct Device {
    code: SecretString,
    user_code: String,
    address: Url,
    interval: Duration,
}

impl Device {
    /// Asks for a code.
    pub(super) async fn ask(
        env: &Env,
        attempt: &Attempt,
        endpoint: Option<Url>,
    ) -> Result<Self, Error> {
        let endpoint = endpoint.ok_or_else(|| {
            misconfigured(
                "this tenant knows no device codes",
                "Sign in with method = \"browser\", or \"paste\".",
            )
        })?;
        let http = Http::new(Settings::new(env, &endpoint))?;
        let form = Serializer::new(String::new())
            .append_pair("client_id", attempt.client_id())
            .append_pair("scope", &attempt.scope)
            .finish();
        let server = endpoint.origin().ascii_serialization();
        let request = http
            .client()
            .post(endpoint)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let reply = send(&http, request, &server, env.now()).await?;
        let object = match serde_json::from_str(&reply.body) {
            Ok(Value::Object(object)) => object,
            _ => return Err(bad_reply(&server, reply.status)),
        };
        if object.get("error").is_some_and(Value::is_string) {
            return Err(of_object(&object, &[]));
        }
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        let found = (
            text("device_code"),
            text("user_code"),
            text("verification_uri"),
        );
        let (Some(code), Some(user_code), Some(address)) = found else {
            return Err(bad_reply(&server, reply.status));
        };
        // It is shown to the person, who is to type a secret there.
        let address = Url::parse(address)
            .ok()
            .filter(|url| url.scheme() == "https" || entrar_core::address::is_loopback(url))
            .ok_or_else(|| bad_reply(&server, reply.status))?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if user_code.is_empty() || user_code.len() > 40 || !user_code.chars().all(is_plain) {
            return Err(bad_reply(&server, reply.status));
        }
        let interval = object
            .get("interval")
            .and_then(Value::as_f64)
            .unwrap_or(5.0);
        Ok(Self {
            code: code.into(),
            user_code: user_code.to_owned(),
            address,
            interval: Duration::from_secs_f64(interval.clamp(INTERVALS.0, INTERVALS.1)),
        })
    }

    pub(super) fn invitation(&self) -> Invitation {
        Invitation::DeviceCode {
            address: self.address.clone(),
            user_code: self.user_code.clone(),
        }
    }

    /// Asks until the person has answered, and ends the attempt.
    pub(super) async fn poll(self, attempt: Arc<Attempt>, deadline: Instant) {
        let outcome = self.outcome(&attempt, deadline).await;
        attempt.end(outcome);
    }

    async fn outcome(mut self, attempt: &Attempt, deadline: Instant) -> Result<SignedIn, Error> {
        loop {
            if Instant::now() + self.interval > deadline {
                return Err(too_late());
            }
            sleep(self.interval).await;
            let refusal = match attempt.redeem(&Grant::DeviceCode(&self.code)).await {
                Ok(granted) => return attempt.signed_in(granted, None),
                Err(refusal) => refusal,
            };
            let name = refusal.object().get("error").and_then(Value::as_str);
            match name {
                // A network that is gone for a while, as after sleep, ends nothing.
                Some("authorization_pending" | "temporarily_unavailable") => {}
                Some("slow_down") => self.interval += SLOWER,
                Some("expired_token" | "code_expired") => return Err(too_late()),
                Some("authorization_declined" | "access_denied") => {
                    return Err(with_remedy(
                        Kind::AccessDenied,
                        "the sign-in was declined on the page",
                        "If that was a mistake, sign in again. If you did not begin it, somebody else may know your code: decline it.",
                    ));
                }
                _ => return Err(of_refusal(&refusal)),
            }
        }
    }
}

fn bad_reply(server: &str, status: u16) -> Error {
    let message = format!("{server} gave no device code (HTTP status {status})");
    Error::new(Kind::BadReply, message)
}
