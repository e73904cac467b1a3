//! The thread that owns the writing connection.

use super::append;
use super::database::commit;
use super::opening::BUSY_TIMEOUT;
use super::{Appended, InlineProjections};
use crate::commit::{AppendError, Commit, Recorded};
use crate::error::StoreError;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

/// Commits in one transaction. More would make the first wait for the last.
const MAX_BATCH: usize = 256;

/// How closely callers follow one another who were answered together and ask again at once.
const FOLLOWS: Duration = Duration::from_micros(30);

/// How long nothing must be asked of the writer before it moves the log into the file.
const IDLE: Duration = Duration::from_millis(250);
/// Jobs after which that is worth the while.
const IDLE_CHECKPOINT_JOBS: u32 = 256;
/// How long readers are waited for that keep the log from being emptied. Writers wait meanwhile.
const READERS_PATIENCE: Duration = Duration::from_millis(200);

/// What the writing connection is asked to do.
pub(super) enum Job {
    /// Something that shares a transaction with whatever else waits.
    Shared(Shared),
    /// Something that doesn't.
    Alone(Alone),
}

/// What shares a transaction.
pub(super) enum Shared {
    /// Commits to append.
    Append(Waiting),
    /// Something else to write.
    Along(Box<dyn Along>),
}

/// What has the connection for itself.
pub(super) enum Alone {
    /// Something in transactions of its own.
    Write(Box<dyn FnOnce(&mut Connection) + Send>),
    /// Move the log into the file and empty it, now or as soon as readers let it.
    Overwrite(oneshot::Sender<()>),
}

/// What became of one commit.
pub(super) type Answer = Result<Recorded, AppendError>;

/// A caller's commits, waiting for a transaction.
pub(super) struct Waiting {
    /// The commits.
    pub commits: Vec<Commit>,
    /// Where the answers go, and the commits back with them: whoever made them also frees them.
    pub answer: oneshot::Sender<(Vec<Answer>, Vec<Commit>)>,
}

/// Something that is written together with whatever commits wait.
pub(super) trait Along: Send {
    /// Writes it. Called again, in another transaction, where this one can't be had.
    ///
    /// # Errors
    /// When it can't be written; the transaction must be rolled back then.
    fn write(&mut self, transaction: &Connection) -> Result<(), StoreError>;

