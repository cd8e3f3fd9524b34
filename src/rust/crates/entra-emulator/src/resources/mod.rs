//! The resources: services to spend access tokens on. Each checks tokens as the real one does, and refuses in its own words.

pub(crate) mod blob;
mod graph;
mod vault;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, header};

use crate::tenant::Tenant;
use crate::tokens::{self, AccessClaims, BadToken};

pub(crate) fn routes() -> Router<Arc<Tenant>> {
    graph::routes().merge(blob::routes()).merge(vault::routes())
}

/// The claims of the request's bearer token, if it is good for `resource` (given without a slash).
fn authorize(
    tenant: &Tenant,
    headers: &HeaderMap,
    resource: &str,
) -> Result<AccessClaims, BadToken> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match authorization.and_then(|value| value.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            tokens::verify(tenant, token, resource)
        }
        _ => Err(BadToken::Missing),
    }
}
