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
    settings: configuration::Tenant,
    redirect_uri: String,
    /// Where a managed identity is asked.
    machine: String,
    found: Mutex<Found>,
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
            settings,
            redirect_uri,
            machine: Env::process()
                .var(MACHINE)
                .unwrap_or_else(|| AZURE.to_owned()),
            found: Mutex::new(Found::Not),
        }
    }

    /// The app, its tenant's endpoints and its own credential.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if the credential or the settings cannot be used; what keeps the tenant from being reached.
    pub async fn app(&self) -> Result<Arc<App>, Error> {
        let mut found = self.found.lock().await;
        match &*found {
            Found::App(app) => return Ok(Arc::clone(app)),
            Found::Failed(at, error) if at.elapsed() < BETWEEN_ATTEMPTS => {
                return Err(error.clone());
            }
            Found::Failed(..) | Found::Not => {}
        }
        match self.find().await {
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

    async fn find(&self) -> Result<App, Error> {
        let settings = &self.settings;
        let auth = self.credential()?;
        App::find(
            &settings.env(),
            &settings.authority,
            &settings.id,
            settings.client_id,
            auth,
            self.redirect_uri.clone(),
        )
        .await
    }

    /// How the app proves itself.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if a file cannot be used.
    pub fn credential(&self) -> Result<ClientAuth, Error> {
        let misconfigured = |why: String| Error::new(Kind::Misconfigured, why);
        Ok(match &self.settings.credential {
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

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &configuration::Tenant {
        &self.settings
    }
}
