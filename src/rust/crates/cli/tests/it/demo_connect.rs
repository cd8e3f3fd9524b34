//! `entrar demo --connect`, as a process.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

/// Far more than a demonstration takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(180);

/// A demonstration with a place of its own for its directory, started inside a session of Workbench.
fn demo(place: &TempDir, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entrar"));
    command
        .args(["demo", "--connect"])
        .args(options)
        .env("XDG_RUNTIME_DIR", place.path())
        .env("RS_SERVER_ADDRESS", "http://127.0.0.1:1")
        .env("RS_SESSION_RPC_COOKIE", "canary-cookie")
        .env("PWB_SESSION_RUNTIME_DIR", "/nowhere")
        .env("RSTUDIO_VERSION", "2025.09.0")
        .env("ENTRAR_ORIGIN", "agent")
        .env("CONNECT_CONTENT_SESSION_TOKEN", "canary-token")
        .env_remove("ENTRAR_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(place: &TempDir, options: &[&str]) -> Output {
    let child = demo(place, options).spawn().unwrap();
    timeout(LONGEST, child.wait_with_output())
        .await
        .unwrap()
        .unwrap()
}

async fn shell(place: &TempDir, options: &[&str], script: &str) -> (String, String) {
    let options = [options, &["--", "sh", "-c", script]].concat();
    let output = run(place, &options).await;
    assert_eq!(output.status.code(), Some(0));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

fn is_empty(place: &TempDir) -> bool {
    std::fs::read_dir(place.path()).unwrap().next().is_none()
}

#[tokio::test]
async fn the_command_is_content_and_in_no_session() {
    let place = tempfile::tempdir().unwrap();
    let names = [
        "POSIT_PRODUCT",
        "RSTUDIO_PRODUCT",
        "RS_SERVER_ADDRESS",
        "RS_SESSION_RPC_COOKIE",
        "PWB_SESSION_RUNTIME_DIR",
        "RSTUDIO_VERSION",
        "ENTRAR_ORIGIN",
        "CONNECT_CONTENT_SESSION_TOKEN",
    ];
    let lines: Vec<_> = names
        .iter()
        .map(|name| format!("echo {name}=${{{name}-unset}}"))
        .collect();
    let script = format!(
        "{}
         echo $CONNECT_SERVER
         echo ${{#CONNECT_API_KEY}} ${{#CONNECT_CONTENT_GUID}} $(wc -c <$CONNECT_CONTENT_SESSION_TOKEN_FILE)
         stat -c %a $CONNECT_CONTENT_SESSION_TOKEN_FILE $(dirname $CONNECT_CONTENT_SESSION_TOKEN_FILE)
         echo $ENTRAR_DEMO_PORT $ENTRAR_DEMO_BLOB
         env | grep -c -e '^visitor' -e '^door' || true",
        lines.join("\n")
    );
    let options = ["--connect-path", "/rsc/", "--app-port", "4321"];
    let (out, err) = shell(&place, &options, &script).await;
    let lines: Vec<&str> = out.lines().collect();
    let (products, rest) = lines.split_at(2);
    assert_eq!(
        products,
        ["POSIT_PRODUCT=CONNECT", "RSTUDIO_PRODUCT=CONNECT"]
    );
    let (unset, rest) = rest.split_at(names.len() - 2);
    assert!(unset.iter().all(|line| line.ends_with("=unset")), "{out}");
    let [server, lengths, file, directory, places, of_visitors] = rest else {
        panic!("{out}");
    };
    assert!(server.starts_with("http://127.0.0.1:") && server.ends_with("/rsc/"));
    assert_eq!(*lengths, "39 36 39");
    assert_eq!((*file, *directory), ("600", "700"));
    assert!(places.starts_with("4321 http://127.0.0.1:") && places.ends_with("/demostorage"));
    // Content does not know who may come.
    assert_eq!(*of_visitors, "0");

    assert!(err.starts_with(&format!("An emulated Posit Connect at {server}.")));
    assert!(err.contains("if it listens at 127.0.0.1:4321,"), "{err}");
    for who in [
        "Ada Example (ada@example.com)",
        "Bob Example (bob@example.com)",
        "Grace Guest (grace@partner.example)",
        "nobody who has signed in",
    ] {
        assert_eq!(
            err.lines()
                .filter(|line| line.ends_with(&format!("/  {who}")))
                .count(),
            1,
            "{err}"
        );
    }
    assert!(!err.contains("canary"));
    assert!(is_empty(&place));
}

#[tokio::test]
async fn whoever_may_visit_is_named() {
    let place = tempfile::tempdir().unwrap();
    let options = ["--visitor", "Eve Example <eve@example.com>"];
    let (_, err) = shell(&place, &options, "exit 0").await;
    assert_eq!(err.matches("http://127.0.0.1:").count(), 3, "{err}");
    assert!(err.contains("/  Eve Example (eve@example.com)\n"), "{err}");
}

/// What the reader of the file finds that is no variable.
#[tokio::test]
async fn the_reader_of_the_file_knows_the_visitors() {
    use secrecy::{ExposeSecret, SecretString};
    let place = tempfile::tempdir().unwrap();
    let file: PathBuf = place.path().join("variables");
    let mut command = demo(&place, &["--environment", file.to_str().unwrap()]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let written = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONGEST, written).await.unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: HashMap<&str, SecretString> = text
        .lines()
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name, value.into()))
        .collect();
    let value = |name: &str| lines[name].expose_secret();
    assert!(value("door ").starts_with("http://127.0.0.1:"));
    let tokens = [
        "ada@example.com",
        "bob@example.com",
        "grace@partner.example",
    ]
    .map(|visitor| value(&format!("visitor {visitor}")));
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2]);
    assert!(tokens.iter().all(|token| token.starts_with("canary-")));
    assert!(value("RS_SERVER_ADDRESS").is_empty());
    let server = value("CONNECT_SERVER")
        .trim_start_matches("http://")
        .trim_end_matches('/');
    assert!(std::net::TcpStream::connect(server).is_ok());

    drop(child.stdin.take());
    let status = timeout(LONGEST, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(is_empty(&place));
}

#[tokio::test]
async fn what_is_for_connect_wants_connect() {
    for options in [
        &["--visitor", "ada@example.com"][..],
        &["--integration", "graph"],
        &["--connect-fault", "rotated"],
        &["--connect", "--listen", "127.0.0.1:0"],
        &["--connect", "--connect-fault", "loud"],
        &["--connect", "--connect-fault", "ada@example.com=rotated"],
        &["--connect", "--connect-path", "a b"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entrar"));
        let output = command
            .arg("demo")
            .args(options)
            .args(["--", "true"])
            .output();
        let output = timeout(LONGEST, output).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}");
    }
}
