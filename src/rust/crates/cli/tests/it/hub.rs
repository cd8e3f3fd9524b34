//! `entrar env` on a machine with a hub: in its place answers what opens a session for whoever asks.

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::agent_support::{LONGEST, NOBODY, Place, ended, is_root, stderr, stdout};

const COOKIE: &str = "id|Mon%2C%2023%20Nov%202026%2000%3A00%3A00%20GMT|canary";
/// Whose memory this test's directories lie in, if the machine has it.
const IN_MEMORY: &str = "/dev/shm";

/// A person and a hub on one machine.
struct Machine {
    place: Place,
    run: TempDir,
}

impl Machine {
    fn new() -> Self {
        let run = tempfile::tempdir().unwrap();
        std::fs::set_permissions(run.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Self {
            place: Place::new(),
            run,
        }
    }

    fn socket(&self) -> PathBuf {
        self.run.path().canonicalize().unwrap().join("hub.sock")
    }

    /// A hub that gives these replies; what is asked comes out of the channel.
    fn hub(&self, replies: Vec<Value>) -> Receiver<String> {
        let listener = UnixListener::bind(self.socket()).unwrap();
        std::fs::set_permissions(self.socket(), PermissionsExt::from_mode(0o666)).unwrap();
        let (asked, requests) = channel();
        std::thread::spawn(move || {
            for reply in replies {
                let (mut connection, _) = listener.accept().unwrap();
                let _ = asked.send(first_line(&mut connection));
                let body = reply.to_string();
                let length = body.len();
                let head = "HTTP/1.1 200 OK\r\nConnection: close";
                let _ = write!(
                    connection,
                    "{head}\r\nContent-Length: {length}\r\n\r\n{body}"
                );
            }
        });
        requests
    }

    /// A directory of programs, which everybody may look into.
    fn programs(&self) -> PathBuf {
        self.place.base().join("programs")
    }

    /// Puts the command there, or a script in its place. Another process does it: a file that this one has open for writing,
    /// or one that another test starts meanwhile, cannot be run.
    fn install(&self, program: &Path) {
        let done = Command::new("install")
            .args(["-D", "-m", "755"])
            .arg(program)
            .arg(self.programs().join("entrar"))
            .status();
        assert!(done.unwrap().success());
    }

    fn env(&self, words: &[&str], change: impl FnOnce(&mut Command)) -> Output {
        let words = [&["env", "--shell", "sh"], words].concat();
        let mut command = self.place.command(&words);
        command.env("ENTRAR_HUB_SOCKET", self.socket());
        change(&mut command);
        ended(command.spawn().unwrap())
    }
}

/// The line of a request that was read whole.
fn first_line(connection: &mut UnixStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n{}") && connection.read(&mut byte).unwrap() == 1 {
        request.push(byte[0]);
    }
    let text = String::from_utf8(request).unwrap();
    text.lines().next().unwrap().to_owned()
}

fn opened() -> Value {
    json!({"result": {"cookie": COOKIE, "address": "http://127.0.0.1:8787", "expires_at": 1.0}})
}

#[test]
fn where_no_agent_runs_the_hub_opens_a_session_and_the_cookie_is_in_a_file() {
    let machine = Machine::new();
    let requests = machine.hub(vec![opened(), opened()]);
    let output = machine.env(&[], |command| {
        command.env("RSTUDIO_VERSION", "2021.09.0");
    });
    assert!(output.status.success(), "{}", stderr(&output));
    let directory = machine.place.path().join("hub-session");
    let shown = directory.display();
    assert_eq!(
        stdout(&output),
        format!(
            "export RS_SERVER_ADDRESS='http://127.0.0.1:8787';\n\
             export PWB_SESSION_RUNTIME_DIR='{shown}';\n\
             export ENTRAR_ORIGIN='hub';\n\
             unset RS_SESSION_RPC_COOKIE;\n\
             unset RSTUDIO_VERSION;\n"
        )
    );
    let file = directory.join("rpc_cookie");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), COOKIE);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let asked = requests.recv_timeout(LONGEST).unwrap();
    assert_eq!(asked, "POST /hub/open_session HTTP/1.1");

    // The variables that it has set do not keep it from opening another one.
    let inline = machine.env(&["--inline", "--git"], |command| {
        command
            .env("RS_SERVER_ADDRESS", "http://127.0.0.1:8787")
            .env("ENTRAR_ORIGIN", "hub");
    });
    let shown = stdout(&inline);
    assert!(shown.contains(&format!("export RS_SESSION_RPC_COOKIE='{COOKIE}';\n")));
    assert!(shown.contains("export GIT_CONFIG_COUNT="), "{shown}");
}

