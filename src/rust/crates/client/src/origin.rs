//! Where a session comes from. It is decided here and nowhere else: R, the git helper and the reports read it.
//!
//! In order: on Posit Connect there is none; `RS_SERVER_ADDRESS` is the session; RStudio's own function, in an R that has
//! one; the socket of the person's agent; the socket of this machine's hub; nothing. A step that is there and cannot be used ends the search with its error.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use entrar_core::address::Address;
use entrar_core::cookie::Cookie;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::http::Settings;
use entrar_core::hub_socket;
use entrar_core::loopback::listener_at;
use entrar_core::private_directory::is_own_uid;
use entrar_core::session_directory::{self, Mark, SessionDirectory, has_listener};
use entrar_core::system_user::is_of_system_or_own;
use entrar_core::variables::{ADDRESS, COOKIE, ORIGIN, RUNTIME_DIRECTORY};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::cookie_place::{CookiePlace, best};
use crate::posit::{self, CONNECT, WORKBENCH};
use crate::remedy::{Reader, usual};

/// Longer than a port of this machine takes to be connected to or not.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Who opens sessions, and so whom to ask for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Posit Workbench, which has signed the person in.
    Workbench,
    /// The person's own broker.
    Agent,
    /// A broker for many people.
    Hub,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Workbench, Self::Agent, Self::Hub];

    /// Its name, for example `"agent"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workbench => "workbench",
            Self::Agent => "agent",
            Self::Hub => "hub",
        }
    }

    /// The origin of a session with an address. Brokers say who they are; Workbench knows nothing of that variable.
    fn of_address(env: &Env) -> Self {
        match env.var(ORIGIN).as_deref() {
            Some("agent") => Self::Agent,
            Some("hub") => Self::Hub,
            _ => Self::Workbench,
        }
    }
}

/// How a process reaches its server, and proves that it may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// An address, to which the session's cookie is sent along. Where the cookie lies is looked up at each question.
    Address(Address),
    /// The socket of the person's own agent, or of this machine's hub. There is no cookie: the kernel says who asks, and by
    /// the file's owner who answers. On Windows it is a file that says at which port the agent is asked, and by which cookie.
    Socket(PathBuf),
}

/// A process tree that may ask a server for tokens.
#[derive(Clone, Debug)]
pub struct Session {
    origin: Origin,
    door: Door,
    /// What URLs begin with. Behind a socket the host means nothing.
    root: Address,
    /// The cookie that was read with a port's address, of which the two belong together.
    ports_cookie: Option<Cookie>,
}

impl Session {
    /// This process's session.
    ///
    /// # Errors
    /// [`Kind::NoSession`] if there is none, or a socket is refused, [`Kind::Unreachable`] if the address is no http(s) address,
    /// [`Kind::ServerTooOld`] if it is Workbench's, and Workbench is known to be.
    pub fn find(env: &Env) -> Result<Self, Error> {
        if let Step::Address(_, Origin::Workbench) = step(env) {
            posit::check_version(env)?;
        }
        Self::of_any_version(env)
    }

    /// The same whatever the server's version is.
    ///
    /// # Errors
    /// As [`Session::find`], but for the version.
    pub fn of_any_version(env: &Env) -> Result<Self, Error> {
        match step(env) {
            Step::Connect => Err(none_on_connect()),
            Step::Address(text, origin) => {
                let root = parsed(&text)?;
                let door = Door::Address(root.clone());
                Ok(Self {
                    origin,
                    door,
                    root,
                    ports_cookie: None,
                })
            }
            Step::Nothing => match Self::of_agent(env)? {
                Some(session) => Ok(session),
                None => Self::of_hub(env)?.ok_or_else(|| no_session(env)),
            },
        }
    }

    /// The session of the person's own agent by its socket, wherever this process gets its tokens from; `None` where there
    /// is no socket. Whether anybody listens is another question: [`Session::can_be_asked`].
    ///
    /// # Errors
    /// [`Kind::NoSession`] if the directory or the socket is not this user's alone.
    pub fn of_agent(env: &Env) -> Result<Option<Self>, Error> {
        let path = agents_socket(env)?;
        path.map(|path| Self::through(Origin::Agent, path))
            .transpose()
    }

