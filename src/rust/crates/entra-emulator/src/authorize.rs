//! What an app asks of the authorization endpoint, read and checked.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;
use url::Url;

use crate::answers::{ResponseMode, Target};
use crate::keys::decode;
use crate::refusals::Refusal;
use crate::scope::Scope;
use crate::tenant::Tenant;

/// The length of a SHA-256 digest in bytes, which a challenge is.
const CHALLENGE: usize = 32;

/// The query as it arrives. Parameters that it does not name are ignored; one that comes twice makes it malformed.
#[derive(Deserialize)]
pub(crate) struct Parameters {
    client_id: Option<String>,
    response_type: Option<String>,
    redirect_uri: Option<String>,
    response_mode: Option<String>,
    scope: Option<String>,
    state: Option<String>,
    nonce: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
    prompt: Option<String>,
    login_hint: Option<String>,
    domain_hint: Option<String>,
    claims: Option<String>,
}

/// A request that makes sense.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) client_id: String,
    /// As it was asked, to the letter: the token endpoint is told again.
    pub(crate) redirect_uri: String,
    pub(crate) target: Target,
    pub(crate) scope: Scope,
    pub(crate) nonce: Option<String>,
    /// The digest of PKCE, in base64url.
    pub(crate) challenge: Option<String>,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) login_hint: Option<String>,
    pub(crate) domain_hint: Option<String>,
    pub(crate) claims: Option<String>,
    /// The tenant's name as the request has it: its id or an alias.
    pub(crate) tenant_name: String,
}

/// What the app wants the page to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// Nothing: there is an answer without a page, or an error.
    None,
    Login,
    SelectAccount,
    Consent,
}

impl Prompt {
    const ALL: [Self; 4] = [Self::None, Self::Login, Self::SelectAccount, Self::Consent];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Login => "login",
            Self::SelectAccount => "select_account",
            Self::Consent => "consent",
        }
    }
}

/// Why there is no request, and who is told.
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    /// The app; without one the person in front of the page, since the answer's address cannot be trusted.
    pub(crate) target: Option<Box<Target>>,
}

impl Refused {
    fn here(refusal: Refusal) -> Self {
        Self {
            refusal,
            target: None,
        }
    }
}

/// Reads a request to the tenant of this name.
pub(crate) fn read(
    tenant: &Tenant,
    tenant_name: &str,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Result<Request, Refused> {
    let Ok(Query(parameters)) = query else {
        return Err(Refused::here(Refusal::MalformedRequest));
    };
    let target = target(tenant, &parameters).map_err(Refused::here)?;
    let to_the_app = |refusal| Refused {
        refusal,
        target: Some(Box::new(target.clone())),
    };
    check(tenant_name, &target, parameters).map_err(to_the_app)
}

/// Where the answer goes: only to an address that the app has registered.
fn target(tenant: &Tenant, parameters: &Parameters) -> Result<Target, Refusal> {
    let app = tenant.app(required(parameters.client_id.as_deref(), "client_id")?)?;
    let redirect_uri = required(parameters.redirect_uri.as_deref(), "redirect_uri")?;
    let url = Url::parse(redirect_uri).ok();
    let unregistered = || Refusal::UnregisteredRedirect(redirect_uri.to_owned());
    let url = url.filter(|_| app.may_redirect_to(redirect_uri));
    Ok(Target {
        url: url.ok_or_else(unregistered)?,
        mode: ResponseMode::Query,
        state: parameters.state.clone(),
    })
}

fn check(tenant_name: &str, target: &Target, parameters: Parameters) -> Result<Request, Refusal> {
    let Parameters {
        client_id,
        response_type,
        redirect_uri,
        response_mode,
        scope,
        state: _,
        nonce,
        code_challenge,
        code_challenge_method,
        prompt,
        login_hint,
        domain_hint,
        claims,
    } = parameters;
    let response_type = required(response_type.as_deref(), "response_type")?;
    if response_type != "code" {
        return Err(Refusal::UnsupportedResponseType(response_type.to_owned()));
    }
    let mode = match response_mode.as_deref().filter(|mode| !mode.is_empty()) {
        None | Some("query") => ResponseMode::Query,
        Some("form_post") => ResponseMode::FormPost,
        Some("fragment") => ResponseMode::Fragment,
        Some(other) => return Err(unsupported("response_mode", other)),
    };
    let client_id = client_id.unwrap_or_default();
    let scope = Scope::parse_sign_in(required(scope.as_deref(), "scope")?)?;
    scope.permission(&client_id)?;
    let not_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
    let claims = not_empty(claims);
    if let Some(claims) = &claims {
        serde_json::from_str::<serde_json::Map<_, _>>(claims)
            .map_err(|_| unsupported("claims", claims))?;
    }
    Ok(Request {
        client_id,
        redirect_uri: redirect_uri.unwrap_or_default(),
        target: Target {
            mode,
            ..target.clone()
        },
        scope,
        nonce: not_empty(nonce),
        challenge: challenge(not_empty(code_challenge), code_challenge_method.as_deref())?,
        prompt: read_prompt(prompt.as_deref())?,
        login_hint: not_empty(login_hint),
        domain_hint: not_empty(domain_hint),
        claims,
        tenant_name: tenant_name.to_owned(),
    })
}

/// Entra wants no challenge of apps that are not single-page apps, and neither does this. A plain one is not understood.
fn challenge(challenge: Option<String>, method: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(challenge) = challenge else {
        return Ok(None);
    };
    if method != Some("S256") {
        return Err(unsupported(
            "code_challenge_method",
            method.unwrap_or_default(),
        ));
    }
    let digest = decode(&challenge).filter(|digest| digest.len() == CHALLENGE);
    digest.ok_or(Refusal::InvalidChallenge)?;
    Ok(Some(challenge))
}

fn read_prompt(prompt: Option<&str>) -> Result<Option<Prompt>, Refusal> {
    let Some(name) = prompt.filter(|prompt| !prompt.is_empty()) else {
        return Ok(None);
    };
    let mut all = Prompt::ALL.into_iter();
    match all.find(|prompt| prompt.as_str() == name) {
        Some(prompt) => Ok(Some(prompt)),
        None => Err(unsupported("prompt", name)),
    }
}

fn unsupported(name: &'static str, value: &str) -> Refusal {
    Refusal::UnsupportedValue(name, value.to_owned())
}

/// An empty parameter is a missing one (RFC 6749, section 3.1).
fn required<'a>(value: Option<&'a str>, name: &'static str) -> Result<&'a str, Refusal> {
    value
        .filter(|value| !value.is_empty())
        .ok_or(Refusal::MissingParameter(name))
}
