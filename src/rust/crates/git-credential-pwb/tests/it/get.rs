//! `get`: answers, and the reasons for having none.

use std::cell::Cell;

use crate::support::{
    Outcome, Server, Session, contents, exchanges, kernel_keeps_keys, now, outcome,
};

/// A JSON Web Token whose tenant is 11111111-1111-4111-8111-111111111111.
const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJ0aWQiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.canary-signature";

const CLONE: &[u8] = b"protocol=https\nhost=dev.azure.com\npath=contoso/p/_git/r\n\n";

/// The answer with the time of its expiry, which is checked, taken out.
fn get(session: &Session, stdin: &[u8]) -> Outcome {
    let before = now().floor() as i64;
    let mut found = session.run(&["get"], stdin);
    let mut expiry = None;
    found.stdout = found
        .stdout
        .lines()
        .map(|line| match line.strip_prefix("password_expiry_utc=") {
            Some(time) => {
                expiry = Some(time.parse::<i64>().unwrap());
                "password_expiry_utc=T\n".to_owned()
            }
            None => format!("{line}\n"),
        })
        .collect();
    if let Some(expiry) = expiry {
        assert!(
            // A token that was kept is as old as the session is.
            (before + 3_300..=before + 3_660).contains(&expiry),
            "{expiry}"
        );
    }
    found
}

#[test]
fn a_repository_of_azure_devops_gets_a_user_name_and_a_token() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    for (request, username) in [
        (CLONE, "git-credential-pwb"),
        (
            b"protocol=https\nhost=dev.azure.com\n",
            "git-credential-pwb",
        ),
        (
            b"protocol=https\nhost=DEV.azure.com:443\nusername=contoso\n",
            "contoso",
        ),
        (
            b"protocol=https\nhost=contoso.visualstudio.com.\nusername=\n",
            "git-credential-pwb",
        ),
        (
            b"protocol=https\nhost=dev.azure.com\nusername=a=b \xc3\xa9\n",
            "a=b é",
        ),
    ] {
        let expected = format!("username={username}\npassword={TOKEN}\npassword_expiry_utc=T\n");
        assert_eq!(get(&session, request), outcome(0, &expected, ""));
    }
    let body = "{\"method\":\"delegated_azure_token\",\"params\":[\"499b84ac-1321-427f-aa17-267ca6975798\"]}";
    assert_eq!(server.requests(), vec![body; exchanges(5)]);
}

#[test]
fn a_git_that_can_is_asked_for_one_second_chance() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    let first = [b"capability[]=authtype\ncapability[]=state\n", CLONE].concat();
    let expected = format!(
        "capability[]=state\nusername=git-credential-pwb\npassword={TOKEN}\npassword_expiry_utc=T\n\
         continue=1\nstate[]=git-credential-pwb:second-chance\n"
    );
    assert_eq!(get(&session, &first), outcome(0, &expected, ""));
    let second = [
        b"capability[]=state\nstate[]=git-credential-pwb:second-chance\n",
        CLONE,
    ]
    .concat();
    let expected =
        format!("username=git-credential-pwb\npassword={TOKEN}\npassword_expiry_utc=T\n");
    assert_eq!(get(&session, &second), outcome(0, &expected, ""));
}

#[test]
fn what_is_not_azure_devops_by_https_gets_nothing_and_nobody_is_asked() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    for request in [
        &b"protocol=https\nhost=github.com\npath=a/b\n"[..],
        b"protocol=http\nhost=dev.azure.com\n",
        b"protocol=https\nhost=dev.azure.com:8443\n",
        b"protocol=https\nhost=dev.azure.com.evil.example\n",
        b"protocol=https\nhost=a.b.visualstudio.com\n",
        b"protocol=https\nhost=\xff.visualstudio.com\n",
        b"host=dev.azure.com\n",
        b"",
    ] {
        assert_eq!(session.run(&["get"], request), outcome(0, "", ""));
    }
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn a_request_that_could_be_misread_is_refused() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    let long = [&b"path="[..], &[b'a'; 65_536], b"\n"].concat();
    for (line, what) in [
        (&b"path=\0\n"[..], "holds a NUL or a carriage return"),
        (b"path=a\r\n", "holds a NUL or a carriage return"),
        (b"path\n", "is not of the form key=value"),
        (&long, "is longer than 65535 bytes"),
    ] {
        let request = [b"protocol=https\nhost=dev.azure.com\n", line].concat();
        let expected = format!("git-credential-pwb: line 3 of the request {what}\n");
        assert_eq!(session.run(&["get"], &request), outcome(1, "", &expected));
    }
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn without_a_session_there_is_a_reason_and_a_remedy() {
    let expected = "\
git-credential-pwb: no token for Azure DevOps: there is no session to ask: RS_SERVER_ADDRESS is not set, and nobody is signed in here.
git-credential-pwb: Sign in with `entrar::azure_sign_in()` in R, or to Azure DevOps another way: `entrar::use_azure_git(remove = TRUE)` in R takes this helper out.
";
    // git gives up by itself here, so it is not told to.
    let session = Session::nowhere().with("GIT_TERMINAL_PROMPT", "0");
    assert_eq!(get(&session, CLONE), outcome(0, "", expected));
}

