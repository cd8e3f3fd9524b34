//! What everything in the hub has in common: its settings, its database, its tenant, and who is who.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entrar_broker::accounts::AccountId;
use entrar_broker::entra::Refusal;
use entrar_broker::exchange::Exchanges;
use entrar_core::error::{Details, Error, Kind};
use entrar_core::time::UnixTime;
use secrecy::SecretString;
use tokio::sync::{Notify, OnceCell};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::configuration::Configuration;
use crate::doors::health::Probe;
use crate::doors::socket::of_store;
use crate::health::Health;
use crate::keys::Keys;
use crate::limits::{Allowance, Limiter};
use crate::local_user::{LocalUser, NotServed, Rules};
use crate::metrics::Metrics;
use crate::seal::{self, Fields};
use crate::store::{AuditRow, Binding, Bound, BoundBy, Event, Store, StoreError};
use crate::tenant::Tenant;

/// How many sign-ins may begin a minute, of all people together.
const SIGN_INS: f64 = 600.0;
/// What is said beyond that.
pub(crate) const TOO_MANY_SIGN_INS: &str = "too many people sign in at once";

/// The hub.
pub struct Hub {
    /// Its database.
    pub store: Store,
    /// Its tenant.
    pub tenant: Tenant,
    /// What it knows of its own state.
    pub health: Arc<Health>,
    /// What it counts.
    pub metrics: Metrics,
    /// How much one user may ask.
    pub limiter: Arc<Limiter>,
    /// This machine's name, for show.
    pub machine: String,
    /// Told whenever somebody has signed in.
    pub(crate) signed_in_somewhere: Notify,
    pub(crate) probe: Probe,
    /// Its settings, which others may take the place of.
    configuration: RwLock<Arc<Configuration>>,
    keys: Keys,
    /// How many sign-ins may begin: whoever reaches the page can begin one, and each is a row in the database.
    sign_ins: Mutex<Allowance>,
    exchanges: OnceCell<Exchanges<Store>>,
}

/// Asks the system's user directory, which may take its time.
async fn looked_up(
    ask: impl FnOnce() -> Result<LocalUser, NotServed> + Send + 'static,
) -> Result<LocalUser, NotServed> {
    let broken_off = |_| NotServed::Unreadable("the look-up broke off".to_owned());
    spawn_blocking(ask).await.map_err(broken_off)?
}

impl Hub {
    /// A hub with these settings and this database.
    #[must_use]
    pub fn new(configuration: Configuration, keys: Keys, store: Store) -> Arc<Self> {
        let redirect_uri = configuration.public_url.join("callback");
        let redirect_uri = redirect_uri.map_or_else(|_| String::new(), String::from);
        let machine = nix::unistd::gethostname().ok();
        let tenant = Tenant::new(configuration.tenant.clone(), redirect_uri);
        Arc::new(Self {
            limiter: Limiter::new(configuration.limits),
            machine: machine.map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            tenant,
            health: Arc::default(),
            metrics: Metrics::default(),
            probe: Probe::default(),
            configuration: RwLock::new(Arc::new(configuration)),
            keys,
            store,
            signed_in_somewhere: Notify::new(),
            sign_ins: Mutex::new(Allowance::new(SIGN_INS, Instant::now())),
            exchanges: OnceCell::new(),
        })
    }

