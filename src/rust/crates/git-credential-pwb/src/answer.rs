//! `get`: from a place in Azure DevOps to a token for it, or to the reason for having none.

use std::io::Write;
use std::time::{Duration, Instant};

use entrar_client::hub;
use entrar_client::origin::{self, Door, Origin, Session};
use entrar_client::remedy::{Reader, remedy};
use entrar_client::rpc::delegated_token;
use entrar_client::timeout::timeout;
use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::http::Http;
use entrar_core::resource::{DEVOPS, Resource};

use crate::challenge;
use crate::erasures::Erasures;
use crate::keyring::{Password, Slot};
use crate::place::Place;
use crate::prompt::{Surroundings, would_hang};
use crate::protocol::{Answer, QUIT, Request};
use crate::runtime_directory::runtime_directory;
use crate::trace::{Fact, Trace};
use crate::turn::Turn;
use entrar_core::guid::Guid;

/// The file that is there once the warning of plain http was given.
const WARNED: &str = "warned-in-clear";

/// What goes to stdout: user name and token, `quit`, or nothing.
pub(crate) fn get(
    request: &Request,
    place: &Place,
    env: &Env,
    trace: &Trace,
    stderr: &mut dyn Write,
) -> Vec<u8> {
    if request.second_chance {
        trace.fact(stderr, &Fact::SecondChance);
    }
    let directory = runtime_directory(env);
    if Erasures::of(place, directory).are_too_many(env.now()) {
        trace.fact(stderr, &Fact::TooManyErasures);
        trace.fact(stderr, &Fact::Quit);
        refused_too_often(request, place, stderr);
        return QUIT.to_vec();
    }
    let limit = match timeout(env) {
        Ok(limit) => limit,
        Err(error) => {
            trace.fact(stderr, &Fact::BadTimeout);
            say(stderr, &error.to_string());
            return no_answer(env, trace, stderr);
        }
    };
    match password(request, env, limit, trace, stderr) {
        Ok(password) => answer(request, place, &password, trace, stderr),
        Err(error) => {
            let kind = error.kind();
            trace.fact(stderr, &Fact::NoToken(kind));
            say(
                stderr,
                &format!(
                    "no token for Azure DevOps: {}",
                    sentence(&error.to_string())
                ),
            );
            say(stderr, &remedy(&error, origin::here(env), Reader::Git));
            no_answer(env, trace, stderr)
        }
    }
}

/// Nothing, or `quit` where git would then wait for ever.
fn no_answer(env: &Env, trace: &Trace, stderr: &mut dyn Write) -> Vec<u8> {
    if would_hang(env, &Surroundings::of_this_process()) {
        trace.fact(stderr, &Fact::Quit);
        QUIT.to_vec()
    } else {
        trace.fact(stderr, &Fact::NoAnswer);
        Vec::new()
    }
}

/// `erase`: the kept token is dropped, so that it is not served again. Without a cookie no kept token can be served.
pub(crate) fn forget(env: &Env, trace: &Trace, stderr: &mut dyn Write) {
    let limit = timeout(env).unwrap_or(LONGEST_MARK);
    let slot = Session::find(env).and_then(|session| slot(&session, env, limit));
    let Ok(slot) = slot else { return };
    match slot.clear() {
        Ok(true) => trace.fact(stderr, &Fact::TokenDropped),
        Ok(false) => {}
        Err(refusal) => trace.fact(stderr, &Fact::KeyringRefuses(&refusal)),
    }
}

fn answer(
    request: &Request,
    place: &Place,
    password: &Password,
    trace: &Trace,
    stderr: &mut dyn Write,
) -> Vec<u8> {
    let issuer = challenge::issuer(&password.token);
    let wanted = challenge::tenant(&request.challenges);
    trace.fact(stderr, &Fact::Tenants(issuer, wanted));
    let wrong_tenant = warn_of_tenant(issuer, wanted, place, stderr);
    // Another token of the same tenant would be refused like the first.
    let second_chance =
        request.can_have_a_second_chance() && !request.second_chance && !wrong_tenant;
    trace.fact(stderr, &Fact::Answered { second_chance });
    Answer {
        username: place.account(),
        password: &password.token,
        expires_at: password.expires_at,
        second_chance,
    }
    .to_bytes()
}

/// The token that an earlier process has kept, or a fresh one from the session's server, which is kept.
fn password(
    request: &Request,
    env: &Env,
    limit: Duration,
    trace: &Trace,
    stderr: &mut dyn Write,
) -> Result<Password, Error> {
    let session = Session::find(env)?;
    trace.fact(stderr, &Fact::Session(&session));
    if let Some(cookie) = session.cookie(env, None)? {
        trace.fact(stderr, &Fact::Cookie(cookie.source()));
    }
    if session.is_in_clear() {
        warn_in_clear(env, stderr);
    }
    trace.fact(stderr, &Fact::Resource(DEVOPS));
    let slot = slot(&session, env, limit)?;
    // Held until this function ends.
    let mut _turn = None;
    let mut left = limit;
    let mut kept = if request.second_chance {
        // What was refused is served to nobody else either.
        slot.clear().map(|_| None)
    } else {
        slot.read(env.now())
    };
    if matches!(kept, Ok(None)) && !request.second_chance {
        let started = Instant::now();
        _turn = Turn::wait(runtime_directory(env), limit / 2);
        left = limit.saturating_sub(in_hundredths(started.elapsed()));
        kept = slot.read(env.now());
    }
    let keeps = match kept {
        Ok(Some(password)) => {
            trace.fact(stderr, &Fact::TokenTaken);
            trace.fact(stderr, &Fact::Expiry(password.expires_at, env.now()));
            return Ok(password);
        }
        Ok(None) => true,
        Err(refusal) => {
            trace.fact(stderr, &Fact::KeyringRefuses(&refusal));
            false
        }
    };
    let password = exchange(&session, env, left, trace, stderr)?;
    // The exchange reads the cookie anew: if it is another one by now, the token may be its.
    let is_same = self::slot(&session, env, left).is_ok_and(|now| now.same_as(&slot));
    if keeps && is_same {
        match slot.keep(&password, env.now()) {
            Ok(seconds) => trace.fact(stderr, &Fact::TokenKept(seconds)),
            Err(refusal) => trace.fact(stderr, &Fact::KeyringRefuses(&refusal)),
        }
    }
    Ok(password)
}

