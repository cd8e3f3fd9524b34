//! Why Connect refuses, in the forms that its errors have had.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

use crate::connect::Connect;
use crate::connect::faults::FaultKind;
use crate::connect::integration::{AuthType, Integration};
use crate::errors::Error;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The API key is missing or wrong, or has expired.
    Key,
    /// The key's owner may not see this.
    Forbidden,
    NotFound,
    Malformed(&'static str),
    UnsupportedGrant,
    UnsupportedSubject,
    UnsupportedRequest,
    /// A session token is not known, or its time is over.
    Session,
    NoIntegration,
    OtherIntegration(String),
    SeveralIntegrations,
    OtherAuthType(String, AuthType),
    NoRefreshToken,
    /// The tenant refused: its `error`, and its words.
    Tenant(&'static str, String),
    Internal,
}

impl Refusal {
    pub(crate) fn other_auth_type(integration: &Integration, asked: AuthType) -> Self {
        Self::OtherAuthType(integration.guid.clone(), asked)
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Key => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Connect's number. Those of refusals at the exchange but 212 are made up.
    fn code(&self) -> u32 {
        match self {
            Self::Key => 30,
            Self::Forbidden => 22,
            Self::NotFound => 4,
            Self::NoIntegration => 212,
            Self::Internal => 1,
            _ => 219,
        }
    }

    /// OAuth's `error`.
    fn error(&self) -> &'static str {
        match self {
            Self::UnsupportedGrant => "unsupported_grant_type",
            Self::Session => "invalid_grant",
            Self::OtherIntegration(_) | Self::SeveralIntegrations => "invalid_target",
            Self::Tenant(error, _) => error,
            Self::Internal => "server_error",
            _ => "invalid_request",
        }
    }

    fn message(&self) -> String {
        let text = match self {
            Self::OtherIntegration(guid) => {
                return format!(
                    "OAuth integration {guid} is not associated with this content item."
                );
            }
            Self::OtherAuthType(guid, asked) => {
                return format!(
                    "OAuth integration {guid} does not support {} auth flows",
                    asked.as_str()
                );
            }
            Self::Tenant(_, text) => return text.clone(),
            Self::Key => "The API key is not valid, or has expired.",
            Self::Forbidden => "You do not have permission to perform this operation.",
            Self::NotFound => "The requested object does not exist.",
            Self::Malformed(what) => what,
            Self::UnsupportedGrant => "The grant_type is not supported.",
            Self::UnsupportedSubject => "The subject_token_type is not supported.",
            Self::UnsupportedRequest => {
                "Invalid requested_token_type. Expected 'urn:ietf:params:oauth:token-type:access_token'"
            }
            Self::Session => "The subject_token is not valid, or has expired.",
            Self::NoIntegration => {
                "No OAuth integrations have been associated with this content item."
            }
            Self::SeveralIntegrations => {
                "Several OAuth integrations are associated with this content item: the parameter audience has to name one."
            }
            Self::NoRefreshToken => {
                "No refresh token found in response. Are you missing the offline_access scope in the OAuth integration configuration?"
            }
            Self::Internal => "An internal error occurred.",
        };
        text.to_owned()
    }

    /// In the form of the exchange's errors. A key is looked at before that, and refused as everywhere.
    pub(crate) fn at_exchange(&self, connect: &Connect) -> Response {
        if matches!(self, Self::Key) || connect.has(FaultKind::ConnectErrors) {
            return self.reply();
        }
        let body = if connect.has(FaultKind::OldErrors) {
            json!({"error_code": self.code(), "error_message": self.message()})
        } else {
            json!({"error": self.error(), "error_description": self.message()})
        };
        (
            self.status(),
            [(header::CACHE_CONTROL, "no-store")],
            Json(body),
        )
            .into_response()
    }

    /// In the form of the other routes.
    pub(crate) fn reply(&self) -> Response {
        let body = json!({"code": self.code(), "error": self.message(), "payload": null});
        (self.status(), Json(body)).into_response()
    }
}

/// What went wrong inside is nobody's business outside.
impl From<Error> for Refusal {
    fn from(_: Error) -> Self {
        Self::Internal
    }
}
