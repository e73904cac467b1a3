//! Bringing companies into being: the platform, a company, its first Super Admin and keys.

use super::keys::NewKey;
use super::passwords::{Line, Password};
use super::people::Email;
use super::{App, AppError, Caller, Conditions};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use token_ledger_domain::company::{Company, CompanyCommand, CompanyRefusal};
use token_ledger_domain::{CompanyId, KeyScope, MemberId, Name, Secret};
use token_ledger_event_store::{Context, Executed, Request};
use token_ledger_projections::people::Account;
use zeroize::Zeroizing;

/// The platform's name.
pub(super) const PLATFORM: &str = "platform";
/// Random bytes of a generated password: 144 bits, 24 characters.
const PASSWORD_BYTES: usize = 18;

/// A company that was just set up, with everything that is shown only once.
pub struct SetUp {
    /// The company.
    pub company_id: CompanyId,
    /// The first Super Admin's password; none where the person had one already.
    pub password: Option<Zeroizing<String>>,
    /// Whether that password was set by another company's link, and doesn't let the person in.
    pub needs_link: bool,
    /// The platform's key with `ledger.operator`.
    pub operator_key: Secret,
    /// The company's key with `ledger.admin`.
    pub admin_key: Secret,
    /// The company's key with `ledger.audit`.
    pub audit_key: Secret,
    /// The company's key with `ledger.introspect`.
    pub introspect_key: Secret,
}

impl fmt::Debug for SetUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetUp").field("company_id", &self.company_id).finish_non_exhaustive()
    }
}

impl App {
    /// Registers a company with its module on and its first Super Admin in one commit, then makes
    /// its keys, and the platform where it is missing.
    ///
    /// # Errors
    /// When a company of this name exists, or the store fails.
    pub async fn set_up(&self, name: &Name, email: &Email) -> Result<SetUp, AppError> {
        self.ensure_platform().await?;
        // Before there is an account, which a refusal would leave behind.
        self.reserve_name(name, CompanyId(self.new_id())).await?;
        let account = self.account_for(email, None).await?;
        let platform = Caller::command_line(CompanyId::PLATFORM);
        let company = self.establish(name, &account).await?;
        // After the company, so that a refusal leaves no password behind that nobody knows.
        let password = self.generated_password(&account).await?;
        let caller = Caller::command_line(company);
        Ok(SetUp {
            company_id: company,
            password,
            needs_link: account.vouched_by.is_some(),
            operator_key: self.issue_key(&platform, "operator", KeyScope::Operator).await?,
            admin_key: self.issue_key(&caller, "admin", KeyScope::Admin).await?,
            audit_key: self.issue_key(&caller, "audit", KeyScope::Audit).await?,
            introspect_key: self.issue_key(&caller, "introspect", KeyScope::Introspect).await?,
        })
    }

    /// Registers the platform where it is missing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ensure_platform(&self) -> Result<(), AppError> {
        if self.read.company(CompanyId::PLATFORM).await?.is_some() {
            return Ok(());
        }
        let name =
            Name::new(PLATFORM).map_err(|error| AppError::invalid("name", error.to_string()))?;
        let caller = Caller::command_line(CompanyId::PLATFORM);
        match self.change_company(&caller, CompanyCommand::Register { name }).await {
            // Somebody else has just done it.
            Err(AppError::Company(CompanyRefusal::Exists)) => Ok(()),
            other => other,
        }
    }

    /// Registers a company, turns its module on and makes the person its first Super Admin.
    ///
    /// # Errors
    /// When a company of this name exists, or the store fails.
    pub async fn establish(&self, name: &Name, admin: &Account) -> Result<CompanyId, AppError> {
        let company = self.reserve_name(name, CompanyId(self.new_id())).await?;
        let command = CompanyCommand::Establish {
            name: name.clone(),
            member_id: MemberId(self.new_id()),
            person_id: admin.person_id,
        };
        let caller = Caller::command_line(company);
        let mut context = caller.context(None);
        context.private.email = Some(admin.email.clone());
        let request = Request::new(company.0, command);
        self.begin_company(&caller, request, name, &context).await?;
        Ok(company)
    }

    /// Changes the caller's company.
    ///
    /// # Errors
    /// When the company's rules say no, or the store fails.
    pub async fn change_company(
        &self,
        caller: &Caller,
        command: CompanyCommand,
    ) -> Result<(), AppError> {
        let request = Request::new(caller.company.0, command);
        self.execute_company(caller, request, &caller.context(None)).await?;
        Ok(())
    }

    pub(super) async fn execute_company(
        &self,
        caller: &Caller,
        request: Request<CompanyCommand>,
        context: &Context,
    ) -> Result<Executed<Company>, AppError> {
        Ok(self.ledger.execute(caller.company, caller.power, context, request).await?)
    }

    /// Creates a key with one scope and the usual term.
    ///
    /// # Errors
    /// When there is no such company, the keys' rules say no, or the store fails.
    pub async fn issue_key(
        &self,
        caller: &Caller,
        name: &str,
        scope: KeyScope,
    ) -> Result<Secret, AppError> {
        let input = NewKey {
            name: name.to_owned(),
            scopes: vec![scope.as_str().to_owned()],
            ..NewKey::default()
        };
        let created = self.create_key(caller, input, Conditions::default()).await?;
        created.secret.ok_or(AppError::KeyReused)
    }

    /// A new password for a person who has none.
    async fn generated_password(
        &self,
        account: &Account,
    ) -> Result<Option<Zeroizing<String>>, AppError> {
        if account.password_hash.is_some() {
            return Ok(None);
        }
        let mut bytes = Zeroizing::new([0; PASSWORD_BYTES]);
        self.ledger.entropy().fill(bytes.as_mut());
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_ref()));
        let password = Password::new(text.clone(), &account.email)
            .map_err(|problem| AppError::invalid("password", problem))?;
        let hash = self.hash_password(password, Line::Person(account.person_id)).await?;
        let set = self.people.change_password(account.person_id, None, &hash).await?;
        Ok(set.then_some(text))
    }
}
