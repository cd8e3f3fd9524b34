//! Posit Connect: published content exchanges a session token of Connect's for a token of an OAuth integration that is attached
//! to it. A *viewer's* session token stands for whoever looks at the content, the content's own for the content.
//!
//! Here nothing else is an origin of tokens: whoever runs the process is not whom it serves. None of this was tried at a
//! Connect of Posit's; its forms are those that connectcreds and posit-sdk send and read.

mod audience;
mod integrations;
mod place;
mod remedy;
mod reply;

use std::time::Duration;

use entrar_core::env::Env;
use entrar_core::error::Error;
use entrar_core::http::{Http, send};
use entrar_core::resource::Resource;
use entrar_core::retry::{RETRIES, retried};
use entrar_core::token::Token;
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::form_urlencoded::Serializer;

pub use integrations::{Integration, Integrations};
pub use place::Place;
pub use remedy::{IN_A_SESSION, usual};

use crate::connect::integrations::Choice;
use crate::rpc::too_slow;

const EXCHANGE: &str = "__api__/v1/oauth/integrations/credentials";
const FORM: &str = "application/x-www-form-urlencoded";

/// Whom a token is to stand for.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Whoever looks at the content, by the session token that came with their request.
    Viewer(SecretString),
    /// The content itself, by its own session token.
    Content,
}

impl Subject {
    const fn is_viewer(&self) -> bool {
        matches!(self, Self::Viewer(_))
    }

    /// What it is called where integrations are listed.
    const fn auth_type(&self) -> &'static str {
        match self {
            Self::Viewer(_) => "Viewer",
            Self::Content => "Service Account",
        }
    }

    const fn token_type(&self) -> &'static str {
        match self {
            Self::Viewer(_) => "urn:posit:connect:user-session-token",
            Self::Content => "urn:posit:connect:content-session-token",
        }
    }

    fn token(&self, env: &Env) -> Result<SecretString, Error> {
        match self {
            Self::Viewer(token) => Ok(token.clone()),
            Self::Content => place::content_token(env),
        }
    }
}

/// Asks Connect for a fresh token, within `timeout` in all: of the integration that the author has `named` by its GUID, else of
/// the one that is for the resource. `listed` is what this content's integrations were when they were last asked for; they
/// are asked for where it is empty, and forgotten when what they say no longer holds.
///
/// # Errors
/// Any [`entrar_core::error::Kind`], with what to do about it.
pub async fn token(
    http: &Http,
    env: &Env,
    (place, subject): (&Place, &Subject),
    resource: &Resource,
    named: Option<&str>,
    listed: &Integrations,
    timeout: Duration,
) -> Result<Token, Error> {
    let deadline = Instant::now() + timeout;
    let judge = |error: &Error| (error.outlook(), error.details().retry_after);
    let question = Question {
        http,
        env,
        place,
        subject,
        resource,
    };
    let attempt = || question.ask(named, listed);
    let outcome = match retried(deadline, RETRIES, judge, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(too_slow(&place.server(), timeout)),
    };
    outcome.map_err(|error| {
        // What was attached may be another by now.
        listed.forget();
        remedy::advised(error, subject.is_viewer())
    })
}

/// What is asked for.
struct Question<'a> {
    http: &'a Http,
    env: &'a Env,
    place: &'a Place,
    subject: &'a Subject,
    resource: &'a Resource,
}

impl Question<'_> {
    async fn ask(&self, named: Option<&str>, listed: &Integrations) -> Result<Token, Error> {
        let choice = match named {
            Some(guid) => Choice::Named(guid.to_owned()),
            None => integrations::choose(self, listed).await?,
        };
        let exchanged = self.exchange(choice.guid()).await;
        exchanged.map_err(|error| choice.explain(error, self.resource))
    }

    async fn exchange(&self, integration: Option<&str>) -> Result<Token, Error> {
        let token = self.subject.token(self.env)?;
        let secrets = [token.clone(), self.place.key().clone()];
        let mut form = Serializer::new(String::new());
        form.append_pair(
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        )
        .append_pair("subject_token", token.expose_secret())
        .append_pair("subject_token_type", self.subject.token_type())
        .append_pair(
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        );
        if let Some(guid) = integration {
            form.append_pair("audience", guid);
        }
        let request = self.http.client().post(self.place.url(EXCHANGE));
        let request = self
            .authorized(request)?
            .header("content-type", FORM)
            .body(form.finish());
        let sent = self.env.now();
        let server = self.place.server();
        let got = send(self.http, request, &server, sent).await?;
        let token = reply::token(&got, &server, sent, &secrets)?;
        audience::check(&token, self.resource)?;
        Ok(token)
    }

    /// What is read of Connect as JSON.
    async fn read(&self, path: &str) -> Result<serde_json::Value, Error> {
        let request = self.http.client().get(self.place.url(path));
        let server = self.place.server();
        let request = self.authorized(request)?;
        let got = send(self.http, request, &server, self.env.now()).await?;
        reply::json(&got, &server, &[self.place.key().clone()])
    }

    fn authorized(&self, request: RequestBuilder) -> Result<RequestBuilder, Error> {
        let value = format!("Key {}", self.place.key().expose_secret());
        let mut value = HeaderValue::from_str(&value).map_err(|_| place::unusable_key())?;
        value.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, value))
    }
}
