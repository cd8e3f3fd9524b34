//! Signing in at an emulated tenant, by a scripted browser that keeps cookies and follows redirects as browsers do.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use entra_emulator::{App, Emulator, Fault, FaultKind, Options as Tenants, Step, Tenant, User};
use entrar_broker::accounts::InMemory;
use entrar_broker::entra::ClientAuth;
use entrar_broker::exchange::Exchanges;
use entrar_broker::sign_in::{AZURE_CLI, Invitation, Method, Options, SignIn, Status};
use entrar_core::authority::Authority;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::resource::Resource;
use reqwest::header::{COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use url::Url;

use crate::{LONG, STORAGE};

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
        login_hint: None,
        select_account: false,
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
                cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
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

#[tokio::test]
async fn a_browser_signs_a_person_in_and_ends_at_a_clean_address() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    assert!(start.as_str().starts_with("http://localhost:"), "{start}");
    let mut browser = Browser::new();
    let page = browser.open(&start, "").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!((page.url.path(), page.url.query()), ("/done", None));
    assert!(page.text.contains("ada@example.com"), "{}", page.text);
    page.is_closed();
    assert_eq!(username(&sign_in).await, "ada@example.com");
    let signed_in = sign_in.take().unwrap();
    assert_eq!(
        signed_in.identity.account.tid.to_string(),
        emulator.tenant().id()
    );
    assert_eq!(
        signed_in.identity.account.oid.to_string(),
        User::default().object_id
    );
    assert!(sign_in.take().is_none());
    // What it yields is exchanged for tokens.
    let exchanges = Exchanges::new(signed_in.entra, InMemory::default());
    let account = signed_in.identity.account;
    exchanges
        .sign_in(account, signed_in.refresh_token)
        .await
        .unwrap();
    let resource = Resource::parse(STORAGE).unwrap();
    exchanges.token(account, resource).await.unwrap();
}

#[tokio::test]
async fn an_answer_without_the_cookie_or_with_another_state_ends_nothing() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    let mut browser = Browser::new();
    let answer = browser.open(&start, &callback(&start)).await.url;
    // Somebody who has seen the whole answer but is not the browser that began.
    let stranger = Browser::new().get(&answer).await;
    assert_eq!(stranger.status, StatusCode::BAD_REQUEST);
    stranger.is_closed();
    for wrong in [
        answer.as_str().replace("state=", "state=x"),
        answer.as_str().replace("state=", "no="),
        format!(
            "{}code=canary&state=%3Cscript%3Ealert(1)%3C/script%3E",
            callback(&start)
        ),
        format!("{answer}&code=another"),
    ] {
        let page = browser.get(&Url::parse(&wrong).unwrap()).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{wrong}");
        assert!(!page.text.contains("<script>") && !page.text.contains("canary"));
    }
    assert!(matches!(sign_in.status(), Status::Waiting));
    browser.open(&answer, "").await;
    assert_eq!(username(&sign_in).await, "ada@example.com");
    let again = browser.get(&answer).await;
    assert_eq!(again.status, StatusCode::GONE);
}

#[tokio::test]
async fn the_start_address_serves_once() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    let mut wrong = start.clone();
    wrong.set_path("/start/canary");
    let mut browser = Browser::new();
    assert_eq!(browser.get(&wrong).await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get(&start).await.status, StatusCode::FOUND);
    let second = Browser::new().get(&start).await;
    assert_eq!(second.status, StatusCode::GONE);
    assert!(!second.headers.contains_key(SET_COOKIE));
}

#[tokio::test]
async fn another_hosts_name_another_page_and_another_verb_get_nothing() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    let http = Browser::new().http;
    let get = || http.get(start.clone());
    for request in [
        get().header(HOST, "evil.example"),
        get().header(HOST, "localhost:1"),
        get().header(ORIGIN, "https://evil.example"),
    ] {
        assert_eq!(
            request.send().await.unwrap().status(),
            StatusCode::FORBIDDEN
        );
    }
    for request in [
        http.post(start.clone()),
        http.request(reqwest::Method::OPTIONS, start.clone()),
    ] {
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert!(!reply.headers().contains_key("access-control-allow-origin"));
    }
    assert_eq!(get().send().await.unwrap().status(), StatusCode::FOUND);
}

