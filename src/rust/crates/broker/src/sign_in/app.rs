//! The app that a person signs in to: where it sends their browser, and what their answer is worth.

use std::sync::Arc;

use entrar_core::authority::Authority;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::guid::Guid;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;

use super::answer::Outcome;
use super::discovery::Discovery;
use super::failure::{of_object, of_refusal, with_remedy};
use super::id_token::{Expected, Identity, identity};
use super::secrets::Secrets;
use crate::entra::{ClientAuth, DEADLINE, Entra, Grant, Granted, Refusal, Registration};

/// What a sign-in yields.
#[derive(Debug)]
pub struct SignedIn {
    /// Who it is.
    pub identity: Identity,
    /// The refresh token.
    pub refresh_token: SecretString,
    /// Where it is exchanged.
    pub entra: Arc<Entra>,
}

/// An app of a tenant, whose endpoints are known.
#[derive(Debug)]
pub struct App {
    env: Env,
    entra: Arc<Entra>,
    discovery: Discovery,
    client_id: String,
    /// The tenant, if it was asked for by its id.
    tenant: Option<Guid>,
    /// Microsoft Graph of its cloud, for which every app is registered.
    graph: &'static str,
    scope: String,
    redirect_uri: String,
}

/// What the person's page is to ask.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The user name that the page begins with.
    pub login_hint: Option<String>,
    /// Whether the person chooses an account though the browser is signed in to one.
    pub select_account: bool,
    /// A claims challenge for the page to meet, such as a second factor: a JSON text, with which Entra ID has refused a
    /// token. A device code cannot pass it on.
    pub claims: Option<String>,
}

impl App {
    /// Asks the tenant where its endpoints are. The answer to a sign-in comes to `redirect_uri`. `works_once` says whether a
    /// refresh token is revoked once another one was granted for it; without it this is taken for granted of others than
    /// Entra ID, which tell nobody beforehand.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if there is no such tenant; [`Kind::Timeout`] if it takes more than 20 seconds to say; its own
    /// errors, and what keeps it from being reached.
    pub async fn find(
        env: &Env,
        authority: &Authority,
        tenant: &str,
        client_id: Guid,
        auth: ClientAuth,
        redirect_uri: String,
        works_once: Option<bool>,
    ) -> Result<Self, Error> {
        let discovery = Discovery::of(env, authority, tenant).await?;
        let registration = Registration {
            token_endpoint: discovery.token_endpoint.to_string(),
            client_id: client_id.to_string(),
            auth,
            revokes_used_refresh_tokens: works_once.unwrap_or(!authority.is_a_cloud()),
        };
        // Consent is asked for all that the app is registered for at once, where any one resource is named with
        // `.default`.
        let graph = authority.graph();
        let scope = format!("openid profile offline_access {graph}/.default");
        Ok(Self {
            env: env.clone(),
            entra: Arc::new(Entra::new(env.clone(), registration, DEADLINE)?),
            discovery,
            client_id: client_id.to_string(),
            tenant: tenant.parse().ok(),
            graph,
            scope,
            redirect_uri,
        })
    }

    /// The same app, which proves itself by `auth` and is reached as `env` says. The tenant is not asked again.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if the CA bundle or proxy that the environment names cannot be used.
    pub fn renewed(&self, env: &Env, auth: ClientAuth) -> Result<Self, Error> {
        let registration = Registration {
            token_endpoint: self.discovery.token_endpoint.to_string(),
            client_id: self.client_id.clone(),
            auth,
            revokes_used_refresh_tokens: self.entra.revokes_used_refresh_tokens(),
        };
        Ok(Self {
            env: env.clone(),
            entra: Arc::new(Entra::new(env.clone(), registration, DEADLINE)?),
            discovery: self.discovery.clone(),
            client_id: self.client_id.clone(),
            tenant: self.tenant,
            graph: self.graph,
            scope: self.scope.clone(),
            redirect_uri: self.redirect_uri.clone(),
        })
    }

