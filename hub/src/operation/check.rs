//! Every setting is tried: a line each, with what to do about it.

use std::fmt;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use entrar_core::http::{Http, Settings};
use entrar_core::time::UnixTime;

use crate::configuration::{Configuration, Web};
use crate::keys::Keys;
use crate::local_user::{Rules, check_namespace};
use crate::serve;
use crate::store::{Database, Store};
use crate::tenant::Tenant;

/// By how many seconds the clocks of this machine and of Entra ID may differ.
const LEEWAY: f64 = 60.0;

/// What came of trying one setting.
#[derive(Debug)]
pub struct Line {
    what: &'static str,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Good(String),
    /// It works, and may not be meant.
    Warning(String),
    Bad {
        why: String,
        remedy: String,
    },
}

impl Line {
    /// Whether the hub can be served with it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !matches!(self.outcome, Outcome::Bad { .. })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what;
        match &self.outcome {
            Outcome::Good(text) => write!(f, "ok       {what:<12} {text}"),
            Outcome::Warning(text) => write!(f, "note     {what:<12} {text}"),
            Outcome::Bad { why, remedy } => {
                write!(f, "PROBLEM  {what:<12} {why}\n{:22}{remedy}", "")
            }
        }
    }
}

fn good(what: &'static str, text: impl Into<String>) -> Line {
    let outcome = Outcome::Good(text.into());
    Line { what, outcome }
}

fn warning(what: &'static str, text: impl Into<String>) -> Line {
    let outcome = Outcome::Warning(text.into());
    Line { what, outcome }
}

fn bad(what: &'static str, why: impl fmt::Display, remedy: &str) -> Line {
    let outcome = Outcome::Bad {
        why: why.to_string(),
        remedy: remedy.to_owned(),
    };
    Line { what, outcome }
}

/// Tries every setting.
pub async fn check(configuration: &Configuration) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.push(database(configuration).await);
    tenant(configuration, &mut lines).await;
    lines.push(page(configuration));
    socket(configuration, &mut lines);
    people(configuration, &mut lines);
    lines.extend(configuration.health.map(health));
    lines
}

async fn database(configuration: &Configuration) -> Line {
    let keys = match Keys::read(configuration.key_file.path()) {
        Ok(keys) => keys,
        Err(error) => {
            return bad(
                "keys",
                error,
                "Run this as the user that the hub runs as. `entrar-hub init` writes a first key file; a lost one ends every sign-in.",
            );
        }
    };
    match Store::open(&configuration.database, keys).await {
        Ok(store) => {
            store.close().await;
            good(
                "database",
                format!("{}, and the keys open it", configuration.database),
            )
        }
        Err(error) => bad(
            "database",
            error,
            match configuration.database {
                Database::File(_) => {
                    "Run this as the user that the hub runs as, who alone may use the file."
                }
                Database::Server(_) => {
                    "[store] names the server, the user, the password's file and who vouches for the certificate."
                }
            },
        ),
    }
}

async fn tenant(configuration: &Configuration, lines: &mut Vec<Line>) {
    let settings = &configuration.tenant;
    let redirect = configuration.public_url.join("callback");
    let redirect = redirect.map_or_else(|_| String::new(), String::from);
    let tenant = Tenant::new(settings.clone(), redirect.clone());
    if let Err(error) = tenant.credential(settings) {
        lines.push(bad(
            "credential",
            error.message(),
            "The file is named in [tenant].",
        ));
        return;
    }
    let app = match tenant.app().await {
        Ok(app) => app,
        Err(error) => {
            let remedy = error.details().remedy.clone();
            let remedy = remedy.unwrap_or_else(|| {
                "Check [tenant], and whether this machine reaches Entra ID (proxy, ca_bundle)."
                    .to_owned()
            });
            lines.push(bad("tenant", error.message(), &remedy));
            return;
        }
    };
    lines.push(good(
        "tenant",
        format!("{} at {}", settings.id, settings.authority),
    ));
    lines.push(match app.prove().await {
        Ok(()) => good("credential", format!("the app {} proves itself", settings.client_id)),
        Err(refusal) => {
            let error = refusal.error();
            let said = error.details().server_text.clone();
            bad(
                "credential",
                said.unwrap_or_else(|| error.message().to_owned()),
                "Check client_id and the app's credential in Entra ID (Certificates & secrets): it may have expired.",
            )
        }
    });
    lines.push(clock(configuration).await);
    lines.push(good(
        "redirect",
        format!("the app registration has to list {redirect} under \"Web\""),
    ));
}

