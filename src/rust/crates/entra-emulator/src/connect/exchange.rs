//! The exchange: a session token of Connect for an access token of the tenant.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use crate::connect::caller::Caller;
use crate::connect::faults::FaultKind;
use crate::connect::integration::{AuthType, Integration};
use crate::connect::refusal::Refusal;
use crate::connect::{Connect, secret};
use crate::faults::{self, SLOWNESS, Step, THROTTLED_FOR};
use crate::random;
use crate::refusals;
use crate::scope::Scope;
use crate::token_endpoint::given;
use crate::tokens::{self, Proof};
use crate::user::User;

/// RFC 8693, section 2.1.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const VISITOR: &str = "urn:posit:connect:user-session-token";
const CONTENT: &str = "urn:posit:connect:content-session-token";

/// The form. `resource` and `scope` may be sent and change nothing: an integration's scopes are fixed.
#[derive(Deserialize)]
pub(crate) struct Request {
    grant_type: Option<String>,
    subject_token: Option<SecretString>,
    subject_token_type: Option<String>,
    requested_token_type: Option<String>,
    audience: Option<String>,
}

/// Whom a token is for.
enum Subject {
    Visitor(User),
    Content,
}

/// What comes of a request that is not refused.
enum Outcome {
    Granted(SecretString),
    /// Granted, but not at once.
    Late(SecretString),
    Throttled,
}

/// `POST /v1/oauth/integrations/credentials`.
pub(crate) async fn credentials(
    State(connect): State<Arc<Connect>>,
    _: Caller,
    form: Result<Form<Request>, FormRejection>,
) -> Response {
    let outcome = match form {
        Ok(Form(request)) => exchange(&connect, &request),
        Err(_) => Err(Refusal::Malformed("The body is no form.")),
    };
    match outcome {
        Ok(Outcome::Granted(token)) => reply(&connect, &token),
        Ok(Outcome::Late(token)) => {
            sleep(SLOWNESS).await;
            reply(&connect, &token)
        }
        Ok(Outcome::Throttled) => (
            StatusCode::TOO_MANY_REQUESTS,
            [(header::RETRY_AFTER, THROTTLED_FOR)],
            "Too Many Requests",
        )
            .into_response(),
        Err(refusal) => refusal.at_exchange(&connect),
    }
}

fn exchange(connect: &Connect, request: &Request) -> Result<Outcome, Refusal> {
    if request.grant_type.as_deref() != Some(GRANT) {
        return Err(Refusal::UnsupportedGrant);
    }
    let subject = subject(connect, request)?;
    let integration = integration(connect, &subject, request.audience.as_deref())?;
    let requested = request.requested_token_type.as_deref();
    if requested.is_some_and(|requested| !requested.is_empty() && requested != ACCESS_TOKEN) {
        return Err(Refusal::UnsupportedRequest);
    }
    let outcome = grant(connect, &subject, integration)?;
    if matches!(subject, Subject::Content) && connect.has(FaultKind::Rotated) {
        connect.sessions.rotate()?;
    }
    Ok(outcome)
}

fn subject(connect: &Connect, request: &Request) -> Result<Subject, Refusal> {
    let token = given(request.subject_token.as_ref())
        .ok_or(Refusal::Malformed("The subject_token is missing."))?;
    match request.subject_token_type.as_deref() {
        Some(VISITOR) => {
            let visitor = connect.sessions.visitor(token);
            let visitor = visitor.and_then(|object_id| connect.tenant.user(&object_id));
            visitor
                .filter(|visitor| !connect.is_met_by(FaultKind::VisitorRefused, visitor))
                .map(Subject::Visitor)
                .ok_or(Refusal::Session)
        }
        Some(CONTENT) if connect.has(FaultKind::ContentRefused) => Err(Refusal::Session),
        Some(CONTENT) if connect.sessions.is_content(token) => Ok(Subject::Content),
        Some(CONTENT) => Err(Refusal::Session),
        _ => Err(Refusal::UnsupportedSubject),
    }
}

/// The integration that is named, else the only one.
fn integration<'a>(
    connect: &'a Connect,
    subject: &Subject,
    audience: Option<&str>,
) -> Result<&'a Integration, Refusal> {
    let all = connect.integrations();
    let integration = match (audience.filter(|guid| !guid.is_empty()), all) {
        (_, []) => return Err(Refusal::NoIntegration),
        (Some(guid), _) => all
            .iter()
            .find(|integration| integration.guid == guid)
            .ok_or_else(|| Refusal::OtherIntegration(guid.to_owned()))?,
        (None, [only]) => only,
        (None, _) => return Err(Refusal::SeveralIntegrations),
    };
    let asked = match subject {
        Subject::Visitor(_) => AuthType::Viewer,
        Subject::Content => AuthType::ServiceAccount,
    };
    if integration.auth_type == asked {
        Ok(integration)
    } else {
        Err(Refusal::other_auth_type(integration, asked))
    }
}

fn grant(
    connect: &Connect,
    subject: &Subject,
    integration: &Integration,
) -> Result<Outcome, Refusal> {
    let tenant = &connect.tenant;
    let fails =
        |kind| matches!(subject, Subject::Visitor(visitor) if connect.is_met_by(kind, visitor));
    if fails(FaultKind::NoRefreshToken) {
        return Err(Refusal::NoRefreshToken);
    }
    let step = match subject {
        Subject::Visitor(_) => Step::Refresh,
        Subject::Content => Step::App,
    };
    let fault = tenant.fault(step, &integration.resource);
    if fault == Some(faults::FaultKind::Throttled) {
        return Ok(Outcome::Throttled);
    }
    let refused = fault.and_then(|fault| refusals::Refusal::of_fault(fault, tenant.client_id()));
    if let Some(refusal) = refused {
        return Err(of_tenant(connect, &refusal));
    }
    let token = if fails(FaultKind::OpaqueToken)
        || matches!(subject, Subject::Content) && connect.has(FaultKind::OpaqueToken)
    {
        secret()?
    } else {
        token(connect, subject, &integration.resource)
            .map_err(|refusal| of_tenant(connect, &refusal))?
    };
    Ok(match fault {
        Some(faults::FaultKind::Slow) => Outcome::Late(token),
        _ => Outcome::Granted(token),
    })
}

/// As the tenant would have given it to the app that Connect is to it.
fn token(
    connect: &Connect,
    subject: &Subject,
    resource: &str,
) -> Result<SecretString, refusals::Refusal> {
    let tenant = &connect.tenant;
    let app = (tenant.app(tenant.client_id())?, Proof::Secret);
    let scope = Scope::parse(&format!("{resource}/.default"))?;
    let permission = scope.permission(tenant.client_id())?;
    Ok(match subject {
        Subject::Visitor(visitor) => {
            tokens::access_token(tenant, app, visitor, &scope, permission)?
        }
        Subject::Content => tokens::app_token(tenant, app, &scope)?,
    })
}

fn of_tenant(connect: &Connect, refusal: &refusals::Refusal) -> Refusal {
    let correlation_id = random::guid().unwrap_or_default();
    let described = refusal.describe(connect.tenant.now(), &correlation_id);
    Refusal::Tenant(described.error, described.text)
}

/// The one place where a token leaves.
fn reply(connect: &Connect, token: &SecretString) -> Response {
    let mut body = json!({
        "access_token": token.expose_secret(),
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
    });
    if let (Some(body), true) = (body.as_object_mut(), connect.has(FaultKind::Lifetime)) {
        let lifetime = connect.tenant.options().token_lifetime;
        body.insert("expires_in".to_owned(), lifetime.into());
    }
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
