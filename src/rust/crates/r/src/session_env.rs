//! The session of other people's clients, as the variables by which they find it.

use entrar_client::hub::CookieSession;
use entrar_client::origin::Origin;
use entrar_client::variables::variables;
use entrar_core::agent::Session;
use entrar_core::env::Env;
use extendr_api::prelude::*;

use crate::question::reply_to_r;
use crate::{hub, sign_in};

/// Has the person's agent open a session for other people's clients, or the hub where none runs.
/// @param timeout Seconds for the whole call.
/// @return A list of `answer`, `failure` and `interrupt` (as in `delegated_token()`'s result), of which two are `NULL`. The
///   answer is a list of `variables`, a list of their values, `NULL` for those to unset, of which one is the cookie; and of
///   `on_disk`, whether a hub's cookie may come to a disk.
/// @noRd
#[extendr]
fn session_variables(timeout: f64) -> List {
    let env = Env::process();
    if !sign_in::runs(&env) && hub::runs(&env) {
        let opened = hub::open_cookie_session(&env, timeout);
        return reply_to_r(opened, Origin::Hub, |opened: CookieSession| {
            described(&env, Origin::Hub, &opened.session, !opened.is_in_memory)
        });
    }
    let opened = sign_in::open_session(&env, timeout);
    reply_to_r(opened, Origin::Agent, |session| {
        described(&env, Origin::Agent, &session, false)
    })
}

fn described(env: &Env, origin: Origin, session: &Session, on_disk: bool) -> Robj {
    let variables = variables(env, origin, session).into_iter();
    let values = variables.map(|(name, value)| {
        let value: Robj = value.map_or_else(|| ().into(), Robj::from);
        (name, value)
    });
    list!(variables = List::from_pairs(values), on_disk = on_disk).into()
}

extendr_module! {
    mod session_env;
    fn session_variables;
}
