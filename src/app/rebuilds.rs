//! Rebuilds of projections, and how the projections are doing.

use super::operations::{DONE, new_operation, text_of};
use super::outcome::Changed;
use super::{App, AppError, Caller};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::{Idempotency, StoreError};
use token_ledger_projections::read_models::{Checkpoint, Operation};
use token_ledger_projections::rebuild::{
    Difference, MAX_EXAMPLES, Outcome, Plan, RebuildError, named,
};
use token_ledger_projections::runner::RunnerHandle;
use token_ledger_projections::tree::{TREE_NAME, TREE_VERSION};
use token_ledger_projections::{AuditTrail, Clients, Companies, Keys, Members, Projection, Tokens};
use utoipa::ToSchema;
use uuid::Uuid;

/// How often it is stored how far a rebuild has come.
const NOTED_EVERY: Duration = Duration::from_secs(1);

const FAILED: &str = "failed";

/// What is stored of a rebuild, among the platform's operations.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    /// The projection's name, or `all`. It stands first, for [`beginning_of`].
    rebuild: String,
    /// Rows that were put right.
    differences: Option<u64>,
    /// When whoever carries it out last said so.
    noted_at: Timestamp,
}

impl Order {
    fn of(operation: &Operation) -> Option<Self> {
        serde_json::from_str(&operation.request).ok()
    }
}

/// Whether the operation is a rebuild.
pub(super) fn is_one(operation: &Operation) -> bool {
    Order::of(operation).is_some()
}

/// What the stored orders of this name begin with, and no others.
fn beginning_of(name: &str) -> String {
    format!("{{\"rebuild\":\"{name}\",")
}

/// What a rebuild is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RebuildState {
    /// It is under way.
    Running,
    /// It is done.
    Done,
    /// It failed; the log says why. The rows are as they were, or right as far as it got.
    Failed,
}

/// A rebuild.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RebuildView {
    /// The rebuild.
    pub rebuild_id: Uuid,
    /// The projection's name, or `all`.
    pub projection: String,
    /// Where it stands.
    pub state: RebuildState,
    /// Events that have been read.
    pub events: u64,
    /// Events that there are.
    pub total_events: u64,
    /// Rows that were not what the events say, and were put right; null until it is known.
    pub differences: Option<u64>,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

impl RebuildView {
    fn of(operation: &Operation, order: Order) -> Self {
        let state = match operation.state.as_str() {
            DONE => RebuildState::Done,
            FAILED => RebuildState::Failed,
            _ => RebuildState::Running,
        };
        Self {
            rebuild_id: operation.operation_id,
            projection: order.rebuild,
            state,
            events: operation.done,
            total_events: operation.matched,
            differences: order.differences,
            started_at: operation.started_at,
            finished_at: operation.finished_at,
        }
    }

    /// How it was told when it was accepted.
    fn as_accepted(operation: &Operation, order: Order) -> Self {
        Self {
            state: RebuildState::Running,
            events: 0,
            total_events: 0,
            differences: None,
            finished_at: None,
            ..Self::of(operation, order)
        }
    }
}

/// How a projection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionState {
    /// It is written with the events themselves.
    Inline,
    /// It follows the log.
    Running,
    /// It stands still for some companies.
    Stopped,
    /// It is being rebuilt; readers are served meanwhile.
    Rebuilding,
}

/// A projection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProjectionView {
    /// Its name.
    pub name: &'static str,
    /// The version of its rows.
    pub version: u32,
    /// How it is doing.
    pub state: ProjectionState,
    /// Events that it has not taken in yet, in all companies together.
    pub behind: u64,
    /// Companies for which it stands still.
    pub companies_stopped: Vec<StoppedView>,
}

/// A company for which a projection stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StoppedView {
    /// The company.
    pub company_id: Uuid,
    /// Why.
    pub reason: String,
}

/// Every projection: name, version and whether it runs behind the log.
const PROJECTIONS: [(&str, u32, bool); 6] = [
    of::<Companies>(),
    of::<Members>(),
    of::<Clients>(),
    of::<Keys>(),
    of::<Tokens>(),
    of::<AuditTrail>(),
];

const fn of<P: Projection>() -> (&'static str, u32, bool) {
    (P::NAME, P::VERSION, P::BEHIND)
}

