//! Deleting many tokens at once: after an incident, or with their client.

use super::input::{self, Check};
use super::operations::{ABANDONED_SECONDS, DONE, RETRY, RUNNING, new_operation, text_of};
use super::outcome::Changed;
use super::{App, AppError, Caller, erasing, rebuilds};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use token_ledger_domain::token::{Token, TokenCommand, TokenRefusal};
use token_ledger_domain::{Actor, ActorType, ClientId, CompanyId, Name, Power, Scope, Timestamp};
use token_ledger_event_store::{
    Context, ExecuteError, Idempotency, PrivatePart, Request, StoreError,
};
use token_ledger_projections::read_models::{
    After, Operation, SortValue, TokenFilter, TokenPage, TokenSort,
};
use token_ledger_projections::tokens::Status;
use utoipa::ToSchema;
use uuid::Uuid;

/// Tokens that are deleted at a time.
const BATCH: usize = 500;

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

impl OperationView {
    /// How it was told when it was accepted.
    fn as_accepted(operation: Operation) -> Self {
        let state = RUNNING.to_owned();
        Self { state, deleted: 0, failed: 0, finished_at: None, ..operation.into() }
    }
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
pub(super) struct Order {
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
    failed: Vec<(Uuid, NotDeleted)>,
}

/// Why a token could not be deleted.
type NotDeleted = ExecuteError<TokenRefusal>;

impl Order {
    fn filter(&self, now: Timestamp) -> TokenFilter {
        TokenFilter {
            scope: self.scope.clone(),
            created_by: self.created_by,
            client_id: self.client_id,
            created_up_to: Some(self.last_position),
            ..TokenFilter::of([Status::Active, Status::Expired], now)
        }
    }

    /// Leaves out what names or describes a person; `false` where there is nothing of it.
    fn leave_person_out(&mut self) -> bool {
        std::mem::take(&mut self.private) != PrivatePart::default()
    }

    fn context(&self) -> Context {
        Context {
            actor: self.actor,
            request_id: self.request_id.clone(),
            private: self.private.clone(),
        }
    }

    pub(super) fn of(operation: &Operation) -> Result<Self, StoreError> {
        serde_json::from_str(&operation.request)
            .map_err(|error| StoreError::Rejected(format!("an operation's request: {error}")))
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
        let (company, now) = (caller.company, self.now());
        let matched = self.read.count_tokens(company, &order.filter(now)).await?;
        // Two requests with one key must not both begin.
        let _turn = self.beginning.lock().await;
        let begun = self.begun(company, idempotency.as_ref()).await?;
        if let Some(id) = begun
            && let Some(operation) = self.read.operation(company, id).await?
        {
            return Ok(Changed::before(OperationView::as_accepted(operation)));
        }
        if begun.is_some_and(|id| self.may_be_under_way(id)) {
            return Err(AppError::Contended);
        }
        let operation_id = begun.unwrap_or_else(|| self.new_id());
        if begun.is_none() {
            self.begin(caller, company, operation_id, idempotency).await?;
        }
        let operation = new_operation(company, operation_id, &order, matched, now)?;
        self.accept(caller, &operation).await?;
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
        let (company, now) = (caller.company, self.now());
        let matched = self.read.count_tokens(company, &order.filter(now)).await?;
        let operation = new_operation(company, self.new_id(), &order, matched, now)?;
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

    /// Erases from the company's open operations what names or describes whoever is meant by one of
    /// these identifiers. Whoever carries one out finds out by itself, behind whatever it stores.
    pub(super) async fn erase_from_sweeps(
        &self,
        company: CompanyId,
        identifiers: &[Uuid],
    ) -> Result<(), StoreError> {
        for mut operation in self.read.open_operations().await? {
            let Ok(mut order) = Order::of(&operation) else { continue };
            let is_theirs =
                operation.company_id == company && identifiers.contains(&order.actor.id);
            if is_theirs && order.leave_person_out() {
                operation.request = text_of(&order)?;
                self.read.save_operation(&operation).await?;
            }
        }
        Ok(())
    }

    /// Leaves out whoever asked for it, if they were erased since: what this process knows of them,
    /// it may have stored again meanwhile.
    async fn forget_the_erased(
        &self,
        operation: &mut Operation,
        order: &mut Order,
    ) -> Result<(), StoreError> {
        let is_person = matches!(order.actor.kind, ActorType::Member | ActorType::Operator);
        if !is_person || order.private == PrivatePart::default() {
            return Ok(());
        }
        let company = operation.company_id;
        let person = self.people_in(company).await?.person(order.actor.id);
        let erasures = self.erasures_behind(company, 0, person).await?;
        let is_erased = erasures.iter().any(|(_, at)| *at >= operation.started_at);
        if is_erased && order.leave_person_out() {
            operation.request = text_of(order)?;
            self.read.save_operation(operation).await?;
        }
        Ok(())
    }

    /// Deletes what the order says, from where the operation has come to.
    pub(super) async fn carry_sweep(
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
        failed: &[(Uuid, NotDeleted)],
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
        operation.request = text_of(order)?;
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
        operation.request = text_of(&order)?;
        operation.finished_at = Some(self.now());
        self.read.save_operation(operation).await
    }

    /// Goes over all that match once; answers what could not be deleted and is left.
    async fn delete_once_over(
        &self,
        operation: &mut Operation,
        order: &mut Order,
    ) -> Result<Left, StoreError> {
        let company = operation.company_id;
        let filter = order.filter(self.now());
        let mut page =
            TokenPage { sort: TokenSort::CreatedAt, descending: false, after: None, limit: BATCH };
        let mut left = Left::default();
        loop {
            self.forget_the_erased(operation, order).await?;
            let context = order.context();
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
                    Err(ExecuteError::Refused(TokenRefusal::Deleted)) => {}
                    Err(ExecuteError::Contended) => left.is_any = true,
                    Err(ExecuteError::Failed(error)) if error.is_general() => return Err(error),
                    Err(error) => left.failed.push((request.id, error)),
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
