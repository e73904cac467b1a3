//! Where the commits of all callers of a process meet.
//!
//! A few tasks, each with a connection of its own, take whatever waits, up to a bound, with those
//! who follow closely, and append it in one transaction; while it is in flight, the next batch gathers.
//! No two of them work on the same company. A company whose head somebody holds on to, another process
//! or an administrator, is left to tasks that have the time, so that it keeps no other one waiting.

use super::InlineProjections;
use super::append::{self, LOCK_TIMEOUT, Patience, Setback};
use super::at_once::{self, AtOnce, LeftHeads};
use super::database::{Database, RecordedTime, connect};
use super::errors::connecting_failed;
use super::lent::{in_time, ping, silent};
use super::listener::Told;
use super::queue::{Queue, Track, Waiting};
use crate::commit::{AppendError, Commit, Recorded};
use crate::error::StoreError;
use crate::placing::{Known, Placed};
use crate::record::{Head, Point};
use crate::trouble::{Trouble, is_trouble};
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::CompanyId;
use tokio::time::Instant;

/// Commits that share a transaction, at most.
const MAX_BATCH: usize = 256;
/// How long a batch is tried again after the database was lost: the callers wait meanwhile.
const RETRY_FOR: Duration = Duration::from_secs(5);
/// How long all wait for a head: longer than transactions take, and shorter than anybody minds.
const PATIENCE: Patience = Patience("300ms");
/// How long those wait for whom nobody else waits.
const PATIENCE_HELD: Patience = Patience("3s");
/// The pauses between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A connection that was not used for longer than this may have fallen silent.
const RESTED: Duration = Duration::from_secs(1);
/// How long a transaction may take before its connection is given up: longer than any statement
/// may take, for servers that no longer say anything.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(12);

type Answer = Result<Recorded, AppendError>;

/// Sees to it that nobody waits for a task that has panicked.
struct Watch(Arc<Queue>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abandon();
        }
    }
}

/// What came of somebody else's hold on a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hold {
    #[default]
    None,
    /// Nothing has happened, and the batch is left to others.
    Left,
    /// The commits of one company have failed by it.
    Fatal,
}

/// One of the tasks.
pub(super) struct Lane {
    track: Track,
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    /// When the connection was last of use.
    used: Instant,
    inline: Box<dyn InlineProjections>,
    queue: Arc<Queue>,
    told: Arc<Told>,
    trouble: Arc<Trouble>,
    recorded_time: RecordedTime,
    one_company: bool,
    heads: Arc<LeftHeads>,
    /// How far the transaction at hand brings ledgers.
    moved: Vec<(CompanyId, Point)>,
    /// What makes the transaction at hand durable is on its way.
    is_ending: bool,
    /// Whether somebody else holds on to the head of a company of the batch at hand.
    hold: Hold,
}

/// How far these commits have brought their ledgers.
fn reached(commits: &[&Commit], answers: &[Answer]) -> Vec<(CompanyId, u64)> {
    let recorded = |(commit, answer): (&&Commit, &Answer)| {
        answer.as_ref().ok().map(|recorded| (commit.company, recorded.position))
    };
    commits.iter().zip(answers).filter_map(recorded).collect()
}

fn spans_companies(commits: &[&Commit]) -> bool {
    commits.windows(2).any(|pair| pair[0].company != pair[1].company)
}

impl Lane {
    pub fn new(
        track: Track,
        database: &Database,
        inline: Box<dyn InlineProjections>,
        queue: Arc<Queue>,
        heads: Arc<LeftHeads>,
    ) -> Self {
        Self {
            track,
            options: database.options().clone().options([(LOCK_TIMEOUT, PATIENCE.0)]),
            connection: None,
            used: Instant::now(),
            inline,
            queue,
            told: database.told(),
            trouble: Arc::clone(database.trouble()),
            recorded_time: database.recorded_time(),
            one_company: database.is_sharded(),
            heads,
            moved: Vec::new(),
            is_ending: false,
            hold: Hold::None,
        }
    }

    /// Appends what comes, until the queue is closed and empty.
    pub async fn run(mut self) {
        let _watch = Watch(Arc::clone(&self.queue));
        let mut answered = 0;
        let mut answering = tokio::spawn(async {});
        while let Some(batch) = self.take(answered).await {
            let companies: BTreeSet<CompanyId> =
                batch.iter().map(|waiting| waiting.commit.company).collect();
            let commits: Vec<&Commit> = batch.iter().map(|waiting| &waiting.commit).collect();
            let answers = self.append(&commits).await;
            match std::mem::take(&mut self.hold) {
                Hold::None => self.queue.release(companies),
                Hold::Left => {
                    self.queue.put_back(batch);
                    continue;
                }
                Hold::Fatal => self.queue.release_held(companies),
            }
            answered = batch.len();
            // The next batch goes out meanwhile.
            let answer_all = async move {
                for (Waiting { answer, .. }, outcome) in batch.into_iter().zip(answers) {
                    // A caller that went away no longer wants the answer; the commit stands all the same.
                    let _ = answer.send(outcome);
                }
            };
            let _ = std::mem::replace(&mut answering, tokio::spawn(answer_all)).await;
        }
        let _ = answering.await;
    }