#[test]
fn the_servers_failures_have_their_reasons_and_remedies() {
    for (status, body, expected) in [
        (
            "200 OK",
            "{\"result\":false,\"oauth2_error\":{\"error\":\"invalid_grant\",\"error_description\":\"AADSTS700082: expired\"}}",
            "no token for Azure DevOps: Entra ID wants you to sign in again. The server said: AADSTS700082: expired.
git-credential-pwb: Sign out of Posit Workbench and sign in again.",
        ),
        (
            "200 OK",
            "{\"result\":false,\"oauth2_error\":{\"error\":\"invalid_grant\",\"suberror\":\"consent_required\"}}",
            "no token for Azure DevOps: a permission for this resource, or consent to it, is missing. The server said: invalid_grant.
git-credential-pwb: Ask an administrator to give the server's app registration the delegated permission Azure DevOps / user_impersonation, and to consent to it.",
        ),
        (
            "500 Oops",
            "canary-body",
            "no token for Azure DevOps: the server could not get a token (HTTP status 500).
git-credential-pwb: Try again; if it stays, give this message to the administrator of Posit Workbench.",
        ),
    ] {
        let server = Server::start(status, body.to_owned());
        let session = Session::at(&server.address).with("GIT_TERMINAL_PROMPT", "0");
        let expected = format!("git-credential-pwb: {expected}\n");
        assert_eq!(get(&session, CLONE), outcome(0, "", &expected));
    }
}

#[test]
fn after_two_refusals_within_a_minute_git_is_told_to_quit_until_an_answer_is_accepted() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    let answered = [
        b"username=git-credential-pwb\npassword=canary-token\n",
        CLONE,
    ]
    .concat();
    for _ in 0..2 {
        assert_ne!(get(&session, CLONE).stdout, "quit=1\n");
        assert_eq!(session.run(&["erase"], &answered), outcome(0, "", ""));
    }
    let expected = "\
git-credential-pwb: the Azure DevOps organisation contoso has refused two tokens within a minute, so there is no third.
git-credential-pwb: Check that you have access to it and that the URL is right; then try again in a minute.
";
    for _ in 0..2 {
        assert_eq!(get(&session, CLONE), outcome(0, "quit=1\n", expected));
    }
    let elsewhere = b"protocol=https\nhost=dev.azure.com\npath=fabrikam/p/_git/r\n";
    assert!(get(&session, elsewhere).stdout.starts_with("username="));

    for (path, text) in contents(session.directory.path()) {
        assert!(!format!("{path}{text}").contains("canary"), "{path}");
        assert!(!text.contains("contoso"), "{path}: {text}");
    }
    assert_eq!(session.run(&["store"], &answered), outcome(0, "", ""));
    assert!(get(&session, CLONE).stdout.starts_with("username="));
}

#[test]
fn a_challenge_of_another_tenant_is_told_and_gets_no_second_chance() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    let challenge = |tenant: &str| {
        let line = format!(
            "wwwauth[]=Bearer authorization_uri=https://login.microsoftonline.com/{tenant}\n"
        );
        [b"capability[]=state\n", line.as_bytes(), CLONE].concat()
    };
    let answer = format!("username=git-credential-pwb\npassword={TOKEN}\npassword_expiry_utc=T\n");
    let how = "git-credential-pwb: Ask its administrator to connect it to your tenant, or sign in another way: `entrar::use_azure_git(remove = TRUE)` in R takes this helper out.\n";
    let other = format!(
        "git-credential-pwb: the Azure DevOps organisation contoso belongs to tenant 22222222-2222-4222-8222-222222222222, but your sign-in is with tenant 11111111-1111-4111-8111-111111111111.\n{how}"
    );
    let none = format!(
        "git-credential-pwb: the Azure DevOps organisation contoso is not connected to Entra ID, so it takes no token of tenant 11111111-1111-4111-8111-111111111111.\n{how}"
    );
    for (tenant, stderr) in [
        ("22222222-2222-4222-8222-222222222222", other),
        ("00000000-0000-0000-0000-000000000000", none),
    ] {
        assert_eq!(
            get(&session, &challenge(tenant)),
            outcome(0, &answer, &stderr)
        );
    }
    let same = get(&session, &challenge("11111111-1111-4111-8111-111111111111"));
    assert_eq!(same.stderr, "");
    assert!(same.stdout.contains("continue=1\n"));
}

