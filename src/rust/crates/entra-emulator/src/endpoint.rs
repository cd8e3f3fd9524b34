//! What a handler needs of the request it answers: the address it came to, the tenant it named, its correlation id.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

use crate::random;
use crate::refusals::Refusal;
use crate::tenant::Tenant;

/// The names, beside its id, that a tenant answers to.
const ALIASES: [&str; 2] = ["organizations", "common"];

/// `http://HOST:PORT`, or the same with https, after the request's `Host` header: the address the client itself knows.
pub(crate) struct BaseUrl(pub(crate) String);

impl FromRequestParts<Arc<Tenant>> for BaseUrl {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, tenant: &Arc<Tenant>) -> Result<Self, Response> {
        let host = parts
            .headers
            .get(header::HOST)
            .and_then(|value| value.to_str().ok());
        match host.and_then(|host| host.parse::<Authority>().ok()) {
            Some(authority) => {
                let scheme = if tenant.options().https {
                    "https"
                } else {
                    "http"
                };
                Ok(Self(format!("{scheme}://{authority}")))
            }
            None => {
                let error = json!({"error": {"code": "BadRequest", "message": "The request has no usable Host header."}});
                Err((StatusCode::BAD_REQUEST, Json(error)).into_response())
            }
        }
    }
}

/// A request below `/{tenant}/`, for a tenant that exists.
pub(crate) struct Endpoint {
    /// The tenant's name as the request has it: its id or an alias.
    pub(crate) tenant_name: String,
    pub(crate) base: BaseUrl,
    pub(crate) correlation_id: String,
}

impl Endpoint {
    /// The address of `path` below the tenant that the request named.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("{}/{}/{path}", self.base.0, self.tenant_name)
    }

    /// The path of the authorization endpoint.
    pub(crate) fn own_path(&self) -> String {
        format!("/{}/oauth2/v2.0/authorize", self.tenant_name)
    }

    /// The token endpoint's addresses, by each of the tenant's names.
    pub(crate) fn token_endpoints(&self, tenant: &Tenant) -> Vec<String> {
        let names = ALIASES.into_iter().chain([tenant.id(), &self.tenant_name]);
        names
            .map(|name| format!("{}/{name}/oauth2/v2.0/token", self.base.0))
            .collect()
    }
}

impl FromRequestParts<Arc<Tenant>> for Endpoint {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, tenant: &Arc<Tenant>) -> Result<Self, Response> {
        let Path(tenant_name) = Path::<String>::from_request_parts(parts, tenant)
            .await
            .map_err(IntoResponse::into_response)?;
        let base = BaseUrl::from_request_parts(parts, tenant).await?;
        let correlation_id = correlation_id(&parts.headers);
        if tenant_name.eq_ignore_ascii_case(tenant.id()) || is_alias(&tenant_name) {
            Ok(Self {
                tenant_name,
                base,
                correlation_id,
            })
        } else {
            Err(Refusal::UnknownTenant(tenant_name).reply(tenant.now(), &correlation_id))
        }
    }
}

/// Whether a tenant's name is one of those that all tenants answer to.
pub(crate) fn is_alias(tenant_name: &str) -> bool {
    ALIASES.contains(&tenant_name)
}

/// The client's own `client-request-id`, which Entra gives back, or a new one.
fn correlation_id(headers: &HeaderMap) -> String {
    let given = headers
        .get("client-request-id")
        .and_then(|value| value.to_str().ok());
    match given {
        Some(id) if is_guid(id) => id.to_owned(),
        _ => random::guid().unwrap_or_default(),
    }
}

fn is_guid(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}
