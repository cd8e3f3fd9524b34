//! The Blob service of one storage account: the list of its containers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde::Deserialize;

use super::authorize;
use crate::clock::utc;
use crate::endpoint::BaseUrl;
use crate::escape::escape;
use crate::random;
use crate::tenant::Tenant;
use crate::tokens::BadToken;

/// The name of the only storage account, which is the first part of its addresses' path, as in Azurite.
pub const BLOB_ACCOUNT: &str = "demostorage";

const RESOURCE: &str = "https://storage.azure.com";

/// What is in the account: container names, each with the time of its last change in Unix seconds.
const CONTAINERS: [(&str, i64); 3] = [
    ("field-notes", 1_772_438_400),
    ("forecasts", 1_780_299_000),
    ("measurements", 1_791_872_130),
];

/// The version of the service to speak when a client does not say: the first that takes bearer tokens.
const VERSION: HeaderValue = HeaderValue::from_static("2017-11-09");
const X_MS_VERSION: HeaderName = HeaderName::from_static("x-ms-version");
const X_MS_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const X_MS_ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");

#[derive(Deserialize)]
struct Operation {
    comp: Option<String>,
    restype: Option<String>,
}

pub(super) fn routes() -> Router<Arc<Tenant>> {
    Router::new()
        .route(&format!("/{BLOB_ACCOUNT}"), any(account))
        .route(&format!("/{BLOB_ACCOUNT}/"), any(account))
        .route(&format!("/{BLOB_ACCOUNT}/{{*blob}}"), any(account_content))
}

/// `GET /{account}?comp=list`; no other operation on the account is served.
async fn account(
    State(tenant): State<Arc<Tenant>>,
    BaseUrl(base): BaseUrl,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let reply = match authorize(&tenant, &headers, RESOURCE) {
        Err(fault) => unauthorized(&tenant, &base, fault),
        Ok(_) if method == Method::GET && is_list(&uri) => xml(StatusCode::OK, list(&base)),
        Ok(_) => unsupported(),
    };
    with_service_headers(reply, &headers)
}

/// Anything within the account: containers and blobs themselves are not served.
async fn account_content(
    State(tenant): State<Arc<Tenant>>,
    BaseUrl(base): BaseUrl,
    headers: HeaderMap,
) -> Response {
    let reply = match authorize(&tenant, &headers, RESOURCE) {
        Err(fault) => unauthorized(&tenant, &base, fault),
        Ok(_) => unsupported(),
    };
    with_service_headers(reply, &headers)
}

fn is_list(uri: &Uri) -> bool {
    Query::<Operation>::try_from_uri(uri).is_ok_and(|Query(operation)| {
        operation.comp.as_deref() == Some("list") && operation.restype.is_none()
    })
}

/// All containers in one page, whatever `prefix` or `maxresults` say.
fn list(base: &str) -> String {
    let containers: String = CONTAINERS
        .iter()
        .map(|(name, changed)| container(name, *changed))
        .collect();
    format!(
        "<EnumerationResults ServiceEndpoint=\"{}/{BLOB_ACCOUNT}/\"><Containers>{containers}</Containers>\
         <NextMarker /></EnumerationResults>",
        escape(base)
    )
}

fn container(name: &str, changed: i64) -> String {
    let last_modified = utc(changed, "%a, %d %b %Y %H:%M:%S GMT");
    format!(
        "<Container><Name>{name}</Name><Properties><Last-Modified>{last_modified}</Last-Modified>\
         <Etag>\"0x{changed:X}\"</Etag><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>\
         <HasImmutabilityPolicy>false</HasImmutabilityPolicy><HasLegalHold>false</HasLegalHold>\
         </Properties></Container>"
    )
}

fn unsupported() -> Response {
    let message = "This account only lists its containers: GET with comp=list.";
    error(
        StatusCode::BAD_REQUEST,
        "UnsupportedQueryParameter",
        message,
        "",
    )
}

/// The service's challenge names the tenant and the resource, so that a client can learn where to get a token.
fn unauthorized(tenant: &Tenant, base: &str, fault: BadToken) -> Response {
    let (code, detail) = match fault {
        BadToken::Missing => ("NoAuthenticationInformation", ""),
        BadToken::Signature => ("InvalidAuthenticationInfo", "Signature validation failed."),
        BadToken::Issuer => (
            "InvalidAuthenticationInfo",
            "Issuer validation failed. Issuer did not match.",
        ),
        BadToken::Audience => (
            "InvalidAuthenticationInfo",
            "Audience validation failed. Audience did not match.",
        ),
        BadToken::Lifetime => (
            "InvalidAuthenticationInfo",
            "Lifetime validation failed. The token is expired.",
        ),
    };
    let message = "The server could not authenticate the request. See the WWW-Authenticate header.";
    let challenge = format!(
        "Bearer authorization_uri={base}/{}/oauth2/authorize resource_id={RESOURCE}",
        tenant.id()
    );
    (
        [(header::WWW_AUTHENTICATE, challenge)],
        error(StatusCode::UNAUTHORIZED, code, message, detail),
    )
        .into_response()
}

/// The storage service's error body. All four come from this file, so nothing in them needs escaping.
fn error(status: StatusCode, code: &'static str, message: &str, detail: &str) -> Response {
    let detail = match detail {
        "" => String::new(),
        detail => format!("<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail>"),
    };
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message>{detail}</Error>");
    ([(X_MS_ERROR_CODE, code)], xml(status, body)).into_response()
}

fn xml(status: StatusCode, body: String) -> Response {
    let document = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>{body}");
    (
        status,
        [(header::CONTENT_TYPE, "application/xml")],
        document,
    )
        .into_response()
}

/// Every reply has an id and tells the version spoken, which is whatever the client asked for.
fn with_service_headers(mut reply: Response, request: &HeaderMap) -> Response {
    let version = request.get(X_MS_VERSION).cloned().unwrap_or(VERSION);
    reply.headers_mut().insert(X_MS_VERSION, version);
    if let Some(id) = random::guid()
        .ok()
        .and_then(|id| HeaderValue::try_from(id).ok())
    {
        reply.headers_mut().insert(X_MS_REQUEST_ID, id);
    }
    reply
}
