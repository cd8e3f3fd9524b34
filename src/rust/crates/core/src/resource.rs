//! The Azure service a token is for.

use std::fmt;

use crate::error::{Error, Kind};

/// A resource as Entra ID wants it: a URI, an `api://` name or a GUID, passed on unchanged, since
/// even a trailing slash decides the token's audience.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource(String);

/// Azure DevOps, which has no address for a name.
pub const DEVOPS: &str = "499b84ac-1321-427f-aa17-267ca6975798";

/// Well-known resources: cloud, the name that stands for it here, URI or GUID.
///
/// Source: Microsoft's documentation of each service and of the national clouds.
pub const WELL_KNOWN: [(&str, &str, &str); 39] = [
    ("public", "storage", "https://storage.azure.com"),
    ("public", "key_vault", "https://vault.azure.net"),
    ("public", "sql", "https://database.windows.net/"),
    (
        "public",
        "postgresql",
        "https://ossrdbms-aad.database.windows.net",
    ),
    (
        "public",
        "mysql",
        "https://ossrdbms-aad.database.windows.net",
    ),
    ("public", "management", "https://management.azure.com"),
    ("public", "graph", "https://graph.microsoft.com"),
    ("public", "devops", DEVOPS),
    (
        "public",
        "databricks",
        "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d",
    ),
    ("public", "openai", "https://cognitiveservices.azure.com"),
    ("public", "ai_foundry", "https://ai.azure.com"),
    ("public", "search", "https://search.azure.com"),
    (
        "public",
        "power_bi",
        "https://analysis.windows.net/powerbi/api",
    ),
    ("public", "fabric", "https://api.fabric.microsoft.com"),
    ("public", "log_analytics", "https://api.loganalytics.io"),
    ("usgov", "storage", "https://storage.azure.com"),
    ("usgov", "key_vault", "https://vault.usgovcloudapi.net"),
    ("usgov", "sql", "https://database.usgovcloudapi.net/"),
    (
        "usgov",
        "postgresql",
        "https://ossrdbms-aad.database.usgovcloudapi.net",
    ),
    (
        "usgov",
        "mysql",
        "https://ossrdbms-aad.database.usgovcloudapi.net",
    ),
    (
        "usgov",
        "management",
        "https://management.usgovcloudapi.net",
    ),
    ("usgov", "graph", "https://graph.microsoft.us"),
    (
        "usgov",
        "databricks",
        "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d",
    ),
    ("usgov", "openai", "https://cognitiveservices.azure.us"),
    ("usgov", "search", "https://search.azure.us"),
    (
        "usgov",
        "power_bi",
        "https://analysis.usgovcloudapi.net/powerbi/api",
    ),
    ("usgov", "log_analytics", "https://api.loganalytics.us"),
    ("china", "storage", "https://storage.azure.com"),
    ("china", "key_vault", "https://vault.azure.cn"),
    ("china", "sql", "https://database.chinacloudapi.cn/"),
    (
        "china",
        "postgresql",
        "https://ossrdbms-aad.database.chinacloudapi.cn",
    ),
    (
        "china",
        "mysql",
        "https://ossrdbms-aad.database.chinacloudapi.cn",
    ),
    ("china", "management", "https://management.chinacloudapi.cn"),
    ("china", "graph", "https://microsoftgraph.chinacloudapi.cn"),
    (
        "china",
        "databricks",
        "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d",
    ),
    ("china", "openai", "https://cognitiveservices.azure.cn"),
    ("china", "search", "https://search.azure.cn"),
    (
        "china",
        "power_bi",
        "https://analysis.chinacloudapi.cn/powerbi/api",
    ),
    (
        "china",
        "log_analytics",
        "https://api.loganalytics.azure.cn",
    ),
];

/// How the host of an account or a server ends, and the name of the resource that its tokens are for: many give the
/// address in the place of the resource.
///
/// Source: Microsoft's documentation of each service.
const HOSTS: [(&str, &str); 16] = [
    (".core.windows.net", "storage"),
    (".vault.azure.net", "key_vault"),
    (".database.windows.net", "sql"),
    (".postgres.database.azure.com", "postgresql"),
    (".mysql.database.azure.com", "mysql"),
    (".services.ai.azure.com", "ai_foundry"),
    (".search.windows.net", "search"),
    ("api.powerbi.com", "power_bi"),
    ("app.powerbi.com", "power_bi"),
    (".ods.opinsights.azure.com", "log_analytics"),
    ("app.fabric.microsoft.com", "fabric"),
    (".openai.azure.com", "openai"),
    (".cognitiveservices.azure.com", "openai"),
    (".azuredatabricks.net", "databricks"),
    (".visualstudio.com", "devops"),
    ("dev.azure.com", "devops"),
];

/// How alike two spellings must be for one to be meant by the other, from 0 to 1.
const ALIKE: f64 = 0.7;

