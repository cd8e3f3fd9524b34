//! Errors: the crate's own, and Entra's, which the token endpoint answers with.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

use crate::clock::utc;
use crate::random;

/// The id of the made-up policy that blocks.
const POLICY: &str = "7d0f6a52-3b1e-4c8e-9f3a-5e2b8c61d704";

/// Why the emulator could not do its work. Nothing secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system gave no random bytes.
    #[error("no random bytes: {0}")]
    Randomness(String),
    /// The signing key could not be made or used.
    #[error("the signing key failed: {0}")]
    Key(String),
}

/// Why the token endpoint or discovery refuses: one variant for each AADSTS code, with what the message names.
#[derive(Debug)]
pub(crate) enum Refusal {
    UnknownTenant(String),
    MalformedRequest,
    MissingParameter(&'static str),
    UnsupportedGrantType,
    UnknownClient(String),
    MissingClientSecret,
    WrongClientSecret,
    SecretFromPublicClient,
    InvalidScope(String),
    SeveralResources(String),
    UnknownResource(String),
    ItselfAsResource(String),
    MalformedRefreshToken,
    RevokedRefreshToken,
    ExpiredRefreshToken,
    MissingConsent(String),
    BlockedByPolicy,
    Transient,
    Internal,
}

impl Refusal {
    /// The AADSTS code and OAuth's `error`.
    fn code(&self) -> (u32, &'static str) {
        match self {
            Self::UnknownTenant(_) => (90002, "invalid_request"),
            Self::MalformedRequest => (9002313, "invalid_request"),
            Self::MissingParameter(_) => (900144, "invalid_request"),
            Self::UnsupportedGrantType => (70003, "unsupported_grant_type"),
            Self::UnknownClient(_) => (700016, "unauthorized_client"),
            Self::MissingClientSecret => (7000218, "invalid_client"),
            Self::WrongClientSecret => (7000215, "invalid_client"),
            Self::SecretFromPublicClient => (700025, "invalid_client"),
            Self::InvalidScope(_) => (70011, "invalid_scope"),
            Self::SeveralResources(_) => (28000, "invalid_scope"),
            Self::UnknownResource(_) => (500011, "invalid_resource"),
            Self::ItselfAsResource(_) => (90009, "invalid_request"),
            Self::MalformedRefreshToken => (9002313, "invalid_grant"),
            Self::RevokedRefreshToken => (50173, "invalid_grant"),
            Self::ExpiredRefreshToken => (700082, "invalid_grant"),
            Self::MissingConsent(_) => (65001, "invalid_grant"),
            Self::BlockedByPolicy => (53003, "invalid_grant"),
            Self::Transient => (90033, "temporarily_unavailable"),
            Self::Internal => (50000, "server_error"),
        }
    }

    /// The first line of `error_description`, without the code.
    fn message(&self) -> String {
        match self {
            Self::UnknownTenant(name) => {
                format!("Tenant '{name}' not found. Check that the tenant ID and the cloud are the right ones.")
            }
            Self::MalformedRequest | Self::MalformedRefreshToken => {
                "Invalid request. Request is malformed or invalid.".to_owned()
            }
            Self::MissingParameter(name) => format!("The request body must contain the parameter '{name}'."),
            Self::UnsupportedGrantType => "The given 'grant_type' is not supported.".to_owned(),
            Self::UnknownClient(id) => format!("Application with identifier '{id}' was not found in the directory."),
            Self::MissingClientSecret => {
                "The request body must contain 'client_secret': the client is confidential.".to_owned()
            }
            Self::WrongClientSecret => "Invalid client secret provided.".to_owned(),
            Self::SecretFromPublicClient => {
                "The client is public, so neither 'client_assertion' nor 'client_secret' may be sent.".to_owned()
            }
            Self::InvalidScope(scope) => format!("The value of 'scope' is not valid. Scope given: {scope}"),
            Self::SeveralResources(scope) => {
                format!("The value of 'scope' is not valid: it names more than one resource. Scope given: {scope}")
            }
            Self::UnknownResource(resource) => {
                format!("The resource principal named {resource} was not found in the tenant.")
            }
            Self::ItselfAsResource(id) => format!("Application '{id}' asks for a token for itself, which only its GUID may name."),
            Self::RevokedRefreshToken => {
                "The provided grant has expired because it was revoked. Sign in again.".to_owned()
            }
            Self::ExpiredRefreshToken => {
                "The refresh token has expired due to inactivity. Sign in again.".to_owned()
            }
            Self::MissingConsent(id) => {
                format!("Neither the user nor an administrator has consented to use the application with ID '{id}'.")
            }
            Self::BlockedByPolicy => {
                "Access has been blocked by Conditional Access policies, which allow no token to be issued.".to_owned()
            }
            Self::Transient => "A transient error has occurred. Please try again.".to_owned(),
            Self::Internal => "The sign-in service has a problem of its own.".to_owned(),
        }
    }

    fn status(&self) -> StatusCode {
        match self.code().1 {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            "temporarily_unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The fields that only some errors have.
    fn more_fields(&self) -> Value {
        match self {
            Self::MissingConsent(_) => json!({"suberror": "consent_required"}),
            Self::BlockedByPolicy => json!({
                "suberror": "message_only",
                "claims": json!({"access_token": {"capolids": {"essential": true, "values": [POLICY]}}}).to_string(),
            }),
            _ => json!({}),
        }
    }

    /// Entra's error body. `now` is in Unix seconds.
    pub(crate) fn reply(&self, now: i64, correlation_id: &str) -> Response {
        let (code, error) = self.code();
        let timestamp = utc(now, "%Y-%m-%d %H:%M:%SZ");
        let trace_id = random::guid().unwrap_or_default();
        let lines = [
            format!("AADSTS{code}: {}", self.message()),
            format!("Trace ID: {trace_id}"),
            format!("Correlation ID: {correlation_id}"),
            format!("Timestamp: {timestamp}"),
        ];
        let mut body = json!({
            "error": error,
            "error_description": lines.join("\r\n"),
            "error_codes": [code],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, self.more_fields()) {
            body.extend(more);
        }
        (
            self.status(),
            [(header::CACHE_CONTROL, "no-store")],
            Json(body),
        )
            .into_response()
    }
}

/// What went wrong inside is nobody's business outside.
impl From<Error> for Refusal {
    fn from(_: Error) -> Self {
        Self::Internal
    }
}
