//! Members of companies.

use super::input::{self, Check};
use super::outcome::{Changed, Listed};
use super::past::Until;
use super::people::Email;
use super::{App, AppError, Caller, Conditions};
use serde::Serialize;
use token_ledger_domain::company::{self, Company, CompanyCommand, CompanyDecision};
use token_ledger_domain::power::UnknownRole;
use token_ledger_domain::{CompanyId, MemberId, PersonId, Power, Role, Secret, Timestamp};
use token_ledger_event_store::{
    Context, Executed, Idempotency, MAX_CLOCK_LAG_SECONDS, Request, StoreError,
};
use token_ledger_projections::members::MemberRow;
use token_ledger_projections::people::Account;
use utoipa::ToSchema;
use uuid::Uuid;

/// What a new member shall be.
#[derive(Clone, Debug, Default)]
pub struct NewMember {
    /// The e-mail address.
    pub email: String,
    /// The role.
    pub role: String,
    /// What the person is called; kept for a new account only.
    pub name: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// A membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemberView {
    /// The membership.
    pub member_id: Uuid,
    /// The company.
    pub company_id: Uuid,
    /// The person, who may be a member of other companies too.
    pub person_id: Uuid,
    /// The person's e-mail address; null where it was erased.
    pub email: Option<String>,
    /// What the person is called; null where nobody said.
    pub name: Option<String>,
    /// `auditor`, `super_admin` or, on the platform, `operator`.
    pub role: &'static str,
    /// Whether the person has set a password, and so can sign in.
    pub password_set: bool,
    /// Whether that password lets the person in here. One that was set by another company's link
    /// doesn't, and an operator makes a link for a new one.
    pub may_enter: bool,
    /// When the person became a member.
    #[schema(value_type = String, format = DateTime)]
    pub added_at: Timestamp,
    /// The sequence of the company's event that last changed it; also its `ETag`.
    pub version: u64,
}

impl MemberView {
    fn new(row: &MemberRow, account: Option<&Account>) -> Self {
        Self {
            member_id: row.member_id.0,
            company_id: row.company_id.0,
            person_id: row.person_id.0,
            email: account.map(|account| account.email.clone()),
            name: account.and_then(|account| account.name.clone()),
            role: row.role.as_str(),
            password_set: account.is_some_and(|account| account.password_hash.is_some()),
            may_enter: account.is_some_and(|account| lets_in(account, row)),
            added_at: row.added_at,
            version: row.version,
        }
    }
}

/// A role, which must be said.
fn role(text: &str) -> Result<Role, String> {
    if text.is_empty() {
        return Err(format!("is missing; there are {}", Role::NAMES));
    }
    text.parse().map_err(|error: UnknownRole| error.to_string())
}

/// Whether the person has a password that lets them in by this membership.
fn lets_in(account: &Account, member: &MemberRow) -> bool {
    account.password_hash.is_some() && account.opens(member)
}

impl App {
    /// Makes a person a member of the caller's company. A person without an account gets one, and
    /// a link to set a password.
    ///
    /// # Errors
    /// When the input is not acceptable, the role more than the caller may grant, or the person a
    /// member already.
    pub async fn add_member(
        &self,
        caller: &Caller,
        input: NewMember,
        conditions: Conditions,
    ) -> Result<Changed<MemberView>, AppError> {
        let mut check = Check::default();
        let email = check.field("email", Email::new(&input.email));
        let role = check.field("role", role(&input.role));
        let name = check.field("name", input.name.map(input::name).transpose());
        let reason = check.field("reason", input::reason(input.reason));
        let (Some(email), Some(role), Some(name), Some(reason)) = (email, role, name, reason)
        else {
            return Err(check.refusal());
        };
        let member_id = MemberId(self.new_id());
        let command = |person_id| CompanyCommand::AddMember {
            member_id,
            person_id,
            role,
            platform: caller.company == CompanyId::PLATFORM,
        };
        let key = conditions.idempotency.as_ref();
        if let Some(added) = self.added_before(caller.company, key).await? {
            return Ok(added);
        }
        let known = self.people.account(email.as_str()).await?;
        let stranger = known.as_ref().map_or(PersonId(member_id.0), |known| known.person_id);
        // So that a refusal leaves no account behind.
        if let Err(refusal) = self.foresee(caller, command(stranger)).await {
            // The same request may just have been carried out.
            return self.added_before(caller.company, key).await?.ok_or(refusal);
        }
        let account = self.account_for(&email, name.map(|name| name.to_string())).await?;
        let mut context = caller.context(reason);
        context.private.email = Some(email.as_str().to_owned());
        let request = Request {
            id: caller.company.0,
            command: command(account.person_id),
            expected_version: conditions.expected_version,
            idempotency: conditions.idempotency,
        };
        let executed = self.execute::<Company>(caller, &context, request).await?;
        if let Executed::Repeated(replay) = executed {
            return self.added_by(caller.company, replay.sequence).await;
        }
        let row = self.member_left_by(caller.company, member_id, &executed).await?;
        let secret = self.link_for_new_member(caller, &account, &row).await;
        let secret = secret.map_err(AppError::after_change)?;
        Ok(Changed { view: MemberView::new(&row, Some(&account)), secret, repeated: false })
    }

