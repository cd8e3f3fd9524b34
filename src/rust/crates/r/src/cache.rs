//! The tokens that `azure_token()` keeps, as R's own objects, so that handing one out converts nothing.
//!
//! A token is kept for the exact resource, the session and the process: a forked child begins with
//! nothing, and so does whoever changes the session's address or cookie.

use std::cell::RefCell;
use std::collections::HashMap;
use std::process;

use entrar_client::origin::Identity;
use entrar_client::renewal::{CacheEntry, Fallback, Next};
use entrar_core::env::Env;
use entrar_core::time::UnixTime;
use extendr_api::prelude::*;

/// An `entrar_token`, and its `access_token`: the string that a hit hands out.
struct Token {
    list: Robj,
    access_token: Robj,
}

type Tokens = HashMap<String, CacheEntry<Token, Robj>>;

struct Cache {
    process: u32,
    session: Identity,
    tokens: Tokens,
}

impl Cache {
    fn new(env: &Env) -> Self {
        Self {
            process: process::id(),
            session: Identity::current(env),
            tokens: Tokens::new(),
        }
    }

    fn is_current(&self, env: &Env) -> bool {
        self.process == process::id() && self.session.is_current(env)
    }
}

thread_local! {
    static CACHE: RefCell<Option<Cache>> = const { RefCell::new(None) };
}

/// Runs `task` on this session's tokens; those of another session are dropped. `None` from within such a
/// task: R may collect garbage in it, and run finalizers that come back here.
fn with_tokens<T>(task: impl FnOnce(&mut Tokens) -> T) -> Option<T> {
    let env = Env::process();
    CACHE.with(|cache| {
        let mut cache = cache.try_borrow_mut().ok()?;
        if !cache.as_ref().is_some_and(|cache| cache.is_current(&env)) {
            *cache = None;
        }
        let cache = cache.get_or_insert_with(|| Cache::new(&env));
        Some(task(&mut cache.tokens))
    })
}

/// The string of the token that is kept for a resource, or `NULL` where there is none to hand out.
pub fn secret(resource: &str, now: UnixTime) -> Robj {
    let kept = with_tokens(|tokens| match tokens.get(resource)?.next(now, false) {
        Next::Serve(token) => Some(token.access_token.clone()),
        Next::Refuse(_) | Next::Ask => None,
    });
    kept.flatten().unwrap_or_default()
}

/// What is kept for a resource: the whole token, a failure to raise again, or `NULL` where the server must
/// be asked.
pub fn look_up(resource: &str, now: UnixTime, insist: bool) -> Robj {
    let kept = with_tokens(|tokens| match tokens.get(resource)?.next(now, insist) {
        Next::Serve(token) => Some(token.list.clone()),
        Next::Refuse(failure) => Some(failure.clone()),
        Next::Ask => None,
    });
    kept.flatten().unwrap_or_default()
}

/// Keeps a token, an `entrar_token`, that was asked for at `sent`.
pub fn keep(resource: &str, list: &List, sent: UnixTime) {
    let field = |name: &str| {
        list.iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value)
    };
    let Some(access_token) = field("access_token") else {
        return;
    };
    let expires_at = field("expires_at")
        .and_then(|value| value.as_real())
        .filter(|seconds| seconds.is_finite())
        .map(UnixTime::new);
    let token = Token {
        list: list.clone().into(),
        access_token,
    };
    with_tokens(|tokens| {
        tokens
            .entry(resource.to_owned())
            .or_default()
            .granted(token, sent, expires_at);
    });
}

/// Remembers a failure. The result is the old token (a list of `token` and `first`) if it is still
/// valid, else `NULL`.
pub fn remember(
    resource: &str,
    failure: &List,
    now: UnixTime,
    is_final: bool,
    retry_after: Option<f64>,
    insist: bool,
) -> Robj {
    let failure = failure.clone().into();
    let old = with_tokens(|tokens| {
        let kept = tokens.entry(resource.to_owned()).or_default();
        match kept.failed(failure, now, is_final, retry_after, insist) {
            Fallback::Serve { token, first } => Some((token.list.clone(), first)),
            Fallback::Raise => None,
        }
    });
    match old.flatten() {
        Some((token, first)) => list!(token = token, first = first).into(),
        None => ().into(),
    }
}

/// Forgets the latest failure for a resource: the server has answered since.
pub fn answered(resource: &str) {
    with_tokens(|tokens| {
        if let Some(kept) = tokens.get_mut(resource) {
            kept.answered();
        }
    });
}

/// Drops what is kept under names that begin like this.
pub fn forget_of(prefix: &str) {
    with_tokens(|tokens| tokens.retain(|name, _| !name.starts_with(prefix)));
}

/// Drops everything.
pub fn forget() {
    let _ = with_tokens(Tokens::clear);
}
