//! Posit Connect, as R asks it: tokens for the visitors of published content, and for the content itself.

use std::sync::LazyLock;
use std::time::Duration;

use entrar_client::connect::{self, Integrations, Place, Subject, advised};
use entrar_core::env::Env;
use entrar_core::resource::Resource;
use extendr_api::prelude::*;

use crate::{cache, convert, runtime};

/// What is attached to this content, as Connect said last.
static LISTED: LazyLock<Integrations> = LazyLock::new(Integrations::default);

/// Whether this process says that it runs on Posit Connect, where nothing else is an origin of tokens.
/// @noRd
#[extendr]
fn on_connect() -> bool {
    Place::is_here(&Env::process())
}

/// What keeps Connect from being asked.
/// @return A failure, as in `delegated_token()`'s result, or `NULL`.
/// @noRd
#[extendr]
fn connect_fault() -> Robj {
    match Place::find(&Env::process()) {
        Ok(_) => ().into(),
        Err(error) => convert::error(&advised(error, false), None).into(),
    }
}

/// Asks Connect for a fresh token.
/// @param resource One string.
/// @param session_token The viewer's session token, a string; `NULL` for a token of the content's own.
/// @param integration The GUID of the integration to ask, a string; `NULL` to find it.
/// @param timeout Seconds for the whole call.
/// @return As `delegated_token()`.
/// @noRd
#[extendr]
fn connect_token(resource: &str, session_token: Robj, integration: Robj, timeout: f64) -> List {
    let env = Env::process();
    let timeout = Duration::from_secs_f64(timeout);
    // What is no token must not turn into the content's rights.
    let subject = if session_token.is_null() {
        Subject::Content
    } else {
        Subject::Viewer(convert::string(&session_token).unwrap_or_default().into())
    };
    let named = convert::string(&integration);
    let asked = Resource::parse(resource)
        .and_then(|resource| Ok((resource, Place::find(&env)?)))
        .and_then(|(resource, place)| {
            let outcome = runtime::run(place.settings(&env), async |http| {
                let asked = (&place, &subject);
                connect::token(http, &env, asked, &resource, named, &LISTED, timeout).await
            })?;
            Ok((outcome, place.is_in_clear()))
        });
    let failed =
        |error, in_clear| convert::failed(&advised(error, subject.is_viewer()), None, in_clear);
    match asked {
        Ok((Ok(Ok(token)), in_clear)) => convert::granted(&token, in_clear, false),
        Ok((Ok(Err(error)), in_clear)) => failed(error, in_clear),
        Ok((Err(request), _)) => convert::interrupted(request),
        Err(error) => failed(error, false),
    }
}

/// What usually helps on Connect.
/// @param kind One of `failure_kinds()`.
/// @noRd
#[extendr]
fn connect_remedy(kind: &str) -> Robj {
    let known = entrar_core::error::Kind::ALL;
    let kind = known.iter().find(|known| known.as_str() == kind);
    convert::text(kind.map(|kind| connect::usual(*kind, true)))
}

/// Drops the tokens that are kept for a visitor who has left.
/// @param prefix What the names begin with under which they are kept, a string.
/// @noRd
#[extendr]
fn drop_tokens_of(prefix: &str) {
    cache::forget_of(prefix);
}

extendr_module! {
    mod connect;
    fn on_connect;
    fn connect_fault;
    fn connect_token;
    fn connect_remedy;
    fn drop_tokens_of;
}
