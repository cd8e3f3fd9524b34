//! Id tokens: what an app learns of who signed in, and what may be wrong with it.

use secrecy::SecretString;
use serde::Serialize;

use crate::app::App;
use crate::errors::Error;
use crate::faults::FaultKind;
use crate::random;
use crate::tenant::Tenant;
use crate::user::User;

/// An app and a tenant that do not exist.
const OTHER_ID: &str = "deadbeef-0000-4000-8000-000000000000";
/// By how much an id token that is to have expired is older than a good one, in seconds.
const DAY: i64 = 24 * 60 * 60;

/// An id token's claims, in Entra's version 2.0. Times are Unix seconds.
#[derive(Serialize)]
struct IdClaims<'a> {
    aud: &'a str,
    iss: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    oid: &'a str,
    sub: &'a str,
    tid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acct: Option<u8>,
    uti: String,
    ver: &'a str,
}

/// What an id token is about.
pub(crate) struct IdToken<'a> {
    pub(crate) app: &'a App,
    pub(crate) user: &'a User,
    /// The tenant's address, without its id.
    pub(crate) base: &'a str,
    pub(crate) nonce: Option<&'a str>,
    /// Whether it tells names.
    pub(crate) profile: bool,
    /// What is wrong with it.
    pub(crate) fault: Option<FaultKind>,
}

/// An id token for the app itself; `None` if its fault is that there is none.
pub(crate) fn id_token(
    tenant: &Tenant,
    about: &IdToken<'_>,
) -> Result<Option<SecretString>, Error> {
    let is = |fault| about.fault == Some(fault);
    if is(FaultKind::NoIdToken) {
        return Ok(None);
    }
    // Somebody whom nobody else is: a user of this app that is not in the directory.
    let other = User::new("Mallory Example", "mallory@example.com");
    let user = if is(FaultKind::OtherUser) {
        &other
    } else {
        about.user
    };
    let tenant_id = tenant.tenant_of(about.user);
    let issuer_id = if is(FaultKind::WrongIssuer) {
        OTHER_ID
    } else {
        tenant_id
    };
    let age = if is(FaultKind::ExpiredIdToken) {
        DAY
    } else {
        0
    };
    let now = tenant.now().saturating_sub(age);
    let claims = about.app.optional_claims;
    let token = tenant.key().sign(&IdClaims {
        aud: if is(FaultKind::WrongAudience) {
            OTHER_ID
        } else {
            &about.app.client_id
        },
        iss: format!("{}/{issuer_id}/v2.0", about.base),
        iat: now,
        nbf: now,
        exp: now.saturating_add(tenant.options().token_lifetime.into()),
        oid: &user.object_id,
        sub: &user.object_id,
        tid: tenant_id,
        name: about.profile.then(|| user.display_name()),
        nonce: if is(FaultKind::WrongNonce) {
            Some("another nonce")
        } else {
            about.nonce
        },
        preferred_username: about.profile.then_some(&*user.user_principal_name),
        upn: claims.then(|| user.upn()),
        acct: claims.then(|| user.acct()),
        uti: random::text::<16>()?,
        ver: "2.0",
    })?;
    Ok(Some(token))
}