    async fn take(&mut self, answered: usize) -> Option<Vec<Waiting>> {
        match self.track {
            Track::Main => self.queue.take(MAX_BATCH, self.one_company, answered).await,
            Track::Held => {
                // Such trouble is rare, and connections are few.
                self.connection = None;
                loop {
                    let batch = self.queue.take_held(MAX_BATCH).await?;
                    let company = batch.first().map(|waiting| waiting.commit.company);
                    let (late, batch): (Vec<_>, Vec<_>) =
                        batch.into_iter().partition(|one| one.since.elapsed() >= RETRY_FOR);
                    for Waiting { answer, .. } in late {
                        let held = "somebody else holds on to the ledger's head".to_owned();
                        let _ = answer.send(Err(StoreError::Unavailable(held).into()));
                    }
                    if !batch.is_empty() {
                        return Some(batch);
                    }
                    self.queue.release_held(company);
                }
            }
        }
    }

    /// How long the batch at hand may wait for its heads.
    fn patience(&self) -> Patience {
        if self.track == Track::Main || self.queue.has_held() { PATIENCE } else { PATIENCE_HELD }
    }

    async fn append(&mut self, commits: &[&Commit]) -> Vec<Answer> {
        let deadline = Instant::now() + RETRY_FOR;
        match self.append_together(commits, deadline).await {
            Ok(answers) => answers,
            // The database itself is in trouble: nobody's commit would fare better alone.
            Err(error) if error.is_general() || commits.len() == 1 => {
                commits.iter().map(|_| Err(error.clone().into())).collect()
            }
            // One commit can't be appended; alone, it fails alone.
            Err(_) => {
                let answers = self.append_each(commits, deadline).await;
                self.hold = Hold::None;
                answers
            }
        }
    }

