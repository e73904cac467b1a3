//! The company aggregate: the OAuth App module, the policy, members and clients.

mod command;
mod event;

pub use command::{CompanyCommand, CompanyDecision};
pub use event::CompanyEvent;

use crate::id::{ClientId, MemberId, PersonId};
use crate::name::Name;
use crate::policy::{MIN_VALIDITY_SECONDS, Policy, PolicyViolation, VALIDITY_CEILING_SECONDS};
use crate::power::{Power, Role};
use crate::scope::ScopeSet;
use crate::secret::StoredSecret;
use crate::time::Timestamp;
use crate::token::{TokenCommand, TokenRules};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A company's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Company {
    /// Its name; none until it is registered.
    pub name: Option<Name>,
    /// Whether the OAuth App module is on.
    pub oauth_app_enabled: bool,
    /// The policy for terms that begin from now on.
    pub policy: Policy,
    /// Its members.
    pub members: BTreeMap<MemberId, Member>,
    /// Its OAuth clients that are not deleted.
    pub clients: BTreeMap<ClientId, Client>,
}

/// A person's membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The person.
    pub person_id: PersonId,
    /// The role.
    pub role: Role,
    /// Whether the person was erased, and can't be counted on to sign in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_erased: bool,
}

/// An OAuth client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its name.
    pub name: Name,
    /// The scopes that it may ask for.
    pub scopes: ScopeSet,
    /// Its secret.
    pub secret: StoredSecret,
    /// The secret before the last rotation, and when it stops.
    pub previous: Option<(StoredSecret, Timestamp)>,
}

/// Why a company's command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompanyRefusal {
    /// There is no such company.
    #[error("there is no such company")]
    NotFound,
    /// It is registered already.
    #[error("the company is registered already")]
    Exists,
    /// There is no such member.
    #[error("there is no such member")]
    MemberNotFound,
    /// The person is a member already.
    #[error("the person is a member of the company already")]
    MemberExists,
    /// The last Super Admin must stay, and the platform's last operator.
    #[error("{} can't be removed or given a lesser role; name another one first", the_last(*role))]
    LastSuperAdmin {
        /// What it is the last of.
        role: Role,
    },
    /// More than the caller may do itself.
    #[error("{role} is more than you may grant or take away")]
    AboveOwnPower {
        /// The role that is too much.
        role: Role,
    },
    /// An operator outside the platform.
    #[error("operator is a role of the platform's members only")]
    PlatformOnly,
    /// There is no such client.
    #[error("there is no such client")]
    ClientNotFound,
    /// A client of this identifier exists already.
    #[error("a client with this id exists already")]
    ClientExists,
    /// A rule of a policy is out of bounds.
    #[error("{rule} must be {min} to {max} seconds")]
    PolicyBounds {
        /// The rule.
        rule: &'static str,
        /// The least, in seconds.
        min: i64,
        /// The most, in seconds.
        max: i64,
    },
    /// A policy that allows nothing.
    #[error("allowed_scopes must name at least one scope, or be null for all")]
    NoScopesAllowed,
    /// The company's policy is against it.
    #[error(transparent)]
    Policy(#[from] PolicyViolation),
}

impl Company {
    /// Whether it was registered.
    pub const fn exists(&self) -> bool {
        self.name.is_some()
    }

    /// What it says to a token's command.
    pub fn token_rules(&self, command: &TokenCommand) -> TokenRules {
        TokenRules {
            oauth_app_enabled: self.oauth_app_enabled,
            policy: self.policy.clone(),
            clients: self.clients_for(command),
        }
    }

    /// The clients that a command's decision may ask for, and no more: there may be many.
    fn clients_for(&self, command: &TokenCommand) -> BTreeSet<ClientId> {
        match command {
            TokenCommand::Create(create) => {
                create.client_id.filter(|id| self.clients.contains_key(id)).into_iter().collect()
            }
            TokenCommand::Refresh(_) => self.clients.keys().copied().collect(),
            TokenCommand::EndGrace
            | TokenCommand::ChangeScopes { .. }
            | TokenCommand::Delete
            | TokenCommand::Expire { .. } => BTreeSet::new(),
        }
    }

    fn member(&self, id: MemberId) -> Result<&Member, CompanyRefusal> {
        self.members.get(&id).ok_or(CompanyRefusal::MemberNotFound)
    }

    fn client(&self, id: ClientId) -> Result<&Client, CompanyRefusal> {
        self.clients.get(&id).ok_or(CompanyRefusal::ClientNotFound)
    }

