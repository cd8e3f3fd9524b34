//! What a reply of the session RPC means: a token, or which kind of failure.

use entrar_core::cookie::Cookie;
use entrar_core::error::{Details, Error, Kind, Outlook};
use entrar_core::http::{self, Reply};
use entrar_core::oauth;
use entrar_core::proxy::Proxy;
use entrar_core::resource::Resource;
use entrar_core::rpc::{METHOD, kind_of_code};
use entrar_core::text::presentable;
use entrar_core::time::UnixTime;
use entrar_core::token::Token;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::origin::Session;

/// A question, as far as its answer is read by it.
pub(crate) struct Asked<'a> {
    pub(crate) session: &'a Session,
    pub(crate) resource: &'a Resource,
    pub(crate) cookie: Option<&'a Cookie>,
    /// The proxy that may answer in the server's place.
    pub(crate) proxy: Option<&'a Proxy>,
}

impl Asked<'_> {
    /// The token in a reply to a request that left at `sent`.
    pub(crate) fn token(&self, reply: &Reply, sent: UnixTime) -> Result<Token, Error> {
        let secrets = &self.cookie.map(Cookie::secrets).unwrap_or_default();
        let parsed: Result<Value, _> = serde_json::from_str(&reply.body);
        if let Some(error) = self.proxys_error(reply) {
            return Err(error);
        }
        if let Some(error) = reported_error(parsed.as_ref().ok(), reply, secrets) {
            return Err(self.explain(error));
        }
        let server = self.session.server();
        let bad =
            |what: String| Error::new(Kind::BadReply, format!("the reply from {server} {what}"));
        match parsed {
            Ok(Value::Object(object)) => match object.get("token") {
                Some(Value::Object(token)) => Token::from_reply(token, sent)
                    .map_err(|what| bad(format!("holds no usable token: {what}"))),
                _ => Err(bad("holds no token".into())),
            },
            Ok(_) => Err(bad("is JSON, but not an object".into())),
            Err(_) if reply.body.trim().is_empty() => Err(bad("is empty".into())),
            Err(_) if is_web_page(&reply.body) => Err(bad(
                "is a web page and not JSON; does the address lead to the session's server?".into(),
            )),
            Err(_) => Err(bad("is not JSON".into())),
        }
    }

    /// The error of a reply that is, as a rule, a proxy's and not the server's: 407, and where we go through one 403 and
    /// web pages. The server's own refusals are JSON.
    fn proxys_error(&self, reply: &Reply) -> Option<Error> {
        let server = self.session.server();
        let status = reply.status;
        let error = match self.proxy {
            Some(proxy) if status == 407 => http::wants_a_sign_in(proxy),
            None if status == 407 => Error::new(
                Kind::Unreachable,
                format!("a proxy before {server} wants a sign-in (HTTP status 407)"),
            )
            .lasting()
            .remedied(Some(http::WITHOUT_PROXY)),
            Some(proxy) if status == 403 && !reply.body.trim_start().starts_with('{') => {
                Error::new(
                    Kind::Unreachable,
                    format!("HTTP status 403 came for {server}, as a rule from {proxy}"),
                )
                .remedied(Some(http::WITHOUT_PROXY))
            }
            Some(proxy) if status < 400 && is_web_page(&reply.body) => Error::new(
                Kind::BadReply,
                format!("a web page came for {server}, as a rule from {proxy}"),
            )
            .remedied(Some(http::WITHOUT_PROXY)),
            _ => return None,
        };
        Some(error.at_status(status))
    }

    /// Adds what only we know: which cookie, which path, which resource was probably meant.
    fn explain(&self, error: Error) -> Error {
        match error.kind() {
            Kind::BadCookie => match self.cookie {
                Some(cookie) => error.and(&format!("; it was read from {}", cookie.source())),
                None => error,
            },
            Kind::ServerTooOld => {
                let server = self.session.server();
                error.and(&format!("; it was asked at {server}/{METHOD}"))
            }
            Kind::BadResource if oauth::lacks_the_service(&error) => {
                let service = self.resource.well_known_name();
                let service = service.unwrap_or(self.resource.as_str());
                let what = "the service behind this resource is not set up in your organisation's tenant, or is switched off there";
                Error::with(error.kind(), what, error.details().clone()).remedied(Some(&format!(
                    "Ask an administrator of Entra ID to add or enable the enterprise application of the service \"{service}\", or to buy what it belongs to."
                )))
            }
            Kind::BadResource => match self.resource.likely_spelling() {
                Some(likely) => error.and(&format!("; did you mean \"{likely}\"?")),
                None => error,
            },
            _ => error,
        }
    }
}

