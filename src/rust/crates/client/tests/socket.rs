//! An agent's socket as door: the same requests without a cookie, and what is said where the agent has ended.
#![cfg(unix)]
// The helpers below are test code too, which clippy.toml's exceptions do not see.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::Receiver;

use entrar_client::agent;
use entrar_client::origin::{Door, Identity, Origin, Session, account, here, leaves_it_to_rstudio};
use entrar_client::probe::probe;
use entrar_client::report::Report;
use entrar_client::rpc::delegated_token;
use entrar_core::agent::Failure;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::http::Http;
use entrar_core::resource::Resource;
use entrar_core::session_directory::{SessionDirectory, VARIABLE};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;

use support::{LIMIT, answering, kind, reply, run, token};

/// A person's directory, of which nobody else knows.
struct Place {
    base: TempDir,
}

impl Place {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        Self { base }
    }

    fn env(&self, variables: &[(&str, &str)]) -> Env {
        let path = self.base.path().join("entrar");
        let mut all = vec![
            (VARIABLE, path.to_str().unwrap()),
            ("ENTRAR_HUB_SOCKET", "off"),
        ];
        all.extend(variables);
        Env::fixed(&all, 1_795_392_000.0)
    }

    fn directory(&self) -> SessionDirectory {
        SessionDirectory::create(&self.env(&[])).unwrap()
    }

    /// An agent that gives these replies, each to a connection of its own; what it is asked comes out of the channel.
    fn agent(&self, replies: &[&str]) -> Receiver<String> {
        answering(&self.directory().socket_path(), replies)
    }
}

