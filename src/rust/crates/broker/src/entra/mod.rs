//! The tenant's token endpoint: a grant in, an access token or an OAuth error out.

mod certificate;
mod client_auth;
mod grant;
mod managed_identity;
mod mask;
mod refusal;
mod reply;

use std::fmt;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use entrar_core::address::Address;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::http::{Http, Settings, send};
use entrar_core::resource::Resource;
use entrar_core::retry::{RETRIES, retried};
use secrecy::SecretString;
use tokio::time::Instant;
use url::form_urlencoded::Serializer;

pub use certificate::Certificate;
use client_auth::Proof;
pub use client_auth::{Assertion, ClientAuth};
pub use grant::{Grant, scope_of};
pub use managed_identity::{AZURE, ManagedIdentity};
pub use refusal::Refusal;
pub use reply::Granted;
use reply::{Failed, no_reply, read};

/// How long an exchange may take, connections and retries included. It is shorter than the 30 seconds that a client
/// waits, so that the client gets an answer which says what happened.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The app's registration with its tenant.
#[derive(Debug)]
pub struct Registration {
    /// The address of the tenant's token endpoint, such as [`token_endpoint_of`] makes.
    pub token_endpoint: String,
    /// The app's id.
    pub client_id: String,
    /// How the app proves itself.
    pub auth: ClientAuth,
    /// Whether the provider revokes a refresh token once it has granted a new one. Entra ID does not, so that it may be
    /// asked for several resources at once.
    pub revokes_used_refresh_tokens: bool,
}

/// The token endpoint of an Entra ID tenant with this address, for example `https://login.microsoftonline.com/TENANT`.
#[must_use]
pub fn token_endpoint_of(tenant: &str) -> String {
    format!("{}/oauth2/v2.0/token", tenant.trim_end_matches('/'))
}

/// A client of one tenant's token endpoint.
pub struct Entra {
    http: Http,
    env: Env,
    token_endpoint: Address,
    registration: Registration,
    deadline: Duration,
}

impl fmt::Debug for Entra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entra").field(&self.registration).finish()
    }
}

impl Entra {
    /// A client for this registration; `deadline` is that of one exchange, as a rule [`DEADLINE`].
    ///
    /// # Errors
    /// If the token endpoint has no https address (http will do for this machine), or the CA bundle or proxy that the
    /// environment names cannot be used.
    pub fn new(env: Env, registration: Registration, deadline: Duration) -> Result<Self, Error> {
        let token_endpoint = endpoint(&registration.token_endpoint)?;
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

    /// Exchanges a refresh token for an access token to a resource, before the deadline.
    ///
    /// # Errors
    /// As [`Entra::redeem`].
    pub async fn exchange(
        &self,
        refresh_token: &SecretString,
        resource: &Resource,
        deadline: Instant,
    ) -> Result<Granted, Refusal> {
        self.redeem(
            &Grant::Refresh(refresh_token),
            &scope_of(resource),
            deadline,
        )
        .await
    }

    /// Redeems a grant for tokens with this scope, before the deadline. Faults that pass are tried at most twice more.
    ///
    /// # Errors
    /// Entra's error object, unchanged but for our secrets, which are masked, and for `retry_after` (whole seconds) where it
    /// throttles; or one of ours: `temporarily_unavailable` if the token endpoint cannot be reached, is too slow or is out
    /// of order, `server_error` if its reply makes no sense, `invalid_client` if the app cannot prove itself.
    pub async fn redeem(
        &self,
        grant: &Grant<'_>,
        scope: &str,
        deadline: Instant,
    ) -> Result<Granted, Refusal> {
        let judge = |failed: &Failed| (failed.outlook, failed.retry_after);
        let attempt = || self.attempt(grant, scope);
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

    async fn attempt(&self, grant: &Grant<'_>, scope: &str) -> Result<Granted, Failed> {
        let (sent, now) = (Instant::now(), self.env.now());
        let (form, secrets) = self.form(grant, scope).await?;
        let request = self
            .http
            .client()
            .post(self.token_endpoint.url().clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let reply = send(&self.http, request, &self.token_endpoint.to_string(), now)
            .await
            .map_err(no_reply)?;
        read(&self.token_endpoint, &reply, sent, now).map_err(|mut failed| {
            let object = mask::without(failed.refusal.into_object(), &secrets);
            failed.refusal = Refusal::from_object(object);
            failed
        })
    }

    /// The form to post, and what of it must not be passed on though the endpoint may quote it.
    async fn form(
        &self,
        grant: &Grant<'_>,
        scope: &str,
    ) -> Result<(String, Vec<SecretString>), Failed> {
        let Registration {
            client_id, auth, ..
        } = &self.registration;
        let endpoint = self.token_endpoint.url().as_str();
        let proof = auth
            .proof(client_id, endpoint, self.env.now())
            .await
            .map_err(|error| Failed::of_ours(Refusal::from(&error)))?;
        let mut form = Serializer::new(String::new());
        form.append_pair("client_id", client_id);
        grant.add_to(&mut form);
        form.append_pair("scope", scope);
        if let Some(proof) = &proof {
            proof.add_to(&mut form);
        }
        let proof = proof.map(Proof::into_secret);
        let secrets = grant.secrets().into_iter().chain(proof).collect();
        Ok((form.finish(), secrets))
    }
}

/// A token endpoint's address. Refresh token and client secret go there, so that nobody else may read them on the way.
fn endpoint(text: &str) -> Result<Address, Error> {
    // The text is not repeated: it may hold a password.
    let bad = |what: &str| Error::new(Kind::Misconfigured, format!("the tenant's address {what}"));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn new(token_endpoint: String, auth: ClientAuth) -> Result<Entra, Error> {
        let registration = Registration {
            token_endpoint,
            client_id: "the app".to_owned(),
            auth,
            revokes_used_refresh_tokens: false,
        };
        Entra::new(Env::fixed(&[], 0.0), registration, DEADLINE)
    }

    fn entra(auth: ClientAuth) -> Entra {
        new(token_endpoint_of("http://127.0.0.1:1/tenant/"), auth).unwrap()
    }

    #[tokio::test]
    async fn the_form_has_what_the_endpoint_wants_and_a_secret_only_if_there_is_one() {
        let form = async |auth| {
            let (entra, refresh_token) = (entra(auth), "a+b&c".into());
            let grant = Grant::Refresh(&refresh_token);
            let form = entra.form(&grant, "r/.default x").await;
            form.ok().unwrap().0
        };
        let public = "client_id=the+app&grant_type=refresh_token&refresh_token=a%2Bb%26c&scope=r%2F.default+x";
        assert_eq!(form(ClientAuth::Public).await, public);
        let secret = ClientAuth::Secret("s=1".into());
        assert_eq!(form(secret).await, format!("{public}&client_secret=s%3D1"));
    }

    #[test]
    fn a_token_endpoint_is_of_https_or_of_this_machine() {
        let new = |address: &str| new(address.to_owned(), ClientAuth::Public);
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
    fn the_token_endpoint_lies_below_the_tenant() {
        assert_eq!(
            entra(ClientAuth::Public).token_endpoint.url().as_str(),
            "http://127.0.0.1:1/tenant/oauth2/v2.0/token"
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let auth = ClientAuth::Secret("canary".into());
        let shown = format!("{:?}", entra(auth).registration);
        assert!(!shown.contains("canary"), "{shown}");
    }
}