    /// What the first request with this key added, if there was one. The person may have been
    /// erased since.
    async fn added_before(
        &self,
        company: CompanyId,
        key: Option<&Idempotency>,
    ) -> Result<Option<Changed<MemberView>>, AppError> {
        match self.recorded(company, key).await? {
            Some(replay) => self.added_by(company, replay.sequence).await.map(Some),
            None => Ok(None),
        }
    }

    async fn added_by(
        &self,
        company: CompanyId,
        sequence: u64,
    ) -> Result<Changed<MemberView>, AppError> {
        let row = self.member_after(company, sequence).await?;
        let row = row.ok_or(AppError::NotFound("member"))?;
        let account = self.account_shown(&row).await?;
        Ok(Changed::before(MemberView::new(&row, account.as_ref())))
    }

    /// A link for a person who can't come in here yet and is in no other company. A link that
    /// another company asked for is void.
    async fn link_for_new_member(
        &self,
        caller: &Caller,
        account: &Account,
        member: &MemberRow,
    ) -> Result<Option<Secret>, AppError> {
        let (person, company) = (account.person_id, member.company_id);
        if !lets_in(account, member) && !self.is_elsewhere(person, company).await? {
            return Ok(Some(self.password_link(caller, member).await?));
        }
        self.people.void_links(person).await?;
        Ok(None)
    }

    /// Refuses what the company, or a clock behind its ledger, would refuse as it is now.
    async fn foresee(&self, caller: &Caller, command: CompanyCommand) -> Result<(), AppError> {
        let head = self.store().head(caller.company).await?;
        let ahead = head.map_or(0, |head| head.recorded_at.as_seconds() - self.now().as_seconds());
        if ahead > MAX_CLOCK_LAG_SECONDS {
            return Err(StoreError::ClockBehind { seconds: ahead }.into());
        }
        let (company, _) = self.ledger.state::<Company>(caller.company, caller.company.0).await?;
        let decision = CompanyDecision { command, power: caller.power, now: self.now() };
        company::decide(&company, &decision).map(drop).map_err(super::error::IntoRefusal::into_app)
    }

