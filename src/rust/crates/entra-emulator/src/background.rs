//! A runtime on a thread of its own, with whatever was spawned on it, until it is dropped.

use std::io;
use std::thread::{self, JoinHandle};

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A running runtime. Dropping it ends its tasks, and with them every connection: a client that never finishes its request holds
/// nothing up. It waits for the thread to end.
#[derive(Debug)]
pub(crate) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Runs what was spawned on `runtime`, on a thread of this name.
    ///
    /// # Errors
    ///
    /// When the thread cannot be made.
    pub(crate) fn start(runtime: Runtime, name: &str) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // An error means that the sender is gone, which is the signal.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can only fail if the thread panicked, and then it has ended too.
            let _ = thread.join();
        }
    }
}
