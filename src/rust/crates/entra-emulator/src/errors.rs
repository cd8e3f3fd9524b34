//! Errors: the crate's own, and Entra's, which the token endpoint answers with.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

use crate::clock::utc;
use crate::random;
use crate::refusals::Refusal;

/// The id of the made-up policy that blocks.
const POLICY: &str = "7d0f6a52-3b1e-4c8e-9f3a-5e2b8c61d704";

/// Why the emulator could not do its work. Nothing secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system gave no random bytes.
    #[error("no random bytes: {0}")]
    Randomness(String),
    /// A key could not be made or used.
    #[error("a key failed: {0}")]
    Key(String),
    /// A certificate could not be made or read.
    #[error("a certificate failed: {0}")]
    Certificate(String),
    /// The file of a content's session token could not be written.
    #[error("the content's session token cannot be written to {file}: {1}", file = .0.display())]
    ContentToken(PathBuf, io::Error),
}

impl Error {
    pub(crate) fn key(error: impl Display) -> Self {
        Self::Key(error.to_string())
    }

    pub(crate) fn certificate(error: impl Display) -> Self {
        Self::Certificate(error.to_string())
    }
}

/// A refusal in Entra's words.
pub(crate) struct Description {
    pub(crate) code: u32,
    /// OAuth's `error`.
    pub(crate) error: &'static str,
    /// The first line of `text`.
    pub(crate) headline: String,
    /// OAuth's `error_description`: four lines.
    pub(crate) text: String,
    pub(crate) timestamp: String,
    pub(crate) trace_id: String,
}

impl Refusal {
    /// `now` is in Unix seconds.
    pub(crate) fn describe(&self, now: i64, correlation_id: &str) -> Description {
        let (code, error) = self.code();
        let timestamp = utc(now, "%Y-%m-%d %H:%M:%SZ");
        let trace_id = random::guid().unwrap_or_default();
        let headline = format!("AADSTS{code}: {}", self.message());
        let lines = [
            headline.clone(),
            format!("Trace ID: {trace_id}"),
            format!("Correlation ID: {correlation_id}"),
            format!("Timestamp: {timestamp}"),
        ];
        Description {
            code,
            error,
            headline,
            text: lines.join("\r\n"),
            timestamp,
            trace_id,
        }
    }

    /// The HTTP status, at the token endpoint and on a page.
    pub(crate) fn status(&self) -> StatusCode {
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
            Self::MfaRequired => json!({"suberror": "basic_action"}),
            _ => json!({}),
        }
    }

    /// Entra's error body. `now` is in Unix seconds.
    pub(crate) fn reply(&self, now: i64, correlation_id: &str) -> Response {
        let description = self.describe(now, correlation_id);
        let code = description.code;
        let mut body = json!({
            "error": description.error,
            "error_description": description.text,
            "error_codes": [code],
            "timestamp": description.timestamp,
            "trace_id": description.trace_id,
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