    /// The session by the socket of this machine's hub, wherever this process gets its tokens from; `None` where there is
    /// no hub.
    ///
    /// # Errors
    /// [`Kind::NoSession`] if the socket is not the hub's beyond doubt, or is named and not there.
    pub fn of_hub(env: &Env) -> Result<Option<Self>, Error> {
        let path = hub_socket::find(env)?;
        path.map(|path| Self::through(Origin::Hub, path))
            .transpose()
    }

    #[cfg(not(windows))]
    fn through(origin: Origin, path: PathBuf) -> Result<Self, Error> {
        Ok(Self {
            origin,
            door: Door::Socket(path),
            root: parsed("http://localhost")?,
            ports_cookie: None,
        })
    }

    #[cfg(windows)]
    fn through(origin: Origin, path: PathBuf) -> Result<Self, Error> {
        let read = session_directory::Port::read(&path);
        let (address, cookie) = read
            .and_then(|port| Some((port.address, port.to_cookie(&path)?)))
            .ok_or_else(|| {
                let path = path.display();
                let message = format!("your agent ({path}) is not running any more");
                Error::new(Kind::NoSession, message)
            })?;
        Ok(Self {
            origin,
            door: Door::Socket(path),
            root: parsed(&format!("http://{address}"))?,
            ports_cookie: Some(cookie),
        })
    }

    /// Who has opened it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How its server is reached.
    #[must_use]
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// The server's name in a sentence. No password is in it.
    #[must_use]
    pub fn server(&self) -> String {
        match &self.door {
            Door::Address(address) => address.to_string(),
            Door::Socket(path) if self.origin == Origin::Hub => {
                format!("the hub ({})", path.display())
            }
            Door::Socket(path) => format!("your agent ({})", path.display()),
        }
    }

    /// The URL of one of the server's paths.
    #[must_use]
    pub fn url(&self, path: &str) -> Url {
        self.root.join(path)
    }

    /// The URL that the server's paths begin with.
    #[must_use]
    pub fn root(&self) -> Url {
        self.root.url().clone()
    }

    /// What an HTTP client needs to reach it.
    #[must_use]
    pub fn settings(&self, env: &Env) -> Settings {
        match &self.door {
            Door::Address(address) => Settings::new(env, address.url()),
            Door::Socket(_) if cfg!(windows) => Settings::new(env, self.root.url()),
            Door::Socket(path) => Settings::through_socket(path),
        }
    }

    /// Whether others on the network can read what is sent.
    #[must_use]
    pub fn is_in_clear(&self) -> bool {
        match &self.door {
            Door::Address(address) => address.is_in_clear(),
            Door::Socket(_) => false,
        }
    }

    /// The cookie to send, where one is: of the file's and the variable's the one that expires later; an expired
    /// one is never sent, one without a readable date only if there is no other. A cookie that
    /// the server has just `refused` comes last of all.
    ///
    /// # Errors
    /// [`Kind::BadCookie`] if there is none to send; the message says where it was looked for. [`Kind::NoSession`] if another
    /// user listens where the person's agent or the hub was.
    pub fn cookie(&self, env: &Env, refused: Option<&Cookie>) -> Result<Option<Cookie>, Error> {
        match &self.door {
            Door::Address(address) => {
                check_listener(self.origin, address)?;
                best(&CookiePlace::all(env), env.now(), refused)
                    .cloned()
                    .map(Some)
            }
            Door::Socket(_) => Ok(self.ports_cookie.clone()),
        }
    }

    /// Whether there is a cookie to ask with, or somebody who listens at the socket.
    #[must_use]
    pub fn can_be_asked(&self, env: &Env) -> bool {
        match &self.door {
            Door::Address(_) => self.cookie(env, None).is_ok(),
            Door::Socket(path) => has_listener(path),
        }
    }

    /// Whether nobody listens any more where the person's agent was. `false` where it is another's session, or another machine's.
    pub(crate) fn is_deserted(&self) -> bool {
        match (&self.door, self.origin) {
            (Door::Socket(path), Origin::Agent) => !has_listener(path),
            (Door::Address(address), Origin::Agent) => on_this_machine(address)
                .is_some_and(|place| TcpStream::connect_timeout(&place, AT_ONCE).is_err()),
            _ => false,
        }
    }

