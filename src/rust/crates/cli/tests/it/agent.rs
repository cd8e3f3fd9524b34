//! `entrar agent` and `entrar env`, as processes, with a person who signs in at an emulated tenant.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use entra_emulator::{Emulator, Fault, FaultKind, Options, Step, Tenant, User};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::web::{Reply, browse, over_tcp, raw_over_socket, request};

/// Far more than anything here takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);
const STORAGE: &str = "https://storage.azure.com";
const COOKIE: &str = "X-RS-Session-Server-RPC-Cookie";

/// A place for one person's agent. Whatever runs there at the end is killed.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn runtime(&self) -> PathBuf {
        self.directory.path().join("entrar")
    }

    fn socket(&self) -> PathBuf {
        self.runtime().join("agent.sock")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entrar"));
        command
            .args(words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("ENTRAR_RUNTIME_DIR", self.runtime())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Starts an agent in the background, and says which process it is.
    fn start(&self) -> u32 {
        let output = self.run(&["agent", "start"]);
        assert!(output.status.success(), "{}", stderr(&output));
        self.pid()
    }

    fn pid(&self) -> u32 {
        u32::try_from(self.result("status", &json!({}))["pid"].as_u64().unwrap()).unwrap()
    }

    fn ask(&self, name: &str, parameters: &Value) -> Value {
        let body = parameters.to_string();
        let text = request("POST", &format!("/agent/{name}"), "localhost", &[], &body);
        raw_over_socket(&self.socket(), text.as_bytes())
            .unwrap()
            .json()
    }

    fn result(&self, name: &str, parameters: &Value) -> Value {
        let mut reply = self.ask(name, parameters);
        assert!(reply["failure"].is_null(), "{name}: {reply}");
        reply["result"].take()
    }

    fn failure(&self, name: &str, parameters: &Value) -> (String, String) {
        let reply = self.ask(name, parameters);
        let text = |field: &str| {
            reply["failure"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        (text("kind"), text("message"))
    }

    /// A token through the socket, as our clients ask for one.
    fn token(&self, resource: &str) -> Value {
        let body = json!({"method": "delegated_azure_token", "params": [resource]}).to_string();
        let text = request("POST", "/delegated_azure_token", "localhost", &[], &body);
        raw_over_socket(&self.socket(), text.as_bytes())
            .unwrap()
            .json()
    }

    fn begin(&self, tenant: &Emulator, method: &str) -> Value {
        self.result("begin", &wanted(tenant, method))
    }

    /// Signs the tenant's default user in.
    fn sign_in(&self, tenant: &Emulator) -> Value {
        let attempt = self.begin(tenant, "browser");
        let (address, page) = browse(attempt["address"].as_str().unwrap(), "");
        assert!(address.ends_with("/done"), "{address}: {}", page.body);
        let progress = self.result("wait", &json!({"id": attempt["id"], "seconds": 20}));
        assert_eq!(progress["state"], "signed_in", "{progress}");
        progress["account"].clone()
    }

    fn mark(&self) -> String {
        fs::read_to_string(self.runtime().join("sign-in")).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.socket().exists() {
            let text = request("POST", "/agent/stop", "localhost", &[], "{}");
            let _ = raw_over_socket(&self.socket(), text.as_bytes());
        }
    }
}

fn wanted(tenant: &Emulator, method: &str) -> Value {
    json!({
        "authority": tenant.url(), "tenant": tenant.tenant().id(), "client_id": tenant.tenant().client_id(),
        "credential": "public", "method": method, "login_hint": null, "select_account": false
    })
}

fn tenant_with(options: Options) -> Emulator {
    let tenant = Arc::new(Tenant::new(options).unwrap());
    Emulator::start(tenant, ([127, 0, 0, 1], 0).into()).unwrap()
}

fn tenant() -> Emulator {
    tenant_with(Options {
        auto_consent: true,
        users: vec![User::default(), User::new("Bob Example", "bob@example.com")],
        ..Options::default()
    })
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// Whether a process runs. One that has ended and that nobody waits for is still listed.
fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']))
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONGEST, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill(pid: u32) {
    kill_process(process(pid), Signal::KILL).unwrap();
    until("it is killed", || !is_running(pid));
}

#[test]
fn a_person_signs_in_once_and_every_process_has_tokens_until_they_sign_out() {
    let (place, tenant) = (Place::new(), tenant());
    let pid = place.start();
    let before = place.token(STORAGE);
    assert_eq!(
        before["oauth2_error"]["error"], "login_required",
        "{before}"
    );
    assert_eq!(place.result("account", &json!({})), Value::Null);
    let unmarked = place.mark();
    let account = place.sign_in(&tenant);
    assert_eq!(account["username"], "ada@example.com");
    assert_eq!(account["tenant"], tenant.tenant().id());
    assert_ne!(place.mark(), unmarked);
    assert_eq!(place.token(STORAGE)["result"], true);
    assert_eq!(place.token("https://vault.azure.net")["result"], true);
    let status = place.run(&["agent", "status"]);
    assert!(
        stdout(&status).contains("signed in: ada@example.com"),
        "{}",
        stdout(&status)
    );
    let marked = place.mark();
    assert_eq!(
        place.result("sign_out", &json!({}))["username"],
        "ada@example.com"
    );
    until("the agent ends", || !is_running(pid));
    assert!(!place.socket().exists());
    assert_ne!(place.mark(), marked);
    let status = place.run(&["agent", "status"]);
    assert_eq!(status.status.code(), Some(3));
}

#[test]
fn two_starts_at_once_leave_one_agent() {
    let place = Place::new();
    let starts: Vec<Child> = (0..4)
        .map(|_| {
            let mut command = place.command(&["agent", "start"]);
            command.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let said: Vec<String> = starts
        .into_iter()
        .map(|start| stdout(&start.wait_with_output().unwrap()))
        .collect();
    let own = format!("(process {})", place.pid());
    assert!(said.iter().all(|said| said.contains(&own)), "{said:?}");
    assert_eq!(
        said.iter()
            .filter(|said| said.contains("has started"))
            .count(),
        1
    );
    let second = place.run(&["agent", "run"]);
    assert!(
        stderr(&second).contains("another agent of yours runs"),
        "{}",
        stderr(&second)
    );
}

#[test]
fn after_it_was_killed_the_next_one_takes_its_place_and_nobody_is_signed_in() {
    let (place, tenant) = (Place::new(), tenant());
    let pid = place.start();
    place.sign_in(&tenant);
    let mark = place.mark();
    kill(pid);
    assert!(place.socket().exists(), "a killed agent leaves its socket");
    let status = place.run(&["agent", "status"]);
    assert_eq!(status.status.code(), Some(3), "{}", stderr(&status));
    assert_ne!(place.start(), pid);
    assert_ne!(place.mark(), mark, "tokens of before are not kept");
    assert_eq!(
        place.token(STORAGE)["oauth2_error"]["error"],
        "login_required"
    );
}

#[test]
fn who_waits_when_it_is_killed_is_not_kept_waiting() {
    let place = Place::new();
    let faults = vec![Fault::new(FaultKind::Slow, None).at(Step::Refresh)];
    let tenant = tenant_with(Options {
        auto_consent: true,
        faults,
        ..Options::default()
    });
    let pid = place.start();
    let attempt = place.begin(&tenant, "browser");
    let wait = json!({"id": attempt["id"], "seconds": 25}).to_string();
    let requests = [
        request("POST", "/agent/wait", "localhost", &[], &wait),
        request(
            "POST",
            "/delegated_azure_token",
            "localhost",
            &[],
            &json!({"method": "delegated_azure_token", "params": [STORAGE]}).to_string(),
        ),
    ];
    let socket = place.socket();
    // The first waits for a person; the second for a slow tenant, once somebody has signed in.
    let first = std::thread::spawn({
        let (socket, text) = (socket.clone(), requests[0].clone());
        move || raw_over_socket(&socket, text.as_bytes()).is_none()
    });
    browse(attempt["address"].as_str().unwrap(), "");
    let account = || place.result("account", &json!({})) != Value::Null;
    until("somebody is signed in", account);
    assert!(!first.join().unwrap(), "the wait was answered");
    let second = std::thread::spawn({
        let text = requests[1].clone();
        move || raw_over_socket(&socket, text.as_bytes()).is_none()
    });
    std::thread::sleep(Duration::from_millis(100));
    kill(pid);
    assert!(second.join().unwrap(), "the connection breaks off");
}

#[test]
fn another_account_takes_the_place_of_the_first_only_when_it_is_let() {
    let (place, tenant) = (Place::new(), tenant());
    place.start();
    place.sign_in(&tenant);
    let as_bob = || {
        let mut wanted = wanted(&tenant, "browser");
        wanted["login_hint"] = "bob@example.com".into();
        let attempt = place.result("begin", &wanted);
        browse(attempt["address"].as_str().unwrap(), "");
        let progress = place.result("wait", &json!({"id": attempt["id"], "seconds": 20}));
        assert_eq!(progress["state"], "confirm", "{progress}");
        assert_eq!(progress["account"]["username"], "bob@example.com");
        assert_eq!(progress["replaces"]["username"], "ada@example.com");
        json!({"id": attempt["id"]})
    };
    let name = || place.result("account", &json!({}))["username"].clone();
    let cookie = place.result("open_session", &json!({}));
    let attempt = as_bob();
    assert_eq!(name(), "ada@example.com");
    place.result("cancel", &attempt);
    assert_eq!(place.failure("accept", &attempt).0, "sign_in_required");
    assert_eq!(name(), "ada@example.com");
    let mark = place.mark();
    let attempt = as_bob();
    assert_eq!(place.result("accept", &attempt)["state"], "signed_in");
    assert_eq!(name(), "bob@example.com");
    assert_ne!(place.mark(), mark);
    // The session of other people's clients is a new one too: a cookie of the first serves nobody.
    let address = cookie["address"].as_str().unwrap();
    assert_eq!(
        by_cookie(address, cookie["cookie"].as_str().unwrap()).status,
        401
    );
    let new = fs::read_to_string(place.runtime().join("session/rpc_cookie")).unwrap();
    assert_eq!(by_cookie(address, &new).json()["result"], true);
}

/// Asks for a token as rstudioapi does.
fn by_cookie(address: &str, cookie: &str) -> Reply {
    let body = json!({"method": "delegated_azure_token", "params": [STORAGE]}).to_string();
    let url = format!("{address}/delegated_azure_token");
    over_tcp("POST", &url, &[(COOKIE, cookie)], &body).unwrap()
}

#[test]
fn a_wrong_attempt_id_changes_nothing() {
    let (place, tenant) = (Place::new(), tenant());
    place.start();
    let attempt = place.begin(&tenant, "paste");
    let wrong =
        json!({"id": "canary", "seconds": 0, "address": "http://localhost/?code=a&state=b"});
    for name in ["wait", "accept", "answer"] {
        let (kind, message) = place.failure(name, &wrong);
        assert_eq!(kind, "sign_in_required", "{name}");
        assert!(!message.contains("canary"), "{message}");
    }
    assert_eq!(place.result("cancel", &wrong), Value::Null);
    let wait = json!({"id": attempt["id"], "seconds": 0});
    assert_eq!(place.result("wait", &wait)["state"], "waiting");
    let (address, _) = browse(attempt["address"].as_str().unwrap(), "http://localhost/");
    let answer = json!({"id": attempt["id"], "address": address});
    assert_eq!(place.result("answer", &answer)["state"], "signed_in");
    assert_eq!(place.failure("answer", &answer).0, "sign_in_required");
}

#[test]
fn requests_that_make_no_sense_harm_nobody() {
    let place = Place::new();
    let pid = place.start();
    let huge = "x".repeat(3 << 20);
    for text in [
        "\u{16}\u{3}\u{1}".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        request("POST", "/agent/begin", "localhost", &[], "{}"),
        request("POST", "/agent/begin", "localhost", &[], "[[[["),
        request("POST", "/agent/begin", "localhost", &[], &huge),
        request("POST", "/agent/wait", "localhost", &[], "{\"id\": 7}"),
        request(
            "POST",
            "/agent/wait",
            "localhost",
            &[],
            "{\"id\": \"x\", \"seconds\": -1e999}",
        ),
        request("POST", "/agent/nothing", "localhost", &[], "{}"),
        request("GET", "/agent/status", "localhost", &[], ""),
        request("POST", "/agent/../agent/status", "localhost", &[], "{}"),
    ] {
        let reply = raw_over_socket(&place.socket(), text.as_bytes());
        let result = reply.map_or(Value::Null, |reply| {
            serde_json::from_str::<Value>(&reply.body)
                .map_or(Value::Null, |body| body["result"].clone())
        });
        assert_eq!(result, Value::Null, "{}", &text[..text.len().min(200)]);
    }
    assert_eq!(place.pid(), pid);
}

#[test]
fn two_hundred_processes_at_once_all_get_a_token() {
    let (place, tenant) = (Place::new(), tenant());
    place.start();
    place.sign_in(&tenant);
    let body = json!({"method": "delegated_azure_token", "params": [STORAGE]}).to_string();
    let text = request("POST", "/delegated_azure_token", "localhost", &[], &body);
    let program = "import socket, sys\n\
        stream = socket.socket(socket.AF_UNIX)\n\
        stream.settimeout(60)\n\
        stream.connect(sys.argv[1])\n\
        stream.sendall(sys.argv[2].encode())\n\
        reply = b''\n\
        while part := stream.recv(65536): reply += part\n\
        sys.exit(b'\"result\":true' not in reply)";
    let children: Vec<Child> = (0..200)
        .map(|_| {
            Command::new("python3")
                .args(["-S", "-E", "-c", program])
                .arg(place.socket())
                .arg(&text)
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
}

#[test]
fn a_sign_in_that_is_revoked_has_to_be_made_again_and_may() {
    let (place, tenant) = (Place::new(), tenant());
    place.start();
    place.sign_in(&tenant);
    tenant.tenant().revoke(&User::default());
    let refused = place.token(STORAGE);
    assert_eq!(
        refused["oauth2_error"]["error"], "invalid_grant",
        "{refused}"
    );
    place.sign_in(&tenant);
    assert_eq!(place.token(STORAGE)["result"], true);
}

/// Else the person could sign in over and over, without the second factor that a resource wants.
#[test]
fn what_the_tenant_wants_of_the_next_sign_in_is_passed_on_to_it() {
    let place = Place::new();
    let faults = vec![Fault::new(FaultKind::AccessDenied, Some(STORAGE)).at(Step::Refresh)];
    let tenant = tenant_with(Options {
        auto_consent: true,
        faults,
        ..Options::default()
    });
    place.start();
    let address_at_the_tenant = || {
        let attempt = place.begin(&tenant, "browser");
        browse(attempt["address"].as_str().unwrap(), tenant.url()).0
    };
    assert!(!address_at_the_tenant().contains("claims="));
    place.sign_in(&tenant);
    let refused = place.token(STORAGE);
    let claims = refused["oauth2_error"]["claims"].as_str().unwrap();
    let encoded: String = claims
        .bytes()
        .map(|byte| match byte {
            b if b.is_ascii_alphanumeric() || b"-_.*".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect();
    let address = address_at_the_tenant();
    assert!(address.contains(&format!("claims={encoded}")), "{address}");
    place.sign_in(&tenant);
    assert!(!address_at_the_tenant().contains("claims="));
}

#[test]
fn other_peoples_clients_have_a_port_and_a_file_that_only_the_owner_reads() {
    let (place, tenant) = (Place::new(), tenant());
    place.start();
    let refused = place.run(&["env"]);
    assert!(
        stderr(&refused).contains("nobody is signed in"),
        "{}",
        stderr(&refused)
    );
    place.sign_in(&tenant);
    let env = stdout(&place.run(&["env", "--shell", "sh"]));
    let address = variable(&env, "RS_SERVER_ADDRESS");
    let directory = variable(&env, "PWB_SESSION_RUNTIME_DIR");
    assert_eq!(variable(&env, "ENTRAR_ORIGIN"), "agent");
    let file = Path::new(&directory).join("rpc_cookie");
    let cookie = fs::read_to_string(&file).unwrap();
    assert!(
        !env.contains(cookie.split('|').next_back().unwrap()),
        "{env}"
    );
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    for directory in [directory.as_ref(), place.runtime().as_path()] {
        assert_eq!(fs::metadata(directory).unwrap().mode() & 0o777, 0o700);
    }
    assert_eq!(by_cookie(&address, &cookie).json()["result"], true);
    // Forged, and of nobody.
    let forged = cookie.replace("2026", "2036");
    for wrong in ["", "x|y|z", forged.as_str()] {
        assert_eq!(by_cookie(&address, wrong).status, 401, "{wrong}");
    }
    // What is asked of an agent is asked through its socket alone.
    let status = over_tcp(
        "POST",
        &format!("{address}/agent/status"),
        &[(COOKIE, &cookie)],
        "{}",
    );
    assert_eq!(status.unwrap().status, 404);
    let inline = stdout(&place.run(&["env", "--inline", "--shell", "sh"]));
    let inline = variable(&inline, "RS_SESSION_RPC_COOKIE");
    assert_eq!(by_cookie(&address, &inline).json()["result"], true);
    place.result("sign_out", &json!({}));
    until("the port is closed", || {
        over_tcp("GET", &address, &[], "").is_none()
    });
    assert!(!file.exists());
}

/// The value that a line of a shell's commands sets.
fn variable(commands: &str, name: &str) -> String {
    let start = format!("export {name}='");
    let line = commands.lines().find(|line| line.starts_with(&start));
    let line = line.unwrap_or_else(|| panic!("{name}: {commands}"));
    line[start.len()..].trim_end_matches("';").to_owned()
}

#[test]
fn a_page_in_a_browser_gets_nothing_at_the_port() {
    let (place, tenant) = (Place::new(), tenant());
    place.start();
    place.sign_in(&tenant);
    let session = place.result("open_session", &json!({}));
    let address = session["address"].as_str().unwrap();
    let cookie = session["cookie"].as_str().unwrap();
    let url = format!("{address}/delegated_azure_token");
    let body = json!({"method": "delegated_azure_token", "params": [STORAGE]}).to_string();
    for header in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Host", "evil.example"),
    ] {
        for method in ["POST", "OPTIONS"] {
            let reply = over_tcp(method, &url, &[header, (COOKIE, cookie)], &body).unwrap();
            assert_eq!(reply.status, 403, "{header:?}");
            assert!(reply.header("access-control-allow-origin").is_empty());
        }
    }
}

#[test]
fn variables_come_back_from_every_shell_whatever_the_path_is() {
    let (outer, tenant) = (Place::new(), tenant());
    let odd = outer.directory.path().join("a b'c$(id)`d`\"e\\f");
    fs::create_dir(&odd).unwrap();
    let place = Place {
        directory: tempfile::tempdir_in(&odd).unwrap(),
    };
    place.start();
    place.sign_in(&tenant);
    let expected = place.runtime().join("session");
    let mut tried = 0;
    for shell in ["sh", "bash", "zsh", "fish"] {
        let own = env!("CARGO_BIN_EXE_entrar");
        let script = match shell {
            "fish" => format!(
                "'{own}' env --shell fish | source; printf '%s' \"$PWB_SESSION_RUNTIME_DIR\""
            ),
            _ => format!(
                "eval \"$('{own}' env --shell sh)\"; printf '%s' \"$PWB_SESSION_RUNTIME_DIR\""
            ),
        };
        let mut command = Command::new(shell);
        command
            .args(["-c", &script])
            .env("ENTRAR_RUNTIME_DIR", place.runtime());
        let Ok(output) = command.output() else {
            continue;
        };
        tried += 1;
        assert_eq!(
            stdout(&output),
            expected.to_str().unwrap(),
            "{shell}: {}",
            stderr(&output)
        );
    }
    assert!(tried > 0);
}

#[test]
fn a_directory_that_is_not_the_persons_alone_is_refused_and_left_as_it_is() {
    let is_root = rustix::process::geteuid().is_root();
    for (what, make) in [
        (
            "mode",
            Box::new(|path: &Path| {
                fs::create_dir(path).unwrap();
                fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
            }) as Box<dyn Fn(&Path)>,
        ),
        (
            "link",
            Box::new(|path: &Path| {
                let target = path.with_file_name("elsewhere");
                fs::create_dir(&target).unwrap();
                fs::set_permissions(&target, PermissionsExt::from_mode(0o700)).unwrap();
                symlink(target, path).unwrap();
            }),
        ),
        (
            "file",
            Box::new(|path: &Path| fs::write(path, "mine").unwrap()),
        ),
        (
            "owner",
            Box::new(|path: &Path| {
                fs::create_dir(path).unwrap();
                fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
                std::os::unix::fs::chown(path, Some(65534), None).unwrap();
            }),
        ),
    ] {
        if what == "owner" && !is_root {
            continue;
        }
        let place = Place::new();
        make(&place.runtime());
        let before = fs::symlink_metadata(place.runtime()).unwrap();
        for words in [["agent", "start"], ["agent", "status"]] {
            let output = place.run(&words);
            assert!(!output.status.success(), "{what}");
            let said = stderr(&output);
            assert!(
                said.contains(place.runtime().to_str().unwrap()),
                "{what}: {said}"
            );
        }
        let after = fs::symlink_metadata(place.runtime()).unwrap();
        assert_eq!(
            (before.mode(), before.uid()),
            (after.mode(), after.uid()),
            "{what}"
        );
    }
}

#[test]
fn a_full_disk_at_the_start_is_said() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.runtime()).unwrap();
    let runtime = place.runtime();
    let script = format!(
        "mount -t tmpfs -o size=4k,mode=700 none '{0}' && cat /dev/zero > '{0}/full' 2>/dev/null; '{1}' agent start",
        runtime.display(),
        env!("CARGO_BIN_EXE_entrar")
    );
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .env("ENTRAR_RUNTIME_DIR", &runtime)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = stderr(&output);
    assert!(said.contains("cannot be started"), "{said}");
    assert!(
        said.contains("No space left") || said.contains("space"),
        "{said}"
    );
}

/// Runs a program as a user who owns nothing here.
fn as_another_user(words: &[&str]) -> Output {
    Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "/usr/bin/env",
        ])
        .args(words)
        .current_dir("/")
        .output()
        .unwrap()
}

#[test]
fn another_user_of_this_machine_gets_nothing() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (place, tenant) = (Place::new(), tenant());
    // They may come as far as the directory itself.
    fs::set_permissions(place.directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let pid = place.start();
    place.sign_in(&tenant);
    let session = place.result("open_session", &json!({}));
    let address = session["address"].as_str().unwrap();
    let cookie = place.runtime().join("session/rpc_cookie");
    for path in [
        cookie.to_str().unwrap().to_owned(),
        place.runtime().join("sign-in").to_str().unwrap().to_owned(),
        format!("/proc/{pid}/environ"),
        format!("/proc/{pid}/mem"),
        format!("/proc/{pid}/maps"),
    ] {
        let output = as_another_user(&["cat", &path]);
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{path}"
        );
    }
    let connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
    let socket = place.socket();
    let output = as_another_user(&["python3", "-c", connect, socket.to_str().unwrap()]);
    assert!(
        stderr(&output).contains("PermissionError"),
        "{}",
        stderr(&output)
    );
    // They know the port, and have no cookie.
    let ask = "import sys, urllib.request, urllib.error\n\
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n\
        try: opener.open(urllib.request.Request(sys.argv[1], b'{}'))\n\
        except urllib.error.HTTPError as error: print(error.code)";
    let output = as_another_user(&[
        "python3",
        "-c",
        ask,
        &format!("{address}/delegated_azure_token"),
    ]);
    assert_eq!(stdout(&output).trim(), "401", "{}", stderr(&output));
}

/// The agent of a user without privileges: not even their own programs read its memory.
#[test]
fn its_memory_is_closed_to_the_persons_own_programs() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let tenant = tenant();
    let place = Place::new();
    // The command lies where that user may not come.
    let own = place.directory.path().join("command");
    fs::copy(env!("CARGO_BIN_EXE_entrar"), &own).unwrap();
    fs::set_permissions(place.directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    fs::create_dir(place.runtime()).unwrap();
    fs::set_permissions(place.runtime(), PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(place.runtime(), Some(65534), Some(65534)).unwrap();
    let runtime = format!("ENTRAR_RUNTIME_DIR={}", place.runtime().display());
    let mut agent = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "env",
            "-i",
            &runtime,
        ])
        .arg(&own)
        .args(["agent", "run"])
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = agent.id();
    until("it listens", || {
        let is_over = agent.try_wait().unwrap().is_some();
        if is_over {
            let mut said = String::new();
            agent
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut said)
                .unwrap();
            panic!("{said}");
        }
        place.socket().exists()
    });
    for file in ["mem", "environ", "maps", "auxv"] {
        let output = as_another_user(&["cat", &format!("/proc/{pid}/{file}")]);
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{file}"
        );
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(
        core.split_whitespace().collect::<Vec<_>>()[4..6],
        ["0", "0"],
        "{core}"
    );
    // Its person signs in: their own programs reach it, root's do not.
    let stranger = place_ask_as_root(&place);
    assert_eq!(stranger.status, 403);
    let program = "import http.client, json, socket, sys, urllib.request, http.cookiejar\n\
        class Socket(http.client.HTTPConnection):\n\
        \x20   def connect(self):\n\
        \x20       self.sock = socket.socket(socket.AF_UNIX); self.sock.connect(sys.argv[1])\n\
        def ask(name, parameters):\n\
        \x20   connection = Socket('localhost')\n\
        \x20   connection.request('POST', '/agent/' + name, json.dumps(parameters))\n\
        \x20   return json.loads(connection.getresponse().read())['result']\n\
        attempt = ask('begin', json.loads(sys.argv[2]))\n\
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())\n\
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)\n\
        page = opener.open(attempt['address']).geturl()\n\
        print(page.rsplit('/', 1)[1], ask('wait', {'id': attempt['id'], 'seconds': 20})['state'])";
    let socket = place.socket();
    let wanted = wanted(&tenant, "browser").to_string();
    let output = as_another_user(&["python3", "-c", program, socket.to_str().unwrap(), &wanted]);
    assert_eq!(
        stdout(&output).trim(),
        "done signed_in",
        "{}",
        stderr(&output)
    );
    kill_process(process(pid), Signal::TERM).unwrap();
    assert!(agent.wait().unwrap().success());
    assert!(!place.socket().exists());
}

/// root may open every socket; the agent looks who it is.
fn place_ask_as_root(place: &Place) -> Reply {
    let text = request("POST", "/agent/status", "localhost", &[], "{}");
    raw_over_socket(&place.socket(), text.as_bytes()).unwrap()
}

#[test]
fn a_socket_of_somebody_else_is_not_asked() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.runtime()).unwrap();
    fs::set_permissions(place.runtime(), PermissionsExt::from_mode(0o700)).unwrap();
    let listener = UnixListener::bind(place.socket()).unwrap();
    listener.set_nonblocking(true).unwrap();
    std::os::unix::fs::chown(place.socket(), Some(65534), None).unwrap();
    let output = place.run(&["agent", "status"]);
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("agent.sock"),
        "{}",
        stderr(&output)
    );
    assert!(listener.accept().is_err(), "nobody has connected");
    fs::remove_file(place.socket()).unwrap();
}