impl App {
    /// All projections.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn projections(&self) -> Result<Vec<ProjectionView>, AppError> {
        let mut views = Vec::with_capacity(PROJECTIONS.len());
        let rebuilding = self.open_rebuilds().await?;
        for (name, version, runs_behind) in PROJECTIONS {
            let runner = self.behind().into_iter().find(|runner| runner.name() == name);
            let companies_stopped: Vec<StoppedView> = runner
                .iter()
                .flat_map(RunnerHandle::stopped)
                .map(|(company, reason)| StoppedView { company_id: company.0, reason })
                .collect();
            let is_rebuilding =
                rebuilding.iter().any(|order| ["all", name].contains(&&*order.rebuild));
            let state = if is_rebuilding {
                ProjectionState::Rebuilding
            } else if !companies_stopped.is_empty() {
                ProjectionState::Stopped
            } else if runs_behind {
                ProjectionState::Running
            } else {
                ProjectionState::Inline
            };
            let behind = if runs_behind { self.events_behind(name, version).await? } else { 0 };
            views.push(ProjectionView { name, version, state, behind, companies_stopped });
        }
        Ok(views)
    }

    /// Entries that the trees have not taken in yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tree_behind(&self) -> Result<u64, StoreError> {
        self.events_behind(TREE_NAME, TREE_VERSION).await
    }

    /// Events that a projection has not taken in yet.
    async fn events_behind(&self, name: &str, version: u32) -> Result<u64, StoreError> {
        let checkpoints: BTreeMap<_, u64> = self
            .read
            .checkpoints()
            .await?
            .into_iter()
            .filter(|checkpoint| checkpoint.projection == name && checkpoint.version == version)
            .map(|Checkpoint { company_id, position, .. }| (company_id, position))
            .collect();
        let heads = self.store().heads().await?;
        let behind = heads.iter().map(|head| {
            head.position.saturating_sub(checkpoints.get(&head.company).copied().unwrap_or(0))
        });
        Ok(behind.sum())
    }

    async fn open_rebuilds(&self) -> Result<Vec<Order>, StoreError> {
        let open = self.read.open_operations().await?;
        Ok(open.iter().filter_map(Order::of).collect())
    }

    /// Begins to rebuild a projection, or all of them. None begins while another one is known to
    /// run, in whichever process.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for an unknown name, [`AppError::Rebuilding`] while one runs.
    pub async fn start_rebuild(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<RebuildView>, AppError> {
        named(name).map_err(|_| AppError::NotFound("projection"))?;
        let _turn = self.beginning.lock().await;
        let company = CompanyId::PLATFORM;
        let begun = self.begun(company, idempotency.as_ref()).await?;
        if let Some(id) = begun
            && let Some(operation) = self.read.operation(company, id).await?
            && let Some(order) = Order::of(&operation)
        {
            return Ok(Changed::before(RebuildView::as_accepted(&operation, order)));
        }
        let is_under_way = begun.is_some_and(|id| self.may_be_under_way(id));
        let open = self.open_rebuilds().await?.into_iter().next().map(|order| order.rebuild);
        if let Some(running) = open.or_else(|| is_under_way.then(|| name.to_owned())) {
            return Err(AppError::Rebuilding(running));
        }
        let operation_id = begun.unwrap_or_else(|| self.new_id());
        if begun.is_none() {
            self.begin(caller, company, operation_id, idempotency).await?;
        }
        let now = self.now();
        let order = Order { rebuild: name.to_owned(), differences: None, noted_at: now };
        let operation = new_operation(company, operation_id, &order, 0, now)?;
        self.accept(caller, &operation).await?;
        Ok(Changed::done(RebuildView::of(&operation, order)))
    }

    /// The latest rebuild of this name.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is none.
    pub async fn rebuild(&self, name: &str) -> Result<RebuildView, AppError> {
        let none = AppError::NotFound("rebuild");
        if named(name).is_err() {
            return Err(none);
        }
        let beginning = beginning_of(name);
        let latest = self.read.latest_operation(CompanyId::PLATFORM, &beginning).await?;
        let view = latest.and_then(|latest| Some(RebuildView::of(&latest, Order::of(&latest)?)));
        view.ok_or(none)
    }

    /// Carries a rebuild out, if the operation is one; answers whether it is.
    pub(super) async fn rebuild_to_the_end(&self, operation: &mut Operation) -> bool {
        let Some(mut order) = Order::of(operation) else { return false };
        let name = order.rebuild.clone();
        operation.state = match self.rebuild_noting(operation, &mut order).await {
            Ok(outcome) => {
                tracing::info!(projection = name, differences = outcome.differences, "rebuilt");
                order.differences = Some(outcome.differences);
                DONE.to_owned()
            }
            // Whoever comes next begins it anew.
            Err(RebuildError::Failed(StoreError::Closed)) => return true,
            Err(error) => {
                tracing::error!(projection = name, %error, "the rebuild failed");
                FAILED.to_owned()
            }
        };
        operation.finished_at = Some(self.now());
        self.save_rebuild(operation, &mut order).await;
        true
    }

    /// Rebuilds, and stores now and then how far it has come.
    async fn rebuild_noting(
        &self,
        operation: &mut Operation,
        order: &mut Order,
    ) -> Result<Outcome, RebuildError> {
        let plan = Plan { projections: named(&order.rebuild)?, company: None, merge: true };
        let (events, total) = (AtomicU64::new(0), AtomicU64::new(0));
        let on_progress = |read, all| {
            events.store(read, Ordering::Relaxed);
            total.store(all, Ordering::Relaxed);
        };
        let mut told = 0;
        let mut tell = |difference: Difference| {
            told += 1;
            if told <= MAX_EXAMPLES {
                tracing::warn!(%difference, "a row was put right");
            }
            Ok(())
        };
        let note = |operation: &mut Operation| {
            operation.done = events.load(Ordering::Relaxed);
            // What was recorded since it began is read too.
            operation.matched = total.load(Ordering::Relaxed).max(operation.done);
        };
        let work = self.rebuild_as_planned(&plan, &on_progress, &mut tell);
        // Beside the work, which may hold a ledger's head and must not wait for it.
        let noting = async {
            let mut ticks = tokio::time::interval(NOTED_EVERY);
            loop {
                ticks.tick().await;
                note(operation);
                self.save_rebuild(operation, order).await;
            }
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            never = noting => never,
        };
        note(operation);
        outcome
    }

    async fn save_rebuild(&self, operation: &mut Operation, order: &mut Order) {
        order.noted_at = self.now();
        let saved = async {
            operation.request = text_of(order)?;
            self.read.save_operation(operation).await
        };
        if let Err(error) = saved.await {
            tracing::warn!(%error, "how far a rebuild has come could not be stored");
        }
    }
}
