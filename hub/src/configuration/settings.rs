//! The words of `hub.toml`, and what they have to be. What is wrong is told with line and column.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use entrar_broker::accounts::AccountId;
use entrar_core::authority::Authority;
use entrar_core::guid::Guid;
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::files::Near;
use super::{Configuration, Credential, Error, Limits, People, Rule, Socket, Tenant, Web};
use crate::store::{Database, Server};

type Text = Spanned<String>;

/// Where the socket is unless it is said.
const SOCKET: &str = "/run/entrar/hub.sock";
/// Where rows of the audit are written while a server is away, unless it is said.
const JOURNAL: &str = "/var/lib/entrar-hub/journal";
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Fault {
    span: Option<Range<usize>>,
    what: String,
}

impl Fault {
    fn new<T>(at: &Spanned<T>, what: impl Into<String>) -> Self {
        Self {
            span: Some(at.span()),
            what: what.into(),
        }
    }

    pub(super) fn at(self, path: &Path, text: &str) -> Error {
        let mut place = path.display().to_string();
        if let Some(span) = self.span {
            let before = text.get(..span.start).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            let column = before
                .rsplit('\n')
                .next()
                .map_or(0, |line| line.chars().count())
                + 1;
            place.push_str(&format!(":{line}:{column}"));
        }
        Error::Wrong {
            place,
            what: self.what,
        }
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        Self {
            span: error.span(),
            what: error.message().trim().replace('\n', "; "),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    public_url: Text,
    #[serde(default)]
    name: String,
    contact: Option<String>,
    tenant: TenantSettings,
    store: Spanned<Store>,
    #[serde(default)]
    socket: SocketSettings,
    web: Spanned<WebSettings>,
    rpc: Option<Rpc>,
    #[serde(default)]
    people: PeopleSettings,
    #[serde(default)]
    limits: LimitSettings,
    #[serde(default)]
    audit: Audit,
    health: Option<Health>,
    #[serde(default)]
    log: Log,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantSettings {
    id: Text,
    client_id: Text,
    authority: Option<Text>,
    secret_file: Option<Text>,
    certificate_file: Option<Text>,
    federated_token_file: Option<Text>,
    managed_identity: Option<Text>,
    proxy: Option<Text>,
    ca_bundle: Option<Text>,
    refresh_tokens_work_once: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Store {
    path: Option<String>,
    url: Option<Text>,
    password_file: Option<Text>,
    ca_file: Option<Text>,
    connections: Option<Spanned<u32>>,
    grace_seconds: Option<Spanned<u32>>,
    journal: Option<Text>,
    key_file: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SocketSettings {
    path: Option<String>,
    uids: Option<Vec<Text>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebSettings {
    listen: Option<Spanned<SocketAddr>>,
    certificate_file: Option<Text>,
    key_file: Option<Text>,
    socket: Option<Text>,
    proxy_user: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rpc {
    listen: Spanned<SocketAddr>,
    session_hours: Option<Spanned<u64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeopleSettings {
    rule: Option<Text>,
    #[serde(default)]
    tenants: Vec<Text>,
    #[serde(default)]
    pairing: bool,
    #[serde(default)]
    table: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    user: Text,
    tenant: Text,
    object_id: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitSettings {
    exchanges_per_minute: Option<Spanned<u32>>,
    exchanges_at_once: Option<Spanned<u32>>,
    sessions: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Audit {
    keep_days: Option<Spanned<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Health {
    listen: Option<Spanned<SocketAddr>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    format: Option<Text>,
}

impl Settings {
    pub(super) fn judged(self, near: &Near<'_>) -> Result<Configuration, Fault> {
        let public_url = public_url(&self.public_url)?;
        let session = self.rpc.as_ref().and_then(|rpc| rpc.session_hours.as_ref());
        let audit = self.audit.keep_days.as_ref();
        Ok(Configuration {
            web: web(&self.web, &public_url, near)?,
            public_url,
            name: self.name,
            contact: self.contact,
            tenant: self.tenant.judged(near)?,
            database: database(&self.store, near)?,
            key_file: near.secret(&self.store.get_ref().key_file),
            socket: self.socket.judged(near)?,
            rpc: self.rpc.as_ref().map(rpc).transpose()?,
            people: self.people.judged()?,
            limits: Limits {
                exchanges: positive(self.limits.exchanges_per_minute.as_ref(), 120)?,
                in_flight: positive(self.limits.exchanges_at_once.as_ref(), 4)?,
                sessions: positive(self.limits.sessions.as_ref(), 50)?,
            },
            audit: duration(audit, 400, 36_500, DAY)?,
            session: duration(session, 12, 24 * 7, HOUR)?,
            health: health(self.health.as_ref())?,
            log_is_json: log_is_json(self.log.format.as_ref())?,
        })
    }
}

fn database(store: &Spanned<Store>, near: &Near<'_>) -> Result<Database, Fault> {
    let settings = store.get_ref();
    let Some(url) = &settings.url else {
        let of_a_server = [
            &settings.password_file,
            &settings.ca_file,
            &settings.journal,
        ];
        if let Some(extra) = of_a_server.into_iter().flatten().next() {
            return Err(Fault::new(
                extra,
                "this belongs to a server, and there is no url",
            ));
        }
        let numbers = [&settings.connections, &settings.grace_seconds];
        if let Some(extra) = numbers.into_iter().flatten().next() {
            return Err(Fault::new(
                extra,
                "this belongs to a server, and there is no url",
            ));
        }
        return match &settings.path {
            Some(path) => Ok(Database::File(near.path(path))),
            None => Err(Fault::new(
                store,
                "the database is missing: name a file (path) or a server (url)",
            )),
        };
    };
    if settings.path.is_some() {
        return Err(Fault::new(
            url,
            "the database is a file (path) or on a server (url): remove one",
        ));
    }
    let connections = positive(settings.connections.as_ref(), 16)?;
    let server = Server::new(
        url.get_ref(),
        settings
            .password_file
            .as_ref()
            .map(|name| near.secret(name.get_ref())),
        settings
            .ca_file
            .as_ref()
            .map(|name| near.path(name.get_ref())),
        connections as usize,
        (
            grace(settings.grace_seconds.as_ref())?,
            settings.journal.as_ref().map_or_else(
                || Path::new(JOURNAL).to_owned(),
                |name| near.path(name.get_ref()),
            ),
        ),
    );
    let server = server.map_err(|why| Fault::new(url, why))?;
    Ok(Database::Server(Box::new(server)))
}

/// For how long people go on while the database is away: a sign-out takes as long to hold everywhere.
fn grace(given: Option<&Spanned<u32>>) -> Result<Duration, Fault> {
    match given {
        None => Ok(Duration::from_secs(60)),
        Some(seconds) if *seconds.get_ref() > 3_600 => {
            Err(Fault::new(seconds, "this is a number from 0 to 3600"))
        }
        Some(seconds) => Ok(Duration::from_secs((*seconds.get_ref()).into())),
    }
}

/// A number of at least one.
fn positive(given: Option<&Spanned<u32>>, usual: u32) -> Result<u32, Fault> {
    match given {
        Some(number) if *number.get_ref() == 0 => Err(Fault::new(number, "this is at least 1")),
        Some(number) => Ok(*number.get_ref()),
        None => Ok(usual),
    }
}

/// So many units of time, between one and `most`.
fn duration(
    given: Option<&Spanned<u64>>,
    usual: u64,
    most: u64,
    seconds: u64,
) -> Result<Duration, Fault> {
    let number = given.map_or(usual, |number| *number.get_ref());
    match given {
        Some(given) if !(1..=most).contains(&number) => Err(Fault::new(
            given,
            format!("this is a number from 1 to {most}"),
        )),
        _ => Ok(Duration::from_secs(number * seconds)),
    }
}

fn log_is_json(format: Option<&Text>) -> Result<bool, Fault> {
    match format.map(|format| (format, format.get_ref().as_str())) {
        None | Some((_, "text")) => Ok(false),
        Some((_, "json")) => Ok(true),
        Some((format, _)) => Err(Fault::new(format, "this is \"text\" or \"json\"")),
    }
}

fn public_url(text: &Text) -> Result<Url, Fault> {
    let bad = |what: &str| Err(Fault::new(text, what));
    let Ok(url) = Url::parse(text.get_ref()) else {
        return bad("this is no address; write one such as https://hub.example.com");
    };
    let is_loopback = entrar_core::address::is_loopback(&url);
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback) {
        return bad("the page is served by https only: people sign in there");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return bad("the hub has a host's name to itself: no path has a place here");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return bad("a user name or password has no place here");
    }
    Ok(url)
}

fn guid(text: &Text) -> Result<Guid, Fault> {
    match text.get_ref().parse::<Guid>() {
        Ok(guid) if guid.is_nil() => Err(Fault::new(
            text,
            "this stands for no id yet: put the real one here",
        )),
        Ok(guid) => Ok(guid),
        Err(why) => Err(Fault::new(text, why.to_string())),
    }
}

/// The tenant of personal accounts.
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

impl TenantSettings {
    fn judged(self, near: &Near<'_>) -> Result<Tenant, Fault> {
        let id = self.id.get_ref().trim().to_ascii_lowercase();
        let everybody = ["common", "organizations", "consumers", CONSUMERS];
        if everybody.contains(&id.as_str()) {
            return Err(Fault::new(
                &self.id,
                "this would let in people of every tenant: name one by its id or domain",
            ));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        if id.is_empty() || !id.chars().all(is_name) {
            return Err(Fault::new(
                &self.id,
                "this is neither a tenant's id nor a domain",
            ));
        }
        if id.parse::<Guid>().is_ok() {
            guid(&self.id)?;
        }
        let authority = match &self.authority {
            None => Authority::default(),
            Some(text) => {
                Authority::given(text.get_ref()).map_err(|why| Fault::new(text, why.to_string()))?
            }
        };
        let ca_bundle = self.ca_bundle.as_ref();
        Ok(Tenant {
            authority,
            client_id: guid(&self.client_id)?,
            credential: self.credential(near)?,
            proxy: self.proxy.map(Spanned::into_inner),
            ca_bundle: ca_bundle.map(|name| near.path(name.get_ref())),
            refresh_tokens_work_once: self.refresh_tokens_work_once,
            id,
        })
    }

    fn credential(&self, near: &Near<'_>) -> Result<Credential, Fault> {
        let own = |name: &Text| near.secret(name.get_ref());
        let mut ways = Vec::new();
        if let Some(name) = &self.certificate_file {
            ways.push((name, Credential::Certificate(own(name))));
        }
        if let Some(name) = &self.federated_token_file {
            ways.push((name, Credential::FederatedToken(near.path(name.get_ref()))));
        }
        if let Some(name) = &self.managed_identity {
            ways.push((name, Credential::ManagedIdentity(guid(name)?)));
        }
        if let Some(name) = &self.secret_file {
            ways.push((name, Credential::Secret(own(name))));
        }
        match (ways.pop(), ways.pop()) {
            (Some((_, way)), None) => Ok(way),
            (Some((second, _)), Some(_)) => Err(Fault::new(
                second,
                "the app has one way to prove itself: remove this one or the other",
            )),
            (None, _) => Err(Fault::new(
                &self.client_id,
                "the app has to prove itself: add certificate_file, federated_token_file, managed_identity or secret_file",
            )),
        }
    }
}

impl SocketSettings {
    fn judged(self, near: &Near<'_>) -> Result<Socket, Fault> {
        let uids = match self.uids {
            None => Vec::new(),
            Some(ranges) => ranges.iter().map(uids).collect::<Result<_, _>>()?,
        };
        Ok(Socket {
            path: near.path(self.path.as_deref().unwrap_or(SOCKET)),
            uids,
        })
    }
}

fn uids(text: &Text) -> Result<(u32, u32), Fault> {
    let (first, last) = text
        .get_ref()
        .split_once('-')
        .unwrap_or((text.get_ref(), text.get_ref()));
    match (first.trim().parse(), last.trim().parse()) {
        (Ok(first), Ok(last)) if first <= last && first > 0 => Ok((first, last)),
        _ => Err(Fault::new(
            text,
            "this is a range of uids such as \"1000-59999\", without 0",
        )),
    }
}

fn web(web: &Spanned<WebSettings>, public_url: &Url, near: &Near<'_>) -> Result<Web, Fault> {
    let WebSettings {
        listen,
        certificate_file,
        key_file,
        socket,
        proxy_user,
    } = web.get_ref();
    match (listen, certificate_file, key_file, socket, proxy_user) {
        (Some(listen), Some(certificate), Some(key), None, None) => {
            if public_url.scheme() != "https" {
                return Err(Fault::new(certificate, "public_url says http"));
            }
            Ok(Web::Https {
                listen: *listen.get_ref(),
                certificate: near.path(certificate.get_ref()),
                key: near.secret(key.get_ref()),
            })
        }
        (Some(listen), None, None, None, None) => {
            if !listen.get_ref().ip().is_loopback() || public_url.scheme() != "http" {
                return Err(Fault::new(
                    listen,
                    "https needs certificate_file and key_file; plain http is for a loopback address, with such a public_url",
                ));
            }
            Ok(Web::Loopback(*listen.get_ref()))
        }
        (None, None, None, Some(socket), Some(user)) => Ok(Web::Proxied {
            socket: near.path(socket.get_ref()),
            user: user.get_ref().clone(),
        }),
        (None, .., Some(socket), None) => Err(Fault::new(
            socket,
            "behind a reverse proxy, proxy_user says whose connections are taken",
        )),
        _ => Err(Fault::new(
            web,
            "the page is served either by listen, certificate_file and key_file, or by socket and proxy_user",
        )),
    }
}

fn rpc(rpc: &Rpc) -> Result<SocketAddr, Fault> {
    let address = *rpc.listen.get_ref();
    if !address.ip().is_loopback() {
        return Err(Fault::new(
            &rpc.listen,
            "cookies go over a loopback address only",
        ));
    }
    Ok(address)
}

fn health(health: Option<&Health>) -> Result<Option<SocketAddr>, Fault> {
    let Some(listen) = health.and_then(|health| health.listen.as_ref()) else {
        return Ok(None);
    };
    let ip = listen.get_ref().ip();
    let is_private = match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    };
    if !ip.is_loopback() && !is_private {
        return Err(Fault::new(
            listen,
            "this is a loopback or private address of this machine: whoever reaches it reads the hub's numbers",
        ));
    }
    Ok(Some(*listen.get_ref()))
}

impl PeopleSettings {
    fn judged(self) -> Result<People, Fault> {
        let rule = match &self.rule {
            None => None,
            Some(text) => Some(Rule::parse(text.get_ref()).ok_or_else(|| {
                Fault::new(
                    text,
                    "this is {user} once, before a domain, such as \"{user}@example.com\"",
                )
            })?),
        };
        if let (Some(rule), true) = (&self.rule, self.tenants.is_empty()) {
            return Err(Fault::new(
                rule,
                "a rule holds for listed tenants only: add tenants = [\"…\"]",
            ));
        }
        let tenants = self.tenants.iter().map(guid).collect::<Result<_, _>>()?;
        let mut table = HashMap::new();
        for row in &self.table {
            let account = AccountId {
                tid: guid(&row.tenant)?,
                oid: guid(&row.object_id)?,
            };
            let user = row.user.get_ref().clone();
            if table.values().any(|other| *other == user) {
                return Err(Fault::new(
                    &row.user,
                    "this user stands in the table twice: one account is one local user",
                ));
            }
            if table.insert(account, user).is_some() {
                return Err(Fault::new(
                    &row.object_id,
                    "this account stands in the table twice",
                ));
            }
        }
        Ok(People {
            rule,
            tenants,
            table,
            pairing: self.pairing,
        })
    }
}