    /// A text that this session's processes know and no others, to make keys of under which something is kept for them:
    /// of the cookie itself, since the file or variable that it stands in may by now hold another person's, and of the one
    /// that is sent if the server refuses the first; or of the latest sign-in, if one was noted.
    ///
    /// # Errors
    /// As [`Session::cookie`].
    pub fn shared_secret(&self, env: &Env) -> Result<Option<SecretString>, Error> {
        match &self.door {
            Door::Address(_) => {
                let first = self.cookie(env, None)?;
                let second = self.cookie(env, first.as_ref())?;
                let text = |cookie: &Option<Cookie>| {
                    let value = cookie.as_ref().map(Cookie::value);
                    value.map_or_else(String::new, |value| value.expose_secret().to_owned())
                };
                // A cookie holds no end of a line, so that no two lists of lines are one text.
                Ok(Some([text(&first), text(&second)].join("\n").into()))
            }
            // What the hub's sessions have in common it tells when it is asked: the mark of `entrar_core::hub::Me`.
            Door::Socket(_) if self.origin == Origin::Hub => Ok(None),
            Door::Socket(_) => Ok(sign_in(env).map(|sign_in| sign_in.id)),
        }
    }
}

/// The latest sign-in to the person's agent.
fn sign_in(env: &Env) -> Option<session_directory::SignIn> {
    SessionDirectory::open(env).ok().flatten()?.sign_in()
}

/// The account that is signed in to the person's agent, in some form that tells it from others.
#[must_use]
pub fn account(env: &Env) -> Option<String> {
    sign_in(env)?.account
}

/// Once an agent or a hub has ended, any user of this machine can listen at its port, and would be sent the cookie.
fn check_listener(origin: Origin, address: &Address) -> Result<(), Error> {
    let Some(uid) = on_this_machine(address).and_then(listener_at) else {
        return Ok(());
    };
    let (is_theirs, whose, remedy) = match origin {
        // It may run as whatever user.
        Origin::Workbench => return Ok(()),
        Origin::Agent => (
            is_own_uid(uid),
            "your agent",
            "Call azure_sign_in() again, and azure_session_env() after it.",
        ),
        Origin::Hub => (
            is_of_system_or_own(uid),
            "the hub",
            "Tell the administrator of the hub, and start this session anew once it runs again.",
        ),
    };
    if is_theirs {
        return Ok(());
    }
    let message = format!(
        "{whose} is not running any more, and another user of this machine listens at {address}; no cookie was sent"
    );
    Err(Error::new(Kind::NoSession, message).remedied(Some(remedy)))
}

/// The address and port at which a broker of this machine listens.
fn on_this_machine(address: &Address) -> Option<SocketAddr> {
    let url = address.url();
    let ip = match url.host()? {
        Host::Ipv4(ip) => IpAddr::V4(ip),
        Host::Ipv6(ip) => IpAddr::V6(ip),
        Host::Domain(_) => return None,
    };
    let port = url.port_or_known_default()?;
    ip.is_loopback().then_some(SocketAddr::new(ip, port))
}

/// The socket of the person's agent, if there is one.
fn agents_socket(env: &Env) -> Result<Option<PathBuf>, Error> {
    match SessionDirectory::open(env)? {
        Some(directory) => directory.socket(),
        None => Ok(None),
    }
}

/// Who opens sessions here, also where this process has none: whose words a failure is explained in. `None` where nobody
/// is known to.
#[must_use]
pub fn here(env: &Env) -> Option<Origin> {
    match step(env) {
        Step::Address(_, origin) => Some(origin),
        Step::Connect => None,
        Step::Nothing => match (agents_socket(env), hub_socket::find(env)) {
            (Ok(Some(_)) | Err(_), _) => Some(Origin::Agent),
            (Ok(None), Ok(Some(_)) | Err(_)) => Some(Origin::Hub),
            (Ok(None), Ok(None)) => posit::is(env, WORKBENCH).then_some(Origin::Workbench),
        },
    }
}

