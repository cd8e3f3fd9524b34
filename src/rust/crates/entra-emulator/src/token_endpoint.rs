//! The token endpoint: who asks, what they hold, and the tokens that they get for it.

use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::sleep;

use crate::client::{self, Claimed};
use crate::endpoint::Endpoint;
use crate::faults::{SLOWNESS, THROTTLED_FOR};
use crate::grants::{self, Asked, Outcome};
use crate::refusals::Refusal;
use crate::tenant::Tenant;

/// The form as it arrives. Fields it does not name are ignored; one that comes twice makes the request malformed.
#[derive(Deserialize)]
pub(crate) struct TokenRequest {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<SecretString>,
    client_assertion: Option<SecretString>,
    client_assertion_type: Option<String>,
    pub(crate) code: Option<SecretString>,
    pub(crate) code_verifier: Option<SecretString>,
    pub(crate) redirect_uri: Option<String>,
    pub(crate) device_code: Option<SecretString>,
    pub(crate) refresh_token: Option<SecretString>,
    pub(crate) scope: Option<String>,
    pub(crate) client_info: Option<String>,
}

/// `POST /{tenant}/oauth2/v2.0/token`.
pub(crate) async fn token(
    State(tenant): State<Arc<Tenant>>,
    endpoint: Endpoint,
    form: Result<Form<TokenRequest>, FormRejection>,
) -> Response {
    let outcome = read(form).and_then(|request| exchange(&tenant, &endpoint, &request));
    match outcome {
        Ok(Outcome::Granted(granted)) => granted.reply(),
        Ok(Outcome::Late(granted)) => {
            sleep(SLOWNESS).await;
            granted.reply()
        }
        Ok(Outcome::Throttled) => throttled(),
        Err(refusal) => refusal.reply(tenant.now(), &endpoint.correlation_id),
    }
}

fn read(form: Result<Form<TokenRequest>, FormRejection>) -> Result<TokenRequest, Refusal> {
    match form {
        Ok(Form(request)) => Ok(request),
        // A body of another type is not looked into, so it lacks whatever is looked for first.
        Err(FormRejection::InvalidFormContentType(_)) => {
            Err(Refusal::MissingParameter("grant_type"))
        }
        Err(_) => Err(Refusal::MalformedRequest),
    }
}

/// Who asks is checked first, then whether the request makes sense, then for whom, and at last for what: only those who
/// hold something valid learn which resources the tenant has.
fn exchange(
    tenant: &Tenant,
    endpoint: &Endpoint,
    request: &TokenRequest,
) -> Result<Outcome, Refusal> {
    let grant: fn(&Asked<'_>) -> Result<Outcome, Refusal> =
        match required(request.grant_type.as_deref(), "grant_type")? {
            "refresh_token" => grants::refresh_token,
            "authorization_code" => grants::authorization_code,
            "client_credentials" => grants::client_credentials,
            "urn:ietf:params:oauth:grant-type:device_code" => grants::device_code,
            _ => return Err(Refusal::UnsupportedGrantType),
        };
    let client = client::authenticate(
        tenant,
        endpoint,
        &Claimed {
            client_id: required(request.client_id.as_deref(), "client_id")?,
            secret: given(request.client_secret.as_ref()),
            assertion: given(request.client_assertion.as_ref()),
            assertion_type: request.client_assertion_type.as_deref(),
        },
    )?;
    grant(&Asked {
        tenant,
        endpoint,
        client,
        request,
    })
}

/// Entra's own reply, which is no OAuth error.
pub(crate) fn throttled() -> Response {
    (
        StatusCode::TOO_MANY_REQUESTS,
        [
            (header::CACHE_CONTROL, "no-store"),
            (header::RETRY_AFTER, THROTTLED_FOR),
        ],
        "Too Many Requests",
    )
        .into_response()
}

/// An empty parameter is a missing one (RFC 6749, section 3.2).
pub(crate) fn required<'a>(value: Option<&'a str>, name: &'static str) -> Result<&'a str, Refusal> {
    value
        .filter(|value| !value.is_empty())
        .ok_or(Refusal::MissingParameter(name))
}

pub(crate) fn given(secret: Option<&SecretString>) -> Option<&SecretString> {
    secret.filter(|secret| !secret.expose_secret().is_empty())
}
