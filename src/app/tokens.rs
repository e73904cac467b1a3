//! Tokens.

use super::input::{self, Check};
use super::keys::Renewal;
use super::outcome::{Changed, Listed};
use super::past::Until;
use super::view::TokenView;
use super::{App, AppError, Caller, Conditions};
use std::sync::Arc;
use token_ledger_domain::scope::InvalidScopes;
use token_ledger_domain::secret::is_well_formed;
use token_ledger_domain::token::{Create, Refresh, Token, TokenCommand, TokenEvent};
use token_ledger_domain::{ClientId, CompanyId, Digest, LedgerEvent, Secret, Timestamp, TokenId};
use token_ledger_event_store::{Appended, Executed, Idempotency, Request, StoreError};
use token_ledger_projections::read_models::{
    After, SortValue, TokenFilter, TokenPage, TokenRecord, TokenSort,
};
use token_ledger_projections::{Projection, Tokens};

/// What a new token shall be.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// Length of its first term, in seconds.
    pub expires_in_seconds: Option<i64>,
    /// The client that gets it over OAuth.
    pub client_id: Option<ClientId>,
    /// Why.
    pub reason: Option<String>,
}

impl App {
    /// Creates a token in the caller's company.
    ///
    /// # Errors
    /// When the input is not acceptable, or the company's rules are against it.
    pub async fn create_token(
        &self,
        caller: &Caller,
        input: NewToken,
        conditions: Conditions,
    ) -> Result<Changed<TokenView>, AppError> {
        let mut check = Check::default();
        let name = check.field("name", input::name(input.name));
        let scopes = check.field("scopes", self.choices.catalogue.select(&input.scopes));
        let reason = check.field("reason", input::reason(input.reason));
        let (Some(name), Some(scopes), Some(reason)) = (name, scopes, reason) else {
            let replay = self.replay_or(caller, &conditions, check).await?;
            let id = TokenId(replay.stream.id);
            return self.changed_token(caller, id, Executed::Repeated(replay), None).await;
        };
        let secret = self.token_secret();
        let command = TokenCommand::Create(Create {
            name,
            scopes,
            secret: secret.stored(),
            validity_seconds: input.expires_in_seconds,
            client_id: input.client_id,
        });
        let id = TokenId(self.new_id());
        let executed = self.execute_token(caller, id, command, conditions, reason).await?;
        // Nothing that could fail stands between the token and the answer that has its secret.
        if let Executed::Done { state, position: Some(position), recorded_at, .. } = &executed
            && let Some(record) = created(caller, id, state, *position, *recorded_at)
        {
            let view = TokenView::new(record, *recorded_at);
            return Ok(Changed { view, secret: Some(secret), repeated: false });
        }
        self.changed_token(caller, id, executed, Some(secret)).await
    }

    /// Gives a token a new term and a new secret.
    ///
    /// # Errors
    /// When the token, the input or the company's rules don't allow it.
    pub async fn refresh_token(
        &self,
        caller: &Caller,
        id: TokenId,
        input: Renewal,
        conditions: Conditions,
    ) -> Result<Changed<TokenView>, AppError> {
        let reason = input::checked_reason(input.reason)?;
        let secret = self.token_secret();
        let command = TokenCommand::Refresh(Refresh {
            secret: secret.stored(),
            validity_seconds: input.expires_in_seconds,
            grace_seconds: input.grace_period_seconds,
        });
        let executed = self.execute_token(caller, id, command, conditions, reason).await?;
        self.changed_token(caller, id, executed, Some(secret)).await
    }

    /// Stops a token's old secret now.
    ///
    /// # Errors
    /// When the token is deleted.
    pub async fn end_grace(
        &self,
        caller: &Caller,
        id: TokenId,
        reason: Option<String>,
        conditions: Conditions,
    ) -> Result<Changed<TokenView>, AppError> {
        let reason = input::checked_reason(reason)?;
        let command = TokenCommand::EndGrace;
        let executed = self.execute_token(caller, id, command, conditions, reason).await?;
        self.changed_token(caller, id, executed, None).await
    }

