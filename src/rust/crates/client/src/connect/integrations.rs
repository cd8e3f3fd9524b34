//! Which OAuth integrations are attached to the content, and which of them serves a resource.

use std::sync::{Mutex, PoisonError};

use entrar_core::error::{Error, Kind};
use entrar_core::guid::Guid;
use entrar_core::resource::{Resource, name_of};
use entrar_core::text::presentable;
use serde_json::Value;

use super::audience::{Verdict, compare};
use super::{Place, Question};

/// An integration that is attached to the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Integration {
    guid: String,
    /// What the administrator calls it.
    name: String,
    /// `Viewer` or `Service Account`.
    auth_type: String,
    /// The kind of service it was set up for, such as `azure` or `msgraph`.
    template: String,
    scopes: Scopes,
}

/// What an integration's tokens are for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scopes {
    /// Nobody has asked yet: one integration alone serves whatever its scopes are.
    Unread,
    /// A publisher may not read them.
    Closed,
    Read(Vec<String>),
}

/// What is attached to a piece of content, as Connect said last: `None` where that may not be read.
#[derive(Debug, Default)]
pub struct Integrations(Mutex<Option<(Place, Listing)>>);

type Listing = Option<Vec<Integration>>;

impl Integrations {
    fn of(&self, place: &Place) -> Option<Listing> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, listing) = kept.as_ref()?;
        (of == place).then(|| listing.clone())
    }

    fn keep(&self, place: &Place, listing: &Listing) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some((place.clone(), listing.clone()));
    }

    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Which integration is asked.
pub(super) enum Choice {
    /// The one that the author has named.
    Named(String),
    /// The one that is for the resource.
    Found(Integration),
    /// Nobody may list them: Connect takes the only one, if there is one.
    Only,
}

impl Choice {
    pub(super) fn guid(&self) -> Option<&str> {
        match self {
            Self::Named(guid) => Some(guid),
            Self::Found(integration) => Some(&integration.guid),
            Self::Only => None,
        }
    }

    /// Says which integration it was, where that is what is wrong.
    pub(super) fn explain(&self, error: Error, resource: &Resource) -> Error {
        if !matches!(error.kind(), Kind::ConsentRequired | Kind::Misconfigured) {
            return error;
        }
        match self {
            Self::Named(guid) => error.and(&format!(
                "; the integration {} is the one that the option entrar.connect_integrations names",
                presentable(guid, &[])
            )),
            Self::Found(integration) => error.and(&format!("; the integration is {integration}")),
            Self::Only => error
                .and("; Connect does not let this content list its integrations")
                .remedied(Some(&how_to_name(resource, None))),
        }
    }
}

impl std::fmt::Display for Integration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\" ({})", self.name, self.guid)
    }
}

/// The line with which an author says which integration serves a resource.
fn how_to_name(resource: &Resource, guid: Option<&str>) -> String {
    let name = name_of(resource).unwrap_or(resource.as_str());
    let guid = guid.unwrap_or("GUID of the integration");
    format!("Name it: options(entrar.connect_integrations = c(\"{name}\" = \"{guid}\")).")
}

/// The integration that serves the resource.
pub(super) async fn choose(
    question: &Question<'_>,
    listed: &Integrations,
) -> Result<Choice, Error> {
    let place = question.place;
    let mut listing = match listed.of(place) {
        Some(listing) => listing,
        None => {
            let listing = unless_closed(list(question).await)?;
            listed.keep(place, &listing);
            listing
        }
    };
    let Some(all) = &mut listing else {
        return Ok(Choice::Only);
    };
    if all.is_empty() {
        return Err(Error::new(
            Kind::ConsentRequired,
            "no OAuth integration is attached to this content",
        ));
    }
    let auth_type = question.subject.auth_type();
    let fits = |it: &Integration| it.auth_type.eq_ignore_ascii_case(auth_type);
    match all.iter().filter(|it| fits(it)).count() {
        0 => {
            let message = format!(
                "no OAuth integration of the kind \"{auth_type}\" is attached to this content, and there are {}",
                names(&*all)
            );
            return Err(Error::new(Kind::ConsentRequired, message));
        }
        // The only one is asked, whatever its scopes are: its token says for whom it is.
        1 => {}
        _ => {
            for integration in all.iter_mut().filter(|it| fits(it)) {
                if integration.scopes == Scopes::Unread {
                    integration.scopes = scopes(question, &integration.guid).await?;
                }
            }
        }
    }
    let fitting: Vec<Integration> = all.iter().filter(|it| fits(it)).cloned().collect();
    listed.keep(place, &listing);
    match fitting.as_slice() {
        [only] => Ok(Choice::Found(only.clone())),
        _ => one_of(&fitting, question.resource).map(Choice::Found),
    }
}