#[tokio::test]
async fn both_loopback_addresses_answer() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let port = start(&sign_in).port().unwrap();
    let has_version_6 = std::net::TcpListener::bind(("::1", 0)).is_ok();
    for host in ["127.0.0.1", "[::1]"] {
        if host == "[::1]" && !has_version_6 {
            continue;
        }
        let url = Url::parse(&format!("http://{host}:{port}/")).unwrap();
        assert_eq!(
            Browser::new().get(&url).await.status,
            StatusCode::NOT_FOUND,
            "{host}"
        );
    }
}

/// What a program of another user gets at an address: its status, or nothing.
#[cfg(target_os = "linux")]
async fn as_another_user(url: &str, cookie: &str) -> String {
    let program = "import sys, urllib.request, urllib.error\n\
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n\
        request = urllib.request.Request(sys.argv[1], headers={'Cookie': sys.argv[2]})\n\
        try: print(opener.open(request).status)\n\
        except urllib.error.HTTPError as error: print(error.code)";
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args(["/usr/bin/env", "python3", "-c", program, url, cookie]);
    command.current_dir("/");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A user who reads the address from the browser's command line opens it first, and posts a code of their own.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn another_user_of_this_machine_gets_nothing_and_ends_nothing() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    assert_eq!(as_another_user(start.as_str(), "").await, "403");
    let mut browser = Browser::new();
    let answer = browser.open(&start, &callback(&start)).await.url;
    // Even with everything that the person's own browser has.
    let cookie = browser.cookies.join("; ");
    assert_eq!(as_another_user(answer.as_str(), &cookie).await, "403");
    assert!(matches!(sign_in.status(), Status::Waiting));
    browser.open(&answer, "").await;
    assert_eq!(username(&sign_in).await, "ada@example.com");
}

#[tokio::test]
async fn what_entra_says_at_the_end_is_shown_without_markup_and_told() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    let mut browser = Browser::new();
    let answer = browser.open(&start, &callback(&start)).await.url;
    let state = answer
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap();
    let mut denied = Url::parse(&callback(&start)).unwrap();
    denied
        .query_pairs_mut()
        .append_pair("error", "access_denied")
        .append_pair(
            "error_description",
            "<img src=x onerror=alert(1)>\u{202e}\u{7}",
        )
        .append_pair("state", &state.1);
    let page = browser.open(&denied, "").await;
    assert_eq!(page.url.path(), "/done");
    assert!(
        page.text.contains("&lt;img src=x onerror=alert(1)&gt;"),
        "{}",
        page.text
    );
    assert!(!page.text.contains("<img") && !page.text.contains('\u{7}'));
    page.is_closed();
    let error = failure(&sign_in).await;
    assert_eq!(error.kind(), Kind::AccessDenied);
}

#[tokio::test]
async fn what_is_wrong_with_an_answer_is_a_failure_of_its_kind() {
    for (fault, kind, words) in [
        (FaultKind::WrongNonce, Kind::BadReply, "another sign-in"),
        (FaultKind::WrongAudience, Kind::BadReply, "another app"),
        (FaultKind::WrongIssuer, Kind::BadReply, "another issuer"),
        (FaultKind::ExpiredIdToken, Kind::BadReply, "clock"),
        (FaultKind::NoIdToken, Kind::BadReply, "no id_token"),
        (FaultKind::ConsentRequired, Kind::ConsentRequired, ""),
        (FaultKind::MfaRequired, Kind::SignInRequired, ""),
    ] {
        let faults = vec![Fault::new(fault, None).at(Step::Code)];
        let emulator = tenant(Tenants { faults, ..auto() });
        let sign_in = begin(&emulator, Method::Browser).await;
        let page = Browser::new().open(&start(&sign_in), "").await;
        assert!(page.text.contains("You are not signed in"), "{}", page.text);
        let error = failure(&sign_in).await;
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
        assert!(error.message().contains(words), "{error}");
        assert!(error.details().remedy.is_some(), "{error}");
        assert!(sign_in.take().is_none());
    }
}

#[tokio::test]
async fn a_pasted_address_is_taken_if_it_is_of_this_sign_in() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Paste).await;
    let other = begin(&emulator, Method::Paste).await;
    let until = "http://localhost/";
    let answer = Browser::new().open(&start(&sign_in), until).await.url;
    let others = Browser::new().open(&start(&other), until).await.url;
    for wrong in [
        others.as_str(),
        "",
        "http://localhost/?code=canary",
        "canary",
    ] {
        let error = sign_in.answer(wrong).await.unwrap_err();
        assert_eq!(error.kind(), Kind::BadReply);
        assert!(!error.to_string().contains("canary"), "{error}");
        assert!(matches!(sign_in.status(), Status::Waiting));
    }
    let status = sign_in.answer(&format!(" {answer}\n")).await.unwrap();
    assert!(matches!(status, Status::SignedIn(_)), "{status:?}");
    assert!(sign_in.take().is_some());
}

