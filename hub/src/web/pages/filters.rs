//! How values are written into a template.

use std::fmt;

use askama::{Result, Values};
use entrar_core::text::presentable;
use entrar_core::time::UnixTime;

/// Text from outside: on one line, without control characters, text-direction overrides and tokens. It is escaped after that,
/// as all text is.
#[askama::filter_fn]
pub(super) fn shown(text: impl fmt::Display, _: &dyn Values) -> Result<String> {
    Ok(presentable(&text.to_string(), &[]))
}

/// A moment for a person, such as `2026-11-26 14:03 UTC`.
#[askama::filter_fn]
pub(super) fn minute(moment: &UnixTime, _: &dyn Values) -> Result<String> {
    let iso = moment.to_iso();
    let minute = iso.get(..16).unwrap_or(&iso);
    Ok(format!("{} UTC", minute.replace('T', " ")))
}

/// A moment for a machine, as HTML's `datetime` wants it.
#[askama::filter_fn]
pub(super) fn iso(moment: &UnixTime, _: &dyn Values) -> Result<String> {
    Ok(moment.to_iso())
}