/// `None` for an error that says that nobody may look at this, or that there is nothing of that name: then one does without.
fn unless_closed<T>(said: Result<T, Error>) -> Result<Option<T>, Error> {
    match said {
        Ok(said) => Ok(Some(said)),
        Err(error) if matches!(error.details().http_status, Some(403 | 404)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn one_of(fitting: &[Integration], resource: &Resource) -> Result<Integration, Error> {
    let verdict = |it: &Integration| it.verdict(resource);
    let with = |wanted| -> Vec<&Integration> {
        fitting.iter().filter(|it| verdict(it) == wanted).collect()
    };
    let (same, unknown) = (with(Verdict::Same), with(Verdict::Unknown));
    let candidates = if same.is_empty() { &unknown } else { &same };
    match candidates.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(Error::new(
            Kind::ConsentRequired,
            format!(
                "none of the OAuth integrations that are attached to this content is for this resource: {}",
                names(fitting)
            ),
        )),
        [first, ..] => {
            let message = format!(
                "several OAuth integrations of this content may be for this resource: {}",
                names(candidates.iter().copied())
            );
            Err(Error::new(Kind::ConsentRequired, message)
                .remedied(Some(&how_to_name(resource, Some(&first.guid)))))
        }
    }
}

impl Integration {
    fn verdict(&self, resource: &Resource) -> Verdict {
        let Scopes::Read(scopes) = &self.scopes else {
            // The kind of it says something, too.
            return match self.template.as_str() {
                "msgraph" | "sharepoint" => compare("https://graph.microsoft.com", resource),
                "azure-openai" => compare("https://cognitiveservices.azure.com", resource),
                _ => Verdict::Unknown,
            };
        };
        let of = |scope: &String| Some(compare(resource_of(scope)?, resource));
        let verdicts: Vec<Verdict> = scopes.iter().filter_map(of).collect();
        [Verdict::Same, Verdict::Unknown]
            .into_iter()
            .find(|wanted| verdicts.contains(wanted))
            .unwrap_or(if verdicts.is_empty() {
                Verdict::Unknown
            } else {
                Verdict::Other
            })
    }
}

/// The resource that a scope is of; `None` for one that is of none. A scope without one is Microsoft Graph's.
fn resource_of(scope: &str) -> Option<&str> {
    const NOBODYS: [&str; 4] = ["openid", "profile", "email", "offline_access"];
    if NOBODYS.contains(&scope) {
        return None;
    }
    match scope.rsplit_once('/') {
        Some((resource, _)) => Some(resource),
        None => Some("https://graph.microsoft.com"),
    }
}

fn names<'a>(integrations: impl IntoIterator<Item = &'a Integration>) -> String {
    let names: Vec<String> = integrations.into_iter().map(ToString::to_string).collect();
    names.join(", ")
}

async fn list(question: &Question<'_>) -> Result<Vec<Integration>, Error> {
    let Ok(content) = question.place.content().parse::<Guid>() else {
        let message = format!("{} holds no GUID", super::place::CONTENT);
        return Err(Error::new(Kind::NoSession, message));
    };
    let path = format!("__api__/v1/content/{content}/oauth/integrations/associations");
    let said = question.read(&path).await?;
    let Value::Array(all) = said else {
        let message = format!("{} listed no integrations", question.place.server());
        return Err(Error::new(Kind::BadReply, message));
    };
    let of = |it: &Value| {
        let text = |name: &str| Some(presentable(it.get(name)?.as_str()?, &[]));
        Some(Integration {
            guid: text("oauth_integration_guid")?,
            name: text("oauth_integration_name").unwrap_or_default(),
            auth_type: text("oauth_integration_auth_type").unwrap_or_default(),
            template: text("oauth_integration_template").unwrap_or_default(),
            scopes: Scopes::Unread,
        })
    };
    Ok(all.iter().filter_map(of).collect())
}

async fn scopes(question: &Question<'_>, guid: &str) -> Result<Scopes, Error> {
    let Ok(guid) = guid.parse::<Guid>() else {
        return Ok(Scopes::Closed);
    };
    let path = format!("__api__/v1/oauth/integrations/{guid}");
    let said = unless_closed(question.read(&path).await)?.unwrap_or_default();
    let scopes = said.pointer("/config/scopes").and_then(Value::as_str);
    let read = scopes.map(|text| text.split_whitespace().map(str::to_owned).collect());
    Ok(read.map_or(Scopes::Closed, Scopes::Read))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integration(guid: &str, template: &str, scopes: Option<&str>) -> Integration {
        Integration {
            guid: guid.to_owned(),
            name: guid.to_uppercase(),
            auth_type: "Viewer".to_owned(),
            template: template.to_owned(),
            scopes: scopes.map_or(Scopes::Closed, |text| {
                Scopes::Read(text.split(' ').map(str::to_owned).collect())
            }),
        }
    }

    fn chosen(all: &[Integration], resource: &str) -> Result<String, Error> {
        let resource = Resource::parse(resource).unwrap();
        one_of(all, &resource).map(|it| it.guid)
    }

    #[test]
    fn the_one_whose_scopes_are_for_the_resource_serves() {
        let all = [
            integration("graph", "azure", Some("openid offline_access User.Read")),
            integration(
                "storage",
                "azure",
                Some("https://storage.azure.com/user_impersonation offline_access"),
            ),
            integration(
                "devops",
                "custom",
                Some("499b84ac-1321-427f-aa17-267ca6975798/.default"),
            ),
        ];
        for (resource, expected) in [
            ("https://graph.microsoft.com/", "graph"),
            ("https://storage.azure.com", "storage"),
            ("499b84ac-1321-427f-aa17-267ca6975798", "devops"),
        ] {
            assert_eq!(chosen(&all, resource).unwrap(), expected, "{resource}");
        }
        let error = chosen(&all, "https://vault.azure.net").unwrap_err();
        assert_eq!(error.kind(), Kind::ConsentRequired);
        assert!(error.message().contains("\"GRAPH\" (graph)"), "{error}");
    }

    #[test]
    fn where_several_may_be_the_author_names_one() {
        let all = [
            integration("one", "azure", None),
            integration("two", "azure", None),
        ];
        let error = chosen(&all, "https://storage.azure.com").unwrap_err();
        let line = "options(entrar.connect_integrations = c(\"storage\" = \"one\"))";
        assert!(error.details().remedy.as_deref().unwrap().contains(line));
        // The kind of one says enough.
        let all = [
            integration("one", "azure", None),
            integration("two", "msgraph", None),
        ];
        assert_eq!(chosen(&all, "https://storage.azure.com").unwrap(), "one");
        assert_eq!(chosen(&all, "https://graph.microsoft.com").unwrap(), "two");
    }

    #[test]
    fn a_scope_without_a_resource_is_graphs_and_some_are_nobodys() {
        for (scope, expected) in [
            ("openid", None),
            ("User.Read", Some("https://graph.microsoft.com")),
            (
                "https://vault.azure.net/.default",
                Some("https://vault.azure.net"),
            ),
            (
                "https://database.windows.net//.default",
                Some("https://database.windows.net/"),
            ),
            ("api://own/read", Some("api://own")),
        ] {
            assert_eq!(resource_of(scope), expected, "{scope}");
        }
    }
}
