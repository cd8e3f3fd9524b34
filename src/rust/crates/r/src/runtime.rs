//! What a call runs on: one runtime and one HTTP client for each process, on R's own thread.
//!
//! A forked child shares its parent's sockets and must never touch them, so everything is kept
//! together with the id of the process that made it.

use std::any::Any;
use std::cell::RefCell;
use std::fmt::Display;
use std::future::poll_fn;
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::process;
use std::task::Poll;
use std::time::Duration;

use entrar_core::error::{Error, Kind};
use entrar_core::http::{Http, Settings};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::broken_pipe;
use crate::interrupt::{self, Requested};

/// How often Ctrl-C is looked for.
const TICK: Duration = Duration::from_millis(50);

struct Machinery {
    process: u32,
    runtime: Runtime,
    http: Http,
}

thread_local! {
    /// Empty before the first call, and while a call is under way.
    static MACHINERY: RefCell<Slot> = const { RefCell::new(Slot::Empty) };
}

enum Slot {
    Empty,
    Busy(u32),
    /// Leaked on purpose: dropping it at the exit of a forked child would reach into the parent's
    /// sockets.
    Ready(&'static mut Machinery),
}

/// Runs a question with an HTTP client of these settings to its end, unless R wants the call to end first.
///
/// # Errors
/// What keeps the machinery from being built: [`Kind::Unreachable`], or [`Kind::Unavailable`] when
/// called from within a call.
pub fn run<T>(
    settings: Settings,
    question: impl AsyncFnOnce(&Http) -> T,
) -> Result<Result<T, Requested>, Error> {
    // tokio panics where the system refuses it a socket or a thread, or where a runtime runs already, as in a child
    // that was forked during a call.
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        let _ignored = broken_pipe::Ignored::new();
        let mut lease = Lease(Some(take(settings)?));
        match &mut lease.0 {
            Some(machinery) => Ok(machinery
                .runtime
                .block_on(unless_interrupted(question(&machinery.http)))),
            None => Err(busy()),
        }
    }));
    outcome.unwrap_or_else(|panic| {
        // What is left behind may be half made.
        MACHINERY.set(Slot::Empty);
        Err(no_resources(said(&*panic)))
    })
}

/// What a panic says.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason is known")
}

fn no_resources(why: impl Display) -> Error {
    let message = format!("the system gives no resources to wait with: {why}");
    Error::new(Kind::Unavailable, message)
}

/// The machinery while a call uses it. It goes back however the call ends.
struct Lease(Option<&'static mut Machinery>);

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(machinery) = self.0.take() {
            MACHINERY.set(Slot::Ready(machinery));
        }
    }
}

fn busy() -> Error {
    Error::new(
        Kind::Unavailable,
        "another question is under way in this R process",
    )
}

/// This process's machinery, with a client of these settings.
fn take(settings: Settings) -> Result<&'static mut Machinery, Error> {
    let process = process::id();
    match MACHINERY.replace(Slot::Busy(process)) {
        Slot::Ready(machinery) if machinery.process == process => {
            if *machinery.http.settings() != settings {
                match Http::new(settings) {
                    Ok(http) => machinery.http = http,
                    Err(error) => {
                        MACHINERY.set(Slot::Ready(machinery));
                        return Err(error);
                    }
                }
            }
            Ok(machinery)
        }
        // R can run code while it looks for an interrupt, and that code can land here again.
        Slot::Busy(owner) if owner == process => Err(busy()),
        // The first call of this process; what there is belongs to its parent.
        _ => {
            let machinery = build(process, settings);
            if machinery.is_err() {
                MACHINERY.set(Slot::Empty);
            }
            machinery
        }
    }
}

fn build(process: u32, settings: Settings) -> Result<&'static mut Machinery, Error> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        // The name resolver's thread must not outlive the call.
        .thread_keep_alive(Duration::from_millis(1))
        .build()
        .map_err(no_resources)?;
    let http = Http::new(settings)?;
    Ok(Box::leak(Box::new(Machinery {
        process,
        runtime,
        http,
    })))
}

async fn unless_interrupted<T>(question: impl Future<Output = T>) -> Result<T, Requested> {
    let mut question = pin!(question);
    // The first tick comes one period late: an immediate one would cost every call a millisecond.
    let mut ticks = interval_at(Instant::now() + TICK, TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    poll_fn(|context| {
        if let Poll::Ready(answer) = question.as_mut().poll(context) {
            return Poll::Ready(Ok(answer));
        }
        while ticks.poll_tick(context).is_ready() {
            if let Some(request) = interrupt::requested() {
                return Poll::Ready(Err(request));
            }
        }
        Poll::Pending
    })
    .await
}
