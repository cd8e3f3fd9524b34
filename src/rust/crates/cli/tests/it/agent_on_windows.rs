//! The agent on Windows, where a port and a cookie in a file stand for the socket: its life, a sign-in, and strangers.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use entra_emulator::{Emulator, Options, Tenant, User};
use entrar_client::origin::Session;
use entrar_client::{agent, rpc};
use entrar_core::agent::{BEGIN, Progress, STATUS, WAIT};
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::http::{Http, Settings};
use entrar_core::resource::Resource;
use entrar_core::session_directory::{Port, VARIABLE};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Far more than anything here takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(180);
const GRAPH: &str = "https://graph.microsoft.com";
const COOKIE: &str = "X-RS-Session-Server-RPC-Cookie";

/// A directory for one agent, which is stopped in the end.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("entrar")
    }

    fn port_file(&self) -> PathBuf {
        self.path().join("agent.port")
    }

    fn mark(&self) -> String {
        std::fs::read_to_string(self.path().join("sign-in")).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entrar"));
        command
            .args(words)
            .env(VARIABLE, self.path())
            .env_remove("REQUESTS_CA_BUNDLE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Its end comes with the end of what it printed: an agent that it has started keeps neither from coming.
    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn succeeds(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn env(&self) -> Env {
        Env::fixed(&[(VARIABLE, self.path().to_str().unwrap())], 0.0)
    }

    fn ask(&self, name: &str, parameters: Value) -> Result<Value, Error> {
        let env = self.env();
        let session = Session::of_agent(&env)?;
        let session = session.ok_or_else(|| Error::new(Kind::NoSession, "there is no agent"))?;
        let http = Http::new(session.settings(&env))?;
        let asking = agent::ask(&http, &env, &session, name, &parameters, LONGEST);
        waited(asking)
    }

    fn token(&self) -> Result<String, Error> {
        let env = self.env();
        let session = Session::find(&env)?;
        let http = Http::new(session.settings(&env))?;
        let resource = Resource::parse(GRAPH).unwrap();
        let asking = rpc::delegated_token(&http, &env, &session, &resource, LONGEST);
        Ok(waited(asking)?.access_token.expose_secret().to_owned())
    }

    fn pid(&self) -> u64 {
        let status = self.ask(STATUS, json!({})).unwrap();
        status["pid"].as_u64().unwrap()
    }

    fn username(&self) -> Option<String> {
        let account = self.ask("account", json!({})).unwrap();
        account["username"].as_str().map(str::to_owned)
    }

    /// Signs the tenant's only user in, by a browser of this machine.
    fn sign_in(&self, entra: &Entra) {
        let wanted = json!({
            "authority": entra.emulator.url(),
            "tenant": entra.tenant.id(),
            "client_id": entra.tenant.client_id(),
            "credential": "public",
            "method": "browser",
            "login_hint": null,
            "select_account": false,
        });
        let begun = self.ask(BEGIN, wanted).unwrap();
        browse(begun["address"].as_str().unwrap());
        let waiting = json!({"id": begun["id"], "seconds": 20});
        let progress = self.ask(WAIT, waiting).unwrap();
        let progress = serde_json::from_value(progress).unwrap();
        assert!(
            matches!(progress, Progress::SignedIn { .. }),
            "{progress:?}"
        );
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.command(&["agent", "stop"]).output();
        // It can be removed once the agent has ended.
        let begun = Instant::now();
        while std::fs::remove_dir_all(self.path()).is_err() && begun.elapsed() < LONGEST {
            sleep(Duration::from_millis(20));
        }
    }
}

struct Entra {
    tenant: Arc<Tenant>,
    emulator: Emulator,
}

impl Entra {
    fn new() -> Self {
        let options = Options {
            auto_consent: true,
            users: vec![User::default()],
            ..Options::default()
        };
        let tenant = Arc::new(Tenant::new(options).unwrap());
        let emulator = Emulator::start(Arc::clone(&tenant), ([127, 0, 0, 1], 0).into()).unwrap();
        Self { tenant, emulator }
    }

    /// Whose a token is.
    fn whose(&self, token: &str) -> String {
        let address = format!("{}/v1.0/me", self.emulator.url());
        let authorization = format!("Bearer {token}");
        let (status, _, body) = get(&address, &[("authorization", &authorization)]);
        assert_eq!(status, 200, "{body}");
        let me: Value = serde_json::from_str(&body).unwrap();
        me["userPrincipalName"].as_str().unwrap().to_owned()
    }
}

fn waited<T>(answer: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(answer)
}

/// A reply's status, the two fields of its head that a browser heeds, and its body.
fn get(address: &str, head: &[(&str, &str)]) -> (u16, [Option<String>; 2], String) {
    let settings = Settings::new(&Env::fixed(&[], 0.0), &address.parse().unwrap());
    let mut request = Http::new(settings).unwrap().client().get(address);
    for (name, value) in head {
        request = request.header(*name, *value);
    }
    waited(async {
        let reply = request.send().await.unwrap();
        let field = |name| Some(reply.headers().get(name)?.to_str().unwrap().to_owned());
        let fields = [field("location"), field("set-cookie")];
        (reply.status().as_u16(), fields, reply.text().await.unwrap())
    })
}

/// A browser that follows every redirect and keeps the agent's cookie.
fn browse(address: &str) {
    let (mut address, mut cookie) = (address.to_owned(), String::new());
    for _ in 0..10 {
        let is_agent = address.starts_with("http://localhost:");
        let sent = [("cookie", &*cookie)];
        let sent = if is_agent && !cookie.is_empty() {
            &sent[..]
        } else {
            &[]
        };
        let (status, [location, set], body) = get(&address, sent);
        if let Some(set) = set.filter(|_| is_agent) {
            set.split(';').next().unwrap().clone_into(&mut cookie);
        }
        let Some(location) = location else {
            assert_eq!(status, 200, "{body}");
            return;
        };
        address = match location.strip_prefix('/') {
            None => location,
            Some(path) => {
                let host: Vec<&str> = address.splitn(4, '/').take(3).collect();
                format!("{}/{path}", host.join("/"))
            }
        };
    }
    panic!("the browser is sent round in circles");
}

/// The status of the answer to a question without, or with, this cookie.
fn status(port: &Port, path: &str, cookie: Option<&str>) -> u16 {
    let address = format!("http://{}{path}", port.address);
    let settings = Settings::new(&Env::fixed(&[], 0.0), &address.parse().unwrap());
    let body = json!({"method": "delegated_azure_token", "params": [GRAPH]}).to_string();
    let mut request = Http::new(settings).unwrap().client().post(&address);
    request = request
        .header("content-type", "application/json")
        .body(body);
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, cookie);
    }
    waited(async { request.send().await.unwrap().status().as_u16() })
}

