//! `entrar demo`: a made-up tenant, a broker in front of it, and a session of a made-up person, for a command or for the
//! process that started this one. The other demonstration, of content on Posit Connect, is in [`connect`].

pub(crate) mod connect;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use entra_emulator::{BLOB_ACCOUNT, Emulator, Fault, Tenant, User};
use entrar_broker::accounts::{AccountId, InMemory};
use entrar_broker::admission::Admission;
use entrar_broker::entra::{ClientAuth, DEADLINE, Entra, Refusal, Registration, token_endpoint_of};
use entrar_broker::exchange::Exchanges;
use entrar_broker::listen::{Limits, Server};
use entrar_broker::rpc::{Broker, app};
use entrar_core::env::Env;
use entrar_core::git;
use entrar_core::variables::{ADDRESS, COOKIE, COOKIE_FILE, ORIGIN, RUNTIME_DIRECTORY, VERSION};
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::oneshot;

use crate::child::{Signals, exit_code};
use crate::variables::{Variables, write_private};

/// How long the session lasts, in seconds: 24 hours.
const SESSION_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Variables that list the hosts no proxy stands before.
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];
/// Variable that lists the directories with R's packages.
const R_LIBRARIES: &str = "R_LIBS";
/// The git credential helper, which is installed beside this command.
pub(crate) const GIT_HELPER: &str = if cfg!(windows) {
    "git-credential-pwb.exe"
} else {
    "git-credential-pwb"
};

/// What to demonstrate.
pub(crate) struct Options {
    /// Where the broker listens; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// How long access tokens live, in seconds.
    pub(crate) token_lifetime: u32,
    /// What is wrong with the tenant.
    pub(crate) faults: Vec<Fault>,
    /// Who is in the session.
    pub(crate) audience: Audience,
}

/// Who is in the session.
pub(crate) enum Audience {
    /// This command, with its arguments: the demonstration lasts as long as it runs.
    Command(Vec<OsString>),
    /// Whoever reads the session's variables from this file. The demonstration lasts until standard input ends, so that
    /// the process at its other end need not do anything for that but end itself, or until there is a signal.
    Reader(PathBuf),
}

/// Why there is no demonstration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the broker cannot listen at {0}: {why}", why = reason(.1))]
    Listen(SocketAddr, io::Error),
    #[error("the tenant cannot be set up: {0}")]
    Tenant(#[from] entra_emulator::Error),
    #[error("the tenant cannot be served: {0}")]
    Emulator(io::Error),
    #[error("the emulated Connect cannot be served: {0}")]
    Connect(io::Error),
    #[error("{0}")]
    Entra(#[from] entrar_core::error::Error),
    #[error("the made-up person cannot sign in: {}", .0.error())]
    SignIn(Refusal),
    #[error("no random bytes for the key of cookies: {0}")]
    Randomness(#[from] getrandom::Error),
    #[error("the session's directory cannot be set up in {dir}: {0}", dir = .1.display())]
    RuntimeDirectory(io::Error, PathBuf),
    #[error("the variables cannot be written to {file}: {why}", file = .1.display(), why = reason(.0))]
    Environment(io::Error, PathBuf),
    #[error("{}: command not found", .0.to_string_lossy())]
    NotFound(OsString),
    #[error("{command}: cannot be run: {why}", command = .0.to_string_lossy(), why = reason(.1))]
    NotExecutable(OsString, io::Error),
    #[error("the operating system refuses a runtime, a socket or signals: {0}")]
    System(#[from] io::Error),
}

impl Error {
    /// The exit code, as shells have it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable(..) => 126,
            _ => 1,
        }
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there; choose another port".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::AlreadyExists => {
            "there is such a file already, and it is left as it is; name another one".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Keeps up the session, or the Connect that is asked for, as long as its audience wants; the result is the exit code. Nothing is
/// left behind, unless this process is killed (`SIGKILL`).
pub(crate) fn run(env: Env, connect: connect::Arguments, options: Options) -> Result<u8, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if connect.connect {
            connect::demonstrate(env, connect, options).await
        } else {
            demonstrate(env, options).await
        }
    })
}