/// The resource of the public cloud that a name stands for, for example `storage`.
#[must_use]
pub fn named(name: &str) -> Option<&'static str> {
    WELL_KNOWN
        .into_iter()
        .find(|(cloud, known, _)| *cloud == "public" && *known == name)
        .map(|(_, _, resource)| resource)
}

/// The name that a well-known resource has here, in whichever cloud; a slash at its end makes no difference. Azure Database
/// for MySQL has PostgreSQL's address, and its name.
#[must_use]
pub fn name_of(resource: &Resource) -> Option<&'static str> {
    let given = resource.as_str().trim_end_matches('/');
    WELL_KNOWN
        .into_iter()
        .find(|(_, _, known)| known.trim_end_matches('/').eq_ignore_ascii_case(given))
        .map(|(_, name, _)| name)
}

/// Of the candidates the one most like the given text, if any is alike.
fn most_alike<'a>(
    given: &str,
    candidates: impl Iterator<Item = (&'a str, String)>,
) -> Option<&'a str> {
    candidates
        .map(|(candidate, spelling)| {
            let alike = strsim::normalized_damerau_levenshtein(given, &spelling);
            (candidate, alike)
        })
        .filter(|(_, alike)| *alike >= ALIKE)
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
        .map(|(candidate, _)| candidate)
}