#[test]
fn a_cookie_that_may_come_to_a_disk_is_warned_of() {
    let warns = |base: Option<&str>| {
        let machine = Machine::new();
        let _requests = machine.hub(vec![opened()]);
        let own = match base {
            Some(base) => tempfile::tempdir_in(base).unwrap(),
            None => tempfile::tempdir().unwrap(),
        };
        std::fs::set_permissions(own.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let output = machine.env(&[], |command| {
            command.env("ENTRAR_RUNTIME_DIR", own.path());
        });
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output).contains("which is not known to be in memory: set XDG_RUNTIME_DIR")
    };
    if is_tmpfs(IN_MEMORY) {
        assert!(!warns(Some(IN_MEMORY)));
    }
    let usual = std::env::temp_dir();
    if !is_tmpfs(usual.to_str().unwrap()) {
        assert!(warns(None));
    }
}

fn is_tmpfs(path: &str) -> bool {
    const TMPFS: u32 = 0x0102_1994;
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type as u32 == TMPFS)
}

#[test]
fn another_user_is_served_by_roots_hub_and_by_nobody_elses() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let _requests = machine.hub(vec![opened()]);
    let own = machine.place.path();
    std::fs::create_dir(&own).unwrap();
    std::fs::set_permissions(&own, PermissionsExt::from_mode(0o700)).unwrap();
    chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
    // Where cargo has put it others may not look.
    let program = machine.place.base().join("entrar-of-all");
    std::fs::copy(env!("CARGO_BIN_EXE_entrar"), &program).unwrap();
    let as_nobody = || {
        let mut command = Command::new(&program);
        machine
            .place
            .furnish(command.args(["env", "--shell", "sh"]));
        command
            .uid(NOBODY)
            .gid(NOBODY)
            .env("ENTRAR_HUB_SOCKET", machine.socket());
        ended(command.spawn().unwrap())
    };
    let output = as_nobody();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("export ENTRAR_ORIGIN='hub';\n"));

    let place = machine.socket();
    chown(&place, Some(NOBODY - 1), None).unwrap();
    let output = as_nobody();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        format!(
            "entrar: the socket of the hub is not used: {} belongs to uid 65533, who is neither root nor a system user. Ask the administrator of the hub: its socket and the directories above it have to belong to root or to the hub's own system user, and nobody else may write there.\n",
            place.display()
        )
    );
}

/// Runs the example for `/etc/profile.d` in this shell, as somebody else than root; the result is what it has set.
fn logged_in(machine: &Machine, shell: &str, change: impl FnOnce(&mut Command)) -> String {
    const EXAMPLE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../../packaging/profile.d/entrar-hub.sh"
    );
    const SCRIPT: &str = r#"set -eu; . "$1"; echo "${ENTRAR_ORIGIN-} ${RS_SERVER_ADDRESS-} ${PWB_SESSION_RUNTIME_DIR-}""#;
    // Where git has put it others may not look.
    let example = machine.place.base().join("profile.sh");
    std::fs::copy(EXAMPLE, &example).unwrap();
    let mut command = Command::new(shell);
    machine
        .place
        .furnish(command.args(["-c", SCRIPT, shell]).arg(&example));
    command
        .env(
            "PATH",
            format!("{}:/usr/bin:/bin", machine.programs().display()),
        )
        .env("ENTRAR_HUB_SOCKET", machine.socket());
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    change(&mut command);
    let output = ended(command.spawn().unwrap());
    assert!(output.status.success(), "{shell}: {}", stderr(&output));
    assert_eq!(stderr(&output), "", "{shell}");
    stdout(&output).to_owned()
}