fn is_web_page(body: &str) -> bool {
    body.trim_start().starts_with('<')
}

/// The error that a reply reports, if it does: OAuth's, then by HTTP status, then JSON-RPC's.
fn reported_error(value: Option<&Value>, reply: &Reply, secrets: &[SecretString]) -> Option<Error> {
    let object = value.and_then(Value::as_object);
    let failed = reply.status >= 400;
    let error = object.and_then(|object| object_error(object, failed, secrets));
    let error = match error {
        Some(error) if error.is_from_entra() => error,
        other if failed => {
            let text = other
                .and_then(|error| error.details().server_text.clone())
                .or_else(|| plain_text(reply, secrets));
            status_error(reply.status, text)
        }
        other => other?,
    };
    if !failed {
        return Some(error);
    }
    let retry_after = error.details().retry_after.or(reply.retry_after);
    let error = error.at_status(reply.status).waiting(retry_after);
    // Throttling only gets worse by coming back before the time that the server names.
    let names_a_time = error.kind() == Kind::Throttled && retry_after.is_some();
    Some(if names_a_time && !error.is_from_entra() {
        error.with_outlook(Outlook::Retry)
    } else {
        error
    })
}

/// The error in a reply's object, in any of the shapes that servers write.
fn object_error(
    object: &Map<String, Value>,
    failed: bool,
    secrets: &[SecretString],
) -> Option<Error> {
    let oauth = |object| Some(oauth::error_from_object(object, secrets));
    let text = |text: &str| Some(text_error(text, secrets));
    if let Some(Value::Object(oauth_error)) = object.get("oauth2_error") {
        return oauth(oauth_error);
    }
    match object.get("error") {
        // The token endpoint's own body, passed through.
        Some(Value::String(_)) if object.contains_key("error_description") => return oauth(object),
        Some(Value::String(message)) => return text(message),
        Some(Value::Object(error)) => return Some(rpc_error(error, secrets)),
        Some(Value::Null) | None => {}
        Some(other) => return text(&other.to_string()),
    }
    if object.get("result") == Some(&Value::Bool(false)) || failed {
        let detail = ["detail", "message"]
            .iter()
            .find_map(|name| object.get(*name)?.as_str());
        return text(detail.unwrap_or_default());
    }
    None
}

/// The error that a text of the RStudio IDE's describes.
#[must_use]
pub fn ide_error(text: &str) -> Error {
    text_error(text, &[])
}

/// The error that a text describes.
fn text_error(text: &str, secrets: &[SecretString]) -> Error {
    oauth::error_from_text(text, secrets).unwrap_or_else(|| {
        let details = Details {
            server_text: shown(text, secrets),
            ..Details::default()
        };
        Error::with(
            Kind::ServerError,
            oauth::headline(Kind::ServerError),
            details,
        )
    })
}

/// A JSON-RPC error object `{code, message, description?, error?, properties?}`.
fn rpc_error(error: &Map<String, Value>, secrets: &[SecretString]) -> Error {
    let text = innermost_text(error, 0);
    if let Some(error) = text
        .as_deref()
        .and_then(|text| oauth::error_from_text(text, secrets))
    {
        return error;
    }
    let kind = kind_of_code(error.get("code").and_then(Value::as_i64));
    let details = Details {
        server_text: text.and_then(|text| shown(&text, secrets)),
        ..Details::default()
    };
    Error::with(kind, rpc_headline(kind), details)
}