/// The longest resource that is sent, in bytes; real ones have less than a hundred.
const LONGEST: usize = 2_000;

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
        if may_hold_a_secret(text) {
            return bad(
                "the resource holds a character that no resource has (\"@\", \"?\", \"#\" or \";\"), as an address or a \
                 connection string with a secret in it does; it is not repeated here"
                    .into(),
            );
        }
        if text.is_empty() {
            return bad("the resource is an empty string".into());
        }
        if text.len() > LONGEST {
            return bad(format!("the resource is {} bytes long", text.len()));
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
        if let Some(resource) = text
            .strip_suffix(DEFAULT_SCOPE)
            .or_else(|| without_scope(text))
        {
            return bad(format!(
                "\"{text}\" is a scope, and the resource is the part before it; did you mean \"{resource}\"?"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name of [`WELL_KNOWN`] that stands for it, if there is one.
    #[must_use]
    pub fn well_known_name(&self) -> Option<&'static str> {
        WELL_KNOWN
            .iter()
            .find(|(_, _, known)| known.trim_end_matches('/') == self.0.trim_end_matches('/'))
            .map(|(_, name, _)| *name)
    }

    /// The resource as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, where a name of [`WELL_KNOWN`] may stand for a resource, and a misspelt one is
    /// noticed without asking anybody.
    ///
    /// # Errors
    /// As [`Resource::parse`].
    pub fn from_caller(text: &str) -> Result<Self, Error> {
        if let Some(resource) = named(text) {
            return Self::parse(resource);
        }
        let names = WELL_KNOWN
            .iter()
            .map(|(_, name, _)| (*name, (*name).to_owned()));
        let meant = if is_word(text) {
            most_alike(&text.to_ascii_lowercase(), names)
        } else {
            None
        };
        match meant {
            Some(name) => Err(Error::new(
                Kind::BadResource,
                format!(
                    "\"{text}\" is neither a resource nor the name of one; did you mean \"{name}\"?"
                ),
            )),
            None => Self::parse(text),
        }
    }

    /// A well-known resource that looks like this one but is not it, or is the one for this address.
    #[must_use]
    pub fn likely_spelling(&self) -> Option<&'static str> {
        if self.well_known_name().is_some() {
            return None;
        }
        let spelling = bare(&self.0);
        let host = spelling.split(['/', ':']).next().unwrap_or_default();
        if let Some((_, name)) = HOSTS.iter().find(|(end, _)| host.ends_with(end)) {
            return named(name);
        }
        let others = WELL_KNOWN
            .iter()
            .map(|(_, _, resource)| *resource)
            .filter(|known| known.starts_with("https://"))
            .map(|known| (known, bare(known)));
        most_alike(&spelling, others)
    }
}

/// Whether what was meant for a resource may be an address or a connection string with a secret in it: a password, a key
/// or a signature. No resource has these characters. Some know a tenant's own app by `NAME@TENANT`.
#[must_use]
pub fn may_hold_a_secret(text: &str) -> bool {
    let before_at = text.split_once('@').map(|(before, _)| before);
    text.contains(['?', '#', ';', '\u{ff20}'])
        || text.contains("%40")
        || before_at.is_some_and(|before| before.contains([':', '/']))
}

/// Of a well-known resource with one of its permissions behind it, such as `User.Read`, the resource.
fn without_scope(text: &str) -> Option<&str> {
    let (resource, scope) = text.rsplit_once('/')?;
    let is_permission = scope == "user_impersonation"
        || scope.contains('.')
            && scope.split('.').all(|word| {
                word.starts_with(|c: char| c.is_ascii_uppercase())
                    && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            });
    let known = WELL_KNOWN
        .iter()
        .any(|(_, _, known)| known.trim_end_matches('/') == resource.trim_end_matches('/'));
    (is_permission && known).then_some(resource)
}

/// Whether a text looks like a name; resources hold dots, colons or digits.
fn is_word(text: &str) -> bool {
    text.len() <= 30
        && text
            .chars()
            .all(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | ' '))
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
            "app@contoso.example",
            "https://example.com/User.Read",
            "https://example.com/a.b",
        ] {
            assert_eq!(Resource::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_well_known_resource_has_a_name_in_each_cloud_and_with_or_without_a_slash() {
        let name = |text: &str| name_of(&Resource::parse(text).unwrap());
        for (text, expected) in [
            ("https://storage.azure.com/", Some("storage")),
            ("https://database.windows.net", Some("sql")),
            ("https://Graph.microsoft.us", Some("graph")),
            (DEVOPS, Some("devops")),
            (
                "https://ossrdbms-aad.database.windows.net",
                Some("postgresql"),
            ),
            ("https://storage.azure.com/x", None),
            ("api://my-app", None),
        ] {
            assert_eq!(name(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_resource_is_refused_with_a_hint() {
        for (text, hint) in [
            ("", "an empty string"),
            (" \n", "nothing but white space"),
            (&"a".repeat(2_001), "2001 bytes long"),
            ("a b", "one call asks for one resource"),
            ("a\u{7}b", "control characters"),
            (
                " https://vault.azure.net",
                "mean \"https://vault.azure.net\"?",
            ),
            (
                "https://database.windows.net//.default",
                "did you mean \"https://database.windows.net/\"?",
            ),
            (
                "https://graph.microsoft.com/User.Read",
                "did you mean \"https://graph.microsoft.com\"?",
            ),
            (
                "https://analysis.windows.net/powerbi/api/Dataset.Read.All",
                "did you mean \"https://analysis.windows.net/powerbi/api\"?",
            ),
            (
                "499b84ac-1321-427f-aa17-267ca6975798/user_impersonation",
                "did you mean \"499b84ac-1321-427f-aa17-267ca6975798\"?",
            ),
            (
                "https://svc:canary/1@acct.blob.core.windows.net",
                "it is not repeated here",
            ),
            (
                "svc:canary@acct.blob.core.windows.net",
                "it is not repeated here",
            ),
            (
                "https://acct.blob.core.windows.net/c?sig=canary",
                "it is not repeated here",
            ),
            (
                "AccountName=acct;AccountKey=canary==",
                "it is not repeated here",
            ),
            ("http://svc%3Acanary%40acct", "it is not repeated here"),
            ("svc/canary@acct", "it is not repeated here"),
            (
                " https://svc:canary@acct/.default",
                "it is not repeated here",
            ),
        ] {
            let error = Resource::parse(text).unwrap_err();
            assert!(!error.to_string().contains("canary"), "{error}");
            assert_eq!(error.kind(), Kind::BadResource, "{text:?}");
            assert!(error.message().contains(hint), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_name_stands_for_its_resource_and_a_misspelt_one_is_noticed() {
        let meant = |text| Resource::from_caller(text).map(|resource| resource.to_string());
        assert_eq!(meant("storage").unwrap(), "https://storage.azure.com");
        assert_eq!(meant("sql").unwrap(), "https://database.windows.net/");
        assert_eq!(meant("https://x/").unwrap(), "https://x/");
        assert_eq!(meant("custom").unwrap(), "custom");
        for (text, name) in [
            ("storge", "storage"),
            ("Key Vault", "key_vault"),
            ("Graph", "graph"),
        ] {
            let error = Resource::from_caller(text).unwrap_err();
            assert_eq!(error.kind(), Kind::BadResource);
            let hint = format!("did you mean \"{name}\"?");
            assert!(error.message().ends_with(&hint), "{error}");
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
                "https://example.blob.core.windows.net/container",
                Some("https://storage.azure.com"),
            ),
            (
                "example.database.windows.net:1433",
                Some("https://database.windows.net/"),
            ),
            (
                "https://dev.azure.com/example",
                Some("499b84ac-1321-427f-aa17-267ca6975798"),
            ),
            (
                "https://graph.microsoft.co",
                Some("https://graph.microsoft.com"),
            ),
            ("HTTPS://Vault.Azure.Net/", Some("https://vault.azure.net")),
            (
                "https://example.postgres.database.azure.com",
                Some("https://ossrdbms-aad.database.windows.net"),
            ),
            (
                "https://example.search.windows.net",
                Some("https://search.azure.com"),
            ),
            ("https://storage.azure.com", None),
            ("https://storage.azure.com/", None),
            ("api://my-app", None),
        ] {
            let resource = Resource::parse(given).unwrap();
            assert_eq!(resource.likely_spelling(), likely, "{given}");
        }
    }
}
