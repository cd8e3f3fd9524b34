//! `entrar emulator`, as a process.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Far more than a start takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(180);

fn command(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entrar"));
    command
        .arg("emulator")
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// A running emulator and what it printed, to its last line.
async fn start(options: &[&str]) -> (Child, String) {
    let mut child = command(options).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let mut text = String::new();
    let read = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            text.push_str(&line);
            text.push('\n');
            if line.contains("--https DIRECTORY") || line.contains("for the trial alone") {
                break;
            }
        }
    };
    timeout(LONGEST, read).await.unwrap();
    (child, text)
}

async fn stop(mut child: Child, signal: Signal) -> Option<i32> {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
    let status = timeout(LONGEST, child.wait()).await.unwrap().unwrap();
    status.code()
}

async fn fails(options: &[&str]) -> String {
    let output = command(options).output();
    let output = timeout(LONGEST, output).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

fn value<'a>(text: &'a str, before: &str) -> &'a str {
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(before));
    line.unwrap_or_else(|| panic!("{before} is not in {text}"))
        .trim()
}

#[tokio::test]
async fn it_prints_what_a_client_needs_and_ends_with_a_signal() {
    for signal in [Signal::INT, Signal::TERM] {
        let (child, text) = start(&[]).await;
        let (authority, id) = (value(&text, "Authority"), value(&text, "Tenant id"));
        let url = authority.strip_suffix(&format!("/{id}")).unwrap();
        let address = url.strip_prefix("http://").unwrap();
        assert_eq!(id.len(), 36);
        assert_eq!(value(&text, "ada@example.com"), "Ada Example");
        assert_eq!(
            value(&text, "grace@partner.example"),
            "Grace Guest  (guest)"
        );
        let client_id = "8b6a0c1e-52f4-4d3b-9a77-1c0de5e1f00d";
        assert_eq!(value(&text, client_id), "public client");
        assert_eq!(
            value(&text, "5ec3e7a0-0b1d-4c55-8f5e-2d6f0a1b7c33"),
            "client secret (emulated): emulated-not-a-secret"
        );
        let call = format!(
            "azure_sign_in(tenant = \"{id}\", client_id = \"{client_id}\", authority = \"{url}\")"
        );
        assert_eq!(value(&text, &call), "");
        assert_eq!(value(&text, "export AZURE_TENANT_ID="), format!("'{id}'"));
        assert_eq!(
            value(&text, "export AZURE_AUTHORITY_HOST="),
            format!("'{url}'")
        );
        assert!(!text.contains("CA_BUNDLE"));

        let mut stream = TcpStream::connect(address).await.unwrap();
        let path = format!("/{id}/v2.0/.well-known/openid-configuration");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(
            reply.contains(&format!("\"{authority}/oauth2/v2.0/authorize\"")),
            "{reply}"
        );
        assert_eq!(stop(child, signal).await, Some(0));
        assert!(TcpStream::connect(address).await.is_err());
    }
}

#[tokio::test]
async fn the_certificate_to_trust_is_there_as_long_as_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    let file = directory.path().join("entra-emulator-ca.pem");
    let (child, text) = start(&["--https", place]).await;
    assert!(value(&text, "Authority").starts_with("https://127.0.0.1:"));
    let quoted = format!("'{}'", file.display());
    assert_eq!(value(&text, "export REQUESTS_CA_BUNDLE="), quoted);
    let pem = std::fs::read_to_string(&file).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"));

    let error = fails(&["--https", place]).await;
    assert!(
        error.contains("entra-emulator-ca.pem exists already"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), pem);

    assert_eq!(stop(child, Signal::TERM).await, Some(0));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn users_are_those_that_are_named() {
    let options = [
        "--user",
        "Zoe Zed <zoe@example.com>",
        "--guest",
        "gus@partner.example",
    ];
    let (child, text) = start(&options).await;
    assert_eq!(value(&text, "zoe@example.com"), "Zoe Zed");
    assert_eq!(value(&text, "gus@partner.example"), "gus  (guest)");
    assert!(!text.contains("ada@example.com"));
    assert_eq!(stop(child, Signal::INT).await, Some(0));
}

#[tokio::test]
async fn what_it_cannot_do_is_said() {
    let (child, text) = start(&[]).await;
    let url = value(&text, "export AZURE_AUTHORITY_HOST=").trim_matches('\'');
    let port = url.rsplit_once(':').unwrap().1;
    let error = fails(&["--port", port]).await;
    let expected = format!("entrar: the tenant cannot listen at 127.0.0.1:{port}: ");
    assert!(error.starts_with(&expected), "{error}");
    assert_eq!(stop(child, Signal::TERM).await, Some(0));

    let error = fails(&["--https", "/nowhere/at/all"]).await;
    assert!(
        error.contains("cannot be written to /nowhere/at/all/"),
        "{error}"
    );
    let error = fails(&["--certificate", "/nowhere/at/all"]).await;
    assert!(
        error.contains("cannot be read from /nowhere/at/all: "),
        "{error}"
    );
    let error = fails(&["--certificate", "/dev/null"]).await;
    assert!(error.contains("a certificate failed"), "{error}");
}
