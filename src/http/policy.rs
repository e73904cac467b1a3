//! The companies' policies.

use super::Service;
use super::extract::{IfMatch, JsonBody, Params};
use super::page::NoParams;
use super::problem::Answer;
use super::reply::{RefusedChange, RefusedRead, Reply};
use super::vocabulary::{Reason, ScopeName};
use crate::app::Caller;
use crate::app::policy::{NewPolicy, PolicyView, VersionedPolicy};
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What the policy shall be, all of it: what is left out is as it is where nobody chose.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyChange {
    /// The longest term, in seconds; 604800 (seven days) unless given.
    #[schema(minimum = 60, maximum = 31_622_400)]
    max_validity_seconds: Option<i64>,
    /// The longest that an old secret may live on after a refresh, in seconds; 86400 (a day)
    /// unless given.
    #[schema(minimum = 0, maximum = 31_622_400)]
    max_grace_seconds: Option<i64>,
    /// The scopes that tokens may have, at least one; null, or left out, for all on offer.
    #[schema(value_type = Option<BTreeSet<ScopeName>>, min_items = 1)]
    allowed_scopes: Option<Vec<String>>,
    /// Why, for the audit trail.
    #[schema(value_type = Option<Reason>)]
    reason: Option<String>,
}

fn reply((policy, version): VersionedPolicy) -> Reply {
    Reply::ok(policy).changed_by_events_alone(version)
}

/// Reads the company's policy for terms that begin from now on.
#[utoipa::path(
    get, path = "/v1/companies/{company_id}/policy", operation_id = "get_policy", tag = "policy",
    responses((status = 200, description = "The policy", body = PolicyView), RefusedRead),
)]
pub async fn get(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: Params<NoParams>,
) -> Answer<Reply> {
    Ok(reply(service.app.policy(&caller).await?))
}

/// Replaces the company's policy for terms that begin from now on.
#[utoipa::path(
    put, path = "/v1/companies/{company_id}/policy", operation_id = "set_policy", tag = "policy",
    request_body = PolicyChange,
    responses((status = 200, description = "The policy", body = PolicyView), RefusedChange),
)]
pub async fn put(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: Params<NoParams>,
    if_match: IfMatch,
    body: JsonBody<PolicyChange>,
) -> Answer<Reply> {
    let PolicyChange { max_validity_seconds, max_grace_seconds, allowed_scopes, reason } =
        body.value;
    let input = NewPolicy { max_validity_seconds, max_grace_seconds, allowed_scopes, reason };
    let change = |conditions| service.app.change_policy(&caller, input.clone(), conditions);
    Ok(reply(if_match.hold(None, change).await?))
}
