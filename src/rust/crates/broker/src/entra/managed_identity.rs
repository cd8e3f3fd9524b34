//! A managed identity of Azure: the machine that the broker runs on vouches for the app, which then has no secret that
//! expires. Source: Microsoft's "How to use managed identities to acquire an access token" and "Configure an application to
//! trust a managed identity".

use std::fmt;
use std::time::Duration;

use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::guid::Guid;
use entrar_core::http::{Http, Settings, send};
use entrar_core::time::UnixTime;
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

/// Where Azure's machines ask, which no other machine reaches.
pub const AZURE: &str = "http://169.254.169.254";
/// What the token of the identity is for.
const AUDIENCE: &str = "api://AzureADTokenExchange";
/// How long before its end a token is asked for anew.
const MARGIN: f64 = 300.0;
/// How long the machine may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An identity that the machine has.
pub struct ManagedIdentity {
    http: Http,
    url: Url,
    /// The token of now, and when it ends.
    kept: Mutex<Option<(SecretString, UnixTime)>>,
}

impl fmt::Debug for ManagedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_str();
        f.debug_tuple("ManagedIdentity").field(&url).finish()
    }
}

impl ManagedIdentity {
    /// The identity with this client id, or the machine's own; `authority` is [`AZURE`], or what stands in for it.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if the address cannot be asked.
    pub fn new(authority: &str, client_id: Option<Guid>) -> Result<Self, Error> {
        let bad = || {
            Error::new(
                Kind::Misconfigured,
                "the managed identity's address cannot be asked",
            )
        };
        let mut url = Url::parse(authority)
            .and_then(|url| url.join("/metadata/identity/oauth2/token"))
            .map_err(|_| bad())?;
        url.query_pairs_mut()
            .append_pair("api-version", "2018-02-01")
            .append_pair("resource", AUDIENCE);
        if let Some(client_id) = client_id {
            url.query_pairs_mut()
                .append_pair("client_id", &client_id.to_string());
        }
        // It is this machine that answers: no proxy stands in between.
        let settings = Settings::new(&Env::with_variables(&[]), &url);
        Ok(Self {
            http: Http::new(settings)?,
            url,
            kept: Mutex::new(None),
        })
    }

    /// Its token of now, by which the app proves itself.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if the machine has no such identity; what keeps it from being asked.
    pub(super) async fn assertion(&self, now: UnixTime) -> Result<SecretString, Error> {
        let mut kept = self.kept.lock().await;
        match &*kept {
            Some((token, expires_at)) if now + MARGIN < *expires_at => return Ok(token.clone()),
            _ => {}
        }
        let (token, expires_at) = self.ask(now).await?;
        *kept = Some((token.clone(), expires_at));
        Ok(token)
    }

    async fn ask(&self, now: UnixTime) -> Result<(SecretString, UnixTime), Error> {
        let failed = |what: String| {
            Error::new(
                Kind::Misconfigured,
                format!("the managed identity of this machine gives no token: {what}"),
            )
        };
        let request = self
            .http
            .client()
            .get(self.url.clone())
            .header("Metadata", "true")
            .timeout(TIMEOUT);
        let reply = send(&self.http, request, "the managed identity", now)
            .await
            .map_err(|error| failed(error.message().to_owned()))?;
        if reply.status != 200 {
            return Err(failed(format!("HTTP status {}", reply.status)));
        }
        // The body is not quoted: it may hold a token.
        let object: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        let token = object
            .get("access_token")
            .and_then(Value::as_str)
            .filter(|token| !token.is_empty());
        let lifetime = object.get("expires_in").and_then(seconds);
        match (token, lifetime) {
            (Some(token), Some(lifetime)) => Ok((token.to_owned().into(), now + lifetime)),
            _ => Err(failed("its answer is not understood".to_owned())),
        }
    }
}

/// A number, or a string that holds one.
fn seconds(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    (number.is_finite() && number >= 0.0).then_some(number)
}
