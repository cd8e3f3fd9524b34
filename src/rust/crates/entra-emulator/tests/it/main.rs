//! The emulator, tested as a client sees it: by its replies.

// The helpers below are test code too, which clippy.toml's exceptions do not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod browser;
mod clients;
mod codes;
mod connect;
mod devices;
mod discovery;
mod faults;
mod https;
mod pages;
mod resources;
mod secrets;
mod server;
mod sign_in;
mod token_errors;
mod token_success;
mod vault;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use entra_emulator::{App, Clock, Credential, Options, Tenant, User, app};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tower::ServiceExt;

/// 2026-11-23 04:00:00Z.
const NOW: i64 = 1_795_406_400;
const HOST: &str = "127.0.0.1:8080";
const STORAGE: &str = "https://storage.azure.com";
const GRAPH: &str = "https://graph.microsoft.com";

/// A tenant whose clock the test moves, with Ada signed in, and its routes.
struct Emulated {
    tenant: Arc<Tenant>,
    app: Router,
    time: Arc<AtomicI64>,
    refresh_token: String,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }
}

impl Emulated {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let time = Arc::new(AtomicI64::new(NOW));
        let read = Arc::clone(&time);
        let clock = Clock::new(move || read.load(Ordering::SeqCst));
        let tenant = Arc::new(Tenant::new(Options { clock, ..options }).unwrap());
        let refresh_token = tenant
            .sign_in(&User::default())
            .unwrap()
            .expose_secret()
            .to_owned();
        Self {
            app: app(Arc::clone(&tenant)),
            tenant,
            time,
            refresh_token,
        }
    }

    fn confidential() -> Self {
        let secret = SecretString::from("the app's secret");
        Self::with(Options {
            apps: vec![App::confidential(Credential::Secret(secret))],
            ..Options::default()
        })
    }

    fn wait(&self, seconds: i64) {
        self.time.fetch_add(seconds, Ordering::SeqCst);
    }

    fn send(&self, request: Request<Body>) -> Reply {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let response = self.app.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let bytes = to_bytes(body, usize::MAX).await.unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            Reply {
                status: parts.status,
                headers: parts.headers,
                text,
            }
        })
    }

    fn get(&self, path: &str) -> Reply {
        self.send(
            Request::get(path)
                .header("host", HOST)
                .body(Body::empty())
                .unwrap(),
        )
    }

    fn get_with_token(&self, path: &str, token: &str) -> Reply {
        let request = Request::get(path)
            .header("host", HOST)
            .header("authorization", format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap())
    }

    /// Posts a form to the token endpoint.
    fn post(&self, fields: &[(&str, &str)]) -> Reply {
        self.post_to(self.tenant.id(), fields)
    }

    fn post_to(&self, tenant: &str, fields: &[(&str, &str)]) -> Reply {
        self.post_form(&format!("/{tenant}/oauth2/v2.0/token"), fields)
    }

    fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let request = Request::post(path)
            .header("host", HOST)
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(pairs(fields))).unwrap())
    }

    /// A public client's whole request.
    fn exchange(&self, refresh_token: &str, scope: &str) -> Reply {
        self.post(&self.form(refresh_token, scope))
    }

    fn form<'a>(&'a self, refresh_token: &'a str, scope: &'a str) -> [(&'a str, &'a str); 4] {
        [
            ("client_id", self.tenant.client_id()),
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("scope", scope),
        ]
    }

    /// An access token for Ada.
    fn access_token(&self, resource: &str) -> String {
        let reply = self.exchange(&self.refresh_token, &format!("{resource}/.default"));
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// JSON in base64url.
    fn decode(&self, text: &str) -> Value {
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
        serde_json::from_slice(&bytes.unwrap()).unwrap()
    }

    /// A token's claims, after its signature was checked with the key that discovery shows.
    fn claims(&self, token: &str) -> Value {
        let keys: JwkSet =
            serde_json::from_value(self.get("/common/discovery/v2.0/keys").json()).unwrap();
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("JWT"));
        let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        jsonwebtoken::decode::<Value>(token, &key, &validation)
            .unwrap()
            .claims
    }
}

/// Fields of a form or a query.
fn pairs(fields: &[(&str, &str)]) -> String {
    let pairs = fields.iter();
    let pairs = pairs.map(|(name, value)| format!("{name}={}", encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Percent-encoding of everything but letters and digits.
fn encode(text: &str) -> String {
    let encode_byte = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode_byte).collect()
}
