//! What R asks agent and hub beside tokens as R's values, and their answers.

use entrar_client::origin::Origin;
use entrar_core::error::Error;
use extendr_api::prelude::*;
use serde_json::{Number, Value};

use crate::convert;
use crate::interrupt::Requested;

/// What became of a question that could be put: its answer, unless R wanted the call to end before.
pub type Replied<T> = Result<Result<T, Error>, Requested>;
/// What became of a question.
pub type Asked<T> = Result<Replied<T>, Error>;

/// A list of `answer`, `failure` and `interrupt` (as in `delegated_token()`'s result), of which two are `NULL`.
pub fn reply_to_r<T>(asked: Asked<T>, origin: Origin, answer: impl FnOnce(T) -> Robj) -> List {
    match asked {
        Ok(Ok(Ok(value))) => answered(answer(value)),
        Ok(Ok(Err(error))) | Err(error) => failed(&error, origin),
        Ok(Err(request)) => {
            let nothing = || -> Robj { ().into() };
            convert::probed(nothing(), nothing(), convert::condition(request))
        }
    }
}

/// The same for an answer.
pub fn answered(answer: Robj) -> List {
    convert::probed(answer, ().into(), ().into())
}

/// The same for a failure, explained in the words of whoever was asked, or would be.
pub fn failed(error: &Error, origin: impl Into<Option<Origin>>) -> List {
    let failure = convert::error(error, origin.into());
    convert::probed(().into(), failure.into(), ().into())
}

/// A list of strings and numbers as a JSON object.
pub fn parameters(list: &List) -> Value {
    let fields = list.iter();
    let fields = fields.filter_map(|(name, value)| Some((name.to_owned(), scalar(&value)?)));
    Value::Object(fields.collect())
}

/// One string or number.
fn scalar(value: &Robj) -> Option<Value> {
    if let Some(text) = convert::string(value) {
        return Some(text.into());
    }
    value
        .as_real()
        .and_then(Number::from_f64)
        .map(Value::Number)
}

/// Strings, numbers, logicals, `NULL`, and lists of them.
pub fn to_r(value: &Value) -> Robj {
    match value {
        Value::Null => ().into(),
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => number.as_f64().into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => values.iter().map(to_r).collect::<List>().into(),
        Value::Object(fields) => List::from_pairs(
            fields
                .iter()
                .map(|(name, value)| (name.as_str(), to_r(value))),
        )
        .into(),
    }
}
