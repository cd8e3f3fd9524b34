//! What a request is about: an organisation of Azure DevOps, or something that is not ours.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::protocol::Request;

/// The user name that is answered where the URL has none. Azure DevOps does not look at it.
pub const DEFAULT_ACCOUNT: &[u8] = b"git-credential-pwb";

/// A place in Azure DevOps.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// The host in lower case, without port.
    host: String,
    /// The organisation in lower case; empty if the request does not tell.
    organisation: String,
    /// The user name that git knows, or will get.
    account: Vec<u8>,
}

/// The account may be a personal access token.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("host", &self.host)
            .field("organisation", &self.organisation)
            .finish_non_exhaustive()
    }
}

impl Place {
    /// Where the request leads, if that is Azure DevOps, by https.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        let protocol = request.protocol.as_deref()?;
        let host = request.host.as_deref()?;
        if !protocol.eq_ignore_ascii_case("https") {
            return None;
        }
        let host = host.strip_suffix(":443").unwrap_or(host);
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let username = request.username.as_deref().filter(|name| !name.is_empty());
        let organisation = if host == "dev.azure.com" {
            let path = request.path.as_deref().unwrap_or_default();
            let username = username.and_then(|name| std::str::from_utf8(name).ok());
            // The rest of a password that was not encoded: git takes what stands before its @ for host and path.
            if path.contains('@') {
                String::new()
            } else {
                first_part(path)
                    .or_else(|| organisation(username?))
                    .unwrap_or_default()
            }
        } else {
            let label = host.strip_suffix(".visualstudio.com")?;
            organisation(label)?
        };
        Some(Self {
            host,
            organisation,
            account: username.unwrap_or(DEFAULT_ACCOUNT).to_vec(),
        })
    }

    /// The host in lower case, without port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The organisation in lower case, if the request tells.
    #[must_use]
    pub fn organisation(&self) -> Option<&str> {
        (!self.organisation.is_empty()).then_some(&*self.organisation)
    }

    /// The user name to answer with: git's own, if it has one.
    #[must_use]
    pub fn account(&self) -> &[u8] {
        &self.account
    }
}

fn first_part(path: &str) -> Option<String> {
    let part = path.trim_start_matches('/').split('/').next()?;
    organisation(&percent_decode_str(part).decode_utf8().ok()?)
}

/// An organisation's name: letters, digits and hyphens, at most 50. Personal access tokens are longer, so
/// that none passes for a name.
fn organisation(text: &str) -> Option<String> {
    const LONGEST: usize = 50;
    let is_name = (1..=LONGEST).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    is_name.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(protocol: &str, host: &str, path: &str, username: &str) -> Option<Place> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Place::of(&Request {
            protocol: given(protocol),
            host: given(host),
            path: given(path),
            username: given(username).map(String::into_bytes),
            ..Request::default()
        })
    }

    #[test]
    fn azure_devops_is_known_by_its_hosts() {
        for (host, expected) in [
            ("dev.azure.com", "dev.azure.com"),
            ("dev.azure.com:443", "dev.azure.com"),
            ("DEV.Azure.COM.", "dev.azure.com"),
            ("dev.azure.com.:443", "dev.azure.com"),
            ("Contoso.visualstudio.com", "contoso.visualstudio.com"),
            ("a-1.visualstudio.com:443", "a-1.visualstudio.com"),
        ] {
            let place = place("https", host, "", "").unwrap();
            assert_eq!(place.host(), expected, "{host}");
        }
        assert!(place("HTTPS", "dev.azure.com", "", "").is_some());
    }

    #[test]
    fn everything_else_is_not_ours() {
        for host in [
            "github.com",
            "dev.azure.com:8443",
            "dev.azure.com:",
            "dev.azure.com..",
            "dev.azure.com.evil.example",
            "evil-dev.azure.com",
            "x.dev.azure.com",
            "azure.com",
            "visualstudio.com",
            ".visualstudio.com",
            "a.b.visualstudio.com",
            "a_b.visualstudio.com",
            "contoso.visualstudio.com.evil.example",
            "dev.azure.com@evil.example",
            "dev.azure.com/",
            "dev.azure.com\u{fffd}",
            "[::1]",
            "",
        ] {
            assert_eq!(place("https", host, "", ""), None, "{host}");
        }
        for protocol in ["http", "ssh", "cert", ""] {
            assert_eq!(place(protocol, "dev.azure.com", "", ""), None, "{protocol}");
        }
    }

    #[test]
    fn the_organisation_is_the_paths_or_the_user_names_or_the_hosts() {
        for (host, path, username, expected) in [
            (
                "dev.azure.com",
                "Contoso/my project/_git/r",
                "",
                Some("contoso"),
            ),
            ("dev.azure.com", "/contoso", "other", Some("contoso")),
            ("dev.azure.com", "cont%6Fso/p", "", Some("contoso")),
            ("dev.azure.com", "", "Contoso", Some("contoso")),
            ("dev.azure.com", "not a name/p", "contoso", Some("contoso")),
            ("dev.azure.com", "", "", None),
            ("dev.azure.com", "%ff/p", "ada@example.com", None),
            ("contoso.visualstudio.com", "p/_git/r", "x", Some("contoso")),
        ] {
            let place = place("https", host, path, username).unwrap();
            assert_eq!(place.organisation(), expected, "{host} {path} {username}");
        }
    }

    #[test]
    fn a_personal_access_token_as_user_name_is_no_organisation_and_is_not_shown() {
        let token = format!("canary-{}", "a".repeat(50));
        let place = place("https", "dev.azure.com", "", &token).unwrap();
        assert_eq!(place.organisation(), None);
        assert_eq!(place.account(), token.as_bytes());
        assert!(!format!("{place:?}").contains("canary"));
    }

    #[test]
    fn of_an_address_whose_password_may_look_like_a_path_no_organisation_is_told() {
        for path in [
            "canary/ss@dev.azure.com/contoso/p",
            "/canary@x",
            "?canary@x",
            "canary#@x",
        ] {
            let place = place("https", "dev.azure.com", path, "canary").unwrap();
            assert_eq!(place.organisation(), None, "{path}");
        }
        // As git reads https://user:canary/ss@dev.azure.com/contoso.
        let read = place("https", "user:canary", "ss@dev.azure.com/contoso", "");
        assert_eq!(read, None);
    }

    #[test]
    fn without_a_user_name_the_account_is_the_one_that_is_answered() {
        let without = place("https", "dev.azure.com", "contoso", "").unwrap();
        let answered = place("https", "dev.azure.com", "contoso", "git-credential-pwb").unwrap();
        assert_eq!(without, answered);
    }
}