    /// Answers whoever asked: the last transaction that it was written in ended so.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// What waits for the next transaction.
#[derive(Default)]
struct Batch {
    waiting: Vec<Waiting>,
    commits: usize,
    along: Vec<Box<dyn Along>>,
}

impl Batch {
    fn take(&mut self, shared: Shared) {
        match shared {
            Shared::Append(waiting) => {
                self.commits += waiting.commits.len();
                self.waiting.push(waiting);
            }
            Shared::Along(along) => self.along.push(along),
        }
    }
}

/// Starts the thread. It ends when all senders are gone and everything that waited is done.
pub(super) fn spawn(
    mut connection: Connection,
    jobs: mpsc::Receiver<Job>,
    mut inline: Box<dyn InlineProjections>,
    changes: watch::Sender<u64>,
) -> std::io::Result<JoinHandle<()>> {
    let timer = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut inbox = Inbox { jobs, timer, since_checkpoint: 0, to_empty: false };
    std::thread::Builder::new().name("ledger-writer".to_owned()).spawn(move || {
        let mut next = inbox.wait(&connection);
        let mut expected = 0;
        while let Some(job) = next {
            let alone = match job {
                Job::Alone(alone) => Some(alone),
                Job::Shared(first) => {
                    let (batch, alone) = gather(first, &mut inbox.jobs, expected);
                    let answered = batch.waiting.len();
                    transact_batch(&mut connection, batch, inline.as_mut());
                    if answered > 0 {
                        expected = answered + inbox.jobs.len();
                        changes.send_modify(|count| *count = count.wrapping_add(1));
                    }
                    alone
                }
            };
            match alone {
                Some(Alone::Write(write)) => {
                    // Whoever asked hears of it: their answer is dropped on the way.
                    let _ = catch_unwind(AssertUnwindSafe(|| write(&mut connection)));
                }
                Some(Alone::Overwrite(answer)) => {
                    inbox.to_empty = !empty_log(&connection, READERS_PATIENCE);
                    if inbox.to_empty {
                        tracing::warn!(
                            "a reader keeps what was erased in the write-ahead log for now"
                        );
                    }
                    let _ = answer.send(());
                }
                None => {}
            }
            inbox.since_checkpoint += 1;
            next = inbox.wait(&connection);
        }
        checkpoint(&connection, "TRUNCATE");
    })
}

/// Where jobs come in, and what the pauses between them are used for.
struct Inbox {
    jobs: mpsc::Receiver<Job>,
    timer: tokio::runtime::Runtime,
    since_checkpoint: u32,
    /// Whether readers have kept the log from being emptied, which is to be done.
    to_empty: bool,
}

impl Inbox {
    /// Waits for the next job. When none comes for a while, the log is moved into the file, so that
    /// no commit has to do it; who comes meanwhile waits for it.
    fn wait(&mut self, connection: &Connection) -> Option<Job> {
        while self.to_empty || self.since_checkpoint >= IDLE_CHECKPOINT_JOBS {
            match self.jobs.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            let Self { jobs, timer, to_empty, .. } = self;
            let waited = timer.block_on(async { tokio::time::timeout(IDLE, jobs.recv()).await });
            if let Ok(job) = waited {
                return job;
            }
            if *to_empty {
                *to_empty = !empty_log(connection, Duration::ZERO);
            } else {
                checkpoint(connection, "PASSIVE");
            }
            self.since_checkpoint = 0;
        }
        self.jobs.blocking_recv()
    }
}

/// Moves the log into the file, as far as readers let it.
fn checkpoint(connection: &Connection, mode: &str) {
    let moved = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()));
    if let Err(error) = moved {
        tracing::warn!(%error, "the write-ahead log stays beside the ledger");
    }
}

/// Moves the log into the file and empties it; answers whether readers let it. What fails otherwise
/// is left to the end of the process, which tries once more.
fn empty_log(connection: &Connection, patience: Duration) -> bool {
    let emptied = connection.busy_timeout(patience).and_then(|()| {
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))
    });
    let restored = connection.busy_timeout(BUSY_TIMEOUT);
    emptied.and_then(|is_busy| restored.map(|()| !is_busy)).unwrap_or_else(|error| {
        tracing::warn!(%error, "what was erased stays in the write-ahead log until the stop");
        true
    })
}

/// Takes whatever waits, up to the bound. Callers who were just answered are about to ask again: as
/// long as some of them may come and one follows the other closely, the thread stands back for
/// them. Hands back the job that doesn't belong to the batch, if one was taken.
fn gather(
    first: Shared,
    jobs: &mut mpsc::Receiver<Job>,
    expected: usize,
) -> (Batch, Option<Alone>) {
    let mut batch = Batch::default();
    batch.take(first);
    let mut last = Instant::now();
    while batch.commits < MAX_BATCH {
        match jobs.try_recv() {
            Ok(Job::Shared(shared)) => {
                batch.take(shared);
                last = Instant::now();
            }
            Ok(Job::Alone(alone)) => return (batch, Some(alone)),
            Err(_) if batch.waiting.len() >= expected || last.elapsed() > FOLLOWS => break,
            Err(_) => std::thread::yield_now(),
        }
    }
    (batch, None)
}

