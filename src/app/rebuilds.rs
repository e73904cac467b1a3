//! Rebuilds of projections, and how the projections are doing.

use super::{App, AppError};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use token_ledger_domain::Timestamp;
use token_ledger_event_store::{Idempotency, StoreError};
use token_ledger_projections::rebuild::{Plan, named};
use token_ledger_projections::runner::RunnerHandle;
use token_ledger_projections::tree::{TREE_NAME, TREE_VERSION};
use token_ledger_projections::{
    AuditTrail, Clients, Companies, Keys, Members, Projection, Tokens, read_models::Checkpoint,
};
use utoipa::ToSchema;
use uuid::Uuid;

/// Rebuilds that this process runs or ran: the latest of each name.
#[derive(Debug, Default)]
pub struct Rebuilds {
    latest: Mutex<BTreeMap<String, Arc<Rebuild>>>,
}

/// One rebuild.
#[derive(Debug)]
struct Rebuild {
    id: Uuid,
    projection: String,
    idempotency: Option<Idempotency>,
    started_at: Timestamp,
    events: AtomicU64,
    total_events: AtomicU64,
    end: Mutex<Option<End>>,
}

#[derive(Clone, Copy, Debug)]
struct End {
    /// Rows that were put right; none when the rebuild failed.
    differences: Option<u64>,
    at: Timestamp,
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

impl Rebuild {
    fn is_running(&self) -> bool {
        self.end.lock().is_none()
    }

    fn view(&self) -> RebuildView {
        let end = *self.end.lock();
        RebuildView {
            rebuild_id: self.id,
            projection: self.projection.clone(),
            state: match end {
                None => RebuildState::Running,
                Some(End { differences: Some(_), .. }) => RebuildState::Done,
                Some(End { differences: None, .. }) => RebuildState::Failed,
            },
            events: self.events.load(Ordering::Relaxed),
            total_events: self.total_events.load(Ordering::Relaxed),
            differences: end.and_then(|end| end.differences),
            started_at: self.started_at,
            finished_at: end.map(|end| end.at),
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
        for (name, version, runs_behind) in PROJECTIONS {
            let runner = self.behind().into_iter().find(|runner| runner.name() == name);
            let companies_stopped: Vec<StoppedView> = runner
                .iter()
                .flat_map(RunnerHandle::stopped)
                .map(|(company, reason)| StoppedView { company_id: company.0, reason })
                .collect();
            let state = if self.is_rebuilding(name) {
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

    fn is_rebuilding(&self, name: &str) -> bool {
        let latest = self.rebuilds.latest.lock();
        ["all", name].iter().any(|name| latest.get(*name).is_some_and(|it| it.is_running()))
    }

    /// Begins to rebuild a projection, or all of them. One rebuild runs at a time. Also answers
    /// whether the same request had begun it before.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for an unknown name, [`AppError::Contended`] while one runs.
    pub fn start_rebuild(
        self: &Arc<Self>,
        name: &str,
        idempotency: Option<Idempotency>,
    ) -> Result<(RebuildView, bool), AppError> {
        let projections = named(name).map_err(|_| AppError::NotFound("projection"))?;
        let rebuild = {
            let mut latest = self.rebuilds.latest.lock();
            if let Some(known) = latest.get(name)
                && is_repeat(known.idempotency.as_ref(), idempotency.as_ref())?
            {
                return Ok((known.view(), true));
            }
            if latest.values().any(|rebuild| rebuild.is_running()) {
                return Err(AppError::Contended);
            }
            let rebuild = Arc::new(Rebuild {
                id: self.new_id(),
                projection: name.to_owned(),
                idempotency,
                started_at: self.now(),
                events: AtomicU64::new(0),
                total_events: AtomicU64::new(0),
                end: Mutex::new(None),
            });
            latest.insert(name.to_owned(), Arc::clone(&rebuild));
            rebuild
        };
        let view = rebuild.view();
        let plan = Plan { projections, company: None, merge: true };
        tokio::spawn(run(Arc::clone(self), rebuild, plan));
        Ok((view, false))
    }

    /// The latest rebuild of this name.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is none.
    pub fn rebuild(&self, name: &str) -> Result<RebuildView, AppError> {
        let latest = self.rebuilds.latest.lock();
        latest.get(name).map(|rebuild| rebuild.view()).ok_or(AppError::NotFound("rebuild"))
    }
}

fn is_repeat(known: Option<&Idempotency>, new: Option<&Idempotency>) -> Result<bool, AppError> {
    let Some((known, new)) = known.zip(new) else { return Ok(false) };
    let same = (&known.caller, &known.route, &known.key) == (&new.caller, &new.route, &new.key);
    if same && known.request_hash != new.request_hash {
        return Err(AppError::KeyReused);
    }
    Ok(same)
}

/// Marks the rebuild as ended, however its task ends.
struct Ending {
    app: Arc<App>,
    rebuild: Arc<Rebuild>,
    differences: Option<u64>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let at = self.app.now();
        *self.rebuild.end.lock() = Some(End { differences: self.differences, at });
    }
}

async fn run(app: Arc<App>, rebuild: Arc<Rebuild>, plan: Plan) {
    let mut ending =
        Ending { app: Arc::clone(&app), rebuild: Arc::clone(&rebuild), differences: None };
    let seen = Arc::clone(&rebuild);
    let on_progress = move |events, total| {
        seen.events.store(events, Ordering::Relaxed);
        seen.total_events.store(total, Ordering::Relaxed);
    };
    let projection = &rebuild.projection;
    match app.rebuilder.rebuild(&plan, rebuild.id, &on_progress).await {
        Ok(outcome) => {
            for difference in &outcome.examples {
                tracing::warn!(%difference, "a row was put right");
            }
            tracing::info!(projection, differences = outcome.differences, "rebuilt");
            ending.differences = Some(outcome.differences);
        }
        Err(error) => tracing::error!(projection, %error, "the rebuild failed"),
    }
}
