//! Whose request it is: told by a session's cookie, or on a Unix socket by the kernel, which names the caller.
//!
//! Strangers are turned away before anything else is looked at: a page in a browser can post to this machine's ports, and by
//! a name of its own that leads here (DNS rebinding) it can read the replies too.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use entrar_core::cookie::{BadCookie, CookieKey};
use entrar_core::rpc::{COOKIE_HEADER, Code};
use entrar_core::time::UnixTime;
use secrecy::{ExposeSecret, SecretString};

use crate::accounts::AccountId;
use crate::listen::Peer;
use crate::random;
use crate::rpc::Refused;

/// What every browser says of where a request comes from, and no client of the RPC.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Turns away what comes from a browser, and what was sent to another host's name than this server's.
pub(crate) fn refuse_strangers(
    uri: &Uri,
    headers: &HeaderMap,
    is_own_host: impl Fn(&str) -> bool,
) -> Result<(), Refused> {
    let refused = |what| {
        Err(Refused::new(
            StatusCode::FORBIDDEN,
            Code::InvalidRequest,
            what,
        ))
    };
    if [ORIGIN, SEC_FETCH_SITE]
        .iter()
        .any(|name| headers.contains_key(name))
    {
        return refused("pages in a browser are not served");
    }
    let mut hosts = headers.get_all(HOST).iter();
    let is_ours = match (hosts.next(), hosts.next()) {
        (None, _) => true,
        (Some(host), None) => host
            .to_str()
            .ok()
            // A user name before the host means nothing to us, and perhaps something to whoever wrote it.
            .filter(|host| !host.contains('@'))
            .and_then(|host| host.parse::<Authority>().ok())
            .is_some_and(|host| is_own_host(host.host())),
        _ => false,
    };
    if !is_ours || uri.host().is_some_and(|host| !is_own_host(host)) {
        return refused("the request was sent to another host");
    }
    Ok(())
}

/// Who may ask for whose tokens.
///
/// A cookie names a session, not an account, so that sessions can be told apart and ended one by one.
#[derive(Debug)]
pub struct Admission {
    cookie_key: CookieKey,
    /// Whose processes need no cookie of a session.
    owner: Option<Owner>,
    state: Mutex<State>,
}

/// What a process of the person is known by for whom a broker runs.
#[derive(Debug)]
pub enum Owner {
    /// The user of this number, whom the kernel names on a Unix socket.
    User(u32),
    /// Whoever sends this in a cookie's place, where there are no such sockets. Only the person can read it.
    Holder(SecretString),
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<SessionId, Session>,
    /// Whose tokens the owner's processes get.
    owners_account: Option<AccountId>,
}

/// Names a session; worth nothing without the cookie's signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(String);

#[derive(Debug)]
struct Session {
    account: AccountId,
    expires_at: UnixTime,
}

