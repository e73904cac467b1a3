//! Signing checkpoints: a bounded delay after the last event, and when the service stops.
//!
//! For each company with new entries: the tree must extend the last checkpoint, the stored one and
//! the one kept outside the database; then the new one is signed, kept outside, and stored, in this
//! order. What was published is therefore known outside the database, whatever happens to it. The
//! store takes one checkpoint for a size, and none that is smaller than the last: of several
//! processes that sign, one wins, and the others find its checkpoint. A log that was signed and that
//! nothing is kept of outside is not gone on with (`Rounds::without`).

mod rounds;

use self::rounds::{Log, Rounds, Unkept, Without};
use super::App;
use super::evidence::statement;
use super::outside::OutsideError;
use crate::evidence::keys::LogKey;
use crate::evidence::note::{Statement, VerifierKey};
use crate::evidence::proof::{self, TileSet};
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::{Head, StoreError};
use token_ledger_projections::tree::{Edge, SignedCheckpoint, TREE_NAME};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The part of the delay that is left for bringing the tree up to date and signing.
const MARGIN: u32 = 4;
/// How long the tree may take to take in the last events; what it has not is signed by a later round.
const CATCH_UP: Duration = Duration::from_secs(1);
/// The same when the service stops, and no later round comes, for what has just happened.
const LAST_CATCH_UP: Duration = Duration::from_secs(10);
/// How long, when the service stops, companies are looked after that nothing has happened to.
const LAST_LOOK: Duration = Duration::from_secs(3);
/// Companies that are signed for at once.
const AT_ONCE: usize = 8;
/// How long after a failed round the next one begins.
const RETRY: Duration = Duration::from_secs(1);

