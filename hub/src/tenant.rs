//! The tenant, as far as the hub needs it: found when it is first needed, since it may be away while the hub starts.

use std::sync::Arc;
use std::time::Duration;

use entrar_broker::entra::{AZURE, Assertion, Certificate, ClientAuth, ManagedIdentity};
use entrar_broker::sign_in::App;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::configuration::{self, Credential, read_secret};

/// The variable that names another place to ask for the machine's identity: for tests. It is azure-identity's.
const MACHINE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
/// How long a failure to find the tenant is told without another try: every caller would wait for each.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(5);

/// The app that people sign in to.
#[derive(Debug)]
pub struct Tenant {
    redirect_uri: String,
    /// Where a managed identity is asked.
    machine: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    settings: configuration::Tenant,
    found: Found,
}

#[derive(Debug)]
enum Found {
    Not,
    Failed(Instant, Error),
    App(Arc<App>),
}

impl Tenant {
    /// The tenant of these settings; answers to sign-ins come to `redirect_uri`.
    #[must_use]
    pub fn new(settings: configuration::Tenant, redirect_uri: String) -> Self {
        Self {
            redirect_uri,
            machine: Env::process()
                .var(MACHINE)
                .unwrap_or_else(|| AZURE.to_owned()),
            state: Mutex::new(State {
                settings,
                found: Found::Not,
            }),
        }
    }

    /// The app, its tenant's endpoints and its own credential.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if the credential or the settings cannot be used; what keeps the tenant from being reached.
    pub async fn app(&self) -> Result<Arc<App>, Error> {
        let mut state = self.state.lock().await;
        let State { settings, found } = &mut *state;
        match &*found {
            Found::App(app) => return Ok(Arc::clone(app)),
            Found::Failed(at, error) if at.elapsed() < BETWEEN_ATTEMPTS => {
                return Err(error.clone());
            }
            Found::Failed(..) | Found::Not => {}
        }
        match self.find(settings).await {
            Ok(app) => {
                let app = Arc::new(app);
                *found = Found::App(Arc::clone(&app));
                Ok(app)
            }
            Err(error) => {
                *found = Found::Failed(Instant::now(), error.clone());
                Err(error)
            }
        }
    }

    async fn find(&self, settings: &configuration::Tenant) -> Result<App, Error> {
        let auth = self.credential(settings)?;
        App::find(
            &settings.env(),
            &settings.authority,
            &settings.id,
            settings.client_id,
            auth,
            self.redirect_uri.clone(),
            settings.refresh_tokens_work_once,
        )
        .await
    }

    /// Reads the app's credential anew, and reaches the tenant as these settings say: of the same app and tenant. The app, if
    /// the tenant was found before.
    ///
    /// # Errors
    /// As [`Tenant::credential`], and what is wrong with the way to the tenant; then all is as it was.
    pub(crate) async fn renew(
        &self,
        settings: &configuration::Tenant,
    ) -> Result<Option<Arc<App>>, Error> {
        let mut state = self.state.lock().await;
        let auth = self.credential(settings)?;
        let renewed = match &state.found {
            Found::App(app) => Some(Arc::new(app.renewed(&settings.env(), auth)?)),
            Found::Not | Found::Failed(..) => None,
        };
        *state = State {
            settings: settings.clone(),
            found: renewed.clone().map_or(Found::Not, Found::App),
        };
        Ok(renewed)
    }

    /// How the app proves itself.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if a file cannot be used.
    pub fn credential(&self, settings: &configuration::Tenant) -> Result<ClientAuth, Error> {
        let misconfigured = |why: String| Error::new(Kind::Misconfigured, why);
        Ok(match &settings.credential {
            Credential::Secret(file) => {
                ClientAuth::Secret(read_secret(file).map_err(misconfigured)?)
            }
            Credential::Certificate(file) => {
                let text = read_secret(file).map_err(misconfigured)?;
                let certificate = Certificate::from_pem(text.expose_secret())?;
                ClientAuth::Assertion(Assertion::Certificate(Box::new(certificate)))
            }
            Credential::ManagedIdentity(client_id) => {
                let identity = ManagedIdentity::new(&self.machine, Some(*client_id))?;
                ClientAuth::Assertion(Assertion::ManagedIdentity(Box::new(identity)))
            }
            Credential::FederatedToken(path) => {
                ClientAuth::Assertion(Assertion::File(path.clone()))
            }
        })
    }
}
