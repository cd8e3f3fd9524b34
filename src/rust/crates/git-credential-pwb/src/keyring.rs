//! A token kept from one process of the helper to the next, in the keyring that Linux has for each user.
//!
//! git starts the helper anew for every repository, so a clone with a dozen submodules would be a dozen exchanges,
//! which Entra ID takes for a loop. The kernel forgets a kept token by itself, five minutes before the token
//! expires, and never writes it to disk. Where there is no keyring, each request is an exchange.
//!
//! Containers of one user may share that user's keyring, and each may be another person's. So the token is sealed,
//! and only who holds the session's cookie, or may read what the person's agent has noted of the sign-in, or is told the
//! mark of the sign-in by a hub, finds and opens it, which is who would be given one by the server too.

use std::fmt;

use entrar_client::origin::Session;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::time::UnixTime;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

/// With less time left, in seconds, a token is neither kept nor taken.
const LEAST: f64 = 300.0;

/// A token as git gets it: as password.
pub(crate) struct Password {
    pub(crate) token: SecretString,
    /// In Unix seconds.
    pub(crate) expires_at: Option<UnixTime>,
}

impl Password {
    /// For how many whole seconds it may be kept.
    fn keeps(&self, now: UnixTime) -> Option<u32> {
        let seconds = self.expires_at? - LEAST - now;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded by the range"
        )]
        (1.0..1e9).contains(&seconds).then_some(seconds as u32)
    }

    fn to_payload(&self) -> Zeroizing<Vec<u8>> {
        let token = self.token.expose_secret().as_bytes();
        let expires_at = self.expires_at.unwrap_or_default().whole().to_string();
        // Of its full size at once: a growing buffer leaves copies behind.
        let mut payload = Vec::with_capacity(expires_at.len() + 1 + token.len());
        payload.extend_from_slice(expires_at.as_bytes());
        payload.push(b'\n');
        payload.extend_from_slice(token);
        Zeroizing::new(payload)
    }

    fn from_payload(payload: &[u8]) -> Option<Self> {
        let (expires_at, token) = std::str::from_utf8(payload).ok()?.split_once('\n')?;
        let is_token = !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic());
        Some(Self {
            expires_at: Some(UnixTime::of_whole(expires_at.parse().ok()?)),
            token: is_token.then(|| token.into())?,
        })
    }
}

/// Where the system has no random numbers. The derived key always has the length that the seal needs.
fn unsealable() -> Error {
    Error::new(Kind::BadCookie, "no key can be made to keep a token")
}

/// Why the kernel keeps nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The place of one session's token for one resource.
pub(crate) struct Slot {
    /// In hexadecimal digits: a key's name is no secret.
    name: String,
    seal: LessSafeKey,
}

impl Slot {
    /// A session's place is made of what its processes alone know.
    pub(crate) fn of(session: &Session, env: &Env, resource: &str) -> Result<Self, Error> {
        Self::under(session, session.shared_secret(env)?, resource)
    }

    /// The place that is made of this `secret`.
    pub(crate) fn under(
        session: &Session,
        secret: Option<SecretString>,
        resource: &str,
    ) -> Result<Self, Error> {
        let key = match secret {
            Some(secret) => hmac::Key::new(HMAC_SHA256, secret.expose_secret().as_bytes()),
            // One of its own each time: what is kept is not found again.
            None => {
                hmac::Key::generate(HMAC_SHA256, &SystemRandom::new()).map_err(|_| unsealable())?
            }
        };
        let derived = |label: &str| {
            let text = format!("{label}\n{}\n{resource}", session.server());
            hmac::sign(&key, text.as_bytes())
        };
        let seal = UnboundKey::new(&CHACHA20_POLY1305, derived("seal").as_ref());
        let name = derived("name");
        Ok(Self {
            name: name
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            seal: LessSafeKey::new(seal.map_err(|_| unsealable())?),
        })
    }

