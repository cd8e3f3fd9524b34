//! The helper as a process in an environment of its own, and a server of the session RPC for it to ask.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use entrar_core::rpc::COOKIE_HEADER;
use tempfile::TempDir;

/// What a process was given and what came of it.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn outcome(code: i32, stdout: &str, stderr: &str) -> Outcome {
    Outcome {
        code: Some(code),
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
    }
}

/// A person's session: its own directories, and variables.
pub struct Session {
    pub directory: TempDir,
    variables: Vec<(String, String)>,
}

impl Session {
    /// Without a server.
    pub fn nowhere() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap().to_owned();
        let own = ["HOME", "PWB_SESSION_RUNTIME_DIR", "TMPDIR"];
        let variables = own.map(|name| (name.to_owned(), path.clone()));
        let session = Self {
            directory,
            variables: variables.into(),
        };
        // Nobody's agent and no hub is met, whatever there is on this machine.
        session
            .with("ENTRAR_RUNTIME_DIR", &format!("{path}/entrar"))
            .with("ENTRAR_HUB_SOCKET", "off")
    }

    /// With this server and a cookie for it.
    pub fn at(address: &str) -> Self {
        Self::nowhere()
            .with("RS_SERVER_ADDRESS", address)
            .with("RS_SESSION_RPC_COOKIE", "ada|none|canary-cookie")
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_git-credential-pwb"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, words: &[&str], stdin: &[u8]) -> Outcome {
        let mut child = self.command().args(words).spawn().unwrap();
        // Who does not read it all closes the pipe early.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("canary"), "{stderr}");
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr,
        }
    }

    /// Runs `get` with the trace on; what was traced, without its beginning.
    pub fn trace(&self, stdin: &[u8]) -> Vec<String> {
        let mut command = self.command();
        command.arg("get").env("GIT_CREDENTIAL_PWB_TRACE", "1");
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("canary"), "{stderr}");
        let lines = stderr.lines();
        lines
            .filter_map(|line| line.strip_prefix("git-credential-pwb: trace: "))
            .map(str::to_owned)
            .collect()
    }

    /// Where this person's agent is, or would be.
    #[cfg(unix)]
    pub fn agents_directory(&self) -> entrar_core::session_directory::SessionDirectory {
        let variable = |name: &&(String, String)| name.0 == "ENTRAR_RUNTIME_DIR";
        let (name, path) = self.variables.iter().find(variable).unwrap();
        let env = entrar_core::env::Env::fixed(&[(name, path)], 0.0);
        entrar_core::session_directory::SessionDirectory::create(&env).unwrap()
    }

    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }
}

/// No token stays in the user's keyring.
impl Drop for Session {
    fn drop(&mut self) {
        self.run(&["erase"], b"protocol=https\nhost=dev.azure.com\n\n");
    }
}

/// Whether the helper can keep a token: on Linux, unless a container forbids it.
pub fn kernel_keeps_keys() -> bool {
    #[cfg(target_os = "linux")]
    {
        use linux_keyutils::{KeyRing, KeyRingIdentifier};
        KeyRing::from_special_id(KeyRingIdentifier::Process, true)
            .and_then(|ring| ring.add_key("git-credential-pwb-test", b"1"))
            .is_ok()
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// How many exchanges so many requests of one session are.
pub fn exchanges(requests: usize) -> usize {
    if kernel_keeps_keys() { 1 } else { requests }
}

/// What a request is told apart by.
#[derive(Default)]
struct Asked {
    path: String,
    cookie: String,
}

/// A server that remembers the requests' bodies.
pub struct Server {
    pub address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Everybody gets the same reply.
    pub fn start(status: &str, body: String) -> Self {
        let reply = reply(status, &body);
        Self::replying(move |_| reply.clone())
    }

    /// The reply is made of the cookie that was sent.
    fn replying(reply: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let accept = move || listener.accept().unwrap().0;
        Self::on(address, move |asked| reply(&asked.cookie), accept)
    }

    /// A person's own agent, which grants this token through its socket.
    #[cfg(unix)]
    pub fn agent_of(session: &Session, token: &str) -> Self {
        let path = session.agents_directory().socket_path();
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        let reply = reply("200 OK", &granted(token, 3599));
        let accept = move || listener.accept().unwrap().0;
        Self::on(String::new(), move |_| reply.clone(), accept)
    }

    /// A hub, which grants this token through its socket, and tells the mark that the file `mark` holds.
    #[cfg(unix)]
    pub fn hub_of(session: &Session, token: &str) -> Self {
        let listener = std::os::unix::net::UnixListener::bind(session.file("hub.sock")).unwrap();
        let (granted, mark) = (granted(token, 3599), session.file("mark"));
        let answer = move |asked: &Asked| {
            if asked.path == "/hub/me" {
                let mark = std::fs::read_to_string(&mark).unwrap();
                let me = r#""user":"ada","uid":1,"machine":"m","page":"https://hub.example","binding":"mapped""#;
                reply(
                    "200 OK",
                    &format!(r#"{{"result":{{{me},"account":null,"mark":"{mark}"}}}}"#),
                )
            } else {
                reply("200 OK", &granted)
            }
        };
        let accept = move || listener.accept().unwrap().0;
        Self::on(String::new(), answer, accept)
    }

    fn on<Stream: Read + Write>(
        address: String,
        reply: impl Fn(&Asked) -> String + Send + 'static,
        accept: impl Fn() -> Stream + Send + 'static,
    ) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&requests);
        std::thread::spawn(move || {
            loop {
                let mut reader = BufReader::new(accept());
                let mut length = 0;
                let mut asked = Asked::default();
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                line.split(' ').nth(1).unwrap().clone_into(&mut asked.path);
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    if let Some((name, value)) = line.split_once(':') {
                        match name.to_ascii_lowercase().as_str() {
                            "content-length" => length = value.trim().parse().unwrap(),
                            COOKIE_HEADER => value.trim().clone_into(&mut asked.cookie),
                            _ => {}
                        }
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let body = String::from_utf8(body).unwrap();
                remembered.lock().unwrap().push(body);
                let _ = reader.get_mut().write_all(reply(&asked).as_bytes());
            }
        });
        Self { address, requests }
    }

    pub fn granting(token: &str) -> Self {
        Self::granting_for(token, 3599)
    }

    pub fn granting_for(token: &str, seconds: u32) -> Self {
        Self::start("200 OK", granted(token, seconds))
    }

    /// A token for each person, which ends in the name that their cookie begins with; those that are refused get none.
    pub fn granting_to_each(is_refused: impl Fn(&str) -> bool + Send + 'static) -> Self {
        Self::replying(move |cookie| {
            let name = cookie.split('|').next().unwrap();
            if is_refused(name) {
                reply("401 Unauthorized", "")
            } else {
                reply("200 OK", &granted(&format!("canary-of-{name}"), 3599))
            }
        })
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn granted(token: &str, seconds: u32) -> String {
    format!(
        "{{\"result\":true,\"token\":{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\",\"expires_in\":{seconds}}}}}"
    )
}

fn reply(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

/// Every file below a directory, with what is in it.
pub fn contents(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let text = std::fs::read(&path).unwrap();
            found.push((
                path.display().to_string(),
                String::from_utf8_lossy(&text).into_owned(),
            ));
        }
    }
    found
}
