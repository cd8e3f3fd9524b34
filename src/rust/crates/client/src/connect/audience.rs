//! For whom a token is. An integration's scopes are fixed by its administrator, so that the token may be for another service
//! than the one that was asked for, which would refuse it in words that nobody understands.

use entrar_core::error::{Error, Kind};
use entrar_core::guid::Guid;
use entrar_core::resource::{DEVOPS, Resource, name_of};
use entrar_core::text::presentable;
use entrar_core::token::{Token, claim};
use secrecy::ExposeSecret;

/// The ids by which Microsoft's services are named in tokens, too, with the names that they have here.
///
/// Source: Microsoft's list of its own applications in Entra ID.
const IDS: [(&str, &str); 11] = [
    ("00000003-0000-0000-c000-000000000000", "graph"),
    ("e406a681-f3d4-42a8-90b6-c2b029497af1", "storage"),
    ("cfa8b339-82a2-471a-a3c9-0fc0be7a4093", "key_vault"),
    ("022907d3-0f1b-48f7-badc-1ba6abab6d66", "sql"),
    ("123cd850-d9df-40bd-94d5-c9f07b7fa203", "postgresql"),
    ("797f4846-ba00-4fd7-ba43-dac1f8f63013", "management"),
    ("7d312290-28c8-473c-a0ed-8e53749b6d6d", "openai"),
    ("880da380-985e-4198-81b9-e05b1cc53158", "search"),
    ("00000009-0000-0000-c000-000000000000", "power_bi"),
    ("ca7f3f0b-7d91-482c-8e09-c5d840d0eac5", "log_analytics"),
    (DEVOPS, "devops"),
];

/// Whether two names are of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    Other,
    /// One of them is an id that is not known here, as an app of an organisation's own has.
    Unknown,
}

/// Compares what a token or a scope is for with what was asked for.
pub(super) fn compare(named: &str, resource: &Resource) -> Verdict {
    let named = named.trim_end_matches('/');
    let asked = resource.as_str().trim_end_matches('/');
    if named.eq_ignore_ascii_case(asked) {
        return Verdict::Same;
    }
    match (service(named), service(asked)) {
        (Some(one), Some(other)) if one == other => Verdict::Same,
        (Some(_), Some(_)) => Verdict::Other,
        // The id of the service that was asked for is known, and is another.
        (None, Some(asked)) if is_id(named) && has_id(asked) => Verdict::Other,
        _ if is_id(named) || is_id(asked) => Verdict::Unknown,
        // `api://` names of one app, and addresses that an organisation has given it, stand for its id.
        _ if named.starts_with("api://") || asked.starts_with("api://") => Verdict::Unknown,
        _ => Verdict::Other,
    }
}

/// The name of a service of Microsoft's.
fn service(resource: &str) -> Option<&'static str> {
    let by_id = IDS
        .iter()
        .find(|(id, _)| id.eq_ignore_ascii_case(resource))
        .map(|(_, name)| *name);
    by_id.or_else(|| name_of(&Resource::parse(resource).ok()?))
}

fn has_id(service: &str) -> bool {
    IDS.iter().any(|(_, name)| *name == service)
}

fn is_id(text: &str) -> bool {
    text.parse::<Guid>().is_ok()
}

/// Refuses a token that says of itself that it is for another resource. One that says nothing is left to the resource.
pub(super) fn check(token: &Token, resource: &Resource) -> Result<(), Error> {
    let Some(audience) = claim(token.access_token.expose_secret(), "aud") else {
        return Ok(());
    };
    if compare(&audience, resource) != Verdict::Other {
        return Ok(());
    }
    let message = format!(
        "the integration's token is for \"{}\", and \"{}\" was asked for",
        presentable(&audience, &[]),
        resource.as_str()
    );
    Err(Error::new(Kind::ConsentRequired, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_many_names_and_an_unknown_id_may_be_any() {
        use Verdict::{Other, Same, Unknown};
        const STORAGE: &str = "https://storage.azure.com";
        const OWN: &str = "11111111-2222-3333-4444-555555555555";
        for (named, asked, expected) in [
            (STORAGE, STORAGE, Same),
            ("https://storage.azure.com/", STORAGE, Same),
            ("HTTPS://STORAGE.azure.com", STORAGE, Same),
            ("e406a681-f3d4-42a8-90b6-c2b029497af1", STORAGE, Same),
            ("00000003-0000-0000-c000-000000000000", STORAGE, Other),
            ("https://graph.microsoft.com", STORAGE, Other),
            (STORAGE, "https://graph.microsoft.com", Other),
            (OWN, STORAGE, Other),
            (OWN, "https://ai.azure.com", Unknown),
            (OWN, "api://own", Unknown),
            ("api://other", "api://own", Unknown),
            (STORAGE, OWN, Unknown),
            ("https://one.example", "https://other.example", Other),
        ] {
            let asked = Resource::parse(asked).unwrap();
            assert_eq!(compare(named, &asked), expected, "{named} {asked:?}");
        }
    }
}
