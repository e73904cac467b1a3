//! Running projections behind the log, each with a checkpoint per company.

use crate::projection::Projection;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::{Store, StoreError};
use tokio::sync::{Notify, watch};

/// Events that are taken into the rows in one transaction: few enough that a command that comes
/// meanwhile waits no longer than for another command's.
pub const BATCH: usize = 250;
/// How long after a failed run it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long after another process was found at a company's projection it is looked after again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long after the last run the heads are looked at where nobody has told of an append: what is
/// told of may be lost.
const LOOK_UNTOLD: Duration = Duration::from_secs(5);
/// How long events are gathered when nobody waits for them: a transaction for each commit would
/// cost the writers more than the commits themselves.
const GATHER: Duration = Duration::from_millis(100);
/// How long the last run may take once the end has come; the next start goes on from there.
const LAST_RUN: Duration = Duration::from_secs(5);

/// What keeps the rows and the checkpoint of one projection, in some database.
#[async_trait::async_trait]
pub trait Behind: Send + Sync {
    /// The projection's name.
    fn name(&self) -> &'static str;

    /// The last position that is in the rows.
    ///
    /// # Errors
    /// When the database fails.
    async fn checkpoint(&self, company: CompanyId) -> Result<u64, StoreError>;

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
    name: &'static str,
    progress: Arc<Progress>,
    moved: watch::Receiver<u64>,
    wanted: Arc<Notify>,
}

impl RunnerHandle {
    /// The projection's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The last position of the company that is in the rows, as far as this process knows.
    pub fn position(&self, company: CompanyId) -> u64 {
        self.progress.positions.read().get(&company).copied().unwrap_or(0)
    }

    /// The companies whose projection stands still, and why.
    pub fn stopped(&self) -> BTreeMap<CompanyId, String> {
        self.progress.stopped.read().clone()
    }

    /// Waits until the rows hold everything up to the position. `false` when that takes longer
    /// than the bound.
    pub async fn reached(&self, company: CompanyId, position: u64, bound: Duration) -> bool {
        let mut moved = self.moved.clone();
        let arrival = async {
            while self.position(company) < position {
                self.wanted.notify_one();
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
    let wanted = Arc::new(Notify::new());
    let handle = RunnerHandle {
        name: projection.name(),
        progress: Arc::clone(&progress),
        moved: receiver,
        wanted: Arc::clone(&wanted),
    };
    let task = tokio::spawn(async move {
        let mut appended = store.watch();
        while !*stop.borrow() {
            appended.mark_unchanged();
            let ended = match run_once(&*projection, &*store, &progress, &moved).await {
                Ok(ended) => ended,
                Err(error) => {
                    tracing::error!(projection = projection.name(), %error, "can't read the heads");
                    Ended::Behind
                }
            };
            let retry = tokio::time::sleep(ended.pause());
            tokio::select! {
                _ = appended.changed() => {
                    tokio::select! {
                        () = tokio::time::sleep(GATHER) => {}
                        () = wanted.notified() => {}
                        _ = stop.changed() => {}
                    }
                }
                // Somebody waits for what this process has not heard of.
                () = wanted.notified() => {}
                _ = stop.changed() => {}
                () = retry => {}
            }
        }
        // What was gathered when the end came.
        let last = run_once(&*projection, &*store, &progress, &moved);
        match tokio::time::timeout(LAST_RUN, last).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::error!(projection = projection.name(), %error, "can't read the heads");
            }
            Err(_) => tracing::warn!(
                projection = projection.name(),
                "there was too much to take in before the end; the next start goes on with it"
            ),
        }
    });
    (handle, task)
}

/// How a run ended, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    /// Every company is at the head that it had.
    AtHeads,
    /// Another process was at some company.
    Elsewhere,
    /// Some company's projection stands still, or the database failed.
    Behind,
}

impl Ended {
    /// How long after it the next run begins where nothing is appended.
    const fn pause(self) -> Duration {
        match self {
            Self::AtHeads => LOOK_UNTOLD,
            Self::Elsewhere => LOOK_AGAIN,
            Self::Behind => RETRY,
        }
    }
}

/// Brings every company up to its head.
async fn run_once(
    projection: &dyn Behind,
    store: &dyn Store,
    progress: &Progress,
    moved: &watch::Sender<u64>,
) -> Result<Ended, StoreError> {
    let mut ended = Ended::AtHeads;
    for head in store.heads().await? {
        let company = head.company;
        let known = progress.positions.read().get(&company).copied();
        if known.is_some_and(|position| position >= head.position) {
            // Another process may have done what this one could not.
            progress.stopped.write().remove(&company);
            continue;
        }
        let mut position = match known {
            Some(position) => position,
            None => projection.checkpoint(company).await?,
        };
        while position < head.position {
            let next = match projection.advance(company).await {
                // It may have been begun anew meanwhile, and be further back.
                Ok(Some(next)) if next != position => Ok(next),
                Ok(Some(_)) => {
                    Err(format!("the ledger's head is {}, but no event follows", head.position))
                }
                Ok(None) => {
                    // What it has done so far counts here too.
                    position = position.max(projection.checkpoint(company).await?);
                    ended = ended.max(Ended::Elsewhere);
                    break;
                }
                Err(error) => Err(error.to_string()),
            };
            match next {
                Ok(next) => position = next,
                Err(reason) => {
                    let before = progress.stopped.write().insert(company, reason.clone());
                    if before.as_ref() != Some(&reason) {
                        tracing::error!(
                            projection = projection.name(),
                            %company,
                            after_position = position,
                            reason,
                            "the projection of this company stands still"
                        );
                    }
                    ended = Ended::Behind;
                    break;
                }
            }
            progress.stopped.write().remove(&company);
            note(progress, moved, company, position);
        }
        note(progress, moved, company, position);
    }
    Ok(ended)
}

fn note(progress: &Progress, moved: &watch::Sender<u64>, company: CompanyId, position: u64) {
    progress.positions.write().insert(company, position);
    moved.send_modify(|count| *count = count.wrapping_add(1));
}

/// The projections that run behind, by name and version.
pub const PROJECTIONS_BEHIND: [(&str, u32); 1] =
    [(crate::AuditTrail::NAME, crate::AuditTrail::VERSION)];
