//! The session RPC as a server: `delegated_azure_token` at any base path, in the dialects of rstudioapi (`POST`) and
//! posit-sdk (`GET` with a body).
//!
//! | what | HTTP status | body |
//! |---|---|---|
//! | a token | 200 | `{"result":true,"token":{…}}` |
//! | an OAuth error | 200 | `{"result":false,"oauth2_error":{…}}` |
//! | a bad cookie | 401 | `{"error":{"code":3,"message":"…","description":"…"}}` |
//! | a request that makes no sense | 200 | the same with code 5 to 10 |
//! | another path, another verb | 404, 405 | the same with code 7 |
//! | a body over 64 KiB, or one that does not come | 413, 408 | the same with code 6 |
//!
//! Fields without a value are left out, since posit-sdk fails on `null`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use entrar_client::env::Env;
use entrar_client::resource::Resource;
use entrar_client::rpc::{COOKIE_HEADER, METHOD};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::entra::{Granted, Refusal};
use crate::exchange::Exchanges;
use crate::session::{BadCookie, CookieKey};

/// The largest request body, in bytes.
const LARGEST_REQUEST: usize = 64 * 1024;
/// How long a request's body may take to arrive.
const LONGEST_UPLOAD: Duration = Duration::from_secs(10);

/// What answering takes.
pub struct Broker {
    /// The clock by which cookies expire.
    pub env: Env,
    /// The key that signs cookies.
    pub cookie_key: CookieKey,
    /// Where tokens come from.
    pub exchanges: Exchanges,
}

/// The one route, ready to be served or to be called without a socket.
pub fn app(broker: Arc<Broker>) -> Router {
    // A fallback, since the path's last part alone counts: a proxy may have put a base path before it, and
    // rstudioapi doubles the slash of an address that ends in one.
    Router::new()
        .fallback(answer)
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(broker)
}

async fn answer(State(broker): State<Arc<Broker>>, request: Request) -> Response {
    let reply = broker.answer(request).await;
    // Neither a token nor its absence is to be kept by anything in between.
    ([(CACHE_CONTROL, "no-store")], reply.into_response()).into_response()
}

impl Broker {
    async fn answer(&self, request: Request) -> Result<Response, RpcError> {
        check_path(request.uri())?;
        check_verb(request.method())?;
        let user = self.user(request.headers())?;
        let parameter = read_request(&body(request).await?)?;
        let outcome = match Resource::parse(&parameter) {
            Ok(resource) => self.exchanges.token(&user, resource).await,
            Err(error) => Err(Refusal::new("invalid_resource", error.message())),
        };
        Ok(match outcome {
            Ok(granted) => success(&granted),
            Err(refusal) => {
                Json(json!({"result": false, "oauth2_error": refusal.object()})).into_response()
            }
        })
    }

    /// The user whom the request's cookie stands for.
    fn user(&self, headers: &HeaderMap) -> Result<String, BadCookie> {
        let mut cookies = headers.get_all(COOKIE_HEADER).iter();
        match (cookies.next().map(|cookie| cookie.to_str()), cookies.next()) {
            (Some(Ok(cookie)), None) => self.cookie_key.verify(cookie.trim(), self.env.now()),
            _ => Err(BadCookie::Missing),
        }
    }
}

fn check_path(uri: &Uri) -> Result<(), RpcError> {
    match uri.path().rsplit('/').find(|segment| !segment.is_empty()) {
        Some(METHOD) => Ok(()),
        _ => Err(RpcError {
            status: StatusCode::NOT_FOUND,
            ..RpcError::new(
                7,
                "Method not found",
                format!("only {METHOD} is served here"),
            )
        }),
    }
}

fn check_verb(verb: &Method) -> Result<(), RpcError> {
    if [Method::POST, Method::GET].contains(verb) {
        return Ok(());
    }
    Err(RpcError {
        status: StatusCode::METHOD_NOT_ALLOWED,
        ..RpcError::new(
            7,
            "Method not found",
            "the verb is POST, or GET with a body",
        )
    })
}

async fn body(request: Request) -> Result<Bytes, RpcError> {
    let failed = |status, description| RpcError {
        status,
        ..RpcError::new(6, "Invalid request", description)
    };
    match timeout(LONGEST_UPLOAD, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) => Err(failed(rejection.status(), too_large_or_broken(&rejection))),
        Err(_) => Err(failed(
            StatusCode::REQUEST_TIMEOUT,
            "the request's body did not arrive in time",
        )),
    }
}

fn too_large_or_broken(rejection: &BytesRejection) -> &'static str {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        "the request's body is larger than 64 KiB"
    } else {
        "the request's body broke off"
    }
}