    /// Whether it takes this member to manage the company, or, on the platform, what an operator does:
    /// nobody else has as much power, which a Super Admin has at least.
    fn is_last_super_admin(&self, id: MemberId, role: Role) -> bool {
        let needed = role.power().max(Power::SuperAdmin);
        let mut admins = self
            .members
            .iter()
            .filter(|(_, member)| member.role.power() >= needed && !member.is_erased);
        admins.next().is_some_and(|(first, _)| *first == id) && admins.next().is_none()
    }
}

const fn the_last(role: Role) -> &'static str {
    match role {
        Role::Operator => "the platform's last operator",
        Role::SuperAdmin | Role::Auditor => "the company's last Super Admin",
    }
}

/// The events that the command leads to; none when it changes nothing.
///
/// # Errors
/// The reason for a refusal, after which nothing has happened.
pub fn decide(
    company: &Company,
    decision: &CompanyDecision,
) -> Result<Vec<CompanyEvent>, CompanyRefusal> {
    let CompanyDecision { command, power, now } = decision;
    let begins =
        matches!(command, CompanyCommand::Register { .. } | CompanyCommand::Establish { .. });
    if !begins && !company.exists() {
        return Err(CompanyRefusal::NotFound);
    }
    match command {
        CompanyCommand::Register { name } => decide_register(company, name),
        CompanyCommand::Establish { name, member_id, person_id } => {
            let (member_id, person_id) = (*member_id, *person_id);
            let mut events = decide_register(company, name)?;
            let role = Role::SuperAdmin;
            events.push(CompanyEvent::OauthAppEnabled {});
            events.push(CompanyEvent::MemberAdded { member_id, person_id, role });
            Ok(events)
        }
        CompanyCommand::SetOauthApp { enabled } => Ok(decide_oauth_app(company, *enabled)),
        CompanyCommand::ChangePolicy { policy } => decide_policy(company, policy),
        CompanyCommand::AddMember { member_id, person_id, role, platform } => {
            grantable(*role, *power, *platform)?;
            decide_add_member(company, *member_id, *person_id, *role)
        }
        CompanyCommand::ChangeRole { member_id, role, platform } => {
            grantable(*role, *power, *platform)?;
            decide_change_role(company, *member_id, *role, *power)
        }
        CompanyCommand::RemoveMember { member_id } => {
            decide_remove_member(company, *member_id, *power)
        }
        CompanyCommand::CreateClient { client_id, name, scopes, secret } => {
            if company.clients.contains_key(client_id) {
                return Err(CompanyRefusal::ClientExists);
            }
            Ok(vec![CompanyEvent::ClientCreated {
                client_id: *client_id,
                name: name.clone(),
                scopes: scopes.clone(),
                secret: secret.clone(),
            }])
        }
        CompanyCommand::RotateClient { client_id, secret, grace_seconds } => {
            company.client(*client_id)?;
            let grace = company.policy.grace(*grace_seconds)?;
            let grace_end = (grace > 0).then(|| now.plus_seconds(grace));
            Ok(vec![CompanyEvent::ClientRotated {
                client_id: *client_id,
                secret: secret.clone(),
                previous_secret_expires_at: grace_end,
            }])
        }
        CompanyCommand::DeleteClient { client_id } => {
            company.client(*client_id)?;
            Ok(vec![CompanyEvent::ClientDeleted { client_id: *client_id }])
        }
        CompanyCommand::ErasePerson { person_id } => {
            Ok(vec![CompanyEvent::PersonErased { person_id: *person_id }])
        }
    }
}

fn decide_register(company: &Company, name: &Name) -> Result<Vec<CompanyEvent>, CompanyRefusal> {
    if company.exists() {
        return Err(CompanyRefusal::Exists);
    }
    Ok(vec![CompanyEvent::Registered { name: name.clone() }])
}

fn decide_oauth_app(company: &Company, enabled: bool) -> Vec<CompanyEvent> {
    match (company.oauth_app_enabled, enabled) {
        (false, true) => vec![CompanyEvent::OauthAppEnabled {}],
        (true, false) => vec![CompanyEvent::OauthAppDisabled {}],
        _ => Vec::new(),
    }
}

