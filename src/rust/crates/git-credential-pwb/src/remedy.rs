//! What to do when no token can be had, in the words of somebody who runs git.

use entrar_core::error::Kind;

/// One sentence or two for each kind of failure.
pub(crate) fn remedy(kind: Kind) -> &'static str {
    match kind {
        Kind::BadResource => {
            "Ask an administrator whether the tenant knows Azure DevOps (499b84ac-1321-427f-aa17-267ca6975798)."
        }
        Kind::NoSession => {
            "Run git inside a Posit Workbench session, or sign in to Azure DevOps another way: \
             `entrar::use_azure_git(remove = TRUE)` in R takes this helper out."
        }
        Kind::ServerTooOld => {
            "Ask the administrator for Posit Workbench 2024.12.0 or later with delegated Azure credentials."
        }
        Kind::BadCookie => {
            "Restart the session. If that does not help, sign out of Posit Workbench and sign in again."
        }
        Kind::Unreachable => {
            "Check RS_SERVER_ADDRESS and the network; for https also REQUESTS_CA_BUNDLE (git's own http.sslCAInfo \
             is not used here)."
        }
        Kind::Timeout => "Try again. To wait longer, set ENTRAR_TIMEOUT to a number of seconds.",
        Kind::BadReply => {
            "Check that RS_SERVER_ADDRESS is the address of Posit Workbench, and that no proxy stands in between."
        }
        Kind::ServerError => {
            "Try again; if it stays, give this message to the administrator of Posit Workbench."
        }
        Kind::SignInRequired => "Sign out of Posit Workbench and sign in again.",
        Kind::ConsentRequired => {
            "Ask an administrator to give Workbench's app registration the delegated permission \
             Azure DevOps / user_impersonation, and to consent to it."
        }
        Kind::AccessDenied => {
            "An administrator of your organisation decides about this; asking again does not help."
        }
        Kind::Misconfigured => {
            "You cannot mend this: ask the administrator to check Workbench's app registration, its secret and its \
             tenant."
        }
        Kind::Throttled => {
            "Wait before you try again, and fetch many repositories or submodules with fewer jobs at once."
        }
        Kind::Unavailable => "Try again later.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_remedy_in_whole_sentences() {
        let remedies: std::collections::BTreeSet<_> =
            Kind::ALL.iter().map(|kind| remedy(*kind)).collect();
        assert_eq!(remedies.len(), Kind::ALL.len());
        for remedy in remedies {
            assert!(remedy.ends_with('.'), "{remedy}");
        }
    }
}
