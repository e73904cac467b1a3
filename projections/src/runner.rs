//! Running projections behind the log, each with a checkpoint per company.

mod line;

use self::line::{Cause, Line, Waiting};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::{Store, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

/// Events that are taken into the rows in one transaction: few enough that a command that comes
/// meanwhile waits no longer than for another command's.
pub const BATCH: usize = 250;
/// Batches of one company in a row: the others, for whom there is room once it has had its turn, wait no
/// longer for a company with much to take in.
pub const TURN: usize = 8;
/// How long after a failed run it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long after another process was found at a company's projection it is looked after again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long after the last run the heads are looked at where nobody has told of an append, since what
/// is told of may be lost; and how often the stored checkpoints are, since whoever rebuilds the rows
/// beside this process may have put them back.
const LOOK_UNTOLD: Duration = Duration::from_secs(5);
/// How long events are gathered when nobody waits for them: a transaction for each commit would
/// cost the writers more than the commits themselves.
const GATHER: Duration = Duration::from_millis(100);
/// How long the last run may take once the end has come; the next start goes on from there.
const LAST_RUN: Duration = Duration::from_secs(5);

/// What keeps the rows and the checkpoint of one projection, in some database.
#[async_trait::async_trait]
pub trait Behind: Debug + Send + Sync {
    /// The projection's name.
    fn name(&self) -> &'static str;

    /// Companies that are best brought up side by side; as many again where they are waited for.
    fn at_once(&self) -> usize;

    /// The last position that is in the rows.
    ///
    /// # Errors
    /// When the database fails.
    async fn checkpoint(&self, company: CompanyId) -> Result<u64, StoreError>;

    /// The last positions that are in the rows, by company, as far as they are there and can be read.
    ///
    /// # Errors
    /// When the database fails.
    async fn checkpoints(&self) -> Result<BTreeMap<CompanyId, u64>, StoreError>;

    /// When the oldest event was recorded that is not in the rows yet, of whichever company.
    ///
    /// # Errors
    /// When the database fails.
    async fn behind_since(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Takes the next events into the rows and moves the checkpoint with them; answers the new
    /// checkpoint, or `None` while another process is at it.
    ///
    /// # Errors
    /// When the database fails or an event can't be projected; nothing has moved then.
    async fn advance(&self, company: CompanyId) -> Result<Option<u64>, StoreError>;
}

/// How a projection that runs behind is doing.
#[derive(Debug, Default)]
pub struct Progress {
    positions: RwLock<BTreeMap<CompanyId, u64>>,
    stopped: RwLock<BTreeMap<CompanyId, String>>,
}

/// A projection that runs behind, for whoever waits for it.
#[derive(Clone, Debug)]
pub struct RunnerHandle {
    projection: Arc<dyn Behind>,
    progress: Arc<Progress>,
    moved: watch::Receiver<u64>,
    waiting: Arc<Waiting>,
}

impl RunnerHandle {
    /// The projection's name.
    pub fn name(&self) -> &'static str {
        self.projection.name()
    }

    /// When the oldest event was recorded that the projection has not taken in, of whichever company.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn behind_since(&self) -> Result<Option<Timestamp>, StoreError> {
        self.projection.behind_since().await
    }

    /// The last position of the company that is in the rows, as far as this process knows.
    pub fn position(&self, company: CompanyId) -> u64 {
        self.progress.positions.read().get(&company).copied().unwrap_or(0)
    }

    /// The companies whose projection stands still, and why.
    pub fn stopped(&self) -> BTreeMap<CompanyId, String> {
        self.progress.stopped.read().clone()
    }

    /// Whether the company's projection stands still.
    pub fn is_stopped(&self, company: CompanyId) -> bool {
        self.progress.stopped.read().contains_key(&company)
    }

    /// Waits until the rows hold everything up to the position. `false` when that takes longer
    /// than the bound. The company is brought up before those that nobody waits for.
    pub async fn reached(&self, company: CompanyId, position: u64, bound: Duration) -> bool {
        let mut moved = self.moved.clone();
        let arrival = async {
            if self.position(company) >= position {
                return true;
            }
            let _ticket = self.waiting.join(company, position);
            while self.position(company) < position {
                if moved.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(bound, arrival).await.unwrap_or(false)
    }
}

/// Runs a projection behind the log until `stop` turns true.
///
/// Returns at once; the work is done in a task of its own, which takes in what was appended by
/// then, as far as it can within a bound, and ends.
pub fn spawn(
    projection: Arc<dyn Behind>,
    store: Arc<dyn Store>,
    mut stop: watch::Receiver<bool>,
) -> (RunnerHandle, tokio::task::JoinHandle<()>) {
    let progress = Arc::new(Progress::default());
    let (moved, receiver) = watch::channel(0);
    let waiting = Arc::new(Waiting::default());
    let handle = RunnerHandle {
        projection: Arc::clone(&projection),
        progress: Arc::clone(&progress),
        moved: receiver,
        waiting: Arc::clone(&waiting),
    };
    let beyond = BTreeMap::new();
    let mut runner = Runner { projection, store, progress, moved, waiting, looked: None, beyond };
    let task = tokio::spawn(async move {
        let name = runner.projection.name();
        let mut appended = runner.store.watch();
        while !*stop.borrow() {
            appended.mark_unchanged();
            let ended = match runner.run().await {
                Ok(Ended::Unfinished) => continue,
                Ok(ended) => ended,
                Err(error) => {
                    tracing::error!(projection = name, %error, "can't read how far it has to go");
                    Ended::Behind
                }
            };
            let retry = tokio::time::sleep(ended.pause());
            tokio::select! {
                _ = appended.changed() => {
                    tokio::select! {
                        () = tokio::time::sleep(GATHER) => {}
                        () = runner.waiting.arrived.notified() => {}
                        _ = stop.changed() => {}
                    }
                }
                // Somebody waits for what this process has not heard of.
                () = runner.waiting.arrived.notified() => {}
                _ = stop.changed() => {}
                () = retry => {}
            }
        }
        // What was gathered when the end came.
        let to_the_heads = async {
            while runner.run().await? == Ended::Unfinished {}
            Ok::<(), StoreError>(())
        };
        match tokio::time::timeout(LAST_RUN, to_the_heads).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(projection = name, %error, "can't read how far it has to go");
            }
            Err(_) => tracing::warn!(
                projection = name,
                "there was too much to take in before the end; the next start goes on with it"
            ),
        }
    });
    (handle, task)
}

