//! Who asks: whoever has the content's API key.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;

use crate::connect::faults::FaultKind;
use crate::connect::refusal::Refusal;
use crate::connect::{Connect, is_same};

/// A request with `Authorization: Key API_KEY`.
pub(crate) struct Caller;

impl FromRequestParts<Arc<Connect>> for Caller {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        connect: &Arc<Connect>,
    ) -> Result<Self, Response> {
        let authorization = parts.headers.get(header::AUTHORIZATION);
        let key = authorization
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("key"));
        match key {
            Some((_, key))
                if is_same(&connect.api_key, key) && !connect.has(FaultKind::KeyExpired) =>
            {
                Ok(Self)
            }
            _ => Err(Refusal::Key.reply()),
        }
    }
}
