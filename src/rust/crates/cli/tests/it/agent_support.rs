//! What the tests of the agent have in common: a place of its own for one, a tenant to sign in to, a browser, and people
//! who have no business here.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use entra_emulator::{App, Clock, Emulator, Options, Tenant, User};
use entrar_client::origin::Session;
use entrar_client::{agent, rpc};
use entrar_core::agent::{BEGIN, Progress, STATUS, WAIT};
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::http::Http;
use entrar_core::hub_socket;
use entrar_core::resource::Resource;
use entrar_core::session_directory::VARIABLE;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Far more than anything here takes on a busy machine.
pub(crate) const LONGEST: Duration = Duration::from_secs(180);
/// The variable that names the command where it is not where cargo has put it.
const PROGRAM: &str = "ENTRAR_TEST_PROGRAM";
pub(crate) const GRAPH: &str = "https://graph.microsoft.com";
pub(crate) const STORAGE: &str = "https://storage.azure.com";
const RPC: &str = "/delegated_azure_token";
/// The user that owns nothing.
pub(crate) const NOBODY: u32 = 65_534;

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Waits until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONGEST, "waited in vain: {what}");
        sleep(Duration::from_millis(2));
    }
}

/// The end of a process and what it printed.
pub(crate) fn ended(mut child: Child) -> Output {
    until("a process ends", || child.try_wait().unwrap().is_some());
    child.wait_with_output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A directory for one agent. Whatever listens there in the end is killed.
pub(crate) struct Place {
    base: TempDir,
    name: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::named("entrar")
    }

    pub(crate) fn named(name: &str) -> Self {
        let base = tempfile::tempdir().unwrap();
        // It is the directory below that is to keep others out.
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(base.path(), mode).unwrap();
        let name = name.to_owned();
        Self { base, name }
    }

    /// What ENTRAR_RUNTIME_DIR says.
    pub(crate) fn path(&self) -> PathBuf {
        self.base.path().join(&self.name)
    }

    pub(crate) fn base(&self) -> &Path {
        self.base.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("agent.sock")
    }

    /// The names of what is in it.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// The mark that changes with each sign-in.
    pub(crate) fn mark(&self) -> String {
        std::fs::read_to_string(self.path().join("sign-in")).unwrap()
    }

    /// The command with these arguments, in an environment that holds nothing else.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let program = std::env::var_os(PROGRAM);
        let mut command =
            Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_entrar").into()));
        self.furnish(command.args(words));
        command
    }

    /// Gives a command that environment.
    pub(crate) fn furnish(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.base.path())
            .env(VARIABLE, self.path())
            // No hub is met, whatever there is on this machine.
            .env(hub_socket::VARIABLE, hub_socket::OFF)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        ended(self.command(words).spawn().unwrap())
    }

    /// What the command prints, which ends well.
    pub(crate) fn succeeds(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", stderr(&output));
        stdout(&output).to_owned()
    }

    /// What the command says that ends with code 1.
    pub(crate) fn fails(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        stderr(&output).to_owned()
    }

    /// An agent that can be asked.
    pub(crate) fn agent(&self) -> Agent {
        self.agent_by(self.command(&["agent", "run"]))
    }

    /// An agent that this command becomes.
    pub(crate) fn agent_by(&self, mut command: Command) -> Agent {
        let mut child = command.spawn().unwrap();
        until("the agent listens", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the agent has ended with {status}");
            }
            self.pid() == Some(child.id())
        });
        Agent(Some(child))
    }

    /// The process that answers here, if one does.
    pub(crate) fn pid(&self) -> Option<u32> {
        let reply = post(self.connect().ok()?, &format!("/agent/{STATUS}"), "{}")?;
        let reply: Value = serde_json::from_str(&reply.body).ok()?;
        u32::try_from(reply["result"]["pid"].as_u64()?).ok()
    }

    /// A connection to the agent's socket.
    pub(crate) fn connect(&self) -> std::io::Result<UnixStream> {
        let stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(LONGEST))?;
        stream.set_write_timeout(Some(LONGEST))?;
        Ok(stream)
    }

    fn env(&self) -> Env {
        let path = self.path();
        let places = [
            (VARIABLE, path.to_str().unwrap()),
            (hub_socket::VARIABLE, hub_socket::OFF),
        ];
        Env::fixed(&places, 0.0)
    }

    /// Asks the agent as R does.
    pub(crate) fn ask(&self, name: &str, parameters: Value) -> Result<Value, Error> {
        let env = self.env();
        let session = Session::of_agent(&env)?;
        let session = session.ok_or_else(|| Error::new(Kind::NoSession, "there is no socket"))?;
        let http = Http::new(session.settings(&env))?;
        waited(agent::ask(
            &http,
            &env,
            &session,
            name,
            &parameters,
            LONGEST,
        ))
    }

    /// A token, asked for as R does.
    pub(crate) fn token(&self, resource: &str) -> Result<String, Error> {
        let env = self.env();
        let session = Session::find(&env)?;
        let http = Http::new(session.settings(&env))?;
        let resource = Resource::parse(resource).unwrap();
        let token = waited(rpc::delegated_token(
            &http, &env, &session, &resource, LONGEST,
        ))?;
        Ok(token.access_token.expose_secret().to_owned())
    }

    /// The kind of the error that asking for `name` ends in.
    pub(crate) fn ask_kind(&self, name: &str) -> Kind {
        self.ask(name, json!({})).unwrap_err().kind()
    }

    /// Who is signed in, by the name for show.
    pub(crate) fn account(&self) -> Option<String> {
        let account = self.ask("account", json!({})).unwrap();
        account["username"].as_str().map(str::to_owned)
    }

    /// Begins a sign-in in a browser of this machine.
    pub(crate) fn begin(&self, at: &Entra, login_hint: Option<&str>) -> Attempt {
        let wanted = json!({"login_hint": login_hint});
        self.begin_with(at, wanted).unwrap()
    }

    /// Begins a sign-in where this is to be otherwise than usual.
    pub(crate) fn begin_with(&self, at: &Entra, wanted: Value) -> Result<Attempt, Error> {
        let mut usual = json!({
            "authority": at.url(),
            "tenant": at.tenant.id(),
            "client_id": at.tenant.client_id(),
            "credential": "public",
            "method": "browser",
            "login_hint": null,
            "select_account": false,
        });
        for (name, value) in wanted.as_object().unwrap() {
            usual[name] = value.clone();
        }
        let begun = self.ask(BEGIN, usual)?;
        Ok(Attempt {
            id: begun["id"].as_str().unwrap().to_owned(),
            address: begun["address"].as_str().unwrap().to_owned(),
            user_code: begun["user_code"].as_str().map(str::to_owned),
        })
    }

    /// How far an attempt is, once something has happened.
    pub(crate) fn progress(&self, attempt: &Attempt) -> Result<Progress, Error> {
        let parameters = json!({"id": attempt.id, "seconds": 20});
        let progress = self.ask(WAIT, parameters)?;
        Ok(serde_json::from_value(progress).unwrap())
    }

    /// Signs somebody in: the user of this name, else the default one.
    pub(crate) fn sign_in(&self, at: &Entra, login_hint: Option<&str>) -> Progress {
        let attempt = self.begin(at, login_hint);
        attempt.browse();
        self.progress(&attempt).unwrap()
    }

    /// Signs the default user in, in the place of nobody else.
    pub(crate) fn sign_ada_in(&self, at: &Entra) {
        let progress = self.sign_in(at, None);
        assert!(
            matches!(progress, Progress::SignedIn { .. }),
            "{progress:?}"
        );
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            signal(pid, Signal::KILL);
        }
    }
}