    /// The members of the caller's company, in the order in which they were added.
    ///
    /// # Errors
    /// When there is no such company.
    pub async fn members(
        &self,
        caller: &Caller,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Listed<MemberView, Uuid>, AppError> {
        self.existing_company(caller.company).await?;
        let rows = self.read.members(caller.company, after, limit + 1).await?;
        let shown = |company: &Company| {
            let is_shown = |row: &&MemberRow| {
                company.members.get(&row.member_id).is_none_or(|member| !member.is_erased)
            };
            rows.iter().filter(is_shown).map(|row| row.person_id).collect()
        };
        let people: Vec<PersonId> = self.ledger.look_at(caller.company, shown).await?;
        let accounts = self.people.accounts_of(&people).await?;
        let account = |person| accounts.iter().find(|account| account.person_id == person);
        Ok(Listed::cut(
            rows,
            limit,
            |row| row.member_id.0,
            |row| MemberView::new(&row, account(row.person_id)),
        ))
    }

    /// A member of the caller's company.
    ///
    /// # Errors
    /// When there is none.
    pub async fn member(&self, caller: &Caller, id: MemberId) -> Result<MemberView, AppError> {
        let row = self.member_row(caller.company, id).await?;
        let account = self.account_shown(&row).await?;
        Ok(MemberView::new(&row, account.as_ref()))
    }

    /// The account of a member, unless the company was to forget who they are.
    async fn account_shown(&self, member: &MemberRow) -> Result<Option<Account>, StoreError> {
        if self.is_erased(member.company_id, member.member_id).await? {
            return Ok(None);
        }
        self.people.account_of(member.person_id).await
    }

    /// Gives a member another role. The sessions of who gets a lesser one end.
    ///
    /// # Errors
    /// When there is no such member, the role or the member's own is more than the caller's, or
    /// the member is the last Super Admin.
    pub async fn change_role(
        &self,
        caller: &Caller,
        id: MemberId,
        role: &str,
        reason: Option<String>,
        conditions: Conditions,
    ) -> Result<MemberView, AppError> {
        let mut check = Check::default();
        let role = check.field("role", self::role(role));
        let reason = check.field("reason", input::reason(reason));
        let (Some(role), Some(reason)) = (role, reason) else { return Err(check.refusal()) };
        let before = self.people.member(caller.company, id).await?;
        let platform = caller.company == CompanyId::PLATFORM;
        let command = CompanyCommand::ChangeRole { member_id: id, role, platform };
        let context = caller.context(reason);
        let executed = self.change_member(caller, id, command, &context, conditions).await?;
        if before.is_some_and(|before| role < before.role) {
            let ended = self.people.end_sessions_by(caller.company, id).await;
            ended.map_err(StoreError::after_change)?;
        }
        let row = self.member_left_by(caller.company, id, &executed).await?;
        let account = self.account_shown(&row).await.map_err(StoreError::after_change)?;
        Ok(MemberView::new(&row, account.as_ref()))
    }

    /// Removes a member. The sessions that are in the company by this membership end, and no link that
    /// the company asked for is good any more.
    ///
    /// # Errors
    /// When there is no such member, its role is more than the caller's, or it is the last Super
    /// Admin.
    pub async fn remove_member(
        &self,
        caller: &Caller,
        id: MemberId,
        reason: Option<String>,
        conditions: Conditions,
    ) -> Result<(), AppError> {
        let context = caller.context(input::checked_reason(reason)?);
        let command = CompanyCommand::RemoveMember { member_id: id };
        let before = self.people.member(caller.company, id).await?;
        self.change_member(caller, id, command, &context, conditions).await?;
        let ended = match before {
            Some(member) => self.people.end_membership(&member).await,
            // It was removed before, and this is the repeat of a request.
            None => self.people.end_sessions_by(caller.company, id).await,
        };
        Ok(ended.map_err(StoreError::after_change)?)
    }

    /// A new link by which a member can set a password. It replaces an older one. A repeat of a
    /// request makes none, unless the request failed before it made one.
    ///
    /// # Errors
    /// When there is no such member or it has changed, its role is more than the caller's, or the
    /// person is in other companies too: whoever holds the link gets into all of them. [`AppError::Contended`] while
    /// the first request may be at it still.
    pub async fn new_password_link(
        &self,
        caller: &Caller,
        id: MemberId,
        Conditions { expected_version, idempotency }: Conditions,
    ) -> Result<Changed<MemberView>, AppError> {
        let begun = self.recorded(caller.company, idempotency.as_ref()).await?;
        if let Some(replay) = &begun {
            let made = idempotency.as_ref().map(Self::made);
            if self.recorded(caller.company, made.as_ref()).await?.is_some() {
                let then = Until::Time(replay.recorded_at);
                let row = self.member_then(caller.company, id, then).await?;
                let row = row.ok_or(AppError::NotFound("member"))?;
                let account = self.account_shown(&row).await?;
                return Ok(Changed::before(MemberView::new(&row, account.as_ref())));
            }
            if self.is_recent(replay.recorded_at) {
                return Err(AppError::Contended);
            }
        }
        let row = self.member_row(caller.company, id).await?;
        if expected_version.is_some_and(|expected| expected != row.version) {
            return Err(AppError::VersionMismatch { actual: row.version });
        }
        if row.role.power() > caller.power {
            let refusal = company::CompanyRefusal::AboveOwnPower { role: row.role };
            return Err(AppError::Company(refusal));
        }
        if caller.power < Power::Operator
            && self.is_elsewhere(row.person_id, caller.company).await?
        {
            return Err(AppError::MemberElsewhere);
        }
        let account = self.account_shown(&row).await?.ok_or(AppError::NotFound("person"))?;
        let view = MemberView::new(&row, Some(&account));
        if begun.is_none() {
            self.begin(caller, caller.company, id.0, idempotency.clone()).await?;
        }
        let secret = self.password_link(caller, &row).await;
        let secret = secret.map_err(AppError::after_change)?;
        let ended = self.end_begun(caller, caller.company, id.0, idempotency.as_ref()).await;
        ended.map_err(AppError::after_change)?;
        Ok(Changed { view, secret: Some(secret), repeated: false })
    }

    /// Changes a membership, at the version asked for if one is.
    async fn change_member(
        &self,
        caller: &Caller,
        id: MemberId,
        command: CompanyCommand,
        context: &Context,
        conditions: Conditions,
    ) -> Result<Executed<Company>, AppError> {
        let version = || async move { Ok(self.member_row(caller.company, id).await?.version) };
        self.change_part(caller, command, context, conditions, version).await
    }

    async fn member_row(&self, company: CompanyId, id: MemberId) -> Result<MemberRow, AppError> {
        self.people.member(company, id).await?.ok_or(AppError::NotFound("member"))
    }
}