    /// Its settings now. Whoever does one thing by several of them asks once.
    #[must_use]
    pub fn configuration(&self) -> Arc<Configuration> {
        let configuration = self.configuration.read();
        Arc::clone(&configuration.unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other settings in their place.
    pub(crate) fn configure(&self, configuration: Configuration) {
        let mut current = self
            .configuration
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(configuration);
    }

    fn rules(&self) -> Rules {
        Rules::new(self.configuration().socket.uids.clone())
    }

    /// A row of the audit about what goes well now.
    pub(crate) fn row(&self, event: Event) -> AuditRow {
        AuditRow {
            at: self.now(),
            event,
            account: None,
            user: None,
            session: None,
            machine: None,
            resource: None,
            result: "ok".to_owned(),
            correlation_id: None,
            detail: None,
        }
    }

    /// Adds a row to the audit. What cannot be noted must not happen.
    pub(crate) async fn note(&self, row: AuditRow) -> Result<(), Error> {
        if row.event == Event::SignIn {
            self.metrics.signed_in(&row.result);
        }
        self.store.append(&row).await.map_err(of_store)
    }

    /// Binds an account to a user, and notes it, or that either is bound otherwise; whether it was done. A code binds nothing
    /// that was bound before.
    pub(crate) async fn bind(
        &self,
        account: AccountId,
        user: &LocalUser,
        by: BoundBy,
    ) -> Result<bool, Error> {
        let binding = Binding {
            account,
            user: user.clone(),
            by,
            bound_at: self.now(),
        };
        let is_bound = match self.store.bind(&binding).await.map_err(of_store)? {
            Bound::New => true,
            Bound::Already => by != BoundBy::Pairing,
            Bound::Conflict(_) => false,
        };
        let mut row = AuditRow {
            account: Some(account),
            user: Some(user.clone()),
            ..self.row(Event::Bind)
        };
        if !is_bound {
            row.result = "access_denied".to_owned();
            row.detail = Some("bound otherwise".to_owned());
        } else if by == BoundBy::Pairing {
            row.detail = Some("by a code".to_owned());
        }
        self.note(row).await?;
        Ok(is_bound)
    }

    /// What tells one sign-in of an account from another, and nobody can guess.
    pub(crate) fn mark(
        &self,
        account: AccountId,
        signed_in_at: UnixTime,
    ) -> Result<SecretString, StoreError> {
        let fields = Fields::of("mark")
            .text(&account.to_string())
            .time(signed_in_at);
        let mac = seal::mac(&self.keys, &fields).map_err(|_| StoreError::Random)?;
        Ok(URL_SAFE_NO_PAD.encode(mac.mac).into())
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        UnixTime::now()
    }

    /// Where tokens come from.
    ///
    /// # Errors
    /// Why the tenant cannot be asked.
    pub async fn exchanges(&self) -> Result<&Exchanges<Store>, Error> {
        let exchanges = || async {
            let app = self.tenant.app().await?;
            let (entra, store) = (Arc::clone(app.entra()), self.store.clone());
            Ok(Exchanges::watched(entra, store, self.metrics.watch()))
        };
        self.exchanges.get_or_try_init(exchanges).await
    }

    /// Lets a sign-in begin.
    ///
    /// # Errors
    /// [`Kind::Throttled`], with the time to wait.
    pub(crate) fn may_begin_sign_in(&self) -> Result<(), Error> {
        let mut allowance = self.sign_ins.lock().unwrap_or_else(PoisonError::into_inner);
        allowance.take(Instant::now()).map_err(|wait| {
            let details = Details {
                retry_after: Some(wait.as_secs_f64()),
                ..Details::default()
            };
            Error::with(Kind::Throttled, TOO_MANY_SIGN_INS, details)
        })
    }

    /// Whether the tenant has said that this account has to sign in again.
    pub(crate) fn must_sign_in(&self, account: AccountId) -> bool {
        let exchanges = self.exchanges_if_any();
        exchanges.is_some_and(|exchanges| exchanges.must_sign_in(account))
    }

    /// Where tokens come from, if anybody has asked since the start.
    pub(crate) fn exchanges_if_any(&self) -> Option<&Exchanges<Store>> {
        self.exchanges.get()
    }

    /// The user whom a uid of the kernel stands for. It is looked up each time: a uid may be given to somebody else.
    ///
    /// # Errors
    /// Why nobody of this uid is served.
    pub async fn user_of(&self, uid: u32) -> Result<LocalUser, NotServed> {
        let rules = self.rules();
        looked_up(move || rules.user_of(uid)).await
    }

    /// The user of this name.
    ///
    /// # Errors
    /// Why nobody of this name is served.
    pub async fn user_named(&self, name: &str) -> Result<LocalUser, NotServed> {
        let (rules, name) = (self.rules(), name.to_owned());
        looked_up(move || rules.user_named(&name)).await
    }

    /// Nobody is signed in, and where to.
    #[must_use]
    pub fn sign_in_first(&self) -> Refusal {
        let configuration = self.configuration();
        let page = &configuration.public_url;
        Refusal::new(
            "login_required",
            format!("nobody is signed in here: sign in at {page}"),
        )
    }
}

/// The system gives nothing that nobody can guess.
pub(crate) fn no_random_bytes(error: &getrandom::Error) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("the system gives no random bytes: {error}"),
    )
}