#[test]
fn a_token_is_asked_for_without_a_cookie() {
    let place = Place::new();
    let granted = json!({"token": {"access_token": "canary-token", "expires_in": 60}});
    let requests = place.agent(&[&reply(&granted)]);
    // Those are of a session with an address.
    let env = place.env(&[
        ("RS_SESSION_RPC_COOKIE", "u|garbage|canary"),
        ("http_proxy", "http://127.0.0.1:1"),
        ("all_proxy", "http://127.0.0.1:1"),
    ]);
    assert_eq!(token(&env).unwrap(), "canary-token");
    let request = requests.recv_timeout(LIMIT).unwrap();
    assert!(
        request.starts_with("post /delegated_azure_token http/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("\r\nhost: localhost\r\n"), "{request}");
    assert!(!request.contains("cookie"), "{request}");
    assert!(
        request.ends_with(
            r#"{"method":"delegated_azure_token","params":["https://storage.azure.com"]}"#
        )
    );
}

/// Each request is begun, and the last one breaks off when nobody listens any more.
#[test]
fn an_agent_that_is_killed_during_a_request_is_not_running_any_more() {
    let place = Place::new();
    let socket = place.directory().socket_path();
    let env = place.env(&[]);
    let asked_for_a_token = || token(&env).unwrap_err();
    let asked_otherwise = || {
        let asked = run(&env, async |http, session| {
            agent::ask(http, &env, session, "wait", &json!({}), LIMIT).await
        });
        asked.unwrap_err()
    };
    let questions: [(&dyn Fn() -> Error, usize); 2] =
        [(&asked_for_a_token, 3), (&asked_otherwise, 2)];
    for (ask, attempts) in questions {
        let listener = UnixListener::bind(&socket).unwrap();
        let agent = std::thread::spawn(move || {
            for _ in 1..attempts {
                drop(listener.accept().unwrap());
            }
            let last = listener.accept().unwrap();
            drop(listener);
            drop(last);
        });
        let error = ask();
        agent.join().unwrap();
        assert_eq!(kind(&error), "no_session", "{error}");
        let expected = format!("your agent ({}) is not running any more", socket.display());
        assert_eq!(error.message(), expected);
        std::fs::remove_file(&socket).unwrap();
    }
}

#[test]
fn an_app_that_is_not_in_order_is_the_one_that_the_person_chose() {
    let place = Place::new();
    let refused = json!({"result": false, "oauth2_error": {
        "error": "invalid_client", "error_description": "AADSTS7000222: canary has expired."}});
    let _requests = place.agent(&[&reply(&refused)]);
    let error = token(&place.env(&[])).unwrap_err();
    assert_eq!(kind(&error), "misconfigured");
    assert_eq!(
        error.message(),
        "the app that you signed in with, or its tenant, is not set up for this"
    );
    assert_eq!(error.details().aadsts, [7_000_222]);
}

#[test]
fn nobody_at_the_address_of_an_agent_is_an_agent_that_has_ended() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for (origin, expected) in [
        ("agent", "no_session"),
        ("hub", "unreachable"),
        ("", "unreachable"),
    ] {
        let env = place.env(&[
            ("RS_SERVER_ADDRESS", &address),
            ("RS_SESSION_RPC_COOKIE", "canary"),
            ("ENTRAR_ORIGIN", origin),
        ]);
        let error = token(&env).unwrap_err();
        assert_eq!(kind(&error), expected, "{origin}: {error}");
        assert!(error.message().contains(&address), "{error}");
    }
}

#[test]
fn an_agent_is_a_session_while_somebody_listens() {
    let place = Place::new();
    let env = place.env(&[]);
    assert_eq!(kind(&Session::find(&env).unwrap_err()), "no_session");
    assert_eq!(here(&env), None);

    place.directory();
    assert_eq!(kind(&Session::find(&env).unwrap_err()), "no_session");
    assert_eq!(here(&env), None);

    let socket = place.directory().socket_path();
    let listener = UnixListener::bind(&socket).unwrap();
    let session = Session::find(&env).unwrap();
    assert_eq!(session.origin(), Origin::Agent);
    assert_eq!(*session.door(), Door::Socket(socket));
    assert!(session.can_be_asked(&env));
    assert!(!session.is_in_clear());
    assert_eq!(here(&env), Some(Origin::Agent));
    // It comes after both.
    assert!(leaves_it_to_rstudio(&env));
    let other = place.env(&[("RS_SERVER_ADDRESS", "http://server.example")]);
    assert_eq!(Session::find(&other).unwrap().origin(), Origin::Workbench);
    let connect = place.env(&[("POSIT_PRODUCT", "CONNECT")]);
    assert_eq!(kind(&Session::find(&connect).unwrap_err()), "no_session");

    drop(listener);
    assert!(!session.can_be_asked(&env));
}

#[test]
fn an_agent_that_was_killed_is_called_so() {
    let place = Place::new();
    let env = place.env(&[]);
    let socket = place.directory().socket_path();
    drop(UnixListener::bind(&socket).unwrap());
    let error = token(&env).unwrap_err();
    assert_eq!(kind(&error), "no_session");
    let expected = format!("your agent ({}) is not running any more", socket.display());
    assert_eq!(error.message(), expected);

    // It goes away between the look and the question.
    let session = Session::find(&env).unwrap();
    std::fs::remove_file(&socket).unwrap();
    let resource = Resource::parse("r").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let http = Http::new(session.settings(&env)).unwrap();
    let asked = delegated_token(&http, &env, &session, &resource, LIMIT);
    assert_eq!(runtime.block_on(asked).unwrap_err().message(), expected);
}

#[test]
fn an_agent_that_dies_during_a_request_is_asked_once_more_and_then_called_gone() {
    let place = Place::new();
    let env = place.env(&[]);
    // One empty reply, and the listener is closed.
    let requests = place.agent(&[""]);
    let error = token(&env).unwrap_err();
    assert_eq!(kind(&error), "no_session");
    assert_eq!(requests.iter().count(), 1);
}

#[test]
fn a_directory_that_others_enter_ends_the_search() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let env = place.env(&[]);
    let directory = place.directory();
    let _listener = UnixListener::bind(directory.socket_path()).unwrap();
    let mode = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(directory.path(), mode).unwrap();
    let error = Session::find(&env).unwrap_err();
    assert_eq!(kind(&error), "no_session");
    assert!(
        error
            .message()
            .ends_with("can be entered by others (its mode is 0711)"),
        "{error}"
    );
    assert_eq!(here(&env), Some(Origin::Agent));
    let report = Report::new(&env, false);
    assert_eq!(report.place.name, "agent");
    assert!(report.no_session().is_some());
}

