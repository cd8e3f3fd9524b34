//! The token endpoint: a refresh token and a scope in, an access token out.

use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::discovery;
use crate::endpoint::Endpoint;
use crate::errors::Refusal;
use crate::faults::{FaultKind, SLOWNESS, THROTTLED_FOR};
use crate::scope::Scope;
use crate::tenant::Tenant;
use crate::tokens;

/// The form as it arrives. Fields it does not name are ignored; one that comes twice makes the request malformed.
#[derive(Deserialize)]
pub(crate) struct TokenRequest {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<SecretString>,
    client_assertion: Option<SecretString>,
    refresh_token: Option<SecretString>,
    scope: Option<String>,
}

/// A token and what comes with it.
struct Grant {
    access_token: SecretString,
    refresh_token: Option<SecretString>,
    id_token: Option<SecretString>,
    scope: String,
    expires_in: u32,
}

/// What comes of a request that is not refused.
enum Outcome {
    Granted(Grant),
    /// Granted, but not at once.
    Late(Grant),
    Throttled,
}

/// `POST /{tenant}/oauth2/v2.0/token`.
pub(crate) async fn token(
    State(tenant): State<Arc<Tenant>>,
    endpoint: Endpoint,
    form: Result<Form<TokenRequest>, FormRejection>,
) -> Response {
    let outcome = read(form).and_then(|request| exchange(&tenant, &endpoint, &request));
    match outcome {
        Ok(Outcome::Granted(grant)) => grant.reply(),
        Ok(Outcome::Late(grant)) => {
            sleep(SLOWNESS).await;
            grant.reply()
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
/// hold a valid refresh token learn which resources the tenant has.
fn exchange(
    tenant: &Tenant,
    endpoint: &Endpoint,
    request: &TokenRequest,
) -> Result<Outcome, Refusal> {
    if required(request.grant_type.as_deref(), "grant_type")? != "refresh_token" {
        return Err(Refusal::UnsupportedGrantType);
    }
    check_client(tenant, request)?;
    let refresh_token =
        given(request.refresh_token.as_ref()).ok_or(Refusal::MissingParameter("refresh_token"))?;
    let scope = Scope::parse(required(request.scope.as_deref(), "scope")?)?;

    // Asked first without renewing: a request that fails further down must not cost the client its refresh token.
    tenant.redeem(refresh_token, false)?;
    let permission = scope.permission(tenant.client_id())?;
    let fault = tenant.fault(&scope.resource);
    match fault {
        None | Some(FaultKind::Slow) => {}
        Some(FaultKind::Throttled) => return Ok(Outcome::Throttled),
        Some(FaultKind::SignInRequired) => return Err(Refusal::ExpiredRefreshToken),
        Some(FaultKind::ConsentRequired) => {
            return Err(Refusal::MissingConsent(tenant.client_id().to_owned()));
        }
        Some(FaultKind::AccessDenied) => return Err(Refusal::BlockedByPolicy),
        Some(FaultKind::Unavailable) => return Err(Refusal::Transient),
    }
    let grant = grant(tenant, endpoint, refresh_token, &scope, permission)?;
    Ok(match fault {
        Some(_) => Outcome::Late(grant),
        None => Outcome::Granted(grant),
    })
}

fn grant(
    tenant: &Tenant,
    endpoint: &Endpoint,
    refresh_token: &SecretString,
    scope: &Scope,
    permission: &str,
) -> Result<Grant, Refusal> {
    let (person, newer) = tenant.redeem(refresh_token, scope.offline_access)?;
    let id_token = if scope.openid {
        Some(tokens::id_token(
            tenant,
            &person,
            &discovery::issuer(&endpoint.base, tenant),
            scope.profile,
        )?)
    } else {
        None
    };
    Ok(Grant {
        access_token: tokens::access_token(tenant, &person, scope, permission)?,
        refresh_token: newer,
        id_token,
        scope: scope.granted(permission),
        expires_in: tenant.token_lifetime(),
    })
}

/// Entra's own reply, which is no OAuth error.
fn throttled() -> Response {
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

fn check_client(tenant: &Tenant, request: &TokenRequest) -> Result<(), Refusal> {
    let client_id = required(request.client_id.as_deref(), "client_id")?;
    if client_id != tenant.client_id() {
        return Err(Refusal::UnknownClient(client_id.to_owned()));
    }
    // Assertions are not understood here, but a public client's is as wrong as its secret.
    if !tenant.is_confidential() && given(request.client_assertion.as_ref()).is_some() {
        return Err(Refusal::SecretFromPublicClient);
    }
    tenant.authenticate_client(given(request.client_secret.as_ref()))
}

/// An empty parameter is a missing one (RFC 6749, section 3.2).
fn required<'a>(value: Option<&'a str>, name: &'static str) -> Result<&'a str, Refusal> {
    value
        .filter(|value| !value.is_empty())
        .ok_or(Refusal::MissingParameter(name))
}

fn given(secret: Option<&SecretString>) -> Option<&SecretString> {
    secret.filter(|secret| !secret.expose_secret().is_empty())
}

impl Grant {
    /// The one place where the secrets leave.
    fn reply(&self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            token_type: &'a str,
            scope: &'a str,
            expires_in: u32,
            ext_expires_in: u32,
            access_token: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            refresh_token: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            id_token: Option<&'a str>,
        }
        let body = Json(Body {
            token_type: "Bearer",
            scope: &self.scope,
            expires_in: self.expires_in,
            ext_expires_in: self.expires_in,
            access_token: self.access_token.expose_secret(),
            refresh_token: self.refresh_token.as_ref().map(ExposeSecret::expose_secret),
            id_token: self.id_token.as_ref().map(ExposeSecret::expose_secret),
        });
        (
            [
                (header::CACHE_CONTROL, "no-store"),
                (header::PRAGMA, "no-cache"),
            ],
            body,
        )
            .into_response()
    }
}
