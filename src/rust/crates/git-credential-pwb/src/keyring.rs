//! A token kept from one process of the helper to the next, in the keyring that Linux has for each user.
//!
//! git starts the helper anew for every repository, so a clone with a dozen submodules would be a dozen exchanges,
//! which Entra ID takes for a loop. The kernel forgets a kept token by itself, five minutes before the token
//! expires, and never writes it to disk. Where there is no keyring, each request is an exchange.

use std::fmt;

use entrar_core::env::Env;
use entrar_core::variables::{ADDRESS, COOKIE, RUNTIME_DIRECTORY};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// With less time left, in seconds, a token is neither kept nor taken.
const LEAST: f64 = 300.0;

/// A token as git gets it: as password.
pub(crate) struct Password {
    pub(crate) token: SecretString,
    /// In Unix seconds.
    pub(crate) expires_at: Option<i64>,
}

impl Password {
    /// For how many whole seconds it may be kept.
    fn keeps(&self, now: f64) -> Option<u32> {
        #[allow(clippy::cast_precision_loss, reason = "a believable expiry")]
        let seconds = self.expires_at? as f64 - LEAST - now;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded by the range"
        )]
        (1.0..1e9).contains(&seconds).then_some(seconds as u32)
    }

    fn to_payload(&self) -> Zeroizing<Vec<u8>> {
        let token = self.token.expose_secret().as_bytes();
        let expires_at = self.expires_at.unwrap_or_default().to_string();
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
            expires_at: Some(expires_at.parse().ok()?),
            token: is_token.then(|| token.into())?,
        })
    }
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
    /// In hexadecimal digits.
    digest: String,
}

impl Slot {
    /// What makes a session is what makes one for `azure_token()`: its address, runtime directory and cookie
    /// variable. A digest of them names it, since a key's name is no secret.
    pub(crate) fn of(env: &Env, resource: &str) -> Self {
        let mut digest = Sha256::new();
        let variables = [ADDRESS, RUNTIME_DIRECTORY, COOKIE].map(|name| env.var(name));
        for part in variables
            .iter()
            .map(Option::as_deref)
            .chain([Some(resource)])
        {
            // With its length, so that no two lists of parts are one text.
            digest.update(
                part.map_or(u64::MAX, |part| part.len() as u64)
                    .to_le_bytes(),
            );
            digest.update(part.unwrap_or_default());
        }
        let digest = digest.finalize();
        Self {
            digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Tells sessions apart, and nothing about them.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    fn description(&self) -> String {
        format!("git-credential-pwb:{}", self.digest)
    }

    /// The token that is kept here, if any.
    pub(crate) fn read(&self, now: f64) -> Result<Option<Password>, Refusal> {
        let payload = kernel::read(&self.description())?;
        let password = payload.and_then(|payload| Password::from_payload(&payload));
        Ok(password.filter(|password| password.keeps(now).is_some()))
    }

    /// Keeps a token instead of what was here; the result is for how many seconds. One that soon expires is not kept.
    pub(crate) fn keep(&self, password: &Password, now: f64) -> Result<Option<u32>, Refusal> {
        if let Some(seconds) = password.keeps(now) {
            kernel::keep(&self.description(), &password.to_payload(), seconds)?;
            return Ok(Some(seconds));
        }
        Ok(None)
    }

    /// Drops what is kept here; whether there was something.
    pub(crate) fn clear(&self) -> Result<bool, Refusal> {
        kernel::clear(&self.description())
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use linux_keyutils::{
        Key, KeyError, KeyPermissionsBuilder, KeyRing, KeyRingIdentifier, Permission,
    };
    use secrecy::zeroize::Zeroizing;

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
                error => format!("{error:?}"),
            })
        }
    }

    pub(super) fn read(description: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
        let Some(key) = find(description)? else {
            return Ok(None);
        };
        let mut payload = Zeroizing::new(vec![0; LONGEST]);
        match key.read(&mut *payload).map_err(is_gone) {
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
    use secrecy::zeroize::Zeroizing;

    use super::Refusal;

    fn none<T>() -> Result<T, Refusal> {
        Err(Refusal("only Linux has one".to_owned()))
    }

    pub(super) fn read(_: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
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

    const NOW: f64 = 1_795_392_000.5;

    fn password(lifetime: i64) -> Password {
        Password {
            token: "canary-token".into(),
            expires_at: Some(1_795_392_000 + lifetime),
        }
    }

    fn digest(variables: &[(&str, &str)]) -> String {
        Slot::of(&Env::fixed(variables, NOW), "resource").digest
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
        assert_eq!(read.expires_at, Some(1_795_395_600));
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
    fn each_session_and_resource_has_its_own_place_which_shows_nothing() {
        let session = [(ADDRESS, "http://a"), (COOKIE, "canary")];
        let env = Env::fixed(&session, NOW);
        let mut places = std::collections::BTreeSet::new();
        for variables in [
            &[][..],
            &[(ADDRESS, "http://a")],
            &session,
            &[(ADDRESS, "http://a"), (COOKIE, "other")],
            &[(ADDRESS, "http://a"), (RUNTIME_DIRECTORY, "canary")],
            &[
                (ADDRESS, "http://a"),
                (RUNTIME_DIRECTORY, "/r"),
                (COOKIE, "canary"),
            ],
            &[(ADDRESS, "http://acanary")],
        ] {
            assert!(places.insert(digest(variables)), "{variables:?}");
        }
        assert!(places.insert(Slot::of(&env, "another").digest));
        assert_eq!(digest(&session), Slot::of(&env, "resource").digest);
        for place in places {
            assert_eq!(place.len(), 64);
            assert!(place.chars().all(|c| c.is_ascii_hexdigit()), "{place}");
        }
    }
}
