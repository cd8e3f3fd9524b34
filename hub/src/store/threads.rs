//! The threads that a database is used on, so that no async task ever waits for a server or a commit: an operation is put
//! into a queue, and whoever asked gets its answer when it is done.
//!
//! A few rows of a file on this machine are the exception: waking a thread and being woken takes longer than reading them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::StoreError;
use super::database::Db;

/// How long nobody else waits once an operation was left without an answer.
const RESPITE: Duration = Duration::from_secs(1);

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// It only reads.
    Read,
    /// It writes, and may look before it does: nobody else writes meanwhile, on any node.
    Write,
    /// It writes, and each of its statements is right whatever others write between them.
    WriteBeside,
    /// The same for what need not outlast a crash of the database.
    WriteLoosely,
}

/// An operation in a queue.
pub(super) struct Job {
    pub(super) work: Work,
    operation: Box<dyn Operation>,
}

/// Looks something up where it is asked, if that can be done at once; `None` if not, and then the operation has not run or
/// may run again.
pub(super) trait Here: Send {
    /// # Errors
    /// The operation's, and those of the database.
    fn look_up(
        &self,
        run: &mut dyn FnMut(&Db<'_>) -> Result<(), StoreError>,
    ) -> Option<Result<(), StoreError>>;
}

/// The queues of one database, and the threads that work on them.
pub(super) struct Threads {
    here: Mutex<Option<Box<dyn Here>>>,
    writes: Mutex<Option<Sender<Job>>>,
    reads: Mutex<Option<Sender<Job>>>,
    running: Mutex<Vec<JoinHandle<()>>>,
    /// How long an operation is waited for, where a server could keep one waiting for ever.
    patience: Option<Duration>,
    /// Until when nobody else waits, since an operation was left without an answer.
    unanswered_until: Mutex<Option<Instant>>,
    /// How many operations somebody waits for.
    waited_for: AtomicUsize,
}

impl Threads {
    /// Threads that run until these queues end.
    pub(super) fn new(
        writes: Sender<Job>,
        reads: Sender<Job>,
        running: Vec<JoinHandle<()>>,
    ) -> Self {
        Self {
            here: Mutex::new(None),
            writes: Mutex::new(Some(writes)),
            reads: Mutex::new(Some(reads)),
            running: Mutex::new(running),
            patience: None,
            unanswered_until: Mutex::new(None),
            waited_for: AtomicUsize::new(0),
        }
    }

    /// The same, with a few rows looked up where they are asked for.
    pub(super) fn beside(self, here: impl Here + 'static) -> Self {
        Self {
            here: Mutex::new(Some(Box::new(here))),
            ..self
        }
    }

    /// The same, with an end to every wait.
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }

    /// Runs an operation that writes. It is on disk when this returns; who stops waiting does not stop it.
    ///
    /// # Errors
    /// The operation's, which then changed nothing, and those of the database.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Db<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(&self.writes, Work::Write, once(run)).await
    }

    /// The same for an operation of which each statement is right whatever others write between them.
    ///
    /// # Errors
    /// Those of [`Threads::write`].
    pub(super) async fn write_beside<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Db<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(&self.writes, Work::WriteBeside, once(run)).await
    }

    /// The same for what need not outlast a crash of the database.
    ///
    /// # Errors
    /// Those of [`Threads::write`].
    pub(super) async fn write_loosely<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Db<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(&self.writes, Work::WriteLoosely, once(run)).await
    }

    /// Runs an operation that only reads; it sees all that was written before. It may be run again, after a connection that was
    /// lost.
    ///
    /// # Errors
    /// The operation's, and those of the database.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        run: impl FnMut(&Db<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(&self.reads, Work::Read, run).await
    }

    /// Reads a few rows by their keys, at once where that is faster than asking a thread.
    ///
    /// # Errors
    /// Those of [`Threads::read`].
    pub(super) async fn look_up<T: Send + 'static>(
        &self,
        mut run: impl FnMut(&Db<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.looked_up_here(&mut run) {
            Some(outcome) => outcome,
            None => self.read(run).await,
        }
    }

    /// `None` where it has to be asked for: there is nobody here who reads, somebody else is being answered, or the database
    /// cannot be read at this moment.
    fn looked_up_here<T>(
        &self,
        run: &mut impl FnMut(&Db<'_>) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        let here = self.here.try_lock().ok()?;
        let mut found = None;
        let outcome = here.as_ref()?.look_up(&mut |db| {
            found = Some(run(db)?);
            Ok(())
        })?;
        match outcome {
            Ok(()) => found.map(Ok),
            Err(StoreError::Unavailable(_)) => None,
            Err(error) => Some(Err(error)),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        queue: &Mutex<Option<Sender<Job>>>,
        work: Work,
        run: impl FnMut(&Db<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.is_left_unanswered() {
            return Err(unanswered());
        }
        let _waiting = Waiting::new(&self.waited_for);
        let (reply, answer) = oneshot::channel();
        let is_given_up = Arc::new(AtomicBool::new(false));
        let operation = Box::new(Queued {
            run,
            outcome: None,
            reply,
            is_given_up: Arc::clone(&is_given_up),
        });
        match lock(queue).as_ref() {
            Some(jobs) => jobs
                .send(Job { work, operation })
                .map_err(|_| StoreError::Closed)?,
            None => return Err(StoreError::Closed),
        }
        let Some(patience) = self.patience else {
            return answer.await.map_err(|_| StoreError::Closed)?;
        };
        let answer = timeout(patience, answer).await;
        // What was told to have failed is not done later. Who only goes away stops nothing.
        is_given_up.store(answer.is_err(), Ordering::Release);
        *lock(&self.unanswered_until) = answer.is_err().then(|| Instant::now() + RESPITE);
        answer
            .map_err(|_| unanswered())?
            .map_err(|_| StoreError::Closed)?
    }

    /// Whether the server has just left somebody waiting. After a while one may try again, and the others wait for what comes
    /// of that: else each of them waited as long.
    fn is_left_unanswered(&self) -> bool {
        let Some(patience) = self.patience else {
            return false;
        };
        let mut until = lock(&self.unanswered_until);
        let now = Instant::now();
        match *until {
            Some(until) if now < until => true,
            Some(_) => {
                *until = Some(now + patience);
                false
            }
            None => false,
        }
    }

    /// How many operations somebody waits for, those under way included.
    pub(super) fn waited_for(&self) -> usize {
        self.waited_for.load(Ordering::Relaxed)
    }

    /// How many work on what is queued.
    pub(super) fn number(&self) -> usize {
        lock(&self.running).len()
    }

    /// Ends the threads when they have done what is queued. It blocks until then, or until a server has kept it waiting for
    /// too long.
    pub(super) fn close(&self) {
        drop(lock(&self.here).take());
        drop(lock(&self.reads).take());
        drop(lock(&self.writes).take());
        if let Some(patience) = self.patience {
            let until = Instant::now() + patience;
            let is_over = || Instant::now() >= until;
            while !lock(&self.running).iter().all(JoinHandle::is_finished) {
                if is_over() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        for thread in lock(&self.running).drain(..) {
            // One that panicked has nothing more to do either.
            let _ = thread.join();
        }
    }
}

/// Somebody waits, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(number: &'a AtomicUsize) -> Self {
        number.fetch_add(1, Ordering::Relaxed);
        Self(number)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn unanswered() -> StoreError {
    StoreError::Unavailable("the server does not answer".to_owned())
}

/// An operation that is run once.
fn once<T>(
    run: impl FnOnce(&Db<'_>) -> Result<T, StoreError>,
) -> impl FnMut(&Db<'_>) -> Result<T, StoreError> {
    let mut run = Some(run);
    move |db| match run.take() {
        Some(run) => run(db),
        None => Err(StoreError::Closed),
    }
}

/// No change under the lock can stop half-way, so one poisoned by a panic elsewhere guards sound data.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next job of a queue that several threads share; `None` once it has ended. One thread waits for a job, the others for
/// their turn to.
pub(super) fn next(jobs: &Mutex<Receiver<Job>>) -> Option<Job> {
    lock(jobs).recv().ok()
}

/// A thread of this name.
///
/// # Errors
/// [`StoreError::Unavailable`]
pub(super) fn thread(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

impl Job {
    /// Runs it. After an error nothing that it changed is to be kept; whoever asked is told of it by [`Job::answer`].
    ///
    /// # Errors
    /// The operation's.
    pub(super) fn run(&mut self, db: &Db<'_>) -> Result<(), StoreError> {
        self.operation.run(db)
    }

    /// Whether whoever asked was told that it came to nothing, since it took too long.
    pub(super) fn is_given_up(&self) -> bool {
        self.operation.is_given_up()
    }

    /// Tells whoever asked: the operation's own outcome, or, where that was good, what came of the commit.
    pub(super) fn answer(self, committed: Result<(), StoreError>) {
        self.operation.answer(committed);
    }
}

/// What [`Job`] says, for an operation of any result.
trait Operation: Send {
    fn run(&mut self, db: &Db<'_>) -> Result<(), StoreError>;
    fn is_given_up(&self) -> bool;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Queued<T, F> {
    run: F,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    is_given_up: Arc<AtomicBool>,
}

impl<T, F> Operation for Queued<T, F>
where
    T: Send,
    F: FnMut(&Db<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, db: &Db<'_>) -> Result<(), StoreError> {
        let outcome = (self.run)(db);
        let ran = outcome.as_ref().map(|_| ()).map_err(StoreError::clone);
        self.outcome = Some(outcome);
        ran
    }

    fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = match (self.outcome, committed) {
            (Some(Ok(_)) | None, Err(error)) => Err(error),
            (Some(outcome), _) => outcome,
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // Who does not wait any more needs no answer.
        let _ = self.reply.send(outcome);
    }
}
