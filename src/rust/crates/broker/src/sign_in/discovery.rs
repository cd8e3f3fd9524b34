//! What a tenant says of itself: where its endpoints are, and whom its id_tokens name as their issuer.

use entrar_core::authority::Authority;
use entrar_core::env::Env;
use entrar_core::error::Error;
use serde_json::{Map, Value};
use url::Url;

use super::ask::ask;
use super::failure::misconfigured;

/// A tenant's OpenID configuration, as far as a sign-in needs it (OpenID Connect Discovery 1.0, 3).
#[derive(Clone, Debug)]
pub(super) struct Discovery {
    /// Perhaps with `{tenantid}` in it, which stands for the tenant of whoever signs in.
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    /// `None` where the tenant knows no device codes.
    pub(super) device_authorization_endpoint: Option<Url>,
}

impl Discovery {
    /// Asks the tenant.
    pub(super) async fn of(env: &Env, authority: &Authority, tenant: &str) -> Result<Self, Error> {
        let url = authority.join(&format!("{tenant}/v2.0/.well-known/openid-configuration"));
        let said = ask(env, &authority.to_string(), &url, None).await?;
        match said.object {
            Some(object) if said.status == 200 => Self::read(authority, &object),
            _ => Err(misconfigured(
                &format!(
                    "{authority} knows no such tenant, or is not Entra ID (HTTP status {})",
                    said.status
                ),
                "Check `tenant` and, if you gave one, `authority`.",
            )),
        }
    }

    /// What it names must be the authority's own: else whoever can change this one reply gets the person's answer.
    fn read(authority: &Authority, object: &Map<String, Value>) -> Result<Self, Error> {
        let bad = |what: String| {
            misconfigured(
                &format!("what {authority} says of the tenant cannot be used: {what}"),
                "Check `authority`: the address may not be Entra ID's.",
            )
        };
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        let endpoint = |name: &str| -> Result<Option<Url>, Error> {
            let Some(text) = text(name) else {
                return Ok(None);
            };
            match Url::parse(text) {
                Ok(url) if authority.is_origin_of(&url) => Ok(Some(url)),
                _ => Err(bad(format!("its {name} is on another host"))),
            }
        };
        let required = |name: &str| -> Result<Url, Error> {
            endpoint(name)?.ok_or_else(|| bad(format!("it has no {name}")))
        };
        Ok(Self {
            issuer: text("issuer")
                .ok_or_else(|| bad("it has no issuer".to_owned()))?
                .to_owned(),
            authorization_endpoint: required("authorization_endpoint")?,
            token_endpoint: required("token_endpoint")?,
            device_authorization_endpoint: endpoint("device_authorization_endpoint")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use entrar_core::error::Kind;
    use serde_json::json;

    fn read(document: &Value) -> Result<Discovery, Error> {
        Discovery::read(&Authority::default(), document.as_object().unwrap())
    }

    fn document() -> Value {
        let at = |path: &str| format!("https://login.microsoftonline.com/t/{path}");
        json!({
            "issuer": at("v2.0"),
            "authorization_endpoint": at("authorize"),
            "token_endpoint": at("token"),
            "device_authorization_endpoint": at("devicecode")
        })
    }

    #[test]
    fn endpoints_are_read() {
        let discovery = read(&document()).unwrap();
        assert_eq!(
            discovery.token_endpoint.as_str(),
            "https://login.microsoftonline.com/t/token"
        );
        let mut without = document();
        without
            .as_object_mut()
            .unwrap()
            .remove("device_authorization_endpoint");
        assert!(
            read(&without)
                .unwrap()
                .device_authorization_endpoint
                .is_none()
        );
    }

    #[test]
    fn an_endpoint_elsewhere_or_in_clear_is_refused() {
        for name in [
            "authorization_endpoint",
            "token_endpoint",
            "device_authorization_endpoint",
        ] {
            for elsewhere in [
                "https://evil.example/t/x",
                "http://login.microsoftonline.com/t/x",
                "https://login.microsoftonline.com:8443/t/x",
                "nonsense",
            ] {
                let mut document = document();
                document[name] = elsewhere.into();
                let error = read(&document).unwrap_err();
                assert_eq!(error.kind(), Kind::Misconfigured, "{elsewhere}");
                assert!(error.message().contains(name), "{error}");
            }
        }
        let mut document = document();
        document["token_endpoint"] = Value::Null;
        assert!(
            read(&document)
                .unwrap_err()
                .message()
                .contains("no token_endpoint")
        );
    }
}