/// The error of a timeout tells a person how much of the limit was left: a number that is easy to read.
fn in_hundredths(time: Duration) -> Duration {
    const HUNDREDTH: u128 = 10;
    let whole = time.as_millis() / HUNDREDTH * HUNDREDTH;
    Duration::from_millis(whole.try_into().unwrap_or(u64::MAX))
}

/// The longest that a hub may take to tell its mark: without it there is a token too, which is not kept.
const LONGEST_MARK: Duration = Duration::from_secs(5);

/// Where the session's token is kept. A hub's socket tells by itself nothing that its sessions have in common: the hub is
/// asked, so that after a sign-out nothing is found.
fn slot(session: &Session, env: &Env, limit: Duration) -> Result<Slot, Error> {
    if session.origin() != Origin::Hub || !matches!(session.door(), Door::Socket(_)) {
        return Slot::of(session, env, DEVOPS);
    }
    let limit = limit.min(LONGEST_MARK);
    let me = asked(session, env, async |http| {
        hub::me(http, env, session, limit).await
    });
    let mark = me.ok().and_then(|me| me.mark);
    Slot::under(session, mark.map(|mark| mark.0), DEVOPS)
}

/// What comes of a question to the session's server.
fn asked<T>(
    session: &Session,
    env: &Env,
    question: impl AsyncFnOnce(&Http) -> Result<T, Error>,
) -> Result<T, Error> {
    let http = Http::new(session.settings(env))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Error::new(
                Kind::Unreachable,
                format!("no connection can be made: {error}"),
            )
        })?;
    runtime.block_on(question(&http))
}

/// A fresh token.
fn exchange(
    session: &Session,
    env: &Env,
    limit: Duration,
    trace: &Trace,
    stderr: &mut dyn Write,
) -> Result<Password, Error> {
    let resource = Resource::parse(DEVOPS)?;
    let started = Instant::now();
    let token = asked(session, env, async |http| {
        delegated_token(http, env, session, &resource, limit).await
    });
    trace.fact(stderr, &Fact::Exchange(started.elapsed()));
    let token = token?;
    trace.fact(stderr, &Fact::Expiry(token.expires_at, env.now()));
    Ok(Password {
        token: token.access_token,
        expires_at: token.expires_at,
    })
}

/// Says that Azure DevOps will refuse the token because the organisation belongs to another tenant, if so.
fn warn_of_tenant(
    issuer: Option<Guid>,
    wanted: Option<Guid>,
    place: &Place,
    stderr: &mut dyn Write,
) -> bool {
    let (Some(issuer), Some(wanted)) = (issuer, wanted) else {
        return false;
    };
    if issuer == wanted {
        return false;
    }
    let name = named(place);
    let what = if wanted.is_nil() {
        format!("{name} is not connected to Entra ID, so it takes no token of tenant {issuer}.")
    } else {
        format!("{name} belongs to tenant {wanted}, but your sign-in is with tenant {issuer}.")
    };
    say(stderr, &what);
    say(
        stderr,
        "Ask its administrator to connect it to your tenant, or sign in another way: \
         `entrar::use_azure_git(remove = TRUE)` in R takes this helper out.",
    );
    true
}

fn refused_too_often(request: &Request, place: &Place, stderr: &mut dyn Write) {
    let name = named(place);
    say(
        stderr,
        &format!("{name} has refused two tokens within a minute, so there is no third."),
    );
    say(
        stderr,
        "Check that you have access to it and that the URL is right; then try again in a minute.",
    );
    if let Some(tenant) = challenge::tenant(&request.challenges) {
        say(stderr, &format!("It takes tokens of tenant {tenant}."));
    }
}

fn named(place: &Place) -> String {
    match place.organisation() {
        Some(name) => format!("the Azure DevOps organisation {name}"),
        None => "the Azure DevOps organisation".to_owned(),
    }
}

/// Warns once a session; each time where that cannot be remembered.
fn warn_in_clear(env: &Env, stderr: &mut dyn Write) {
    let first = runtime_directory(env).is_none_or(|directory| {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(directory.join(WARNED));
        !file.is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists)
    });
    if first {
        say(
            stderr,
            "the session's server is asked over plain http, so others on the network can read your session's \
             cookie and your tokens. Ask its administrator for an https address.",
        );
    }
}

/// What every line for a person begins with.
pub(crate) const PREFIX: &str = "git-credential-pwb: ";

/// One line for a person.
pub(crate) fn say(stderr: &mut dyn Write, text: &str) {
    // Nobody is left to be told if it cannot be written.
    let _ = writeln!(stderr, "{PREFIX}{text}");
}

fn sentence(text: &str) -> String {
    let ended = text.ends_with(['.', '?', '!']);
    format!("{text}{}", if ended { "" } else { "." })
}