fn decide_policy(company: &Company, policy: &Policy) -> Result<Vec<CompanyEvent>, CompanyRefusal> {
    let bounds = [
        ("max_validity_seconds", policy.max_validity_seconds, MIN_VALIDITY_SECONDS),
        ("max_grace_seconds", policy.max_grace_seconds, 0),
    ];
    for (rule, seconds, min) in bounds {
        if !(min..=VALIDITY_CEILING_SECONDS).contains(&seconds) {
            return Err(CompanyRefusal::PolicyBounds { rule, min, max: VALIDITY_CEILING_SECONDS });
        }
    }
    if policy.allowed_scopes.as_ref().is_some_and(ScopeSet::is_empty) {
        return Err(CompanyRefusal::NoScopesAllowed);
    }
    if company.policy == *policy {
        return Ok(Vec::new());
    }
    Ok(vec![CompanyEvent::PolicyChanged { policy: policy.clone() }])
}

fn grantable(role: Role, power: Power, platform: bool) -> Result<(), CompanyRefusal> {
    within_own_power(role, power)?;
    if role == Role::Operator && !platform {
        return Err(CompanyRefusal::PlatformOnly);
    }
    Ok(())
}

fn within_own_power(role: Role, power: Power) -> Result<(), CompanyRefusal> {
    if role.power() > power { Err(CompanyRefusal::AboveOwnPower { role }) } else { Ok(()) }
}

fn decide_add_member(
    company: &Company,
    member_id: MemberId,
    person_id: PersonId,
    role: Role,
) -> Result<Vec<CompanyEvent>, CompanyRefusal> {
    let known = company.members.contains_key(&member_id)
        || company.members.values().any(|member| member.person_id == person_id);
    if known {
        return Err(CompanyRefusal::MemberExists);
    }
    Ok(vec![CompanyEvent::MemberAdded { member_id, person_id, role }])
}

fn decide_change_role(
    company: &Company,
    member_id: MemberId,
    role: Role,
    power: Power,
) -> Result<Vec<CompanyEvent>, CompanyRefusal> {
    let member = company.member(member_id)?;
    within_own_power(member.role, power)?;
    if member.role == role {
        return Ok(Vec::new());
    }
    if role < member.role && company.is_last_super_admin(member_id, member.role) {
        return Err(CompanyRefusal::LastSuperAdmin { role: member.role });
    }
    Ok(vec![CompanyEvent::MemberRoleChanged { member_id, role, previous_role: member.role }])
}

fn decide_remove_member(
    company: &Company,
    member_id: MemberId,
    power: Power,
) -> Result<Vec<CompanyEvent>, CompanyRefusal> {
    let member = company.member(member_id)?;
    within_own_power(member.role, power)?;
    if company.is_last_super_admin(member_id, member.role) {
        return Err(CompanyRefusal::LastSuperAdmin { role: member.role });
    }
    Ok(vec![CompanyEvent::MemberRemoved { member_id }])
}

/// The state after the event; an event that can't follow the state changes nothing.
#[must_use]
pub fn evolve(mut company: Company, event: CompanyEvent) -> Company {
    if company.exists() == matches!(event, CompanyEvent::Registered { .. }) {
        return company;
    }
    match event {
        CompanyEvent::Registered { name } => company.name = Some(name),
        CompanyEvent::OauthAppEnabled {} => company.oauth_app_enabled = true,
        CompanyEvent::OauthAppDisabled {} => company.oauth_app_enabled = false,
        CompanyEvent::PolicyChanged { policy } => company.policy = policy,
        CompanyEvent::MemberAdded { member_id, person_id, role } => {
            company.members.entry(member_id).or_insert(Member {
                person_id,
                role,
                is_erased: false,
            });
        }
        CompanyEvent::MemberRoleChanged { member_id, role, .. } => {
            if let Some(member) = company.members.get_mut(&member_id) {
                member.role = role;
            }
        }
        CompanyEvent::MemberRemoved { member_id } => {
            company.members.remove(&member_id);
        }
        CompanyEvent::ClientCreated { client_id, name, scopes, secret } => {
            let client = Client { name, scopes, secret, previous: None };
            company.clients.entry(client_id).or_insert(client);
        }
        CompanyEvent::ClientRotated { client_id, secret, previous_secret_expires_at } => {
            if let Some(client) = company.clients.get_mut(&client_id) {
                let old = std::mem::replace(&mut client.secret, secret);
                client.previous = previous_secret_expires_at.map(|end| (old, end));
            }
        }
        CompanyEvent::ClientDeleted { client_id } => {
            company.clients.remove(&client_id);
        }
        CompanyEvent::PersonErased { person_id } => {
            let members = company.members.values_mut();
            for member in members.filter(|member| member.person_id == person_id) {
                member.is_erased = true;
            }
        }
    }
    company
}

crate::adapter::adapt!(Company, "company", CompanyDecision -> CompanyEvent or CompanyRefusal);
