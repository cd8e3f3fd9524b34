//! `entrar demo`, as a process.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Far more than a demonstration takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(180);

/// A place of its own for runtime directories, and the command line up to `--`.
struct Demo {
    runtime: TempDir,
    options: Vec<String>,
}

impl Demo {
    fn new(options: &[&str]) -> Self {
        Self {
            runtime: tempfile::tempdir().unwrap(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        self.command_by(&["env"], words)
    }

    /// The same, where `launcher` runs the command line that follows it.
    fn command_by(&self, launcher: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new(launcher[0]);
        command
            .args(&launcher[1..])
            .arg(env!("CARGO_BIN_EXE_entrar"))
            .arg("demo")
            .args(&self.options)
            .arg("--")
            .args(words)
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .env("RSTUDIO_VERSION", "2020.1.0")
            .env("http_proxy", "http://127.0.0.1:1")
            .env_remove("ENTRAR_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // No terminal's foreground, wherever the tests run.
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    async fn run(&self, words: &[&str]) -> Output {
        let child = self.command(words).spawn().unwrap();
        timeout(LONGEST, child.wait_with_output())
            .await
            .unwrap()
            .unwrap()
    }

    async fn shell(&self, script: &str) -> Output {
        self.run(&["sh", "-c", script]).await
    }

    fn leftovers(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.runtime.path()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn the_command_runs_in_a_workbench_session() {
    let demo = Demo::new(&[]);
    let variables = "$POSIT_PRODUCT
$RS_SERVER_ADDRESS
$PWB_SESSION_RUNTIME_DIR
$RS_SESSION_RPC_COOKIE
$ENTRAR_DEMO_GRAPH
$ENTRAR_DEMO_BLOB
$ENTRAR_DEMO_VAULT
$ENTRAR_DEMO_PERSON
${RSTUDIO_VERSION-unset}
$no_proxy";
    let script = format!("echo \"{variables}\"; cat \"$PWB_SESSION_RUNTIME_DIR/rpc_cookie\"");
    let output = demo.shell(&script).await;
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    let [
        product,
        server,
        directory,
        cookie,
        graph,
        blob,
        vault,
        person,
        version,
        no_proxy,
        file,
    ] = lines[..]
    else {
        panic!("{text}");
    };
    assert_eq!(product, "WORKBENCH");
    assert!(server.starts_with("http://127.0.0.1:"), "{server}");
    assert!(
        Path::new(directory).starts_with(demo.runtime.path()),
        "{directory}"
    );
    // Its first field is a session's id and nobody's name.
    assert_eq!(cookie.split('|').count(), 3, "{cookie}");
    assert!(!cookie.contains("ada"), "{cookie}");
    assert_eq!(cookie, file);
    assert!(
        graph.starts_with("http://127.0.0.1:") && graph != server,
        "{graph}"
    );
    assert_eq!(blob, format!("{graph}/demostorage"));
    assert_eq!((vault, person), (graph, "Ada Example"));
    assert_eq!(version, "unset");
    assert!(no_proxy.ends_with("127.0.0.1,::1,localhost"), "{no_proxy}");
}

/// The helper is found beside the command, so the command is copied to where one is.
#[tokio::test]
async fn git_is_told_of_the_helper_after_what_it_was_told_already() {
    let installed = tempfile::tempdir().unwrap();
    let entrar = installed.path().join("entrar");
    std::fs::copy(env!("CARGO_BIN_EXE_entrar"), &entrar).unwrap();
    let demo = Demo::new(&[]);
    let script = "echo ${GIT_CONFIG_COUNT-unset} $GIT_CONFIG_KEY_0 $GIT_CONFIG_KEY_2 $GIT_CONFIG_VALUE_2 $GIT_CONFIG_KEY_6";
    let run = async |count: &str| {
        let mut command = Command::new(&entrar);
        let output = command
            .args(["demo", "--", "sh", "-c", script])
            .env("XDG_RUNTIME_DIR", demo.runtime.path())
            .env("GIT_CONFIG_COUNT", count)
            .env("GIT_CONFIG_KEY_0", "a.b")
            .output()
            .await
            .unwrap();
        stdout(&output)
    };
    assert_eq!(run("1").await, "1 a.b\n");
    let helper = installed.path().join("git-credential-pwb");
    std::fs::write(&helper, "").unwrap();
    let expected = format!(
        "7 a.b credential.https://dev.azure.com.helper {} credential.https://*.visualstudio.com.useHttpPath\n",
        helper.display()
    );
    assert_eq!(run("1").await, expected);
    assert_eq!(run("nonsense").await, "nonsense a.b\n");
}

/// `entrar demo -- R` is to find the package, in whatever library it is.
#[tokio::test]
async fn r_looks_first_in_the_library_that_the_command_is_installed_in() {
    let library = tempfile::tempdir().unwrap();
    let package = library.path().join("entrar");
    std::fs::create_dir_all(package.join("bin")).unwrap();
    let entrar = package.join("bin/entrar");
    std::fs::copy(env!("CARGO_BIN_EXE_entrar"), &entrar).unwrap();
    let demo = Demo::new(&[]);
    let run = async || {
        let mut command = Command::new(&entrar);
        let output = command
            .args(["demo", "--", "sh", "-c", "echo $R_LIBS"])
            .env("XDG_RUNTIME_DIR", demo.runtime.path())
            .env("R_LIBS", "/mine:/others")
            .output()
            .await
            .unwrap();
        stdout(&output)
    };
    assert_eq!(run().await, "/mine:/others\n");
    std::fs::write(package.join("DESCRIPTION"), "").unwrap();
    let expected = format!("{}:/mine:/others\n", library.path().display());
    assert_eq!(run().await, expected);
}

#[tokio::test]
async fn the_session_gets_tokens_that_its_resources_accept() {
    let demo = Demo::new(&["--token-lifetime", "77"]);
    let mut command = demo.command(&[
        "sh",
        "-c",
        "echo \"$RS_SERVER_ADDRESS\"; echo \"$RS_SESSION_RPC_COOKIE\"; echo \"$ENTRAR_DEMO_GRAPH\"; read -r _",
    ]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = async || lines.next_line().await.unwrap().unwrap();
    let variables = [
        ("RS_SERVER_ADDRESS", &*line().await),
        ("RS_SESSION_RPC_COOKIE", &*line().await),
    ];
    let graph = line().await;

    let (token, me) = timeout(LONGEST, async {
        use entrar_client::{origin::Session, rpc};
        use entrar_core::{env::Env, http, resource::Resource};
        use secrecy::ExposeSecret;
        let env = Env::fixed(&variables, 1_000.0);
        let session = Session::find(&env).unwrap();
        let http = http::Http::new(session.settings(&env)).ok().unwrap();
        let resource = Resource::parse("https://graph.microsoft.com").unwrap();
        let token = rpc::delegated_token(&http, &env, &session, &resource, LONGEST)
            .await
            .unwrap();
        let bearer = format!("Bearer {}", token.access_token.expose_secret());
        let request = http
            .client()
            .get(format!("{graph}/v1.0/me"))
            .header("authorization", bearer);
        let me = http::send(&http, request, "graph", 0.0.into())
            .await
            .ok()
            .unwrap();
        (token, me)
    })
    .await
    .unwrap();
    assert_eq!(token.expires_at, Some(1_077.0.into()));
    assert_eq!(me.status, 200);
    assert!(
        me.body
            .contains("\"userPrincipalName\":\"ada@example.com\""),
        "{}",
        me.body
    );

    drop(child.stdin.take());
    timeout(LONGEST, child.wait()).await.unwrap().unwrap();
}

/// A demonstration whose reader is this test, and the file with its variables.
async fn read_by_this_test(demo: &mut Demo) -> (Child, PathBuf) {
    let file = demo.runtime.path().join("session");
    demo.options.push("--environment".to_owned());
    demo.options.push(file.to_str().unwrap().to_owned());
    let mut command = demo.command(&[]);
    let child = command.stdin(Stdio::piped()).spawn().unwrap();
    let written = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONGEST, written).await.unwrap();
    (child, file)
}

#[tokio::test]
async fn the_variables_go_to_a_file_that_only_its_owner_reads() {
    let mut demo = Demo::new(&[]);
    let (mut child, file) = read_by_this_test(&mut demo).await;
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let variables: HashMap<&str, &str> = text
        .lines()
        .map(|line| line.split_once('=').unwrap())
        .collect();
    assert_eq!(variables["POSIT_PRODUCT"], "WORKBENCH");
    assert_eq!(variables["RSTUDIO_VERSION"], "");
    assert_eq!(
        variables["ENTRAR_DEMO_PID"],
        child.id().unwrap().to_string()
    );
    let directory = Path::new(variables["PWB_SESSION_RUNTIME_DIR"]);
    let cookie = std::fs::read_to_string(directory.join("rpc_cookie")).unwrap();
    assert!(cookie == variables["RS_SESSION_RPC_COOKIE"]);
    let server = variables["RS_SERVER_ADDRESS"]
        .strip_prefix("http://")
        .unwrap();
    assert!(std::net::TcpStream::connect(server).is_ok());

    drop(child.stdin.take());
    let status = timeout(LONGEST, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(demo.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_signal_ends_a_session_in_a_file_too() {
    let mut demo = Demo::new(&[]);
    let (mut child, _) = read_by_this_test(&mut demo).await;
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let status = timeout(LONGEST, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(demo.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_named() {
    let output = Demo::new(&["--environment", "/no/such/directory/session"])
        .run(&[])
        .await;
    assert_eq!(output.status.code(), Some(1));
    let expected = "entrar: the variables cannot be written to /no/such/directory/session: ";
    assert!(stderr(&output).starts_with(expected), "{}", stderr(&output));
}

#[tokio::test]
async fn a_file_that_was_there_before_is_neither_overwritten_nor_removed() {
    let mut demo = Demo::new(&[]);
    let file = demo.runtime.path().join("session");
    std::fs::write(&file, "mine").unwrap();
    demo.options = vec!["--environment".into(), file.to_str().unwrap().into()];
    let output = demo.run(&[]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("there is such a file already"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(demo.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_session_is_in_a_file_or_for_a_command() {
    for (options, words) in [(&["--environment", "file"][..], &["true"][..]), (&[], &[])] {
        let output = Demo::new(options).run(words).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("Usage:"));
    }
}

#[tokio::test]
async fn the_exit_code_is_the_commands() {
    let demo = Demo::new(&[]);
    for (script, code) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("kill -9 $$", 137),
        ("kill -15 $$", 143),
    ] {
        assert_eq!(
            demo.shell(script).await.status.code(),
            Some(code),
            "{script}"
        );
    }
    assert_eq!(demo.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_command_that_cannot_be_run_is_named() {
    let demo = Demo::new(&[]);
    let output = demo.run(&["no-such-command-here"]).await;
    assert_eq!(output.status.code(), Some(127));
    assert_eq!(
        stderr(&output),
        "entrar: no-such-command-here: command not found\n"
    );

    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    let plain = plain.to_str().unwrap();
    let output = demo.run(&[plain]).await;
    assert_eq!(output.status.code(), Some(126));
    let expected = format!("entrar: {plain}: cannot be run: permission denied\n");
    assert_eq!(stderr(&output), expected);
    assert_eq!(demo.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn only_the_owner_gets_at_the_cookie() {
    let demo = Demo::new(&[]);
    let mut command = demo.command(&["sh", "-c", "echo ready; read -r _"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    timeout(LONGEST, output.next_line()).await.unwrap().unwrap();
    let directory = demo.leftovers().remove(0);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("rpc_cookie")), 0o600);
    drop(child.stdin.take());
    timeout(LONGEST, child.wait()).await.unwrap().unwrap();
    assert_eq!(demo.leftovers(), Vec::<PathBuf>::new());
}

/// A command that says what it gets, and ends at once.
const TRAPS: &str = "for s in INT TERM HUP USR1; do trap \"echo got $s; exit 9\" $s; done; \
                     echo ready; while :; do sleep 0.02; done";

/// Whoever runs the tests may have them ignore signals, as a shell does with what it runs by `&`.
const ALL_SIGNALS: [&str; 3] = [
    "python3",
    "-c",
    "import os, signal, sys
for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(kind, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])",
];

async fn signalled(demo: &Demo, script: &str, signal: Signal) -> (Option<i32>, String) {
    let command = demo.command_by(&ALL_SIGNALS, &["sh", "-c", script]);
    signalled_by(command, signal).await
}

async fn signalled_by(mut command: Command, signal: Signal) -> (Option<i32>, String) {
    let mut child: Child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    timeout(LONGEST, output.read_line(&mut text))
        .await
        .unwrap()
        .unwrap();
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
    let status = timeout(LONGEST, child.wait()).await.unwrap().unwrap();
    timeout(LONGEST, output.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    (status.code(), text)
}

#[tokio::test]
async fn signals_go_on_to_the_command_and_nothing_is_left_behind() {
    let demo = Demo::new(&[]);
    for (signal, name) in [
        (Signal::INT, "INT"),
        (Signal::TERM, "TERM"),
        (Signal::HUP, "HUP"),
        (Signal::USR1, "USR1"),
    ] {
        let (code, text) = signalled(&demo, TRAPS, signal).await;
        assert_eq!((code, text), (Some(9), format!("ready\ngot {name}\n")));
    }
    let (code, _) = signalled(&demo, "echo ready; exec sleep 60", Signal::TERM).await;
    assert_eq!(code, Some(143));
    assert_eq!(demo.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_signal_that_was_to_be_ignored_stays_ignored() {
    let demo = Demo::new(&[]);
    let deaf = ["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""];
    let command = demo.command_by(&deaf, &["sh", "-c", "echo ready; sleep 0.5; echo done"]);
    let outcome = signalled_by(command, Signal::HUP).await;
    assert_eq!(outcome, (Some(0), "ready\ndone\n".to_owned()));
}

/// Asks again and again on one connection, until it is closed or more than `LONGEST` is over.
const INSISTENT: &str = "
import http.client, json, os, time, urllib.parse
server = urllib.parse.urlsplit(os.environ['RS_SERVER_ADDRESS'])
connection = http.client.HTTPConnection(server.netloc)
body = json.dumps({'method': 'delegated_azure_token', 'params': ['https://storage.azure.com']})
cookie = {'X-RS-Session-Server-RPC-Cookie': os.environ['RS_SESSION_RPC_COOKIE']}
end = time.time() + 300
while time.time() < end:
    connection.request('POST', '/delegated_azure_token', body, cookie)
    connection.getresponse().read()
";

#[tokio::test]
async fn whoever_goes_on_asking_keeps_nothing_alive() {
    let demo = Demo::new(&[]);
    let script =
        "for i in 1 2 3; do python3 -c \"$INSISTENT\" >/dev/null 2>&1 & done; sleep 0.5; exit 3";
    let mut command = demo.command(&["sh", "-c", script]);
    command.env("INSISTENT", INSISTENT);
    let output = timeout(LONGEST, command.output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(demo.leftovers(), Vec::<PathBuf>::new());

    // The same while exchanges are under way, with a signal.
    let script = "for i in 1 2 3; do python3 -c \"$INSISTENT\" >/dev/null 2>&1 & done; echo ready; exec sleep 60";
    let mut command = demo.command(&["sh", "-c", script]);
    let mut child = command.env("INSISTENT", INSISTENT).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    timeout(LONGEST, output.next_line()).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let status = timeout(LONGEST, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(143));
    assert_eq!(demo.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_port_in_use_is_said_to_be() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Demo::new(&["--listen", &address]).shell("echo ran").await;
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(1), "")
    );
    let expected = format!(
        "entrar: the broker cannot listen at {address}: another process listens there; choose another port\n"
    );
    assert_eq!(stderr(&output), expected);
}

#[tokio::test]
async fn an_address_that_others_could_reach_is_refused() {
    let output = Demo::new(&["--listen", "0.0.0.0:0"])
        .shell("echo ran")
        .await;
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(2), "")
    );
    assert!(stderr(&output).contains("other machines could reach it"));
}

#[tokio::test]
async fn the_log_is_silent_unless_asked_for() {
    let demo = Demo::new(&[]);
    let unknown = demo
        .command(&["true"])
        .env("ENTRAR_LOG", "loud")
        .output()
        .await
        .unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("ENTRAR_LOG must be"));
    let quiet = demo.run(&["true"]).await;
    assert_eq!(
        (stdout(&quiet), stderr(&quiet)),
        (String::new(), String::new())
    );
}

#[tokio::test]
async fn without_a_command_there_is_help() {
    let output = Command::new(env!("CARGO_BIN_EXE_entrar"))
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("Usage: entrar <COMMAND>"));
    let version = Command::new(env!("CARGO_BIN_EXE_entrar"))
        .arg("--version")
        .output();
    let expected = format!("entrar {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout(&version.await.unwrap()), expected);
}
