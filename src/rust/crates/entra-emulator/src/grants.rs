//! The grants of the token endpoint: what each kind asks for, and the tokens that it brings.

use axum::http::header;
use axum::response::{IntoResponse, Json, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::codes::Redemption;
use crate::directory::SignIn;
use crate::endpoint::Endpoint;
use crate::faults::{FaultKind, Step};
use crate::id_token::{IdToken, id_token};
use crate::refusals::Refusal;
use crate::scope::Scope;
use crate::tenant::Tenant;
use crate::token_endpoint::{TokenRequest, given, required};
use crate::tokens::{self, Proof};
use crate::user::User;

/// A request whose client is known.
pub(crate) struct Asked<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) client: (&'a App, Proof),
    pub(crate) request: &'a TokenRequest,
}

/// What comes of a request that is not refused.
pub(crate) enum Outcome {
    Granted(Granted),
    /// Granted, but not at once.
    Late(Granted),
    Throttled,
}

/// A token and what comes with it.
pub(crate) struct Granted {
    access_token: SecretString,
    refresh_token: Option<SecretString>,
    id_token: Option<SecretString>,
    client_info: Option<String>,
    scope: Option<String>,
    expires_in: u32,
}

/// `grant_type=refresh_token`.
pub(crate) fn refresh_token(asked: &Asked<'_>) -> Result<Outcome, Refusal> {
    let Asked {
        tenant, request, ..
    } = asked;
    let client_id = &asked.client.0.client_id;
    let refresh_token =
        given(request.refresh_token.as_ref()).ok_or(Refusal::MissingParameter("refresh_token"))?;
    let scope = Scope::parse(required(request.scope.as_deref(), "scope")?)?;

    // Asked first without renewing: a request that fails further down must not cost the client its refresh token.
    tenant.redeem(refresh_token, client_id, false)?;
    asked.grant(Step::Refresh, &scope, |fault| {
        let (user, newer) = tenant.redeem(refresh_token, client_id, scope.offline_access)?;
        asked.tokens(&user, &scope, newer, None, fault)
    })
}

/// `grant_type=authorization_code`. The scope may be left out; it is the sign-in's then.
pub(crate) fn authorization_code(asked: &Asked<'_>) -> Result<Outcome, Refusal> {
    let Asked {
        tenant, request, ..
    } = asked;
    let redemption = Redemption {
        code: given(request.code.as_ref()).ok_or(Refusal::MissingParameter("code"))?,
        client_id: &asked.client.0.client_id,
        redirect_uri: required(request.redirect_uri.as_deref(), "redirect_uri")?,
        verifier: given(request.code_verifier.as_ref()),
    };
    let now = tenant.now();
    let (signed_in, object_id) = tenant.codes.redeem(&redemption, now, false)?;
    let scope = asked.scope_within(&signed_in.scope)?;
    asked.grant(Step::Code, &scope, |fault| {
        tenant.codes.redeem(&redemption, now, true)?;
        asked.first_tokens(object_id, &scope, signed_in.nonce.as_deref(), fault)
    })
}

/// `grant_type=urn:ietf:params:oauth:grant-type:device_code`. The scope is that of the device code.
pub(crate) fn device_code(asked: &Asked<'_>) -> Result<Outcome, Refusal> {
    let Asked {
        tenant, request, ..
    } = asked;
    let client_id = &asked.client.0.client_id;
    let device_code =
        given(request.device_code.as_ref()).ok_or(Refusal::MissingParameter("device_code"))?;
    let now = tenant.now();
    let (device, object_id) = tenant.devices.poll(device_code, client_id, now, false)?;
    asked.grant(Step::Device, &device.scope, |fault| {
        tenant.devices.poll(device_code, client_id, now, true)?;
        asked.first_tokens(object_id, &device.scope, None, fault)
    })
}

/// `grant_type=client_credentials`: a token for the app itself.
pub(crate) fn client_credentials(asked: &Asked<'_>) -> Result<Outcome, Refusal> {
    if asked.client.1 == Proof::None {
        return Err(Refusal::MissingCredentialOfItsOwn);
    }
    let scope = Scope::parse(required(asked.request.scope.as_deref(), "scope")?)?;
    asked.grant(Step::App, &scope, |_| {
        Ok(Granted {
            access_token: tokens::app_token(asked.tenant, asked.client, &scope)?,
            refresh_token: None,
            id_token: None,
            client_info: None,
            scope: None,
            expires_in: asked.tenant.options().token_lifetime,
        })
    })
}

