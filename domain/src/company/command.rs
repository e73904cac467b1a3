//! What can be asked of a company.

use crate::id::{ClientId, MemberId, PersonId};
use crate::name::Name;
use crate::policy::Policy;
use crate::power::{Power, Role};
use crate::scope::ScopeSet;
use crate::secret::StoredSecret;
use crate::time::Timestamp;

/// What can be asked of a company.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompanyCommand {
    /// Register it; the OAuth App module is off at first.
    Register {
        /// Its name.
        name: Name,
    },
    /// Register it with its OAuth App module on and its first Super Admin, all at once.
    Establish {
        /// Its name.
        name: Name,
        /// The Super Admin's membership.
        member_id: MemberId,
        /// The Super Admin.
        person_id: PersonId,
    },
    /// Turn the OAuth App module on or off.
    SetOauthApp {
        /// Whether it shall be on.
        enabled: bool,
    },
    /// Replace the policy.
    ChangePolicy {
        /// The whole new policy.
        policy: Policy,
    },
    /// Add a member.
    AddMember {
        /// The new membership.
        member_id: MemberId,
        /// The person.
        person_id: PersonId,
        /// The role.
        role: Role,
        /// Whether the company is the platform.
        platform: bool,
    },
    /// Give a member another role.
    ChangeRole {
        /// The membership.
        member_id: MemberId,
        /// The new role.
        role: Role,
        /// Whether the company is the platform.
        platform: bool,
    },
    /// Remove a member.
    RemoveMember {
        /// The membership.
        member_id: MemberId,
    },
    /// Create an OAuth client.
    CreateClient {
        /// Its identifier.
        client_id: ClientId,
        /// Its name.
        name: Name,
        /// The scopes that it may ask for, known to be on offer.
        scopes: ScopeSet,
        /// What is kept of its secret.
        secret: StoredSecret,
    },
    /// Give a client a new secret.
    RotateClient {
        /// The client.
        client_id: ClientId,
        /// What is kept of the new secret.
        secret: StoredSecret,
        /// How long the old secret lives on, in seconds; 0 for not at all.
        grace_seconds: i64,
    },
    /// Delete a client.
    DeleteClient {
        /// The client.
        client_id: ClientId,
    },
    /// Record that a person's data was erased.
    ErasePerson {
        /// The person.
        person_id: PersonId,
    },
}

/// A command with all that its decision depends on besides the company.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompanyDecision {
    /// What is asked.
    pub command: CompanyCommand,
    /// The power of who asks.
    pub power: Power,
    /// Now.
    pub now: Timestamp,
}
