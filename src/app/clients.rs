//! OAuth clients.

use super::input::{self, Check};
use super::outcome::{Changed, Listed};
use super::view::ClientView;
use super::{App, AppError, Caller, Conditions};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::company::{Company, CompanyCommand};
use token_ledger_domain::{ClientId, CompanyId, Secret};
use token_ledger_event_store::{Executed, StoreError};
use token_ledger_projections::clients::ClientStatus;

/// How long the answer to a deletion waits for the client's tokens to be deleted too. What is left
/// then goes on without it; none of those tokens is good in the meantime.
const SETTLE: Duration = Duration::from_secs(5);

/// What a new client shall be.
#[derive(Clone, Debug, Default)]
pub struct NewClient {
    /// Its name.
    pub name: String,
    /// The scopes that it may ask for.
    pub scopes: Vec<String>,
    /// Why.
    pub reason: Option<String>,
}

impl App {
    /// Creates a client in the caller's company.
    ///
    /// # Errors
    /// When the input is not acceptable.
    pub async fn create_client(
        &self,
        caller: &Caller,
        input: NewClient,
        conditions: Conditions,
    ) -> Result<Changed<ClientView>, AppError> {
        let mut check = Check::default();
        let name = check.field("name", input::name(input.name));
        let scopes = check.field("scopes", self.choices.catalogue.select(&input.scopes));
        let reason = check.field("reason", input::reason(input.reason));
        let client_id = ClientId(self.new_id());
        let secret = self.client_secret();
        let (Some(name), Some(scopes), Some(reason)) = (name, scopes, reason) else {
            let replay = self.replay_or(caller, &conditions, check).await?;
            let repeated = Executed::Repeated(replay);
            return self.changed_client(caller, client_id, repeated, secret).await;
        };
        let stored = secret.stored();
        let command = CompanyCommand::CreateClient { client_id, name, scopes, secret: stored };
        let executed = self.execute_client(caller, client_id, command, conditions, reason).await?;
        self.changed_client(caller, client_id, executed, secret).await
    }

    /// Gives a client a new secret; the old one lives on for the grace period.
    ///
    /// # Errors
    /// When the client is deleted, or the grace period is more than the company's policy allows.
    pub async fn rotate_client(
        &self,
        caller: &Caller,
        client_id: ClientId,
        grace_period_seconds: i64,
        reason: Option<String>,
        conditions: Conditions,
    ) -> Result<Changed<ClientView>, AppError> {
        let reason = input::checked_reason(reason)?;
        let secret = self.client_secret();
        let command = CompanyCommand::RotateClient {
            client_id,
            secret: secret.stored(),
            grace_seconds: grace_period_seconds,
        };
        let executed = self.execute_client(caller, client_id, command, conditions, reason).await?;
        self.changed_client(caller, client_id, executed, secret).await
    }

    /// Deletes a client, and its tokens with it. None of them is good from the moment on that the
    /// client is deleted; that they are deleted is recorded token by token after that, even if the
    /// process ends in between.
    ///
    /// # Errors
    /// When the client is deleted already.
    pub async fn delete_client(
        self: &Arc<Self>,
        caller: &Caller,
        client_id: ClientId,
        reason: Option<String>,
        conditions: Conditions,
    ) -> Result<(), AppError> {
        let reason = input::checked_reason(reason)?;
        let row = self.read.client(caller.company, client_id).await?;
        let row = row.ok_or(AppError::NotFound("client"))?;
        let command = CompanyCommand::DeleteClient { client_id };
        if row.deleted_at.is_some() {
            let refused = self.execute_client(caller, client_id, command, conditions, reason);
            return refused.await.map(drop);
        }
        // Stored before the client is deleted, so that what follows from that can't be forgotten.
        let sweep = self.plan_sweep(caller, client_id, &row.name, reason.as_deref()).await?;
        if let Err(error) =
            self.execute_client(caller, client_id, command, conditions, reason).await
        {
            if error.is_in_doubt() {
                // It finds out whether the client is deleted.
                self.carry_on(sweep);
            } else {
                self.call_off(sweep).await;
            }
            return Err(error);
        }
        let sweep = self.carry_on(sweep);
        if tokio::time::timeout(SETTLE, sweep).await.is_err() {
            tracing::info!(client = %client_id, "the client's tokens are still being deleted");
        }
        Ok(())
    }