impl Asked<'_> {
    /// Grants by `tokens`, unless the tenant knows no such resource or a fault is met before.
    fn grant(
        &self,
        step: Step,
        scope: &Scope,
        tokens: impl FnOnce(Option<FaultKind>) -> Result<Granted, Refusal>,
    ) -> Result<Outcome, Refusal> {
        let client_id = &self.client.0.client_id;
        scope.permission(client_id)?;
        let fault = self.tenant.fault(step, &scope.resource);
        if fault == Some(FaultKind::Throttled) {
            return Ok(Outcome::Throttled);
        }
        if let Some(refusal) = fault.and_then(|fault| Refusal::of_fault(fault, client_id)) {
            return Err(refusal);
        }
        let granted = tokens(fault)?;
        Ok(match fault {
            Some(FaultKind::Slow) => Outcome::Late(granted),
            _ => Outcome::Granted(granted),
        })
    }

    /// The scope of the request, which may ask for less than was granted at the sign-in.
    fn scope_within(&self, granted: &Scope) -> Result<Scope, Refusal> {
        let scope = self.request.scope.as_deref();
        let Some(scope) = scope.filter(|scope| !scope.is_empty()) else {
            return Ok(granted.clone());
        };
        let scope = Scope::parse_sign_in(scope)?;
        if granted.covers(&scope) {
            Ok(scope)
        } else {
            Err(Refusal::ScopeNotGranted)
        }
    }

    /// The tokens of somebody who has just signed in.
    fn first_tokens(
        &self,
        object_id: String,
        scope: &Scope,
        nonce: Option<&str>,
        fault: Option<FaultKind>,
    ) -> Result<Granted, Refusal> {
        let user = self.tenant.user(&object_id).ok_or(Refusal::MalformedCode)?;
        let sign_in = SignIn {
            object_id,
            client_id: self.client.0.client_id.clone(),
        };
        let refresh_token = scope.offline_access.then(|| self.tenant.begin(sign_in));
        self.tokens(&user, scope, refresh_token.transpose()?, nonce, fault)
    }

    fn tokens(
        &self,
        user: &User,
        scope: &Scope,
        refresh_token: Option<SecretString>,
        nonce: Option<&str>,
        fault: Option<FaultKind>,
    ) -> Result<Granted, Refusal> {
        let tenant = self.tenant;
        let permission = scope.permission(&self.client.0.client_id)?;
        let about_the_user = if scope.openid {
            let about = IdToken {
                app: self.client.0,
                user,
                base: &self.endpoint.base.0,
                nonce,
                profile: scope.profile,
                fault,
            };
            id_token(tenant, &about)?
        } else {
            None
        };
        let wants_client_info = self.request.client_info.as_deref() == Some("1");
        Ok(Granted {
            access_token: tokens::access_token(tenant, self.client, user, scope, permission)?,
            refresh_token,
            id_token: about_the_user,
            client_info: wants_client_info.then(|| client_info(tenant, user)),
            scope: Some(scope.granted(permission)),
            expires_in: tenant.options().token_lifetime,
        })
    }
}

/// Whom MSAL keeps the tokens under.
fn client_info(tenant: &Tenant, user: &User) -> String {
    let info = json!({"uid": user.object_id, "utid": tenant.tenant_of(user)});
    URL_SAFE_NO_PAD.encode(info.to_string())
}

impl Granted {
    /// The one place where the secrets leave.
    pub(crate) fn reply(&self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            token_type: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            scope: Option<&'a str>,
            expires_in: u32,
            ext_expires_in: u32,
            access_token: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            refresh_token: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            id_token: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            client_info: Option<&'a str>,
        }
        let body = Json(Body {
            token_type: "Bearer",
            scope: self.scope.as_deref(),
            expires_in: self.expires_in,
            ext_expires_in: self.expires_in,
            access_token: self.access_token.expose_secret(),
            refresh_token: self.refresh_token.as_ref().map(ExposeSecret::expose_secret),
            id_token: self.id_token.as_ref().map(ExposeSecret::expose_secret),
            client_info: self.client_info.as_deref(),
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