fn transact_batch(connection: &mut Connection, batch: Batch, inline: &mut dyn InlineProjections) {
    let Batch { waiting, mut along, .. } = batch;
    let commits: Vec<&Commit> = waiting.iter().flat_map(|waiting| &waiting.commits).collect();
    let mut outcome = loop {
        match transact(connection, &commits, &mut along, inline) {
            // What can't be written must not hold up the others.
            Err(Failure::Along(place, _)) => {
                write_alone(connection, along.remove(place), inline);
            }
            outcome => break outcome.map_err(Failure::into_error),
        }
    };
    match &outcome {
        // A commit can't be written; what goes along must not hold it up, nor be held up.
        Err(error) if !error.is_general() && !along.is_empty() => {
            for one in along {
                write_alone(connection, one, inline);
            }
            outcome = transact(connection, &commits, &mut [], inline).map_err(Failure::into_error);
        }
        outcome => {
            let ended = outcome.as_ref().map(drop);
            for one in along {
                one.answer(ended.map_err(Clone::clone));
            }
        }
    }
    let answers = match outcome {
        Ok(answers) => answers,
        // The database itself is in trouble: nobody's commit would fare better alone.
        Err(error) if error.is_general() || commits.len() == 1 => {
            commits.iter().map(|_| Err(error.clone().into())).collect()
        }
        // One commit can't be appended; alone, it fails alone.
        Err(_) => append_each(connection, &commits, inline),
    };
    let mut answers = answers.into_iter();
    for Waiting { commits, answer } in waiting {
        // A caller that went away no longer wants the answer; the commit stands all the same.
        let _ = answer.send((answers.by_ref().take(commits.len()).collect(), commits));
    }
}

/// Writes something in a transaction of its own.
fn write_alone(
    connection: &mut Connection,
    mut one: Box<dyn Along>,
    inline: &mut dyn InlineProjections,
) {
    let alone = transact(connection, &[], std::slice::from_mut(&mut one), inline);
    one.answer(alone.map(drop).map_err(Failure::into_error));
}

/// Appends each commit by itself, until the database itself is in trouble.
fn append_each(
    connection: &mut Connection,
    commits: &[&Commit],
    inline: &mut dyn InlineProjections,
) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(commits.len());
    while answers.len() < commits.len() {
        match transact(connection, &[commits[answers.len()]], &mut [], inline) {
            Ok(alone) => {
                answers.push(alone.into_iter().next().unwrap_or(Err(StoreError::Closed.into())));
            }
            Err(failure) => {
                let error = failure.into_error();
                let untried = error.of_untried();
                let is_general = error.is_general();
                answers.push(Err(error.into()));
                if is_general {
                    answers.resize_with(commits.len(), || Err(untried.clone().into()));
                }
            }
        }
    }
    answers
}

/// Why a transaction failed.
enum Failure {
    /// By what was to go along, at this place. Whatever it looks like, such as a page of its tables
    /// that can't be read, it is no trouble of the commits'.
    Along(usize, StoreError),
    /// By a commit, or as a whole.
    Whole(StoreError),
}

impl Failure {
    fn into_error(self) -> StoreError {
        match self {
            Self::Along(_, error) | Self::Whole(error) => error,
        }
    }
}

/// Appends all commits that can be in one transaction, projections included, and writes what goes
/// along. When this fails, nothing was written, unless the error says that it may have been.
fn transact(
    connection: &mut Connection,
    commits: &[&Commit],
    along: &mut [Box<dyn Along>],
    inline: &mut dyn InlineProjections,
) -> Result<Vec<Answer>, Failure> {
    let work = || try_transact(connection, commits, along, inline);
    let outcome = catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Failure::Whole(StoreError::panicked())));
    match &outcome {
        Ok(_) => inline.committed(),
        Err(_) => inline.rolled_back(),
    }
    outcome
}

fn try_transact(
    connection: &mut Connection,
    commits: &[&Commit],
    along: &mut [Box<dyn Along>],
    inline: &mut dyn InlineProjections,
) -> Result<Vec<Answer>, Failure> {
    let transaction = append::begin(connection).map_err(Failure::Whole)?;
    for (place, one) in along.iter_mut().enumerate() {
        one.write(&transaction).map_err(|error| Failure::Along(place, error))?;
    }
    let mut appended: Vec<Appended> = Vec::with_capacity(commits.len());
    let answers = append::append(&transaction, commits, &mut appended).map_err(Failure::Whole)?;
    if along.is_empty() && appended.is_empty() && answers.iter().all(Result::is_err) {
        return Ok(answers);
    }
    inline.project(&transaction, &appended).map_err(Failure::Whole)?;
    commit(transaction).map_err(Failure::Whole)?;
    Ok(answers)
}
