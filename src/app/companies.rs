//! Companies: registering them, reading them, their OAuth App module.

use super::input::Check;
use super::outcome::{Changed, Listed};
use super::past::Until;
use super::view::CompanyView;
use super::{App, AppError, Caller, Conditions};
use token_ledger_domain::company::{Company, CompanyCommand};
use token_ledger_domain::{CompanyId, Name};
use token_ledger_event_store::Request;
use token_ledger_projections::companies::CompanyRow;

impl App {
    /// Registers a company; its OAuth App module is off at first.
    ///
    /// # Errors
    /// When the name is unacceptable or taken.
    pub async fn register_company(
        &self,
        caller: &Caller,
        name: String,
        conditions: Conditions,
    ) -> Result<Changed<CompanyView>, AppError> {
        let mut check = Check::default();
        let Some(name) = check.field("name", Name::new(name)) else { return Err(check.refusal()) };
        // Nothing else keeps names apart, so nobody else may come between check and registration.
        let _turn = self.beginning.lock().await;
        let platform = CompanyId::PLATFORM;
        let begun = self.begun(platform, conditions.idempotency.as_ref()).await?;
        if let Some(id) = begun
            && let Some(row) = self.company_then(CompanyId(id), Until::Sequence(1)).await?
        {
            return Ok(Changed::before(row.into()));
        }
        if !self.read.companies_named(name.as_str()).await?.is_empty() {
            return Err(AppError::NameTaken(name.to_string()));
        }
        let id = match begun {
            Some(id) => id,
            None => self.begin(caller, platform, conditions.idempotency).await?,
        };
        let request = Request::new(id, CompanyCommand::Register { name });
        let context = caller.context(None);
        self.ledger.execute::<Company>(CompanyId(id), caller.power, &context, request).await?;
        Ok(Changed::done(self.existing_company(CompanyId(id)).await?.into()))
    }

    /// The caller's company.
    ///
    /// # Errors
    /// When there is none.
    pub async fn company(&self, caller: &Caller) -> Result<CompanyView, AppError> {
        Ok(self.existing_company(caller.company).await?.into())
    }

    /// All companies in the order of their identifiers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn companies(
        &self,
        after: Option<CompanyId>,
        limit: usize,
    ) -> Result<Listed<CompanyView, CompanyId>, AppError> {
        let rows = self.read.companies(after, limit + 1).await?;
        Ok(Listed::cut(rows, limit, |row| row.company_id, Into::into))
    }

    /// Turns the OAuth App module of the caller's company on or off.
    ///
    /// # Errors
    /// When there is no such company.
    pub async fn set_oauth_app(
        &self,
        caller: &Caller,
        enabled: bool,
    ) -> Result<CompanyView, AppError> {
        let request = Request::new(caller.company.0, CompanyCommand::SetOauthApp { enabled });
        let context = caller.context(None);
        self.ledger.execute::<Company>(caller.company, caller.power, &context, request).await?;
        self.company(caller).await
    }

    /// The company, which must exist: operators may ask about any identifier.
    pub(super) async fn existing_company(&self, id: CompanyId) -> Result<CompanyRow, AppError> {
        self.read.company(id).await?.ok_or(AppError::NotFound("company"))
    }
}
