//! Carrying an erasure out, whatever becomes of whoever asked for it.
//!
//! It takes a look at the whole ledger, which may be long. So it is stored among the company's
//! operations before its event is recorded, and goes on in a task of its own: neither a deadline nor
//! a caller that hangs up ends it, and one that ends with its process is gone on with by the next.

use super::erasure::Erased;
use super::operations::{ABANDONED_SECONDS, Carried, DONE, RETRY, new_operation, text_of};
use super::outcome::Changed;
use super::{App, AppError, Caller, input};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use token_ledger_domain::company::{Company, CompanyCommand, CompanyEvent};
use token_ledger_domain::{CompanyId, LedgerEvent, PersonId, Timestamp};
use token_ledger_event_store::{
    ExecuteError, Executed, Head, Idempotency, Replay, Request, StoreError,
};
use token_ledger_projections::read_models::Operation;
use tracing::Instrument;
use uuid::Uuid;

/// Pages of the ledger after which it is stored how far an erasure has come, so that other
/// processes see that it is carried out.
const NOTED_AFTER: usize = 10;

/// What is stored of an erasure.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// The person.
    erase: PersonId,
    /// The ledger's last position at the acceptance: the erasure's event is behind it.
    after: u64,
    /// The position of that event, once it is known.
    position: Option<u64>,
    /// Whether the account is gone.
    account: bool,
}

impl Order {
    /// What the operation is to erase, if it is an erasure.
    pub(super) fn of(operation: &Operation) -> Option<Self> {
        serde_json::from_str(&operation.request).ok()
    }

    /// What came of it; none where it was called off.
    fn outcome(&self, operation: &Operation) -> Option<Erased> {
        Some(Erased {
            company_id: operation.company_id.0,
            person_id: self.erase.0,
            position: self.position?,
            private_parts: operation.done,
            account: self.account,
        })
    }
}