async fn clock(configuration: &Configuration) -> Line {
    let settings = &configuration.tenant;
    let env = settings.env();
    let url = settings.authority.join("");
    let date = async {
        let http = Http::new(Settings::new(&env, &url)).ok()?;
        let reply = http.client().get(url.clone()).send().await.ok()?;
        UnixTime::of_http_date(reply.headers().get("date")?.to_str().ok()?)
    };
    let Some(theirs) = date.await else {
        return warning("clock", "the tenant does not tell the time");
    };
    let ahead = (UnixTime::now() - theirs).round();
    if ahead.abs() <= LEEWAY {
        return good("clock", "agrees with the tenant's");
    }
    let direction = if ahead > 0.0 { "ahead of" } else { "behind" };
    bad(
        "clock",
        format!(
            "this machine's clock is {:.0} seconds {direction} the tenant's",
            ahead.abs()
        ),
        "Set the clock (chrony, systemd-timesyncd): sign-ins are refused at five minutes.",
    )
}

fn page(configuration: &Configuration) -> Line {
    let url = &configuration.public_url;
    match &configuration.web {
        Web::Https {
            certificate, key, ..
        } => match serve::tls(certificate, key) {
            Ok(_) => good("page", format!("{url} by https")),
            Err(error) => bad(
                "page",
                error,
                "Check certificate_file and key_file in [web].",
            ),
        },
        Web::Loopback(_) => warning("page", format!("{url}, for this machine alone")),
        Web::Proxied { socket, user } => match serve::proxy_uid(user) {
            Ok(_) => good(
                "page",
                format!("{url} by {user} through {}", socket.display()),
            ),
            Err(error) => bad(
                "page",
                error,
                "Name the user that the reverse proxy runs as.",
            ),
        },
    }
}

fn socket(configuration: &Configuration, lines: &mut Vec<Line>) {
    let socket = &configuration.socket;
    let directory = socket.path.parent().unwrap_or(Path::new("/"));
    let shown = socket.path.display();
    lines.push(match std::fs::metadata(directory) {
        Err(error) => bad(
            "socket",
            format!("{}: {}", directory.display(), entrar_core::file::reason(&error)),
            "Make the directory, owned by the user that the hub runs as (the package's entrar-hub.socket makes it).",
        ),
        Ok(found) if found.mode() & 0o022 != 0 => bad(
            "socket",
            format!("{} can be written by others (mode {:o}), who could put a socket of theirs there", directory.display(), found.mode() & 0o7777),
            "chmod 755",
        ),
        Ok(_) if socket.uids.is_empty() => warning("socket", format!("{shown} serves nobody: uids is empty")),
        Ok(_) => good("socket", shown.to_string()),
    });
    if socket.uids.is_empty() {
        return;
    }
    if let Err(why) = check_namespace() {
        lines.push(bad("uids", why, "Or set uids = []."));
    }
    match Rules::new(socket.uids.clone()).overlaps() {
        Ok(overlaps) if overlaps.is_empty() => lines.push(good(
            "uids",
            "no subordinate uids among those that are served",
        )),
        Ok(overlaps) => lines.extend(overlaps.into_iter().map(|text| warning("uids", text))),
        Err(why) => lines.push(bad(
            "uids",
            why,
            "While it cannot be read, nobody is served.",
        )),
    }
}

fn health(address: SocketAddr) -> Line {
    match TcpListener::bind(address) {
        // The hub itself may serve there now.
        Err(error) if error.kind() != ErrorKind::AddrInUse => bad(
            "health",
            format!("{address}: {}", entrar_core::file::reason(&error)),
            "Set an address of this machine in [health], with a port that the hub's user may use.",
        ),
        _ => good("health", format!("http://{address}/health/ready")),
    }
}

fn people(configuration: &Configuration, lines: &mut Vec<Line>) {
    let people = &configuration.people;
    if people.rule.is_none() && people.table.is_empty() && !people.pairing {
        lines.push(warning(
            "people",
            "neither a rule nor a table nor pairing: nobody can sign in",
        ));
    }
    let rules = Rules::new(configuration.socket.uids.clone());
    let mut table: Vec<_> = people.table.values().collect();
    table.sort();
    for user in table {
        if let Err(why) = rules.user_named(user) {
            lines.push(bad(
                "people",
                format!("{user}, who stands in the table, {why}"),
                "Mend the table or the user.",
            ));
        }
    }
    if let (Some(_), Ok(tenant)) = (&people.rule, configuration.tenant.id.parse())
        && !people.tenants.contains(&tenant)
    {
        lines.push(warning(
            "people",
            "the rule holds for other tenants than the one that people sign in to",
        ));
    }
    if lines.iter().all(|line| line.what != "people") {
        lines.push(good("people", "the rule and the table make sense"));
    }
}
