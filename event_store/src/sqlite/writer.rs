//! The thread that owns the writing connection.

use super::append;
use super::database::{BUSY_TIMEOUT, commit};
use super::{Appended, InlineProjections};
use crate::commit::{AppendError, Commit, Recorded};
use crate::error::StoreError;
use rusqlite::Connection;
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
    /// Append commits.
    Append {
        /// The commits.
        commits: Vec<Commit>,
        /// Where the answers go.
        answer: oneshot::Sender<Vec<Answer>>,
    },
    /// Something else, in a transaction of its own.
    Write(Box<dyn FnOnce(&mut Connection) + Send>),
    /// Move the log into the file and empty it, now or as soon as readers let it.
    Overwrite(oneshot::Sender<()>),
}

/// What became of one commit.
pub(super) type Answer = Result<Recorded, AppendError>;

/// Callers with their commits, waiting for one transaction.
struct Waiting {
    commits: Vec<Commit>,
    answer: oneshot::Sender<Vec<Answer>>,
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
            let other = match job {
                Job::Write(write) => {
                    write(&mut connection);
                    None
                }
                Job::Overwrite(answer) => {
                    inbox.to_empty = !empty_log(&connection, READERS_PATIENCE);
                    if inbox.to_empty {
                        tracing::warn!(
                            "a reader keeps what was erased in the write-ahead log for now"
                        );
                    }
                    let _ = answer.send(());
                    None
                }
                Job::Append { commits, answer } => {
                    let first = Waiting { commits, answer };
                    let (batch, other) = gather(first, &mut inbox.jobs, expected);
                    let answered = batch.len();
                    append_batch(&mut connection, batch, inline.as_mut());
                    expected = answered + inbox.jobs.len();
                    changes.send_modify(|count| *count = count.wrapping_add(1));
                    other
                }
            };
            inbox.since_checkpoint += 1;
            next = other.or_else(|| inbox.wait(&connection));
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
    first: Waiting,
    jobs: &mut mpsc::Receiver<Job>,
    expected: usize,
) -> (Vec<Waiting>, Option<Job>) {
    let mut count = first.commits.len();
    let mut batch = vec![first];
    let mut last = Instant::now();
    while count < MAX_BATCH {
        match jobs.try_recv() {
            Ok(Job::Append { commits, answer }) => {
                count += commits.len();
                batch.push(Waiting { commits, answer });
                last = Instant::now();
            }
            Ok(other) => return (batch, Some(other)),
            Err(_) if batch.len() >= expected || last.elapsed() > FOLLOWS => break,
            Err(_) => std::thread::yield_now(),
        }
    }
    (batch, None)
}

fn append_batch(
    connection: &mut Connection,
    batch: Vec<Waiting>,
    inline: &mut dyn InlineProjections,
) {
    let commits: Vec<&Commit> = batch.iter().flat_map(|waiting| &waiting.commits).collect();
    let answers = match transact(connection, &commits, inline) {
        Ok(answers) => answers,
        // The database itself is in trouble: nobody's commit would fare better alone.
        Err(StoreError::Unavailable(text)) => commits
            .iter()
            .map(|_| Err(AppendError::Failed(StoreError::Unavailable(text.clone()))))
            .collect(),
        Err(StoreError::InDoubt(text)) => commits
            .iter()
            .map(|_| Err(AppendError::Failed(StoreError::InDoubt(text.clone()))))
            .collect(),
        // One commit can't be appended; alone, it fails alone.
        Err(error) if commits.len() == 1 => vec![Err(AppendError::Failed(error))],
        Err(_) => commits.iter().map(|commit| append_alone(connection, commit, inline)).collect(),
    };
    let mut answers = answers.into_iter();
    for Waiting { commits, answer } in batch {
        // A caller that went away no longer wants the answer; the commit stands all the same.
        let _ = answer.send(answers.by_ref().take(commits.len()).collect());
    }
}

fn append_alone(
    connection: &mut Connection,
    commit: &Commit,
    inline: &mut dyn InlineProjections,
) -> Answer {
    match transact(connection, &[commit], inline) {
        Ok(answers) => {
            answers.into_iter().next().unwrap_or(Err(AppendError::Failed(StoreError::Closed)))
        }
        Err(error) => Err(AppendError::Failed(error)),
    }
}

/// Appends all commits that can be in one transaction, projections included. When this fails,
/// nothing was appended, unless the error says that it may have been.
fn transact(
    connection: &mut Connection,
    commits: &[&Commit],
    inline: &mut dyn InlineProjections,
) -> Result<Vec<Answer>, StoreError> {
    let outcome = try_transact(connection, commits, inline);
    match &outcome {
        Ok(_) => inline.committed(),
        Err(_) => inline.rolled_back(),
    }
    outcome
}

fn try_transact(
    connection: &mut Connection,
    commits: &[&Commit],
    inline: &mut dyn InlineProjections,
) -> Result<Vec<Answer>, StoreError> {
    let transaction = append::begin(connection)?;
    let mut appended: Vec<Appended> = Vec::with_capacity(commits.len());
    let answers = append::append(&transaction, commits, &mut appended)?;
    if appended.is_empty() && answers.iter().all(Result::is_err) {
        return Ok(answers);
    }
    inline.project(&transaction, &appended)?;
    commit(transaction)?;
    Ok(answers)
}
