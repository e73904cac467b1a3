//! API keys.

use super::input::{self, Check};
use super::outcome::{Changed, Listed};
use super::past::Until;
use super::view::KeyView;
use super::{App, AppError, Caller, Conditions};
use token_ledger_domain::key::{Key, KeyCommand};
use token_ledger_domain::power::KeyScopes;
use token_ledger_domain::{Digest, KeyId, KeyScope, Quoted, Secret};
use token_ledger_event_store::{Executed, Request, StoreError};

/// What a new key shall be.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// Its name.
    pub name: String,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// Length of its first term, in seconds.
    pub expires_in_seconds: Option<i64>,
    /// Why.
    pub reason: Option<String>,
}

/// What a refresh of a token or key shall be like.
#[derive(Clone, Debug, Default)]
pub struct Renewal {
    /// How long the old secret lives on, in seconds.
    pub grace_period_seconds: i64,
    /// Length of the new term, in seconds.
    pub expires_in_seconds: Option<i64>,
    /// Why.
    pub reason: Option<String>,
}

impl App {
    /// Creates a key in the caller's company.
    ///
    /// # Errors
    /// When the input is not acceptable or more than the caller may grant.
    pub async fn create_key(
        &self,
        caller: &Caller,
        input: NewKey,
        conditions: Conditions,
    ) -> Result<Changed<KeyView>, AppError> {
        let mut check = Check::default();
        let name = check.field("name", input::name(input.name));
        let scopes = check.field("scopes", key_scopes(&input.scopes));
        let reason = check.field("reason", input::reason(input.reason));
        let (Some(name), Some(scopes), Some(reason)) = (name, scopes, reason) else {
            return Err(check.refusal());
        };
        let secret = self.key_secret();
        let command = KeyCommand::Create {
            name,
            scopes,
            secret: secret.stored(),
            validity_seconds: input.expires_in_seconds,
        };
        let id = KeyId(self.new_id());
        self.change_key(caller, id, command, conditions, reason, Some(secret)).await
    }

    /// Gives a key a new term and a new secret. A key that asks for itself shows the secret that it
    /// asks by, which has to be its current one.
    ///
    /// # Errors
    /// When the key or the input doesn't allow it.
    pub async fn refresh_key(
        &self,
        caller: &Caller,
        id: KeyId,
        shown: Option<Digest>,
        input: Renewal,
        conditions: Conditions,
    ) -> Result<Changed<KeyView>, AppError> {
        let reason = input::checked_reason(input.reason)?;
        let secret = self.key_secret();
        let command = KeyCommand::Refresh {
            secret: secret.stored(),
            validity_seconds: input.expires_in_seconds,
            grace_seconds: input.grace_period_seconds,
            shown,
        };
        self.change_key(caller, id, command, conditions, reason, Some(secret)).await
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// When it is deleted already, or does more than the caller may take away.
    pub async fn delete_key(
        &self,
        caller: &Caller,
        id: KeyId,
        reason: Option<String>,
        conditions: Conditions,
    ) -> Result<(), AppError> {
        let reason = input::checked_reason(reason)?;
        self.change_key(caller, id, KeyCommand::Delete, conditions, reason, None).await?;
        Ok(())
    }

    /// A key of the caller's company.
    ///
    /// # Errors
    /// When there is none.
    pub async fn key(&self, caller: &Caller, id: KeyId) -> Result<KeyView, AppError> {
        let record = self.read.key(caller.company, id).await?.ok_or(AppError::NotFound("key"))?;
        Ok(KeyView::new(record, self.now()))
    }

    /// The keys of the caller's company, newest first.
    ///
    /// # Errors
    /// When there is no such company.
    pub async fn keys(
        &self,
        caller: &Caller,
        after: Option<KeyId>,
        limit: usize,
    ) -> Result<Listed<KeyView, KeyId>, AppError> {
        self.existing_company(caller.company).await?;
        let now = self.now();
        let records = self.read.keys(caller.company, after, limit + 1).await?;
        let view = |record| KeyView::new(record, now);
        Ok(Listed::cut(records, limit, |record| record.row.key_id, view))
    }

    async fn change_key(
        &self,
        caller: &Caller,
        id: KeyId,
        command: KeyCommand,
        conditions: Conditions,
        reason: Option<String>,
        secret: Option<Secret>,
    ) -> Result<Changed<KeyView>, AppError> {
        let Conditions { expected_version, idempotency } = conditions;
        let request = Request { id: id.0, command, expected_version, idempotency };
        let context = caller.context(reason);
        let executed = self.execute::<Key>(caller, &context, request).await?;
        let (id, sequence, at, repeated) = match executed {
            Executed::Done { sequence, recorded_at, .. } => (id, sequence, recorded_at, false),
            Executed::Repeated(replay) => {
                (KeyId(replay.stream.id), replay.sequence, replay.recorded_at, true)
            }
        };
        let record = self
            .key_then(caller.company, id, Until::Sequence(sequence))
            .await
            .map_err(StoreError::after_change)?
            .ok_or(AppError::NotFound("key"))?;
        let secret = secret.filter(|_| !repeated);
        Ok(Changed { view: KeyView::new(record, at), secret, repeated })
    }

    pub(super) fn key_secret(&self) -> Secret {
        Secret::from_random(&self.choices.key_prefix, self.ledger.entropy().bits256())
    }
}

/// The set of the scopes named, each once.
fn key_scopes(names: &[String]) -> Result<KeyScopes, String> {
    let mut scopes = KeyScopes::new();
    for name in names {
        let scope: KeyScope = name.parse().map_err(|error| format!("{error}"))?;
        if !scopes.insert(scope) {
            return Err(format!("scope {} is named more than once", Quoted(name)));
        }
    }
    if scopes.is_empty() {
        return Err("needs at least one scope".to_owned());
    }
    Ok(scopes)
}