#[test]
fn the_trace_tells_the_way_of_an_answer_and_no_secret() {
    let server = Server::granting(TOKEN);
    let request = [
        b"capability[]=state\nusername=canary-pat\n\
          wwwauth[]=Bearer authorization_uri=https://login.microsoftonline.com/11111111-1111-4111-8111-111111111111\n"
            .as_slice(),
        CLONE,
    ]
    .concat();
    for variable in ["GIT_TRACE", "GIT_CREDENTIAL_PWB_TRACE"] {
        let session = Session::at(&server.address).with(variable, "1");
        let found = get(&session, &request);
        assert!(found.stdout.contains(TOKEN));
        let lines: Vec<&str> = found
            .stderr
            .lines()
            .map(|line| line.strip_prefix("git-credential-pwb: trace: ").unwrap())
            .filter(|line| !line.starts_with("keyring: "))
            .collect();
        assert!(lines[5].starts_with("exchange: ") && lines[5].ends_with(" ms"));
        assert!(lines[6].starts_with("token: expires 20") && lines[6].contains("Z, in 359"));
        let server = format!("session: {}, from RS_SERVER_ADDRESS", server.address);
        let version = format!("get: version {}", env!("CARGO_PKG_VERSION"));
        let expected = [
            &*version,
            "host: dev.azure.com, organisation contoso",
            &*server,
            "cookie: from the variable RS_SESSION_RPC_COOKIE",
            "resource: 499b84ac-1321-427f-aa17-267ca6975798",
            lines[5],
            lines[6],
            "tenant: token 11111111-1111-4111-8111-111111111111, challenge 11111111-1111-4111-8111-111111111111: the same",
            "answer: a user name and a token; to be asked once more if refused",
        ];
        assert_eq!(lines, expected);
    }
}

#[test]
fn the_trace_tells_why_there_is_no_answer() {
    let session = Session::nowhere()
        .with("GIT_TERMINAL_PROMPT", "0")
        .with("GIT_TRACE", "true");
    let traced = |request: &[u8]| -> Vec<String> {
        let found = get(&session, request);
        assert_eq!(found.stdout, "");
        let lines = found.stderr.lines();
        lines
            .filter_map(|line| line.strip_prefix("git-credential-pwb: trace: "))
            .skip(1)
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        traced(CLONE),
        [
            "host: dev.azure.com, organisation contoso",
            "no token: no_session",
            "answer: none"
        ]
    );
    assert_eq!(
        traced(b"protocol=https\nhost=canary-host.example\n"),
        ["host: not Azure DevOps by https, so it is left to others"]
    );
}

#[test]
fn the_trace_can_go_to_a_file() {
    let session = Session::nowhere().with("GIT_TERMINAL_PROMPT", "0");
    let file = session.file("trace");
    let session = session.with("GIT_TRACE", file.to_str().unwrap());
    let found = get(&session, CLONE);
    assert!(!found.stderr.contains("trace"), "{}", found.stderr);
    let text = std::fs::read_to_string(file).unwrap();
    assert!(
        text.contains("git-credential-pwb: trace: no token: no_session\n"),
        "{text}"
    );
}

#[test]
fn a_server_that_is_asked_in_clear_is_warned_of_once_a_session() {
    let session = Session::at("http://server.invalid").with("GIT_TERMINAL_PROMPT", "0");
    let warning = "git-credential-pwb: the session's server is asked over plain http, so others on the network can read your session's cookie and your tokens. Ask its administrator for an https address.\n";
    assert!(get(&session, CLONE).stderr.starts_with(warning));
    let second = get(&session, CLONE).stderr;
    assert!(
        second.starts_with("git-credential-pwb: no token"),
        "{second}"
    );
}