/// Who signs a person in here: their own agent, or this machine's hub. `wants_own` tells that they have said what only an
/// agent is told, such as an app. In an R that `has_rstudios_function` that may be where tokens come from.
///
/// # Errors
/// Who signs people in instead, and what to do: [`Kind::NoSession`] on Connect, else [`Kind::AccessDenied`];
/// [`Kind::NoSession`] if there is a hub's socket that is refused.
pub fn who_signs_in(
    env: &Env,
    wants_own: bool,
    has_rstudios_function: bool,
) -> Result<Origin, Error> {
    let denied =
        |what: &str, remedy: &str| Err(Error::new(Kind::AccessDenied, what).remedied(Some(remedy)));
    match step(env) {
        Step::Connect => Err(Error::new(
            Kind::NoSession,
            "on Posit Connect nobody signs in: what runs here serves its visitors",
        )
        .remedied(Some(ON_CONNECT))),
        Step::Address(_, Origin::Workbench) => denied(
            "Posit Workbench signs people in here (RS_SERVER_ADDRESS is set)",
            usual(Kind::SignInRequired, Some(Origin::Workbench), Reader::R),
        ),
        Step::Address(_, Origin::Hub) if wants_own => denied(
            "a hub signs people in here (RS_SERVER_ADDRESS and ENTRAR_ORIGIN say so)",
            "Call azure_sign_in() without arguments, or sign in on the page of the hub.",
        ),
        Step::Address(_, Origin::Hub) => match Session::of_hub(env)? {
            Some(_) => Ok(Origin::Hub),
            None => denied(
                "a hub signs people in here (RS_SERVER_ADDRESS and ENTRAR_ORIGIN say so), and its socket is not on this machine",
                usual(Kind::SignInRequired, Some(Origin::Hub), Reader::R),
            ),
        },
        Step::Nothing if has_rstudios_function => denied(
            "Posit Workbench signs people in here (RStudio has a function for it)",
            usual(Kind::SignInRequired, Some(Origin::Workbench), Reader::R),
        ),
        Step::Address(_, Origin::Agent) => Ok(Origin::Agent),
        Step::Nothing if wants_own => Ok(Origin::Agent),
        // An agent that runs is asked before a hub, so that nothing would come of a sign-in at the hub.
        Step::Nothing => match Session::of_agent(env) {
            Err(_) => Ok(Origin::Agent),
            Ok(Some(agent)) if agent.can_be_asked(env) => Ok(Origin::Agent),
            Ok(_) => Ok(Session::of_hub(env)?.map_or(Origin::Agent, |hub| hub.origin())),
        },
    }
}

/// The session by the socket of this machine's hub where that may be asked beside tokens: where no other server has opened
/// the session of this process.
///
/// # Errors
/// As [`Session::of_hub`].
pub fn hub_here(env: &Env) -> Result<Option<Session>, Error> {
    match step(env) {
        Step::Connect | Step::Address(_, Origin::Workbench | Origin::Agent) => Ok(None),
        Step::Address(_, Origin::Hub) | Step::Nothing => Session::of_hub(env),
    }
}

/// Whether tokens come from RStudio's own function, in an R that has it: an RStudio session without the job launcher has
/// no address. The function is Workbench's, and only R can call it.
#[must_use]
pub fn leaves_it_to_rstudio(env: &Env) -> bool {
    matches!(step(env), Step::Nothing)
}

/// What was found first.
enum Step {
    Connect,
    /// The address as it was given, and who says so.
    Address(String, Origin),
    Nothing,
}

fn step(env: &Env) -> Step {
    // What runs on Connect runs for its visitors, and nobody's own session is to serve them.
    if posit::is(env, CONNECT) {
        return Step::Connect;
    }
    match env.var(ADDRESS) {
        Some(text) => Step::Address(text, Origin::of_address(env)),
        None => Step::Nothing,
    }
}

fn parsed(text: &str) -> Result<Address, Error> {
    Address::parse(text).map_err(|why| {
        let message = format!("{ADDRESS} is not an address that can be asked: {why}");
        Error::new(Kind::Unreachable, message).lasting()
    })
}

