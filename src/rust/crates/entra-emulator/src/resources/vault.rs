//! A Key Vault: its secrets, listed and read.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::any;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::authorize;
use crate::endpoint::BaseUrl;
use crate::random;
use crate::tenant::Tenant;
use crate::tokens::BadToken;

const RESOURCE: &str = "https://vault.azure.net";
const X_MS_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

/// A secret of which there is one version.
struct Secret {
    name: &'static str,
    version: &'static str,
    value: &'static str,
    content_type: Option<&'static str>,
    /// When it was made, in Unix seconds.
    created: i64,
}

/// What is in the vault: made up, and good for nothing.
const SECRETS: [Secret; 3] = [
    Secret {
        name: "database-password",
        version: "4f8c1a2b6d7e4c0f9a3b5d6e7f801234",
        value: "not a real password",
        content_type: None,
        created: 1_772_438_400,
    },
    Secret {
        name: "forecast-api-key",
        version: "0b9d3e5f7a1c4e2d8f6a4b2c0d1e3f57",
        value: "not a real key",
        content_type: Some("text/plain"),
        created: 1_780_299_000,
    },
    Secret {
        name: "report-settings",
        version: "c2e4a6081b3d4f5e9d7c5b3a19f8e6d4",
        value: "{\"rows\": 100}",
        content_type: Some("application/json"),
        created: 1_791_872_130,
    },
];

/// A secret as the vault shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'static str>,
    id: String,
    attributes: Value,
}

impl Secret {
    /// As an item of the list: without a version, and without its value.
    fn item(&self, base: &str) -> Bundle {
        Bundle {
            value: None,
            content_type: self.content_type,
            id: format!("{base}/secrets/{}", self.name),
            attributes: json!({
                "enabled": true,
                "created": self.created,
                "updated": self.created,
                "recoveryLevel": "Recoverable+Purgeable",
                "recoverableDays": 90,
            }),
        }
    }

    fn whole(&self, base: &str) -> Bundle {
        let item = self.item(base);
        Bundle {
            value: Some(self.value),
            id: format!("{}/{}", item.id, self.version),
            ..item
        }
    }
}

pub(super) fn routes() -> Router<Arc<Tenant>> {
    // Microsoft's own clients ask for the newest version by a name with a slash behind it.
    Router::new()
        .route("/secrets", any(list))
        .route("/secrets/", any(list))
        .route("/secrets/{name}", any(newest))
        .route("/secrets/{name}/", any(newest))
        .route("/secrets/{name}/{version}", any(version))
        .layer(map_response(with_request_id))
}

/// `GET /secrets`: all of them in one page, whatever `maxresults` says.
async fn list(Reader { base }: Reader) -> Json<Value> {
    let items: Vec<Bundle> = SECRETS.iter().map(|secret| secret.item(&base)).collect();
    Json(json!({"value": items, "nextLink": null}))
}

/// `GET /secrets/{name}`.
async fn newest(
    Path(name): Path<String>,
    Reader { base }: Reader,
) -> Result<Json<Bundle>, Response> {
    match find(&name) {
        Some(secret) => Ok(Json(secret.whole(&base))),
        None => Err(not_found(&name)),
    }
}

/// `GET /secrets/{name}/{version}`.
async fn version(
    Path((name, version)): Path<(String, String)>,
    Reader { base }: Reader,
) -> Result<Json<Bundle>, Response> {
    if !is_version(&version) {
        let message = format!("Method GET does not allow operation '{version}'");
        return Err(bad_parameter(&message));
    }
    match find(&name).filter(|secret| secret.version == version) {
        Some(secret) => Ok(Json(secret.whole(&base))),
        None => Err(not_found(&format!("{name}/{version}"))),
    }
}

/// The vault takes a name in any case.
fn find(name: &str) -> Option<&'static Secret> {
    SECRETS
        .iter()
        .find(|secret| secret.name.eq_ignore_ascii_case(name))
}

fn is_version(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whoever may read the vault, and by a request that it understands.
struct Reader {
    /// The vault's own address.
    base: String,
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(rename = "api-version")]
    api_version: Option<String>,
}

impl FromRequestParts<Arc<Tenant>> for Reader {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, tenant: &Arc<Tenant>) -> Result<Self, Response> {
        let BaseUrl(base) = BaseUrl::from_request_parts(parts, tenant).await?;
        authorize(tenant, &parts.headers, RESOURCE)
            .map_err(|fault| unauthorized(tenant, &base, fault))?;
        let version = Query::<Parameters>::try_from_uri(&parts.uri)
            .ok()
            .and_then(|Query(parameters)| parameters.api_version);
        // Which version it is makes no difference to what is served here.
        if version.is_none_or(|version| version.is_empty()) {
            return Err(bad_parameter("api-version must be specified"));
        }
        if parts.method != Method::GET {
            return Err(bad_parameter("This vault only lists and gets secrets."));
        }
        Ok(Self { base })
    }
}

/// The vault's challenge names the tenant and the resource: Microsoft's own clients ask without a token first, to learn
/// where to get one.
fn unauthorized(tenant: &Tenant, base: &str, fault: BadToken) -> Response {
    let message = match fault {
        BadToken::Missing => "AKV10000: Request is missing a Bearer or PoP token.".to_owned(),
        BadToken::Signature => {
            "AKV10046: Unable to resolve the key used for signature validation.".to_owned()
        }
        BadToken::Issuer => {
            format!(
                "AKV10032: Invalid issuer. Expected one of {}.",
                tenant.issuer()
            )
        }
        BadToken::Audience => format!("AKV10022: Invalid audience. Expected {RESOURCE}."),
        BadToken::Lifetime => "[TokenExpired] Error validating token: 'S2S12086'.".to_owned(),
    };
    let challenge = format!(
        "Bearer authorization=\"{base}/{}\", resource=\"{RESOURCE}\"",
        tenant.id()
    );
    let reply = error(StatusCode::UNAUTHORIZED, "Unauthorized", &message);
    ([(header::WWW_AUTHENTICATE, challenge)], reply).into_response()
}

fn not_found(id: &str) -> Response {
    let message = format!(
        "A secret with (name/id) {id} was not found in this key vault. If you recently deleted this secret you may \
         be able to recover it using the correct recovery command."
    );
    error(StatusCode::NOT_FOUND, "SecretNotFound", &message)
}

fn bad_parameter(message: &str) -> Response {
    error(StatusCode::BAD_REQUEST, "BadParameter", message)
}

/// Key Vault's error body.
fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = Json(json!({"error": {"code": code, "message": message}}));
    (status, body).into_response()
}

/// What every reply of the vault has: an id, and the wish not to be kept.
async fn with_request_id(mut reply: Response) -> Response {
    let headers = reply.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(id) = random::guid()
        .ok()
        .and_then(|id| HeaderValue::try_from(id).ok())
    {
        headers.insert(X_MS_REQUEST_ID, id);
    }
    reply
}
