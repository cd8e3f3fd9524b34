//! Signing in at an emulated tenant, by a scripted browser that keeps cookies and follows redirects as browsers do.

mod apps;
mod browser;
mod device_code;
mod odd_tenants;
mod paste;
mod strangers;
mod tenants;

use std::sync::Arc;

use axum::http::StatusCode;
use entra_emulator::{Emulator, Options as Tenants, Tenant};
use entrar_broker::entra::ClientAuth;
use entrar_broker::sign_in::{Invitation, Method, Options, SignIn, Status, Wishes};
use entrar_core::authority::Authority;
use entrar_core::env::Env;
use entrar_core::error::Error;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use url::Url;

use crate::LONG;

fn tenant(options: Tenants) -> Emulator {
    let tenant = Arc::new(Tenant::new(options).unwrap());
    Emulator::start(tenant, ([127, 0, 0, 1], 0).into()).unwrap()
}

fn auto() -> Tenants {
    Tenants {
        auto_consent: true,
        ..Tenants::default()
    }
}

fn options(emulator: &Emulator, method: Method) -> Options {
    Options {
        authority: Authority::given(emulator.url()).unwrap(),
        tenant: emulator.tenant().id().to_owned(),
        client_id: emulator.tenant().client_id().parse().unwrap(),
        auth: ClientAuth::Public,
        method,
        wishes: Wishes::default(),
    }
}

async fn begin(emulator: &Emulator, method: Method) -> SignIn {
    let options = options(emulator, method);
    SignIn::begin(&Env::process(), options).await.unwrap()
}

fn start(sign_in: &SignIn) -> Url {
    match sign_in.invitation() {
        Invitation::Browser(url) | Invitation::Paste(url) => url.clone(),
        Invitation::DeviceCode { .. } => panic!(),
    }
}

async fn failure(sign_in: &SignIn) -> Error {
    match sign_in.wait(LONG).await {
        Status::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

async fn username(sign_in: &SignIn) -> String {
    match sign_in.wait(LONG).await {
        Status::SignedIn(identity) => identity.username.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A browser with one window, which keeps the cookies of one host.
struct Browser {
    http: reqwest::Client,
    cookies: Vec<String>,
}

struct Page {
    status: StatusCode,
    url: Url,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Browser {
    fn new() -> Self {
        // Other tests and other crates install the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_certs_only([])
            .build()
            .unwrap();
        Self {
            http,
            cookies: Vec::new(),
        }
    }

    /// One request, to this machine's own addresses only.
    async fn get(&mut self, url: &Url) -> Page {
        let mut request = self.http.get(url.clone());
        if url.host_str() == Some("localhost") && !self.cookies.is_empty() {
            request = request.header(COOKIE, self.cookies.join("; "));
        }
        let reply = request.send().await.unwrap();
        let (status, headers) = (reply.status(), reply.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            assert!(
                cookie.ends_with("; Path=/; Max-Age=900; HttpOnly; SameSite=Lax"),
                "{cookie}"
            );
            self.cookies
                .push(cookie.split(';').next().unwrap().to_owned());
        }
        Page {
            status,
            url: url.clone(),
            headers,
            text: reply.text().await.unwrap(),
        }
    }

    /// Answers the form of the tenant's page, as its buttons do, and follows redirects to their end.
    async fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let (_, hidden) = page.text.split_once("name=\"request\" value=\"").unwrap();
        let (request, _) = hidden.split_once('"').unwrap();
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("request", request)
            .extend_pairs(fields)
            .finish();
        let form = self.http.post(page.url.clone()).body(body);
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        let reply = form.send().await.unwrap();
        let location = reply.headers()[LOCATION].to_str().unwrap();
        let answer = page.url.join(location).unwrap();
        self.open(&answer, "").await
    }

    /// Follows redirects to their end, or to the first address that begins so.
    async fn open(&mut self, url: &Url, until: &str) -> Page {
        let mut url = url.clone();
        for _ in 0..10 {
            let page = self.get(&url).await;
            if !page.status.is_redirection() {
                return page;
            }
            url = page.url.join(page.location()).unwrap();
            if !until.is_empty() && url.as_str().starts_with(until) {
                return Page { url, ..page };
            }
        }
        panic!("the browser is sent round in circles");
    }
}

impl Page {
    fn location(&self) -> &str {
        self.headers[LOCATION].to_str().unwrap()
    }

    fn is_closed(&self) {
        assert_eq!(self.headers["cache-control"], "no-store");
        assert_eq!(self.headers["referrer-policy"], "no-referrer");
        assert_eq!(self.headers["x-frame-options"], "DENY");
        let policy = self.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
    }
}

/// The redirect URI's address, at which a browser's answer arrives.
fn callback(start: &Url) -> String {
    format!("http://localhost:{}/?", start.port().unwrap())
}