async fn demonstrate(env: Env, options: Options) -> Result<u8, Error> {
    let mut signals = Signals::catch()?;
    let in_use = |error| Error::Listen(options.listen, error);
    let listener = TcpListener::bind(options.listen).await.map_err(in_use)?;
    let address = format!("http://{}", listener.local_addr()?);

    let user = User::default();
    let tenant = Arc::new(Tenant::new(entra_emulator::Options {
        token_lifetime: options.token_lifetime,
        faults: options.faults,
        ..entra_emulator::Options::default()
    })?);
    let emulator = Emulator::start(Arc::clone(&tenant), ([127, 0, 0, 1], 0).into())
        .map_err(Error::Emulator)?;
    let exchanges = exchanges(&env, &emulator)?;
    let account = account(&tenant, &user)?;
    exchanges
        .sign_in(account, tenant.sign_in(&user)?)
        .await
        .map_err(Error::SignIn)?;
    let admission = Admission::new()?;
    let now = env.now();
    let (_, cookie) = admission.open_session(account, now, now + SESSION_LIFETIME)?;
    let directory = runtime_directory(&env, &cookie)?;
    let mut server = Server::start(
        listener,
        app(Arc::new(Broker::new(
            env.clone(),
            admission,
            Some(exchanges.clone()),
        ))),
        Limits::default(),
    );

    let mut variables = Variables::default();
    variables.set("POSIT_PRODUCT", "WORKBENCH");
    variables.set(ADDRESS, address);
    variables.set(
        RUNTIME_DIRECTORY,
        directory.path().to_string_lossy().as_ref(),
    );
    variables.set(COOKIE, cookie.expose_secret());
    // It would be the version of a Workbench around this one.
    variables.set(VERSION, "");
    // And this the broker of a session around this one.
    variables.set(ORIGIN, "");
    variables.set("ENTRAR_DEMO_PERSON", user.display_name());
    add_resources(&mut variables, &env, emulator.url());
    let words = match options.audience {
        Audience::Command(words) => words,
        Audience::Reader(file) => return serve_reader(file, variables, &mut signals).await,
    };
    let mut command = command(&words, &variables, &env);
    if let Ok(own) = std::env::current_exe() {
        add_git_helper(&mut command, &env, &own.with_file_name(GIT_HELPER));
    }
    let status = run_command(command, words, &mut signals).await?;
    // No more requests are taken, the exchanges under way end, the last replies go out. Whoever does not
    // want to wait for that sends one more signal.
    let rest = async {
        server.refuse();
        exchanges.finish().await;
        server.stop().await;
    };
    tokio::select! {
        () = rest => {}
        () = signals.any() => {}
    }
    Ok(exit_code(status))
}

/// Keeps up the session until its reader is gone. Nobody is then left to wait for an exchange under way.
async fn serve_reader(
    file: PathBuf,
    mut variables: Variables,
    signals: &mut Signals,
) -> Result<u8, Error> {
    let input = end_of_input()?;
    variables.set("ENTRAR_DEMO_PID", std::process::id().to_string());
    let _file = variables
        .write(file.clone())
        .map_err(|error| Error::Environment(error, file))?;
    tokio::select! {
        _ = input => {}
        () = signals.any() => {}
    }
    Ok(0)
}

/// Resolves when standard input has ended. A read from it cannot be given up, so a thread of its own does that, which ends
/// with this process at the latest.
fn end_of_input() -> io::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    thread::Builder::new()
        .name("end-of-input".to_owned())
        .spawn(move || {
            // What comes before the end is of no interest, and an error is an end too.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            let _ = ended.send(());
        })?;
    Ok(end)
}

/// A broker's exchanges with this tenant.
fn exchanges(env: &Env, emulator: &Emulator) -> Result<Exchanges<InMemory>, Error> {
    let tenant = emulator.tenant();
    let registration = Registration {
        token_endpoint: token_endpoint_of(&emulator.authority()),
        client_id: tenant.client_id().to_owned(),
        auth: ClientAuth::Public,
        revokes_used_refresh_tokens: false,
    };
    let entra = Entra::new(env.clone(), registration, DEADLINE)?;
    Ok(Exchanges::new(entra, InMemory::default()))
}

fn account(tenant: &Tenant, user: &User) -> Result<AccountId, Error> {
    let guid = |text: &str| {
        text.parse()
            .map_err(|_| Error::System(io::Error::other("the made-up tenant has a made-up id")))
    };
    Ok(AccountId {
        tid: guid(tenant.id())?,
        oid: guid(&user.object_id)?,
    })
}

