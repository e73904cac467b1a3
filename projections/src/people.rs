//! People: accounts, memberships, one-time links and sessions; and companies' names.
//!
//! Memberships are a read model of the ledgers. All else stands beside the log: it is not shown in
//! the audit trail, belongs to the platform, and is not rebuilt from events, but for the names of
//! companies that are registered.

use crate::members::MemberRow;
use std::fmt;
use std::str::FromStr;
use token_ledger_domain::{CompanyId, Digest, MemberId, PersonId, Power, Role, Timestamp};
use uuid::Uuid;

/// A person who can sign in: one e-mail address, one account, over all companies.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The person.
    pub person_id: PersonId,
    /// The e-mail address, normalised.
    pub email: String,
    /// What the person is called, if anybody said.
    pub name: Option<String>,
    /// The password's argon2id hash; none until one is set.
    pub password_hash: Option<String>,
    /// The company whose people gave out the link by which the password was set; none where an
    /// operator did.
    pub vouched_by: Option<CompanyId>,
}

impl Account {
    /// What the person is called: the name, or else the address.
    pub fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.email)
    }

    /// Whether this membership may be entered by whoever knows the password. Whoever gave out the
    /// link may be the one who used it, so a company's link counts in that company only, and for
    /// no more than who gives it out may do there.
    pub fn opens(&self, member: &MemberRow) -> bool {
        self.vouched_by.is_none_or(|company| {
            company == member.company_id && member.role.power() <= Power::SuperAdmin
        })
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("person_id", &self.person_id).finish_non_exhaustive()
    }
}

/// What a one-time link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Setting a password.
    SetPassword,
    /// Signing in.
    SignIn,
}

impl Purpose {
    /// The purpose's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SetPassword => "set_password",
            Self::SignIn => "sign_in",
        }
    }
}

/// A link that is good for one use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whom it is for.
    pub person_id: PersonId,
    /// What for.
    pub purpose: Purpose,
    /// SHA-256 of its secret.
    pub digest: Digest,
    /// The company that it leads into, if it leads into one.
    pub opens: Option<CompanyId>,
    /// The company that asked for it; none where an operator did.
    pub asked_by: Option<CompanyId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops.
    pub expires_at: Timestamp,
}

/// The membership by which a session is in a company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The company that the session is in.
    pub entered: CompanyId,
    /// The company of the membership: the same, or the platform for an operator.
    pub member_company: CompanyId,
    /// The membership.
    pub member_id: MemberId,
    /// The role when the company was entered.
    pub role: Role,
}

/// A session of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Tells the person's sessions apart; not what the cookie holds.
    pub session_id: Uuid,
    /// Who signed in.
    pub person_id: PersonId,
    /// When it began.
    pub created_at: Timestamp,
    /// When the person last proved to be the person.
    pub signed_in_at: Timestamp,
    /// When it was last used, give or take a minute.
    pub seen_at: Timestamp,
    /// When it ends, however much it is used.
    pub expires_at: Timestamp,
    /// The address that it began from.
    pub ip: Option<String>,
    /// The program that it began in, as it calls itself.
    pub user_agent: Option<String>,
    /// The company that it is in, once one is chosen.
    pub standing: Option<Standing>,
}

impl FromStr for Purpose {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::SetPassword, Self::SignIn]
            .into_iter()
            .find(|purpose| purpose.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no purpose of a link"))
    }
}