    /// Whether both are one session's.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.name == other.name
    }

    fn description(&self) -> String {
        format!("git-credential-pwb:{}", self.name)
    }

    /// The token that is kept here, if any. One that cannot be opened counts as absent.
    pub(crate) fn read(&self, now: UnixTime) -> Result<Option<Password>, Refusal> {
        let sealed = kernel::read(&self.description())?;
        let password = sealed.and_then(|sealed| self.open(&sealed));
        Ok(password.filter(|password| password.keeps(now).is_some()))
    }

    /// Keeps a token instead of what was here; the result is for how many seconds. One that soon expires is not kept.
    pub(crate) fn keep(&self, password: &Password, now: UnixTime) -> Result<Option<u32>, Refusal> {
        if let Some(seconds) = password.keeps(now) {
            kernel::keep(&self.description(), &self.seal(password)?, seconds)?;
            return Ok(Some(seconds));
        }
        Ok(None)
    }

    /// Drops what is kept here; whether there was something.
    pub(crate) fn clear(&self) -> Result<bool, Refusal> {
        kernel::clear(&self.description())
    }

    /// A random number that is used once, the sealed text, and its tag.
    fn seal(&self, password: &Password) -> Result<Vec<u8>, Refusal> {
        let no_seal = |_| Refusal("no random number".to_owned());
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(no_seal)?;
        let mut text = password.to_payload();
        let unique = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .seal
            .seal_in_place_separate_tag(unique, Aad::empty(), &mut text)
            .map_err(no_seal)?;
        Ok([&nonce, text.as_slice(), tag.as_ref()].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<Password> {
        let (nonce, text) = sealed.split_first_chunk()?;
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.seal.open_in_place(nonce, Aad::empty(), &mut text);
        Password::from_payload(opened.ok()?)
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use linux_keyutils::{
        Key, KeyError, KeyPermissionsBuilder, KeyRing, KeyRingIdentifier, Permission,
    };

    use super::Refusal;

    /// The longest payload of such a key.
    const LONGEST: usize = 32_767;
    const NOT_IMPLEMENTED: i32 = 38;

    impl From<KeyError> for Refusal {
        fn from(error: KeyError) -> Self {
            Self(match error {
                KeyError::PermissionDenied | KeyError::AccessDenied => "not permitted".to_owned(),
                KeyError::QuotaExceeded => "the quota of your keys is used up".to_owned(),
                KeyError::Unknown(NOT_IMPLEMENTED) => "it has none".to_owned(),
                _ => "it refuses".to_owned(),
            })
        }
    }

    pub(super) fn read(description: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(key) = find(description)? else {
            return Ok(None);
        };
        let mut payload = vec![0; LONGEST];
        match key.read(&mut payload).map_err(is_gone) {
            Ok(length) if length <= LONGEST => {
                payload.truncate(length);
                Ok(Some(payload))
            }
            Ok(_) | Err(None) => Ok(None),
            Err(Some(error)) => Err(error.into()),
        }
    }

    pub(super) fn keep(description: &str, payload: &[u8], seconds: u32) -> Result<(), Refusal> {
        // Nobody else reaches this process's own keyring: the key goes to the user's when all is set.
        let key = processes()?.add_key(description, payload)?;
        let shared = (|| {
            // Whoever possesses it, and nobody else, its owner's other processes included.
            let permissions = KeyPermissionsBuilder::builder().posessor(Permission::ALL);
            key.set_perms(permissions.build())?;
            key.set_timeout(seconds as usize)?;
            // It takes the place of one with the same description.
            KeyRing::from_special_id(KeyRingIdentifier::User, false)?.link_key(key)
        })();
        if shared.is_err() {
            let _ = key.invalidate();
        }
        Ok(shared?)
    }

    pub(super) fn clear(description: &str) -> Result<bool, Refusal> {
        match find(description)? {
            Some(key) => Ok(key.invalidate().map(|()| true)?),
            None => Ok(false),
        }
    }

    fn find(description: &str) -> Result<Option<Key>, Refusal> {
        let ring = processes()?;
        // What the user's keyring holds is possessed by a process that has it in one of its own; a session's keyring
        // need not have it.
        ring.link_keyring_id(KeyRingIdentifier::User)?;
        match ring.search(description).map_err(is_gone) {
            Ok(key) => Ok(Some(key)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error.into()),
        }
    }

    fn processes() -> Result<KeyRing, KeyError> {
        KeyRing::from_special_id(KeyRingIdentifier::Process, true)
    }

    /// `None` for an error that says that there is no such key, or no longer.
    fn is_gone(error: KeyError) -> Option<KeyError> {
        match error {
            KeyError::KeyDoesNotExist | KeyError::KeyExpired | KeyError::KeyRevoked => None,
            error => Some(error),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::Refusal;

    fn none<T>() -> Result<T, Refusal> {
        Err(Refusal("only Linux has one".to_owned()))
    }

    pub(super) fn read(_: &str) -> Result<Option<Vec<u8>>, Refusal> {
        none()
    }

    pub(super) fn keep(_: &str, _: &[u8], _: u32) -> Result<(), Refusal> {
        none()
    }

    pub(super) fn clear(_: &str) -> Result<bool, Refusal> {
        none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use entrar_core::variables::{ADDRESS, COOKIE, COOKIE_FILE, RUNTIME_DIRECTORY};

    const NOW: UnixTime = UnixTime::new(1_795_392_000.5);

    fn password(lifetime: i64) -> Password {
        Password {
            token: "canary-token".into(),
            expires_at: Some(UnixTime::of_whole(1_795_392_000 + lifetime)),
        }
    }

    fn slot_for(variables: &[(&str, &str)], resource: &str) -> Slot {
        let env = Env::fixed(variables, NOW);
        Slot::of(&Session::find(&env).unwrap(), &env, resource).unwrap()
    }

    fn slot(cookie: &str) -> Slot {
        slot_for(&[(ADDRESS, "http://a"), (COOKIE, cookie)], "resource")
    }

    #[test]
    fn what_is_kept_is_sealed_for_the_cookie() {
        let sealed = slot("canary").seal(&password(3_600)).unwrap();
        let shown = String::from_utf8_lossy(&sealed);
        for part in ["canary", "token", "1795395600"] {
            assert!(!shown.contains(part), "{shown}");
        }
        let opened = slot("canary").open(&sealed).unwrap();
        assert_eq!(opened.token.expose_secret(), "canary-token");
        assert_eq!(opened.expires_at, Some(UnixTime::of_whole(1_795_395_600)));
        assert_ne!(slot("canary").seal(&password(3_600)).unwrap(), sealed);

        assert!(slot("other").open(&sealed).is_none());
        let elsewhere = slot_for(&[(ADDRESS, "http://b"), (COOKIE, "canary")], "resource");
        assert!(elsewhere.open(&sealed).is_none());
    }

    #[test]
    fn what_cannot_be_opened_is_no_token() {
        let sealed = slot("canary").seal(&password(3_600)).unwrap();
        for end in [0, 1, NONCE_LEN, NONCE_LEN + 1, sealed.len() - 1] {
            assert!(slot("canary").open(&sealed[..end]).is_none(), "{end}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(slot("canary").open(&changed).is_none(), "{at}");
        }
        let in_clear = password(3_600).to_payload();
        assert!(slot("canary").open(&in_clear).is_none());
    }

    /// Where the kernel keeps keys.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_has_the_sealed_token_alone_and_what_else_is_in_its_place_is_none() {
        let name = format!("canary-{}", std::process::id());
        let (slot, other) = (slot(&name), slot(&format!("{name}-other")));
        let Ok(kept) = slot.keep(&password(3_600), NOW) else {
            return;
        };
        assert_eq!(kept, Some(3_299));
        let payload = kernel::read(&slot.description()).unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&payload).contains("canary"));
        assert!(slot.read(NOW).unwrap().is_some());
        assert!(other.read(NOW).unwrap().is_none());
        let in_clear = password(3_600).to_payload();
        for foreign in [
            other.seal(&password(3_600)).unwrap(),
            in_clear.to_vec(),
            b"garbage".to_vec(),
        ] {
            kernel::keep(&slot.description(), &foreign, 60).unwrap();
            assert!(slot.read(NOW).unwrap().is_none());
        }
        assert_eq!(slot.clear(), Ok(true));
        assert_eq!(slot.clear(), Ok(false));
    }

    #[test]
    fn a_token_is_kept_until_five_minutes_before_it_expires() {
        assert_eq!(password(3_600).keeps(NOW), Some(3_299));
        assert_eq!(password(302).keeps(NOW), Some(1));
        for lifetime in [301, 300, 0, -3_600, i64::MIN / 2, i64::MAX / 2] {
            assert_eq!(password(lifetime).keeps(NOW), None, "{lifetime}");
        }
        let undated = Password {
            expires_at: None,
            ..password(0)
        };
        assert_eq!(undated.keeps(NOW), None);
    }

    #[test]
    fn a_payload_is_read_back_and_what_is_none_is_not_taken() {
        let read = Password::from_payload(&password(3_600).to_payload()).unwrap();
        assert_eq!(read.token.expose_secret(), "canary-token");
        assert_eq!(read.expires_at, Some(UnixTime::of_whole(1_795_395_600)));
        for payload in [
            &b""[..],
            b"1795395600",
            b"1795395600\n",
            b"soon\ntoken",
            b"1795395600\na\nquit=1",
            b"1795395600\n\xff",
        ] {
            assert!(Password::from_payload(payload).is_none(), "{payload:?}");
        }
    }

    #[test]
    fn each_server_cookie_and_resource_has_its_own_place_which_shows_nothing() {
        let later = "u|Mon%2C%2023%20Nov%202026%2001%3A00%3A00%20GMT|canary";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        std::fs::write(directory.path().join(COOKIE_FILE), later).unwrap();
        let server = (ADDRESS, "http://a");
        let mut places = std::collections::BTreeSet::new();
        for variables in [
            &[server, (COOKIE, "canary")][..],
            &[server, (COOKIE, "other")],
            &[(ADDRESS, "http://acanary"), (COOKIE, "canary")],
            &[server, (RUNTIME_DIRECTORY, path)],
            // The variable's is sent if the file's is refused.
            &[server, (RUNTIME_DIRECTORY, path), (COOKIE, "canary")],
            &[server, (RUNTIME_DIRECTORY, path), (COOKIE, "other")],
        ] {
            assert!(places.insert(slot_for(variables, "resource").name));
        }
        assert!(places.insert(slot_for(&[server, (COOKIE, "canary")], "another").name));
        for place in &places {
            assert_eq!(place.len(), 64);
            assert!(place.chars().all(|c| c.is_ascii_hexdigit()), "{place}");
        }
        // Wherever the cookie stands.
        let in_variable = slot_for(&[server, (COOKIE, later)], "resource");
        assert!(places.contains(&in_variable.name));
        assert!(in_variable.same_as(&slot(later)));
    }
}