/// Why nothing is signed for a company.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsigned {
    /// The tree is not one that may be signed.
    #[error("{0}")]
    Refused(String),
    /// Something failed; the next round tries again.
    #[error(transparent)]
    Failed(#[from] StoreError),
    /// What is kept outside the database can't be used; the next round tries again.
    #[error(transparent)]
    Outside(#[from] OutsideError),
    /// Another process may go on with the log; the next round looks again.
    #[error("another process may go on with the log")]
    Waiting,
}

/// Starts signing; it ends when `stop` turns true and everything appended by then is signed.
pub fn start(app: &Arc<App>, stop: &watch::Receiver<bool>) -> JoinHandle<()> {
    let (app, mut stop) = (Arc::clone(app), stop.clone());
    tokio::spawn(async move {
        match app.take_seed(stop.clone()).await {
            Ok(()) => run(&app, stop).await,
            Err(error) => {
                *app.evidence.disabled.write() = Some(error.to_string());
                tracing::error!(%error, "checkpoints can't be signed");
                let _ = stop.wait_for(|stop| *stop).await;
            }
        }
    })
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Everything is signed.
    Whole,
    /// Something is not, and is tried again.
    Failed,
    /// Something else is more urgent.
    Early,
}

async fn run(app: &App, mut stop: watch::Receiver<bool>) {
    let delay = app.evidence.choices.delay;
    let gather = delay.saturating_sub(delay / MARGIN);
    let mut appended = app.store().watch();
    let rounds = Mutex::new(Rounds::default());
    let mut missed = false;
    while !*stop.borrow() {
        appended.mark_unchanged();
        missed = missed || app.miss_companies().await;
        let began = Instant::now();
        let is_urgent = || {
            *stop.borrow() || (appended.has_changed().unwrap_or(true) && began.elapsed() >= gather)
        };
        let ended = app.sign_due(&rounds, CATCH_UP, is_urgent).await;
        if ended == Ended::Early {
            continue;
        }
        let retry = async {
            if ended == Ended::Whole && missed {
                std::future::pending::<()>().await;
            } else {
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::select! {
            _ = appended.changed() => {
                tokio::select! {
                    () = tokio::time::sleep(gather) => {}
                    _ = stop.changed() => {}
                }
            }
            () = retry => {}
            _ = stop.changed() => {}
        }
    }
    let began = Instant::now();
    app.sign_due(&rounds, LAST_CATCH_UP, || began.elapsed() >= LAST_LOOK).await;
}

impl App {
    /// Takes the seed that was chosen, or reads that of the folder, or makes it at the first start.
    /// It must be the one that the logs of this name are signed with: the key of the platform's log
    /// tells.
    async fn take_seed(&self, mut stop: watch::Receiver<bool>) -> Result<(), Unsigned> {
        let seed = if let Some(chosen) = &self.evidence.choices.seed {
            chosen.clone()
        } else {
            let outside = self.evidence.outside.clone();
            let entropy = Arc::clone(self.ledger.entropy());
            blocking(move || outside.seed_or_new(entropy.as_ref())).await?
        };
        let platform = CompanyId::PLATFORM;
        let key = LogKey::derive(&seed, self.evidence.origin(platform));
        let own = key.verifier_key();
        let named = loop {
            match self.evidence.trees.name_key(platform, key.origin(), &own).await {
                Ok(named) => break named,
                Err(error) => tracing::warn!(%error, "can't ask which key the logs have"),
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                _ = stop.wait_for(|stop| *stop) => return Err(StoreError::Closed.into()),
            }
        };
        if named != own {
            return Err(Unsigned::Refused(format!(
                "the logs of this name are signed with keys of another seed: put the seed back, in \
                 {} or TOKEN_LEDGER_LOG_SEED (all processes on one database have the same), or, if \
                 it is lost, declare a new origin with --log-name",
                self.evidence.outside.folder().display()
            )));
        }
        let _ = self.evidence.seed.set(seed);
        Ok(())
    }

    /// Notes the companies that were signed for and have no ledger any more; answers whether they are
    /// known.
    async fn miss_companies(&self) -> bool {
        let (outside, name) = (self.evidence.outside.clone(), self.evidence.choices.name.clone());
        // Read before the heads: who is signed for has a ledger by then.
        let read = async {
            let signed = blocking(move || outside.companies(&name)).await?;
            Ok::<_, Unsigned>((signed, self.store().heads().await?))
        };
        let (signed, heads) = match read.await {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "can't read which companies were signed for");
                return false;
            }
        };
        let known: HashSet<CompanyId> = heads.into_iter().map(|head| head.company).collect();
        for company in signed.into_iter().filter(|company| !known.contains(company)) {
            let reason = "there is no such ledger, but a checkpoint of it is kept in the evidence \
                folder: the database was put back to an earlier state, or changed. `token-ledger \
                verify` says more. If the database was put back on purpose, declare a new origin: \
                start the service with another --log-name, and tell the auditors";
            self.evidence.refused.write().insert(company, reason.to_owned());
            tracing::error!(%company, reason, "no checkpoint is signed");
        }
        true
    }

    /// The logs that have been signed and of which nothing is kept outside the database.
    async fn unkept(&self) -> Result<HashMap<CompanyId, Unkept>, Unsigned> {
        let (outside, name) = (self.evidence.outside.clone(), self.evidence.choices.name.clone());
        let kept = blocking(move || outside.companies(&name)).await?;
        let mut unkept = HashMap::new();
        for head in self.store().heads().await? {
            let company = head.company;
            if kept.binary_search(&company).is_err() {
                let size = self.signed_size(company).await?;
                unkept.insert(company, Unkept { size, waiting: None });
            }
        }
        unkept.retain(|_, log| log.size > 0);
        Ok(unkept)
    }

    /// The size up to which the database says that a company's log was signed.
    async fn signed_size(&self, company: CompanyId) -> Result<u64, StoreError> {
        let origin = self.evidence.origin(company);
        let heads = self.evidence.trees.log_heads(company).await?;
        Ok(heads.iter().find(|head| head.origin == origin).map_or(0, |head| head.size))
    }

    /// Signs for every company that has new entries. Those whose ledgers have gone on since this process
    /// started come first; the others, as many as there are, are looked after until something is
    /// urgent.
    async fn sign_due(
        &self,
        rounds: &Mutex<Rounds>,
        catch_up: Duration,
        is_urgent: impl Fn() -> bool,
    ) -> Ended {
        if rounds.lock().unkept.is_none() && !self.is_only_writer() {
            match self.unkept().await {
                Ok(unkept) => rounds.lock().unkept = Some(unkept),
                Err(error) => {
                    tracing::error!(%error, "can't read which logs were signed");
                    return Ended::Failed;
                }
            }
        }
        let heads = match self.store().heads().await {
            Ok(heads) => heads,
            Err(error) => {
                tracing::error!(%error, "can't read the heads");
                return Ended::Failed;
            }
        };
        let (moved, rest) = rounds.lock().due(heads);
        let mut is_whole = self.sign_all(moved, rounds, catch_up).await;
        let mut rest = rest.into_iter();
        while rest.len() > 0 {
            if is_urgent() {
                return Ended::Early;
            }
            is_whole &= self.sign_all(rest.by_ref().take(AT_ONCE), rounds, CATCH_UP).await;
        }
        if is_whole { Ended::Whole } else { Ended::Failed }
    }

    /// Signs for these companies, several at once; answers whether that worked out for all.
    async fn sign_all(
        &self,
        heads: impl IntoIterator<Item = Head>,
        rounds: &Mutex<Rounds>,
        catch_up: Duration,
    ) -> bool {
        let signing = stream::iter(heads).map(|head| self.sign(head, rounds, catch_up));
        signing.buffer_unordered(AT_ONCE).fold(true, async |all, signed| all & signed).await
    }

    /// Signs for a company; answers whether all is signed up to its head.
    async fn sign(&self, head: Head, rounds: &Mutex<Rounds>, catch_up: Duration) -> bool {
        let company = head.company;
        let is_whole = self.sign_and_say(head, rounds, catch_up).await;
        let short = &mut rounds.lock().short;
        if is_whole {
            short.remove(&company)
        } else {
            short.insert(company)
        };
        is_whole
    }

    /// As [`Self::sign`], and says what is in the way.
    async fn sign_and_say(&self, head: Head, rounds: &Mutex<Rounds>, catch_up: Duration) -> bool {
        let company = head.company;
        match self.sign_company(company, rounds, catch_up).await {
            Ok(size) => {
                rounds.lock().signed.insert(company, size);
                let mut refused = self.evidence.refused.write();
                let reason = refused.remove(&company);
                if reason.is_some_and(|reason| !refused.values().any(|other| *other == reason)) {
                    tracing::info!(%company, "checkpoints are signed again");
                }
                drop(refused);
                self.evidence.signed.send_modify(|count| *count = count.wrapping_add(1));
                size >= head.position
            }
            Err(Unsigned::Waiting) => false,
            Err(error) => {
                let reason = error.to_string();
                let mut refused = self.evidence.refused.write();
                // The database's trouble is every company's, and is said once.
                let is_said = match error {
                    Unsigned::Failed(error) if error.is_general() => {
                        refused.values().any(|said| *said == reason)
                    }
                    _ => refused.get(&company) == Some(&reason),
                };
                if !is_said {
                    tracing::error!(%company, reason, "no checkpoint is signed");
                }
                refused.insert(company, reason);
                false
            }
        }
    }

    /// Signs the company's tree, if it has grown since; answers the size that is signed.
    async fn sign_company(
        &self,
        company: CompanyId,
        rounds: &Mutex<Rounds>,
        catch_up: Duration,
    ) -> Result<u64, Unsigned> {
        let evidence = &self.evidence;
        let Some(key) = evidence.key(company) else {
            return Err(Unsigned::Refused("there is no seed".to_owned()));
        };
        // Read before the ledger: other processes append and sign meanwhile, and what they signed
        // must not look like more than there is.
        let stored = evidence.trees.last_checkpoint(company, key.origin()).await?;
        let outside = self.outside_checkpoint(company, &key).await?;
        let head = self.store().head(company).await?;
        let before =
            [head.map(|head| head.recorded_at), stored.as_ref().map(|last| last.signed_at)];
        let head = head.map_or(0, |head| head.position);
        let tree = self.behind().into_iter().find(|runner| runner.name() == TREE_NAME);
        // One that stands still reaches nothing, however long it is waited for.
        if let Some(tree) = tree.filter(|tree| !tree.is_stopped(company)) {
            tree.reached(company, head, catch_up).await;
        }
        let size = evidence.trees.size(company).await?;
        if size == 0 {
            return Ok(0);
        }
        let verifier_key = key.verifier_key();
        if let Some(stored) = &stored
            && stored.verifier_key != verifier_key
        {
            return Err(another_key(key.origin()));
        }
        let mut tiles = TileSet::new();
        tiles.extend(evidence.trees.tiles(company, &Edge::tiles(size)).await?);
        let root = evidence.compute(company, &mut tiles, |tiles| proof::root(tiles, size)).await?;
        let tree = Statement { origin: key.origin().to_owned(), size, root };
        for (earlier, place) in [
            (outside.clone(), "kept in the evidence folder"),
            (stored.as_ref().map(statement), "stored in the database"),
        ] {
            let Some(earlier) = earlier else { continue };
            if earlier.size > head || !self.extends(company, &mut tiles, &tree, &earlier).await? {
                return Err(Unsigned::Refused(not_extended(&earlier, head, place)));
            }
        }
        if outside.is_some() {
            if let Some(unkept) = &mut rounds.lock().unkept {
                unkept.remove(&company);
            }
        } else {
            let signed = match &stored {
                Some(stored) => stored.size,
                None => self.signed_size(company).await?,
            };
            let log = Log { company, signed, size };
            let without = rounds.lock().without(&log, self.is_only_writer());
            match without {
                Without::Known => {}
                Without::Resting => return Ok(size),
                Without::Waiting => return Err(Unsigned::Waiting),
                Without::Lost => return Err(self.lost(key.origin(), signed)),
            }
        }
        if stored.as_ref().is_some_and(|stored| stored.size >= size) {
            // Another process may have signed it, or this one without living to say so.
            self.keep_outside(company, stored.as_ref(), outside.as_ref()).await?;
            return Ok(size);
        }
        if stored.is_none() {
            // Kept outside alone, it tells that what is stored was taken out.
            let named = evidence.trees.name_key(company, key.origin(), &verifier_key).await?;
            if named != verifier_key {
                return Err(another_key(key.origin()));
            }
        }
        let note = tree.sign(&key).map_err(|error| Unsigned::Refused(error.to_string()))?;
        let checkpoint = SignedCheckpoint {
            company_id: company,
            origin: tree.origin,
            size,
            root: root.0,
            verifier_key,
            note,
            cosignatures: String::new(),
            // Not before its last entry or the last checkpoint, where a clock was ahead that is right now.
            signed_at: before.into_iter().flatten().fold(self.now(), Timestamp::max),
        };
        self.keep_outside(company, Some(&checkpoint), outside.as_ref()).await?;
        // Where another process was faster, its checkpoint is as good.
        evidence.trees.keep_checkpoint(&checkpoint).await?;
        Ok(size)
    }

    /// Why a log is not gone on with of which nothing is kept outside the database.
    fn lost(&self, origin: &str, signed: u64) -> Unsigned {
        let others = if self.is_only_writer() {
            ""
        } else {
            " (on a database that several processes write, a copy of another one's does)"
        };
        Unsigned::Refused(format!(
            "the log {origin} was signed for {signed} entries, but no checkpoint of it is kept in \
             {}. Nobody knows whether more was signed before the database was put back, so nothing \
             is signed. Put the folder back{others} or, if it is lost, declare a new origin: start the \
             service with another --log-name, and tell the auditors",
            self.evidence.outside.folder().display()
        ))
    }

    /// What the checkpoint that is kept outside the database says.
    async fn outside_checkpoint(
        &self,
        company: CompanyId,
        key: &LogKey,
    ) -> Result<Option<Statement>, Unsigned> {
        let (outside, name) = (self.evidence.outside.clone(), self.evidence.choices.name.clone());
        let note = blocking(move || outside.checkpoint(&name, company)).await?;
        let Some(note) = note else { return Ok(None) };
        let statement = key.verifier_key().parse().and_then(|key: VerifierKey| key.open(&note));
        statement.map(Some).map_err(|error| {
            Unsigned::Refused(format!(
                "the last checkpoint of the log {}, kept in {}, can't be read: {error}; put the \
                 file or the seed back, or declare a new origin with --log-name",
                key.origin(),
                self.evidence.outside.folder().display()
            ))
        })
    }

    /// Keeps a checkpoint outside the database, unless a later one is kept there.
    async fn keep_outside(
        &self,
        company: CompanyId,
        checkpoint: Option<&SignedCheckpoint>,
        kept: Option<&Statement>,
    ) -> Result<(), OutsideError> {
        let Some(checkpoint) = checkpoint else { return Ok(()) };
        if kept.is_some_and(|kept| kept.size >= checkpoint.size) {
            return Ok(());
        }
        let (outside, name) = (self.evidence.outside.clone(), self.evidence.choices.name.clone());
        let note = checkpoint.note.clone();
        blocking(move || outside.keep_checkpoint(&name, company, &note)).await
    }

    /// Whether the tree extends an earlier one.
    async fn extends(
        &self,
        company: CompanyId,
        tiles: &mut TileSet,
        tree: &Statement,
        earlier: &Statement,
    ) -> Result<bool, StoreError> {
        if earlier.size > tree.size {
            // The tree has not come as far as the log yet; the next round tells.
            return Err(StoreError::Unavailable(format!(
                "the tree has {} entries, the last checkpoint {}",
                tree.size, earlier.size
            )));
        }
        if earlier.size == 0 {
            return Ok(true);
        }
        let size = earlier.size;
        let root = self.evidence.compute(company, tiles, |tiles| proof::root(tiles, size)).await?;
        Ok(root == earlier.root)
    }
}

fn another_key(origin: &str) -> Unsigned {
    Unsigned::Refused(format!(
        "the log {origin} was signed with another key than the seed gives; put the seed back (or \
         TOKEN_LEDGER_LOG_SEED), or, if it is lost, declare a new origin with --log-name"
    ))
}

fn not_extended(earlier: &Statement, head: u64, place: &str) -> String {
    format!(
        "the ledger does not extend the last checkpoint of the log {}, which is {place} and \
         speaks of {} entries, while the ledger has {head}: the database was put back to an \
         earlier state, or changed. Nothing is signed, since auditors may have that checkpoint. \
         `token-ledger verify` says more. If the database was put back on purpose, declare a new \
         origin: start the service with another --log-name, and tell the auditors",
        earlier.origin, earlier.size
    )
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OutsideError> + Send + 'static,
) -> Result<T, OutsideError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| OutsideError::new(error.to_string()))?
}