/// Waits for an answer on a thread of this test.
fn waited<T>(answer: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(answer)
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    // One that has ended meanwhile is as good as killed.
    let _ = kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal);
}

/// An agent in the foreground. It is killed with this.
pub(crate) struct Agent(Option<Child>);

impl Agent {
    pub(crate) fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    pub(crate) fn signal(&self, kind: Signal) {
        signal(self.pid(), kind);
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> ExitStatus {
        ended(self.0.take().unwrap()).status
    }

    /// Ends it as one who means it.
    pub(crate) fn kill(self) {
        self.signal(Signal::KILL);
        self.end();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A sign-in that has begun.
pub(crate) struct Attempt {
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) user_code: Option<String>,
}

impl Attempt {
    /// Opens the address in a browser that follows every redirect and keeps its cookies; the result is where it ends.
    pub(crate) fn browse(&self) -> String {
        let (mut address, mut cookies) = (self.address.clone(), Vec::new());
        for _ in 0..10 {
            let (host, path) = split(&address);
            // Nobody listens there: it is where the address to paste is copied.
            if host == "localhost" {
                return address;
            }
            let is_agent = host.starts_with("localhost:");
            let mut head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
            if is_agent && !cookies.is_empty() {
                head += &format!("Cookie: {}\r\n", cookies.join("; "));
            }
            let page = http(tcp(host), &head, b"").unwrap();
            if is_agent {
                let set = page.header("set-cookie");
                cookies.extend(set.map(|cookie| cookie.split(';').next().unwrap().to_owned()));
            }
            let Some(location) = page.header("location") else {
                assert_eq!(page.status, 200, "{}", page.body);
                return address;
            };
            address = if location.starts_with('/') {
                format!("http://{host}{location}")
            } else {
                location.to_owned()
            };
        }
        panic!("the browser is sent round in circles");
    }
}

/// A tenant that can be held up: whoever asks it something then waits.
pub(crate) struct Entra {
    pub(crate) tenant: Arc<Tenant>,
    emulator: Option<Emulator>,
    url: String,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Entra {
    pub(crate) fn new() -> Self {
        Self::with_app(App::default())
    }

    /// With this app in the place of the public one.
    pub(crate) fn with_app(app: App) -> Self {
        let gate = Arc::new(Gate::default());
        // The tenant looks at its clock for each request.
        let clock = {
            let gate = Arc::clone(&gate);
            Clock::new(move || {
                gate.pass();
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                since.as_secs().try_into().unwrap()
            })
        };
        let tenant = Tenant::new(Options {
            apps: vec![app],
            auto_consent: true,
            users: vec![User::default(), User::new("Bob Builder", "bob@example.com")],
            device_code_interval: 1,
            clock,
            ..Options::default()
        });
        let tenant = Arc::new(tenant.unwrap());
        // An address of its own, so that its port stays free while it is down.
        let address = ([127, 0, 44, 1], 0).into();
        let emulator = Emulator::start(Arc::clone(&tenant), address).unwrap();
        let url = emulator.url().to_owned();
        Self {
            tenant,
            emulator: Some(emulator),
            url,
            gate,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Nobody is answered from now on.
    pub(crate) fn close(&self) {
        self.gate.state.lock().unwrap().0 = true;
    }

    /// Waits until somebody waits to be answered.
    pub(crate) fn wait_for_visitor(&self) {
        let state = self.gate.state.lock().unwrap();
        let waited = self
            .gate
            .changed
            .wait_timeout_while(state, LONGEST, |state| state.1 == 0);
        assert!(!waited.unwrap().1.timed_out(), "nobody has come");
    }

    /// Everybody is answered again.
    pub(crate) fn open(&self) {
        *self.gate.state.lock().unwrap() = (false, 0);
        self.gate.changed.notify_all();
    }

    pub(crate) fn stop(&mut self) {
        self.open();
        self.emulator = None;
    }

    /// Starts it again at the same address.
    pub(crate) fn restart(&mut self) {
        let address = self.url.strip_prefix("http://").unwrap().parse().unwrap();
        let emulator = Emulator::start(Arc::clone(&self.tenant), address);
        self.emulator = Some(emulator.unwrap());
    }

    /// Whose a token of Graph's is.
    pub(crate) fn whose(&self, token: &str) -> String {
        let host = self.url.strip_prefix("http://").unwrap();
        let head =
            format!("GET /v1.0/me HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n");
        let reply = http(tcp(host), &head, b"").unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
        let me: Value = serde_json::from_str(&reply.body).unwrap();
        me["userPrincipalName"].as_str().unwrap().to_owned()
    }
}

impl Drop for Entra {
    fn drop(&mut self) {
        self.open();
    }
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        if state.0 {
            state.1 += 1;
            self.changed.notify_all();
        }
        let open = self.changed.wait_while(state, |state| state.0);
        drop(open.unwrap());
    }
}

/// A reply as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// Sends a request whose head lacks its end, and reads the reply; `None` if there is none.
pub(crate) fn http(stream: impl Read + Write, head: &str, body: &[u8]) -> Option<Reply> {
    let length = body.len();
    let head = format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    raw(stream, &[head.as_bytes(), body].concat())
}

/// Sends these bytes and reads the reply; `None` if there is none.
pub(crate) fn raw(mut stream: impl Read + Write, request: &[u8]) -> Option<Reply> {
    // Whoever does not want to read it all may answer all the same.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(read @ 1..) => bytes.extend_from_slice(&part[..read]),
            // As the end of a child does where a read has a timeout.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => break,
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some(Reply {
        status: head.split(' ').nth(1)?.parse().ok()?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// A request of JSON.
pub(crate) fn post(stream: impl Read + Write, path: &str, body: &str) -> Option<Reply> {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
    http(stream, &head, body.as_bytes())
}

fn split(address: &str) -> (&str, &str) {
    let rest = address.strip_prefix("http://").unwrap();
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}

/// A connection to a host and port of this machine.
pub(crate) fn tcp(host: &str) -> TcpStream {
    let stream = TcpStream::connect(host.replace("localhost", "127.0.0.1")).unwrap();
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    stream.set_write_timeout(Some(LONGEST)).unwrap();
    stream
}

/// The session of other people's clients, as `entrar env` tells it.
pub(crate) struct CookieSession {
    pub(crate) host: String,
    pub(crate) directory: PathBuf,
}

impl CookieSession {
    pub(crate) fn open(place: &Place) -> Self {
        let session = place.ask("open_session", json!({})).unwrap();
        let address = session["address"].as_str().unwrap();
        Self {
            host: address.strip_prefix("http://").unwrap().to_owned(),
            directory: session["directory"].as_str().unwrap().into(),
        }
    }

    pub(crate) fn cookie(&self) -> String {
        std::fs::read_to_string(self.directory.join("rpc_cookie")).unwrap()
    }

    /// Asks for a token with further lines in the head.
    pub(crate) fn ask(&self, verb: &str, lines: &[&str]) -> Reply {
        let body = json!({"method": "delegated_azure_token", "params": [STORAGE]}).to_string();
        let mut head = format!("{verb} {RPC} HTTP/1.1\r\n");
        if !lines.iter().any(|line| line.starts_with("Host:")) {
            head += &format!("Host: {}\r\n", self.host);
        }
        for line in lines {
            head += &format!("{line}\r\n");
        }
        http(tcp(&self.host), &head, body.as_bytes()).unwrap()
    }

    /// The status of an answer to this cookie.
    pub(crate) fn status(&self, cookie: &str) -> u16 {
        self.ask("POST", &[&cookie_line(cookie)]).status
    }
}

pub(crate) fn cookie_line(cookie: &str) -> String {
    format!("X-RS-Session-Server-RPC-Cookie: {cookie}")
}

/// What a command does that another user of this machine runs.
pub(crate) fn by_nobody(words: &[&str]) -> Output {
    let mut command = as_nobody();
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    ended(command.spawn().unwrap())
}

fn as_nobody() -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .current_dir("/");
    command
}

/// Runs a test of this file again, as a user who is not root, with copies of the programs that such a user can read.
pub(crate) fn again_as_nobody(test: &str) {
    let base = tempfile::tempdir().unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(base.path(), mode).unwrap();
    let (tests, program) = (base.path().join("tests"), base.path().join("entrar"));
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_entrar"), &program).unwrap();
    let mut command = as_nobody();
    command
        .arg(&tests)
        .args(["--exact", &format!("agent::strangers::{test}")])
        .env(PROGRAM, &program)
        .env_remove("TMPDIR")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = ended(command.spawn().unwrap());
    let said = stdout(&output);
    assert!(output.status.success(), "{said}{}", stderr(&output));
    assert!(said.contains("1 passed"), "{said}");
}
