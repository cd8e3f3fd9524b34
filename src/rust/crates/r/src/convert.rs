//! Rust values as R's, and back.

use entrar_client::error::Error;
use entrar_client::token::Token;
use extendr_api::prelude::*;
use secrecy::ExposeSecret;
use serde_json::{Map, Number, Value};

use crate::interrupt::Request;

/// What a question for a token ends in: one of `token`, `failure` and `interrupt`; the others are `NULL`.
/// `in_clear` tells that a token came over plain http from another host.
pub fn granted(granted: &Token, in_clear: bool) -> List {
    reply(token(granted).into(), ().into(), ().into(), in_clear)
}

/// The same for a failure.
pub fn failed(failure: &Error) -> List {
    reply(().into(), error(failure).into(), ().into(), false)
}

/// The same for a condition to raise again; `NULL` in the place of one that could not be caught is an
/// interrupt.
pub fn interrupted(request: Request) -> List {
    let condition = if request.0.is_null() {
        TRUE.into()
    } else {
        request.0
    };
    reply(().into(), ().into(), condition, false)
}

fn reply(token: Robj, failure: Robj, interrupt: Robj, in_clear: bool) -> List {
    list!(
        token = token,
        failure = failure,
        interrupt = interrupt,
        in_clear = in_clear
    )
}

/// A token as R's users know it; `id_token` only where the server sent one.
fn token(token: &Token) -> List {
    #[allow(
        clippy::cast_precision_loss,
        reason = "dates lie far below 2^52 seconds"
    )]
    let expires_at = token.expires_at.map(|seconds| seconds as f64);
    let mut fields: Vec<(&str, Robj)> = vec![
        ("access_token", token.access_token.expose_secret().into()),
        ("token_type", token.token_type.as_str().into()),
        ("scope", text(token.scope.as_deref())),
        (
            "expires_at",
            expires_at.map_or_else(Rfloat::na, Rfloat::from).into(),
        ),
    ];
    if let Some(id_token) = &token.id_token {
        fields.push(("id_token", id_token.expose_secret().into()));
    }
    List::from_pairs(fields)
}

/// An error's facts; absent ones are a typed `NA`.
pub fn error(error: &Error) -> List {
    let details = error.details();
    list!(
        kind = error.kind().as_str(),
        message = error.message(),
        server_text = text(details.server_text.as_deref()),
        oauth_error = text(details.oauth_error.as_deref()),
        suberror = text(details.suberror.as_deref()),
        claims = text(details.claims.as_deref()),
        correlation_id = text(details.correlation_id.as_deref()),
        trace_id = text(details.trace_id.as_deref()),
        aadsts = details.aadsts.clone(),
        http_status = details
            .http_status
            .map_or_else(Rint::na, |status| Rint::from(i32::from(status))),
        retry_after = details.retry_after.map_or_else(Rfloat::na, Rfloat::from),
        retryable = error.retryable()
    )
}

/// A string, or `NA`.
pub fn text(text: Option<&str>) -> Robj {
    text.map_or_else(Rstr::na, Rstr::from).into()
}

/// The strings and numbers of an R list as a JSON object, in which the IDE's absolute
/// `expires_at` has its name on the wire.
pub fn fields(list: &List) -> Map<String, Value> {
    let value = |value: &Robj| {
        if value.is_na() {
            return None;
        }
        if let Some(text) = value.as_str() {
            return Some(Value::from(text));
        }
        let number = value
            .as_real()
            .or_else(|| value.as_integer().map(f64::from));
        number.and_then(Number::from_f64).map(Value::Number)
    };
    list.iter()
        .filter_map(|(name, field)| {
            let name = if name == "expires_at" {
                "expires_on"
            } else {
                name
            };
            Some((name.to_owned(), value(&field)?))
        })
        .collect()
}
