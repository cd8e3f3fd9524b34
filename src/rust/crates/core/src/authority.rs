//! The address of Entra ID, in one of Microsoft's clouds or elsewhere.

use std::fmt;

use url::Url;

use crate::address::Address;

/// Microsoft's clouds, the usual one first. Source: Microsoft's list of national clouds.
const CLOUDS: [&str; 3] = [
    "https://login.microsoftonline.com",
    "https://login.microsoftonline.us",
    "https://login.partner.microsoftonline.cn",
];

/// Microsoft Graph in these clouds.
const GRAPHS: [&str; 3] = [
    "https://graph.microsoft.com",
    "https://graph.microsoft.us",
    "https://microsoftgraph.chinacloudapi.cn",
];

/// The address that the paths of tenants begin with. Passwords go there: it is of https, or of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority(Address);

/// Why a text is not an authority, as the end of a sentence. The text is not repeated: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAuthority(String);

impl Authority {
    /// One of Microsoft's clouds, by its address or its host: for a value that the person did not give in so many words.
    ///
    /// # Errors
    /// If it is not one of them.
    pub fn of_a_cloud(text: &str) -> Result<Self, BadAuthority> {
        let text = text.trim().trim_end_matches('/').to_ascii_lowercase();
        let known = CLOUDS
            .iter()
            .find(|cloud| **cloud == text || cloud.strip_prefix("https://") == Some(&*text))
            .ok_or_else(|| {
                BadAuthority(format!(
                    "it is not one of Microsoft's clouds, which are {}",
                    CLOUDS.join(", ")
                ))
            })?;
        Self::given(known)
    }

    /// Any address of https, or of this machine: for one that the person gave.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn given(text: &str) -> Result<Self, BadAuthority> {
        let bad = |why: &str| Err(BadAuthority(why.to_owned()));
        if !text.contains("://") {
            return bad("it has no scheme; write https:// before it");
        }
        let address = Address::parse(text).map_err(|why| BadAuthority(why.to_string()))?;
        let url = address.url();
        if !url.username().is_empty() || url.password().is_some() {
            return bad("a user name or password has no place in it");
        }
        // They would be dropped, and the person would think that they count.
        if text.contains(['?', '#']) {
            return bad("a query or a fragment has no place in it");
        }
        if address.is_in_clear() {
            return bad(
                "it is an address of plain http, over which others can read what is sent; write https://",
            );
        }
        Ok(Self(address))
    }

    /// The address itself.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.0
    }

    /// A URL below it.
    #[must_use]
    pub fn join(&self, path: &str) -> Url {
        self.0.join(path)
    }

    /// Whether a URL that this authority named is to be trusted as the authority itself is: of the same host and port, and of
    /// the same scheme.
    #[must_use]
    pub fn is_origin_of(&self, url: &Url) -> bool {
        self.0.url().origin() == url.origin()
    }

    /// Whether it is one of Microsoft's clouds.
    #[must_use]
    pub fn is_a_cloud(&self) -> bool {
        self.cloud().is_some()
    }

    /// Microsoft Graph in this cloud; outside Microsoft's clouds that of the usual one.
    #[must_use]
    pub fn graph(&self) -> &'static str {
        let cloud = self.cloud().unwrap_or_default();
        GRAPHS.get(cloud).copied().unwrap_or(GRAPHS[0])
    }

    /// Which of the clouds it is.
    fn cloud(&self) -> Option<usize> {
        CLOUDS.iter().position(|cloud| {
            Url::parse(cloud).is_ok_and(|cloud| cloud.origin() == self.0.url().origin())
        })
    }
}

impl Default for Authority {
    fn default() -> Self {
        match Self::given(CLOUDS[0]) {
            Ok(authority) => authority,
            Err(_) => unreachable!(),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_is_known_by_its_address_or_its_host() {
        for text in [
            "https://login.microsoftonline.us",
            "https://login.microsoftonline.us/",
            "login.microsoftonline.us",
            " LOGIN.microsoftonline.us ",
        ] {
            let authority = Authority::of_a_cloud(text).unwrap();
            assert_eq!(authority.graph(), "https://graph.microsoft.us");
            assert!(authority.is_a_cloud());
        }
        for text in [
            "",
            "https://login.evil.example",
            "http://login.microsoftonline.com",
            "https://login.microsoftonline.com.evil.example",
            "https://login.microsoftonline.com@evil.example",
            "https://login.microsoftonline.com/x",
            "http://127.0.0.1:1",
        ] {
            assert!(Authority::of_a_cloud(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_given_one_is_of_https_or_of_this_machine() {
        for text in [
            "https://id.contoso.example/x",
            "http://127.0.0.1:8080",
            "http://[::1]:1",
        ] {
            assert!(!Authority::given(text).unwrap().is_a_cloud(), "{text}");
        }
        for text in [
            "http://id.contoso.example/canary",
            "id.contoso.example/canary",
            "https://canary:canary@id.contoso.example",
            "https://can/ary@id.contoso.example",
            "https://id.contoso.example/?canary",
            "https://id.contoso.example/#canary",
            "ftp://canary",
        ] {
            let why = Authority::given(text).unwrap_err().to_string();
            assert!(!why.contains("canary"), "{why}");
        }
    }

    #[test]
    fn what_it_names_is_trusted_on_its_own_origin_only() {
        let authority = Authority::default();
        let trusts = |url: &str| authority.is_origin_of(&Url::parse(url).unwrap());
        assert!(trusts(
            "https://login.microsoftonline.com/t/oauth2/v2.0/token"
        ));
        for url in [
            "http://login.microsoftonline.com/t",
            "https://login.microsoftonline.com:8443/t",
            "https://login.microsoftonline.us/t",
            "https://evil.example/login.microsoftonline.com",
        ] {
            assert!(!trusts(url), "{url}");
        }
    }
}
