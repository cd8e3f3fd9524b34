//! Who asks: other users, other programs of its owner, pages in a browser, cookies of before.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::agent_support::{
    CookieSession, Entra, GRAPH, Place, again_as_nobody, by_nobody, cookie_line, is_root, post,
    stderr, stdout,
};

#[test]
fn another_user_of_this_machine_gets_nothing() {
    if !is_root() {
        return;
    }
    let (place, entra) = (Place::new(), Entra::new());
    let agent = place.agent();
    place.sign_ada_in(&entra);
    let session = CookieSession::open(&place);

    let port = "import sys, urllib.request, urllib.error
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
body = b'{\"method\": \"delegated_azure_token\", \"params\": [\"https://graph.microsoft.com\"]}'
head = {'X-RS-Session-Server-RPC-Cookie': sys.argv[2]}
request = urllib.request.Request(sys.argv[1] + '/delegated_azure_token', body, head)
try: print(opener.open(request).status)
except urllib.error.HTTPError as error: print(error.code)";
    // Nor with the cookie, which a bug report may show.
    let (address, cookie) = (format!("http://{}", session.host), session.cookie());
    for cookie in ["canary", &cookie] {
        let output = by_nobody(&["/usr/bin/env", "python3", "-c", port, &address, cookie]);
        assert_eq!(stdout(&output).trim(), "403", "{}", stderr(&output));
    }
    assert_eq!(session.status(&cookie), 200);

    let socket = "import socket, sys
try: socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print('let in')
except PermissionError: print('kept out')";
    let connect = || {
        let path = place.socket();
        let path = path.to_str().unwrap();
        let output = by_nobody(&["/usr/bin/env", "python3", "-c", socket, path]);
        stdout(&output).trim().to_owned()
    };
    assert_eq!(connect(), "kept out");

    let pid = agent.pid();
    let cookie = session.directory.join("rpc_cookie");
    let files = [
        cookie.to_str().unwrap().to_owned(),
        place.path().join("sign-in").to_str().unwrap().to_owned(),
        format!("/proc/{pid}/mem"),
        format!("/proc/{pid}/environ"),
        format!("/proc/{pid}/maps"),
    ];
    for file in &files {
        let output = by_nobody(&["head", "-c", "1", file]);
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert!(
            stderr(&output).contains("Permission denied"),
            "{file}: {}",
            stderr(&output)
        );
        assert_eq!(output.stdout, b"");
    }
    for directory in [place.path().to_str().unwrap(), &format!("/proc/{pid}/fd")] {
        let output = by_nobody(&["ls", directory]);
        assert_eq!(output.status.code(), Some(2), "{directory}");
        assert_eq!(output.stdout, b"");
    }
    // Even one that the directory does not keep out is told by the kernel.
    for path in [place.path(), place.socket()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    assert_eq!(connect(), "let in");
    let ask = "import socket, sys
for path, body in ('/agent/status', b'{}'), ('/agent/stop', b'{}'), ('/agent/sign_out', b'{}'), ('/delegated_azure_token', b'{\"method\": \"delegated_azure_token\", \"params\": [\"https://graph.microsoft.com\"]}'):
    agent = socket.socket(socket.AF_UNIX)
    agent.connect(sys.argv[1])
    agent.sendall(b'POST %s HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n' % (path.encode(), len(body)) + body)
    print(agent.makefile('rb').readline().split()[1].decode(), end=' ')";
    let path = place.socket();
    let output = by_nobody(&["/usr/bin/env", "python3", "-c", ask, path.to_str().unwrap()]);
    assert_eq!(
        stdout(&output).trim(),
        "403 403 403 401",
        "{}",
        stderr(&output)
    );
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(place.account().as_deref(), Some("ada@example.com"));
    assert_eq!(place.pid(), Some(pid));
}

/// As root this says nothing, since root may read everything.
#[test]
fn other_programs_of_its_owner_cannot_read_its_memory_and_a_browser_of_theirs_signs_in() {
    if is_root() {
        again_as_nobody(
            "other_programs_of_its_owner_cannot_read_its_memory_and_a_browser_of_theirs_signs_in",
        );
        return;
    }
    let (place, entra) = (Place::new(), Entra::new());
    let agent = place.agent();
    place.sign_ada_in(&entra);
    assert_eq!(entra.whose(&place.token(GRAPH).unwrap()), "ada@example.com");
    let of_agent = |file: &str| format!("/proc/{}/{file}", agent.pid());
    for file in ["mem", "environ", "maps", "auxv"] {
        let error = fs::read(of_agent(file)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{file}");
    }
    for directory in ["fd", "map_files"] {
        assert!(fs::read_dir(of_agent(directory)).is_err(), "{directory}");
    }
    // What is refused there is not so for every process.
    let mut other = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    let environ = fs::read(format!("/proc/{}/environ", other.id()));
    let _ = other.kill();
    let _ = other.wait();
    assert!(environ.is_ok());
    let limits = fs::read_to_string(of_agent("limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core: Vec<&str> = core.unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"]);
}

#[test]
fn only_the_newest_sign_ins_cookie_is_good() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    let session = CookieSession::open(&place);
    let cookie = session.cookie();
    assert_eq!(session.status(&cookie), 200);
    assert_eq!(session.ask("POST", &[]).status, 401);
    let fields: Vec<&str> = cookie.split('|').collect();
    let [id, date, signature] = fields[..] else {
        panic!("a cookie has three fields");
    };
    let later = "Fri%2C%2031%20Dec%202100%2023%3A59%3A59%20GMT";
    let earlier = "Sat%2C%2001%20Jan%202000%2000%3A00%3A00%20GMT";
    let swapped: String = id.chars().rev().collect();
    for forged in [
        "",
        "x",
        "||",
        id,
        &format!("{id}|{later}|{signature}"),
        &format!("{id}|{earlier}|{signature}"),
        &format!("{swapped}|{date}|{signature}"),
        &format!("{id}|{date}|"),
        &format!("{id}|{date}|AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D"),
        &format!("{cookie}|{signature}"),
    ] {
        let reply = session.ask("POST", &[&cookie_line(forged)]);
        assert_eq!(reply.status, 401, "{forged}");
        assert!(!reply.body.contains(signature));
    }
    let twice = [&*cookie_line(&cookie), &*cookie_line("x")];
    assert_eq!(session.ask("POST", &twice).status, 401);
    // The agent's own requests are not for who has a cookie.
    let status = post(
        crate::agent_support::tcp(&session.host),
        "/agent/status",
        "{}",
    );
    assert_eq!(status.unwrap().status, 404);

    // The same person once more: a new session all the same.
    place.sign_ada_in(&entra);
    assert_eq!(session.status(&cookie), 401);
    assert_eq!(session.status(&session.cookie()), 200);
}

#[test]
fn a_page_in_a_browser_is_turned_away_cookie_or_not() {
    let (place, entra) = (Place::new(), Entra::new());
    let _agent = place.agent();
    place.sign_ada_in(&entra);
    let session = CookieSession::open(&place);
    let cookie = cookie_line(&session.cookie());
    let port = session.host.rsplit_once(':').unwrap().1;
    let rebound = format!("Host: evil.example:{port}");
    for lines in [
        &["Origin: https://evil.example"][..],
        &["Origin: null"],
        &["Sec-Fetch-Site: cross-site"],
        &[&rebound],
        &["Host: 10.0.0.1"],
    ] {
        for verb in ["POST", "GET", "OPTIONS"] {
            let mut lines = lines.to_vec();
            lines.push(&cookie);
            let reply = session.ask(verb, &lines);
            assert_eq!(reply.status, 403, "{verb} {:?}", lines[0]);
            assert!(
                !reply.head.to_lowercase().contains("access-control"),
                "{}",
                reply.head
            );
        }
    }
    let preflight = session.ask("OPTIONS", &["Access-Control-Request-Method: POST"]);
    assert_eq!(preflight.status, 405);
    assert!(!preflight.head.to_lowercase().contains("access-control"));
    let good = session.ask("GET", &[&cookie]);
    assert_eq!(good.status, 200);
    assert_eq!(good.header("cache-control"), Some("no-store"));
}
