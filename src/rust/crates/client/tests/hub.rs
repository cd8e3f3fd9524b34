//! A hub's socket as door: where it comes in the search, what is asked through it, and what is said where that fails.
#![cfg(unix)]
// The helpers below are test code too, which clippy.toml's exceptions do not see.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use entrar_client::hub;
use entrar_client::origin::{Door, Identity, Origin, Session, here, hub_here, who_signs_in};
use entrar_client::remedy::{Reader, remedy};
use entrar_client::report::Report;
use entrar_client::variables::variables;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::hub::{BEGIN, Binding, Failure};
use entrar_core::hub_socket::VARIABLE;
use entrar_core::private_directory::own_uid;
use entrar_core::session_directory::{self, SessionDirectory};
use serde_json::{Value, json};
use tempfile::TempDir;

use support::{LIMIT, answering, kind, reply, run, token};

/// A person's directory and a hub's, of which nobody else knows.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(machine.at("run")).unwrap();
        machine
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.at("run/hub.sock")
    }

    fn env(&self, variables: &[(&str, &str)]) -> Env {
        let (own, hub) = (self.at("own"), self.socket());
        let places = [
            (session_directory::VARIABLE, own.to_str().unwrap()),
            (VARIABLE, hub.to_str().unwrap()),
        ];
        Env::fixed(&[&places, variables].concat(), 1_795_392_000.0)
    }

    fn own_directory(&self) -> SessionDirectory {
        SessionDirectory::create(&self.env(&[])).unwrap()
    }
}

fn advice(error: &Error) -> String {
    remedy(error, Some(Origin::Hub), Reader::R)
}

fn me(account: &Value) -> Value {
    json!({"result": {
        "user": "ada", "uid": 1000, "machine": "node1", "page": "https://hub.example", "account": account,
        "binding": "paired", "mark": "canary-mark"
    }})
}

#[test]
fn a_token_is_asked_for_without_a_cookie() {
    let machine = Machine::new();
    let granted = json!({"token": {"access_token": "canary-token", "expires_in": 60}});
    let requests = answering(&machine.socket(), &[&reply(&granted)]);
    let env = machine.env(&[("RS_SESSION_RPC_COOKIE", "u|garbage|canary")]);
    assert_eq!(token(&env).unwrap(), "canary-token");
    let request = requests.recv_timeout(LIMIT).unwrap();
    assert!(
        request.starts_with("post /delegated_azure_token http/1.1\r\n"),
        "{request}"
    );
    assert!(!request.contains("cookie"), "{request}");
}

#[test]
fn a_hub_comes_after_an_address_and_an_agent() {
    let machine = Machine::new();
    let env = machine.env(&[]);
    let _hub = UnixListener::bind(machine.socket()).unwrap();
    let session = Session::find(&env).unwrap();
    assert_eq!(session.origin(), Origin::Hub);
    assert_eq!(*session.door(), Door::Socket(machine.socket()));
    assert!(session.can_be_asked(&env));
    assert!(session.shared_secret(&env).unwrap().is_none());
    assert_eq!(here(&env), Some(Origin::Hub));
    assert!(hub_here(&env).unwrap().is_some());
    let report = Report::new(&env, false);
    assert_eq!(
        (report.place.name, report.place.found_by),
        ("hub", vec!["its socket"])
    );
    assert!(report.cookies.is_empty() && report.way.is_none());

    let server = ("RS_SERVER_ADDRESS", "http://server.example");
    for (variables, origin, is_hubs) in [
        (vec![server], Origin::Workbench, false),
        (
            vec![server, ("ENTRAR_ORIGIN", "agent")],
            Origin::Agent,
            false,
        ),
        (vec![server, ("ENTRAR_ORIGIN", "hub")], Origin::Hub, true),
    ] {
        let other = machine.env(&variables);
        let session = Session::find(&other).unwrap();
        assert!(matches!(session.door(), Door::Address(_)));
        assert_eq!(session.origin(), origin);
        assert_eq!(hub_here(&other).unwrap().is_some(), is_hubs);
    }
    let connect = machine.env(&[("POSIT_PRODUCT", "CONNECT")]);
    assert_eq!(kind(&Session::find(&connect).unwrap_err()), "no_session");
    assert!(hub_here(&connect).unwrap().is_none());

    let agent = UnixListener::bind(machine.own_directory().socket_path()).unwrap();
    assert_eq!(Session::find(&env).unwrap().origin(), Origin::Agent);
    // One that was killed is not silently followed by a hub, where the person may be somebody else.
    drop(agent);
    assert_eq!(Session::find(&env).unwrap().origin(), Origin::Agent);
}

