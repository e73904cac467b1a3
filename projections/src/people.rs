//! People: accounts, memberships, one-time links and sessions; and companies' names.
//!
//! Memberships are a read model of the ledgers. All else stands beside the log: it is not shown in
//! the audit trail, belongs to the platform, and is not rebuilt from events, but for the names of
//! companies that are registered.

use crate::attempts::Attempt;
use crate::members::MemberRow;
use async_trait::async_trait;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use token_ledger_domain::{CompanyId, Digest, MemberId, Name, PersonId, Power, Role, Timestamp};
use token_ledger_event_store::StoreError;
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

/// What is kept of people. Everything that is done once and by one only (a link used, a name
/// reserved, an account made) is decided by the database.
#[async_trait]
pub trait People: Send + Sync {
    /// The account of this e-mail address.
    ///
    /// # Errors
    /// When the database fails, as for every other method here.
    async fn account(&self, email: &str) -> Result<Option<Account>, StoreError>;

    /// The account of a person.
    async fn account_of(&self, person: PersonId) -> Result<Option<Account>, StoreError>;

    /// The accounts of a company's members.
    async fn accounts_of(&self, people: &[PersonId]) -> Result<Vec<Account>, StoreError>;

    /// Makes the account, unless its address has one; answers with the address's account.
    async fn make_account(&self, account: &Account, now: Timestamp) -> Result<Account, StoreError>;

    /// Gives the person another password, ends all sessions and voids all links. `false`, and
    /// nothing is changed, where the password is not the one of `before` any more.
    async fn change_password(
        &self,
        person: PersonId,
        before: Option<&str>,
        hash: &str,
    ) -> Result<bool, StoreError>;

    /// A membership.
    async fn member(
        &self,
        company: CompanyId,
        id: MemberId,
    ) -> Result<Option<MemberRow>, StoreError>;

    /// Those of these people who are members of another company than this.
    async fn elsewhere(
        &self,
        people: &[PersonId],
        company: CompanyId,
    ) -> Result<BTreeSet<PersonId>, StoreError>;

    /// A person's memberships in all companies.
    async fn memberships(&self, person: PersonId) -> Result<Vec<MemberRow>, StoreError>;

    /// Keeps a link in place of an older one of its person and purpose, together with the record of
    /// who made it where there is to be one.
    async fn put_link(&self, link: &Link, record: Option<&Attempt>) -> Result<(), StoreError>;

    /// The link of this digest, if it was neither used nor replaced.
    async fn link(&self, digest: Digest, purpose: Purpose) -> Result<Option<Link>, StoreError>;

    /// Voids a person's links.
    async fn void_links(&self, person: PersonId) -> Result<(), StoreError>;

    /// Uses a link up; `false` where somebody else was faster.
    async fn use_link(&self, link: &Link) -> Result<bool, StoreError>;

    /// Uses a link up to give its person another password, as [`Self::change_password`], which the
    /// company that asked for the link then vouches for. `false` also where the person is by now
    /// in another company than that.
    async fn redeem_link(&self, link: &Link, hash: &str) -> Result<bool, StoreError>;

    /// Begins a session. `false`, and none begins, where the person's password is not the one of
    /// `hash` any more.
    async fn begin_session(
        &self,
        digest: Digest,
        session: &Session,
        hash: Option<&str>,
    ) -> Result<bool, StoreError>;

    /// The session of this digest, ended ones and idle ones included as long as they are kept.
    async fn session(&self, digest: Digest) -> Result<Option<Session>, StoreError>;

    /// A person's sessions, the newest first.
    async fn sessions(&self, person: PersonId) -> Result<Vec<Session>, StoreError>;

    /// Notes that a session was used.
    async fn note_session(&self, session: &Session, now: Timestamp) -> Result<(), StoreError>;

    /// Notes that a session's person proved to be the person.
    async fn confirm_session(&self, session: &Session, now: Timestamp) -> Result<(), StoreError>;

    /// Takes a session into a company.
    async fn place_session(&self, session: &Session, standing: &Standing)
    -> Result<(), StoreError>;

    /// Ends a session of a person.
    async fn end_session(&self, person: PersonId, session: Uuid) -> Result<(), StoreError>;

    /// Ends the sessions that are where they are by this membership.
    async fn end_sessions_by(&self, company: CompanyId, member: MemberId)
    -> Result<(), StoreError>;

    /// Reserves a name for a company, unless it is another's; answers with whose it is.
    async fn reserve_name(&self, name: &Name, company: CompanyId) -> Result<CompanyId, StoreError>;

    /// Whose names these are, as they are compared, as far as they are reserved.
    async fn named(&self, names: &[String]) -> Result<HashMap<String, CompanyId>, StoreError>;

    /// The names that are reserved for one of these companies, and for which.
    async fn names_of(
        &self,
        companies: &[CompanyId],
    ) -> Result<Vec<(String, CompanyId)>, StoreError>;

    /// Lets go of a name that is reserved for this company.
    async fn free_name(&self, name: &str, company: CompanyId) -> Result<(), StoreError>;

    /// Reserves a name, as it is compared, for the company that is registered by it, whoever's it was.
    async fn put_name(&self, name: &str, company: CompanyId) -> Result<(), StoreError>;
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
