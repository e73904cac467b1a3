//! Members of companies.

use super::Service;
use super::extract::{IdempotencyKey, IfMatch, JsonBody, NoBody, Params, PathId};
use super::page::{NoParams, Page, PageQuery};
use super::problem::Answer;
use super::reply::{RefusedChange, RefusedRead, Reply};
use super::tokens::DeleteQuery;
use super::vocabulary::{EmailAddress, NameText, Reason, RoleName};
use crate::app::Caller;
use crate::app::members::{MemberView, NewMember};
use crate::console::paths;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use token_ledger_domain::{MemberId, Secret};
use utoipa::ToSchema;

/// A new member.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMemberRequest {
    /// The person's e-mail address. One address is one account, over all companies.
    #[serde(default)]
    #[schema(required = true, value_type = EmailAddress)]
    email: String,
    /// `auditor` or `super_admin`; `operator` for members of the platform.
    #[serde(default)]
    #[schema(required = true, value_type = RoleName)]
    role: String,
    /// What the person is called; kept where the account is new.
    #[schema(value_type = Option<NameText>)]
    name: Option<String>,
    /// Why, for the audit trail.
    #[schema(value_type = Option<Reason>)]
    reason: Option<String>,
}

/// A member's new role.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleChange {
    /// `auditor` or `super_admin`; `operator` for members of the platform.
    #[serde(default)]
    #[schema(required = true, value_type = RoleName)]
    role: String,
    /// Why, for the audit trail.
    #[schema(value_type = Option<Reason>)]
    reason: Option<String>,
}

/// A member with a link to set a password, which is shown this once.
#[derive(Serialize, ToSchema)]
pub struct MemberWithLink<'a> {
    #[serde(flatten)]
    view: &'a MemberView,
    /// Where the person sets a password, within a day and once; null where the person is a member
    /// of another company or needs none, or the request is a repeat.
    set_password_url: Option<String>,
}

impl<'a> MemberWithLink<'a> {
    fn new(service: &Service, view: &'a MemberView, link: Option<&Secret>) -> Self {
        let set_password_url = link.map(|link| paths::set_password(&service.public_url, link));
        Self { view, set_password_url }
    }
}

/// Lists the company's members, in the order in which they were added.
#[utoipa::path(
    get, path = "/v1/companies/{company_id}/members", operation_id = "list_members",
    tag = "members",
    params(PageQuery),
    responses((status = 200, description = "The members", body = Page<MemberView>), RefusedRead),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Answer<Reply> {
    let list = format!("members of {}", caller.company);
    let (limit, after) = query.read(&list)?;
    let listed = service.app.members(&caller, after, limit).await?;
    Ok(Reply::ok(Page::of(&list, listed, |member| member)))
}

/// Makes a person a member. A person without an account gets one, and a link to set a password.
#[utoipa::path(
    post, path = "/v1/companies/{company_id}/members", operation_id = "add_member",
    tag = "members",
    request_body = NewMemberRequest,
    responses((status = 201, description = "The member", body = MemberWithLink), RefusedChange),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: Params<NoParams>,
    key: IdempotencyKey,
    body: JsonBody<NewMemberRequest>,
) -> Answer<Reply> {
    let conditions = key.conditions(&caller, body.hash);
    let NewMemberRequest { email, role, name, reason } = body.value;
    let input = NewMember { email, role, name, reason };
    let changed = service.app.add_member(&caller, input, conditions).await?;
    let path = format!("/v1/companies/{}/members/{}", caller.company, changed.view.member_id);
    let body = MemberWithLink::new(&service, &changed.view, changed.secret.as_ref());
    Ok(Reply::new(StatusCode::CREATED, body)
        .version(changed.view.version)
        .location(&path)
        .repeated(changed.repeated))
}

/// Reads a member.
#[utoipa::path(
    get, path = "/v1/companies/{company_id}/members/{member_id}", operation_id = "get_member",
    tag = "members",
    responses((status = 200, description = "The member", body = MemberView), RefusedRead),
)]
pub async fn get(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(id): PathId,
    _: Params<NoParams>,
) -> Answer<Reply> {
    let member = service.app.member(&caller, MemberId(id)).await?;
    Ok(Reply::ok(&member).version(member.version))
}

/// Gives a member another role. The last Super Admin keeps theirs. Who gets a lesser one is signed
/// out.
#[utoipa::path(
    patch, path = "/v1/companies/{company_id}/members/{member_id}",
    operation_id = "change_member_role", tag = "members",
    request_body = RoleChange,
    responses((status = 200, description = "The member", body = MemberView), RefusedChange),
)]
pub async fn change(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(id): PathId,
    _: Params<NoParams>,
    if_match: IfMatch,
    body: JsonBody<RoleChange>,
) -> Answer<Reply> {
    let RoleChange { role, reason } = body.value;
    let change = |conditions| {
        service.app.change_role(&caller, MemberId(id), &role, reason.clone(), conditions)
    };
    let member = if_match.hold(None, change).await?;
    Ok(Reply::ok(&member).version(member.version))
}

/// Removes a member, who is signed out. The last Super Admin can't be removed.
#[utoipa::path(
    delete, path = "/v1/companies/{company_id}/members/{member_id}",
    operation_id = "remove_member", tag = "members",
    params(DeleteQuery),
    responses((status = 204, description = "The member is removed"), RefusedChange),
)]
pub async fn remove(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(id): PathId,
    Params(query): Params<DeleteQuery>,
    if_match: IfMatch,
    _: NoBody,
) -> Answer<StatusCode> {
    let remove = |conditions| {
        service.app.remove_member(&caller, MemberId(id), query.reason.clone(), conditions)
    };
    if_match.hold(None, remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a new link by which a member sets a password. It replaces an older one.
#[utoipa::path(
    post, path = "/v1/companies/{company_id}/members/{member_id}/password-link",
    operation_id = "make_password_link", tag = "members",
    responses(
        (status = 201, description = "The member with the link", body = MemberWithLink),
        RefusedChange,
    ),
)]
pub async fn password_link(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(id): PathId,
    _: Params<NoParams>,
    if_match: IfMatch,
    key: IdempotencyKey,
    body: JsonBody<Nothing>,
) -> Answer<Reply> {
    let key = key.of(&caller, body.hash);
    let make = |conditions| service.app.new_password_link(&caller, MemberId(id), conditions);
    let link = if_match.hold(key, make).await?;
    let body = MemberWithLink::new(&service, &link.view, link.secret.as_ref());
    Ok(Reply::new(StatusCode::CREATED, body).repeated(link.repeated))
}

/// A body without fields: any is unknown.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}
