//! A browser for the tests: what it asks of the authorization endpoint, and how it fills in the page.

use std::collections::HashMap;

use axum::http::StatusCode;
use entra_emulator::User;
use url::Url;

use crate::{Emulated, Reply, pairs};

pub(crate) const REDIRECT: &str = "http://localhost:1234";
pub(crate) const SCOPE: &str = "openid profile offline_access https://storage.azure.com/.default";
/// A verifier and its challenge, from RFC 7636, appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A browser that signs in to the default app.
pub(crate) struct Browser<'a> {
    emulated: &'a Emulated,
    tenant: String,
    query: Vec<(&'static str, String)>,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(emulated: &'a Emulated) -> Self {
        let query = [
            ("client_id", emulated.tenant.client_id()),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT),
            ("scope", SCOPE),
            ("state", "the state"),
            ("nonce", "the nonce"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        Self {
            emulated,
            tenant: emulated.tenant.id().to_owned(),
            query: query.map(|(name, value)| (name, value.to_owned())).to_vec(),
        }
    }

    /// The same with another parameter; an empty one counts as missing.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.query.retain(|(known, _)| *known != name);
        self.query.push((name, value.to_owned()));
        self
    }

    pub(crate) fn at(mut self, tenant: &str) -> Self {
        tenant.clone_into(&mut self.tenant);
        self
    }

    fn path(&self) -> String {
        format!("/{}/oauth2/v2.0/authorize", self.tenant)
    }

    pub(crate) fn get(&self) -> Reply {
        let query = self
            .query
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let query = pairs(&query.collect::<Vec<_>>());
        self.emulated.get(&format!("{}?{query}", self.path()))
    }

    /// Opens the page and answers its form.
    pub(crate) fn answer(&self, fields: &[(&str, &str)]) -> Reply {
        let page = self.get();
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        self.post(&page, fields)
    }

    pub(crate) fn post(&self, page: &Reply, fields: &[(&str, &str)]) -> Reply {
        let request = hidden(page, "request");
        let fields = [&[("request", &*request)], fields].concat();
        self.emulated.post_form(&self.path(), &fields)
    }

    /// The code of Ada's sign-in.
    pub(crate) fn code(&self) -> String {
        let ada = User::default().object_id;
        let reply = self.answer(&[("answer", "sign_in"), ("user", &ada)]);
        location(&reply).1["code"].clone()
    }
}

/// The value of a hidden field.
pub(crate) fn hidden(page: &Reply, name: &str) -> String {
    let before = format!("<input type=\"hidden\" name=\"{name}\" value=\"");
    let (_, after) = page.text.split_once(&before).unwrap();
    after.split_once('"').unwrap().0.to_owned()
}

/// Where a reply leads, without its query, and the query.
pub(crate) fn location(reply: &Reply) -> (String, HashMap<String, String>) {
    assert_eq!(reply.status, StatusCode::FOUND, "{}", reply.text);
    let location = reply.header("location");
    let (before, _) = location.split_once('?').unwrap();
    let query = Url::parse(location).unwrap();
    (
        before.to_owned(),
        query.query_pairs().into_owned().collect(),
    )
}