#[test]
fn a_person_signs_in_once_and_every_process_gets_tokens_until_they_sign_out() {
    let (place, entra) = (Place::new(), Entra::new());
    let started = place.succeeds(&["agent", "start"]);
    assert_eq!(
        started.trim_end(),
        format!("The agent has started (process {}).", place.pid())
    );
    assert_eq!(place.token().unwrap_err().kind(), Kind::SignInRequired);
    let before = place.mark();
    place.sign_in(&entra);
    assert_ne!(place.mark(), before);
    assert_eq!(entra.whose(&place.token().unwrap()), "ada@example.com");
    let said = place.succeeds(&["agent", "status"]);
    assert!(
        said.contains("signed in: ada@example.com, tenant "),
        "{said}"
    );

    // Other people's clients get tokens by the cookie in their own file, and can ask nothing else by it.
    let session = place.ask("open_session", json!({})).unwrap();
    let directory = PathBuf::from(session["directory"].as_str().unwrap());
    let cookie = std::fs::read_to_string(directory.join("rpc_cookie")).unwrap();
    let address = session["address"].as_str().unwrap();
    let address = address.strip_prefix("http://").unwrap().parse().unwrap();
    let theirs = Port {
        address,
        cookie: cookie.clone().into(),
    };
    let path = "/delegated_azure_token";
    assert_eq!(status(&theirs, path, Some(&cookie)), 200);
    assert_eq!(status(&theirs, path, None), 401);
    let own = Port::read(&place.port_file()).unwrap();
    assert_eq!(status(&own, "/agent/account", Some(&cookie)), 403);

    let account = place.ask("sign_out", json!({})).unwrap();
    assert_eq!(account["username"], "ada@example.com");
    assert_eq!(place.token().unwrap_err().kind(), Kind::NoSession);
    let begun = Instant::now();
    while place.files() != ["agent.lock", "sign-in"] {
        assert!(begun.elapsed() < LONGEST, "{:?}", place.files());
        sleep(Duration::from_millis(20));
    }
    assert_eq!(place.run(&["agent", "status"]).status.code(), Some(3));
    assert_eq!(place.run(&["agent", "stop"]).status.code(), Some(3));
}

