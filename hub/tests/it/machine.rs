//! A machine with a hub on it, an emulated tenant, and local users, who are made with `useradd` and removed at the end.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use entra_emulator::{App, Credential, Emulator, Fault, Options, Tenant, User};
use entrar_hub::configuration::Configuration;
use entrar_hub::keys::Keys;
use entrar_hub::serve::Serving;
use serde_json::Value;
use tempfile::TempDir;
use url::Url;

use crate::browser::{Browser, client};
use crate::database::Database;

pub(crate) const STORAGE: &str = "https://storage.azure.com";

/// One at a time: the system's list of users has one lock, and whoever finds it taken gives up.
static USERS: Mutex<()> = Mutex::new(());
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A local user, as long as this lives.
pub(crate) struct Local {
    pub(crate) name: String,
    pub(crate) uid: u32,
}

impl Local {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, &[])
    }

    /// The same with these options of `useradd`.
    pub(crate) fn with(name: &str, options: &[&str]) -> Self {
        let _guard = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        // Other runs of the suite may go on beside this one.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}-{number}", std::process::id());
        let made = Command::new("useradd")
            .args(["--no-create-home", "--no-user-group"])
            .args(options)
            .arg(&name)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let uid = Command::new("id").args(["-u", &name]).output().unwrap();
        let uid = String::from_utf8(uid.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        Self { name, uid }
    }

    /// The name by which the tenant knows the person.
    pub(crate) fn upn(&self) -> String {
        format!("{}@example.com", self.name)
    }

    /// Asks through a Unix socket as this user: the reply's status and JSON.
    pub(crate) fn post(&self, socket: &Path, path: &str, body: &Value) -> (u16, Value) {
        post_as(self.uid, socket, path, body)
    }
}

pub(crate) fn post_as(uid: u32, socket: &Path, path: &str, body: &Value) -> (u16, Value) {
    post_with(uid, socket, path, body, &[])
}

