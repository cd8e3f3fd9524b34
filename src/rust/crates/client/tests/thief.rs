//! Another user of this machine, who listens at the port that a person's agent, or the hub, had before it was killed.

// clippy.toml's exceptions do not see this.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use entrar_client::origin::Session;
use entrar_core::env::Env;
use entrar_core::error::Kind;

const LISTENER: &str = "import socket, sys\n\
    host = sys.argv[1]\n\
    six = ':' in host\n\
    family = socket.AF_INET6 if six else socket.AF_INET\n\
    listener = socket.create_server((host, 0), family=family, dualstack_ipv6=six)\n\
    print(listener.getsockname()[1], flush=True)\n\
    sys.stdin.read()";

/// A listener that ends when this does; its port.
fn listen(launcher: &[&str], host: &str) -> (Child, u16) {
    let mut child = Command::new("/usr/bin/env")
        .args(launcher)
        .args(["/usr/bin/env", "python3", "-c", LISTENER, host])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (child, line.trim().parse().unwrap())
}

/// What a process that was told of an agent at this port would send there.
fn cookie(port: u16, origin: &str) -> Result<bool, (Kind, String)> {
    let address = format!("http://127.0.0.1:{port}");
    let env = Env::fixed(
        &[
            ("RS_SERVER_ADDRESS", &address),
            ("RS_SESSION_RPC_COOKIE", "canary"),
            ("ENTRAR_ORIGIN", origin),
        ],
        0.0,
    );
    let session = Session::find(&env).unwrap();
    session
        .cookie(&env, None)
        .map(|cookie| cookie.is_some())
        .map_err(|error| (error.kind(), error.to_string()))
}

#[test]
fn a_thief_at_the_port_of_agent_or_hub_gets_no_cookie() {
    let (mut own, port) = listen(&[], "127.0.0.1");
    assert_eq!(cookie(port, "agent"), Ok(true));
    assert_eq!(cookie(port, "hub"), Ok(true));
    own.kill().unwrap();
    own.wait().unwrap();
    if std::fs::metadata("/proc/self")
        .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0)
    {
        return;
    }
    let other = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let has_version_6 = std::net::TcpListener::bind(("::1", 0)).is_ok();
    for host in ["127.0.0.1", "0.0.0.0", "::"] {
        if host == "::" && !has_version_6 {
            continue;
        }
        let (mut thief, port) = listen(&other, host);
        for origin in ["agent", "hub"] {
            let (kind, message) = cookie(port, origin).unwrap_err();
            assert_eq!(kind, Kind::NoSession, "{host}");
            assert!(
                message.contains("another user") && !message.contains("canary"),
                "{message}"
            );
        }
        // Workbench runs as another user than its sessions.
        assert_eq!(cookie(port, ""), Ok(true));
        thief.kill().unwrap();
        thief.wait().unwrap();
    }
}