#[test]
fn a_person_signs_in_at_the_hub_unless_an_agent_runs_or_is_wanted() {
    let machine = Machine::new();
    let env = machine.env(&[]);
    let server = ("RS_SERVER_ADDRESS", "http://server.example");
    let of_hub = machine.env(&[server, ("ENTRAR_ORIGIN", "hub")]);
    let who = |env: &Env, wants_own| {
        who_signs_in(env, wants_own, false).map_err(|error| error.kind().as_str())
    };
    // It is named, and not there.
    assert_eq!(who(&env, false), Err("no_session"));
    assert_eq!(who(&env, true), Ok(Origin::Agent));

    let _hub = UnixListener::bind(machine.socket()).unwrap();
    assert_eq!(who(&env, false), Ok(Origin::Hub));
    assert_eq!(who(&env, true), Ok(Origin::Agent));
    assert_eq!(who(&of_hub, false), Ok(Origin::Hub));
    assert_eq!(who(&of_hub, true), Err("access_denied"));
    assert_eq!(
        who_signs_in(&env, false, true).unwrap_err().kind(),
        Kind::AccessDenied
    );

    let agent = UnixListener::bind(machine.own_directory().socket_path()).unwrap();
    assert_eq!(who(&env, false), Ok(Origin::Agent));
    drop(agent);
    assert_eq!(who(&env, false), Ok(Origin::Hub));
}

#[test]
fn a_socket_that_others_may_have_put_there_ends_the_search() {
    let machine = Machine::new();
    let env = machine.env(&[]);
    let _hub = UnixListener::bind(machine.socket()).unwrap();
    let mode = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(machine.at("run"), mode).unwrap();
    let error = Session::find(&env).unwrap_err();
    assert_eq!(kind(&error), "no_session");
    let directory = machine.at("run");
    let expected = format!(
        "the socket of the hub is not used: {} can be written to by others (its mode is 0777)",
        directory.display()
    );
    assert_eq!(error.message(), expected);
    assert!(advice(&error).starts_with("Ask the administrator of the hub: "));
    assert_eq!(here(&env), Some(Origin::Hub));
    assert_eq!(
        who_signs_in(&env, false, false).unwrap_err().message(),
        expected
    );
    assert_eq!(Report::new(&env, false).place.name, "hub");

    if own_uid() == 0 {
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(machine.at("run"), mode).unwrap();
        chown(machine.socket(), Some(1_234), None).unwrap();
        let error = Session::find(&env).unwrap_err();
        assert!(
            error
                .message()
                .ends_with("hub.sock belongs to uid 1234, who is neither root nor a system user"),
            "{error}"
        );
    }
}

#[test]
fn a_hub_that_does_not_run_is_called_so() {
    let machine = Machine::new();
    let env = machine.env(&[]);
    let socket = machine.socket();
    let error = Session::find(&env).unwrap_err();
    assert_eq!(kind(&error), "no_session");
    assert_eq!(
        advice(&error),
        "Ask the administrator of the hub to start it."
    );
    assert_eq!(here(&env), Some(Origin::Hub));

    drop(UnixListener::bind(&socket).unwrap());
    assert!(!Session::find(&env).unwrap().can_be_asked(&env));
    let error = token(&env).unwrap_err();
    assert_eq!(kind(&error), "no_session");
    let expected = format!("the hub ({}) is not running any more", socket.display());
    assert_eq!(error.message(), expected);
    assert_eq!(
        advice(&error),
        "Ask the administrator of the hub to start it."
    );
}

#[test]
fn who_is_not_signed_in_is_told_the_page_by_the_hub_and_the_function_by_us() {
    let machine = Machine::new();
    let env = machine.env(&[]);
    let refused = json!({
        "result": false,
        "oauth2_error": {"error": "login_required", "error_description": "sign in at https://hub.example"}
    });
    let not_found = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let _requests = answering(&machine.socket(), &[&reply(&refused), not_found]);
    let error = token(&env).unwrap_err();
    assert_eq!(kind(&error), "sign_in_required");
    assert!(
        error
            .to_string()
            .ends_with("The server said: sign in at https://hub.example"),
        "{error}"
    );
    assert_eq!(
        advice(&error),
        "Sign in with `entrar::azure_sign_in()` in R, or on the page of the hub."
    );
    let error = token(&env).unwrap_err();
    assert_eq!(kind(&error), "server_too_old");
    assert_eq!(
        advice(&error),
        "Ask the administrator of the hub for a newer version."
    );
}

