//! Work that goes on after its request was answered or given up: deleting many tokens at once,
//! rebuilds, and erasures.
//!
//! An operation is stored before its request is answered and carried out in batches, so that a
//! process that ends in the middle leaves it to the next one ([`App::resume_operations`]).

use super::input::{self, Check};
use super::outcome::Changed;
use super::{App, AppError, Caller, erasing, rebuilds};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::token::{Token, TokenCommand};
use token_ledger_domain::{Actor, ClientId, Name, Power, Scope, Timestamp};
use token_ledger_event_store::{
    Context, ExecuteError, Idempotency, PrivatePart, Request, StoreError,
};
use token_ledger_projections::read_models::{
    After, Operation, SortValue, TokenFilter, TokenPage, TokenSort,
};
use token_ledger_projections::tokens::Status;
use tokio::task::JoinHandle;
use utoipa::ToSchema;
use uuid::Uuid;

/// Tokens that are deleted at a time.
const BATCH: usize = 500;
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

/// Which tokens shall be deleted, and why.
#[derive(Clone, Debug, Default)]
pub struct DeleteAll {
    /// Those that this client got.
    pub client_id: Option<ClientId>,
    /// Those that have this scope.
    pub scope: Option<String>,
    /// Those that this actor created.
    pub created_by: Option<Uuid>,
    /// Why.
    pub reason: Option<String>,
}

/// How far an operation has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OperationView {
    /// The operation.
    pub operation_id: Uuid,
    /// The company.
    pub company_id: Uuid,
    /// `running` or `done`.
    pub state: String,
    /// Tokens that matched when it was accepted.
    pub matched: u64,
    /// How many of these are deleted by now, whoever deleted them.
    pub deleted: u64,
    /// Tokens that could not be deleted so far; the log says why. It goes on trying.
    pub failed: u64,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it was finished.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

impl From<Operation> for OperationView {
    fn from(operation: Operation) -> Self {
        Self {
            failed: Order::of(&operation).map_or(0, |order| order.failed),
            operation_id: operation.operation_id,
            company_id: operation.company_id.0,
            state: operation.state,
            matched: operation.matched,
            deleted: operation.done,
            started_at: operation.started_at,
            finished_at: operation.finished_at,
        }
    }
}

/// What is stored of the request.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    client_id: Option<ClientId>,
    scope: Option<String>,
    created_by: Option<Uuid>,
    actor: Actor,
    request_id: Option<String>,
    /// Names and words of people: gone as soon as the operation is done.
    private: PrivatePart,
    /// The ledger's last position at the acceptance: tokens created later are not meant.
    last_position: u64,
    /// When the event at that position was recorded.
    last_recorded_at: Timestamp,
    /// Whether it follows from the deletion of the client, without which there is nothing to do.
    #[serde(default)]
    client_is_deleted: bool,
    /// Tokens that could not be deleted when all were gone over last.
    #[serde(default)]
    failed: u64,
}

/// What is left of the tokens that match.
#[derive(Default)]
struct Left {
    /// Whether there are any that the next time may delete.
    is_any: bool,
    /// Those that can't be deleted as they are, each with the reason.
    failed: Vec<(Uuid, StoreError)>,
}

/// What an operation is to do that is no rebuild.
enum Work {
    Delete(Order),
    Erase(erasing::Order),
}

impl Order {
    fn filter(&self, now: Timestamp) -> TokenFilter {
        TokenFilter {
            status: BTreeSet::from([Status::Active, Status::Expired]),
            scope: self.scope.clone(),
            q: None,
            created_by: self.created_by,
            client_id: self.client_id,
            created_up_to: Some(self.last_position),
            expires_before: None,
            now,
        }
    }

    fn context(&self) -> Context {
        Context {
            actor: self.actor,
            request_id: self.request_id.clone(),
            private: self.private.clone(),
        }
    }

    fn of(operation: &Operation) -> Result<Self, StoreError> {
        serde_json::from_str(&operation.request)
            .map_err(|error| StoreError::Rejected(format!("an operation's request: {error}")))
    }

    fn text(&self) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(|error| StoreError::Rejected(error.to_string()))
    }
}

