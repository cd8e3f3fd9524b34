//! Client assertions: what they say, and the tokens of workloads, which are some.

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};

use crate::errors::Error;
use crate::random;
use crate::tenant::Tenant;

/// Who issues the tokens that prove workloads.
pub(crate) const WORKLOAD_ISSUER: &str = "https://workloads.example";
/// What such a token is for.
pub(crate) const WORKLOAD_AUDIENCE: &str = "api://AzureADTokenExchange";
/// What a workload's token says, and any client assertion. Times are Unix seconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct AssertionClaims {
    pub(crate) aud: String,
    pub(crate) iss: String,
    pub(crate) sub: String,
    #[serde(deserialize_with = "whole_seconds")]
    pub(crate) exp: i64,
    #[serde(default, deserialize_with = "whole_seconds_or_none")]
    pub(crate) nbf: Option<i64>,
    pub(crate) jti: Option<String>,
}

/// A NumericDate may have a fraction (RFC 7519, section 2), and MSAL for Python's has one.
fn whole_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    f64::deserialize(deserializer).map(floor)
}

fn whole_seconds_or_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(floor))
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "what is out of range ends at its edge"
)]
fn floor(seconds: f64) -> i64 {
    seconds.floor() as i64
}

/// A token that proves a workload to this tenant.
pub(crate) fn workload_token(
    tenant: &Tenant,
    subject: &str,
    lifetime: u32,
) -> Result<SecretString, Error> {
    let now = tenant.now();
    tenant.key().sign(&AssertionClaims {
        aud: WORKLOAD_AUDIENCE.to_owned(),
        iss: WORKLOAD_ISSUER.to_owned(),
        sub: subject.to_owned(),
        exp: now.saturating_add(lifetime.into()),
        nbf: Some(now),
        jti: Some(random::guid()?),
    })
}
