//! What happens to a company.

use crate::id::{ClientId, MemberId, PersonId};
use crate::name::Name;
use crate::policy::Policy;
use crate::power::Role;
use crate::scope::ScopeSet;
use crate::secret::StoredSecret;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What has happened to a company.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum CompanyEvent {
    /// It was registered.
    #[serde(rename = "company.registered")]
    Registered {
        /// Its name.
        name: Name,
    },
    /// The OAuth App module was turned on.
    #[serde(rename = "company.oauth_app_enabled")]
    OauthAppEnabled {},
    /// The OAuth App module was turned off.
    #[serde(rename = "company.oauth_app_disabled")]
    OauthAppDisabled {},
    /// It got another policy.
    #[serde(rename = "company.policy_changed")]
    PolicyChanged {
        /// The whole new policy.
        policy: Policy,
    },
    /// It got a member.
    #[serde(rename = "company.member_added")]
    MemberAdded {
        /// The membership.
        member_id: MemberId,
        /// The person.
        person_id: PersonId,
        /// The role.
        role: Role,
    },
    /// A member got another role.
    #[serde(rename = "company.member_role_changed")]
    MemberRoleChanged {
        /// The membership.
        member_id: MemberId,
        /// The new role.
        role: Role,
        /// The role before.
        previous_role: Role,
    },
    /// A member was removed.
    #[serde(rename = "company.member_removed")]
    MemberRemoved {
        /// The membership.
        member_id: MemberId,
    },
    /// It got an OAuth client.
    #[serde(rename = "company.client_created")]
    ClientCreated {
        /// The client.
        client_id: ClientId,
        /// Its name.
        name: Name,
        /// The scopes that it may ask for.
        scopes: ScopeSet,
        /// What is kept of its secret.
        secret: StoredSecret,
    },
    /// A client got a new secret.
    #[serde(rename = "company.client_rotated")]
    ClientRotated {
        /// The client.
        client_id: ClientId,
        /// What is kept of the new secret.
        secret: StoredSecret,
        /// When the old secret stops; none for at once.
        previous_secret_expires_at: Option<Timestamp>,
    },
    /// A client was deleted.
    #[serde(rename = "company.client_deleted")]
    ClientDeleted {
        /// The client.
        client_id: ClientId,
    },
    /// A person's data was erased.
    #[serde(rename = "company.person_erased")]
    PersonErased {
        /// The person.
        person_id: PersonId,
    },
}

impl CompanyEvent {
    /// The event's type, as the ledger carries it.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "company.registered",
            Self::OauthAppEnabled {} => "company.oauth_app_enabled",
            Self::OauthAppDisabled {} => "company.oauth_app_disabled",
            Self::PolicyChanged { .. } => "company.policy_changed",
            Self::MemberAdded { .. } => "company.member_added",
            Self::MemberRoleChanged { .. } => "company.member_role_changed",
            Self::MemberRemoved { .. } => "company.member_removed",
            Self::ClientCreated { .. } => "company.client_created",
            Self::ClientRotated { .. } => "company.client_rotated",
            Self::ClientDeleted { .. } => "company.client_deleted",
            Self::PersonErased { .. } => "company.person_erased",
        }
    }

    /// The version of the event's shape.
    pub const fn version(&self) -> u32 {
        1
    }
}
