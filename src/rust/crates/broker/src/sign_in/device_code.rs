//! Signing in with a code that the person types on a page of Entra ID (RFC 8628).

use std::time::Duration;

use entrar_core::address::is_loopback;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until};
use url::Url;
use url::form_urlencoded::Serializer;

use super::app::{App, SignedIn};
use super::ask::ask;
use super::failure::{code_expired, misconfigured, of_refusal, with_remedy};
use super::{Invitation, LIFETIME};
use crate::entra::Grant;

/// By how much longer to wait each time that the endpoint is asked too often.
const SLOWER: Duration = Duration::from_secs(5);
/// The shortest and the longest interval that is believed.
const INTERVALS: (f64, f64) = (1.0, 60.0);
/// The shortest and the longest lifetime that is believed.
const LIFETIMES: (f64, f64) = (1.0, LIFETIME.as_secs_f64());

/// A code that was given out.
#[derive(Debug)]
pub(super) struct Device {
    code: SecretString,
    user_code: String,
    address: Url,
    /// How long the code can be typed, at most as long as a sign-in may take.
    pub(super) lifetime: Duration,
    interval: Duration,
}

impl Device {
    /// Asks for a code.
    pub(super) async fn ask(env: &Env, app: &App) -> Result<Self, Error> {
        let endpoint = app.device_authorization_endpoint().ok_or_else(|| {
            misconfigured(
                "this tenant knows no device codes",
                "Sign in with method = \"browser\", or \"paste\".",
            )
        })?;
        let form = Serializer::new(String::new())
            .append_pair("client_id", app.client_id())
            .append_pair("scope", app.scope())
            .finish();
        let server = endpoint.origin().ascii_serialization();
        let said = ask(env, &server, &endpoint, Some(&form)).await?;
        let object = said.object.ok_or_else(|| bad_reply(&server, said.status))?;
        Self::read(&object).ok_or_else(|| bad_reply(&server, said.status))
    }

    fn read(object: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| object.get(name)?.as_str();
        let seconds = |name: &str, usual: f64, (least, most): (f64, f64)| {
            let given = object.get(name).and_then(Value::as_f64);
            Duration::from_secs_f64(given.unwrap_or(usual).clamp(least, most))
        };
        // It is shown to the person, who is to type a secret there.
        let address = Url::parse(text("verification_uri")?)
            .ok()
            .filter(|url| url.scheme() == "https" || is_loopback(url))?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let user_code = text("user_code")
            .filter(|code| (1..=40).contains(&code.len()) && code.chars().all(is_plain))?;
        let code = text("device_code").filter(|code| !code.is_empty())?;
        Some(Self {
            code: code.into(),
            user_code: user_code.to_owned(),
            address,
            lifetime: seconds("expires_in", LIFETIME.as_secs_f64(), LIFETIMES),
            interval: seconds("interval", 5.0, INTERVALS),
        })
    }

    pub(super) fn invitation(&self) -> Invitation {
        Invitation::DeviceCode {
            address: self.address.clone(),
            user_code: self.user_code.clone(),
        }
    }

    /// Asks until the person has answered. The last time is at the deadline: who has just answered is not sent away.
    pub(super) async fn poll(mut self, app: &App, deadline: Instant) -> Result<SignedIn, Error> {
        let mut next = Instant::now() + self.interval;
        loop {
            sleep_until(next.min(deadline)).await;
            let refusal = match app.redeem(&Grant::DeviceCode(&self.code)).await {
                Ok(granted) => return app.signed_in(granted, None),
                Err(refusal) => refusal,
            };
            let object = refusal.object();
            match object.get("error").and_then(Value::as_str) {
                // A network that is gone for a while, as after sleep, ends nothing.
                Some("authorization_pending" | "temporarily_unavailable") => {}
                Some("slow_down") => self.interval += SLOWER,
                Some("expired_token" | "code_expired") => return Err(code_expired()),
                Some("authorization_declined") => return Err(declined()),
                _ => return Err(of_refusal(&refusal)),
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(code_expired());
            }
            let asked = object.get("retry_after").and_then(Value::as_u64);
            next = now + self.interval.max(Duration::from_secs(asked.unwrap_or(0)));
        }
    }
}

/// As Entra ID says it of a device code; elsewhere it is `access_denied`.
fn declined() -> Error {
    with_remedy(
        Kind::AccessDenied,
        "the sign-in was declined on the page that asked for the code",
        "If that was a mistake, sign in again.",
    )
}

fn bad_reply(server: &str, status: u16) -> Error {
    let message = format!("{server} gave no device code (HTTP status {status})");
    Error::new(Kind::BadReply, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(change: impl Fn(&mut Value)) -> Option<Device> {
        let mut object = json!({
            "device_code": "canary", "user_code": "ABCD-1234", "expires_in": 600, "interval": 7,
            "verification_uri": "https://microsoft.com/devicelogin", "message": "Open a page."
        });
        change(&mut object);
        Device::read(object.as_object().unwrap())
    }

    #[test]
    fn a_code_is_read_with_its_times() {
        let device = read(|_| {}).unwrap();
        assert_eq!(device.user_code, "ABCD-1234");
        assert_eq!(device.address.as_str(), "https://microsoft.com/devicelogin");
        assert_eq!(
            (device.lifetime.as_secs(), device.interval.as_secs()),
            (600, 7)
        );
        assert!(!format!("{device:?}").contains("canary"));
        let usual = read(|object| {
            object["expires_in"] = Value::Null;
            object["interval"] = Value::Null;
        });
        let usual = usual.unwrap();
        assert_eq!((usual.lifetime, usual.interval.as_secs()), (LIFETIME, 5));
        let absurd = read(|object| {
            object["expires_in"] = json!(1e300);
            object["interval"] = json!(-1);
        });
        let absurd = absurd.unwrap();
        assert_eq!((absurd.lifetime, absurd.interval.as_secs()), (LIFETIME, 1));
    }

    #[test]
    fn what_cannot_be_shown_to_a_person_is_no_code() {
        for (name, value) in [
            ("device_code", json!("")),
            ("device_code", Value::Null),
            ("user_code", json!("")),
            ("user_code", json!("A\u{1b}[2J")),
            ("user_code", json!("A".repeat(41))),
            ("verification_uri", json!("http://evil.example/")),
            ("verification_uri", json!("javascript:alert(1)")),
            ("verification_uri", Value::Null),
        ] {
            assert!(
                read(|object| object[name] = value.clone()).is_none(),
                "{name}: {value}"
            );
        }
    }
}
