//! Who asks at the token endpoint: a public client by sending no proof, a confidential one by its secret, its
//! certificate, or the token of its workload.

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::app::{App, Credential};
use crate::assertions::{AssertionClaims, WORKLOAD_AUDIENCE, WORKLOAD_ISSUER};
use crate::endpoint::Endpoint;
use crate::keys::{WebToken, decode};
use crate::refusals::Refusal;
use crate::tenant::Tenant;
use crate::tokens::Proof;

/// The one type of client assertions (RFC 7523, section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a client says of itself.
pub(crate) struct Claimed<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) secret: Option<&'a SecretString>,
    pub(crate) assertion: Option<&'a SecretString>,
    pub(crate) assertion_type: Option<&'a str>,
}

/// The app that asks, and how it proved that.
pub(crate) fn authenticate<'a>(
    tenant: &'a Tenant,
    endpoint: &Endpoint,
    claimed: &Claimed<'_>,
) -> Result<(&'a App, Proof), Refusal> {
    let app = tenant.app(claimed.client_id)?;
    match (claimed.secret, claimed.assertion) {
        (None, None) if app.is_public() => Ok((app, Proof::None)),
        (None, None) => Err(Refusal::MissingCredential),
        _ if app.is_public() => Err(Refusal::CredentialFromPublicClient),
        (Some(_), Some(_)) => Err(Refusal::MalformedRequest),
        (Some(secret), None) => check_secret(app, secret).map(|()| (app, Proof::Secret)),
        (None, Some(assertion)) => {
            match claimed.assertion_type {
                None => return Err(Refusal::MissingParameter("client_assertion_type")),
                Some(ASSERTION_TYPE) => {}
                Some(other) => {
                    let other = other.to_owned();
                    return Err(Refusal::UnsupportedValue("client_assertion_type", other));
                }
            }
            check_assertion(tenant, endpoint, app, assertion.expose_secret())
                .map(|()| (app, Proof::Assertion))
        }
    }
}

fn check_secret(app: &App, given: &SecretString) -> Result<(), Refusal> {
    let is_given = |credential: &Credential| match credential {
        Credential::Secret(secret) => secret
            .expose_secret()
            .as_bytes()
            .ct_eq(given.expose_secret().as_bytes())
            .into(),
        Credential::Certificate(_) | Credential::Federated { .. } => false,
    };
    if app.credentials.iter().any(is_given) {
        Ok(())
    } else {
        Err(Refusal::WrongClientSecret)
    }
}

/// An assertion that the app issued itself is signed by its certificate's key; any other comes from a workload's issuer.
/// That one and the same is sent again is no fault: MSAL keeps its own until they expire.
fn check_assertion(
    tenant: &Tenant,
    endpoint: &Endpoint,
    app: &App,
    assertion: &str,
) -> Result<(), Refusal> {
    let token = WebToken::read(assertion).ok_or(Refusal::MalformedAssertion("it is no JWT"))?;
    let missing = Refusal::MalformedAssertion("it lacks one of aud, iss, sub and exp");
    let claims: AssertionClaims = token.claims().ok_or(missing)?;
    if claims.iss == WORKLOAD_ISSUER {
        let own = tenant.key().claims::<AssertionClaims>(assertion);
        own.ok_or(Refusal::WrongAssertionSignature)?;
        return check_workload(tenant, app, &claims);
    }
    if claims.iss != app.client_id || claims.sub != app.client_id {
        return Err(Refusal::AssertionOfAnother);
    }
    let mut certificates = app.credentials.iter().filter_map(|known| match known {
        Credential::Certificate(certificate) => Some(certificate),
        Credential::Secret(_) | Credential::Federated { .. } => None,
    });
    let sha256 = token.header.x5t_s256.as_deref().and_then(decode);
    let sha1 = token.header.x5t.as_deref().and_then(decode);
    let certificate = certificates.find(|certificate| match (&sha256, &sha1) {
        (Some(thumbprint), _) => certificate.has_sha256(thumbprint),
        (None, Some(thumbprint)) => certificate.has_sha1(thumbprint),
        (None, None) => false,
    });
    let certificate = certificate.ok_or(Refusal::UnknownAssertionKey)?;
    if !certificate.key.has_signed(&token) {
        return Err(Refusal::WrongAssertionSignature);
    }
    if claims.jti.is_none_or(|jti| jti.is_empty()) {
        return Err(Refusal::MalformedAssertion("it lacks jti"));
    }
    let expected = endpoint.token_endpoints(tenant);
    if !expected.contains(&claims.aud) {
        let expected = endpoint.address("oauth2/v2.0/token");
        return Err(Refusal::AssertionForAnother(expected));
    }
    check_times(tenant, claims.nbf, claims.exp)
}

fn check_workload(tenant: &Tenant, app: &App, claims: &AssertionClaims) -> Result<(), Refusal> {
    let is_subject = |credential: &Credential| matches!(credential, Credential::Federated { subject } if *subject == claims.sub);
    if !app.credentials.iter().any(is_subject) {
        return Err(Refusal::UnknownWorkload(claims.sub.clone()));
    }
    if claims.aud != WORKLOAD_AUDIENCE {
        return Err(Refusal::AssertionForAnother(WORKLOAD_AUDIENCE.to_owned()));
    }
    check_times(tenant, claims.nbf, claims.exp)
}

fn check_times(tenant: &Tenant, not_before: Option<i64>, expires: i64) -> Result<(), Refusal> {
    let now = tenant.now();
    // Clocks differ a little: Entra allows five minutes.
    let skew = 300;
    if now >= expires.saturating_add(skew)
        || not_before.is_some_and(|time| now < time.saturating_sub(skew))
    {
        return Err(Refusal::AssertionOutOfTime);
    }
    Ok(())
}
