//! The broker, tested as its clients and its users see it: by its replies, its log, its exit codes.

// The helpers below are test code too, which clippy.toml's exceptions do not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod exchange;
mod faults;
mod listen;
mod rpc;
mod secrets;
mod sign_in;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use entra_emulator::{Credential, Emulator, Options, Tenant, User};
use entrar_broker::accounts::{AccountId, InMemory};
use entrar_broker::admission::Admission;
use entrar_broker::entra::{ClientAuth, Entra, Registration, token_endpoint_of};
use entrar_broker::exchange::Exchanges;
use entrar_broker::rpc::{Broker, app};
use entrar_core::env::Env;
use entrar_core::guid::Guid;
use entrar_core::rpc::COOKIE_HEADER;
use entrar_core::time::UnixTime;
use futures_util::FutureExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tower::ServiceExt;

/// 2026-11-23 00:00:00Z: the broker's clock in all tests.
const NOW: UnixTime = UnixTime::of_whole(1_795_392_000);
const LATER: UnixTime = UnixTime::of_whole(1_795_392_060);
const ADA: AccountId = account(1);
const BOB: AccountId = account(2);
const STORAGE: &str = "https://storage.azure.com";
/// Long enough that no test on a busy machine meets it by accident.
const LONG: Duration = Duration::from_secs(120);

/// A broker without a socket, with one person signed in, and a cookie of theirs.
struct Session {
    app: Router,
    exchanges: Exchanges<InMemory>,
    cookie: String,
}

impl Session {
    /// At this tenant, with this app and refresh token.
    fn new(registration: Registration, refresh_token: SecretString, deadline: Duration) -> Self {
        let entra = Entra::new(Env::fixed(&[], NOW), registration, deadline).unwrap();
        let exchanges = Exchanges::new(entra, InMemory::default());
        signed_in(&exchanges, ADA, refresh_token);
        session_of(exchanges, ADA, LATER)
    }

    /// At an emulated tenant whose app has the same secret, if any.
    fn at_emulator(options: Options) -> (Self, Emulator) {
        let credentials = options.apps.iter().flat_map(|app| &app.credentials);
        let client_secret = credentials.into_iter().find_map(|known| match known {
            Credential::Secret(secret) => Some(secret.clone()),
            _ => None,
        });
        Self::with_client_secret(options, client_secret)
    }

    fn with_client_secret(
        options: Options,
        client_secret: Option<SecretString>,
    ) -> (Self, Emulator) {
        let revokes_used_refresh_tokens = options.revoke_used_refresh_tokens;
        let tenant = Arc::new(Tenant::new(options).unwrap());
        let refresh_token = tenant.sign_in(&User::default()).unwrap();
        let emulator = Emulator::start(tenant, ([127, 0, 0, 1], 0).into()).unwrap();
        let registration = Registration {
            token_endpoint: token_endpoint_of(&emulator.authority()),
            client_id: emulator.tenant().client_id().to_owned(),
            auth: client_secret.map_or(ClientAuth::Public, ClientAuth::Secret),
            revokes_used_refresh_tokens,
        };
        (Self::new(registration, refresh_token, LONG), emulator)
    }

    /// At a scripted token endpoint of a provider that revokes used refresh tokens.
    fn at(endpoint: &Endpoint, deadline: Duration) -> Self {
        Self::at_provider(endpoint, deadline, true)
    }

    /// At a scripted token endpoint of Entra ID, which leaves used refresh tokens valid.
    fn at_entra(endpoint: &Endpoint, deadline: Duration) -> Self {
        Self::at_provider(endpoint, deadline, false)
    }

    fn at_provider(
        endpoint: &Endpoint,
        deadline: Duration,
        revokes_used_refresh_tokens: bool,
    ) -> Self {
        let registration = endpoint.registration(revokes_used_refresh_tokens);
        Self::new(registration, "canary-refresh-0".into(), deadline)
    }

