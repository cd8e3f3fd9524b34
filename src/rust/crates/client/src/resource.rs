//! The Azure service a token is for.

use std::fmt;

use crate::error::{Error, Kind};

/// A resource as Entra ID wants it: a URI, an `api://` name or a GUID, passed on unchanged, since
/// even a trailing slash decides the token's audience.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource(String);

/// Well-known resources, to suggest a spelling from.
///
/// Source: Microsoft's documentation of each service.
const WELL_KNOWN: [&str; 6] = [
    "https://storage.azure.com",
    "https://vault.azure.net",
    "https://database.windows.net",
    "https://management.azure.com",
    "https://graph.microsoft.com",
    "https://cognitiveservices.azure.com",
];

/// What is appended to a resource to make a scope.
const DEFAULT_SCOPE: &str = "/.default";

impl Resource {
    /// Checks what a caller gave.
    ///
    /// # Errors
    /// [`Kind::BadResource`] for an empty text, white space or control characters in it, or a
    /// scope (`…/.default`) in the place of a resource.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |message: String| Err(Error::new(Kind::BadResource, message));
        if text.is_empty() {
            return bad("the resource is an empty string".into());
        }
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return bad("the resource is nothing but white space".into());
        }
        if trimmed.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return bad(
                "the resource contains white space or control characters; one call asks for one resource"
                    .into(),
            );
        }
        if trimmed != text {
            return bad(format!(
                "the resource has white space around it; did you mean \"{trimmed}\"?"
            ));
        }
        if let Some(resource) = text.strip_suffix(DEFAULT_SCOPE) {
            return bad(format!(
                "\"{text}\" is a scope; the resource is the part before \"{DEFAULT_SCOPE}\". \
                 Did you mean \"{resource}\"?"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The resource as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A well-known resource that looks like this one but is not it.
    #[must_use]
    pub fn likely_spelling(&self) -> Option<&'static str> {
        const ALIKE: f64 = 0.7;
        let given = bare(&self.0);
        WELL_KNOWN
            .into_iter()
            .map(|known| {
                (
                    known,
                    strsim::normalized_damerau_levenshtein(&given, &bare(known)),
                )
            })
            .filter(|(known, alike)| *alike >= ALIKE && self.0.trim_end_matches('/') != *known)
            .max_by(|(_, one), (_, other)| one.total_cmp(other))
            .map(|(known, _)| known)
    }
}

/// The host without what people leave out or add.
fn bare(resource: &str) -> String {
    let lower = resource.to_ascii_lowercase();
    let host = lower
        .split_once("://")
        .map_or(lower.as_str(), |(_, rest)| rest);
    host.trim_end_matches('/').to_owned()
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_names_and_guids_are_kept_to_the_letter() {
        for text in [
            "https://storage.azure.com",
            "https://database.windows.net/",
            "api://my-app",
            "499b84ac-1321-427f-aa17-267ca6975798",
        ] {
            assert_eq!(Resource::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_no_resource_is_refused_with_a_hint() {
        for (text, hint) in [
            ("", "an empty string"),
            (" \n", "nothing but white space"),
            ("a b", "one call asks for one resource"),
            ("a\u{7}b", "control characters"),
            (
                " https://vault.azure.net",
                "mean \"https://vault.azure.net\"?",
            ),
            (
                "https://database.windows.net//.default",
                "Did you mean \"https://database.windows.net/\"?",
            ),
        ] {
            let error = Resource::parse(text).unwrap_err();
            assert_eq!(error.kind(), Kind::BadResource, "{text:?}");
            assert!(error.message().contains(hint), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_misspelt_resource_has_a_likely_spelling() {
        for (given, likely) in [
            (
                "https://storage.azure.net",
                Some("https://storage.azure.com"),
            ),
            ("storage.azure.com", Some("https://storage.azure.com")),
            (
                "https://graph.microsoft.co",
                Some("https://graph.microsoft.com"),
            ),
            ("HTTPS://Vault.Azure.Net/", Some("https://vault.azure.net")),
            ("https://storage.azure.com", None),
            ("https://storage.azure.com/", None),
            ("api://my-app", None),
        ] {
            let resource = Resource::parse(given).unwrap();
            assert_eq!(resource.likely_spelling(), likely, "{given}");
        }
    }
}