#[test]
fn two_starts_at_once_leave_one_agent() {
    let place = Place::new();
    for round in 0..3 {
        let starts: Vec<_> = (0..4)
            .map(|_| place.command(&["agent", "start"]).spawn().unwrap())
            .collect();
        let mut said = Vec::new();
        for start in starts {
            let output = start.wait_with_output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{round}: {errors}");
            said.push(String::from_utf8(output.stdout).unwrap());
        }
        let process = format!("(process {}).", place.pid());
        assert!(
            said.iter().all(|text| text.trim_end().ends_with(&process)),
            "{said:?}"
        );
        let started = said.iter().filter(|text| text.contains("has started"));
        assert_eq!(started.count(), 1, "{said:?}");
        // The next start does not take the one that is about to end for one that runs.
        place.succeeds(&["agent", "stop"]);
    }
}

#[test]
fn after_a_kill_nobody_is_sent_its_cookie_and_the_next_start_works() {
    let (place, entra) = (Place::new(), Entra::new());
    let mut agent = place.command(&["agent", "run"]).spawn().unwrap();
    let begun = Instant::now();
    let port = loop {
        match Port::read(&place.port_file()) {
            Some(port) => break port,
            None => assert!(begun.elapsed() < LONGEST, "the agent does not listen"),
        }
        sleep(Duration::from_millis(20));
    };
    place.sign_in(&entra);
    agent.kill().unwrap();
    agent.wait().unwrap();
    // It could not tidy up, and somebody else has taken its port.
    assert!(place.port_file().exists());
    let thief = TcpListener::bind(port.address).unwrap();
    thief.set_nonblocking(true).unwrap();
    assert_eq!(place.token().unwrap_err().kind(), Kind::NoSession);
    assert_eq!(place.run(&["agent", "status"]).status.code(), Some(3));

    place.succeeds(&["agent", "start"]);
    assert_eq!(place.username(), None);
    assert_eq!(place.token().unwrap_err().kind(), Kind::SignInRequired);
    assert_eq!(thief.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let new = Port::read(&place.port_file()).unwrap();
    let cookies = [&port, &new].map(|port| port.cookie.expose_secret().to_owned());
    assert_ne!(cookies[0], cookies[1]);
    assert_eq!(status(&new, "/agent/status", Some(&cookies[0])), 403);
    place.sign_in(&entra);
    assert_eq!(place.username().as_deref(), Some("ada@example.com"));
}

#[test]
fn who_knows_the_port_and_not_the_cookie_gets_nothing() {
    let (place, entra) = (Place::new(), Entra::new());
    place.succeeds(&["agent", "start"]);
    place.sign_in(&entra);
    let port = Port::read(&place.port_file()).unwrap();
    for cookie in [None, Some("x"), Some("u|Mon%2C%2023%20Nov%202026|c2ln")] {
        assert_eq!(status(&port, "/delegated_azure_token", cookie), 401);
        for name in ["status", "account", "open_session", "sign_out", "stop"] {
            assert_eq!(status(&port, &format!("/agent/{name}"), cookie), 403);
        }
    }
    assert_eq!(place.username().as_deref(), Some("ada@example.com"));
}
