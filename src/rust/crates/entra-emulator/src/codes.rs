//! Sign-ins on their way: requests that wait on a page for an answer, and the codes that answers bring.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};

use crate::authorize::Request;
use crate::errors::Error;
use crate::keys::decode;
use crate::random;
use crate::refusals::Refusal;

/// How long a page waits for its answer, and a code for being redeemed, in seconds.
pub(crate) const LIFETIME: i64 = 600;

/// What is kept of them. A code is single-use, and what is too old is forgotten when something new comes.
#[derive(Default)]
pub(crate) struct Codes(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    requests: HashMap<String, (Request, i64)>,
    codes: HashMap<String, Code>,
}

/// What a code stands for.
struct Code {
    request: Request,
    object_id: String,
    issued_at: i64,
    used: bool,
}

/// Who redeems a code, and how they prove that it is theirs.
pub(crate) struct Redemption<'a> {
    pub(crate) code: &'a SecretString,
    pub(crate) client_id: &'a str,
    pub(crate) redirect_uri: &'a str,
    pub(crate) verifier: Option<&'a SecretString>,
}

impl Codes {
    /// Keeps a request for as long as a page waits; the result names it.
    pub(crate) fn wait(&self, request: Request, now: i64) -> Result<String, Error> {
        let name = random::text::<16>()?;
        let mut kept = self.kept();
        kept.forget(now);
        kept.requests.insert(name.clone(), (request, now));
        Ok(name)
    }

    /// The request of this name.
    pub(crate) fn waiting(&self, name: &str, now: i64) -> Option<Request> {
        let mut kept = self.kept();
        kept.forget(now);
        kept.requests.get(name).map(|(request, _)| request.clone())
    }

    /// The same, which is answered now: there is no second answer.
    pub(crate) fn answer(&self, name: &str, now: i64) -> Option<Request> {
        let mut kept = self.kept();
        kept.forget(now);
        kept.requests.remove(name).map(|(request, _)| request)
    }

    /// A new code for a user who signed in.
    pub(crate) fn issue(
        &self,
        request: Request,
        object_id: String,
        now: i64,
    ) -> Result<SecretString, Error> {
        let code = random::text::<48>()?;
        let mut kept = self.kept();
        kept.forget(now);
        let what = Code {
            request,
            object_id,
            issued_at: now,
            used: false,
        };
        kept.codes.insert(code.clone(), what);
        Ok(code.into())
    }

    /// The request behind a code, and the user's object id. The code is used up if `for_good`.
    pub(crate) fn redeem(
        &self,
        redemption: &Redemption<'_>,
        now: i64,
        for_good: bool,
    ) -> Result<(Request, String), Refusal> {
        let mut kept = self.kept();
        let code = kept
            .codes
            .get_mut(redemption.code.expose_secret())
            .ok_or(Refusal::MalformedCode)?;
        if code.request.client_id != redemption.client_id {
            return Err(Refusal::OtherClientsGrant);
        }
        if code.used {
            return Err(Refusal::UsedCode);
        }
        if now >= code.issued_at.saturating_add(LIFETIME) {
            return Err(Refusal::ExpiredCode);
        }
        if code.request.redirect_uri != redemption.redirect_uri {
            return Err(Refusal::OtherRedirect);
        }
        check_verifier(code.request.challenge.as_deref(), redemption.verifier)?;
        code.used = for_good;
        Ok((code.request.clone(), code.object_id.clone()))
    }

    /// Each change is one insertion or removal, so a lock poisoned by a panic elsewhere guards sound data.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// A code is remembered twice as long as it lives, so that a client that is late or tries again learns which it is.
    fn forget(&mut self, now: i64) {
        self.requests
            .retain(|_, (_, since)| now < since.saturating_add(LIFETIME));
        self.codes
            .retain(|_, code| now < code.issued_at.saturating_add(2 * LIFETIME));
    }
}

/// PKCE (RFC 7636, section 4.6), by SHA-256 alone. A verifier without a challenge proves nothing and harms nobody.
fn check_verifier(challenge: Option<&str>, verifier: Option<&SecretString>) -> Result<(), Refusal> {
    let Some(challenge) = challenge else {
        return Ok(());
    };
    let verifier = verifier.ok_or(Refusal::MissingVerifier)?;
    let expected = digest(&SHA256, verifier.expose_secret().as_bytes());
    if decode(challenge).as_deref() == Some(expected.as_ref()) {
        Ok(())
    } else {
        Err(Refusal::WrongVerifier)
    }
}

/// The keys of the maps are secrets, so only numbers are shown.
impl fmt::Debug for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept();
        f.debug_struct("Codes")
            .field("requests", &kept.requests.len())
            .field("codes", &kept.codes.len())
            .finish()
    }
}
