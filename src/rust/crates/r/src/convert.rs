//! Rust values as R's, and back.

use std::io;

use entrar_client::origin::{Origin, Session};
use entrar_client::probe::Answer;
use entrar_client::remedy::{Reader, remedy};
use entrar_client::report::{CookieFacts, Report, Way};
use entrar_core::error::Error;
use entrar_core::proxy::Exception;
use entrar_core::time::UnixTime;
use entrar_core::token::Token;
use extendr_api::prelude::*;
use secrecy::ExposeSecret;
use serde_json::{Map, Number, Value};

use crate::interrupt::{Requested, take_condition};

/// What a question for a token ends in: one of `token`, `failure` and `interrupt`; the others are `NULL`.
/// `in_clear` tells that the cookie was sent to another host over plain http, `other_account` that the token before was
/// another account's.
pub fn granted(granted: &Token, in_clear: bool, other_account: bool) -> List {
    reply(
        token(granted).into(),
        ().into(),
        ().into(),
        in_clear,
        other_account,
    )
}

/// The same for a failure.
pub fn failed(failure: &Error, origin: Option<Origin>, in_clear: bool) -> List {
    reply(
        ().into(),
        error(failure, origin).into(),
        ().into(),
        in_clear,
        false,
    )
}

/// The same for a condition to raise again; `NULL` in the place of one that could not be caught is an
/// interrupt.
pub fn interrupted(request: Requested) -> List {
    reply(().into(), ().into(), condition(request), false, false)
}

/// The condition to raise again.
pub fn condition(request: Requested) -> Robj {
    let condition = take_condition(request);
    if condition.is_null() {
        TRUE.into()
    } else {
        condition
    }
}

fn reply(token: Robj, failure: Robj, interrupt: Robj, in_clear: bool, other_account: bool) -> List {
    list!(
        token = token,
        failure = failure,
        interrupt = interrupt,
        in_clear = in_clear,
        other_account = other_account
    )
}

/// A token as R's users know it; `id_token` only where the server sent one.
fn token(token: &Token) -> List {
    let mut fields: Vec<(&str, Robj)> = vec![
        ("access_token", token.access_token.expose_secret().into()),
        ("token_type", token.token_type.as_str().into()),
        ("scope", text(token.scope.as_deref())),
        ("expires_at", time(token.expires_at)),
    ];
    if let Some(id_token) = &token.id_token {
        fields.push(("id_token", id_token.expose_secret().into()));
    }
    List::from_pairs(fields)
}

/// An error's facts, and what to do about it in a session of this origin; absent ones are a typed `NA`.
pub fn error(error: &Error, origin: Option<Origin>) -> List {
    let details = error.details();
    let remedy = remedy(error, origin, Reader::R);
    list!(
        kind = error.kind().as_str(),
        message = error.message(),
        server_text = text(details.server_text.as_deref()),
        remedy = remedy,
        oauth_error = text(details.oauth_error.as_deref()),
        suberror = text(details.suberror.as_deref()),
        claims = text(details.claims.as_deref()),
        correlation_id = text(details.correlation_id.as_deref()),
        trace_id = text(details.trace_id.as_deref()),
        aadsts = details.aadsts.clone(),
        http_status = details
            .http_status
            .map_or_else(Rint::na, |status| Rint::from(i32::from(status))),
        retry_after = number(details.retry_after),
        retryable = error.retryable(),
        is_final = error.is_final()
    )
}

/// What a program ends in: one of `status`, `failure` and `interrupt`; the others are `NULL`.
pub fn ended(ended: io::Result<Result<Option<i32>, Requested>>) -> List {
    let nothing = || -> Robj { ().into() };
    let (status, failure, interrupt) = match ended {
        Ok(Ok(code)) => (
            code.map_or_else(Rint::na, Rint::from).into(),
            nothing(),
            nothing(),
        ),
        Err(error) => (nothing(), error.to_string().into(), nothing()),
        Ok(Err(request)) => (nothing(), nothing(), condition(request)),
    };
    list!(status = status, failure = failure, interrupt = interrupt)
}

/// An R string in UTF-8. extendr takes that for granted, but R's own strings may be broken, and a symbol is none.
pub fn string(value: &Robj) -> Option<&str> {
    let text = if value.is_string() {
        value.as_str()
    } else {
        None
    };
    text.filter(|text| std::str::from_utf8(text.as_bytes()).is_ok())
}

/// What a probe ends in: one of the three; the others are `NULL`.
pub fn probed(answer: Robj, failure: Robj, interrupt: Robj) -> List {
    list!(answer = answer, failure = failure, interrupt = interrupt)
}

/// A server's answer to a probe.
pub fn answer(answer: &Answer) -> Robj {
    list!(
        status = i32::from(answer.status),
        milliseconds = answer.elapsed.as_secs_f64() * 1e3,
        clock_skew = number(answer.clock_skew)
    )
    .into()
}

/// What is known of a session; absent facts are a typed `NA`, absent lists `NULL`.
pub fn report(report: &Report) -> List {
    let failure = |found: Option<&Error>| failure(found, report.origin);
    let server = report.session.as_ref().ok().map(Session::server);
    list!(
        place = report.place.name,
        found = report.place.found_by.clone(),
        no_session = failure(report.no_session()),
        address = text(server.as_deref()),
        address_failure = failure(report.address_error()),
        version = text(report.version.as_deref()),
        version_failure = failure(report.version_error.as_ref()),
        cookies = List::from_values(report.cookies.iter().map(cookie)),
        cookie_failure = failure(report.cookie_error.as_ref()),
        way = optional(report.way.as_ref().map(|way| self::way(way, report.origin)))
    )
}

fn failure(found: Option<&Error>, origin: Option<Origin>) -> Robj {
    optional(found.map(|found| error(found, origin)))
}

/// A list, or `NULL`.
fn optional(list: Option<List>) -> Robj {
    list.map_or_else(|| ().into(), Robj::from)
}

fn cookie(cookie: &CookieFacts) -> List {
    list!(
        place = cookie.place.as_str(),
        named = cookie.is_named,
        fault = text(cookie.fault.as_deref()),
        expires_at = time(cookie.expires_at),
        expired = cookie.is_expired,
        sent = cookie.is_sent
    )
}

fn way(way: &Way, origin: Option<Origin>) -> List {
    let failure = |found: Option<&Error>| failure(found, origin);
    let bundle = way.bundle.as_ref().map(|bundle| {
        let count = bundle.certificates.as_ref().copied().unwrap_or_default();
        list!(
            variable = bundle.variable,
            path = bundle.path.as_str(),
            certificates = i32::try_from(count).unwrap_or(i32::MAX),
            faults = bundle.faults.clone(),
            failure = failure(bundle.certificates.as_ref().err())
        )
    });
    let proxy = way.proxy.as_ref().map(|proxy| {
        let exception = proxy.exception.map(|exception| match exception {
            Exception::Loopback => "loopback",
            Exception::Named(variable) => variable,
        });
        list!(
            variable = proxy.variable,
            address = text(proxy.address.as_deref().ok()),
            failure = failure(proxy.address.as_ref().err()),
            applies = exception.is_none(),
            exception = text(exception)
        )
    });
    list!(
        https = way.is_https,
        in_clear = way.is_in_clear,
        bundle = optional(bundle),
        proxy = optional(proxy)
    )
}

fn number(number: Option<f64>) -> Robj {
    number.map_or_else(Rfloat::na, Rfloat::from).into()
}

/// Unix seconds, or `NA`.
fn time(time: Option<UnixTime>) -> Robj {
    number(time.map(UnixTime::seconds))
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
        if let Some(text) = string(value) {
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
