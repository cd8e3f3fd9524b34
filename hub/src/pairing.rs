//! Pairing by a code, where neither rule nor table says which local user an account is: the browser shows a code, and the
//! person types it into the session that asked. A click in the browser is never enough, since a link can be sent.

use std::time::Duration;

use entrar_broker::accounts::AccountId;
use entrar_broker::random;
use entrar_broker::sign_in::Identity;
use entrar_core::error::{Error, Kind};
use entrar_core::time::UnixTime;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::configuration::Unmapped;
use crate::doors::socket::of_store;
use crate::hub::{Hub, no_random_bytes};
use crate::local_user::LocalUser;
use crate::store::{AuditRow, BoundBy, Change, Event, ProfileNames};

/// How long a session waits for a sign-in.
pub(crate) const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long a code may be typed.
const CODE: Duration = Duration::from_secs(5 * 60);
/// How many codes may be tried.
const TRIES: u32 = 3;
/// The symbols of a code, without those that are taken for each other. 32 of them: each is five random bits.
const SYMBOLS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// How many symbols a code has.
const LENGTH: usize = 8;

/// A pairing under way. It lies in the database, sealed.
#[derive(Deserialize, Serialize)]
struct Pairing {
    uid: u32,
    user: String,
    machine: String,
    signed_in: Option<SignedIn>,
}

/// Who has signed in for it.
#[derive(Clone, Deserialize, Serialize)]
struct SignedIn {
    tid: String,
    oid: String,
    username: Option<String>,
    name: Option<String>,
    refresh_token: String,
    /// The browser that has signed in, which alone is shown the code.
    browser: String,
    code: String,
    code_expires_at: f64,
    tries_left: u32,
}

/// What the page shows.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) account: AccountId,
    pub(crate) names: ProfileNames,
    pub(crate) user: LocalUser,
    pub(crate) machine: String,
    pub(crate) code: SecretString,
    pub(crate) expires_at: UnixTime,
}

/// What a session waits for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    SignIn,
    Code { tries_left: u32 },
}

/// What a code has led to.
enum Tried {
    Right(Box<SignedIn>),
    Wrong {
        tries_left: u32,
    },
    /// Nobody has signed in yet.
    TooEarly,
    Late,
    /// It is another user's.
    Foreign,
}

impl Pairing {
    fn local_user(&self) -> LocalUser {
        LocalUser {
            uid: self.uid,
            name: self.user.clone(),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    fn written(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec(self).unwrap_or_default())
    }
}

impl SignedIn {
    fn account(&self) -> Option<AccountId> {
        Some(AccountId {
            tid: self.tid.parse().ok()?,
            oid: self.oid.parse().ok()?,
        })
    }
}

impl Hub {
    /// Whether a sign-in of this user's ends with a code.
    pub(crate) async fn pairs(&self, user: &LocalUser) -> Result<bool, Error> {
        if !self.configuration().people.pairing {
            return Ok(false);
        }
        let is_bound = self
            .store
            .binding_of_user(user.uid)
            .await
            .map_err(of_store)?
            .is_some();
        Ok(!is_bound
            && self
                .store
                .is_permitted(user, self.now())
                .await
                .map_err(of_store)?)
    }

    /// Begins a pairing for a session of this user; the result is its ticket.
    pub(crate) async fn begin_pairing(&self, user: &LocalUser) -> Result<SecretString, Error> {
        let ticket = SecretString::from(random_text()?);
        let pairing = Pairing {
            uid: user.uid,
            user: user.name.clone(),
            machine: self.machine.clone(),
            signed_in: None,
        };
        let now = self.now();
        self.store
            .begin_pairing(&ticket, &pairing.written(), now, now + LIFETIME)
            .await
            .map_err(of_store)?;
        Ok(ticket)
    }

