//! The variables by which other people's clients know a session that agent or hub has opened for them.

use entrar_core::agent::Session;
use entrar_core::env::Env;
use entrar_core::variables::{ADDRESS, COOKIE, ORIGIN, RUNTIME_DIRECTORY, VERSION};

use crate::origin::Origin;
use crate::posit::check_version;

/// The variables and their values; what has none is to be unset. One of them is the cookie.
#[must_use]
pub fn variables<'a>(
    env: &Env,
    origin: Origin,
    session: &'a Session,
) -> Vec<(&'static str, Option<&'a str>)> {
    let mut variables = vec![
        (ADDRESS, Some(session.address.as_str())),
        (RUNTIME_DIRECTORY, Some(session.directory.as_str())),
        (ORIGIN, Some(origin.as_str())),
        (COOKIE, Some(session.cookie.expose())),
    ];
    // rstudioapi refuses to ask where it takes the server for a Workbench that is too old.
    if check_version(env).is_err() {
        variables.push((VERSION, None));
    }
    variables
}
