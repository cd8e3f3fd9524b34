//! What those see who run the hub: health and numbers, settings that are read anew, a stop that drops nothing, and what systemd
//! is told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use entra_emulator::{Fault, FaultKind, User};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::browser::{Browser, client};
use crate::machine::{Local, Machine, STORAGE, free_port, post_as, subject};

const VAULT: &str = "https://vault.azure.net";
/// Long enough that no test on a busy machine meets it by accident.
const LONG: Duration = Duration::from_secs(120);

/// Settings with an address for health; the address.
struct Health(String);

impl Health {
    fn new() -> Self {
        Self(format!("127.0.0.1:{}", free_port()))
    }

    fn settings(&self, settings: String) -> String {
        settings + &format!("[health]\nlisten = \"{}\"\n", self.0)
    }

    /// The answer's status and text.
    async fn get(&self, path: &str) -> (u16, String) {
        self.get_if_served(path).await.unwrap()
    }

    /// The same; `None` if nobody listens any more.
    async fn get_if_served(&self, path: &str) -> Option<(u16, String)> {
        let url = format!("http://{}{path}", self.0);
        let reply = client(None).get(url).send().await.ok()?;
        Some((reply.status().as_u16(), reply.text().await.ok()?))
    }

    /// The numbers that begin so, without what is before their names.
    async fn numbers(&self, names: &[&str]) -> Vec<String> {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200);
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("entrar_hub_"));
        lines
            .filter(|line| names.iter().any(|name| line.starts_with(name)))
            .map(str::to_owned)
            .collect()
    }
}

/// Waits until something holds.
async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < LONG, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The command itself, and what it tells the service manager, whom the test plays.
struct Hub {
    child: Child,
    manager: UnixDatagram,
    log: std::path::PathBuf,
}

impl Hub {
    /// One that serves.
    fn start(machine: &Machine) -> Self {
        Self::with(machine, &[])
    }