#[test]
fn a_server_that_never_answers_is_waited_for_as_long_as_the_variable_says() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let session = Session::at(&address)
        .with("GIT_TERMINAL_PROMPT", "0")
        .with("ENTRAR_TIMEOUT", "0.3");
    let expected = format!(
        "git-credential-pwb: no token for Azure DevOps: {address} gave no answer within 0.3 seconds.
git-credential-pwb: Try again. To wait longer, set ENTRAR_TIMEOUT to a number of seconds.
"
    );
    assert_eq!(get(&session, CLONE), outcome(0, "", &expected));
}

#[test]
fn one_exchange_serves_every_repository_of_a_session() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    let elsewhere = b"protocol=https\nhost=fabrikam.visualstudio.com\npath=p/_git/r\n\n";
    for request in [CLONE, elsewhere, CLONE] {
        let expected =
            format!("username=git-credential-pwb\npassword={TOKEN}\npassword_expiry_utc=T\n");
        assert_eq!(get(&session, request), outcome(0, &expected, ""));
    }
    assert_eq!(server.requests().len(), exchanges(3));
    // Nothing of it is on disk.
    for (path, text) in contents(session.directory.path()) {
        assert_eq!(text, "", "{path}");
    }
}

#[test]
fn helpers_that_are_started_at_once_make_one_exchange() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(get(&session, CLONE).stdout.contains(TOKEN)));
        }
    });
    assert_eq!(server.requests().len(), exchanges(8));
}

#[test]
fn another_session_gets_a_token_of_its_own() {
    let server = Server::granting(TOKEN);
    let one = Session::at(&server.address);
    let directory = one.directory.path().to_str().unwrap().to_owned();
    let other = Session::at(&server.address)
        .with("PWB_SESSION_RUNTIME_DIR", &directory)
        .with("RS_SESSION_RPC_COOKIE", "grace|none|canary-cookie");
    for session in [&one, &other] {
        assert!(get(session, CLONE).stdout.contains(TOKEN));
    }
    assert_eq!(server.requests().len(), 2);
}

#[cfg(unix)]
#[test]
fn a_persons_own_agent_is_asked_through_its_socket() {
    let session = Session::nowhere();
    let server = Server::agent_of(&session, TOKEN);
    session
        .agents_directory()
        .mark_new_sign_in(Some("ada"))
        .unwrap();
    for _ in 0..2 {
        assert!(get(&session, CLONE).stdout.contains(TOKEN));
    }
    assert_eq!(server.requests().len(), exchanges(2));
    let socket = session.agents_directory().socket_path();
    let expected = format!("session: your agent ({})", socket.display());
    assert_eq!(session.trace(CLONE)[2], expected);

    // What was kept of one sign-in is nobody's after the next.
    let before = server.requests().len();
    session
        .agents_directory()
        .mark_new_sign_in(Some("grace"))
        .unwrap();
    assert!(get(&session, CLONE).stdout.contains(TOKEN));
    assert_eq!(server.requests().len(), before + 1);
}

#[cfg(unix)]
#[test]
fn a_hub_is_asked_through_its_socket_and_what_is_kept_is_kept_under_its_mark() {
    let session = Session::nowhere();
    let socket = session.file("hub.sock");
    let session = session.with("ENTRAR_HUB_SOCKET", socket.to_str().unwrap());
    let server = Server::hub_of(&session, TOKEN);
    let sign_in = |mark: &str| std::fs::write(session.file("mark"), mark).unwrap();
    sign_in("canary-mark-1");
    let granted = || {
        let requests = server.requests();
        let tokens = requests.iter().filter(|body| body.contains("params"));
        tokens.count()
    };
    for _ in 0..2 {
        assert!(get(&session, CLONE).stdout.contains(TOKEN));
    }
    assert_eq!(granted(), exchanges(2));
    let socket = std::fs::canonicalize(socket).unwrap();
    let expected = format!("session: the hub ({})", socket.display());
    assert_eq!(session.trace(CLONE)[2], expected);

    // What was kept of one sign-in is nobody's after the next.
    let before = granted();
    sign_in("canary-mark-2");
    assert!(get(&session, CLONE).stdout.contains(TOKEN));
    assert_eq!(granted(), before + 1);
    // Where the hub's answer is none, nothing is kept.
    let before = granted();
    sign_in("\"");
    for _ in 0..2 {
        assert!(get(&session, CLONE).stdout.contains(TOKEN));
    }
    assert_eq!(granted(), before + 2);
}