/// The text of the error inside the error; on the way out, of the outer ones.
fn innermost_text(error: &Map<String, Value>, depth: usize) -> Option<String> {
    const DEEPEST: usize = 8;
    let inner = error.get("error").and_then(Value::as_object);
    if let Some(text) = inner
        .filter(|_| depth < DEEPEST)
        .and_then(|inner| innermost_text(inner, depth + 1))
    {
        return Some(text);
    }
    let text = |object: &Map<String, Value>, name: &str| {
        let text = object.get(name)?.as_str()?;
        (!text.trim().is_empty()).then(|| text.to_owned())
    };
    let description = text(error, "description").or_else(|| {
        let properties = error.get("properties")?.as_object()?;
        text(properties, "description")
    });
    match (text(error, "message"), description) {
        (Some(message), Some(description)) if !message.contains(&description) => {
            Some(format!("{message}: {description}"))
        }
        (message, description) => message.or(description),
    }
}

fn plain_text(reply: &Reply, secrets: &[SecretString]) -> Option<String> {
    reply.is_plain_text.then(|| shown(&reply.body, secrets))?
}

fn shown(text: &str, secrets: &[SecretString]) -> Option<String> {
    let text = presentable(text, secrets);
    (!text.is_empty()).then_some(text)
}

pub(crate) fn status_error(status: u16, server_text: Option<String>) -> Error {
    let kind = match status {
        400 | 401 | 403 => Kind::BadCookie,
        404 | 405 => Kind::ServerTooOld,
        429 => Kind::Throttled,
        502..=504 => Kind::Unavailable,
        _ => Kind::ServerError,
    };
    let details = Details {
        server_text,
        ..Details::default()
    };
    let message = format!("{} (HTTP status {status})", rpc_headline(kind));
    Error::with(kind, message, details)
}