    /// Replaces a token's scopes.
    ///
    /// # Errors
    /// When the scopes are not acceptable or the token is deleted.
    pub async fn change_scopes(
        &self,
        caller: &Caller,
        id: TokenId,
        scopes: &[String],
        reason: Option<String>,
        conditions: Conditions,
    ) -> Result<Changed<TokenView>, AppError> {
        let mut check = Check::default();
        let chosen = match self.choices.catalogue.select(scopes) {
            // Those that it has, though some are on offer no more, are no change.
            Err(unknown @ InvalidScopes::Unknown(_)) => {
                let record = self.read.token(caller.company, id).await?;
                let present = record.map(|record| record.row.scopes);
                present.filter(|present| present.are(scopes)).ok_or(unknown)
            }
            chosen => chosen,
        };
        let scopes = check.field("scopes", chosen);
        let reason = check.field("reason", input::reason(reason));
        let (Some(scopes), Some(reason)) = (scopes, reason) else {
            let replay = self.replay_or(caller, &conditions, check).await?;
            return self.changed_token(caller, id, Executed::Repeated(replay), None).await;
        };
        let command = TokenCommand::ChangeScopes { scopes };
        let executed = self.execute_token(caller, id, command, conditions, reason).await?;
        self.changed_token(caller, id, executed, None).await
    }

    /// Deletes a token.
    ///
    /// # Errors
    /// When it is deleted already.
    pub async fn delete_token(
        &self,
        caller: &Caller,
        id: TokenId,
        reason: Option<String>,
        conditions: Conditions,
    ) -> Result<(), AppError> {
        let reason = input::checked_reason(reason)?;
        self.execute_token(caller, id, TokenCommand::Delete, conditions, reason).await?;
        Ok(())
    }

    /// A token of the caller's company, as it is or as it was.
    ///
    /// # Errors
    /// When there is or was none, or the time has not come yet.
    pub async fn token(
        &self,
        caller: &Caller,
        id: TokenId,
        at: Option<Timestamp>,
    ) -> Result<TokenView, AppError> {
        let now = self.now();
        if at.is_some_and(|at| at > now) {
            return Err(AppError::invalid("at", "must not be in the future"));
        }
        let record = match at {
            None => self.read.token(caller.company, id).await?,
            Some(at) => self.token_then(caller.company, id, Until::Time(at), at).await?,
        };
        let record = record.ok_or(AppError::NotFound("token"))?;
        Ok(TokenView::new(record, at.unwrap_or(now)))
    }

    /// A page of the tokens of the caller's company.
    ///
    /// # Errors
    /// When there is no such company.
    pub async fn tokens(
        &self,
        caller: &Caller,
        filter: &TokenFilter,
        page: TokenPage,
    ) -> Result<Listed<TokenView, After>, AppError> {
        self.existing_company(caller.company).await?;
        let (limit, sort) = (page.limit, page.sort);
        let page = TokenPage { limit: limit + 1, ..page };
        let records = self.read.tokens(caller.company, filter, &page).await?;
        Ok(listed(records, filter, limit, sort))
    }

    /// A page of the tokens of the caller's company, and how many there are in all, if no more than
    /// `most`.
    ///
    /// # Errors
    /// When there is no such company.
    pub async fn counted_tokens(
        &self,
        caller: &Caller,
        filter: &TokenFilter,
        page: TokenPage,
        most: usize,
    ) -> Result<(Listed<TokenView, After>, Option<usize>), AppError> {
        let Some(few) = self.read.few_tokens(caller.company, filter, most).await? else {
            return Ok((self.tokens(caller, filter, page).await?, None));
        };
        let (limit, sort) = (page.limit, page.sort);
        let page = TokenPage { limit: limit + 1, ..page };
        let records = self.read.tokens_among(caller.company, &few, &page).await?;
        Ok((listed(records, filter, limit, sort), Some(few.len())))
    }

    /// The token of the caller's company that a secret belongs or belonged to, whatever white space
    /// was copied with it.
    ///
    /// # Errors
    /// When there is none.
    pub async fn find_token(
        &self,
        caller: &Caller,
        secret: &str,
        idempotency: Option<Idempotency>,
    ) -> Result<(TokenView, bool), AppError> {
        let replay = self.recorded(caller.company, idempotency.as_ref()).await?;
        if replay.is_none() {
            self.begin(caller, caller.company, self.new_id(), idempotency).await?;
        }
        let secret = secret.trim();
        if !is_well_formed(secret) {
            return Err(AppError::NoSecret);
        }
        let digest = Digest::of(secret);
        let id = self.read.token_of_secret(caller.company, digest).await?;
        let id = id.ok_or(AppError::NotFound("token"))?;
        // A repeat answers as the first did, whatever happened since.
        let then = replay.as_ref().map(|replay| replay.recorded_at);
        Ok((self.token(caller, id, then).await?, replay.is_some()))
    }

