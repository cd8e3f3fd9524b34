//! OAuth integrations: what an administrator of Connect has set up, and a publisher attached to content.

use ring::digest::{SHA256, digest};

use crate::random::guid_of;

/// What whom it is for gets a token of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integration {
    /// The GUID: what a request names it by.
    pub guid: String,
    /// What the administrator calls it.
    pub name: String,
    /// Whose tokens it brings.
    pub auth_type: AuthType,
    /// The resource that its tokens are for, without a slash at its end.
    pub resource: String,
    /// The scopes, as its settings show them: they are not what tokens are made after.
    pub scopes: String,
}

/// Whose tokens an integration brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthType {
    /// Those of whoever looks at the content.
    Viewer,
    /// Those of an app, for the content itself.
    ServiceAccount,
}

impl AuthType {
    /// As Connect writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "Viewer",
            Self::ServiceAccount => "Service Account",
        }
    }
}

impl Integration {
    /// An integration for one resource; its GUID is made of both and so always the same.
    ///
    /// ```
    /// use entra_emulator::connect::{AuthType, Integration};
    /// let graph = Integration::new(AuthType::Viewer, "https://graph.microsoft.com");
    /// assert_eq!(graph.name, "Viewer: graph.microsoft.com");
    /// assert_eq!(graph.scopes, "openid offline_access https://graph.microsoft.com/.default");
    /// ```
    pub fn new(auth_type: AuthType, resource: &str) -> Self {
        let name = resource.strip_prefix("https://").unwrap_or(resource);
        let seed = digest(
            &SHA256,
            format!("{} {resource}", auth_type.as_str()).as_bytes(),
        );
        let scopes = match auth_type {
            AuthType::Viewer => format!("openid offline_access {resource}/.default"),
            AuthType::ServiceAccount => format!("{resource}/.default"),
        };
        Self {
            guid: guid_of(seed.as_ref().first_chunk().copied().unwrap_or_default()),
            name: format!("{}: {name}", auth_type.as_str()),
            auth_type,
            resource: resource.to_owned(),
            scopes,
        }
    }

    /// The kind of integration that an administrator would have chosen.
    pub(crate) fn template(&self) -> &'static str {
        match self.resource.as_str() {
            "https://graph.microsoft.com" => "msgraph",
            "https://cognitiveservices.azure.com" => "azure-openai",
            _ => "azure",
        }
    }
}