fn none_on_connect() -> Error {
    let message =
        "on Posit Connect there is no session of a person's own, only content and its visitors";
    Error::new(Kind::NoSession, message).remedied(Some(ON_CONNECT))
}

/// What to do on Posit Connect.
const ON_CONNECT: &str = "In R, tokens are got for the visitor of the content, or for the content itself: see ?entrar::`entrar-connect`.";

fn no_session(env: &Env) -> Error {
    let message = if posit::is(env, WORKBENCH) {
        "this is a Posit Workbench session, but RS_SERVER_ADDRESS is not set, so the server cannot be found"
    } else {
        "there is no session to ask: RS_SERVER_ADDRESS is not set, and nobody is signed in here"
    };
    Error::new(Kind::NoSession, message)
}

/// What makes a session this one and no other: tokens that were kept for one are handed out in no other.
///
/// To compare it reads variables, and where an agent may be asked looks whether somebody has signed in since; it opens no
/// file. That the cookie in a file was rotated makes no other session.
pub struct Identity {
    variables: [Option<SecretString>; VARIABLES.len()],
    sign_in: Option<Mark>,
}

const VARIABLES: [&str; 8] = [
    "POSIT_PRODUCT",
    "RSTUDIO_PRODUCT",
    ADDRESS,
    ORIGIN,
    RUNTIME_DIRECTORY,
    COOKIE,
    session_directory::VARIABLE,
    hub_socket::VARIABLE,
];

impl Identity {
    /// The identity of this process's session, or of having none.
    #[must_use]
    pub fn current(env: &Env) -> Self {
        Self {
            variables: VARIABLES.map(|name| env.var(name).map(SecretString::from)),
            sign_in: mark(env),
        }
    }

    /// Whether it still is this process's.
    #[must_use]
    pub fn is_current(&self, env: &Env) -> bool {
        let same = |(name, value): (&&str, &Option<SecretString>)| {
            env.var(name).as_deref() == value.as_ref().map(ExposeSecret::expose_secret)
        };
        VARIABLES.iter().zip(&self.variables).all(same) && self.sign_in == mark(env)
    }
}

/// The mark of the latest sign-in, where an agent may be asked.
fn mark(env: &Env) -> Option<Mark> {
    let is_agents = env.var(ADDRESS).is_none() || Origin::of_address(env) == Origin::Agent;
    is_agents.then(|| Mark::current(env))
}

#[cfg(test)]
mod tests {
    use super::*;
    use entrar_core::variables::VERSION;

    const OLD: (&str, &str) = (VERSION, "2024.09.1");
    const SERVER: (&str, &str) = (ADDRESS, "http://server.example");

    /// Where nobody runs an agent or a hub, whatever there is on this machine.
    fn env(variables: &[(&str, &str)]) -> Env {
        let nobodys = [
            (session_directory::VARIABLE, "/nowhere/entrar"),
            (hub_socket::VARIABLE, hub_socket::OFF),
        ];
        Env::fixed(&[&nobodys, variables].concat(), 0.0)
    }