impl App {
    /// Begins to delete all tokens of the caller's company that match.
    ///
    /// # Errors
    /// When the input is not acceptable.
    pub async fn delete_all(
        self: &Arc<Self>,
        caller: &Caller,
        input: DeleteAll,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<OperationView>, AppError> {
        let order = self.order(caller, input).await?;
        // Two requests with one key must not both begin.
        let _turn = self.beginning.lock().await;
        let company = caller.company;
        let begun = self.begun(company, idempotency.as_ref()).await?;
        if let Some(id) = begun
            && let Some(operation) = self.read.operation(company, id).await?
        {
            return Ok(Changed::before(operation.into()));
        }
        if begun.is_some_and(|id| self.may_be_under_way(id)) {
            return Err(AppError::Contended);
        }
        let operation_id = begun.unwrap_or_else(|| self.new_id());
        if begun.is_none() {
            self.begin(caller, company, operation_id, idempotency).await?;
        }
        let now = self.now();
        let operation = Operation {
            company_id: company,
            operation_id,
            request: order.text()?,
            state: RUNNING.to_owned(),
            matched: self.read.count_tokens(company, &order.filter(now)).await?,
            done: 0,
            started_at: now,
            finished_at: None,
        };
        self.read.save_operation(&operation).await?;
        self.carry_on(operation.clone());
        Ok(Changed::done(operation.into()))
    }

    /// An operation of the caller's company.
    ///
    /// # Errors
    /// When there is none.
    pub async fn operation(&self, caller: &Caller, id: Uuid) -> Result<OperationView, AppError> {
        let operation = self.read.operation(caller.company, id).await?;
        let is_other = |operation: &Operation| {
            rebuilds::is_one(operation) || erasing::Order::of(operation).is_some()
        };
        let operation = operation.filter(|operation| !is_other(operation));
        Ok(operation.ok_or(AppError::NotFound("operation"))?.into())
    }

    /// Goes on with the operations that an earlier process left unfinished. To be called at the
    /// start.
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

    async fn order(&self, caller: &Caller, input: DeleteAll) -> Result<Order, AppError> {
        let mut check = Check::default();
        let scope = check.field("scope", input.scope.as_deref().map(str::parse).transpose());
        let reason = check.field("reason", input::required_reason(input.reason));
        let (Some(scope), Some(reason)) = (scope, reason) else { return Err(check.refusal()) };
        let head = self.store().head(caller.company).await?;
        let head = head.ok_or(AppError::NotFound("company"))?;
        let Context { actor, request_id, private } = caller.context(Some(reason));
        Ok(Order {
            client_id: input.client_id,
            scope: scope.map(|scope: Scope| scope.to_string()),
            created_by: input.created_by,
            actor,
            request_id,
            private,
            last_position: head.position,
            last_recorded_at: head.recorded_at,
            client_is_deleted: false,
            failed: 0,
        })
    }

    /// The operations that can't be carried out and were left as they are.
    pub fn stalled_operations(&self) -> BTreeSet<Uuid> {
        self.stalled.read().clone()
    }

    /// Stores that a client's tokens shall be deleted once the client is. No token can be created
    /// for it after that, so that all of them are meant, whenever they were created.
    pub(super) async fn plan_sweep(
        &self,
        caller: &Caller,
        client: ClientId,
        name: &Name,
        reason: Option<&str>,
    ) -> Result<Operation, AppError> {
        let why = match reason {
            None => format!("the OAuth client {name} was deleted"),
            Some(reason) => format!("the OAuth client {name} was deleted: {reason}"),
        };
        let why = why.chars().take(input::MAX_REASON).collect();
        let Context { actor, request_id, private } = caller.context(Some(why));
        let order = Order {
            client_id: Some(client),
            scope: None,
            created_by: None,
            actor,
            request_id,
            private,
            last_position: u64::MAX,
            last_recorded_at: Timestamp::from_micros(i64::MAX),
            client_is_deleted: true,
            failed: 0,
        };
        let now = self.now();
        let operation = Operation {
            company_id: caller.company,
            operation_id: self.new_id(),
            request: order.text()?,
            state: RUNNING.to_owned(),
            matched: self.read.count_tokens(caller.company, &order.filter(now)).await?,
            done: 0,
            started_at: now,
            finished_at: None,
        };
        self.read.save_operation(&operation).await?;
        Ok(operation)
    }

    /// Ends an operation that has nothing to do after all. Where that can't be stored, whoever
    /// goes on with it finds so too.
    pub(super) async fn call_off(&self, mut operation: Operation) {
        if let Err(error) = self.finish(&mut operation).await {
            let operation = operation.operation_id;
            tracing::warn!(%operation, %error, "an operation could not be called off");
        }
    }

    pub(super) fn carry_on(self: &Arc<Self>, operation: Operation) -> JoinHandle<()> {
        let app = Arc::clone(self);
        tokio::spawn(async move {
            let id = operation.operation_id;
            app.carried.write().insert(id);
            app.carry_to_the_end(operation).await;
            app.carried.write().remove(&id);
        })
    }

    async fn carry_to_the_end(&self, mut operation: Operation) {
        if self.rebuild_to_the_end(&mut operation).await {
            return;
        }
        let work = match erasing::Order::of(&operation) {
            Some(order) => Ok(Work::Erase(order)),
            None => Order::of(&operation).map(Work::Delete),
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
                Work::Delete(order) => self.carry_out(&mut operation, order).await,
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

    async fn carry_out(
        &self,
        operation: &mut Operation,
        order: &mut Order,
    ) -> Result<(), StoreError> {
        if order.client_is_deleted && !self.is_swept_for(operation, order).await? {
            return self.finish(operation).await;
        }
        self.count_done(operation, order).await?;
        loop {
            let left = self.delete_once_over(operation, order).await?;
            self.note_failed(operation, order, &left.failed).await?;
            if left.is_any {
                tokio::time::sleep(RETRY).await;
            } else if left.failed.is_empty() {
                break;
            } else {
                let count = left.failed.len();
                return Err(StoreError::Rejected(format!("{count} tokens can't be deleted")));
            }
        }
        self.count_done(operation, order).await?;
        self.finish(operation).await
    }

    /// Tells which tokens could not be deleted, and stores how many, where that has changed.
    async fn note_failed(
        &self,
        operation: &mut Operation,
        order: &mut Order,
        failed: &[(Uuid, StoreError)],
    ) -> Result<(), StoreError> {
        let count = failed.len() as u64;
        if order.failed == count {
            return Ok(());
        }
        for (token, error) in failed {
            let Operation { company_id, operation_id, .. } = operation;
            tracing::error!(%company_id, %operation_id, %token, %error, "can't delete this token");
        }
        order.failed = count;
        operation.request = order.text()?;
        self.read.save_operation(operation).await
    }

    /// Another process may have deleted more than was noted here.
    async fn count_done(&self, operation: &mut Operation, order: &Order) -> Result<(), StoreError> {
        let open = self.read.count_tokens(operation.company_id, &order.filter(self.now())).await?;
        operation.done = operation.done.max(operation.matched.saturating_sub(open));
        Ok(())
    }

    /// Whether the operation's client was deleted, which its request was about to do when the
    /// operation was stored. Another process may still be about to.
    async fn is_swept_for(&self, operation: &Operation, order: &Order) -> Result<bool, StoreError> {
        let Some(client) = order.client_id else { return Ok(false) };
        loop {
            let row = self.read.client(operation.company_id, client).await?;
            if row.is_none_or(|row| row.deleted_at.is_some()) {
                return Ok(true);
            }
            let age = self.now().as_seconds() - operation.started_at.as_seconds();
            if age >= ABANDONED_SECONDS {
                return Ok(false);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn finish(&self, operation: &mut Operation) -> Result<(), StoreError> {
        let mut order = Order::of(operation)?;
        order.private = PrivatePart::default();
        DONE.clone_into(&mut operation.state);
        operation.request = order.text()?;
        operation.finished_at = Some(self.now());
        self.read.save_operation(operation).await
    }

    /// Goes over all that match once; answers what could not be deleted and is left.
    async fn delete_once_over(
        &self,
        operation: &mut Operation,
        order: &Order,
    ) -> Result<Left, StoreError> {
        let company = operation.company_id;
        let context = order.context();
        let filter = order.filter(self.now());
        let mut page =
            TokenPage { sort: TokenSort::CreatedAt, descending: false, after: None, limit: BATCH };
        let mut left = Left::default();
        loop {
            let records = self.read.tokens(company, &filter, &page).await?;
            let Some(last) = records.last() else { break };
            page.after = Some(After {
                value: SortValue::Time(last.row.created_at),
                id: last.row.token_id.0,
            });
            let is_end = records.len() < BATCH || last.row.created_at > order.last_recorded_at;
            let requests: Vec<_> = records
                .iter()
                .map(|record| Request::new(record.row.token_id.0, TokenCommand::Delete))
                .collect();
            let answers = self
                .ledger
                .execute_many::<Token>(company, Power::SuperAdmin, &context, &requests)
                .await?;
            for (request, answer) in requests.iter().zip(answers) {
                match answer {
                    Ok(_) => operation.done += 1,
                    // Somebody else has deleted it meanwhile.
                    Err(ExecuteError::Refused(_)) => {}
                    Err(ExecuteError::Failed(
                        error @ (StoreError::Corrupt { .. } | StoreError::Rejected(_)),
                    )) => left.failed.push((request.id, error)),
                    Err(_) => left.is_any = true,
                }
            }
            self.read.save_operation(operation).await?;
            if is_end {
                break;
            }
        }
        Ok(left)
    }
}
