//! Settings and certificates that are read anew while the hub serves: all that can change does, or nothing.

use std::sync::Arc;

use crate::configuration::{Configuration, Web};
use crate::hub::Hub;
use crate::local_user::check_namespace;
use crate::serve::{Error, Tls, tls};

/// Puts these settings in the place of those that the hub has, and reads the app's credential and the page's certificate
/// anew. Requests that are under way end as they began. The result names settings that only count from a restart on.
///
/// # Errors
/// What of it cannot be used; then all is as it was.
pub(crate) async fn reload(
    hub: &Arc<Hub>,
    page: Option<&Tls>,
    settings: Configuration,
) -> Result<Vec<&'static str>, Error> {
    let (settings, named) = settings.beside(&hub.configuration());
    if !settings.socket.uids.is_empty() {
        check_namespace().map_err(Error::Machine)?;
    }
    let certificate = match &settings.web {
        Web::Https {
            certificate, key, ..
        } => Some(tls(certificate, key)?),
        Web::Loopback(_) | Web::Proxied { .. } => None,
    };
    // The last that can fail, and it changes all of its own or nothing.
    let renewed = hub.tenant.renew(&settings.tenant).await;
    if let Some(app) = renewed.map_err(Error::Tenant)? {
        // Whoever asks for the first time just now may have the app of before.
        let exchanges = hub.exchanges().await.map_err(Error::Tenant)?;
        exchanges.ask(Arc::clone(app.entra()));
    }
    if let (Some(page), Some(certificate)) = (page, certificate) {
        page.change(certificate);
    }
    hub.limiter.limit(settings.limits);
    hub.configure(settings);
    Ok(named)
}
