//! How browsers and processes reach the hub: by https, through a reverse proxy, by a port that the service manager holds.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use entra_emulator::User;
use serde_json::json;

use crate::browser::client;
use crate::machine::{Local, Machine, post_as};

/// Long enough that no test on a busy machine meets it by accident.
const LONG: Duration = Duration::from_secs(120);

/// A process that ends with the test, however that ends.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_served_by_https_with_the_certificate_of_the_settings() {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let mut machine = Machine::without_hub(vec![User::default()], Vec::new(), |settings| {
        let settings = settings.replace("public_url = \"http:", "public_url = \"https:");
        settings.replace(
            "[rpc]",
            "certificate_file = \"tls.crt\"\nkey_file = \"tls.key\"\n[rpc]",
        )
    });
    let at = |name: &str| machine.directory.path().join(name);
    std::fs::write(at("tls.crt"), &certificate).unwrap();
    std::fs::write(at("tls.key"), key).unwrap();
    let (good, said) = machine.command(&["check"]);
    assert!(
        !good && said.contains("can be read or written by others"),
        "{said}"
    );
    let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(at("tls.key"), own).unwrap();
    machine.start().await;
    let http = client(Some(&certificate));
    let page = machine.page.as_str().replace("http:", "https:");
    let reply = http.get(&page).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert!(
        reply.headers()["set-cookie"]
            .to_str()
            .unwrap()
            .starts_with("__Host-")
    );
    assert!(
        http.get(machine.page.clone()).send().await.is_err(),
        "no plain http"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_reverse_proxy_only_its_user_is_served() {
    let (proxy, other) = (Local::new("proxy"), Local::new("other"));
    let machine = Machine::new(vec![User::default()], |settings| {
        let listen = settings
            .lines()
            .find(|line| line.starts_with("listen = "))
            .unwrap()
            .to_owned();
        let by_proxy = format!("socket = \"run/web.sock\"\nproxy_user = \"{}\"", proxy.name);
        settings.replacen(&listen, &by_proxy, 1)
    })
    .await;
    let socket = machine.directory.path().join("run/web.sock");
    let get = |uid: u32, host: &str| {
        let output = Command::new("setpriv")
            .args([
                &format!("--reuid={uid}"),
                "--regid=65534",
                "--clear-groups",
                "curl",
                "--silent",
                "--unix-socket",
            ])
            .arg(&socket)
            .args([
                "--header",
                &format!("host: {host}"),
                "--write-out",
                "%{http_code}",
                "--output",
                "/dev/null",
            ])
            .arg("http://localhost/")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let host = machine.page.authority().to_owned();
    assert_eq!(get(proxy.uid, &host), "200");
    assert_eq!(get(other.uid, &host), "403");
    assert_eq!(get(0, &host), "403");
    assert_eq!(get(proxy.uid, "evil.example"), "421");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_the_service_manager_holds_stays_the_hubs() {
    let ada = Local::new("ada");
    let machine =
        Machine::without_hub(vec![User::new("Ada", &ada.upn())], Vec::new(), |settings| {
            settings
        });
    let address = machine.rpc.strip_prefix("http://").unwrap().to_owned();
    let hub = Command::new("systemd-socket-activate")
        .args([
            "--listen",
            &address,
            env!("CARGO_BIN_EXE_entrar-hub"),
            "--config",
        ])
        .arg(machine.settings())
        .arg("serve")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _hub = Stopped(hub);
    let http = client(None);
    // The first who comes starts it.
    let begun = Instant::now();
    let status = loop {
        assert!(begun.elapsed() < LONG, "nobody answers");
        let body =
            json!({"method": "delegated_azure_token", "params": ["https://storage.azure.com"]});
        let asked = http
            .post(format!("{}/delegated_azure_token", machine.rpc))
            .body(body.to_string());
        match asked.send().await {
            Ok(reply) => break reply.status(),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!(status, 401);
    let (_, me) = post_as(ada.uid, &machine.socket(), "/hub/me", &json!({}));
    assert_eq!(me["result"]["user"], ada.name, "{me}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_hub_and_what_is_no_socket_are_told() {
    let mut machine = Machine::new(vec![User::default()], |settings| settings).await;
    let (good, said) = machine.command(&["serve"]);
    assert!(
        !good && said.contains("another hub listens there"),
        "{said}"
    );
    machine.stop().await;
    std::fs::write(machine.socket(), "x").unwrap();
    let (good, said) = machine.command(&["serve"]);
    assert!(!good && said.contains("is not a socket"), "{said}");
    let wide = std::os::unix::fs::PermissionsExt::from_mode(0o664);
    std::fs::set_permissions(machine.settings(), wide).unwrap();
    let (good, said) = machine.command(&["check"]);
    assert!(!good && said.contains("others can write it"), "{said}");
}
