//! The companies' policies for terms that begin from now on.

use super::input::{self, Check};
use super::{App, AppError, Caller, Conditions};
use serde::Serialize;
use token_ledger_domain::company::{Company, CompanyCommand};
use token_ledger_domain::policy::{DEFAULT_MAX_GRACE_SECONDS, DEFAULT_VALIDITY_SECONDS};
use token_ledger_domain::scope::InvalidScopes;
use token_ledger_domain::{CompanyId, Policy, ScopeSet};
use token_ledger_event_store::Executed;
use token_ledger_projections::companies::CompanyRow;
use utoipa::ToSchema;

/// What a policy shall be; what is not given is as it is where nobody chose.
#[derive(Clone, Debug, Default)]
pub struct NewPolicy {
    /// The longest term, in seconds.
    pub max_validity_seconds: Option<i64>,
    /// The longest grace period, in seconds.
    pub max_grace_seconds: Option<i64>,
    /// The scopes that tokens may have; none for all on offer.
    pub allowed_scopes: Option<Vec<String>>,
    /// Why.
    pub reason: Option<String>,
}

/// A company's policy for terms that begin from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PolicyView {
    /// The longest term, in seconds.
    pub max_validity_seconds: i64,
    /// The longest that an old secret may live on after a refresh, in seconds.
    pub max_grace_seconds: i64,
    /// The scopes that tokens may have, sorted; null for all on offer.
    pub allowed_scopes: Option<Vec<String>>,
}

impl From<&Policy> for PolicyView {
    fn from(policy: &Policy) -> Self {
        Self {
            max_validity_seconds: policy.max_validity_seconds,
            max_grace_seconds: policy.max_grace_seconds,
            allowed_scopes: policy.allowed_scopes.as_ref().map(super::view::scope_list),
        }
    }
}

/// A policy at the version of what the company says of itself, for `ETag` and `If-Match`.
pub type VersionedPolicy = (PolicyView, u64);

impl App {
    /// The policy of the caller's company.
    ///
    /// # Errors
    /// When there is no such company.
    pub async fn policy(&self, caller: &Caller) -> Result<VersionedPolicy, AppError> {
        let CompanyRow { policy, version, .. } = self.existing_company(caller.company).await?;
        Ok(((&policy).into(), version))
    }

    /// Replaces the policy of the caller's company. Terms that have begun are left as they are.
    ///
    /// # Errors
    /// When the input is not acceptable, or the company has moved on.
    pub async fn change_policy(
        &self,
        caller: &Caller,
        input: NewPolicy,
        conditions: Conditions,
    ) -> Result<VersionedPolicy, AppError> {
        let mut check = Check::default();
        let chosen = match input.allowed_scopes {
            None => Ok(None),
            Some(names) => self.allowable(caller.company, &names).await?.map(Some),
        };
        let allowed_scopes = check.field("allowed_scopes", chosen);
        let reason = check.field("reason", input::reason(input.reason));
        let (Some(allowed_scopes), Some(reason)) = (allowed_scopes, reason) else {
            let replay = self.replay_or(caller, &conditions, check).await?;
            return self.policy_after(caller, &Executed::Repeated(replay)).await;
        };
        let policy = Policy {
            max_validity_seconds: input.max_validity_seconds.unwrap_or(DEFAULT_VALIDITY_SECONDS),
            max_grace_seconds: input.max_grace_seconds.unwrap_or(DEFAULT_MAX_GRACE_SECONDS),
            allowed_scopes,
        };
        let command = CompanyCommand::ChangePolicy { policy };
        let version = || self.company_version(caller.company);
        let context = caller.context(reason);
        let executed = self.change_part(caller, command, &context, conditions, version).await?;
        self.policy_after(caller, &executed).await
    }

    /// The scopes that a policy may allow: those on offer, and those that it allows already, though
    /// some are on offer no more.
    async fn allowable(
        &self,
        company: CompanyId,
        names: &[String],
    ) -> Result<Result<ScopeSet, InvalidScopes>, AppError> {
        let catalogue = &self.choices.catalogue;
        let chosen = catalogue.select(names);
        if !matches!(chosen, Err(InvalidScopes::Unknown(_))) {
            return Ok(chosen);
        }
        let allowed = self.existing_company(company).await?.policy.allowed_scopes;
        Ok(catalogue.select_or_keep(names, &allowed.unwrap_or_default()))
    }

    /// The policy as what was executed left it, whatever happened to it since.
    async fn policy_after(
        &self,
        caller: &Caller,
        executed: &Executed<Company>,
    ) -> Result<VersionedPolicy, AppError> {
        let CompanyRow { policy, version, .. } =
            self.company_after(caller.company, executed).await?;
        Ok(((&policy).into(), version))
    }
}