    /// Somebody has signed in for this ticket, whose account no rule knows. `None` if the ticket is over; the error of
    /// [`Unmapped`] if nobody may pair such an account.
    pub(crate) async fn offer_code(
        &self,
        ticket: &str,
        browser: &SecretString,
        identity: &Identity,
        refresh_token: &SecretString,
        why: Unmapped,
    ) -> Result<Result<Option<()>, Unmapped>, Error> {
        let configuration = self.configuration();
        let people = &configuration.people;
        let may = match why {
            Unmapped::Guest => false,
            Unmapped::Tenant => people.tenants.is_empty(),
            Unmapped::NoUpn | Unmapped::Rule => true,
        };
        let Some(user) = self.pairing_user(ticket).await? else {
            return Ok(Ok(None));
        };
        if !may || !self.pairs(&user).await? {
            return Ok(Err(why));
        }
        let now = self.now();
        let signed_in = SignedIn {
            tid: identity.account.tid.to_string(),
            oid: identity.account.oid.to_string(),
            username: identity.username.clone(),
            name: identity.name.clone(),
            refresh_token: refresh_token.expose_secret().to_owned(),
            browser: browser.expose_secret().to_owned(),
            code: code()?,
            code_expires_at: (now + CODE).seconds(),
            tries_left: TRIES,
        };
        let change = move |bytes: &[u8]| match Pairing::read(bytes) {
            // The first who signs in, and nobody after them.
            Some(pairing) if pairing.signed_in.is_none() => {
                let pairing = Pairing {
                    signed_in: Some(signed_in),
                    ..pairing
                };
                Change::To(pairing.written(), true)
            }
            _ => Change::None(false),
        };
        let changed = self
            .store
            .change_pairing(ticket, now, change)
            .await
            .map_err(of_store)?;
        if changed != Some(true) {
            return Ok(Ok(None));
        }
        let row = AuditRow {
            account: Some(identity.account),
            user: Some(user),
            detail: Some("a code is shown".to_owned()),
            ..self.row(Event::Pair)
        };
        self.note(row).await?;
        self.signed_in_somewhere.notify_waiters();
        Ok(Ok(Some(())))
    }

    /// The user whose session waits for this ticket.
    pub(crate) async fn pairing_user(&self, ticket: &str) -> Result<Option<LocalUser>, Error> {
        let look =
            |bytes: &[u8]| Change::None(Pairing::read(bytes).map(|pairing| pairing.local_user()));
        let found = self
            .store
            .change_pairing(ticket, self.now(), look)
            .await
            .map_err(of_store)?;
        Ok(found.flatten())
    }

    /// What the page shows the browser that has signed in; `None` if the pairing is over.
    pub(crate) async fn shown_code(
        &self,
        ticket: &str,
        browser: &SecretString,
    ) -> Result<Option<Shown>, Error> {
        let (now, browser) = (self.now(), browser.clone());
        let look = move |bytes: &[u8]| {
            Change::None(Pairing::read(bytes).and_then(|pairing| {
                let user = pairing.local_user();
                let signed_in = pairing.signed_in?;
                let expires_at = UnixTime::new(signed_in.code_expires_at);
                (is_same(&signed_in.browser, browser.expose_secret()) && now < expires_at)
                    .then_some(())?;
                Some(Shown {
                    account: signed_in.account()?,
                    names: ProfileNames {
                        username: signed_in.username.unwrap_or_default(),
                        name: signed_in.name.unwrap_or_default(),
                    },
                    user,
                    machine: pairing.machine,
                    code: signed_in.code.into(),
                    expires_at,
                })
            }))
        };
        let found = self
            .store
            .change_pairing(ticket, now, look)
            .await
            .map_err(of_store)?;
        Ok(found.flatten())
    }

    /// The person says in the browser that they did not begin it. Whether there was anything to stop.
    pub(crate) async fn stop_pairing(
        &self,
        ticket: &str,
        browser: &SecretString,
    ) -> Result<bool, Error> {
        let browser = browser.clone();
        let stop = move |bytes: &[u8]| match Pairing::read(bytes) {
            Some(pairing) => match &pairing.signed_in {
                Some(signed_in) if is_same(&signed_in.browser, browser.expose_secret()) => {
                    Change::Over(Some((pairing.local_user(), signed_in.account())))
                }
                _ => Change::None(None),
            },
            None => Change::Over(None),
        };
        let stopped = self
            .store
            .change_pairing(ticket, self.now(), stop)
            .await
            .map_err(of_store)?;
        let Some((user, account)) = stopped.flatten() else {
            return Ok(false);
        };
        let row = AuditRow {
            account,
            user: Some(user),
            result: "access_denied".to_owned(),
            detail: Some("the person who signed in did not begin it".to_owned()),
            ..self.row(Event::Pair)
        };
        self.note(row).await?;
        self.signed_in_somewhere.notify_waiters();
        Ok(true)
    }