#[tokio::test]
async fn nothing_is_pasted_for_another_method_or_azure_clis_app() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let error = sign_in.answer("code=a&state=b").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Misconfigured);
    let options = Options {
        client_id: AZURE_CLI,
        ..options(&emulator, Method::Paste)
    };
    let error = SignIn::begin(&Env::process(), options).await.unwrap_err();
    assert!(error.message().contains("nothing is pasted"), "{error}");
}

#[tokio::test]
async fn a_device_code_signs_a_person_in() {
    let emulator = tenant(Tenants {
        device_code_interval: 1,
        ..Tenants::default()
    });
    let sign_in = begin(&emulator, Method::DeviceCode).await;
    let Invitation::DeviceCode { address, user_code } = sign_in.invitation() else {
        panic!()
    };
    assert!(address.as_str().starts_with(emulator.url()), "{address}");
    assert!(!user_code.is_empty());
    type_code(address, user_code, "sign_in").await;
    assert_eq!(username(&sign_in).await, "ada@example.com");
    assert!(sign_in.take().is_some());
}

#[tokio::test]
async fn a_device_code_that_is_declined_signs_nobody_in() {
    let emulator = tenant(Tenants {
        device_code_interval: 1,
        ..Tenants::default()
    });
    let sign_in = begin(&emulator, Method::DeviceCode).await;
    let Invitation::DeviceCode { address, user_code } = sign_in.invitation() else {
        panic!()
    };
    type_code(address, user_code, "deny").await;
    let error = failure(&sign_in).await;
    assert_eq!(error.kind(), Kind::AccessDenied);
    assert!(
        error.details().remedy.as_ref().unwrap().contains("decline"),
        "{error}"
    );
}

/// What a person types on the page that asks for the code.
async fn type_code(address: &Url, user_code: &str, answer: &str) {
    let form = [
        ("user_code", user_code),
        ("answer", answer),
        ("user", "ada@example.com"),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let request = Browser::new().http.post(address.clone()).body(body);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let reply = request.send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_sign_in_that_is_cancelled_has_ended_and_its_port_is_closed() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    sign_in.cancel();
    assert_eq!(failure(&sign_in).await.kind(), Kind::SignInRequired);
    let closed = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", start.port().unwrap()))
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, closed).await.unwrap();
}

#[tokio::test]
async fn the_last_page_is_shown_though_nobody_holds_the_sign_in_any_more() {
    let emulator = tenant(auto());
    let sign_in = begin(&emulator, Method::Browser).await;
    let start = start(&sign_in);
    let mut browser = Browser::new();
    let done = format!("http://localhost:{}/done", start.port().unwrap());
    browser.open(&start, &done).await;
    assert_eq!(username(&sign_in).await, "ada@example.com");
    drop(sign_in);
    let page = browser.get(&Url::parse(&done).unwrap()).await;
    assert!(page.text.contains("ada@example.com"), "{}", page.text);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_more_than_fifteen_minutes() {
    let emulator = tenant(auto());
    for method in [Method::Browser, Method::Paste] {
        let sign_in = begin(&emulator, method).await;
        let still = sign_in.wait(Duration::from_secs(14 * 60)).await;
        assert!(matches!(still, Status::Waiting), "{method:?}");
        let error = match sign_in.wait(Duration::from_secs(2 * 60)).await {
            Status::Failed(error) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(error.kind(), Kind::Timeout, "{method:?}");
    }
}

#[tokio::test]
async fn a_tenant_an_app_and_a_redirect_that_are_not_known_are_told_apart() {
    let emulator = tenant(auto());
    let nowhere = Options {
        tenant: "99999999-0000-0000-0000-000000000000".to_owned(),
        ..options(&emulator, Method::Browser)
    };
    let error = SignIn::begin(&Env::process(), nowhere).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Misconfigured, "{error}");
    let emulator = tenant(Tenants {
        apps: vec![App {
            redirect_uris: vec!["https://elsewhere.example/".to_owned()],
            ..App::default()
        }],
        ..auto()
    });
    // Entra ID sends nobody to an address that it does not know: its own page says so, and the sign-in waits.
    let sign_in = begin(&emulator, Method::Browser).await;
    let page = Browser::new().open(&start(&sign_in), "").await;
    assert!(page.text.contains("AADSTS50011"), "{}", page.text);
    assert!(matches!(sign_in.status(), Status::Waiting));
}