#[cfg(unix)]
#[test]
fn where_a_persons_own_agent_has_ended_it_says_how_to_sign_in() {
    let session = Session::nowhere().with("GIT_TERMINAL_PROMPT", "0");
    let socket = session.agents_directory().socket_path();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let expected = format!(
        "git-credential-pwb: no token for Azure DevOps: your agent ({}) is not running any more.\n\
         git-credential-pwb: Sign in with `entrar::azure_sign_in()` in R: a sign-in ends with its agent.\n",
        socket.display()
    );
    assert_eq!(get(&session, CLONE), outcome(0, "", &expected));
}

fn cookie_of(name: &str) -> String {
    format!("{name}|none|canary-cookie")
}

/// Whose token the helper answers with where the file holds the cookie of `name`.
fn answered_with(session: &Session, name: &str) -> String {
    std::fs::write(session.file("rpc_cookie"), cookie_of(name)).unwrap();
    let answer = session.run(&["get"], CLONE).stdout;
    let token = answer
        .lines()
        .find_map(|line| line.strip_prefix("password=canary-of-"));
    token.unwrap().to_owned()
}

/// No token of these people stays in the user's keyring.
fn forget(session: &Session, names: &[&str]) {
    for name in names {
        std::fs::write(session.file("rpc_cookie"), cookie_of(name)).unwrap();
        session.run(&["erase"], CLONE);
    }
}

#[test]
fn another_cookie_in_the_same_file_gets_a_token_of_its_own() {
    let server = Server::granting_to_each(|_| false);
    let session = Session::nowhere().with("RS_SERVER_ADDRESS", &server.address);
    for name in ["ada", "grace", "grace", "ada"] {
        assert_eq!(answered_with(&session, name), name);
    }
    let requests = if kernel_keeps_keys() { 2 } else { 4 };
    assert_eq!(server.requests().len(), requests);
    forget(&session, &["ada", "grace"]);
}

#[test]
fn a_cookie_that_is_replaced_during_the_exchange_keeps_nothing_of_the_others() {
    let session = Session::nowhere();
    let (file, is_replaced) = (session.file("rpc_cookie"), Cell::new(false));
    let server = Server::granting_to_each(move |name| {
        let refused = name == "ada" && !is_replaced.replace(true);
        if refused {
            std::fs::write(&file, cookie_of("grace")).unwrap();
        }
        refused
    });
    let session = session.with("RS_SERVER_ADDRESS", &server.address);
    assert_eq!(answered_with(&session, "ada"), "grace");
    assert_eq!(answered_with(&session, "ada"), "ada");
    assert_eq!(answered_with(&session, "grace"), "grace");
    forget(&session, &["ada", "grace"]);
}

#[test]
fn a_token_that_a_second_cookie_has_brought_is_not_the_firsts() {
    let server = Server::granting_to_each(|name| name == "ada");
    let date = "Thu%2C%2001%20Jan%202060%2000%3A00%3A00%20GMT";
    let people = ["grace", "edith"];
    let sessions = people.map(|name| {
        let session = Session::nowhere()
            .with("RS_SERVER_ADDRESS", &server.address)
            .with("RS_SESSION_RPC_COOKIE", &format!("{name}|none|canary"));
        // It is sent first.
        std::fs::write(session.file("rpc_cookie"), format!("ada|{date}|canary")).unwrap();
        session
    });
    for (name, session) in people.iter().zip(&sessions) {
        let answer = session.run(&["get"], CLONE).stdout;
        assert!(answer.contains(&format!("canary-of-{name}\n")), "{answer}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_file_makes_nobody_wait() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    session.run(&["erase"], CLONE);
    get(&session, CLONE);
    // In the place of every file that there is by now.
    let files = contents(session.directory.path());
    assert_eq!(files.len(), 2 - usize::from(!kernel_keeps_keys()));
    for (path, _) in files {
        std::fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    }
    let (done, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let erased = session.run(&["erase"], CLONE);
        done.send((erased, get(&session, CLONE))).unwrap();
    });
    let (erased, answered) = end
        .recv_timeout(std::time::Duration::from_secs(60))
        .expect("the helper waits for the pipe's other end");
    assert_eq!(erased, outcome(0, "", ""));
    assert!(answered.stdout.contains(TOKEN));
}

#[test]
fn what_was_refused_is_not_served_again() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    let second_chance = [
        b"capability[]=state\nstate[]=git-credential-pwb:second-chance\n",
        CLONE,
    ]
    .concat();
    get(&session, CLONE);
    get(&session, &second_chance);
    assert_eq!(server.requests().len(), 2);
    session.run(&["erase"], CLONE);
    get(&session, CLONE);
    assert_eq!(server.requests().len(), 3);
}