#[test]
fn a_login_shell_has_a_session_by_the_example_and_hears_nothing_of_a_refusal() {
    for shell in ["sh", "bash"] {
        let machine = Machine::new();
        let refused = json!({"kind": "throttled", "message": "no", "details": {"aadsts": []}});
        let requests = machine.hub(vec![opened(), json!({ "failure": refused })]);
        let own = machine.place.path();
        std::fs::create_dir(&own).unwrap();
        std::fs::set_permissions(&own, PermissionsExt::from_mode(0o700)).unwrap();
        if is_root() {
            chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        machine.install(env!("CARGO_BIN_EXE_entrar").as_ref());
        let session = own.join("hub-session");
        assert_eq!(
            logged_in(&machine, shell, |_| {}),
            format!("hub http://127.0.0.1:8787 {}\n", session.display())
        );
        assert!(session.join("rpc_cookie").exists(), "{shell}");
        assert_eq!(logged_in(&machine, shell, |_| {}), "  \n", "{shell}");
        assert_eq!(requests.iter().count(), 2, "{shell}");
    }
}

#[test]
fn the_example_asks_nobody_where_there_is_nothing_to_open() {
    for shell in ["sh", "bash"] {
        let machine = Machine::new();
        let _hub = UnixListener::bind(machine.socket()).unwrap();
        let script = machine.place.base().join("script");
        std::fs::write(&script, "#!/bin/sh\necho 'RS_SERVER_ADDRESS=asked'\n").unwrap();
        machine.install(&script);
        assert_eq!(logged_in(&machine, shell, |_| {}), " asked \n", "{shell}");
        let unasked = |what: &str, change: &dyn Fn(&mut Command)| {
            let set = logged_in(&machine, shell, change);
            assert!(!set.contains("asked"), "{shell}, {what}: {set}");
        };
        unasked("Workbench has a session", &|command| {
            command.env("RS_SERVER_ADDRESS", "https://workbench.example");
        });
        unasked("the cookie might come to a disk", &|command| {
            command.env_remove("ENTRAR_RUNTIME_DIR");
        });
        unasked("entrar is not installed", &|command| {
            command.env("PATH", "/usr/bin:/bin");
        });
        unasked("there is no hub", &|command| {
            command.env("ENTRAR_HUB_SOCKET", "/nowhere/hub.sock");
        });
        if is_root() {
            unasked("it is root", &|command| {
                command.uid(0).gid(0);
            });
        }
    }
}

#[test]
fn what_keeps_a_session_from_being_opened_is_told_with_what_to_do() {
    let machine = Machine::new();
    let none = machine.env(&[], |_| {});
    assert_eq!(none.status.code(), Some(1));
    let socket = machine.socket();
    let shown = socket.display();
    assert_eq!(
        stderr(&none),
        format!(
            "entrar: the hub is not running: nothing is at {shown}, where ENTRAR_HUB_SOCKET has it. Ask the administrator of the hub to start it.\n"
        )
    );
    drop(UnixListener::bind(&socket).unwrap());
    let dead = machine.env(&[], |_| {});
    assert_eq!(
        stderr(&dead),
        format!(
            "entrar: the hub ({shown}) is not running any more. Ask the administrator of the hub to start it.\n"
        )
    );
    std::fs::remove_file(&socket).unwrap();
    let failure = json!({"failure": {
        "kind": "throttled", "message": "you have 100 sessions open",
        "details": {"remedy": "End some on the page of the hub.", "aadsts": []}
    }});
    let _requests = machine.hub(vec![failure]);
    let refused = machine.env(&[], |_| {});
    assert_eq!(
        stderr(&refused),
        "entrar: you have 100 sessions open. End some on the page of the hub.\n"
    );
}
