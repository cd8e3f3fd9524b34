use std::path::Path;

use super::files::Near;
use super::*;

const GUID: &str = "11111111-2222-4333-8444-555555555555";

/// The template, with an id where it has none yet.
fn usable() -> String {
    TEMPLATE.replace("00000000-0000-0000-0000-000000000000", GUID)
}

fn parsed(text: &str) -> Result<Configuration, Error> {
    let near = Near {
        directory: Path::new("/etc/entrar"),
        credentials: None,
    };
    Configuration::parse(text, &near).map_err(|fault| fault.at(Path::new("hub.toml"), text))
}

/// What is wrong once `from` in the template is `to`.
fn refused(from: &str, to: &str) -> String {
    let text = usable();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    let error = parsed(&text.replace(from, to)).unwrap_err();
    error.to_string()
}

#[test]
fn the_template_is_usable_once_its_ids_are_filled_in() {
    let read = parsed(&usable()).unwrap();
    assert_eq!(read.public_url.as_str(), "https://hub.example.com/");
    assert_eq!(read.database.to_string(), "/var/lib/entrar-hub/hub.db");
    assert_eq!(read.key_file.path(), Path::new("/etc/entrar/hub.key"));
    assert_eq!(read.socket.uids, [(1_000, 59_999)]);
    assert!(read.is_own_host("HUB.example.com") && !read.is_own_host("localhost"));
    let error = parsed(TEMPLATE).unwrap_err().to_string();
    assert!(error.contains("put the real one here"), "{error}");
}

