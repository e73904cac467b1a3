//! Work that goes on after its request was answered or given up: deleting many tokens at once,
//! rebuilds, and erasures.
//!
//! An operation is stored before its request is answered and carried out in batches, so that a
//! process that ends in the middle leaves it to the next one ([`App::resume_operations`]), or to
//! another one (`App::take_over_operations`).

use super::{App, AppError, Caller, erasing, sweeps};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::StoreError;
use token_ledger_projections::read_models::Operation;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How long an operation rests before it goes over what is left again.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// The longest rest after failures, each of which doubles it.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// A client that is not deleted this long after its deletion was about to begin won't be, nor will
/// the erasure of a person be recorded; in seconds.
pub(super) const ABANDONED_SECONDS: i64 = 60;

/// How often an operation is found where it was before it counts as left.
const LEFT_AFTER: u32 = 2;

/// Operations that others carry out as they were found, and how often they were found so again.
pub(super) type Seen = HashMap<Uuid, (Operation, u32)>;

pub(super) const RUNNING: &str = "running";
pub(super) const DONE: &str = "done";

/// What an operation is to do that is no rebuild.
enum Work {
    Delete(sweeps::Order),
    Erase(erasing::Order),
}

/// An operation that this process is at: no more once this is dropped. One that panics stands still.
pub(super) struct Carried<'a> {
    app: &'a App,
    id: Uuid,
}

impl<'a> Carried<'a> {
    pub(super) fn new(app: &'a App, id: Uuid) -> Self {
        app.carried.write().insert(id);
        Self { app, id }
    }
}

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        self.app.carried.write().remove(&self.id);
        if std::thread::panicking() {
            self.app.stalled.write().insert(self.id);
        }
    }
}

/// An operation that is begun now, with what is stored of its request.
pub(super) fn new_operation(
    company_id: CompanyId,
    operation_id: Uuid,
    order: &impl Serialize,
    matched: u64,
    now: Timestamp,
) -> Result<Operation, StoreError> {
    Ok(Operation {
        company_id,
        operation_id,
        request: text_of(order)?,
        state: RUNNING.to_owned(),
        matched,
        done: 0,
        started_at: now,
        finished_at: None,
    })
}

/// An order as it is stored.
pub(super) fn text_of(order: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(order).map_err(|error| StoreError::Rejected(error.to_string()))
}

impl App {
    /// Stores an operation and begins with it, unless whoever asks was held up and may not any more.
    ///
    /// # Errors
    /// When that is so, or the database fails.
    pub(super) async fn accept(
        self: &Arc<Self>,
        caller: &Caller,
        operation: &Operation,
    ) -> Result<(), AppError> {
        self.still_stands(caller).await?;
        self.read.save_operation(operation).await?;
        if let Err(lapsed) = self.still_stands(caller).await {
            let forgotten =
                self.read.forget_operation(operation.company_id, operation.operation_id).await;
            forgotten.map_err(StoreError::after_change)?;
            return Err(lapsed);
        }
        self.carry_on(operation.clone());
        Ok(())
    }

    /// Goes on with the operations that an earlier process left unfinished. To be called at the
    /// start, where no other process may be at them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resume_operations(self: &Arc<Self>) -> Result<Vec<JoinHandle<()>>, StoreError> {
        let open = self.read.open_operations().await?;
        Ok(open.into_iter().map(|operation| self.carry_on(operation)).collect())
    }

    /// Goes on with operations that no other process goes on with: those that are where they were
    /// the last few times. To be called now and then, with the same `seen`.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn take_over_operations(
        self: &Arc<Self>,
        seen: &mut Seen,
    ) -> Result<(), StoreError> {
        let open = self.read.open_operations().await?;
        let before = std::mem::take(seen);
        for operation in open {
            let id = operation.operation_id;
            if self.carried.read().contains(&id) || self.stalled.read().contains(&id) {
                continue;
            }
            let times = match before.get(&id) {
                Some((known, times)) if *known == operation => times + 1,
                _ => 0,
            };
            if times < LEFT_AFTER {
                seen.insert(id, (operation, times));
            } else {
                tracing::info!(operation = %id, "taking an operation over that was left");
                self.carry_on(operation);
            }
        }
        Ok(())
    }

    /// The operations that can't be carried out and were left as they are.
    pub fn stalled_operations(&self) -> BTreeSet<Uuid> {
        self.stalled.read().clone()
    }

    pub(super) fn carry_on(self: &Arc<Self>, operation: Operation) -> JoinHandle<()> {
        let app = Arc::clone(self);
        tokio::spawn(async move {
            let _carried = Carried::new(&app, operation.operation_id);
            app.carry_to_the_end(operation).await;
        })
    }

    async fn carry_to_the_end(&self, mut operation: Operation) {
        if self.rebuild_to_the_end(&mut operation).await {
            return;
        }
        let work = match erasing::Order::of(&operation) {
            Some(order) => Ok(Work::Erase(order)),
            None => sweeps::Order::of(&operation).map(Work::Delete),
        };
        let mut work = match work {
            Ok(work) => work,
            // Trying again would change nothing.
            Err(error) => {
                let Operation { company_id, operation_id, .. } = operation;
                tracing::error!(%company_id, %operation_id, %error, "an operation can't be read");
                self.stalled.write().insert(operation_id);
                return;
            }
        };
        let mut rest = RETRY;
        loop {
            let carried = match &mut work {
                Work::Delete(order) => self.carry_sweep(&mut operation, order).await,
                Work::Erase(order) => self.go_on_erasing(&mut operation, *order).await,
            };
            match carried {
                Ok(()) | Err(StoreError::Closed) => return,
                Err(error) => {
                    let operation = operation.operation_id;
                    tracing::warn!(%operation, %error, "an operation waits to be tried again");
                }
            }
            tokio::time::sleep(rest).await;
            rest = LONGEST_RETRY.min(rest * 2);
        }
    }
}
