//! The emulated Connect, as content, its visitors and the emulated services see it.

mod exchange;
mod faults;
mod front_doors;
mod listing;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use entra_emulator::connect::{AuthType, Connect, Fault, Integration, Options, app};
use entra_emulator::{Tenant, User};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tower::ServiceExt;

use crate::{Emulated, GRAPH, Reply, pairs};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const VISITOR: &str = "urn:posit:connect:user-session-token";
const CONTENT: &str = "urn:posit:connect:content-session-token";

/// A Connect in front of a tenant with Ada and Bob.
struct Content {
    emulated: Emulated,
    connect: Arc<Connect>,
}

fn bob() -> User {
    User::new("Bob Example", "bob@example.com")
}

/// Two people's tenant.
fn people() -> entra_emulator::Options {
    entra_emulator::Options {
        users: vec![User::default(), bob()],
        ..entra_emulator::Options::default()
    }
}

fn viewer(resource: &str) -> Integration {
    Integration::new(AuthType::Viewer, resource)
}

fn service_account(resource: &str) -> Integration {
    Integration::new(AuthType::ServiceAccount, resource)
}

fn connect(tenant: &Arc<Tenant>, options: Options) -> Arc<Connect> {
    Arc::new(Connect::new(Arc::clone(tenant), options).unwrap())
}

impl Content {
    fn new(options: Options) -> Self {
        Self::of(people(), options)
    }

    fn of(tenant: entra_emulator::Options, options: Options) -> Self {
        let emulated = Emulated::with(tenant);
        let connect = connect(&emulated.tenant, options);
        Self { emulated, connect }
    }

    /// With Graph for visitors alone, and these faults.
    fn failing(faults: &[&str]) -> Self {
        Self::new(Options {
            integrations: vec![viewer(GRAPH)],
            faults: parsed(faults),
            ..Options::default()
        })
    }

    fn send(&self, request: Request<Body>) -> Reply {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let response = app(Arc::clone(&self.connect)).oneshot(request).await;
            let (parts, body) = response.unwrap().into_parts();
            let bytes = to_bytes(body, usize::MAX).await.unwrap();
            Reply {
                status: parts.status,
                headers: parts.headers,
                text: String::from_utf8(bytes.to_vec()).unwrap(),
            }
        })
    }

    fn authorization(&self) -> String {
        format!("Key {}", self.connect.api_key().expose_secret())
    }

    fn get(&self, path: &str) -> Reply {
        let request = Request::get(path).header("authorization", self.authorization());
        self.send(request.body(Body::empty()).unwrap())
    }

    fn post(&self, fields: &[(&str, &str)]) -> Reply {
        let request = Request::post("/__api__/v1/oauth/integrations/credentials")
            .header("authorization", self.authorization())
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(pairs(fields))).unwrap())
    }

    fn visit(&self, visitor: &User) -> SecretString {
        self.connect.visit(visitor).unwrap()
    }

    /// An exchange of a visitor's new session token, and what is asked beside it.
    fn exchange(&self, visitor: &User, more: &[(&str, &str)]) -> Reply {
        self.exchange_of(VISITOR, &self.visit(visitor), more)
    }

    fn exchange_of(&self, kind: &str, token: &SecretString, more: &[(&str, &str)]) -> Reply {
        let fields = [
            ("grant_type", GRANT),
            ("subject_token_type", kind),
            ("subject_token", token.expose_secret()),
        ];
        self.post(&[&fields, more].concat())
    }

    fn display_name(&self, reply: &Reply) -> Value {
        let token = reply.json()["access_token"].as_str().unwrap().to_owned();
        let me = self.emulated.get_with_token("/v1.0/me", &token);
        me.json()["displayName"].clone()
    }
}

fn parsed(faults: &[&str]) -> Vec<Fault> {
    let faults = faults.iter();
    faults.map(|fault| fault.parse().unwrap()).collect()
}
