//! Whose tokens this process gets, so that somebody is told when they become another person's.

use std::cell::RefCell;

use entrar_client::origin::{self, Origin};
use entrar_core::env::Env;
use entrar_core::token::{Token, claim};
use secrecy::ExposeSecret;

thread_local! {
    /// The account of the latest token of an agent or a hub, in the form in which an agent notes it.
    static LATEST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Whose a token is: an agent notes who signs in; a hub's token may tell of itself.
pub fn of(env: &Env, origin: Origin, token: &Token) -> Option<String> {
    let claim = |name| claim(token.access_token.expose_secret(), name);
    match origin {
        Origin::Workbench => None,
        Origin::Agent => origin::account(env),
        Origin::Hub => Some(named(&claim("tid")?, &claim("oid")?)),
    }
}

/// An account in the form in which an agent notes it.
pub fn named(tenant: &str, object_id: &str) -> String {
    format!("{tenant}/{object_id}")
}

/// Notes whose the latest token is; whether the one before was another account's. Where nobody tells whose it is,
/// nothing is known to have changed.
pub fn is_another(account: Option<String>) -> bool {
    let Some(account) = account else { return false };
    LATEST.with_borrow_mut(|latest| {
        let before = latest.replace(account);
        before.is_some_and(|before| latest.as_ref() != Some(&before))
    })
}
