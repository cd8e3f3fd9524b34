//! How the authorization endpoint's answer reaches the app: in the redirect's query, its fragment, or a form.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use url::{Url, form_urlencoded};

use crate::pages;

/// Where an answer goes, and how.
#[derive(Clone)]
pub(crate) struct Target {
    /// The redirect URI. Without a path of its own it has a slash for one, as Entra's answers have.
    pub(crate) url: Url,
    pub(crate) mode: ResponseMode,
    /// The app's own, which it gets back as it is.
    pub(crate) state: Option<String>,
}

/// How an answer travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseMode {
    Query,
    Fragment,
    FormPost,
}

impl Target {
    /// The answer, with the app's `state` after its own parameters.
    pub(crate) fn answer(&self, parameters: &[(&str, &str)]) -> Response {
        let state = self.state.as_deref().map(|state| ("state", state));
        let all: Vec<_> = parameters.iter().copied().chain(state).collect();
        let mut url = self.url.clone();
        match self.mode {
            ResponseMode::FormPost => return pages::form_post(&url, &all),
            ResponseMode::Query => {
                url.query_pairs_mut().extend_pairs(all);
            }
            ResponseMode::Fragment => {
                let mut fragment = form_urlencoded::Serializer::new(String::new());
                url.set_fragment(Some(&fragment.extend_pairs(all).finish()));
            }
        }
        (
            StatusCode::FOUND,
            [
                (header::LOCATION, url.as_str()),
                (header::CACHE_CONTROL, "no-store"),
                (header::REFERRER_POLICY, "no-referrer"),
            ],
        )
            .into_response()
    }
}
