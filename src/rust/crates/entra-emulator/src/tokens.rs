//! Access tokens: their claims, how they are made, and how a resource checks them.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::errors::Error;
use crate::random;
use crate::scope::{Scope, without_slash};
use crate::tenant::Tenant;
use crate::user::User;

/// How a client proved who it is; as a number, the claim `appidacr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Not at all: it is public.
    None = 0,
    Secret = 1,
    Assertion = 2,
}

/// An access token's claims, in Entra's version 1.0. Times are Unix seconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct AccessClaims {
    aud: String,
    iss: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    appid: String,
    /// How the client proved itself: "0" not at all (public), "1" by its secret, "2" by an assertion.
    appidacr: String,
    pub(crate) oid: String,
    sub: String,
    tid: String,
    uti: String,
    jti: String,
    ver: String,
    /// What only a user's token has.
    #[serde(flatten)]
    user: Option<UserClaims>,
    /// "app" in a token that stands for the app itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    idtyp: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct UserClaims {
    family_name: String,
    given_name: String,
    name: String,
    scp: String,
    unique_name: String,
    upn: String,
}

/// An access token for `user`, for the resource of `scope`.
pub(crate) fn access_token(
    tenant: &Tenant,
    (app, proof): (&App, Proof),
    user: &User,
    scope: &Scope,
    permission: &str,
) -> Result<SecretString, Error> {
    tenant.key().sign(&AccessClaims {
        user: Some(UserClaims {
            family_name: user.surname.clone(),
            given_name: user.given_name.clone(),
            name: user.display_name(),
            scp: permission.to_owned(),
            unique_name: user.user_principal_name.clone(),
            upn: user.upn(),
        }),
        ..claims(
            tenant,
            (app, proof),
            tenant.tenant_of(user),
            &user.object_id,
            scope,
        )?
    })
}

/// An access token for the app itself, for the resource of `scope`.
pub(crate) fn app_token(
    tenant: &Tenant,
    (app, proof): (&App, Proof),
    scope: &Scope,
) -> Result<SecretString, Error> {
    // The app's service principal has no id of its own here.
    tenant.key().sign(&AccessClaims {
        idtyp: Some("app".to_owned()),
        ..claims(tenant, (app, proof), tenant.id(), &app.client_id, scope)?
    })
}

/// What all access tokens say.
fn claims(
    tenant: &Tenant,
    (app, proof): (&App, Proof),
    tenant_id: &str,
    object_id: &str,
    scope: &Scope,
) -> Result<AccessClaims, Error> {
    let now = tenant.now();
    Ok(AccessClaims {
        aud: scope.resource.clone(),
        iss: issuer(tenant_id),
        iat: now,
        nbf: now,
        exp: now.saturating_add(tenant.options().token_lifetime.into()),
        appid: app.client_id.clone(),
        appidacr: (proof as u8).to_string(),
        oid: object_id.to_owned(),
        sub: object_id.to_owned(),
        tid: tenant_id.to_owned(),
        uti: random::text::<16>()?,
        jti: random::guid()?,
        ver: "1.0".to_owned(),
        user: None,
        idtyp: None,
    })
}

/// Who signs a tenant's access tokens.
pub(crate) fn issuer(tenant_id: &str) -> String {
    format!("https://sts.windows.net/{tenant_id}/")
}

/// Why a resource does not accept a request's token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BadToken {
    /// There is none.
    Missing,
    /// The tenant's key did not sign it, or it is no JWT at all.
    Signature,
    /// Another tenant, or no tenant, issued it.
    Issuer,
    /// It is for another resource.
    Audience,
    /// Its time is over, or has not come.
    Lifetime,
}

/// The claims of an access token that is good for `resource` (given without a slash) now, to the second.
pub(crate) fn verify(
    tenant: &Tenant,
    token: &str,
    resource: &str,
) -> Result<AccessClaims, BadToken> {
    let claims: AccessClaims = tenant.key().claims(token).ok_or(BadToken::Signature)?;
    let now = tenant.now();
    if claims.iss != issuer(&claims.tid) || !tenant.issues_for(&claims.tid) {
        return Err(BadToken::Issuer);
    }
    if without_slash(&claims.aud) != resource {
        return Err(BadToken::Audience);
    }
    if now < claims.nbf || now >= claims.exp {
        return Err(BadToken::Lifetime);
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use secrecy::ExposeSecret;

    use super::*;
    use crate::clock::Clock;
    use crate::tenant::Options;

    const VAULT: &str = "https://vault.azure.net";

    /// Tokens that the tenant signs but would never hand out, which no client can therefore try.
    #[test]
    fn a_token_of_another_issuer_or_of_the_future_is_bad_though_the_tenant_signed_it() {
        let time = Arc::new(AtomicI64::new(1000));
        let read = Arc::clone(&time);
        let clock = Clock::new(move || read.load(Ordering::SeqCst));
        let tenant = Tenant::new(Options {
            clock,
            ..Options::default()
        })
        .unwrap();
        let scope = Scope::parse("https://vault.azure.net/.default").unwrap();
        let token = access_token(
            &tenant,
            (&App::default(), Proof::None),
            &User::default(),
            &scope,
            "user_impersonation",
        )
        .unwrap();
        let claims = verify(&tenant, token.expose_secret(), VAULT).unwrap();

        time.store(999, Ordering::SeqCst);
        assert!(matches!(
            verify(&tenant, token.expose_secret(), VAULT),
            Err(BadToken::Lifetime)
        ));

        time.store(1000, Ordering::SeqCst);
        let foreign = AccessClaims {
            iss: "https://sts.windows.net/another/".to_owned(),
            ..claims
        };
        let token = tenant.key().sign(&foreign).unwrap();
        assert!(matches!(
            verify(&tenant, token.expose_secret(), VAULT),
            Err(BadToken::Issuer)
        ));
    }
}