/// A directory with the cookie in a file that only its owner reads. A server would write the file anew whenever the cookie
/// changes; this session's never does.
fn runtime_directory(env: &Env, cookie: &SecretString) -> Result<TempDir, Error> {
    let directory = private_directory(env)?;
    let failed = |error| Error::RuntimeDirectory(error, directory.path().to_owned());
    write_private(&directory.path().join(COOKIE_FILE), cookie).map_err(failed)?;
    Ok(directory)
}

/// A fresh directory that only its owner enters. Dropping it removes it.
fn private_directory(env: &Env) -> Result<TempDir, Error> {
    let temporary = std::env::temp_dir();
    let parent = env.var("XDG_RUNTIME_DIR").map(PathBuf::from);
    // It may name a directory that was never made, as in a container or after `su`.
    let parent = parent.filter(|parent| parent.is_dir()).unwrap_or(temporary);
    let failed = |error| Error::RuntimeDirectory(error, parent.clone());
    let mut builder = tempfile::Builder::new();
    builder.prefix("entrar-demo-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir_in(&parent).map_err(failed)
}

/// Puts the R library that this executable is installed in before the others: `library(entrar)` then finds the package,
/// and no other copy of it.
fn add_library(command: &mut Command, env: &Env, own: &Path) {
    let package = own.parent().and_then(Path::parent);
    let Some((package, library)) = package.and_then(|package| Some((package, package.parent()?)))
    else {
        return;
    };
    if !package.join("DESCRIPTION").is_file() {
        return;
    }
    let mut libraries = vec![library.to_owned()];
    if let Some(others) = env.var(R_LIBRARIES) {
        libraries.extend(std::env::split_paths(&others));
    }
    // A path that holds the separator cannot be told to R.
    if let Ok(libraries) = std::env::join_paths(libraries) {
        command.env(R_LIBRARIES, libraries);
    }
}

/// The command with the variables of its session, and the R library that this executable is installed in.
fn command(words: &[OsString], variables: &Variables, env: &Env) -> Command {
    // clap lets no empty command through; an empty name is not found.
    let mut command = Command::new(words.first().unwrap_or(&OsString::new()));
    command.args(words.iter().skip(1));
    variables.give_to(&mut command);
    if let Ok(own) = std::env::current_exe() {
        add_library(&mut command, env, &own);
    }
    command
}

/// Runs a command to its end.
async fn run_command(
    mut command: Command,
    words: Vec<OsString>,
    signals: &mut Signals,
) -> Result<ExitStatus, Error> {
    match command.spawn() {
        Ok(mut command) => Ok(signals.wait_for(&mut command).await?),
        Err(error) => Err(not_run(words, error)),
    }
}

/// Where the tenant's resources are, and that no proxy stands before them.
fn add_resources(variables: &mut Variables, env: &Env, url: &str) {
    variables.set("ENTRAR_DEMO_GRAPH", url);
    variables.set("ENTRAR_DEMO_BLOB", format!("{url}/{BLOB_ACCOUNT}"));
    variables.set("ENTRAR_DEMO_VAULT", url);
    for name in NO_PROXY {
        variables.set(name, no_proxy(env));
    }
}

/// Makes git ask the helper for Azure DevOps, by variables that come after those that are set already.
fn add_git_helper(command: &mut Command, env: &Env, helper: &Path) {
    if helper.is_file() {
        let count = env.var("GIT_CONFIG_COUNT");
        let variables = git::variables(&git::settings(helper), count.as_deref());
        command.envs(variables.unwrap_or_default());
    }
}

fn not_run(words: Vec<OsString>, error: io::Error) -> Error {
    let program = words.into_iter().next().unwrap_or_default();
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound(program),
        _ => Error::NotExecutable(program, error),
    }
}

/// The hosts that the environment excepts from its proxy, and the loopback, for the clients that do not except it by
/// themselves.
fn no_proxy(env: &Env) -> String {
    let loopback = "127.0.0.1,::1,localhost";
    match NO_PROXY.iter().find_map(|name| env.var(name)) {
        Some(hosts) => format!("{hosts},{loopback}"),
        None => loopback.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_added_to_what_no_proxy_stands_before() {
        let no_proxy = |variables| no_proxy(&Env::fixed(variables, 0.0));
        assert_eq!(no_proxy(&[]), "127.0.0.1,::1,localhost");
        assert_eq!(
            no_proxy(&[("NO_PROXY", "a,b")]),
            "a,b,127.0.0.1,::1,localhost"
        );
    }
}