#[test]
fn what_is_wrong_is_told_with_line_and_column() {
    for (from, to, what) in [
        (
            "name = \"Example\"",
            "nmae = \"Example\"",
            "unknown field `nmae`",
        ),
        (
            "keep_days = 400",
            "keep_days = 0",
            "a number from 1 to 36500",
        ),
    ] {
        let error = refused(from, to);
        let text = usable();
        let line = text.lines().position(|line| line == from).unwrap() + 1;
        let column = if from.starts_with("name") {
            1
        } else {
            "keep_days = ".len() + 1
        };
        let place = format!("hub.toml:{line}:{column}: ");
        assert!(error.starts_with(&place), "{place}{error}");
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn what_contradicts_itself_or_is_unsafe_is_refused() {
    for (from, to, what) in [
        (
            "https://hub.example.com",
            "http://hub.example.com",
            "by https only",
        ),
        (
            "https://hub.example.com",
            "https://hub.example.com/x",
            "no path",
        ),
        (
            "# secret_file = ",
            "secret_file = ",
            "one way to prove itself",
        ),
        (
            "# url = \"postgresql://",
            "url = \"postgresql://",
            "remove one",
        ),
        (
            "path = \"/var/lib/entrar-hub/hub.db\"",
            "",
            "the database is missing",
        ),
        ("# password_file = ", "password_file = ", "there is no url"),
        ("# connections = 16", "connections = 4", "there is no url"),
        ("certificate_file = \"app.pem\"", "", "has to prove itself"),
        (
            "# authority = \"https://login.microsoftonline.us\"",
            "authority = \"http://login.example\"",
            "plain http",
        ),
        (
            "uids = [\"1000-59999\"]",
            "uids = [\"0-59999\"]",
            "without 0",
        ),
        (
            "uids = [\"1000-59999\"]",
            "uids = [\"5-4\"]",
            "a range of uids",
        ),
        (
            "# proxy_user = \"www-data\"",
            "proxy_user = \"www-data\"",
            "either by listen",
        ),
        ("certificate_file = \"hub.crt\"\n", "", "either by listen"),
        ("127.0.0.1:8788", "10.0.0.1:8788", "loopback address only"),
        (
            "# listen = \"127.0.0.1:9464\"",
            "listen = \"0.0.0.0:9464\"",
            "a loopback or private address",
        ),
        (
            "# listen = \"127.0.0.1:9464\"",
            "listen = \"[2001:db8::1]:9464\"",
            "a loopback or private address",
        ),
        ("{user}@example.com", "{user}", "before a domain"),
        (
            "exchanges_at_once = 4",
            "exchanges_at_once = 0",
            "at least 1",
        ),
        (
            "format = \"text\"",
            "format = \"xml\"",
            "\"text\" or \"json\"",
        ),
        ("[rpc]", "[rpc", "expected"),
    ] {
        let error = refused(from, to);
        assert!(error.contains(what), "{to}: {error}");
    }
    for everybody in [
        "common",
        "organizations",
        "Consumers",
        "9188040d-6c67-4c5b-b112-36a304b66dad",
    ] {
        let error = refused(
            &format!("\nid = \"{GUID}\""),
            &format!("\nid = \"{everybody}\""),
        );
        assert!(error.contains("every tenant"), "{error}");
    }
    let tenants = format!("tenants = [\"{GUID}\"]");
    assert!(refused(&tenants, "").contains("listed tenants only"));
}

#[test]
fn health_is_told_at_a_loopback_or_private_address_and_nowhere_by_default() {
    let health = |text: &str| {
        let from = "# listen = \"127.0.0.1:9464\"";
        let text = usable().replace(from, text);
        parsed(&text).unwrap().health
    };
    assert_eq!(health(""), None);
    for address in ["127.0.0.1:9464", "[::1]:9464", "10.1.2.3:80", "[fd00::1]:9"] {
        let found = health(&format!("listen = \"{address}\"")).unwrap();
        assert_eq!(found.to_string(), address);
    }
}

#[test]
fn what_counts_after_a_restart_only_stays_and_is_named() {
    let old = parsed(&usable()).unwrap();
    let text = usable()
        .replace("https://hub.example.com", "https://other.example.com")
        .replace("hub.db", "other.db")
        .replace("hub.sock", "other.sock")
        .replace("0.0.0.0:443", "0.0.0.0:444")
        .replace("hub.crt", "other.crt")
        .replace(
            "# listen = \"127.0.0.1:9464\"",
            "listen = \"127.0.0.1:9464\"",
        )
        .replace("127.0.0.1:8788", "127.0.0.1:8789")
        .replace("format = \"text\"", "format = \"json\"")
        .replace("sessions = 50", "sessions = 51")
        .replace("\"1000-59999\"", "\"1000-2000\"");
    let (new, named) = parsed(&text).unwrap().beside(&old);
    assert_eq!(
        named,
        [
            "public_url",
            "[store] path or url",
            "[socket] path",
            "[rpc] listen",
            "[health] listen",
            "[log] format",
            "[web] listen",
        ]
    );
    assert_eq!(new.public_url, old.public_url);
    assert_eq!(new.database, old.database);
    assert_eq!(new.socket.path, old.socket.path);
    assert_eq!((new.rpc, new.health), (old.rpc, None));
    assert!(!new.log_is_json);
    assert_eq!(
        (new.limits.sessions, new.socket.uids),
        (51, vec![(1_000, 2_000)])
    );
    let Web::Https {
        listen,
        certificate,
        ..
    } = new.web
    else {
        panic!("{:?}", new.web);
    };
    assert_eq!(listen.to_string(), "0.0.0.0:443");
    assert_eq!(certificate, Path::new("/etc/entrar/other.crt"));

    let other = "11111111-2222-4333-8444-555555555556";
    let text = usable().replacen(
        &format!("client_id = \"{GUID}\""),
        &format!("client_id = \"{other}\""),
        1,
    );
    let (new, named) = parsed(&text).unwrap().beside(&old);
    assert_eq!(named, ["[tenant] client_id"]);
    assert_eq!(new.tenant.client_id, old.tenant.client_id);
    let (_, named) = parsed(&usable()).unwrap().beside(&old);
    assert!(named.is_empty(), "{named:?}");
}

#[test]
fn nothing_is_read_from_the_environment_of_the_process() {
    let text = usable().replace("# proxy = ", "proxy = ");
    let env = parsed(&text).unwrap().tenant.env();
    assert_eq!(
        env.var("HTTPS_PROXY").unwrap(),
        "http://proxy.example.com:8080"
    );
    assert_eq!(env.var("PATH"), None);
    assert_eq!(env.var("SSL_CERT_FILE"), None);
}

#[test]
fn a_server_is_named_by_an_address_without_a_secret() {
    let path = "path = \"/var/lib/entrar-hub/hub.db\"";
    let url = |url: &str| usable().replace(path, &format!("url = \"{url}\""));
    for (address, shown) in [
        (
            "postgresql://hub@db.example.com/entrar",
            "the database entrar at db.example.com",
        ),
        (
            "postgresql://hub@a.example,b.example/entrar?target_session_attrs=read-write",
            "the database entrar at a.example, b.example",
        ),
        (
            "postgresql://hub@%2Frun%2Fpostgresql/entrar",
            "the database entrar at /run/postgresql",
        ),
    ] {
        let read = parsed(&url(address)).unwrap();
        assert_eq!(read.database.to_string(), shown);
    }
    for (address, what) in [
        (
            "postgresql://hub:canary@db.example.com/entrar",
            "a password has no place here",
        ),
        (
            "postgresql://hub@db.example.com/entrar?sslmode=disable",
            "by TLS only",
        ),
        (
            "postgresql://hub@%2Frun%2Fpostgresql/entrar?hostaddr=10.0.0.1",
            "past the Unix socket",
        ),
        ("postgresql://db.example.com/entrar", "names no user"),
        ("postgresql://hub@db.example.com", "no database"),
        ("postgresql:///entrar?user=hub", "names no host"),
        (
            "mysql://hub@db.example.com/entrar",
            "no address of a database",
        ),
        ("postgresql://hub@%2Frun,db.example.com/entrar", "choose"),
    ] {
        let error = parsed(&url(address)).unwrap_err().to_string();
        assert!(error.contains(what), "{address}: {error}");
        assert!(!error.contains("canary"), "{error}");
    }
}