    /// The same broker's exchanges, behind another key, with a cookie for this account and time.
    fn with_cookie(self, account: AccountId, expires_at: UnixTime) -> Self {
        session_of(self.exchanges, account, expires_at)
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let reply = self.app.clone().oneshot(request).await.unwrap();
        let status = reply.status();
        assert_eq!(reply.headers()["cache-control"], "no-store");
        let body = to_bytes(reply.into_body(), usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap();
        Reply { status, body }
    }

    /// What rstudioapi would send.
    fn request(&self, resource: &str) -> Request<Body> {
        let body = json!({"params": [resource], "method": "delegated_azure_token"});
        Request::post("/delegated_azure_token")
            .header(COOKIE_HEADER, &self.cookie)
            .body(Body::from(body.to_string()))
            .unwrap()
    }

    /// The body of the reply to rstudioapi's request, which has HTTP status 200 whatever happens.
    async fn ask(&self, resource: &str) -> Value {
        let reply = self.send(self.request(resource)).await;
        assert_eq!(reply.status, StatusCode::OK);
        reply.body
    }

    /// The reply's OAuth error.
    async fn oauth_error(&self, resource: &str) -> Value {
        let body = self.ask(resource).await;
        assert_eq!(body["result"], false, "{body}");
        body["oauth2_error"].clone()
    }
}

/// A broker with these exchanges, and a cookie of its own for this user and time.
fn session_of(exchanges: Exchanges<InMemory>, account: AccountId, expires_at: UnixTime) -> Session {
    let admission = Admission::new().unwrap();
    let (_, cookie) = admission.open_session(account, NOW, expires_at).unwrap();
    let broker = Broker::new(Env::fixed(&[], NOW), admission, Some(exchanges.clone()));
    Session {
        app: app(Arc::new(broker)),
        exchanges,
        cookie: cookie.expose_secret().to_owned(),
    }
}

const fn account(oid: u128) -> AccountId {
    AccountId {
        tid: Guid::from_bits(0),
        oid: Guid::from_bits(oid),
    }
}

/// Signs in where accounts are in memory, which nothing has to be waited for.
fn signed_in(exchanges: &Exchanges<InMemory>, account: AccountId, refresh_token: SecretString) {
    let signed_in = exchanges.sign_in(account, refresh_token).now_or_never();
    signed_in.unwrap().unwrap();
}

struct Reply {
    status: StatusCode,
    body: Value,
}

/// A token endpoint that answers as a test says, and remembers the forms it was sent.
struct Endpoint {
    authority: String,
    forms: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    /// `answer` is called with the number of each request, from 0.
    async fn start<A, F>(answer: A) -> Self
    where
        A: Fn(usize) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send,
    {
        let forms = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&forms);
        let handler = move |form: String| {
            let mut forms = remembered.lock().unwrap();
            let number = forms.len();
            forms.push(form);
            answer(number)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = format!("http://{}/tenant", listener.local_addr().unwrap());
        let routes = Router::new().fallback(handler);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { authority, forms }
    }

    /// A public app here.
    fn registration(&self, revokes_used_refresh_tokens: bool) -> Registration {
        Registration {
            token_endpoint: token_endpoint_of(&self.authority),
            client_id: "app".to_owned(),
            auth: ClientAuth::Public,
            revokes_used_refresh_tokens,
        }
    }

    /// Exchanges of such an app.
    fn entra(&self, revokes_used_refresh_tokens: bool) -> Arc<Entra> {
        let registration = self.registration(revokes_used_refresh_tokens);
        Arc::new(Entra::new(Env::fixed(&[], NOW), registration, LONG).unwrap())
    }

    fn requests(&self) -> usize {
        self.forms.lock().unwrap().len()
    }

    /// Waits until so many requests have come.
    async fn has_seen(&self, requests: usize) {
        while self.requests() < requests {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What a token endpoint grants: `access-N`, and `refresh-(N + 1)` in the place of the refresh token used.
fn grant(number: usize) -> Response {
    axum::Json(json!({
        "token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599,
        "access_token": format!("canary-access-{number}"), "refresh_token": format!("canary-refresh-{}", number + 1)
    }))
    .into_response()
}
