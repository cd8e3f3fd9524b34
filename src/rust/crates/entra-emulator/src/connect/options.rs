//! How an emulated Connect behaves.

use std::path::PathBuf;

use crate::connect::faults::Fault;
use crate::connect::integration::{AuthType, Integration};

/// How an emulated Connect behaves. The default has several integrations, as content may have, and no faults.
#[derive(Clone, Debug)]
pub struct Options {
    /// The path of the server's address, which begins with a slash and does not end with one; empty for none.
    pub path: String,
    /// Its version.
    pub version: String,
    /// What is attached to the content.
    pub integrations: Vec<Integration>,
    /// What it does in the place of what is asked.
    pub faults: Vec<Fault>,
    /// A file for the content's own session token, which only its owner reads; it is not removed.
    pub content_token_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        let resources = [
            "https://graph.microsoft.com",
            "https://storage.azure.com",
            "https://vault.azure.net",
        ];
        let viewer = resources.map(|resource| Integration::new(AuthType::Viewer, resource));
        let service = ["https://storage.azure.com", "https://vault.azure.net"]
            .map(|resource| Integration::new(AuthType::ServiceAccount, resource));
        Self {
            path: String::new(),
            version: "2025.09.0".to_owned(),
            integrations: viewer.into_iter().chain(service).collect(),
            faults: Vec::new(),
            content_token_file: None,
        }
    }
}