#[test]
fn its_status_shows_the_way_to_entra_without_a_password() {
    let place = Place::new();
    let output = place
        .command(&["agent", "start"])
        .env("https_proxy", "http://svc:canary@proxy.corp.example:8080")
        .env("HTTP_PROXY", "http://svc:can/ary@proxy.corp.example:8080")
        .env("CURL_CA_BUNDLE", "/etc/corp.pem")
        .env("NOT_ALLOWED", "canary")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let status = stdout(&place.run(&["agent", "status"]));
    assert!(
        status.contains("https_proxy: http://proxy.corp.example:8080"),
        "{status}"
    );
    assert!(
        status.contains("HTTP_PROXY: an address that is not understood"),
        "{status}"
    );
    assert!(status.contains("CURL_CA_BUNDLE: /etc/corp.pem"), "{status}");
    assert!(
        !status.contains("canary") && !status.contains("ary@"),
        "{status}"
    );
    let environ = fs::read(format!("/proc/{}/environ", place.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&environ).contains("NOT_ALLOWED"));
}

#[test]
fn stop_and_a_signal_end_it_and_leave_nothing_but_its_marks() {
    let place = Place::new();
    for how in ["stop", "term"] {
        let pid = place.start();
        if how == "stop" {
            assert!(place.run(&["agent", "stop"]).status.success());
        } else {
            kill_process(process(pid), Signal::TERM).unwrap();
        }
        until(how, || !is_running(pid));
        let mut left: Vec<_> = fs::read_dir(place.runtime())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["agent.lock", "sign-in"], "{how}");
    }
    let stopped = place.run(&["agent", "stop"]);
    assert_eq!(stopped.status.code(), Some(3), "{}", stderr(&stopped));
}