    async fn execute_token(
        &self,
        caller: &Caller,
        id: TokenId,
        command: TokenCommand,
        conditions: Conditions,
        reason: Option<String>,
    ) -> Result<Executed<Token>, AppError> {
        let Conditions { expected_version, idempotency } = conditions;
        let request = Request { id: id.0, command, expected_version, idempotency };
        let context = caller.context(reason);
        Ok(self.execute(caller, &context, request).await?)
    }

    /// What the command led to: the token right after it, whatever happened to it since.
    async fn changed_token(
        &self,
        caller: &Caller,
        id: TokenId,
        executed: Executed<Token>,
        secret: Option<Secret>,
    ) -> Result<Changed<TokenView>, AppError> {
        let changed = self.token_after(caller.company, id, executed, secret).await;
        changed.map_err(|error| error.after_change().into())
    }

    async fn token_after(
        &self,
        company: CompanyId,
        id: TokenId,
        executed: Executed<Token>,
        secret: Option<Secret>,
    ) -> Result<Changed<TokenView>, StoreError> {
        let (record, at, repeated) = match executed {
            Executed::Done { sequence, recorded_at, .. } => {
                let current = self.read.token(company, id).await?;
                let mut record = current.filter(|record| record.row.version == sequence);
                if record.is_none() {
                    let until = Until::Sequence(sequence);
                    record = self.token_then(company, id, until, recorded_at).await?;
                }
                (record, recorded_at, false)
            }
            Executed::Repeated(replay) => {
                let id = TokenId(replay.stream.id);
                let until = Until::Sequence(replay.sequence);
                let at = replay.recorded_at;
                (self.token_then(company, id, until, at).await?, at, true)
            }
        };
        let record = record.ok_or_else(|| StoreError::Rejected("no row of a token".to_owned()))?;
        let secret = secret.filter(|_| !repeated);
        Ok(Changed { view: TokenView::new(record, at), secret, repeated })
    }

    fn token_secret(&self) -> Secret {
        Secret::from_random(&self.choices.token_prefix, self.ledger.entropy().bits256())
    }
}

/// A token as its creation left it.
fn created(
    caller: &Caller,
    id: TokenId,
    state: &Token,
    position: u64,
    recorded_at: Timestamp,
) -> Option<TokenRecord> {
    let grant = state.grant()?;
    let event = TokenEvent::Created {
        name: grant.name.clone(),
        scopes: grant.scopes.clone(),
        secret: grant.term.secret.clone(),
        expires_at: grant.term.expires_at,
        client_id: grant.client_id,
    };
    let appended = Appended {
        company: caller.company,
        position,
        stream: id.into(),
        sequence: 1,
        recorded_at,
        actor: caller.actor,
        event: Arc::new(LedgerEvent::Token(event)),
    };
    let row = Tokens::apply(None, &appended).ok().flatten()?;
    let created_by_name = caller.name.clone();
    Some(TokenRecord { row, created_by_name, last_used_at: None, last_used_from: None })
}

/// A page, of which one row more than it holds was read.
fn listed(
    records: Vec<TokenRecord>,
    filter: &TokenFilter,
    limit: usize,
    sort: TokenSort,
) -> Listed<TokenView, After> {
    let views: Vec<TokenView> =
        records.into_iter().map(|record| TokenView::new(record, filter.now)).collect();
    Listed::cut(views, limit, |token| place(token, sort), |token| token)
}

/// Where a list goes on behind this token.
pub fn place(token: &TokenView, sort: TokenSort) -> After {
    let value = match sort {
        TokenSort::CreatedAt => SortValue::Time(token.created_at),
        TokenSort::ExpiresAt => SortValue::Time(token.expires_at),
        TokenSort::Name => SortValue::Text(token.name.clone()),
        TokenSort::LastUsedAt => SortValue::Time(token.last_used_at.unwrap_or_default()),
    };
    After { value, id: token.token_id }
}