    fn with(machine: &Machine, variables: &[(&str, &str)]) -> Self {
        let socket = machine.directory.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(LONG)).unwrap();
        let log = machine.directory.path().join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_entrar-hub"))
            .arg("--config")
            .arg(machine.settings())
            .arg("serve")
            .env_clear()
            .env("NOTIFY_SOCKET", &socket)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let hub = Self {
            child,
            manager,
            log,
        };
        let ready = format!("READY=1\nSTATUS=serving {}\n", hub.page(machine));
        assert_eq!(hub.told(), ready);
        hub
    }

    fn page(&self, machine: &Machine) -> String {
        let settings = fs::read_to_string(machine.settings()).unwrap();
        let line = settings
            .lines()
            .find(|line| line.starts_with("public_url"))
            .unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    }

    /// What the service manager is told next.
    fn told(&self) -> String {
        let mut bytes = [0; 4_096];
        let length = self
            .manager
            .recv(&mut bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", self.log()));
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Makes it read its settings anew; what the service manager is told then.
    fn reload(&self) -> String {
        self.signal(Signal::SIGHUP);
        let told = self.told();
        let microseconds = told
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .and_then(|told| told.strip_suffix('\n'))
            .unwrap_or_else(|| panic!("{told}"));
        assert!(microseconds.parse::<u64>().unwrap() > 0);
        self.told()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    async fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < LONG, "the hub does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn change(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    fs::write(path, text.replace(from, to)).unwrap();
}

fn error_of(reply: &Value) -> &str {
    reply["oauth2_error"]["error"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_say_what_was_asked_and_how_it_ended_and_never_by_whom() {
    let (ada, bob) = (Local::new("ada"), Local::new("bob"));
    let health = Health::new();
    let people = vec![User::new("Ada", &ada.upn()), User::new("Bob", &bob.upn())];
    let machine = Machine::new(people, |settings| health.settings(settings)).await;
    let before = health.numbers(&["build_info", "people", "sessions_open", "exchanges"]);
    assert_eq!(
        before.await,
        [
            "build_info{version=\"0.1.0\"} 1",
            "exchanges_under_way 0",
            "exchanges_waiting 0",
            "people_signed_in 0",
            "sessions_open 0",
        ]
    );
    machine.signed_in(&ada).await;
    // Who does not mean it is not signed in.
    let mut browser = Browser::new(&machine.page);
    let question = browser.sign_in(&bob.upn()).await;
    browser
        .press(&question, "/confirm", &[("answer", "no")])
        .await;
    for _ in 0..2 {
        assert_eq!(subject(&machine.token(&ada, STORAGE)), ada.upn());
    }
    let unknown = machine.token(&ada, "https://no-such.example");
    assert_eq!(error_of(&unknown), "invalid_resource", "{unknown}");
    assert_eq!(error_of(&machine.token(&bob, VAULT)), "login_required");
    machine.ask(&ada, "open_session", &json!({}));

    let mut numbers = health
        .numbers(&[
            "token_requests_total",
            "exchanges_total",
            "exchange_seconds_count",
            "sign_ins_total",
            "people_signed_in",
            "sessions_open",
            "database_up",
            "reload_failed",
        ])
        .await;
    numbers.sort();
    assert_eq!(
        numbers,
        [
            "database_up 1",
            "exchange_seconds_count{resource=\"other\"} 1",
            "exchange_seconds_count{resource=\"storage\"} 2",
            "exchanges_total{result=\"bad_resource\",resource=\"other\"} 1",
            "exchanges_total{result=\"ok\",resource=\"storage\"} 2",
            "people_signed_in 1",
            "reload_failed 0",
            "sessions_open 1",
            "sign_ins_total{result=\"declined\"} 1",
            "sign_ins_total{result=\"ok\"} 1",
            "token_requests_total{result=\"bad_resource\",resource=\"other\"} 1",
            "token_requests_total{result=\"ok\",resource=\"storage\"} 2",
            "token_requests_total{result=\"sign_in_required\",resource=\"key_vault\"} 1",
        ]
    );
    let key = fs::read_to_string(machine.directory.path().join("hub.key")).unwrap();
    let key = key.lines().find(|line| !line.starts_with('#')).unwrap();
    let (id, secret) = key.split_once(' ').unwrap();
    let in_use = health.numbers(&["key_info"]).await;
    assert_eq!(in_use, [format!("key_info{{key=\"{id}\"}} 1")]);
    let (_, text) = health.get("/metrics").await;
    for hidden in [
        &ada.name,
        &bob.name,
        "example.com",
        "no-such",
        "canary",
        secret,
        machine.tenant.id(),
    ] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    // Nothing of it is on the page.
    let page = Browser::new(&machine.page)
        .open(&machine.page.join("/metrics").unwrap())
        .await;
    assert_eq!(page.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_says_since_when_the_database_is_away() {
    let health = Health::new();
    let machine = Machine::new(vec![User::default()], |settings| health.settings(settings)).await;
    let is = |status, text: &str| (status, text.to_owned());
    assert_eq!(health.get("/health/live").await, is(200, "alive\n"));
    assert_eq!(health.get("/health/ready").await, is(200, "ready\n"));
    let held = machine.database.hold();
    // An answer of just before may still count.
    until("degraded", async || {
        health.get("/health/ready").await.0 == 503
    })
    .await;
    let away = health.get("/health/ready").await;
    let since = away
        .1
        .strip_prefix("degraded: the database is away since 20")
        .unwrap_or_else(|| panic!("{away:?}"));
    let why = since.split_once("Z: ").unwrap().1;
    // The writer may have waited for the lock since before it was asked.
    let waited = "it has not written for 3 seconds\n";
    let gave_up = [
        "the database cannot be used now: another process is writing to it\n",
        "the database cannot be used now: canceling statement due to lock timeout\n",
    ];
    assert!(why == waited || gave_up.contains(&why), "{why}");
    let numbers = health
        .numbers(&[
            "database_up",
            "people_signed_in",
            "sessions_open",
            "key_info",
        ])
        .await;
    assert_eq!(numbers, ["database_up 0"], "what is not known is not told");
    assert_eq!(health.get("/health/ready").await, away);
    assert_eq!(health.get("/health/live").await, is(200, "alive\n"));
    drop(held);
    until("ready", async || {
        health.get("/health/ready").await == is(200, "ready\n")
    })
    .await;
    assert_eq!(health.numbers(&["database_up"]).await, ["database_up 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_end_as_they_began_over_a_reload_and_a_stop() {
    let ada = Local::new("ada");
    let health = Health::new();
    let faults = vec![Fault::new(FaultKind::Slow, Some(VAULT))];
    let people = vec![User::new("Ada", &ada.upn())];
    let machine = Machine::without_hub(people, faults, |settings| health.settings(settings));
    let mut hub = Hub::start(&machine);
    machine.signed_in(&ada).await;
    let (socket, uid) = (machine.socket(), ada.uid);
    let asking = std::thread::spawn(move || {
        let body = json!({"method": "delegated_azure_token", "params": [VAULT]});
        post_as(uid, &socket, "/delegated_azure_token", &body).1
    });
    until("an exchange", async || {
        health.numbers(&["exchanges_under_way"]).await == ["exchanges_under_way 1"]
    })
    .await;
    let ready = format!("READY=1\nSTATUS=serving {}\n", machine.page);
    assert_eq!(hub.reload(), ready);
    hub.signal(Signal::SIGTERM);
    assert_eq!(hub.told(), "STOPPING=1\n");
    // To the end, which on a slow machine may have come meanwhile.
    until("stopping", async || {
        match health.get_if_served("/health/ready").await {
            Some(answer) => answer == (503, "stopping\n".to_owned()),
            None => asking.is_finished(),
        }
    })
    .await;
    if let Some(alive) = health.get_if_served("/health/live").await {
        assert_eq!(alive, (200, "alive\n".to_owned()));
    }
    let address = machine.page.socket_addrs(|| None).unwrap()[0];
    until("nobody else is served", async || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    assert_eq!(subject(&asking.join().unwrap()), ada.upn());
    assert!(hub.ended().await.success());
    assert!(!machine.socket().exists());
    assert!(!hub.log().contains("canary"), "{}", hub.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_reads_settings_and_the_apps_secret_anew_and_drops_nothing() {
    let ada = Local::new("ada");
    let health = Health::new();
    let people = vec![User::new("Ada", &ada.upn())];
    let machine = Machine::without_hub(people, Vec::new(), |settings| {
        health.settings(settings)
            + "[limits]\nexchanges_per_minute = 100000\nsessions = 1\n[log]\nformat = \"text\"\n"
    });
    let hub = Hub::start(&machine);
    machine.signed_in(&ada).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = [STORAGE, VAULT]
        .map(|resource| {
            let (socket, uid, is_over) = (machine.socket(), ada.uid, Arc::clone(&is_over));
            std::thread::spawn(move || {
                let body = json!({"method": "delegated_azure_token", "params": [resource]});
                let mut replies = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    replies.push(post_as(uid, &socket, "/delegated_azure_token", &body).1);
                }
                replies
            })
        })
        .into();
    let ready = format!("READY=1\nSTATUS=serving {}\n", machine.page);
    for _ in 0..10 {
        assert_eq!(hub.reload(), ready);
    }
    is_over.store(true, Ordering::Relaxed);
    for asked in asking {
        let replies = asked.join().unwrap();
        assert!(!replies.is_empty());
        for reply in replies {
            assert_eq!(subject(&reply), ada.upn());
        }
    }

    // The app's secret: a wrong one, and the right one again, which counts at once.
    let secret = machine.directory.path().join("secret");
    fs::write(&secret, "canary-expired").unwrap();
    assert_eq!(hub.reload(), ready);
    let refused = machine.token(&ada, STORAGE);
    assert_eq!(error_of(&refused), "invalid_client", "{refused}");
    fs::write(&secret, "canary-secret").unwrap();
    assert_eq!(hub.reload(), ready);
    assert_eq!(subject(&machine.token(&ada, STORAGE)), ada.upn());

    // Settings that can change do, and those that cannot are named.
    machine.ask(&ada, "open_session", &json!({}));
    let (_, refused) = ada.post(&machine.socket(), "/hub/open_session", &json!({}));
    assert_eq!(refused["failure"]["kind"], "throttled", "{refused}");
    let settings = machine.settings();
    change(&settings, "sessions = 1", "sessions = 2");
    change(&settings, "name = \"Example\"", "name = \"Elsewhere\"");
    change(&settings, "format = \"text\"", "format = \"json\"");
    change(&settings, "run/hub.sock", "run/other.sock");
    assert_eq!(hub.reload(), ready);
    machine.ask(&ada, "open_session", &json!({}));
    let page = Browser::new(&machine.page).open(&machine.page).await;
    assert!(page.text.contains("Elsewhere"), "{}", page.text);
    for setting in ["[log] format", "[socket] path"] {
        let line = format!("restart the hub for this setting to count setting=\"{setting}\"");
        assert!(hub.log().contains(&line), "{}", hub.log());
    }
    change(&settings, "uids = [\"1000-59999\"]", "uids = []");
    assert_eq!(hub.reload(), ready);
    assert_eq!(error_of(&machine.token(&ada, STORAGE)), "access_denied");

    // What is broken changes nothing, and is told with its place.
    change(&settings, "uids = []", "uids = [\"1000-59999\"]");
    change(&settings, "sessions = 2", "sessions = 0");
    let line = fs::read_to_string(&settings)
        .unwrap()
        .lines()
        .position(|line| line == "sessions = 0")
        .unwrap()
        + 1;
    let why = format!("{}:{line}:12: this is at least 1", settings.display());
    let status = format!(
        "serving {}; the last reload came to nothing: {why}",
        machine.page
    );
    assert_eq!(hub.reload(), format!("READY=1\nSTATUS={status}\n"));
    assert!(hub.log().contains(&why), "{}", hub.log());
    assert_eq!(error_of(&machine.token(&ada, STORAGE)), "access_denied");
    assert_eq!(
        health.numbers(&["reload_failed"]).await,
        ["reload_failed 1"]
    );
    change(&settings, "sessions = 0", "sessions = 2");
    fs::remove_file(&secret).unwrap();
    let told = hub.reload();
    assert!(told.contains("cannot be read"), "{told}");
    assert_eq!(error_of(&machine.token(&ada, STORAGE)), "access_denied");
    fs::write(&secret, "canary-secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(hub.reload(), ready);
    assert_eq!(subject(&machine.token(&ada, STORAGE)), ada.upn());
    assert_eq!(
        health.numbers(&["reload_failed"]).await,
        ["reload_failed 0"]
    );
    assert!(!hub.log().contains("canary"), "{}", hub.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_served_to_the_next_connection() {
    let machine = Machine::without_hub(vec![User::default()], Vec::new(), |settings| {
        let settings = settings.replace("public_url = \"http:", "public_url = \"https:");
        settings.replace(
            "[rpc]",
            "certificate_file = \"tls.crt\"\nkey_file = \"tls.key\"\n[rpc]",
        )
    });
    let at = |name: &str| machine.directory.path().join(name);
    let renew = || {
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(at("tls.crt"), own.cert.pem()).unwrap();
        fs::write(at("tls.key"), own.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(at("tls.key"), fs::Permissions::from_mode(0o600)).unwrap();
        own.cert.pem()
    };
    let page = machine.page.as_str().replace("http:", "https:");
    let before = renew();
    let hub = Hub::start(&machine);
    let old = client(Some(&before));
    let is_served = async |client: &reqwest::Client| {
        let reply = client.get(&page).send().await;
        reply.is_ok_and(|reply| reply.status() == 200)
    };
    assert!(is_served(&old).await);
    let after = renew();
    assert!(!is_served(&client(Some(&after))).await, "not yet");
    let ready = format!("READY=1\nSTATUS=serving {page}\n");
    assert_eq!(hub.reload(), ready);
    assert!(is_served(&old).await, "a connection goes on as it began");
    assert!(is_served(&client(Some(&after))).await);
    assert!(!is_served(&client(Some(&before))).await);

    // A key of another certificate changes nothing.
    fs::write(at("tls.crt"), before).unwrap();
    let told = hub.reload();
    assert!(told.contains("and its key cannot be used"), "{told}");
    assert!(is_served(&client(Some(&after))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told_that_the_hub_is_alive_if_it_asks() {
    let machine = Machine::without_hub(vec![User::default()], Vec::new(), |settings| settings);
    let hub = Hub::with(&machine, &[("WATCHDOG_USEC", "300000")]);
    for _ in 0..3 {
        assert_eq!(hub.told(), "WATCHDOG=1\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tries_the_address_for_health() {
    let health = Health::new();
    let machine = Machine::without_hub(vec![User::default()], Vec::new(), |settings| {
        health.settings(settings)
    });
    let (_, said) = machine.command(&["check"]);
    let good = format!("ok       health       http://{}/health/ready", health.0);
    assert!(said.contains(&good), "{said}");
    change(&machine.settings(), &health.0, "10.255.255.254:9464");
    let (is_good, said) = machine.command(&["check"]);
    assert!(
        !is_good && said.contains("PROBLEM  health       10.255.255.254:9464: "),
        "{said}"
    );
}