/// How a run ended; the sooner the next one is due, the further down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    /// Every company is at the head that it had.
    AtHeads,
    /// Some company's projection stands still, or the database failed.
    Behind,
    /// Another process was at some company.
    Elsewhere,
    /// Some company has had its turn and is not at its head yet.
    Unfinished,
}

impl Ended {
    /// How long after it the next run begins where nothing is appended.
    const fn pause(self) -> Duration {
        match self {
            Self::AtHeads => LOOK_UNTOLD,
            Self::Behind => RETRY,
            Self::Elsewhere => LOOK_AGAIN,
            Self::Unfinished => Duration::ZERO,
        }
    }
}

/// What brings a projection up to the log.
struct Runner {
    projection: Arc<dyn Behind>,
    store: Arc<dyn Store>,
    progress: Arc<Progress>,
    moved: watch::Sender<u64>,
    waiting: Arc<Waiting>,
    /// When the stored checkpoints were last looked at.
    looked: Option<Instant>,
    /// What checkpoints claim that were beyond the ends of their ledgers.
    beyond: BTreeMap<CompanyId, u64>,
}

impl Runner {
    /// Brings every company up to its head, each as far as a turn goes.
    async fn run(&mut self) -> Result<Ended, StoreError> {
        if self.looked.is_none_or(|at| at.elapsed() >= LOOK_UNTOLD) {
            let stored = self.projection.checkpoints().await?;
            self.beyond.retain(|company, claimed| stored.get(company) == Some(claimed));
            *self.progress.positions.write() = stored;
            self.tell();
            self.looked = Some(Instant::now());
        }
        let mut ended = Ended::AtHeads;
        let mut due = Vec::new();
        for head in self.store.heads().await? {
            let company = head.company;
            let known = self.progress.positions.read().get(&company).copied();
            if let Some(claimed) = known.filter(|position| *position > head.position) {
                self.beyond.insert(company, claimed);
            }
            // What its ledger comes to by and by is not in the rows either.
            if let Some(claimed) = self.beyond.get(&company) {
                let reason = format!(
                    "its checkpoint claims {claimed}, which was beyond the ledger's end; \
                     `token-ledger replay --projection {}` puts it right",
                    self.projection.name()
                );
                ended = ended.max(self.stop(company, *claimed, &reason));
                continue;
            }
            if known.is_some_and(|position| position >= head.position) {
                // Another process may have done what this one could not.
                self.progress.stopped.write().remove(&company);
                continue;
            }
            due.push((company, head.position));
        }
        Ok(ended.max(self.bring_all_up(due).await?))
    }

