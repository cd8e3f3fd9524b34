//! Access tokens and id tokens: their claims, how they are made, and how a resource checks them.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::directory::Person;
use crate::errors::Error;
use crate::random;
use crate::scope::{Scope, without_slash};
use crate::tenant::Tenant;

/// An access token's claims, in Entra's version 1.0. Times are Unix seconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct AccessClaims {
    aud: String,
    iss: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    appid: String,
    /// How the client proved itself: "0" not at all (public), "1" by its secret.
    appidacr: String,
    family_name: String,
    given_name: String,
    name: String,
    pub(crate) oid: String,
    scp: String,
    sub: String,
    tid: String,
    unique_name: String,
    upn: String,
    uti: String,
    jti: String,
    ver: String,
}

/// An access token for `person`, for the resource of `scope`.
pub(crate) fn access_token(
    tenant: &Tenant,
    person: &Person,
    scope: &Scope,
    permission: &str,
) -> Result<SecretString, Error> {
    let now = tenant.now();
    tenant.key().sign(&AccessClaims {
        aud: scope.resource.clone(),
        iss: tenant.issuer(),
        iat: now,
        nbf: now,
        exp: now.saturating_add(tenant.token_lifetime().into()),
        appid: tenant.client_id().to_owned(),
        appidacr: if tenant.is_confidential() { "1" } else { "0" }.to_owned(),
        family_name: person.surname.clone(),
        given_name: person.given_name.clone(),
        name: person.display_name(),
        oid: person.object_id.clone(),
        scp: permission.to_owned(),
        sub: person.object_id.clone(),
        tid: tenant.id().to_owned(),
        unique_name: person.user_principal_name.clone(),
        upn: person.user_principal_name.clone(),
        uti: random::text::<16>()?,
        jti: random::guid()?,
        ver: "1.0".to_owned(),
    })
}

/// An id token's claims, in Entra's version 2.0. Times are Unix seconds.
#[derive(Serialize)]
struct IdClaims<'a> {
    aud: &'a str,
    iss: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    oid: &'a str,
    sub: &'a str,
    tid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<&'a str>,
    uti: String,
    ver: &'a str,
}

/// An id token about `person` for the app itself; with names if `profile` was asked for.
pub(crate) fn id_token(
    tenant: &Tenant,
    person: &Person,
    issuer: &str,
    profile: bool,
) -> Result<SecretString, Error> {
    let now = tenant.now();
    tenant.key().sign(&IdClaims {
        aud: tenant.client_id(),
        iss: issuer,
        iat: now,
        nbf: now,
        exp: now.saturating_add(tenant.token_lifetime().into()),
        oid: &person.object_id,
        sub: &person.object_id,
        tid: tenant.id(),
        name: profile.then(|| person.display_name()),
        preferred_username: profile.then_some(person.user_principal_name.as_str()),
        uti: random::text::<16>()?,
        ver: "2.0",
    })
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
    if claims.iss != tenant.issuer() {
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
        let token =
            access_token(&tenant, &Person::default(), &scope, "user_impersonation").unwrap();
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
