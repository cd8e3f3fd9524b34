//! The tenant that a server's challenge names, and the one that a token comes from.

use entrar_core::token::claim;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use entrar_core::guid::Guid;

/// The tenant in `Bearer authorization_uri=https://login.microsoftonline.com/TENANT`, which Azure DevOps
/// writes for the organisation that was asked. The challenges may come in any order, joined by commas.
pub(crate) fn tenant(challenges: &[String]) -> Option<Guid> {
    const PARAMETER: &str = "authorization_uri=";
    challenges.iter().find_map(|challenge| {
        let at = challenge.to_ascii_lowercase().find(PARAMETER)?;
        let value = challenge.get(at + PARAMETER.len()..)?;
        let value = value.trim_start_matches('"');
        let end = value.find(|c: char| c == '"' || c == ',' || c.is_whitespace());
        let url = Url::parse(value.get(..end.unwrap_or(value.len()))?).ok()?;
        url.path_segments()?.next()?.parse().ok()
    })
}

/// The tenant that issued a token, if it happens to be a JSON Web Token; nothing in it is verified.
pub(crate) fn issuer(token: &SecretString) -> Option<Guid> {
    claim(token.expose_secret(), "tid")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    const TENANT: &str = "0f1e2d3c-0000-4000-8000-000000000001";

    fn tenant_of(challenges: &[&str]) -> Option<String> {
        let challenges: Vec<String> = challenges.iter().map(|&text| text.to_owned()).collect();
        tenant(&challenges).map(|tenant| tenant.to_string())
    }

    #[test]
    fn the_tenant_is_found_wherever_it_stands() {
        let bearer = format!("Bearer authorization_uri=https://login.microsoftonline.com/{TENANT}");
        let basic = "Basic realm=\"https://tfs.visualstudio.com/\"";
        let quoted = format!("bearer AUTHORIZATION_URI=\"https://login.windows.net/{TENANT}/x\"");
        for challenges in [
            &[bearer.as_str(), basic, "TFS-Federated"][..],
            &["TFS-Federated", basic, &bearer],
            &[&format!("{basic}, {bearer}, TFS-Federated")],
            &[&quoted],
            &["Bearer authorization_uri=nonsense", &bearer],
        ] {
            assert_eq!(
                tenant_of(challenges).as_deref(),
                Some(TENANT),
                "{challenges:?}"
            );
        }
    }

    #[test]
    fn a_challenge_without_a_tenant_has_none() {
        for challenge in [
            "",
            "Basic realm=\"x\"",
            "Bearer authorization_uri=",
            "Bearer authorization_uri=https://login.microsoftonline.com",
            "Bearer authorization_uri=https://login.microsoftonline.com/common",
            "Bearer authorization_uri=\"",
        ] {
            assert_eq!(tenant_of(&[challenge]), None, "{challenge}");
        }
    }

    #[test]
    fn a_tokens_tenant_is_its_tid() {
        let token = |claims: &str| {
            let payload = URL_SAFE_NO_PAD.encode(claims);
            issuer(&format!("e30.{payload}.c2ln").into()).map(|tenant| tenant.to_string())
        };
        assert_eq!(
            token(&format!("{{\"tid\":\"{TENANT}\"}}")).as_deref(),
            Some(TENANT)
        );
        for claims in ["{}", "[]", "", "{\"tid\":1}", "{\"tid\":\"common\"}"] {
            assert_eq!(token(claims), None, "{claims}");
        }
        assert_eq!(issuer(&"opaque".into()), None);
    }
}
