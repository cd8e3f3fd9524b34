//! The `scope` parameter: which one resource is asked for, and what beside the access token.

use crate::refusals::Refusal;

/// The permission of a token that the app asks for itself.
const OWN_PERMISSION: &str = "access_as_user";

/// The resources this tenant knows, each with the one delegated permission its users have for it.
const RESOURCES: [(&str, &str); 8] = [
    ("https://storage.azure.com", "user_impersonation"),
    ("https://vault.azure.net", "user_impersonation"),
    ("https://database.windows.net", "user_impersonation"),
    ("https://management.azure.com", "user_impersonation"),
    ("https://graph.microsoft.com", "User.Read"),
    // Azure DevOps
    ("499b84ac-1321-427f-aa17-267ca6975798", "user_impersonation"),
    // Azure Databricks
    ("2ff814a6-3304-4ab8-85cb-cd0e6f879c1d", "user_impersonation"),
    // Azure OpenAI
    ("https://cognitiveservices.azure.com", "user_impersonation"),
];

/// The scopes that name no resource.
const OPENID_SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// The resource of a sign-in that names none.
const SIGN_IN_RESOURCE: &str = "https://graph.microsoft.com";

/// A parsed `scope`.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Exactly as asked, slash and all: it becomes the token's audience.
    pub(crate) resource: String,
    /// Whether a new refresh token is wanted.
    pub(crate) offline_access: bool,
    /// Whether an id token is wanted.
    pub(crate) openid: bool,
    /// Whether the id token shall tell names.
    pub(crate) profile: bool,
}

impl Scope {
    /// Reads `RESOURCE/.default`, once, beside any of `offline_access`, `openid`, `profile` and `email`.
    pub(crate) fn parse(scope: &str) -> Result<Self, Refusal> {
        let mut parsed = Self {
            resource: String::new(),
            offline_access: false,
            openid: false,
            profile: false,
        };
        for part in scope.split_whitespace() {
            match part {
                "offline_access" => parsed.offline_access = true,
                "openid" => parsed.openid = true,
                "profile" => parsed.profile = true,
                "email" => {}
                _ => parsed.add_resource(part, scope)?,
            }
        }
        if parsed.resource.is_empty() {
            return Err(Refusal::InvalidScope(scope.to_owned()));
        }
        Ok(parsed)
    }

    /// Reads the scope of a sign-in, which may name no resource: its token is for Microsoft Graph then.
    pub(crate) fn parse_sign_in(scope: &str) -> Result<Self, Refusal> {
        let mut parts = scope.split_whitespace();
        if parts.any(|part| !OPENID_SCOPES.contains(&part)) || scope.trim().is_empty() {
            Self::parse(scope)
        } else {
            Self::parse(&format!("{scope} {SIGN_IN_RESOURCE}/.default"))
        }
    }

    /// Whether all that `asked` asks for is in here.
    pub(crate) fn covers(&self, asked: &Self) -> bool {
        let covers = |granted: bool, asked: bool| granted || !asked;
        self.resource == asked.resource
            && covers(self.offline_access, asked.offline_access)
            && covers(self.openid, asked.openid)
            && covers(self.profile, asked.profile)
    }

    /// Only the final `/.default` is cut: whether the resource itself ends in a slash makes two different audiences.
    fn add_resource(&mut self, part: &str, scope: &str) -> Result<(), Refusal> {
        match part.strip_suffix("/.default") {
            None | Some("") => Err(Refusal::InvalidScope(scope.to_owned())),
            Some(resource) if self.resource.is_empty() || self.resource == resource => {
                self.resource = resource.to_owned();
                Ok(())
            }
            Some(_) => Err(Refusal::SeveralResources(scope.to_owned())),
        }
    }

    /// The permission that a token for the resource carries.
    pub(crate) fn permission(&self, client_id: &str) -> Result<&'static str, Refusal> {
        let known = without_slash(&self.resource);
        // An app may ask for itself, but only by its bare GUID.
        if known == client_id {
            return Ok(OWN_PERMISSION);
        }
        if known.strip_prefix("api://") == Some(client_id) {
            return Err(Refusal::ItselfAsResource(client_id.to_owned()));
        }
        let permission = RESOURCES
            .iter()
            .find(|(resource, _)| *resource == known)
            .map(|(_, permission)| *permission);
        permission.ok_or_else(|| Refusal::UnknownResource(self.resource.clone()))
    }

    /// What the reply's `scope` says: the permission and what was asked, both in the resource's own spelling.
    pub(crate) fn granted(&self, permission: &str) -> String {
        format!(
            "{resource}/{permission} {resource}/.default",
            resource = self.resource
        )
    }
}

/// A resource or audience without its trailing slash, if it has one.
pub(crate) fn without_slash(resource: &str) -> &str {
    resource.strip_suffix('/').unwrap_or(resource)
}
