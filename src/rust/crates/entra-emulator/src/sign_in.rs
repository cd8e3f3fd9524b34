//! The authorization endpoint: a page on which a person signs in to an app, declines, or lets the sign-in fail.

use std::sync::Arc;

use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::time::sleep;

use crate::authorize::{self, Parameters, Prompt, Refused, Request};
use crate::endpoint::{Endpoint, is_alias};
use crate::faults::{FaultKind, SLOWNESS, Step};
use crate::pages;
use crate::random;
use crate::refusals::Refusal;
use crate::tenant::Tenant;
use crate::token_endpoint::throttled;
use crate::user::{Membership, User};

/// What a person answers. `request` is what the page had in a hidden field.
#[derive(Deserialize)]
pub(crate) struct AnswerForm {
    request: Option<String>,
    answer: Option<String>,
    user: Option<String>,
    error: Option<String>,
}

/// What somebody who was asked to sign in answers.
pub(crate) enum Answer {
    SignIn(Box<User>),
    Deny,
    /// The sign-in fails with this AADSTS code.
    Fail(u32),
}

/// `GET /{tenant}/oauth2/v2.0/authorize`.
pub(crate) async fn page(
    State(tenant): State<Arc<Tenant>>,
    endpoint: Endpoint,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    let request = match authorize::read(&tenant, &endpoint.tenant_name, query) {
        Ok(request) => request,
        Err(refused) => return refuse(&tenant, &endpoint, refused),
    };
    match tenant.fault(Step::Authorize, &request.scope.resource) {
        Some(FaultKind::Throttled) => return throttled(),
        Some(FaultKind::Slow) => sleep(SLOWNESS).await,
        fault => {
            if let Some(refusal) = fault.and_then(refusal_of_fault) {
                return refuse_to(&tenant, &endpoint, &request, refusal);
            }
        }
    }
    ask(&tenant, &endpoint, request)
}

/// The page, or the answer where nobody has to be asked.
fn ask(tenant: &Tenant, endpoint: &Endpoint, request: Request) -> Response {
    if tenant.options().auto_consent {
        let user = tenant.default_user(request.login_hint.as_deref());
        let user = user.ok_or_else(|| Refusal::UnknownUser("of any name".to_owned()));
        let user = user.and_then(|user| may_sign_in(user, &request.tenant_name));
        return match user {
            Ok(user) => sign_in(tenant, endpoint, request, user),
            Err(refusal) => refuse_to(tenant, endpoint, &request, refusal),
        };
    }
    // No browser is remembered here, so nobody is signed in already.
    if request.prompt == Some(Prompt::None) {
        return refuse_to(tenant, endpoint, &request, Refusal::LoginRequired);
    }
    match tenant.codes.wait(request.clone(), tenant.now()) {
        Ok(name) => pages::sign_in(tenant, &endpoint.own_path(), &request, &name),
        Err(error) => refuse_to(tenant, endpoint, &request, error.into()),
    }
}

/// `POST /{tenant}/oauth2/v2.0/authorize`: the page's answer.
pub(crate) async fn answer(
    State(tenant): State<Arc<Tenant>>,
    endpoint: Endpoint,
    form: Result<Form<AnswerForm>, FormRejection>,
) -> Response {
    let Ok(Form(form)) = form else {
        return refuse_here(&tenant, &endpoint, &Refusal::MalformedRequest);
    };
    let name = form.request.unwrap_or_default();
    let Some(request) = tenant.codes.waiting(&name, tenant.now()) else {
        return pages::over();
    };
    // Nothing is used up by an answer that makes no sense.
    let answer = match read_answer(
        &tenant,
        &request.tenant_name,
        form.answer.as_deref(),
        form.user.as_deref(),
        form.error.as_deref(),
    ) {
        Ok(answer) => answer,
        Err(refusal) => return refuse_here(&tenant, &endpoint, &refusal),
    };
    let Some(request) = tenant.codes.answer(&name, tenant.now()) else {
        return pages::over();
    };
    match answer {
        Answer::SignIn(user) => sign_in(&tenant, &endpoint, request, *user),
        Answer::Deny => refuse_to(&tenant, &endpoint, &request, Refusal::Declined),
        Answer::Fail(code) => refuse_to(&tenant, &endpoint, &request, Refusal::Chosen(code)),
    }
}