    /// Where its refresh tokens are exchanged.
    #[must_use]
    pub fn entra(&self) -> &Arc<Entra> {
        &self.entra
    }

    /// Where device codes are asked for; `None` where the tenant knows none.
    pub(super) fn device_authorization_endpoint(&self) -> Option<Url> {
        self.discovery.device_authorization_endpoint.clone()
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(super) fn scope(&self) -> &str {
        &self.scope
    }

    /// Where the person's browser meets Entra ID (RFC 6749, 4.1.1; RFC 7636).
    #[must_use]
    pub fn authorization_url(&self, secrets: &Secrets, wishes: &Wishes) -> Url {
        let mut url = self.discovery.authorization_endpoint.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("client_id", &self.client_id)
            .append_pair("response_type", "code")
            .append_pair("response_mode", "query")
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", &self.scope)
            .append_pair("state", secrets.state.expose_secret())
            .append_pair("nonce", secrets.nonce.expose_secret())
            .append_pair("code_challenge", &secrets.challenge())
            .append_pair("code_challenge_method", "S256");
        if wishes.select_account {
            query.append_pair("prompt", "select_account");
        }
        if let Some(hint) = &wishes.login_hint {
            query.append_pair("login_hint", hint);
        }
        if let Some(claims) = &wishes.claims {
            query.append_pair("claims", claims);
        }
        drop(query);
        url
    }

    /// Redeems what the person's browser came back with. Its state was looked at before.
    ///
    /// # Errors
    /// What Entra ID said, and what is wrong with the id_token.
    pub async fn redeem_answer(
        &self,
        secrets: &Secrets,
        outcome: Outcome,
    ) -> Result<SignedIn, Error> {
        let code = match outcome {
            Outcome::Code(code) => code,
            Outcome::Error(object) => {
                let Secrets {
                    state,
                    nonce,
                    verifier,
                } = secrets;
                return Err(of_object(
                    &object,
                    &[state, nonce, verifier].map(Clone::clone),
                ));
            }
        };
        let grant = Grant::Code {
            code: &code,
            redirect_uri: &self.redirect_uri,
            verifier: &secrets.verifier,
        };
        let granted = self
            .redeem(&grant)
            .await
            .map_err(|refusal| of_refusal(&refusal))?;
        self.signed_in(granted, Some(&secrets.nonce))
    }

    /// Sees whether the app can prove itself. Its own token is thrown away.
    ///
    /// # Errors
    /// The tenant's refusal.
    pub async fn prove(&self) -> Result<(), Refusal> {
        let deadline = Instant::now() + self.entra.deadline();
        let scope = format!("{}/.default", self.graph);
        let granted = self
            .entra
            .redeem(&Grant::ClientCredentials, &scope, deadline);
        granted.await.map(|_| ())
    }

    /// Redeems a grant of a sign-in.
    pub(super) async fn redeem(&self, grant: &Grant<'_>) -> Result<Granted, Refusal> {
        let deadline = Instant::now() + self.entra.deadline();
        self.entra.redeem(grant, &self.scope, deadline).await
    }

    /// Finds out who it is that the token endpoint has granted this to.
    pub(super) fn signed_in(
        &self,
        granted: Granted,
        nonce: Option<&SecretString>,
    ) -> Result<SignedIn, Error> {
        let expected = Expected {
            issuer: &self.discovery.issuer,
            client_id: &self.client_id,
            nonce,
            tenant: self.tenant,
            now: self.env.now(),
        };
        let identity = identity(granted.id_token.as_ref(), &expected)?;
        let refresh_token = granted.refresh_token.ok_or_else(|| {
            with_remedy(
                Kind::Misconfigured,
                "Entra ID granted no refresh token, without which nobody stays signed in",
                "Ask an administrator to give the app the permission offline_access.",
            )
        })?;
        Ok(SignedIn {
            identity,
            refresh_token,
            entra: Arc::clone(&self.entra),
        })
    }
}