    /// What a session of this user waits for; `None` if the ticket is over, or not this user's.
    pub(crate) async fn awaited(
        &self,
        user: &LocalUser,
        ticket: &str,
    ) -> Result<Option<Awaited>, Error> {
        let (user, now) = (user.clone(), self.now());
        let look = move |bytes: &[u8]| match Pairing::read(bytes) {
            Some(pairing) if pairing.local_user() == user => match pairing.signed_in {
                None => Change::None(Some(Awaited::SignIn)),
                Some(signed_in) if UnixTime::new(signed_in.code_expires_at) <= now => {
                    Change::Over(None)
                }
                Some(signed_in) => Change::None(Some(Awaited::Code {
                    tries_left: signed_in.tries_left,
                })),
            },
            _ => Change::None(None),
        };
        let found = self
            .store
            .change_pairing(ticket, now, look)
            .await
            .map_err(of_store)?;
        Ok(found.flatten())
    }

    /// Takes a code that was typed into a session of this user. How many tries are left after a wrong one; the account after the
    /// right one.
    pub(crate) async fn pair(
        &self,
        user: &LocalUser,
        ticket: &str,
        code: &str,
    ) -> Result<Result<AccountId, u32>, Error> {
        let (now, asks) = (self.now(), user.clone());
        let code = Zeroizing::new(normalised(code));
        let change = move |bytes: &[u8]| tried(bytes, &asks, &code, now);
        let tried = self
            .store
            .change_pairing(ticket, now, change)
            .await
            .map_err(of_store)?;
        let over = |what: &str| {
            Err(Error::new(Kind::SignInRequired, what)
                .remedied(Some("Begin again with azure_sign_in().")))
        };
        match tried {
            None | Some(Tried::Foreign) => {
                over("the hub knows no such pairing, or it took too long")
            }
            Some(Tried::Late) => over("the code has expired"),
            Some(Tried::TooEarly) => Err(Error::new(
                Kind::BadReply,
                "nobody has signed in on the hub's page yet",
            )),
            Some(Tried::Wrong { tries_left }) => {
                let row = AuditRow {
                    user: Some(user.clone()),
                    result: "access_denied".to_owned(),
                    detail: Some(format!("a wrong code, {tries_left} tries left")),
                    ..self.row(Event::Pair)
                };
                self.note(row).await?;
                if tries_left == 0 {
                    return over("the code was wrong three times; the sign-in was thrown away");
                }
                Ok(Err(tries_left))
            }
            Some(Tried::Right(signed_in)) => self.paired(user, *signed_in).await.map(Ok),
        }
    }

