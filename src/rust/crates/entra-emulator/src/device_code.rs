//! Device codes: the endpoint that hands them out, and the page on which a person types theirs.

use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use crate::devices::{DeviceAnswer, DeviceRequest};
use crate::endpoint::{BaseUrl, Endpoint};
use crate::faults::{FaultKind, SLOWNESS, Step};
use crate::pages;
use crate::random;
use crate::refusals::Refusal;
use crate::scope::Scope;
use crate::sign_in::{Answer, may_sign_in, read_answer};
use crate::tenant::Tenant;
use crate::token_endpoint::{required, throttled};

/// What a client asks for.
#[derive(Deserialize)]
pub(crate) struct CodeRequest {
    client_id: Option<String>,
    scope: Option<String>,
}

/// What a person types and answers: first the code alone, then the code and the rest.
#[derive(Deserialize)]
pub(crate) struct DeviceForm {
    user_code: Option<String>,
    answer: Option<String>,
    user: Option<String>,
    error: Option<String>,
}

/// `POST /{tenant}/oauth2/v2.0/devicecode`.
pub(crate) async fn device_code(
    State(tenant): State<Arc<Tenant>>,
    endpoint: Endpoint,
    form: Result<Form<CodeRequest>, FormRejection>,
) -> Response {
    let request = match form {
        Ok(Form(form)) => read(&tenant, &endpoint, &form),
        Err(FormRejection::InvalidFormContentType(_)) => {
            Err(Refusal::MissingParameter("client_id"))
        }
        Err(_) => Err(Refusal::MalformedRequest),
    };
    let issued = match request {
        Ok(request) => match tenant.fault(Step::DeviceCode, &request.scope.resource) {
            Some(FaultKind::Throttled) => return throttled(),
            Some(FaultKind::Slow) => {
                sleep(SLOWNESS).await;
                issue(&tenant, &endpoint, request)
            }
            fault => match fault.and_then(|kind| Refusal::of_fault(kind, &request.client_id)) {
                Some(refusal) => Err(refusal),
                None => issue(&tenant, &endpoint, request),
            },
        },
        Err(refusal) => Err(refusal),
    };
    issued.unwrap_or_else(|refusal| refusal.reply(tenant.now(), &endpoint.correlation_id))
}

fn read(
    tenant: &Tenant,
    endpoint: &Endpoint,
    form: &CodeRequest,
) -> Result<DeviceRequest, Refusal> {
    let app = tenant.app(required(form.client_id.as_deref(), "client_id")?)?;
    let scope = Scope::parse_sign_in(required(form.scope.as_deref(), "scope")?)?;
    scope.permission(&app.client_id)?;
    Ok(DeviceRequest {
        client_id: app.client_id.clone(),
        scope,
        tenant_name: endpoint.tenant_name.clone(),
    })
}

fn issue(
    tenant: &Tenant,
    endpoint: &Endpoint,
    request: DeviceRequest,
) -> Result<Response, Refusal> {
    let options = tenant.options();
    let (lifetime, interval) = (options.device_code_lifetime, options.device_code_interval);
    let tenant_name = request.tenant_name.clone();
    let new = tenant
        .devices
        .issue(request, tenant.now(), lifetime, interval)?;
    if options.auto_consent {
        let user = tenant.default_user(None);
        let user = user.ok_or_else(|| Refusal::UnknownUser("of any name".to_owned()))?;
        let object_id = may_sign_in(user, &tenant_name)?.object_id;
        let answer = DeviceAnswer::SignIn { object_id };
        tenant.devices.answer(&new.user_code, tenant.now(), answer);
    }
    let address = format!("{}/device", endpoint.base.0);
    let body = json!({
        "user_code": new.user_code,
        "device_code": new.device_code.expose_secret(),
        "verification_uri": address,
        "expires_in": lifetime,
        "interval": interval,
        "message": format!(
            "To sign in, use a web browser to open the page {address} and enter the code {} to authenticate.",
            new.user_code
        ),
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// `GET /device`.
pub(crate) async fn page(_: BaseUrl) -> Response {
    pages::device(StatusCode::OK, None)
}

/// `POST /device`.
pub(crate) async fn answer(
    State(tenant): State<Arc<Tenant>>,
    _: BaseUrl,
    form: Result<Form<DeviceForm>, FormRejection>,
) -> Response {
    let form = form.ok().map(|Form(form)| form);
    let typed = form.as_ref().and_then(|form| form.user_code.as_deref());
    let typed = typed.unwrap_or_default();
    let Some(request) = tenant.devices.waiting(typed, tenant.now()) else {
        let text =
            "That code is not right, or it has expired or been used. Check the code and try again.";
        return pages::device(StatusCode::BAD_REQUEST, Some(text));
    };
    let Some(form) = form.as_ref().filter(|form| form.answer.is_some()) else {
        return pages::device_sign_in(&tenant, &request, typed);
    };
    let answer = read_answer(
        &tenant,
        &request.tenant_name,
        form.answer.as_deref(),
        form.user.as_deref(),
        form.error.as_deref(),
    );
    let (answer, text) = match answer {
        Ok(Answer::SignIn(user)) => {
            let object_id = user.object_id;
            (DeviceAnswer::SignIn { object_id }, "You have signed in")
        }
        Ok(Answer::Deny) => (DeviceAnswer::Deny, "You have declined"),
        Ok(Answer::Fail(code)) => (DeviceAnswer::Fail(code), "The sign-in fails, as you wished"),
        Err(refusal) => {
            let correlation_id = random::guid().unwrap_or_default();
            let description = refusal.describe(tenant.now(), &correlation_id);
            return pages::refusal(refusal.status(), &description, &correlation_id);
        }
    };
    if tenant.devices.answer(typed, tenant.now(), answer) {
        pages::device_done(text)
    } else {
        pages::over()
    }
}