    fn found(variables: &[(&str, &str)]) -> Result<Origin, &'static str> {
        let session = Session::find(&env(variables));
        session
            .map(|session| session.origin())
            .map_err(|error| error.kind().as_str())
    }

    #[test]
    fn an_address_is_workbenchs_unless_a_broker_says_that_it_is_its() {
        assert_eq!(found(&[SERVER]), Ok(Origin::Workbench));
        for origin in Origin::ALL {
            assert_eq!(found(&[SERVER, (ORIGIN, origin.as_str())]), Ok(origin));
        }
        assert_eq!(found(&[SERVER, (ORIGIN, "Agent")]), Ok(Origin::Workbench));
        assert_eq!(found(&[(ORIGIN, "agent")]), Err("no_session"));
    }

    #[test]
    fn the_version_is_workbenchs_alone() {
        assert_eq!(found(&[SERVER, OLD]), Err("server_too_old"));
        assert_eq!(found(&[SERVER, OLD, (ORIGIN, "agent")]), Ok(Origin::Agent));
        assert_eq!(found(&[SERVER, OLD, (ORIGIN, "hub")]), Ok(Origin::Hub));
        assert_eq!(found(&[OLD]), Err("no_session"));
        assert!(Session::of_any_version(&env(&[SERVER, OLD])).is_ok());
    }

    #[test]
    fn on_connect_nothing_else_is_looked_at() {
        let connect = ("RSTUDIO_PRODUCT", "CONNECT");
        assert_eq!(found(&[SERVER, connect]), Err("no_session"));
        assert_eq!(here(&env(&[SERVER, connect])), None);
        assert!(!leaves_it_to_rstudio(&env(&[connect])));
    }

    #[test]
    fn rstudios_function_comes_after_an_address() {
        assert!(leaves_it_to_rstudio(&env(&[])));
        assert!(leaves_it_to_rstudio(&env(&[(
            "POSIT_PRODUCT",
            "WORKBENCH"
        )])));
        assert!(!leaves_it_to_rstudio(&env(&[SERVER])));
        assert!(!leaves_it_to_rstudio(&env(&[(ADDRESS, "ftp://no")])));
    }

    #[test]
    fn one_signs_in_by_oneself_only_where_nobody_else_does_it() {
        let hub = (ORIGIN, "hub");
        let agent = (ORIGIN, "agent");
        for (variables, has_function, expected) in [
            (vec![], false, Ok(Origin::Agent)),
            (
                vec![("POSIT_PRODUCT", "WORKBENCH")],
                false,
                Ok(Origin::Agent),
            ),
            (vec![SERVER, agent], true, Ok(Origin::Agent)),
            (vec![], true, Err("access_denied")),
            (vec![SERVER], false, Err("access_denied")),
            (vec![SERVER, hub], false, Err("access_denied")),
            (
                vec![("POSIT_PRODUCT", "CONNECT"), SERVER, agent],
                false,
                Err("no_session"),
            ),
        ] {
            for wants_own in [true, false] {
                let outcome = who_signs_in(&env(&variables), wants_own, has_function);
                let outcome = outcome.map_err(|error| {
                    assert!(error.details().remedy.is_some(), "{error}");
                    error.kind().as_str()
                });
                assert_eq!(outcome, expected, "{variables:?} {has_function}");
            }
        }
    }

    #[test]
    fn what_is_wrong_here_is_told_in_the_words_of_whoever_opens_sessions_here() {
        for (variables, expected) in [
            (vec![], None),
            (
                vec![("POSIT_PRODUCT", "WORKBENCH")],
                Some(Origin::Workbench),
            ),
            (vec![(ADDRESS, "ftp://no")], Some(Origin::Workbench)),
            (vec![SERVER, (ORIGIN, "hub")], Some(Origin::Hub)),
        ] {
            assert_eq!(here(&env(&variables)), expected, "{variables:?}");
        }
    }

    #[test]
    fn without_a_session_the_message_says_where_one_is() {
        for (product, words) in [
            ("CONNECT", "on Posit Connect there is no session"),
            ("WORKBENCH", "this is a Posit Workbench session, but"),
            ("", "nobody is signed in here"),
        ] {
            let error = Session::find(&env(&[("POSIT_PRODUCT", product)])).unwrap_err();
            assert_eq!(error.kind(), Kind::NoSession);
            assert!(error.message().contains(words), "{product}: {error}");
        }
    }

    #[test]
    fn another_variable_makes_another_session() {
        let whole = [
            SERVER,
            (ORIGIN, "agent"),
            (RUNTIME_DIRECTORY, "/run/1"),
            (COOKIE, "canary"),
        ];
        let identity = Identity::current(&env(&whole));
        assert!(identity.is_current(&env(&whole)));
        for changed in 0..whole.len() {
            let mut other = whole;
            other[changed].1 = "other";
            assert!(!identity.is_current(&env(&other)), "{changed}");
            other[changed].1 = "";
            assert!(!identity.is_current(&env(&other)), "{changed}");
        }
        assert!(!identity.is_current(&env(&[])));
        assert!(Identity::current(&env(&[])).is_current(&env(&[OLD])));
    }
}