/// The one parameter of a request. Fields that are not of the protocol are ignored.
fn read_request(body: &[u8]) -> Result<String, RpcError> {
    let invalid = |description: &str| RpcError::new(6, "Invalid request", description);
    let request: Value = serde_json::from_slice(body)
        .map_err(|_| RpcError::new(5, "Parse error", "the request's body is not JSON"))?;
    let Value::Object(request) = request else {
        return Err(invalid("the request is not a JSON object"));
    };
    let Some(method) = request.get("method").and_then(Value::as_str) else {
        return Err(invalid("the request's \"method\" is not a string"));
    };
    // posit-sdk writes the method as a path.
    if method.strip_prefix('/').unwrap_or(method) != METHOD {
        let description = format!("the only method is {METHOD}");
        return Err(RpcError::new(7, "Method not found", description));
    }
    parameter(&request)
}

fn parameter(request: &Map<String, Value>) -> Result<String, RpcError> {
    let missing = || RpcError::new(8, "Parameter missing", "\"params\" is to hold the resource");
    let mistyped = |description| RpcError::new(9, "Parameter of the wrong type", description);
    let parameters = match request.get("params") {
        Some(Value::Array(parameters)) => parameters.as_slice(),
        Some(Value::Null) | None => return Err(missing()),
        Some(_) => return Err(mistyped("\"params\" is not an array")),
    };
    match parameters {
        [Value::String(resource)] => Ok(resource.clone()),
        [] => Err(missing()),
        [_] => Err(mistyped("the resource is not a string")),
        _ => Err(RpcError::new(
            10,
            "Parameter invalid",
            "\"params\" is to hold one resource and nothing else",
        )),
    }
}

/// The one place where a token leaves.
fn success(granted: &Granted) -> Response {
    #[derive(Serialize)]
    struct Reply<'a> {
        result: bool,
        token: Token<'a>,
    }
    #[derive(Serialize)]
    struct Token<'a> {
        access_token: &'a str,
        token_type: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ext_expires_in: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        scope: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id_token: Option<&'a str>,
    }
    let token = Token {
        access_token: granted.access_token.expose_secret(),
        token_type: &granted.token_type,
        expires_in: granted.expires_in,
        ext_expires_in: granted.ext_expires_in,
        scope: granted.scope.as_deref(),
        id_token: granted.id_token.as_ref().map(ExposeSecret::expose_secret),
    };
    let result = true;
    Json(Reply { result, token }).into_response()
}

/// A JSON-RPC error, raised before the method runs. It never repeats the request.
struct RpcError {
    status: StatusCode,
    code: u8,
    message: &'static str,
    description: String,
}

impl RpcError {
    fn new(code: u8, message: &'static str, description: impl Into<String>) -> Self {
        Self {
            status: StatusCode::OK,
            code,
            message,
            description: description.into(),
        }
    }
}

impl From<BadCookie> for RpcError {
    fn from(bad: BadCookie) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            ..Self::new(3, "Unauthorized", bad.to_string())
        }
    }
}

impl IntoResponse for RpcError {
    fn into_response(self) -> Response {
        let error = json!({
            "code": self.code, "message": self.message, "description": self.description
        });
        let reply = (self.status, Json(json!({"error": error})));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            ([(ALLOW, "GET, POST")], reply).into_response()
        } else {
            reply.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_dialects_ask_for_the_same() {
        for body in [
            r#"{"params":["r"],"method":"delegated_azure_token"}"#,
            r#"{"method":"/delegated_azure_token","params":["r"],"clientId":"x","kwparams":{}}"#,
        ] {
            assert_eq!(read_request(body.as_bytes()).ok().as_deref(), Some("r"));
        }
    }

    #[test]
    fn a_request_that_makes_no_sense_has_its_code() {
        for (body, code) in [
            ("", 5),
            ("{", 5),
            ("\u{0}", 5),
            ("[]", 6),
            ("7", 6),
            ("{}", 6),
            (r#"{"method":7,"params":["r"]}"#, 6),
            (r#"{"method":"delegated_azure_tokens","params":["r"]}"#, 7),
            (r#"{"method":"//delegated_azure_token","params":["r"]}"#, 7),
            (r#"{"method":"delegated_azure_token"}"#, 8),
            (r#"{"method":"delegated_azure_token","params":null}"#, 8),
            (r#"{"method":"delegated_azure_token","params":[]}"#, 8),
            (r#"{"method":"delegated_azure_token","params":"r"}"#, 9),
            (r#"{"method":"delegated_azure_token","params":[null]}"#, 9),
            (
                r#"{"method":"delegated_azure_token","params":["r","s"]}"#,
                10,
            ),
        ] {
            let error = read_request(body.as_bytes()).err().unwrap();
            assert_eq!((error.code, error.status), (code, StatusCode::OK), "{body}");
        }
    }

    #[test]
    fn the_last_part_of_the_path_counts() {
        let fits = |path: &str| check_path(&path.parse().unwrap()).is_ok();
        for path in [
            "/delegated_azure_token",
            "//delegated_azure_token",
            "/dev/delegated_azure_token/",
            "/a/b//delegated_azure_token//?x=1",
        ] {
            assert!(fits(path), "{path}");
        }
        for path in [
            "/",
            "/delegated_azure_token/x",
            "/xdelegated_azure_token",
            "/x?/delegated_azure_token",
        ] {
            assert!(!fits(path), "{path}");
        }
    }
}
