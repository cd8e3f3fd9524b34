//! The session RPC on the wire: its request, its reply and the codes of its errors, as both sides write and read them.
//!
//! Source: rstudioapi 0.19.0 and posit-sdk 0.17.0, which write the request in two dialects.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Kind;

/// The method that hands out delegated tokens, and the path it is posted to.
pub const METHOD: &str = "delegated_azure_token";
/// The header that carries the session's cookie.
pub const COOKIE_HEADER: &str = "x-rs-session-server-rpc-cookie";

/// The body of a request for a token.
#[derive(Serialize)]
pub struct Request<'a> {
    method: &'static str,
    params: [&'a str; 1],
}

impl<'a> Request<'a> {
    /// A request for this resource.
    #[must_use]
    pub fn new(resource: &'a str) -> Self {
        Self {
            method: METHOD,
            params: [resource],
        }
    }
}

/// The resource in the body of a request, as it stands there. Fields that are not of the protocol are ignored.
///
/// # Errors
/// What is wrong with the request, without repeating it.
pub fn requested_resource(body: &[u8]) -> Result<String, Fault> {
    let fault = |code, description: &str| Fault::new(code, description);
    let request: Value = serde_json::from_slice(body)
        .map_err(|_| fault(Code::Parse, "the request's body is not JSON"))?;
    let Value::Object(request) = request else {
        let description = "the request is not a JSON object";
        return Err(fault(Code::InvalidRequest, description));
    };
    let Some(method) = request.get("method").and_then(Value::as_str) else {
        let description = "the request's \"method\" is not a string";
        return Err(fault(Code::InvalidRequest, description));
    };
    // posit-sdk writes the method as a path.
    if method.strip_prefix('/').unwrap_or(method) != METHOD {
        let description = format!("the only method is {METHOD}");
        return Err(Fault::new(Code::MethodNotFound, description));
    }
    parameter(&request)
}

fn parameter(request: &Map<String, Value>) -> Result<String, Fault> {
    let missing = || Fault::new(Code::ParameterMissing, "\"params\" is to hold the resource");
    let mistyped = |description: &str| Fault::new(Code::ParameterMistyped, description);
    let parameters = match request.get("params") {
        Some(Value::Array(parameters)) => parameters.as_slice(),
        Some(Value::Null) | None => return Err(missing()),
        Some(_) => return Err(mistyped("\"params\" is not an array")),
    };
    match parameters {
        [Value::String(resource)] => Ok(resource.clone()),
        [] => Err(missing()),
        [_] => Err(mistyped("the resource is not a string")),
        _ => Err(Fault::new(
            Code::ParameterInvalid,
            "\"params\" is to hold one resource and nothing else",
        )),
    }
}

/// The body of a reply that grants a token. Fields without a value are left out: posit-sdk fails on `null`.
#[derive(Serialize)]
pub struct Grant<'a> {
    result: bool,
    token: GrantedToken<'a>,
}

/// The token in a reply. It holds secrets in clear, to be written at once.
#[derive(Serialize)]
pub struct GrantedToken<'a> {
    /// The secret itself.
    pub access_token: &'a str,
    /// How to present it; posit-sdk rejects a token without it.
    pub token_type: &'a str,
    /// Seconds until it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    /// Seconds until the end of the grace that Entra ID gives while it is out of order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ext_expires_in: Option<i64>,
    /// The permissions it carries, separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<&'a str>,
    /// The person's identity as a signed JSON Web Token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<&'a str>,
}

impl<'a> Grant<'a> {
    /// A reply with this token. rstudioapi rejects any `result` but `true`.
    #[must_use]
    pub fn new(token: GrantedToken<'a>) -> Self {
        Self {
            result: true,
            token,
        }
    }
}

/// The codes of errors that our servers raise, before the method runs, and their usual words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The server cannot answer now.
    Unavailable = 2,
    /// The cookie is missing, forged or expired.
    Unauthorized = 3,
    /// The body is not JSON.
    Parse = 5,
    /// The body is JSON of another form.
    InvalidRequest = 6,
    /// Another method, path or verb.
    MethodNotFound = 7,
    /// There is no parameter.
    ParameterMissing = 8,
    /// The parameter is not a string.
    ParameterMistyped = 9,
    /// There are more parameters than one.
    ParameterInvalid = 10,
}

impl Code {
    /// What the code is called.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Unavailable => "Unavailable",
            Self::Unauthorized => "Unauthorized",
            Self::Parse => "Parse error",
            Self::InvalidRequest => "Invalid request",
            Self::MethodNotFound => "Method not found",
            Self::ParameterMissing => "Parameter missing",
            Self::ParameterMistyped => "Parameter of the wrong type",
            Self::ParameterInvalid => "Parameter invalid",
        }
    }
}

/// The kind of failure that a code in a reply means, one of Workbench's included that ours never write.
#[must_use]
pub fn kind_of_code(code: Option<i64>) -> Kind {
    match code {
        Some(3) => Kind::BadCookie,
        Some(7 | 12) => Kind::ServerTooOld,
        Some(2 | 13) => Kind::Unavailable,
        _ => Kind::ServerError,
    }
}

/// What a server says of a request that it does not carry out. It never repeats the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The code.
    pub code: Code,
    /// What exactly is wrong.
    pub description: String,
}

impl Fault {
    /// A fault of this code.
    #[must_use]
    pub fn new(code: Code, description: impl Into<String>) -> Self {
        Self {
            code,
            description: description.into(),
        }
    }

    /// The body of the reply.
    #[must_use]
    pub fn body(&self) -> Value {
        serde_json::json!({"error": {
            "code": self.code as u8,
            "message": self.code.message(),
            "description": self.description
        }})
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
            assert_eq!(requested_resource(body.as_bytes()).as_deref(), Ok("r"));
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
            let fault = requested_resource(body.as_bytes()).unwrap_err();
            assert_eq!(fault.code as u8, code, "{body}");
        }
    }

    #[test]
    fn what_a_client_writes_a_server_reads() {
        let body = serde_json::to_vec(&Request::new("https://storage.azure.com")).unwrap();
        assert_eq!(
            requested_resource(&body).as_deref(),
            Ok("https://storage.azure.com")
        );
    }

    #[test]
    fn the_codes_that_a_server_writes_have_their_kinds() {
        assert_eq!(
            kind_of_code(Some(Code::Unauthorized as i64)),
            Kind::BadCookie
        );
        assert_eq!(
            kind_of_code(Some(Code::MethodNotFound as i64)),
            Kind::ServerTooOld
        );
        assert_eq!(kind_of_code(Some(Code::Parse as i64)), Kind::ServerError);
        assert_eq!(kind_of_code(None), Kind::ServerError);
    }
}