    /// Appends each commit by itself, until the database itself is in trouble, or its company's head is
    /// held.
    async fn append_each(&mut self, commits: &[&Commit], deadline: Instant) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(commits.len());
        let (mut over, mut held) = (None, HashMap::new());
        for commit in commits {
            if let Some(error) = over.as_ref().or_else(|| held.get(&commit.company)) {
                answers.push(Err(StoreError::of_untried(error).into()));
                continue;
            }
            match self.append_together(&[commit], deadline).await {
                Ok(mut alone) => {
                    answers.push(alone.pop().unwrap_or(Err(StoreError::Closed.into())));
                }
                Err(error) => {
                    if self.hold != Hold::None {
                        held.insert(commit.company, error.clone());
                    } else if error.is_general() {
                        over = Some(error.clone());
                    }
                    answers.push(Err(error.into()));
                }
            }
        }
        answers
    }

    /// Appends in one transaction, again for a while when the database was lost on the way. A
    /// commit that had happened all the same recognises itself.
    async fn append_together(
        &mut self,
        commits: &[&Commit],
        deadline: Instant,
    ) -> Result<Vec<Answer>, StoreError> {
        let (mut doubtful, mut in_doubt) = (false, false);
        let mut pause = FIRST_PAUSE;
        loop {
            self.hold = Hold::None;
            let error = match self.attempt(commits, doubtful).await {
                Ok(answers) => {
                    self.trouble.note(false);
                    return Ok(answers);
                }
                Err(Setback::Taken) if doubtful => {
                    return Err(StoreError::Rejected("an event's place is taken".to_owned()));
                }
                Err(Setback::Taken) => {
                    doubtful = true;
                    continue;
                }
                // What may have happened already is not begun anew.
                Err(Setback::Held(error)) if !doubtful => {
                    self.hold = Hold::Left;
                    return Err(error);
                }
                Err(Setback::Held(error)) => {
                    if !spans_companies(commits) {
                        self.hold = Hold::Fatal;
                    }
                    error
                }
                Err(Setback::Failed(error)) => error,
            };
            let may_pass = is_trouble(&error);
            // What one attempt leaves open, a later one settles only by coming to its end.
            in_doubt |= matches!(error, StoreError::InDoubt(_));
            if !may_pass || Instant::now() + pause >= deadline {
                // A head that somebody holds on to is the trouble of its company alone.
                self.trouble.note(may_pass && self.hold == Hold::None);
                return Err(if in_doubt { error.after_change() } else { error });
            }
            tracing::warn!(%error, "appending again");
            doubtful = true;
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// The connection of the last time, or a new one.
    async fn connection(&mut self) -> Result<PgConnection, StoreError> {
        if let Some(mut connection) = self.connection.take()
            && (self.used.elapsed() < RESTED || ping(&mut connection).await.is_ok())
        {
            return Ok(connection);
        }
        connect(&self.options).await.map_err(connecting_failed)
    }

    /// What a transaction that was not carried to its end leaves to say.
    fn cut_short(&self, error: StoreError) -> Setback {
        if self.is_ending { error.after_change().into() } else { error.into() }
    }

    async fn attempt(
        &mut self,
        commits: &[&Commit],
        doubtful: bool,
    ) -> Result<Vec<Answer>, Setback> {
        let begun = self.told.begun();
        let mut connection = self.connection().await?;
        self.is_ending = false;
        self.moved.clear();
        // What is left of a transaction that panicked is undone like any other that failed.
        let work = AssertUnwindSafe(self.transact(&mut connection, commits, doubtful));
        let outcome = match tokio::time::timeout(TRANSACTION_TIMEOUT, work.catch_unwind()).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(self.cut_short(StoreError::panicked())),
            Err(_) => Err(self.cut_short(silent())),
        };
        let usable = match &outcome {
            Ok(_) => true,
            // Whatever state the connection is in, it is not worth finding out.
            Err(
                Setback::Held(_)
                | Setback::Failed(StoreError::Unavailable(_) | StoreError::InDoubt(_)),
            ) => false,
            Err(_) => in_time(append::roll_back(&mut connection)).await.is_ok(),
        };
        if usable {
            self.connection = Some(connection);
            self.used = Instant::now();
        }
        let Ok(mut answers) = outcome else {
            self.inline.rolled_back();
            self.heads.lose(commits);
            return outcome;
        };
        self.inline.committed();
        self.told.committed(&self.moved, begun);
        if doubtful {
            // What had happened before, the heads tell.
            self.told.hurried.notify_one();
        }
        if doubtful && !self.inline.recovered(&reached(commits, &answers)).await {
            let text = "this process has not taken it over yet";
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(StoreError::InDoubt(text.to_owned()).into());
            }
        }
        Ok(answers)
    }

    /// Appends new tokens where the head was left; `None` when they have to be placed under its
    /// lock, and nothing has happened.
    async fn at_once(
        &mut self,
        connection: &mut PgConnection,
        commits: &[&Commit],
    ) -> Result<Option<Vec<Answer>>, Setback> {
        let Some(plan) = AtOnce::place(&self.heads, commits, self.recorded_time) else {
            return Ok(None);
        };
        let (events, head) = plan.appended();
        if let Some(rows) = self.inline.insert(events, head)? {
            self.is_ending = true;
            if at_once::append(connection, &plan, rows).await? {
                let (head, answers) = plan.done();
                self.moved.push((head.company, head.point()));
                self.heads.leave(head);
                return Ok(Some(answers));
            }
            self.is_ending = false;
        }
        self.inline.rolled_back();
        self.heads.lose(commits);
        Ok(None)
    }

    /// Appends every commit whose conditions hold, projections included, and tells the others why
    /// not.
    fn transact<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        commits: &'a [&'a Commit],
        doubtful: bool,
    ) -> BoxFuture<'a, Result<Vec<Answer>, Setback>> {
        Box::pin(async move {
            // Where companies live on several servers, rows can't be inserted that way. Nor can a
            // statement be told how long to wait.
            if !doubtful
                && !self.one_company
                && self.track == Track::Main
                && let Some(answers) = self.at_once(connection, commits).await?
            {
                return Ok(answers);
            }
            let companies = commits.iter().map(|commit| commit.company).collect();
            let (heads, now) = append::begin(connection, &companies, self.patience()).await?;
            let before: Vec<Head> = heads.values().copied().collect();
            let mut known = Known {
                heads,
                now: (self.recorded_time == RecordedTime::Database).then_some(now),
                ..Known::default()
            };
            append::look_up(connection, commits, doubtful, &mut known).await?;
            let mut placed = Placed::default();
            let answers: Vec<Answer> =
                commits.iter().map(|commit| known.place(commit, &mut placed)).collect();
            if placed.is_empty() {
                append::roll_back(connection).await?;
                return Ok(answers);
            }
            append::write(connection, &placed).await?;
            self.inline.project(connection, &placed.appended, &before).await?;
            self.is_ending = true;
            append::commit(connection, &known, &placed).await?;
            for before in before {
                let Some(after) = known.heads.remove(&before.company) else { continue };
                if placed.moved.contains(&after.company) {
                    self.moved.push((after.company, after.point()));
                }
                self.heads.leave(after);
            }
            Ok(answers)
        })
    }
}