impl Admission {
    /// Only sessions with a cookie are admitted.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn new() -> Result<Self, getrandom::Error> {
        Ok(Self {
            cookie_key: CookieKey::generate()?,
            owner: None,
            state: Mutex::default(),
        })
    }

    /// The owner's processes are admitted as well, without the cookie of a session.
    ///
    /// # Errors
    /// As [`Admission::new`].
    pub fn owned_by(owner: Owner) -> Result<Self, getrandom::Error> {
        Ok(Self {
            owner: Some(owner),
            ..Self::new()?
        })
    }

    /// Opens a session of this account; the result is its id and its cookie.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn open_session(
        &self,
        account: AccountId,
        now: UnixTime,
        expires_at: UnixTime,
    ) -> Result<(SessionId, SecretString), getrandom::Error> {
        let id = random::text::<16>()?;
        let cookie = self.cookie_key.mint(&id, expires_at);
        let id = SessionId(id);
        let session = Session {
            account,
            expires_at,
        };
        let mut state = self.state();
        state.sessions.retain(|_, session| now < session.expires_at);
        state.sessions.insert(id.clone(), session);
        Ok((id, cookie))
    }

    /// Ends a session; whether there was one.
    pub fn end_session(&self, id: &SessionId) -> bool {
        self.state().sessions.remove(id).is_some()
    }

    /// Ends every session, and says whose tokens the owner's processes get from now on, if anybody's.
    pub fn begin_anew(&self, owners_account: Option<AccountId>) {
        *self.state() = State {
            sessions: HashMap::new(),
            owners_account,
        };
    }

    /// Whose tokens the sender of this request gets; `None` if they are admitted and nobody is signed in.
    ///
    /// # Errors
    /// Why the request is not admitted.
    pub(crate) fn account(
        &self,
        peer: Option<Peer>,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<Option<AccountId>, BadCookie> {
        if self.is_owner(peer, headers) {
            return Ok(self.state().owners_account);
        }
        let cookie = only_cookie(headers).ok_or(BadCookie::Missing)?;
        let id = self.cookie_key.verify(cookie, now)?;
        match self.state().sessions.get(&SessionId(id)) {
            Some(session) => Ok(Some(session.account)),
            None => Err(BadCookie::Ended),
        }
    }

    /// Whether it is a process of the owner's: as the kernel says, or by what only the owner can read.
    #[must_use]
    pub fn is_owner(&self, peer: Option<Peer>, headers: &HeaderMap) -> bool {
        match (&self.owner, peer) {
            (Some(Owner::User(owner)), Some(Peer::Unix { uid })) => uid == *owner,
            // How long a comparison takes tells nothing to who needs 256 bits of it.
            (Some(Owner::Holder(secret)), Some(Peer::Tcp(_))) => {
                only_cookie(headers) == Some(secret.expose_secret())
            }
            _ => false,
        }
    }

    /// No change under the lock can stop half-way, so one poisoned by a panic elsewhere guards sound data.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cookie of a request, if it has one and no other.
fn only_cookie(headers: &HeaderMap) -> Option<&str> {
    let mut cookies = headers.get_all(COOKIE_HEADER).iter();
    match (cookies.next().map(|cookie| cookie.to_str()), cookies.next()) {
        (Some(Ok(cookie)), None) => Some(cookie.trim()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use entrar_core::address::is_loopback_host;
    use entrar_core::guid::Guid;

    fn is_admitted(uri: &str, headers: &[(&str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        refuse_strangers(&uri.parse().unwrap(), &map, is_loopback_host).is_ok()
    }

    #[test]
    fn this_machines_names_are_admitted_and_no_others() {
        for host in [
            "127.0.0.1:8787",
            "localhost:1",
            "LOCALHOST",
            "[::1]:8787",
            "127.1.2.3",
        ] {
            assert!(is_admitted("/x", &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example:8787",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "user@evil.example",
            "evil@localhost",
            "",
            "a b",
        ] {
            assert!(!is_admitted("/x", &[("host", host)]), "{host}");
        }
        assert!(!is_admitted(
            "/x",
            &[("host", "localhost"), ("host", "localhost")]
        ));
        assert!(!is_admitted(
            "http://evil.example/x",
            &[("host", "localhost")]
        ));
        assert!(is_admitted(
            "http://localhost:1/x",
            &[("host", "localhost:1")]
        ));
        assert!(is_admitted("/x", &[]));
    }

    #[test]
    fn a_page_in_a_browser_is_not_admitted() {
        for header in [
            ("origin", "http://localhost:8787"),
            ("origin", "null"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert!(
                !is_admitted("/x", &[("host", "localhost"), header]),
                "{header:?}"
            );
        }
    }

    const ADA: AccountId = account(1);
    const NOW: UnixTime = UnixTime::of_whole(1_795_392_000);

    const fn account(oid: u128) -> AccountId {
        AccountId {
            tid: Guid::from_bits(0),
            oid: Guid::from_bits(oid),
        }
    }

    fn with_cookie(cookie: &SecretString) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE_HEADER, cookie.expose_secret().parse().unwrap());
        headers
    }

    #[test]
    fn a_cookie_is_its_sessions_until_that_ends() {
        let admission = Admission::new().unwrap();
        let open = |account| admission.open_session(account, NOW, NOW + 60.0).unwrap();
        let (ada, cookie) = open(ADA);
        let (_, other) = open(account(2));
        let asked = |cookie: &SecretString, now| admission.account(None, &with_cookie(cookie), now);
        assert_eq!(asked(&cookie, NOW), Ok(Some(ADA)));
        assert_eq!(asked(&other, NOW), Ok(Some(account(2))));
        assert_eq!(asked(&cookie, NOW + 60.0), Err(BadCookie::Expired));
        assert!(admission.end_session(&ada));
        assert!(!admission.end_session(&ada));
        assert_eq!(asked(&cookie, NOW), Err(BadCookie::Ended));
        assert_eq!(asked(&other, NOW), Ok(Some(account(2))));
        admission.begin_anew(None);
        assert_eq!(asked(&other, NOW), Err(BadCookie::Ended));
        assert!(!cookie.expose_secret().contains("ada"));
    }

    #[test]
    fn the_owner_needs_no_cookie_on_a_socket_and_nobody_else_has_such_a_way_in() {
        let admission = Admission::owned_by(Owner::User(1000)).unwrap();
        let asked = |peer| admission.account(Some(peer), &HeaderMap::new(), NOW);
        let owner = Peer::Unix { uid: 1000 };
        assert_eq!(asked(owner), Ok(None));
        admission.begin_anew(Some(ADA));
        assert_eq!(asked(owner), Ok(Some(ADA)));
        for uid in [0, 1001, u32::MAX] {
            assert_eq!(asked(Peer::Unix { uid }), Err(BadCookie::Missing), "{uid}");
        }
        let tcp = Peer::Tcp(([127, 0, 0, 1], 1).into());
        assert_eq!(asked(tcp), Err(BadCookie::Missing));
        let without_owner = Admission::new().unwrap();
        assert!(!without_owner.is_owner(Some(owner), &HeaderMap::new()));
    }

    #[test]
    fn where_no_kernel_names_the_owner_the_holder_of_a_secret_is_the_owner() {
        let secret = "canary-of-the-owner";
        let admission = Admission::owned_by(Owner::Holder(secret.into())).unwrap();
        admission.begin_anew(Some(ADA));
        let tcp = Peer::Tcp(([127, 0, 0, 1], 1).into());
        let holding = |secret: &str| with_cookie(&secret.into());
        let asked = |peer, headers: &HeaderMap| admission.account(Some(peer), headers, NOW);
        assert_eq!(asked(tcp, &holding(secret)), Ok(Some(ADA)));
        assert_eq!(asked(tcp, &HeaderMap::new()), Err(BadCookie::Missing));
        for wrong in ["canary", "canary-of-the-owner2", "x"] {
            assert!(asked(tcp, &holding(wrong)).is_err(), "{wrong}");
        }
        let mut twice = holding(secret);
        twice.append(COOKIE_HEADER, secret.parse().unwrap());
        assert_eq!(asked(tcp, &twice), Err(BadCookie::Missing));
        // Those of a Unix socket prove nothing by it.
        assert!(asked(Peer::Unix { uid: 0 }, &holding(secret)).is_err());
        // A session's cookie is good beside it, and is not the owner's.
        let (_, cookie) = admission.open_session(ADA, NOW, NOW + 60.0).unwrap();
        let headers = with_cookie(&cookie);
        assert_eq!(asked(tcp, &headers), Ok(Some(ADA)));
        assert!(!admission.is_owner(Some(tcp), &headers));
        assert!(!format!("{admission:?}").contains("canary"));
    }
}