    async fn paired(&self, user: &LocalUser, signed_in: SignedIn) -> Result<AccountId, Error> {
        let account = signed_in.account().ok_or_else(|| {
            Error::new(
                Kind::ServerError,
                "the hub cannot read what it noted of a pairing",
            )
        })?;
        // The administrator's word counts once, and not for a code that was shown before a user was unbound.
        if !self.pairs(user).await? {
            return Err(Error::new(
                Kind::AccessDenied,
                "the hub's administrator does not let this user pair any more",
            )
            .remedied(Some("Ask them for `entrar-hub pair`.")));
        }
        if !self.bind(account, user, BoundBy::Pairing).await? {
            return Err(Error::new(
                Kind::AccessDenied,
                "this account or this user is bound already",
            )
            .remedied(Some("Ask the hub's administrator to unbind it.")));
        }
        self.store.end_permit(user).await.map_err(of_store)?;
        let names = ProfileNames {
            username: signed_in.username.unwrap_or_default(),
            name: signed_in.name.unwrap_or_default(),
        };
        self.keep(account, &names, signed_in.refresh_token.into(), user)
            .await?;
        Ok(account)
    }
}

fn tried(bytes: &[u8], user: &LocalUser, code: &str, now: UnixTime) -> Change<Tried> {
    let Some(mut pairing) = Pairing::read(bytes) else {
        return Change::Over(Tried::Foreign);
    };
    if pairing.local_user() != *user {
        return Change::None(Tried::Foreign);
    }
    let Some(mut signed_in) = pairing.signed_in.take() else {
        return Change::None(Tried::TooEarly);
    };
    if UnixTime::new(signed_in.code_expires_at) <= now {
        return Change::Over(Tried::Late);
    }
    if is_same(&signed_in.code, code) {
        return Change::Over(Tried::Right(Box::new(signed_in)));
    }
    signed_in.tries_left = signed_in.tries_left.saturating_sub(1);
    let tries_left = signed_in.tries_left;
    if tries_left == 0 {
        return Change::Over(Tried::Wrong { tries_left });
    }
    pairing.signed_in = Some(signed_in);
    Change::To(pairing.written(), Tried::Wrong { tries_left })
}

fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// A code as people type it: in any case, with or without the hyphen.
fn normalised(code: &str) -> String {
    let symbols = code.chars().filter(|c| !c.is_whitespace() && *c != '-');
    symbols
        .map(|c| c.to_ascii_uppercase())
        .take(LENGTH * 4)
        .collect()
}

fn code() -> Result<String, Error> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| no_random_bytes(&error))?;
    let symbol = |byte: &u8| SYMBOLS.get(usize::from(byte % 32)).copied().map(char::from);
    Ok(bytes.iter().filter_map(symbol).collect())
}

fn random_text() -> Result<String, Error> {
    random::text::<32>().map_err(|error| no_random_bytes(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::of_whole(1_795_392_000);

    fn ada() -> LocalUser {
        LocalUser {
            uid: 1_001,
            name: "ada".to_owned(),
        }
    }

    fn pairing(tries_left: u32) -> Vec<u8> {
        let pairing = Pairing {
            uid: 1_001,
            user: "ada".to_owned(),
            machine: "node".to_owned(),
            signed_in: Some(SignedIn {
                tid: "11111111-2222-4333-8444-555555555555".to_owned(),
                oid: "11111111-2222-4333-8444-555555555556".to_owned(),
                username: None,
                name: None,
                refresh_token: "canary".to_owned(),
                browser: "browser".to_owned(),
                code: "ABCD2345".to_owned(),
                code_expires_at: (NOW + 60.0).seconds(),
                tries_left,
            }),
        };
        pairing.written().to_vec()
    }

    #[test]
    fn a_code_is_typed_as_people_do_and_counts_for_its_user_and_time() {
        for typed in ["ABCD2345", "abcd-2345", " ab cd 23 45 "] {
            let change = tried(&pairing(1), &ada(), &normalised(typed), NOW);
            assert!(matches!(change, Change::Over(Tried::Right(_))), "{typed}");
        }
        let other = LocalUser {
            uid: 1_002,
            ..ada()
        };
        let change = tried(&pairing(3), &other, "ABCD2345", NOW);
        assert!(matches!(change, Change::None(Tried::Foreign)));
        let change = tried(&pairing(3), &ada(), "ABCD2345", NOW + 60.0);
        assert!(matches!(change, Change::Over(Tried::Late)));
    }

    #[test]
    fn the_third_wrong_code_is_the_last() {
        let mut bytes = pairing(TRIES);
        for left in [2, 1] {
            match tried(&bytes, &ada(), "ABCD2346", NOW) {
                Change::To(next, Tried::Wrong { tries_left }) if tries_left == left => {
                    bytes = next.to_vec()
                }
                _ => panic!("{left}"),
            }
        }
        let last = tried(&bytes, &ada(), "", NOW);
        assert!(matches!(last, Change::Over(Tried::Wrong { tries_left: 0 })));
    }

    #[test]
    fn codes_are_of_eight_symbols_that_nobody_mistakes() {
        let codes: Vec<_> = (0..50).map(|_| code().unwrap()).collect();
        for code in &codes {
            assert_eq!(code.len(), LENGTH);
            assert!(
                code.bytes().all(|symbol| SYMBOLS.contains(&symbol)),
                "{code}"
            );
            assert_eq!(normalised(code), *code);
        }
        assert!(codes.iter().any(|code| *code != codes[0]));
    }
}