    /// Brings these companies up side by side, and before them those that are waited for, also where
    /// somebody comes to wait meanwhile. An error only where no other company would fare better.
    async fn bring_all_up(&self, due: Vec<(CompanyId, u64)>) -> Result<Ended, StoreError> {
        let mut line = Line::new(due, self.projection.at_once());
        line.hear(&self.waiting);
        let mut under_way = FuturesUnordered::new();
        let mut outcome = Ok(Ended::AtHeads);
        loop {
            while let Some((company, cause)) = line.next() {
                under_way.push(async move { (company, self.take_turn(company, cause).await) });
            }
            tokio::select! {
                done = under_way.next() => {
                    let Some((company, ended)) = done else { return outcome };
                    line.done(company);
                    if ended.is_err() {
                        line.close();
                    }
                    outcome = outcome.and_then(|before| Ok(before.max(ended?)));
                }
                // With nothing due, the heads are to be looked at before anybody else's turn.
                () = self.waiting.arrived.notified(), if outcome.is_ok() && line.has_due() => {
                    line.hear(&self.waiting);
                }
            }
        }
    }

    /// Brings a company up to where it is to come.
    async fn take_turn(&self, company: CompanyId, cause: Cause) -> Result<Ended, StoreError> {
        let known = self.progress.positions.read().get(&company).copied();
        let (Cause::Due(position) | Cause::Wanted(position)) = cause;
        if known.is_some_and(|known| known >= position) {
            return Ok(Ended::AtHeads);
        }
        let head = match cause {
            Cause::Due(head) => head,
            Cause::Wanted(_) if self.beyond.contains_key(&company) => return Ok(Ended::Behind),
            // It may wait for what is yet to come.
            Cause::Wanted(_) => match self.store.head(company).await? {
                Some(head) => head.position,
                None => return Ok(Ended::AtHeads),
            },
        };
        self.bring_up(company, known, head).await
    }

    /// Brings one company up to its head, or as far as a turn goes. An error only where no other
    /// company would fare better.
    async fn bring_up(
        &self,
        company: CompanyId,
        known: Option<u64>,
        head: u64,
    ) -> Result<Ended, StoreError> {
        let mut position = match known {
            Some(position) => position,
            None => match self.stored(company, 0).await? {
                Some(position) => position,
                None => return Ok(Ended::Behind),
            },
        };
        self.note(company, position);
        for _ in 0..TURN {
            if position >= head {
                return Ok(Ended::AtHeads);
            }
            position = match self.projection.advance(company).await {
                // It may have been begun anew meanwhile, and be further back.
                Ok(Some(next)) if next != position => next,
                Ok(Some(_)) => {
                    let reason = format!("the ledger's head is {head}, but no event follows");
                    return Ok(self.stop(company, position, &reason));
                }
                Ok(None) => {
                    // What it has done so far counts here too, also where it has begun anew.
                    let Some(stored) = self.stored(company, position).await? else {
                        return Ok(Ended::Behind);
                    };
                    self.note(company, stored);
                    return Ok(Ended::Elsewhere);
                }
                Err(error) => return Ok(self.fail(company, position, &error)),
            };
            self.progress.stopped.write().remove(&company);
            self.note(company, position);
        }
        Ok(if position < head { Ended::Unfinished } else { Ended::AtHeads })
    }

    /// How far the rows of a company have come. Where that can't be read, its projection stands
    /// still.
    async fn stored(&self, company: CompanyId, before: u64) -> Result<Option<u64>, StoreError> {
        match self.projection.checkpoint(company).await {
            Ok(position) => Ok(Some(position)),
            Err(error) if error.is_general() => Err(error),
            Err(error) => {
                self.fail(company, before, &error);
                Ok(None)
            }
        }
    }

    /// Says, once, that the projection of a company stands still.
    fn stop(&self, company: CompanyId, position: u64, reason: &str) -> Ended {
        if self.note_stop(company, reason) {
            tracing::error!(
                projection = self.projection.name(),
                %company,
                after_position = position,
                reason,
                "the projection of this company stands still"
            );
        }
        Ended::Behind
    }

    /// Says, once, that a company could not be brought up further: what ails the database passes, the
    /// rest stays.
    fn fail(&self, company: CompanyId, position: u64, error: &StoreError) -> Ended {
        if !error.is_general() {
            return self.stop(company, position, &error.to_string());
        }
        if self.note_stop(company, &error.to_string()) {
            let projection = self.projection.name();
            tracing::warn!(projection, %company, %error, "the projection of this company waits");
        }
        Ended::Behind
    }

    /// Notes why a company's projection doesn't go on; answers whether that is new.
    fn note_stop(&self, company: CompanyId, reason: &str) -> bool {
        let before = self.progress.stopped.write().insert(company, reason.to_owned());
        before.as_deref() != Some(reason)
    }

    fn note(&self, company: CompanyId, position: u64) {
        self.progress.positions.write().insert(company, position);
        self.tell();
    }

    /// Lets those who wait look again.
    fn tell(&self) {
        self.moved.send_modify(|count| *count = count.wrapping_add(1));
    }
}
