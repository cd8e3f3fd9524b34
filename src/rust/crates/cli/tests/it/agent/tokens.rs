//! Many who ask at once, an Entra that refuses or is down, and what is said of it all.

use std::fs;
use std::io::Write;

use entra_emulator::User;
use entrar_core::error::Kind;
use serde_json::json;

use crate::agent_support::{
    CookieSession, Entra, GRAPH, Place, STORAGE, ended, is_root, stderr, stdout,
};

#[test]
fn nothing_secret_is_logged_however_much_is() {
    let (place, entra) = (Place::new(), Entra::new());
    let log = place.base().join("log");
    let mut command = place.command(&["agent", "run"]);
    command
        .env("ENTRAR_LOG", "trace")
        .stdout(fs::File::create(&log).unwrap())
        .stderr(fs::File::options().append(true).open(&log).unwrap());
    let agent = place.agent_by(command);
    let paste = json!({"method": "paste"});
    let attempt = place.begin_with(&entra, paste).unwrap();
    let address = attempt.browse();
    let parameters = json!({"id": attempt.id, "address": address});
    place.ask("answer", parameters).unwrap();
    let token = place.token(GRAPH).unwrap();
    let session = CookieSession::open(&place);
    let cookie = session.cookie();
    assert_eq!(session.status(&cookie), 200);
    assert_eq!(session.status("canary"), 401);
    entra.tenant.revoke(&User::default());
    place.token(GRAPH).unwrap_err();
    place.ask("sign_out", json!({})).unwrap();
    agent.end();
    let logged = fs::read_to_string(&log).unwrap();
    // It is one that something is written to.
    assert!(logged.contains("INFO"), "{logged}");
    let code = address.split(['=', '&']).nth(1).unwrap();
    let signature = cookie.rsplit_once('|').unwrap().1;
    for secret in [&*token, &cookie, signature, &attempt.id, code, "canary"] {
        assert!(secret.len() > 5 && !logged.contains(secret), "{logged}");
    }
}

#[test]
fn two_hundred_processes_at_once_all_get_a_token() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    let commands: Vec<_> = (0..20)
        .map(|_| place.command(&["env", "--shell", "sh"]).spawn().unwrap())
        .collect();
    // Of all that is installed everywhere it starts fastest.
    let program = r#"use Socket;
alarm 60;
my $body = qq({"method": "delegated_azure_token", "params": ["$ARGV[1]"]});
my $head = "POST /delegated_azure_token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
socket(my $agent, PF_UNIX, SOCK_STREAM, 0) or die $!;
connect($agent, pack_sockaddr_un($ARGV[0])) or die $!;
syswrite($agent, $head . "Content-Length: " . length($body) . "\r\n\r\n" . $body) or die $!;
print while <$agent>;"#;
    let resources = [
        GRAPH,
        STORAGE,
        "https://vault.azure.net",
        "https://database.windows.net",
    ];
    let asking: Vec<_> = resources
        .into_iter()
        .cycle()
        .take(200)
        .map(|resource| {
            let mut command = std::process::Command::new("perl");
            command.args(["-e", program]);
            command.arg(place.socket()).arg(resource);
            place.furnish(&mut command);
            command.spawn().unwrap()
        })
        .collect();
    for asking in asking {
        let output = ended(asking);
        let reply = stdout(&output);
        assert!(
            reply.contains("{\"result\":true,\"token\":{\"access_token\":\"ey"),
            "{reply}{}",
            stderr(&output)
        );
    }
    let mut addresses = Vec::new();
    for command in commands {
        let output = ended(command);
        assert!(output.status.success(), "{}", stderr(&output));
        addresses.push(stdout(&output).to_owned());
    }
    addresses.dedup();
    assert_eq!(addresses.len(), 1, "{addresses:?}");
    let session = CookieSession::open(&place);
    assert_eq!(session.status(&session.cookie()), 200);
}

#[test]
fn an_agent_that_may_open_few_files_answers_though_others_hold_connections() {
    let (place, mut entra) = (Place::new(), Entra::new());
    let program = place.command(&[]).get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 64 && exec \"$0\" agent run"]);
    place.furnish(command.arg(program));
    let _agent = place.agent_by(command);
    place.sign_ada_in(&entra);
    let half_open: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = place.connect().unwrap();
            // Those that had to go may be gone already.
            let _ = stream.write_all(b"POST /delegated_azure_token HTTP/1.1\r\n");
            stream
        })
        .collect();
    // The agent has to connect to the tenant anew.
    entra.stop();
    entra.restart();
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
    drop(half_open);
}

#[test]
fn a_refresh_token_that_is_revoked_means_to_sign_in_again() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    place.token(GRAPH).unwrap();
    entra.tenant.revoke(&User::default());
    let error = place.token(GRAPH).unwrap_err();
    assert_eq!(error.kind(), Kind::SignInRequired);
    assert_eq!(error.details().aadsts, [50173]);
    // Who it was is still known, and signs in again without being asked whether they may.
    assert_eq!(place.account().as_deref(), Some("ada@example.com"));
    place.sign_ada_in(&entra);
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
}

#[test]
fn a_token_endpoint_that_is_down_ends_no_sign_in() {
    let (place, mut entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    place.token(GRAPH).unwrap();
    entra.stop();
    let error = place.token(GRAPH).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert_eq!(place.account().as_deref(), Some("ada@example.com"));
    entra.restart();
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
}

#[test]
fn its_status_shows_how_it_reaches_entra_and_no_secret() {
    let place = Place::new();
    let bundle = place.base().join("bundle.pem");
    fs::write(&bundle, "").unwrap();
    let mut command = place.command(&["agent", "start"]);
    command
        .env("https_proxy", "http://me:canary@proxy.example:3128")
        .env("HTTP_PROXY", "http://me:can/ary@proxy.example:3128")
        .env("no_proxy", "localhost,.example")
        .env("REQUESTS_CA_BUNDLE", &bundle)
        .env("AZURE_CLIENT_SECRET", "canary")
        .env("RS_SERVER_ADDRESS", "http://elsewhere.example");
    let output = ended(command.spawn().unwrap());
    assert!(output.status.success(), "{}", stderr(&output));
    let status = place.succeeds(&["agent", "status"]);
    for line in [
        "signed in: nobody",
        "ends:      after 720 minutes without a request",
        "proxy:     https_proxy: http://proxy.example:3128",
        "proxy:     HTTP_PROXY: an address that is not understood",
        "proxy:     no_proxy: localhost,.example",
        &format!(
            "trusted:   the certificates of REQUESTS_CA_BUNDLE: {}",
            bundle.display()
        ),
    ] {
        assert!(
            status.lines().any(|found| found == line),
            "{line}: {status}"
        );
    }
    assert!(
        !status.contains("canary") && !status.contains("ary@"),
        "{status}"
    );
    if is_root() {
        // It has what it was started with and is to have, and nothing else.
        let environ = fs::read(format!("/proc/{}/environ", place.pid().unwrap())).unwrap();
        let environ = String::from_utf8(environ).unwrap();
        let mut names: Vec<&str> = environ
            .split_terminator('\0')
            .map(|variable| variable.split_once('=').unwrap().0)
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "ENTRAR_RUNTIME_DIR",
                "HOME",
                "HTTP_PROXY",
                "PATH",
                "REQUESTS_CA_BUNDLE",
                "https_proxy",
                "no_proxy"
            ]
        );
    }
}
