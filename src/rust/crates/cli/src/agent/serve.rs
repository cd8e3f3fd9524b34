//! An agent's life: it takes its place in the directory, serves, and leaves nothing behind.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entrar_broker::accounts::InMemory;
use entrar_broker::admission::Admission;
use entrar_broker::listen::{Limits, Server};
use entrar_broker::rpc::Broker;
use entrar_core::env::Env;
use entrar_core::session_directory::{SessionDirectory, has_listener};

use super::process::{READY, RUNNING};
use super::requests::everything;
use super::state::Agent;
use super::system::{harden, leave_session, listen, raise_limit_of_files, tell_starter};
use super::{Error, cookie_session};
use crate::child::Signals;

/// How long the exchanges under way may take at the end.
const LAST_EXCHANGES: Duration = Duration::from_secs(20);
/// How long to wait for another agent that is about to end: as long as its last exchanges may take, and its last replies.
const LONGEST_END: Duration = Duration::from_secs(25);
/// How often to look whether it has.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Runs an agent until it is told to end, or is idle for so long. A detached one outlives its starter.
pub(crate) fn run(env: Env, idle: Duration, is_detached: bool) -> Result<(), Error> {
    let system = |what| move |error| Error::System(what, error);
    if is_detached {
        leave_session().map_err(system("a session of its own"))?;
    }
    harden().map_err(system("to protect the agent's memory"))?;
    raise_limit_of_files();
    let directory = SessionDirectory::create(&env)?;
    let Some(_lock) = take_place(&directory)? else {
        if is_detached {
            return tell_starter(RUNNING).map_err(system("a word to the starter"));
        }
        return Err(Error::Running);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("a runtime"))?;
    let served = runtime.block_on(serve(env, directory, idle, is_detached));
    // Nothing that is still under way is waited for.
    runtime.shutdown_background();
    served
}

async fn serve(
    env: Env,
    directory: SessionDirectory,
    idle: Duration,
    is_detached: bool,
) -> Result<(), Error> {
    let system = |what| move |error| Error::System(what, error);
    let mut signals = Signals::catch().map_err(system("to catch signals"))?;
    let path = directory.socket_path();
    let no_place = |error| Error::Place(path.clone(), error);
    // We hold the lock, so that what is there is of an agent that was killed.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(no_place(error)),
        _ => {}
    }
    cookie_session::remove(&directory);
    let (listener, owner) = listen(&directory).map_err(no_place)?;
    let random = |error: getrandom::Error| Error::System("random bytes", error.into());
    let admission = Admission::owned_by(owner).map_err(random)?;
    let broker = Arc::new(Broker::<InMemory>::new(env.clone(), admission, None));
    // Tokens that were kept of the agent before are of nobody any more.
    directory
        .mark_new_sign_in(None)
        .map_err(|error| Error::Place(directory.path().to_owned(), error))?;
    let agent = Arc::new(Agent::new(env, broker, directory, idle));
    let server = Server::start(listener, everything(Arc::clone(&agent)), Limits::default());
    if is_detached {
        tell_starter(READY).map_err(system("a word to the starter"))?;
    }
    tokio::select! {
        () = agent.stop.notified() => {}
        () = agent.idle() => {}
        () = signals.any() => {}
    }
    // Nobody finds it any more; then the last replies go out.
    agent.hide();
    let exchanges = agent.broker.exchanges();
    let rest = async {
        if let Some(exchanges) = exchanges {
            let _ = tokio::time::timeout(LAST_EXCHANGES, exchanges.finish()).await;
        }
        agent.sign_out().await;
        server.stop().await;
    };
    tokio::select! {
        () = rest => {}
        () = signals.any() => {}
    }
    Ok(())
}

/// The lock of the one agent; `None` if another one holds it that can be asked. It goes with the process, however that ends.
fn take_place(directory: &SessionDirectory) -> Result<Option<File>, Error> {
    let begun = Instant::now();
    loop {
        let lock = directory.lock();
        let lock = lock.map_err(|error| Error::Place(directory.path().to_owned(), error))?;
        if lock.is_some() {
            return Ok(lock);
        }
        if has_listener(&directory.socket_path()) {
            return Ok(None);
        }
        // It has only begun, and listens in a moment; or it is about to end, and then the place is ours.
        if begun.elapsed() > LONGEST_END {
            return Err(Error::Stuck(LONGEST_END));
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}