    /// A client of the caller's company, deleted or not.
    ///
    /// # Errors
    /// When there is none.
    pub async fn client(&self, caller: &Caller, id: ClientId) -> Result<ClientView, AppError> {
        let row = self.read.client(caller.company, id).await?;
        Ok(ClientView::new(row.ok_or(AppError::NotFound("client"))?, self.now()))
    }

    /// The clients of the caller's company that have one of these statuses, oldest first.
    ///
    /// # Errors
    /// When there is no such company.
    pub async fn clients(
        &self,
        caller: &Caller,
        statuses: &BTreeSet<ClientStatus>,
        after: Option<ClientId>,
        limit: usize,
    ) -> Result<Listed<ClientView, ClientId>, AppError> {
        self.existing_company(caller.company).await?;
        let rows = self.read.clients(caller.company, statuses, after, limit + 1).await?;
        let now = self.now();
        let view = |row| ClientView::new(row, now);
        Ok(Listed::cut(rows, limit, |row| row.client_id, view))
    }

    /// Executes a command about a client. The version that the caller expects is the client's,
    /// while the stream is the company's, in which much else happens.
    async fn execute_client(
        &self,
        caller: &Caller,
        id: ClientId,
        command: CompanyCommand,
        conditions: Conditions,
        reason: Option<String>,
    ) -> Result<Executed<Company>, AppError> {
        let company = caller.company;
        let context = caller.context(reason);
        let version = || async move {
            let row = self.read.client(company, id).await?;
            Ok(row.ok_or(AppError::NotFound("client"))?.version)
        };
        match self.change_part(caller, command, &context, conditions, version).await {
            // The company no longer knows a deleted client; callers do.
            Err(AppError::NotFound("client"))
                if self
                    .read
                    .client(company, id)
                    .await?
                    .is_some_and(|row| row.deleted_at.is_some()) =>
            {
                Err(AppError::ClientDeleted)
            }
            executed => executed,
        }
    }

    /// What the command led to: the client right after it, whatever happened to it since.
    async fn changed_client(
        &self,
        caller: &Caller,
        id: ClientId,
        executed: Executed<Company>,
        secret: Secret,
    ) -> Result<Changed<ClientView>, AppError> {
        let changed = self.client_changed_by(caller.company, id, executed, secret).await;
        changed.map_err(|error| error.after_change().into())
    }

    async fn client_changed_by(
        &self,
        company: CompanyId,
        id: ClientId,
        executed: Executed<Company>,
        secret: Secret,
    ) -> Result<Changed<ClientView>, StoreError> {
        let (row, at, repeated) = match executed {
            Executed::Done { sequence, recorded_at, .. } => {
                let current = self.read.client(company, id).await?;
                let row = match current.filter(|row| row.version == sequence) {
                    Some(row) => Some(row),
                    None => self.client_after(company, sequence).await?,
                };
                (row, recorded_at, false)
            }
            Executed::Repeated(replay) => {
                let row = self.client_after(company, replay.sequence).await?;
                (row, replay.recorded_at, true)
            }
        };
        let row = row.ok_or_else(|| StoreError::Rejected("no row of a client".to_owned()))?;
        let secret = Some(secret).filter(|_| !repeated);
        Ok(Changed { view: ClientView::new(row, at), secret, repeated })
    }

    fn client_secret(&self) -> Secret {
        Secret::from_random(&self.choices.client_prefix, self.ledger.entropy().bits256())
    }
}