/// What happened, in words, for an error of the server itself.
fn rpc_headline(kind: Kind) -> &'static str {
    match kind {
        Kind::BadCookie => "the server did not accept this session's cookie",
        Kind::ServerTooOld => "the server does not know how to hand out Azure tokens",
        other => oauth::headline(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use entrar_core::cookie::Source;
    use entrar_core::env::Env;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;
    use serde_json::json;

    const SECRET: &str = "canary-cookie|date|sig";

    fn outcome(status: u16, body: &str, is_plain_text: bool) -> Result<Token, Error> {
        let reply = Reply {
            status,
            retry_after: None,
            is_plain_text,
            body: body.to_owned(),
        };
        let env = Env::fixed(&[("RS_SERVER_ADDRESS", "http://127.0.0.1:1/base/")], 0.0);
        let session = Session::find(&env).unwrap();
        let resource = Resource::parse("https://storage.azure.net").unwrap();
        let cookie = Cookie::parse(SECRET, Source::Variable("RS_SESSION_RPC_COOKIE")).unwrap();
        let asked = Asked {
            session: &session,
            resource: &resource,
            cookie: Some(&cookie),
            proxy: None,
        };
        asked.token(&reply, UnixTime::of_whole(1_000))
    }

    /// What comes through a proxy.
    fn proxied(status: u16, body: &str) -> Error {
        let variables = [
            ("RS_SERVER_ADDRESS", "http://server.example"),
            ("http_proxy", "http://user:canary@proxy.example:3128"),
        ];
        let env = Env::fixed(&variables, 0.0);
        let session = Session::find(&env).unwrap();
        let resource = Resource::parse("https://storage.azure.net").unwrap();
        let cookie = Cookie::parse(SECRET, Source::Variable("RS_SESSION_RPC_COOKIE")).unwrap();
        let proxy = Proxy::find(&env, &session.url(METHOD));
        let asked = Asked {
            session: &session,
            resource: &resource,
            cookie: Some(&cookie),
            proxy: proxy.as_ref(),
        };
        let reply = Reply {
            status,
            retry_after: None,
            is_plain_text: false,
            body: body.to_owned(),
        };
        asked.token(&reply, UnixTime::of_whole(1_000)).unwrap_err()
    }

    #[test]
    fn what_a_proxy_says_is_not_taken_for_the_servers_words() {
        for (status, body, kind) in [
            (407, "", "unreachable"),
            (407, "{}", "unreachable"),
            (403, "<html>", "unreachable"),
            (403, "Forbidden by policy", "unreachable"),
            (200, " <!doctype html>", "bad_reply"),
        ] {
            let error = proxied(status, body);
            assert_eq!(error.kind().as_str(), kind, "{status} {body}");
            assert_eq!(error.details().http_status, Some(status));
            let said = "the proxy http://proxy.example:3128 (named by http_proxy)";
            assert!(error.message().contains(said), "{error}");
            let remedy = error.details().remedy.as_deref().unwrap();
            assert!(remedy.contains("no_proxy"), "{remedy}");
        }
        for (status, body, kind) in [
            (403, r#"{"error": {"code": 3}}"#, "bad_cookie"),
            (401, "<html>", "bad_cookie"),
            (200, "{}", "bad_reply"),
        ] {
            let error = proxied(status, body);
            assert_eq!(error.kind().as_str(), kind, "{status} {body}");
            assert_eq!(error.details().remedy, None);
        }
        assert_eq!(
            outcome(407, "", false).unwrap_err().kind(),
            Kind::Unreachable
        );
        assert_eq!(
            outcome(403, "<html>", false).unwrap_err().kind(),
            Kind::BadCookie
        );
    }

    fn error(status: u16, body: &Value) -> Error {
        outcome(status, &body.to_string(), false).unwrap_err()
    }

    fn said(error: &Error) -> Option<&str> {
        error.details().server_text.as_deref()
    }

    #[test]
    fn a_good_reply_is_a_token_with_or_without_result() {
        for body in [
            json!({"result": true, "token": {"access_token": "t", "expires_in": "60"}}),
            json!({"token": {"access_token": "t", "expires_in": 60.0, "new": {}}, "error": null}),
        ] {
            let token = outcome(200, &body.to_string(), false).unwrap();
            assert_eq!(token.expires_at, Some(UnixTime::of_whole(1_060)));
        }
    }

    #[test]
    fn the_five_failure_shapes_are_understood() {
        let cases = [
            (json!({"error": "no luck"}), "server_error", "no luck"),
            (
                json!({"error": {"code": 3, "message": "Unauthorized", "description": "no cookie"}}),
                "bad_cookie",
                "Unauthorized: no cookie",
            ),
            (
                json!({"error": {
                    "code": 100, "message": "Error occurred while executing method",
                    "error": {"code": 71, "category": "system",
                        "message": "system error 71 (Protocol error) [description: Missing parameters]"},
                    "properties": {"description": "Missing parameters"}}}),
                "server_error",
                "system error 71 (Protocol error) [description: Missing parameters]",
            ),
            (
                json!({"result": false, "detail": "not set up"}),
                "server_error",
                "not set up",
            ),
            (
                json!({"result": false, "oauth2_error": {
                    "error": "invalid_grant", "error_description": "AADSTS700082: expired"}}),
                "sign_in_required",
                "AADSTS700082: expired",
            ),
        ];
        for (body, kind, text) in cases {
            let error = error(200, &body);
            assert_eq!((error.kind().as_str(), said(&error)), (kind, Some(text)));
        }
    }

    #[test]
    fn json_rpc_codes_have_their_kinds() {
        for code in (1..=13).chain([100, 200]) {
            let expected = match code {
                3 => "bad_cookie",
                7 | 12 => "server_too_old",
                2 | 13 => "unavailable",
                _ => "server_error",
            };
            let error = error(200, &json!({"error": {"code": code, "message": "m"}}));
            assert_eq!(error.kind().as_str(), expected, "{code}");
        }
    }

    #[test]
    fn http_statuses_have_their_kinds() {
        for (status, expected) in [
            (400, "bad_cookie"),
            (401, "bad_cookie"),
            (403, "bad_cookie"),
            (404, "server_too_old"),
            (405, "server_too_old"),
            (418, "server_error"),
            (429, "throttled"),
            (500, "server_error"),
            (502, "unavailable"),
            (503, "unavailable"),
            (504, "unavailable"),
        ] {
            let error = outcome(status, "<html>", false).unwrap_err();
            assert_eq!(error.kind().as_str(), expected, "{status}");
            assert_eq!(error.details().http_status, Some(status));
            assert_eq!(said(&error), None);
        }
    }

    #[test]
    fn an_oauth_error_beats_the_http_status_and_keeps_it() {
        let body = json!({"error": "invalid_grant", "error_description": "AADSTS65001: consent"});
        let error = error(400, &body);
        assert_eq!(error.kind(), Kind::ConsentRequired);
        assert_eq!(error.details().http_status, Some(400));
    }

    #[test]
    fn a_plain_text_is_quoted_without_our_cookie() {
        let error = outcome(500, &format!("bad {SECRET}"), true).unwrap_err();
        assert_eq!(said(&error), Some("bad <REDACTED>"));
    }

    #[test]
    fn a_misspelt_resource_gets_a_suggestion() {
        let body = json!({"result": false, "oauth2_error": {"error": "invalid_resource"}});
        let message = error(200, &body).message().to_owned();
        assert!(
            message.ends_with("did you mean \"https://storage.azure.com\"?"),
            "{message}"
        );
    }

    #[test]
    fn what_is_no_reply_of_the_protocol_is_named_without_showing_it() {
        let deep = "[".repeat(100_000);
        for (body, what) in [
            ("", "is empty"),
            ("<html>canary</html>", "is a web page and not JSON"),
            ("{\"token\": {\"access_token\": \"canary", "is not JSON"),
            (deep.as_str(), "is not JSON"),
            ("[1]", "is JSON, but not an object"),
            ("{\"token\": null}", "holds no token"),
            ("{\"access_token\": \"canary\"}", "holds no token"),
            (
                "{\"token\": {}}",
                "holds no usable token: it has no access_token",
            ),
        ] {
            let error = outcome(200, body, false).unwrap_err();
            assert_eq!(error.kind(), Kind::BadReply);
            assert!(error.message().contains(what), "{what}: {error}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }

    #[test]
    fn nothing_a_server_says_shows_the_cookie() {
        for body in [
            json!({"error": SECRET}),
            json!({"error": {"code": 3, "message": SECRET}}),
            json!({"result": false, "detail": SECRET}),
            json!({"oauth2_error": {"error": SECRET, "error_description": SECRET, "suberror": SECRET,
                "claims": SECRET, "correlation_id": SECRET, "trace_id": SECRET}}),
        ] {
            let error = error(200, &body);
            assert!(
                !format!("{error} {error:?}").contains("canary"),
                "{error:?}"
            );
        }
    }

    /// JSON whose objects hold the protocol's own names, with values that fit and values that do not.
    fn reply() -> impl Strategy<Value = Value> {
        const NAMES: &str = "token|access_token|token_type|expires_in|expires_on|scope|result|error|\
            oauth2_error|error_description|error_codes|code|message|description|detail|properties|suberror|claims";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (0..5000).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z0-9]{0,8}".prop_map(Value::from),
            Just(Value::from(SECRET)),
            Just(Value::from("AADSTS65001: no")),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map(NAMES, inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_reply_is_a_token_or_an_error(status in 100_u16..600, body in reply()) {
            match outcome(status, &body.to_string(), true) {
                Ok(token) => {
                    prop_assert!(status < 400);
                    let sent = &body["token"]["access_token"];
                    prop_assert_eq!(Some(token.access_token.expose_secret()), sent.as_str());
                }
                Err(error) => {
                    let shown = format!("{error} {error:?}");
                    prop_assert!(!shown.contains("canary"), "{}", shown);
                }
            }
        }

        #[test]
        fn any_text_is_a_token_or_an_error(status in 100_u16..600, body in ".*") {
            let _ = outcome(status, &body, true);
        }

        #[test]
        fn any_error_text_is_shown_without_control_characters(text in ".*") {
            let error = error(200, &json!({"error": text}));
            prop_assert!(!error.to_string().chars().any(char::is_control));
        }
    }
}