#[test]
fn a_report_on_an_agent_knows_no_cookie_and_no_way() {
    let place = Place::new();
    let env = place.env(&[("RSTUDIO_VERSION", "2023.01.0")]);
    let requests = place.agent(&["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]);
    let report = Report::new(&env, false);
    assert_eq!(report.place.name, "agent");
    assert_eq!(report.origin, Some(Origin::Agent));
    assert!(report.cookies.is_empty());
    assert!(report.cookie_error.is_none());
    assert!(report.version_error.is_none());
    assert!(report.way.is_none());
    let answer = run(&env, async |http, session| {
        probe(http, &env, session, LIMIT).await
    });
    assert_eq!(answer.unwrap().status, 404);
    assert!(requests.recv_timeout(LIMIT).unwrap().starts_with("get / "));
}

#[test]
fn what_an_agent_is_asked_beside_tokens_has_its_path_and_its_parameters() {
    let place = Place::new();
    let env = place.env(&[]);
    let failure = Failure::from(&Error::new(Kind::Throttled, "too often"));
    let requests = place.agent(&[
        &reply(&json!({"result": {"pid": 7}})),
        &reply(&json!({ "failure": failure })),
    ]);
    let ask = |name: &str, parameters: Value| {
        run(&env, async |http, session| {
            agent::ask(http, &env, session, name, &parameters, LIMIT).await
        })
    };
    assert_eq!(ask("status", json!({})).unwrap(), json!({"pid": 7}));
    let error = ask("begin", json!({"tenant": "t"})).unwrap_err();
    assert_eq!((kind(&error), error.message()), ("throttled", "too often"));
    let request = requests.recv_timeout(LIMIT).unwrap();
    assert!(request.starts_with("post /agent/status http/1.1\r\n"));
    assert!(request.ends_with("\r\n\r\n{}"));
    let request = requests.recv_timeout(LIMIT).unwrap();
    assert!(request.ends_with("\r\n\r\n{\"tenant\":\"t\"}"));
}

#[test]
fn only_an_agents_own_socket_is_asked_for_more_than_tokens() {
    let place = Place::new();
    let env = place.env(&[
        ("RS_SERVER_ADDRESS", "http://127.0.0.1:1"),
        ("ENTRAR_ORIGIN", "agent"),
    ]);
    let outcome = run(&env, async |http, session| {
        agent::ask(http, &env, session, "status", &json!({}), LIMIT).await
    });
    assert_eq!(kind(&outcome.unwrap_err()), "no_session");
    // It is found beside the address.
    assert!(Session::of_agent(&env).unwrap().is_none());
    let _requests = place.agent(&[]);
    let session = Session::of_agent(&env).unwrap().unwrap();
    assert!(matches!(session.door(), Door::Socket(_)));
}

#[test]
fn a_new_sign_in_makes_another_session() {
    let place = Place::new();
    let (socket, workbench) = (
        place.env(&[]),
        place.env(&[("RS_SERVER_ADDRESS", "http://server.example")]),
    );
    let address = place.env(&[
        ("RS_SERVER_ADDRESS", "http://127.0.0.1:1"),
        ("ENTRAR_ORIGIN", "agent"),
    ]);
    let envs = [&socket, &address, &workbench];
    let identities = || envs.map(Identity::current);
    let are_current = |of: &[Identity; 3]| [0, 1, 2].map(|at| of[at].is_current(envs[at]));

    let before = identities();
    place.directory();
    assert_eq!(are_current(&before), [true; 3]);
    assert_eq!(account(&socket), None);
    for who in [Some("ada"), Some("ada"), None] {
        let before = identities();
        assert_eq!(are_current(&before), [true; 3]);
        place.directory().mark_new_sign_in(who).unwrap();
        assert_eq!(are_current(&before), [false, false, true], "{who:?}");
        assert_eq!(account(&socket).as_deref(), who);
    }
}

#[test]
fn what_an_agents_processes_share_changes_with_the_sign_in() {
    let place = Place::new();
    let env = place.env(&[]);
    let socket = place.directory().socket_path();
    let _listener = UnixListener::bind(Path::new(&socket)).unwrap();
    let session = Session::find(&env).unwrap();
    let shared = || {
        let secret = session.shared_secret(&env).unwrap();
        secret.map(|secret| secret.expose_secret().to_owned())
    };
    assert_eq!(shared(), None);
    place.directory().mark_new_sign_in(Some("ada")).unwrap();
    let first = shared().unwrap();
    assert_eq!(shared().as_ref(), Some(&first));
    place.directory().mark_new_sign_in(Some("ada")).unwrap();
    assert_ne!(shared(), Some(first));
}