/// Reads what somebody answers who was asked to sign in to the tenant of this name.
pub(crate) fn read_answer(
    tenant: &Tenant,
    tenant_name: &str,
    answer: Option<&str>,
    user: Option<&str>,
    error: Option<&str>,
) -> Result<Answer, Refusal> {
    match answer.unwrap_or_default() {
        "sign_in" => {
            let name = user.unwrap_or_default();
            let user = tenant.user_named(name);
            let user = user.ok_or_else(|| Refusal::UnknownUser(name.to_owned()))?;
            let user = may_sign_in(user, tenant_name)?;
            Ok(Answer::SignIn(Box::new(user)))
        }
        "deny" => Ok(Answer::Deny),
        "fail" => {
            let code = error.unwrap_or_default();
            let code = code.parse().map_err(|_| unsupported("error", code))?;
            Ok(Answer::Fail(code))
        }
        other => Err(unsupported("answer", other)),
    }
}

/// Whoever is of another tenant signs in through an alias alone.
pub(crate) fn may_sign_in(user: User, tenant_name: &str) -> Result<User, Refusal> {
    match user.membership {
        Membership::Other(_) if !is_alias(tenant_name) => {
            Err(Refusal::UserOfAnotherTenant(user.user_principal_name))
        }
        _ => Ok(user),
    }
}

fn unsupported(name: &'static str, value: &str) -> Refusal {
    Refusal::UnsupportedValue(name, value.to_owned())
}

fn sign_in(tenant: &Tenant, endpoint: &Endpoint, mut request: Request, user: User) -> Response {
    if tenant.fault(Step::Authorize, &request.scope.resource) == Some(FaultKind::WrongState) {
        request.target.state = Some("another state".to_owned());
    }
    let target = request.target.clone();
    let issued = tenant.codes.issue(request, user.object_id, tenant.now());
    match issued.and_then(|code| Ok((code, random::guid()?))) {
        Ok((code, session)) => {
            target.answer(&[("code", code.expose_secret()), ("session_state", &session)])
        }
        Err(error) => refuse(
            tenant,
            endpoint,
            Refused {
                refusal: error.into(),
                target: Some(Box::new(target)),
            },
        ),
    }
}

/// What a fault answers the app with; `None` is for faults that the authorization endpoint does not have.
fn refusal_of_fault(fault: FaultKind) -> Option<Refusal> {
    match fault {
        FaultKind::SignInRequired => Some(Refusal::LoginRequired),
        FaultKind::ConsentRequired => Some(Refusal::Chosen(65001)),
        FaultKind::AccessDenied => Some(Refusal::Chosen(53003)),
        other => Refusal::of_fault(other, ""),
    }
}

fn refuse_to(
    tenant: &Tenant,
    endpoint: &Endpoint,
    request: &Request,
    refusal: Refusal,
) -> Response {
    let target = Some(Box::new(request.target.clone()));
    refuse(tenant, endpoint, Refused { refusal, target })
}

fn refuse(tenant: &Tenant, endpoint: &Endpoint, refused: Refused) -> Response {
    let Refused { refusal, target } = refused;
    let Some(target) = target else {
        return refuse_here(tenant, endpoint, &refusal);
    };
    let description = refusal.describe(tenant.now(), &endpoint.correlation_id);
    target.answer(&[
        ("error", description.error),
        ("error_description", &description.text),
    ])
}

/// To the person in front of the page.
fn refuse_here(tenant: &Tenant, endpoint: &Endpoint, refusal: &Refusal) -> Response {
    let description = refusal.describe(tenant.now(), &endpoint.correlation_id);
    pages::refusal(refusal.status(), &description, &endpoint.correlation_id).into_response()
}
