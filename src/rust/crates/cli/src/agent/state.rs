//! What an agent knows: who is signed in, and the sign-in that is under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use entrar_broker::accounts::InMemory;
use entrar_broker::entra::{Assertion, Certificate, ClientAuth};
use entrar_broker::exchange::Exchanges;
use entrar_broker::random;
use entrar_broker::rpc::Broker;
use entrar_broker::sign_in::{self, Invitation, SignIn, SignedIn, Wishes};
use entrar_core::agent::{
    Account, Attempt, Credential, Method, Progress, Secret, SignIn as Wanted, Status,
};
use entrar_core::authority::Authority;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::file::{read_beginning, reason};
use entrar_core::http::ca_bundle;
use entrar_core::session_directory::SessionDirectory;
use entrar_core::time::UnixTime;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::cookie_session::CookieSession;
use crate::policy::{self, Policy};

/// The largest certificate file that is read, in bytes.
const LARGEST_CERTIFICATE: u64 = 256 * 1024;
/// The variables that name proxies.
const PROXIES: [&str; 8] = [
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// How long after its end an attempt's answer is kept: one of the last moment is redeemed meanwhile, and fetched.
const LAST_ANSWER: Duration = Duration::from_secs(30);

/// A person's agent.
pub(super) struct Agent {
    pub(super) env: Env,
    pub(super) broker: Arc<Broker<InMemory>>,
    pub(super) directory: SessionDirectory,
    since: UnixTime,
    idle: Duration,
    /// When it was asked last.
    asked: Mutex<Instant>,
    /// Told when the agent is to end.
    pub(super) stop: Notify,
    attempt: Mutex<Option<Arc<UnderWay>>>,
    account: Mutex<Option<Account>>,
    /// One at a time changes who is signed in, or opens the session for other people's clients.
    turn: tokio::sync::Mutex<Option<CookieSession>>,
}

/// A sign-in under way.
struct UnderWay {
    id: SecretString,
    wanted: Origin,
    sign_in: SignIn,
    /// Who has signed in, while it is asked whether they may take the place of another account.
    to_confirm: Mutex<Option<SignedIn>>,
}

impl UnderWay {
    /// Drops the refresh token that nobody has fetched until then, or for which nobody has said yes: R may have ended at the
    /// question.
    async fn forget_late(attempt: Weak<Self>, end: Instant) {
        tokio::time::sleep_until(end).await;
        if let Some(attempt) = attempt.upgrade() {
            *lock(&attempt.to_confirm) = None;
            drop(attempt.sign_in.take());
        }
    }
}

/// Where an account signs in.
#[derive(Clone)]
struct Origin {
    authority: String,
    client_id: String,
    method: Method,
}

impl Agent {
    pub(super) fn new(
        env: Env,
        broker: Arc<Broker<InMemory>>,
        directory: SessionDirectory,
        idle: Duration,
    ) -> Self {
        Self {
            since: env.now(),
            env,
            broker,
            directory,
            idle,
            asked: Mutex::new(Instant::now()),
            stop: Notify::new(),
            attempt: Mutex::default(),
            account: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Notes that somebody asks.
    pub(super) fn is_asked(&self) {
        *lock(&self.asked) = Instant::now();
    }

    /// Takes away the socket, at which nobody is to ask any more.
    pub(super) fn hide(&self) {
        // It may be gone already, or its directory.
        let _ = std::fs::remove_file(self.directory.socket_path());
    }

    /// Tells the agent to end. Whoever looks for one from now on finds none.
    pub(super) fn end(&self) {
        self.hide();
        self.stop.notify_one();
    }

    /// Resolves when nobody has asked for as long as an agent may be idle.
    pub(super) async fn idle(&self) {
        loop {
            let until = *lock(&self.asked) + self.idle;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// Begins a sign-in; one that was under way ends.
    pub(super) async fn begin(&self, wanted: Wanted) -> Result<Attempt, Error> {
        check_policy(wanted.method)?;
        let origin = Origin {
            authority: wanted.authority.clone(),
            client_id: wanted.client_id.clone(),
            method: wanted.method,
        };
        let mut wanted = options(wanted)?;
        wanted.wishes.claims = self.claims();
        let sign_in = SignIn::begin(&self.env, wanted).await?;
        let id = random::text::<32>().map_err(|error| {
            let message = format!("the system gives no random bytes: {error}");
            Error::new(Kind::Unavailable, message)
        })?;
        let (address, user_code) = match sign_in.invitation() {
            Invitation::Browser(address) | Invitation::Paste(address) => (address, None),
            Invitation::DeviceCode { address, user_code } => (address, Some(user_code.clone())),
        };
        let attempt = Attempt {
            id: Secret(id.clone().into()),
            method: origin.method,
            address: address.to_string(),
            user_code,
            expires_at: sign_in.expires_at().seconds(),
        };
        let under_way = UnderWay {
            id: id.into(),
            wanted: origin,
            sign_in,
            to_confirm: Mutex::default(),
        };
        let under_way = Arc::new(under_way);
        let lifetime = Duration::try_from_secs_f64(attempt.expires_at - self.env.now().seconds());
        tokio::spawn(UnderWay::forget_late(
            Arc::downgrade(&under_way),
            Instant::now() + lifetime.unwrap_or_default() + LAST_ANSWER,
        ));
        *lock(&self.attempt) = Some(under_way);
        Ok(attempt)
    }

    /// How far an attempt is, after so long at most.
    pub(super) async fn wait(&self, id: &Secret, longest: Duration) -> Result<Progress, Error> {
        let attempt = self.attempt(id)?;
        let status = attempt.sign_in.wait(longest).await;
        self.progress(&attempt, status).await
    }

    /// Takes where the person's browser ended.
    pub(super) async fn answer(&self, id: &Secret, address: &Secret) -> Result<Progress, Error> {
        let attempt = self.attempt(id)?;
        let status = attempt.sign_in.answer(address.expose()).await?;
        self.progress(&attempt, status).await
    }

    /// Lets the account that has signed in take the place of the one before.
    pub(super) async fn accept(&self, id: &Secret) -> Result<Progress, Error> {
        let attempt = self.attempt(id)?;
        let signed_in = lock(&attempt.to_confirm).take().ok_or_else(no_attempt)?;
        let account = self.signed_in(&attempt, signed_in).await?;
        Ok(Progress::SignedIn { account })
    }

    /// Ends an attempt.
    pub(super) fn cancel(&self, id: &Secret) {
        if let Ok(attempt) = self.attempt(id) {
            self.forget(&attempt);
        }
    }

    async fn progress(
        &self,
        attempt: &Arc<UnderWay>,
        status: sign_in::Status,
    ) -> Result<Progress, Error> {
        match status {
            sign_in::Status::Waiting => return Ok(Progress::Waiting),
            sign_in::Status::Failed(error) => {
                self.forget(attempt);
                return Err(error);
            }
            sign_in::Status::SignedIn(_) => {}
        }
        let found = lock(&attempt.to_confirm).take();
        let signed_in = found.or_else(|| attempt.sign_in.take());
        let signed_in = signed_in.ok_or_else(no_attempt)?;
        let account = self.account_of(attempt, &signed_in);
        match self.account().filter(|before| !before.is_same_as(&account)) {
            Some(replaces) => {
                *lock(&attempt.to_confirm) = Some(signed_in);
                Ok(Progress::Confirm { account, replaces })
            }
            None => {
                let account = self.signed_in(attempt, signed_in).await?;
                Ok(Progress::SignedIn { account })
            }
        }
    }

    /// From now on tokens are this account's. Each sign-in is a new session: whatever was kept of the one before is
    /// dropped, here and in every process of the person.
    async fn signed_in(
        &self,
        attempt: &Arc<UnderWay>,
        signed_in: SignedIn,
    ) -> Result<Account, Error> {
        let account = self.account_of(attempt, &signed_in);
        let id = signed_in.identity.account;
        let mut session = self.turn.lock().await;
        let exchanges = Exchanges::new(signed_in.entra, InMemory::default());
        exchanges
            .sign_in(id, signed_in.refresh_token)
            .await
            .map_err(|refusal| refusal.error())?;
        // While this fails nobody else has taken the place.
        self.directory
            .mark_new_sign_in(Some(&id.to_string()))
            .map_err(|error| self.not_written(&error))?;
        // An exchange of another account that is under way brings nothing any more.
        let before = self.account().filter(|before| !before.is_same_as(&account));
        if let Some(before) = before {
            self.forget_tokens(&before).await;
        }
        self.broker.set_exchanges(Some(exchanges));
        self.broker.admission().begin_anew(Some(id));
        *lock(&self.account) = Some(account.clone());
        if session
            .as_mut()
            .is_some_and(|session| session.renew(self, id).is_err())
        {
            // Its cookie is good no more. Who asks for it is told why there is none.
            *session = None;
        }
        drop(session);
        self.forget(attempt);
        Ok(account)
    }

    fn account_of(&self, attempt: &UnderWay, signed_in: &SignedIn) -> Account {
        let identity = &signed_in.identity;
        Account {
            username: identity.username.clone(),
            name: identity.name.clone(),
            tenant: identity.account.tid.to_string(),
            object_id: identity.account.oid.to_string(),
            client_id: attempt.wanted.client_id.clone(),
            authority: attempt.wanted.authority.clone(),
            method: attempt.wanted.method,
            since: self.env.now().seconds(),
        }
    }

    /// What the tenant wants of the next sign-in. Without it the person could sign in over and over, and be refused as
    /// before.
    fn claims(&self) -> Option<String> {
        let id = self.account().as_ref().and_then(id_of)?;
        self.broker.exchanges()?.claims(id)
    }

    /// Who is signed in.
    pub(super) fn account(&self) -> Option<Account> {
        lock(&self.account).clone()
    }

    /// Signs out: the refresh token is gone, sessions have ended, and an exchange under way brings nothing any more.
    pub(super) async fn sign_out(&self) -> Option<Account> {
        let mut session = self.turn.lock().await;
        *session = None;
        *lock(&self.attempt) = None;
        let account = lock(&self.account).take()?;
        self.forget_tokens(&account).await;
        self.broker.set_exchanges(None);
        self.broker.admission().begin_anew(None);
        // Who keeps tokens of before cannot be told where this fails; they expire.
        let _ = self.directory.mark_new_sign_in(None);
        Some(account)
    }

    /// Drops the refresh token of an account.
    async fn forget_tokens(&self, account: &Account) {
        if let (Some(exchanges), Some(id)) = (self.broker.exchanges(), id_of(account)) {
            // In memory nothing fails.
            let _ = exchanges.sign_out(id).await;
        }
    }

    /// The session of clients that know an address and a cookie only, opened if there is none.
    pub(super) async fn open_session(
        self: &Arc<Self>,
    ) -> Result<entrar_core::agent::Session, Error> {
        let mut session = self.turn.lock().await;
        let id = self.account().as_ref().and_then(id_of).ok_or_else(|| {
            Error::new(Kind::SignInRequired, "nobody is signed in")
                .remedied(Some("Call azure_sign_in() in R first."))
        })?;
        match session.as_mut() {
            Some(session) => session.renew(self, id),
            None => {
                let (opened, described) = CookieSession::open(self, id).await?;
                *session = Some(opened);
                Ok(described)
            }
        }
    }

    /// Writes the cookie of that session anew, before the one in its file expires.
    pub(super) async fn renew_session(&self) {
        let mut session = self.turn.lock().await;
        let id = self.account().as_ref().and_then(id_of);
        if let (Some(session), Some(id)) = (session.as_mut(), id) {
            // The one before is good for as long again.
            let _ = session.renew(self, id);
        }
    }

    /// What it says of itself.
    pub(super) async fn status(&self) -> Status {
        let address = self
            .turn
            .lock()
            .await
            .as_ref()
            .map(|session| session.address().to_owned());
        let proxies = PROXIES
            .into_iter()
            .filter_map(|name| {
                let value = self.env.var(name)?;
                let shown = if name.eq_ignore_ascii_case("no_proxy") {
                    value
                } else {
                    shown_proxy(&value)
                };
                Some(format!("{name}: {shown}"))
            })
            .collect();
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: self.since.seconds(),
            idle: self.idle.as_secs_f64(),
            account: self.account(),
            address,
            proxies,
            bundle: ca_bundle(&self.env).map(|(name, path)| format!("{name}: {path}")),
        }
    }

    pub(super) fn not_written(&self, error: &std::io::Error) -> Error {
        let message = format!(
            "the agent cannot write to {}: {}",
            self.directory.path().display(),
            reason(error)
        );
        Error::new(Kind::Unavailable, message)
    }

    fn attempt(&self, id: &Secret) -> Result<Arc<UnderWay>, Error> {
        let attempt = lock(&self.attempt).clone().ok_or_else(no_attempt)?;
        // How long a comparison takes tells nothing to who needs 256 bits of it.
        if attempt.id.expose_secret() == id.expose() {
            Ok(attempt)
        } else {
            Err(no_attempt())
        }
    }

    fn forget(&self, attempt: &Arc<UnderWay>) {
        let mut current = lock(&self.attempt);
        if current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, attempt))
        {
            *current = None;
        }
    }
}

fn no_attempt() -> Error {
    Error::new(
        Kind::SignInRequired,
        "this sign-in has ended, or another one has begun since",
    )
    .remedied(Some("Call azure_sign_in() again."))
}

fn id_of(account: &Account) -> Option<entrar_broker::accounts::AccountId> {
    Some(entrar_broker::accounts::AccountId {
        tid: account.tenant.parse().ok()?,
        oid: account.object_id.parse().ok()?,
    })
}

fn check_policy(method: Method) -> Result<(), Error> {
    if cfg!(windows) {
        // What lies at that path there may be anybody's.
        return Ok(());
    }
    let path = std::path::Path::new(policy::PATH);
    let (is_open, what) = match (method, Policy::read(path)) {
        (Method::Browser, _) => return Ok(()),
        (_, Err(why)) => {
            let message = format!("the policy of this machine cannot be followed: {why}");
            return Err(Error::new(Kind::AccessDenied, message));
        }
        (Method::Paste, Ok(policy)) => (policy.paste, "pasting an address"),
        (Method::DeviceCode, Ok(policy)) => (policy.device_code, "a device code"),
    };
    if is_open {
        return Ok(());
    }
    let message = format!(
        "signing in by {what} is turned off on this machine ({})",
        policy::PATH
    );
    Err(Error::new(Kind::AccessDenied, message).remedied(Some(
        "Ask the administrator of this machine how to sign in here.",
    )))
}

fn options(wanted: Wanted) -> Result<sign_in::Options, Error> {
    let bad = |what: &str| Error::new(Kind::Misconfigured, what.to_owned());
    let auth = match wanted.credential {
        Credential::Public => ClientAuth::Public,
        Credential::Secret(Secret(secret)) => ClientAuth::Secret(secret),
        Credential::FederatedToken(path) => ClientAuth::Assertion(Assertion::File(path.into())),
        Credential::Certificate(path) => {
            let unreadable = |why: &str| bad(&format!("the certificate {path} {why}"));
            let bytes = read_beginning(path.as_ref(), LARGEST_CERTIFICATE)
                .map_err(|error| unreadable(&format!("cannot be read: {}", reason(&error))))?;
            let text = SecretString::from(
                String::from_utf8(bytes).map_err(|_| unreadable("is no text (PEM)"))?,
            );
            let certificate = Certificate::from_pem(text.expose_secret())?;
            ClientAuth::Assertion(Assertion::Certificate(Box::new(certificate)))
        }
    };
    Ok(sign_in::Options {
        authority: Authority::given(&wanted.authority)
            .map_err(|why| bad(&format!("the authority cannot be used: {why}")))?,
        tenant: wanted.tenant,
        client_id: wanted
            .client_id
            .parse()
            .map_err(|_| bad("the client id is no GUID"))?,
        auth,
        method: match wanted.method {
            Method::Browser => sign_in::Method::Browser,
            Method::Paste => sign_in::Method::Paste,
            Method::DeviceCode => sign_in::Method::DeviceCode,
        },
        wishes: Wishes {
            login_hint: wanted.login_hint,
            select_account: wanted.select_account,
            claims: None,
        },
    })
}

/// A proxy's address without user name and password; nothing of one that is not understood.
fn shown_proxy(value: &str) -> String {
    match entrar_core::address::Address::parse(value) {
        Ok(address) => address.to_string(),
        Err(_) => "an address that is not understood".to_owned(),
    }
}

/// No change under these locks can stop half-way, so one poisoned by a panic elsewhere guards sound data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use entra_emulator::{Clock, Emulator, Options, Tenant, User};
    use entrar_broker::admission::{Admission, Owner};
    use entrar_core::http::{Http, Settings};
    use entrar_core::session_directory::VARIABLE;

    pub(in crate::agent) const IDLE: Duration = Duration::from_secs(12 * 60 * 60);
    const HOUR: Duration = Duration::from_secs(60 * 60);

    pub(in crate::agent) fn agent(base: &std::path::Path) -> Agent {
        let path = base.join("entrar");
        let env = Env::fixed(&[(VARIABLE, path.to_str().unwrap())], 0.0);
        let directory = SessionDirectory::create(&env).unwrap();
        #[cfg(unix)]
        let owner = Owner::User(entrar_core::private_directory::own_uid());
        #[cfg(windows)]
        let owner = Owner::Holder("canary".into());
        let admission = Admission::owned_by(owner).unwrap();
        let broker = Broker::new(env.clone(), admission, None);
        Agent::new(env, Arc::new(broker), directory, IDLE)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_idle_so_long_after_it_was_asked_last() {
        let base = tempfile::tempdir().unwrap();
        let agent = agent(base.path());
        let begun = Instant::now();
        let asked = async {
            for _ in 0..5 {
                tokio::time::sleep(11 * HOUR).await;
                agent.is_asked();
            }
        };
        tokio::join!(agent.idle(), asked);
        assert_eq!(begun.elapsed().as_secs(), (5 * 11 * HOUR + IDLE).as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_idle_if_nobody_ever_asks() {
        let base = tempfile::tempdir().unwrap();
        let agent = agent(base.path());
        let begun = Instant::now();
        agent.idle().await;
        assert_eq!(begun.elapsed().as_secs(), IDLE.as_secs());
    }

    /// Where a browser ends that opens the address of a sign-in by pasting.
    async fn browsed(address: &str) -> Secret {
        let http = Http::new(Settings::new(
            &Env::fixed(&[], 0.0),
            &address.parse().unwrap(),
        ));
        let page = http.unwrap().client().get(address).send().await.unwrap();
        let end = page.headers()["location"].to_str().unwrap();
        Secret(end.to_owned().into())
    }

    #[tokio::test]
    async fn who_has_signed_in_is_forgotten_if_nobody_asks_for_so_long() {
        let base = tempfile::tempdir().unwrap();
        let agent = agent(base.path());
        let users = vec![User::default(), User::new("Bob", "bob@example.com")];
        let tenant = Tenant::new(Options {
            auto_consent: true,
            users,
            clock: Clock::new(|| 0),
            ..Options::default()
        });
        let tenant = Arc::new(tenant.unwrap());
        let emulator = Emulator::start(Arc::clone(&tenant), ([127, 0, 0, 1], 0).into()).unwrap();
        let begin = async |login_hint: Option<&str>| {
            let wanted = Wanted {
                authority: emulator.url().to_owned(),
                tenant: tenant.id().to_owned(),
                client_id: tenant.client_id().to_owned(),
                credential: Credential::Public,
                method: Method::Paste,
                login_hint: login_hint.map(str::to_owned),
                select_account: false,
            };
            let attempt = agent.begin(wanted).await.unwrap();
            let answer = browsed(&attempt.address).await;
            (attempt.id, answer)
        };
        let (id, answer) = begin(None).await;
        let progress = agent.answer(&id, &answer).await.unwrap();
        assert!(matches!(progress, Progress::SignedIn { .. }));
        let bob = Some("bob@example.com");
        for is_asked_about in [true, false] {
            let (id, answer) = begin(bob).await;
            if is_asked_about {
                let progress = agent.answer(&id, &answer).await.unwrap();
                assert!(matches!(progress, Progress::Confirm { .. }));
            } else {
                // R has ended before it could hear of it.
                let attempt = agent.attempt(&id).unwrap();
                attempt.sign_in.answer(answer.expose()).await.unwrap();
            }
            let attempt = agent.attempt(&id).unwrap();
            tokio::time::pause();
            tokio::time::advance(sign_in::LIFETIME).await;
            tokio::task::yield_now().await;
            assert_eq!(lock(&attempt.to_confirm).is_some(), is_asked_about);
            tokio::time::advance(LAST_ANSWER + Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
            assert!(lock(&attempt.to_confirm).is_none() && attempt.sign_in.take().is_none());
            tokio::time::resume();
            let error = agent.accept(&id).await.unwrap_err();
            assert_eq!(error.message(), no_attempt().message());
            let account = agent.account().unwrap();
            assert_eq!(account.username.as_deref(), Some("ada@example.com"));
        }
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        for (value, shown) in [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            (
                "http://me:canary@proxy.example:3128",
                "http://proxy.example:3128",
            ),
            ("canary @ nowhere", "an address that is not understood"),
        ] {
            assert_eq!(shown_proxy(value), shown);
        }
    }
}
