//! `entrar env`: the variables by which other people's clients know the agent or the hub, as commands of a shell.

use std::path::Path;

use entrar_client::hub::{CookieSession, open_session};
use entrar_client::origin::{Origin, hub_here};
use entrar_client::remedy::{Reader, remedy};
use entrar_core::agent::{OPEN_SESSION, Session};
use entrar_core::env::Env;
use entrar_core::error::Kind;
use entrar_core::git;
use entrar_core::http::Http;
use entrar_core::session_directory::VARIABLE;
use entrar_core::variables::COOKIE;
use serde_json::json;

use crate::agent::{self, Error};
use crate::demo::GIT_HELPER;
use crate::shell::Shell;

/// What the commands are to set beside the session's address and directory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extras {
    /// The cookie itself.
    pub(crate) cookie: bool,
    /// git's credential helper for Azure DevOps.
    pub(crate) git: bool,
}

/// The commands for this shell, and what is to be said beside them. `own` is this executable, beside which the git helper
/// lies.
pub(crate) fn commands(
    env: &Env,
    shell: Shell,
    extras: Extras,
    own: &Path,
) -> Result<(String, Option<String>), Error> {
    let (origin, session, warning) = match of_agent(env) {
        Err(Error::NotRunning) => of_hub(env)?.ok_or(Error::NotRunning)?,
        session => (Origin::Agent, session?, None),
    };
    let variables = variables(env, origin, &session, extras, own);
    Ok((shell.commands(&variables), warning))
}

fn of_agent(env: &Env) -> Result<Session, Error> {
    let answer = agent::ask(env, OPEN_SESSION, &json!({}))?;
    serde_json::from_value(answer).map_err(|_| {
        let message = "the agent is of another version of entrar";
        Error::Known(entrar_core::error::Error::new(Kind::BadReply, message))
    })
}

/// The session of this machine's hub, if there is one, and what is to be said of where its cookie lies.
fn of_hub(env: &Env) -> Result<Option<(Origin, Session, Option<String>)>, Error> {
    let advice = |error: entrar_core::error::Error| {
        let words = remedy(&error, Some(Origin::Hub), Reader::Git);
        error.remedied(Some(&words))
    };
    let Some(hub) = hub_here(env).map_err(advice)? else {
        return Ok(None);
    };
    let runtime = agent::runtime()?;
    let http = Http::new(hub.settings(env))?;
    let CookieSession {
        session,
        is_in_memory,
    } = runtime
        .block_on(open_session(&http, env, &hub, agent::LONGEST_ANSWER))
        .map_err(advice)?;
    let directory = &session.directory;
    let warning = (!is_in_memory).then(|| {
        format!(
            "the session's cookie lies in {directory}, which is not known to be in memory: set XDG_RUNTIME_DIR or {VARIABLE} to a directory that is, and is yours alone"
        )
    });
    Ok(Some((Origin::Hub, session, warning)))
}

/// Names and values; what has no value is unset.
fn variables(
    env: &Env,
    origin: Origin,
    session: &Session,
    extras: Extras,
    own: &Path,
) -> Vec<(String, Option<String>)> {
    let mut variables: Vec<_> = entrar_client::variables::variables(env, origin, session)
        .into_iter()
        .map(|(name, value)| {
            // One of another session would be sent in the place of the file's if it expires later.
            let value = value.filter(|_| name != COOKIE || extras.cookie);
            (name.to_owned(), value.map(str::to_owned))
        })
        .collect();
    if extras.git {
        variables.extend(git_variables(env, &own.with_file_name(GIT_HELPER)));
    }
    variables
}

/// Nothing where they are set already.
fn git_variables(env: &Env, helper: &Path) -> Vec<(String, Option<String>)> {
    let count = env.var("GIT_CONFIG_COUNT");
    let value = git::helper_value(helper);
    let is_set = (0..count
        .as_deref()
        .and_then(|count| count.parse().ok())
        .unwrap_or(0_u32))
        .any(|number| env.var(&format!("GIT_CONFIG_VALUE_{number}")).as_ref() == Some(&value));
    if is_set {
        return Vec::new();
    }
    git::variables(&git::settings(helper), count.as_deref())
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| (name, Some(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use entrar_core::agent::Secret;
    use entrar_core::variables::VERSION;

    fn of(variables: &[(&str, &str)], extras: Extras) -> Vec<String> {
        let session = Session {
            address: "http://127.0.0.1:1".to_owned(),
            directory: "/run/user/1000/entrar/session".to_owned(),
            cookie: Secret("canary".into()),
            expires_at: 0.0,
        };
        let env = Env::fixed(variables, 0.0);
        let own = Path::new("/lib/entrar/bin/entrar");
        super::variables(&env, Origin::Agent, &session, extras, own)
            .into_iter()
            .map(|(name, value)| {
                format!("{name}={}", value.unwrap_or_else(|| "(unset)".to_owned()))
            })
            .collect()
    }

    #[test]
    fn the_cookie_is_in_its_file_unless_it_is_asked_for() {
        let usual = of(&[], Extras::default());
        assert_eq!(
            usual,
            [
                "RS_SERVER_ADDRESS=http://127.0.0.1:1",
                "PWB_SESSION_RUNTIME_DIR=/run/user/1000/entrar/session",
                "ENTRAR_ORIGIN=agent",
                "RS_SESSION_RPC_COOKIE=(unset)",
            ]
        );
        let inline = of(
            &[],
            Extras {
                cookie: true,
                git: false,
            },
        );
        assert_eq!(inline[3], "RS_SESSION_RPC_COOKIE=canary");
    }

    #[test]
    fn a_version_that_is_too_old_is_unset_and_another_is_left() {
        let lines = |version| of(&[(VERSION, version)], Extras::default()).len();
        assert_eq!(lines("2023.06.1"), 5);
        assert_eq!(lines("2025.09.0"), 4);
    }

    #[test]
    fn git_is_told_once() {
        let git = Extras {
            cookie: false,
            git: true,
        };
        assert_eq!(of(&[], git).len(), 4 + 13);
        let helper = format!("/lib/entrar/bin/{GIT_HELPER}");
        let set = [
            ("GIT_CONFIG_COUNT", "1"),
            (
                "GIT_CONFIG_KEY_0",
                "credential.https://dev.azure.com.helper",
            ),
            ("GIT_CONFIG_VALUE_0", helper.as_str()),
        ];
        assert_eq!(of(&set, git).len(), 4);
    }
}