#[cfg(target_os = "linux")]
#[test]
fn the_trace_tells_what_the_keyring_does() {
    let lines = |session: &Session, request: &[u8]| -> Vec<String> {
        let traced = session.trace(request).into_iter();
        traced
            .filter(|line| line.starts_with("keyring: "))
            .collect()
    };
    let soon = Server::granting_for(TOKEN, 301);
    let session = Session::at(&soon.address);
    let server = Server::granting_for(TOKEN, 86_400);
    let day = Session::at(&server.address);
    let (soon, first, second) = (
        lines(&session, CLONE),
        lines(&day, CLONE),
        lines(&day, CLONE),
    );
    if kernel_keeps_keys() {
        assert_eq!(soon, ["keyring: the token expires too soon to be kept"]);
        assert!(
            first[0].starts_with("keyring: the token is kept for 86"),
            "{first:?}"
        );
        assert_eq!(second, ["keyring: the token that is kept there is taken"]);
    } else {
        for lines in [soon, first, second] {
            assert!(
                lines[0].starts_with("keyring: the kernel refuses ("),
                "{lines:?}"
            );
        }
    }
}

#[test]
fn a_bad_limit_is_an_error_and_nobody_is_asked() {
    let server = Server::granting(TOKEN);
    for value in ["soon", "0", "-1", "86401", "30s", "NaN"] {
        let session = Session::at(&server.address)
            .with("GIT_TERMINAL_PROMPT", "0")
            .with("ENTRAR_TIMEOUT", value);
        let expected = "git-credential-pwb: The variable ENTRAR_TIMEOUT must be one number of seconds, above 0 and at most 86400.\n";
        assert_eq!(get(&session, CLONE), outcome(0, "", expected), "{value}");
        let traced = session.trace(CLONE);
        assert_eq!(
            traced[2..],
            [
                "no token: ENTRAR_TIMEOUT is not a number of seconds",
                "answer: none"
            ]
        );
    }
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn nothing_of_an_address_that_git_misreads_is_shown() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    for request in [
        // https://user:canary/ss@dev.azure.com/contoso, and with ? and #, as git reads them.
        &b"protocol=https\nhost=user:canary\npath=canary@dev.azure.com/contoso\n"[..],
        b"protocol=https\nhost=user:canary\npath=?canary@dev.azure.com/contoso\n",
        b"protocol=https\nhost=canary\nusername=canary\npath=x@dev.azure.com\n",
        b"protocol=https\nhost=dev.azure.com\nusername=canary\npath=canary/x@dev.azure.com/contoso\n",
    ] {
        let lines = session.trace(request);
        assert!(lines[1].starts_with("host: "), "{lines:?}");
        assert!(!lines.concat().contains("organisation c"), "{lines:?}");
    }
}

/// Some of Entra ID's codes; all of them are in the tests of `entrar_core::oauth`.
const CODES: [(&str, i32); 10] = [
    ("sign_in_required", 50_076),
    ("consent_required", 65_001),
    ("access_denied", 53_003),
    ("access_denied", 50_020),
    ("access_denied", 50_105),
    ("bad_resource", 500_011),
    ("misconfigured", 7_000_215),
    ("throttled", 50_196),
    ("unavailable", 90_033),
    ("server_error", 54_005),
];

#[test]
fn a_code_of_entra_id_has_its_kind_listed_or_described() {
    for (kind, code) in CODES {
        for fields in [
            format!("\"error_codes\":[{code}]"),
            format!("\"error_description\":\"AADSTS{code}: no.\""),
        ] {
            let body = format!(
                "{{\"result\":false,\"oauth2_error\":{{\"error\":\"invalid_grant\",{fields}}}}}"
            );
            let server = Server::start("200 OK", body);
            let session = Session::at(&server.address)
                .with("GIT_CREDENTIAL_PWB_TRACE", "1")
                .with("GIT_TERMINAL_PROMPT", "0");
            let found = session.run(&["get"], CLONE);
            let said = format!("git-credential-pwb: trace: no token: {kind}\n");
            assert!(found.stderr.contains(&said), "{code}: {}", found.stderr);
            if kind == "access_denied" {
                let advice = found.stderr.to_ascii_lowercase();
                assert!(!advice.contains("sign in"), "{code}: {advice}");
                assert!(!advice.contains("sign out"), "{code}: {advice}");
            }
            assert_eq!(found.stdout, "");
        }
    }
}
