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
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::form_urlencoded::{Serializer, byte_serialize};

pub use integrations::Integrations;
pub use place::Place;
pub use remedy::{advised, usual};

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
    /// Whether it is somebody who looks at the content.
    #[must_use]
    pub const fn is_viewer(&self) -> bool {
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
/// Any [`entrar_core::error::Kind`]; [`advised`] knows what to do about it.
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
    // What was attached may be another by now.
    outcome.inspect_err(|_| listed.forget())
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
        let encoded: String = byte_serialize(token.expose_secret().as_bytes()).collect();
        let secrets = [token.clone(), encoded.into(), self.place.key().clone()];
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
            .header(CONTENT_TYPE, FORM)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};
    use std::thread;

    /// A Connect with two integrations, of which scopes may not be read, and perhaps no list either. It notes the paths.
    fn connect(lists: bool) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                while !is_whole(&request) {
                    let mut bytes = [0; 4096];
                    let count = stream.read(&mut bytes).unwrap();
                    request.extend_from_slice(&bytes[..count]);
                }
                let head = String::from_utf8_lossy(&request).into_owned();
                let path = head.split(' ').nth(1).unwrap().to_owned();
                let integration = |digit: &str, template: &str| {
                    let guid = format!("{}-1111-1111-1111-111111111111", digit.repeat(8));
                    format!(
                        r#"{{"oauth_integration_guid": "{guid}", "oauth_integration_auth_type": "Viewer", "oauth_integration_template": "{template}"}}"#
                    )
                };
                let (status, body) = if path.ends_with("/associations") && lists {
                    let all = [integration("1", "azure"), integration("2", "msgraph")];
                    ("200 OK", format!("[{}]", all.join(",")))
                } else if path.ends_with("/credentials") {
                    ("200 OK", r#"{"access_token": "token"}"#.to_owned())
                } else {
                    ("403 Forbidden", r#"{"code": 22, "error": "no"}"#.to_owned())
                };
                noted.lock().unwrap().push(path);
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
                )
                .unwrap();
            }
        });
        (address, seen)
    }

    fn is_whole(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return false;
        };
        let length = head.split_once("content-length: ");
        let length = length.map_or("0", |(_, rest)| rest.split("\r\n").next().unwrap());
        body.len() >= length.parse().unwrap()
    }

    #[test]
    fn what_is_attached_is_asked_once_whether_it_may_be_read_or_not() {
        for (lists, expected) in [(true, 1 + 2 + 3), (false, 1 + 3)] {
            let (address, seen) = connect(lists);
            let env = Env::with_variables(&[
                ("CONNECT_SERVER", &address),
                ("CONNECT_API_KEY", "canary-key"),
                (
                    "CONNECT_CONTENT_GUID",
                    "33333333-1111-1111-1111-111111111111",
                ),
            ]);
            let place = Place::find(&env).unwrap();
            let http = Http::new(place.settings(&env)).unwrap();
            let subject = Subject::Viewer("canary-session".into());
            let resource = Resource::parse("https://storage.azure.com").unwrap();
            let listed = Integrations::default();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            for _ in 0..3 {
                let asked = (&place, &subject);
                let patience = Duration::from_secs(60);
                let got = token(&http, &env, asked, &resource, None, &listed, patience);
                runtime.block_on(got).unwrap();
            }
            let seen = seen.lock().unwrap();
            assert_eq!(seen.len(), expected, "{seen:?}");
        }
    }
}