impl App {
    /// Erases a person from the caller's company: an event says so, the private parts of all that
    /// the person did or had done to them up to it go with their salts, and the account with its
    /// e-mail address. It goes on when nobody waits for it any more. Asked again meanwhile, or
    /// after it was cut off, it is the same erasure.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when the company's ledger knows no such person.
    pub async fn erase_person(
        self: &Arc<Self>,
        caller: &Caller,
        person: PersonId,
        reason: &str,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<Erased>, AppError> {
        let reason = input::required_reason(Some(reason.to_owned()))
            .map_err(|problem| AppError::invalid("reason", problem))?;
        let (app, caller) = (Arc::clone(self), caller.clone());
        let erasing = async move { app.erase(&caller, person, reason, idempotency).await };
        tokio::spawn(erasing.in_current_span())
            .await
            .map_err(|error| StoreError::Rejected(error.to_string()))?
    }

    /// Waits for the erasures that are under way.
    pub async fn end_erasures(&self) {
        drop(self.erasing.lock().await);
    }

    async fn erase(
        &self,
        caller: &Caller,
        person: PersonId,
        reason: String,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<Erased>, AppError> {
        let company = caller.company;
        // An erasure that is recorded behind this head was asked for at the same time.
        let head = self.store().head(company).await?.ok_or(AppError::NotFound("company"))?;
        let before = self.open_erasure(company, person).await?;
        let _turn = self.erasing.lock().await;
        if let Some(replay) = self.recorded(company, idempotency.as_ref()).await? {
            let position = self.position_of(company, person, &replay).await?;
            return Ok(Changed::before(self.erase_again(company, person, position).await?));
        }
        if let Some(operation) = before
            && let Some(erased) = self.erase_with(company, operation).await?
        {
            self.note_joined(caller, person, idempotency).await?;
            return Ok(Changed::done(erased));
        }
        if let Some(position) = self.erased_since(head, person).await? {
            let erased = self.erase_again(company, person, position).await?;
            self.note_joined(caller, person, idempotency).await?;
            return Ok(Changed::done(erased));
        }
        if !self.holds(company, person).await? {
            return Err(AppError::NotFound("person"));
        }
        let after = self.head(company).await?;
        let order = Order { erase: person, after, position: None, account: false };
        let operation = new_operation(company, self.new_id(), &order, 0, self.now())?;
        let _carried = Carried::new(self, operation.operation_id);
        self.record_and_erase(caller, operation, order, reason, idempotency).await
    }

    /// Records the key of a request that joined an erasure, so that its repeat is none of its own.
    async fn note_joined(
        &self,
        caller: &Caller,
        person: PersonId,
        key: Option<Idempotency>,
    ) -> Result<(), AppError> {
        let noted = match self.begin(caller, caller.company, person.0, key.clone()).await {
            // The same request has just been recorded, or another one with its key.
            Err(AppError::Contended) => self.recorded(caller.company, key.as_ref()).await.map(drop),
            other => other,
        };
        noted.map_err(AppError::after_change)
    }

    async fn record_and_erase(
        &self,
        caller: &Caller,
        mut operation: Operation,
        order: Order,
        reason: String,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<Erased>, AppError> {
        let company = caller.company;
        self.read.save_operation(&operation).await?;
        let context = caller.context(Some(reason));
        let command = CompanyCommand::ErasePerson { person_id: order.erase };
        let mut request = Request::new(company.0, command);
        request.idempotency = idempotency;
        let executed = self.execute::<Company>(caller, &context, request).await;
        let (position, repeated) = match executed {
            // An erasure is always an event.
            Ok(Executed::Done { position, .. }) => (position.unwrap_or(order.after), false),
            Ok(Executed::Repeated(replay)) => {
                (self.position_of(company, order.erase, &replay).await?, true)
            }
            // It may be recorded all the same: whoever goes on with the operation finds out.
            Err(ExecuteError::Failed(error)) => return Err(error.into()),
            Err(refusal) => {
                self.end(&mut operation, order).await?;
                return Err(refusal.into());
            }
        };
        let erased = self.carry_erasure(&mut operation, order, position).await;
        let view = erased.map_err(StoreError::after_change)?;
        Ok(Changed { view, secret: None, repeated })
    }

    /// The position of an erasure of this person that was recorded behind this head: it was asked
    /// for at the same time.
    async fn erased_since(&self, head: Head, person: PersonId) -> Result<Option<u64>, StoreError> {
        let found = self.erasures_behind(head.company, head.company_sequence, person).await?;
        Ok(found.first().map(|(position, _)| *position))
    }

    /// The erasures of this person that are behind this sequence of the company's stream: where each
    /// is and when it was recorded.
    pub(super) async fn erasures_behind(
        &self,
        company: CompanyId,
        sequence: u64,
        person: PersonId,
    ) -> Result<Vec<(u64, Timestamp)>, StoreError> {
        let mut found = Vec::new();
        let erased = LedgerEvent::Company(CompanyEvent::PersonErased { person_id: person });
        let mut events = self.each_event(company, company.into(), sequence);
        while let Some(event) = events.try_next().await? {
            if event.decode()? == erased {
                found.push((event.position, event.recorded_at));
            }
        }
        Ok(found)
    }

    /// The erasure of this person that is not finished, if there is one.
    async fn open_erasure(
        &self,
        company: CompanyId,
        person: PersonId,
    ) -> Result<Option<Uuid>, StoreError> {
        let open = self.read.open_operations().await?;
        let is_it = |operation: &&Operation| {
            operation.company_id == company
                && Order::of(operation).is_some_and(|order| order.erase == person)
        };
        Ok(open.iter().find(is_it).map(|operation| operation.operation_id))
    }

    /// What came of an erasure that was open, finished here if it still is. None where nothing came
    /// of it: its event was never recorded.
    async fn erase_with(
        &self,
        company: CompanyId,
        operation: Uuid,
    ) -> Result<Option<Erased>, StoreError> {
        let Some(mut operation) = self.read.operation(company, operation).await? else {
            return Ok(None);
        };
        let Some(order) = Order::of(&operation) else { return Ok(None) };
        if operation.finished_at.is_some() {
            return Ok(order.outcome(&operation));
        }
        match self.recorded_at(company, &order).await? {
            Some(position) => self.carry_erasure(&mut operation, order, position).await.map(Some),
            None => Ok(None),
        }
    }

    async fn recorded_at(
        &self,
        company: CompanyId,
        order: &Order,
    ) -> Result<Option<u64>, StoreError> {
        if order.position.is_some() {
            return Ok(order.position);
        }
        let erasures = self.erasures_behind(company, 0, order.erase).await?;
        Ok(erasures.into_iter().map(|(position, _)| position).find(|at| *at > order.after))
    }

    /// Goes on with an erasure that was left.
    pub(super) async fn go_on_erasing(
        &self,
        operation: &mut Operation,
        order: Order,
    ) -> Result<(), StoreError> {
        let company = operation.company_id;
        let position = loop {
            if let Some(position) = self.recorded_at(company, &order).await? {
                break position;
            }
            // Another process may still be about to record it.
            if self.now().as_seconds() - operation.started_at.as_seconds() >= ABANDONED_SECONDS {
                return self.end(operation, order).await;
            }
            tokio::time::sleep(RETRY).await;
        };
        let _turn = self.erasing.lock().await;
        match self.read.operation(company, operation.operation_id).await? {
            Some(now) if now.finished_at.is_none() => *operation = now,
            // Whoever asked again has finished it.
            _ => return Ok(()),
        }
        self.carry_erasure(operation, order, position).await.map(drop)
    }

    /// Erases what the order says, from where the operation has come to. Everything in it can be
    /// done again.
    async fn carry_erasure(
        &self,
        operation: &mut Operation,
        order: Order,
        position: u64,
    ) -> Result<Erased, StoreError> {
        let (company, person) = (operation.company_id, order.erase);
        let mut order = Order { position: Some(position), ..order };
        operation.request = text_of(&order)?;
        self.read.save_operation(operation).await?;
        let people = self.people_in(company).await?;
        let mut pages = 0;
        while let Some(page) =
            self.erase_page(company, person, &people, operation.matched, position).await?
        {
            operation.matched = page.end.min(position);
            operation.done += page.there;
            pages += 1;
            if pages % NOTED_AFTER == 0 {
                self.read.save_operation(operation).await?;
            }
        }
        order.account = self.erase_beside(company, person, &people).await?;
        self.end(operation, order).await?;
        order
            .outcome(operation)
            .ok_or_else(|| StoreError::Rejected("an erasure has no event".to_owned()))
    }

    async fn end(&self, operation: &mut Operation, order: Order) -> Result<(), StoreError> {
        DONE.clone_into(&mut operation.state);
        operation.request = text_of(&order)?;
        operation.finished_at = Some(self.now());
        self.read.save_operation(operation).await
    }

    /// Erases what an earlier request recorded that it erased; counts what that was.
    async fn erase_again(
        &self,
        company: CompanyId,
        person: PersonId,
        position: u64,
    ) -> Result<Erased, StoreError> {
        let people = self.people_in(company).await?;
        let (mut after, mut private_parts) = (0, 0);
        while let Some(page) = self.erase_page(company, person, &people, after, position).await? {
            after = page.end;
            private_parts += page.named;
        }
        let account = self.erase_beside(company, person, &people).await?;
        Ok(Erased { company_id: company.0, person_id: person.0, position, private_parts, account })
    }

    /// The position of the erasure of this person that a request recorded with its key, or joined
    /// then.
    async fn position_of(
        &self,
        company: CompanyId,
        person: PersonId,
        replay: &Replay,
    ) -> Result<u64, StoreError> {
        let joined = replay.stream != company.into();
        let before = if joined { 0 } else { replay.sequence.saturating_sub(1) };
        let erasures = self.erasures_behind(company, before, person).await?;
        let position = if joined {
            erasures.iter().rfind(|(_, at)| *at <= replay.recorded_at)
        } else {
            erasures.first()
        };
        position.map(|(position, _)| *position).ok_or_else(|| {
            StoreError::Rejected("an idempotency key names an event that is not there".to_owned())
        })
    }
}