/// The same with these headers.
pub(crate) fn post_with(
    uid: u32,
    socket: &Path,
    path: &str,
    body: &Value,
    headers: &[&str],
) -> (u16, Value) {
    let output = Command::new("setpriv")
        .args([
            &format!("--reuid={uid}"),
            "--regid=65534",
            "--clear-groups",
            "curl",
            "--silent",
            "--show-error",
        ])
        .args([
            "--max-time",
            "100",
            "--write-out",
            "\n%{http_code}",
            "--unix-socket",
        ])
        .arg(socket)
        .args([
            "--header",
            "content-type: application/json",
            "--data",
            &body.to_string(),
        ])
        .args(headers.iter().flat_map(|header| ["--header", header]))
        .arg(format!("http://localhost{path}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let (body, status) = text.rsplit_once('\n').unwrap_or_else(|| panic!("{said}"));
    let status = status.parse().unwrap();
    assert_ne!(status, 0, "{said}");
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

impl Drop for Local {
    fn drop(&mut self) {
        let _guard = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = Command::new("userdel").arg(&self.name).output();
    }
}

/// The machine.
pub(crate) struct Machine {
    pub(crate) directory: TempDir,
    pub(crate) tenant: Arc<Tenant>,
    address: SocketAddr,
    emulator: Option<Emulator>,
    pub(crate) page: Url,
    pub(crate) rpc: String,
    pub(crate) serving: Option<Serving>,
    pub(crate) database: Database,
}

impl Machine {
    /// A hub for these users of the tenant, whose settings are changed so.
    pub(crate) async fn new(users: Vec<User>, change: impl FnOnce(String) -> String) -> Self {
        Self::with_faults(users, Vec::new(), change).await
    }

    /// The same at a tenant with these faults.
    pub(crate) async fn with_faults(
        users: Vec<User>,
        faults: Vec<Fault>,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let mut machine = Self::without_hub(users, faults, change);
        machine.start().await;
        machine
    }

    /// The same before the hub is started.
    pub(crate) fn without_hub(
        users: Vec<User>,
        faults: Vec<Fault>,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let ports = [free_port(), free_port()];
        let page = format!("http://localhost:{}/", ports[0]);
        let app = App {
            redirect_uris: vec![format!("{page}callback")],
            optional_claims: true,
            ..App::confidential(Credential::Secret("canary-secret".into()))
        };
        let options = Options {
            apps: vec![app],
            users,
            faults,
            ..Options::default()
        };
        let tenant = Arc::new(Tenant::new(options).unwrap());
        let emulator = Emulator::start(Arc::clone(&tenant), ([127, 0, 0, 1], 0).into()).unwrap();
        let address = emulator
            .url()
            .strip_prefix("http://")
            .unwrap()
            .parse()
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap()
        };
        mode(directory.path(), 0o755);
        let at = |name: &str| directory.path().join(name);
        for (name, bits) in [("run", 0o755), ("lib", 0o700)] {
            fs::create_dir(at(name)).unwrap();
            mode(&at(name), bits);
        }
        fs::write(at("secret"), "canary-secret").unwrap();
        mode(&at("secret"), 0o600);
        Keys::generate_file(&at("hub.key")).unwrap();
        let database = Database::new(directory.path());
        let settings = format!(
            r#"
public_url = "{page}"
name = "Example"
[tenant]
id = "{tenant}"
client_id = "{client}"
authority = "{authority}"
secret_file = "secret"
[store]
{database}
key_file = "hub.key"
[socket]
path = "run/hub.sock"
uids = ["1000-59999"]
[web]
listen = "127.0.0.1:{web}"
[rpc]
listen = "127.0.0.1:{rpc}"
[people]
rule = "{{user}}@example.com"
tenants = ["{tenant}"]
"#,
            tenant = tenant.id(),
            client = tenant.client_id(),
            authority = emulator.url(),
            database = database.setting(),
            web = ports[0],
            rpc = ports[1],
        );
        fs::write(at("hub.toml"), change(settings)).unwrap();
        Self {
            database,
            page: Url::parse(&page).unwrap(),
            rpc: format!("http://127.0.0.1:{}", ports[1]),
            directory,
            tenant,
            address,
            emulator: Some(emulator),
            serving: None,
        }
    }

    /// Takes the tenant away, or brings it back with all it knows.
    pub(crate) fn tenant_is_up(&mut self, is_up: bool) {
        self.emulator = None;
        if is_up {
            self.emulator = Some(Emulator::start(Arc::clone(&self.tenant), self.address).unwrap());
        }
    }

    pub(crate) async fn start(&mut self) {
        let configuration = Configuration::read(&self.settings(), None).unwrap();
        self.serving = Some(Serving::start(configuration).await.unwrap());
    }

    pub(crate) async fn stop(&mut self) {
        self.serving.take().unwrap().stop().await;
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.directory.path().join("hub.toml")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("run/hub.sock")
    }

    /// What the hub says to a process of this user who asks for a token.
    pub(crate) fn token(&self, user: &Local, resource: &str) -> Value {
        self.token_as(user.uid, resource)
    }

    pub(crate) fn token_as(&self, uid: u32, resource: &str) -> Value {
        let body = serde_json::json!({"method": "delegated_azure_token", "params": [resource]});
        let (status, reply) = post_as(uid, &self.socket(), "/delegated_azure_token", &body);
        assert_eq!(status, 200, "{reply}");
        reply
    }

    /// Signs a person in for the first time; their browser.
    pub(crate) async fn signed_in(&self, user: &Local) -> Browser {
        let mut browser = Browser::new(&self.page);
        let question = browser.sign_in(&user.upn()).await;
        let account = browser
            .press(&question, "/confirm", &[("answer", "yes")])
            .await;
        assert_eq!(account.heading(), "Your Azure sign-in");
        browser
    }

    /// What a command of the administrator's prints, and whether it succeeds.
    pub(crate) fn command(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_entrar-hub"))
            .arg("--config")
            .arg(self.settings())
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(printed).unwrap())
    }

    /// What the hub says at its address to who holds this cookie: HTTP status and JSON.
    pub(crate) async fn token_by_cookie(&self, cookie: &str, resource: &str) -> (u16, Value) {
        self.token_at(&self.rpc, cookie, resource).await
    }

    /// The same at another of its addresses.
    pub(crate) async fn token_at(
        &self,
        address: &str,
        cookie: &str,
        resource: &str,
    ) -> (u16, Value) {
        let http = client(None);
        let body = serde_json::json!({"method": "delegated_azure_token", "params": [resource]});
        let reply = http
            .post(format!("{address}/delegated_azure_token"))
            .header("X-RS-Session-Server-RPC-Cookie", cookie)
            .body(body.to_string());
        let reply = reply.send().await.unwrap();
        let status = reply.status().as_u16();
        (
            status,
            serde_json::from_str(&reply.text().await.unwrap()).unwrap(),
        )
    }

    /// The result of a question that R asks.
    pub(crate) fn ask(&self, user: &Local, name: &str, body: &Value) -> Value {
        let (status, mut reply) = user.post(&self.socket(), &format!("/hub/{name}"), body);
        assert_eq!(status, 200, "{reply}");
        assert!(reply["failure"].is_null(), "{reply}");
        reply["result"].take()
    }
}

/// A port that nobody listens at, and that the system gives to nobody who asks for any: it is below those.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + u16::try_from(number % 20_000).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The person whom a reply's token stands for.
pub(crate) fn subject(reply: &Value) -> String {
    use base64::Engine as _;
    let token = reply["token"]["access_token"]
        .as_str()
        .unwrap_or_else(|| panic!("{reply}"));
    let payload = token.split('.').nth(1).unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["upn"].as_str().unwrap_or_default().to_owned()
}