#[test]
fn what_a_hub_is_asked_beside_tokens_has_its_path_and_its_parameters() {
    let machine = Machine::new();
    let env = machine.env(&[]);
    let failure = Failure::from(&Error::new(Kind::AccessDenied, "uid 33 is a system user"));
    let requests = answering(
        &machine.socket(),
        &[
            &reply(&me(&Value::Null)),
            &reply(&json!({ "failure": failure })),
            &reply(&json!({"result": {"user": "canary"}})),
            &reply(&json!({"page": "canary"})),
        ],
    );
    let me = || {
        run(&env, async |http, session| {
            hub::me(http, &env, session, LIMIT).await
        })
    };
    let found = me().unwrap();
    assert_eq!((found.user.as_str(), found.uid), ("ada", 1000));
    assert_eq!(found.binding, Binding::Paired);
    assert_eq!(found.account, None);
    assert_eq!(found.mark.as_ref().unwrap().expose(), "canary-mark");
    assert!(!format!("{found:?}").contains("canary"));
    let request = requests.recv_timeout(LIMIT).unwrap();
    assert!(
        request.starts_with("post /hub/me http/1.1\r\n"),
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\n{}"), "{request}");

    let begun = run(&env, async |http, session| {
        hub::ask(http, &env, session, BEGIN, &json!({}), LIMIT).await
    });
    let error = begun.unwrap_err();
    assert_eq!(
        (kind(&error), error.message()),
        ("access_denied", "uid 33 is a system user")
    );
    for words in [
        "is of another version of entrar",
        "is none that a hub gives",
    ] {
        let error = me().unwrap_err();
        assert_eq!(kind(&error), "bad_reply");
        assert!(error.message().ends_with(words), "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}

#[test]
fn only_a_hubs_socket_is_asked_for_more_than_tokens() {
    let machine = Machine::new();
    let agent = machine.own_directory().socket_path();
    let _listener = UnixListener::bind(agent).unwrap();
    let env = machine.env(&[]);
    let asked = run(&env, async |http, session| {
        hub::me(http, &env, session, LIMIT).await
    });
    let error = asked.unwrap_err();
    assert_eq!(kind(&error), "no_session");
    assert!(
        error.message().ends_with("is not the socket of a hub"),
        "{error}"
    );
}

fn opened(machine: &Machine, address: &str, cookie: &str) -> Result<hub::CookieSession, Error> {
    let _ = std::fs::remove_file(machine.socket());
    let session =
        json!({"result": {"cookie": cookie, "address": address, "expires_at": 1_795_435_200.0}});
    let requests = answering(&machine.socket(), &[&reply(&session)]);
    let env = machine.env(&[]);
    let opened = run(&env, async |http, session| {
        hub::open_session(http, &env, session, LIMIT).await
    });
    let request = requests.recv_timeout(LIMIT).unwrap();
    assert!(request.starts_with("post /hub/open_session "), "{request}");
    opened
}

fn cookie_in(directory: &str) -> (String, u32) {
    let path = Path::new(directory).join("rpc_cookie");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    (std::fs::read_to_string(path).unwrap(), mode & 0o7777)
}

#[test]
fn a_session_for_other_peoples_clients_has_its_cookie_in_a_file_of_this_users_alone() {
    let machine = Machine::new();
    for cookie in ["id|later|canary-1", "id|later|canary-2"] {
        let opened = opened(&machine, "http://127.0.0.1:8787", cookie).unwrap();
        let session = &opened.session;
        assert_eq!(
            session.directory,
            machine.at("own/hub-session").to_str().unwrap()
        );
        assert_eq!(cookie_in(&session.directory), (cookie.to_owned(), 0o600));
        assert_eq!(std::fs::read_dir(&session.directory).unwrap().count(), 1);
        assert!(!format!("{opened:?}").contains("canary"));
        let env = machine.env(&[("RSTUDIO_VERSION", "2023.01.0")]);
        assert_eq!(
            variables(&env, Origin::Hub, session),
            [
                ("RS_SERVER_ADDRESS", Some("http://127.0.0.1:8787")),
                ("PWB_SESSION_RUNTIME_DIR", Some(session.directory.as_str())),
                ("ENTRAR_ORIGIN", Some("hub")),
                ("RS_SESSION_RPC_COOKIE", Some(cookie)),
                ("RSTUDIO_VERSION", None),
            ]
        );
    }
    let directory = machine.own_directory();
    directory.drop_hubs_cookie();
    assert!(!machine.at("own/hub-session").exists());
    directory.drop_hubs_cookie();
}

#[test]
fn no_cookie_is_kept_for_an_address_where_others_could_read_it() {
    let machine = Machine::new();
    for (address, words) in [
        (
            "http://hub.example",
            "wants a cookie to be sent over plain http, to http://hub.example",
        ),
        (
            "ftp://hub.example",
            "has given an address that cannot be asked",
        ),
    ] {
        let error = opened(&machine, address, "canary").unwrap_err();
        assert_eq!(kind(&error), "bad_reply");
        assert!(error.message().contains(words), "{error}");
        assert!(!machine.at("own/hub-session").exists());
    }
    assert!(opened(&machine, "https://hub.example/rpc", "canary").is_ok());
}

#[test]
fn another_hub_makes_another_session() {
    let machine = Machine::new();
    let identity = Identity::current(&machine.env(&[]));
    assert!(identity.is_current(&machine.env(&[])));
    assert!(!identity.is_current(&machine.env(&[(VARIABLE, "/run/other/hub.sock")])));
}
