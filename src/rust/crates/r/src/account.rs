//! Whose tokens this process gets, so that somebody is told when they become another person's.

use std::cell::RefCell;

thread_local! {
    /// The account of the latest token of an agent's, in the form in which the agent has noted it.
    static LATEST: RefCell<Option<String>> = const { RefCell::new(None) };
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
