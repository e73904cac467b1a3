//! Companies: registering them, reading them, their OAuth App module.

use super::input::{self, Check};
use super::outcome::{Changed, Listed};
use super::past::Until;
use super::setup::PLATFORM;
use super::view::CompanyView;
use super::{App, AppError, Caller, Conditions};
use token_ledger_domain::company::{Company, CompanyCommand, CompanyRefusal};
use token_ledger_domain::{CompanyId, Name};
use token_ledger_event_store::{Context, Executed, Idempotency, Request};
use token_ledger_projections::companies::CompanyRow;
use uuid::Uuid;

/// A company and its version, by which changes are conditioned.
pub type VersionedCompany = (CompanyView, u64);

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
        let Some(name) = check.field("name", input::name(name)) else {
            return Err(check.refusal());
        };
        // The platform's ledger tells what was asked with the key, the company's own whether that
        // is what registered it: somebody else may be about to register the same name.
        let (platform, key) = (CompanyId::PLATFORM, conditions.idempotency);
        let begun = self.begun(platform, key.as_ref()).await?;
        let id = match self.reserve_name(&name, CompanyId(self.new_id())).await {
            Ok(id) => id,
            Err(taken) => {
                // The same request may have been carried out since it was looked for.
                let begun = self.begun(platform, key.as_ref()).await?;
                return self.registered_before(begun, key.as_ref()).await?.ok_or(taken);
            }
        };
        if begun.is_none() {
            match self.begin(caller, platform, id.0, key.clone()).await {
                // The same request has just begun, or another one with its key.
                Err(AppError::Contended) => self.begun(platform, key.as_ref()).await.map(drop)?,
                other => other?,
            }
        }
        let command = CompanyCommand::Register { name: name.clone() };
        let caller = Caller { company: id, ..caller.clone() };
        let request = Request { idempotency: key.clone(), ..Request::new(id.0, command) };
        match self.begin_company(&caller, request, &name, &caller.context(None)).await {
            Ok(executed) => Ok(Changed::done(self.company_after(id, &executed).await?.into())),
            // The same request may just have been carried out.
            Err(refusal) => self.registered_before(Some(id.0), key.as_ref()).await?.ok_or(refusal),
        }
    }

    /// The company that the first request with this key registered, if it did.
    async fn registered_before(
        &self,
        id: Option<Uuid>,
        key: Option<&Idempotency>,
    ) -> Result<Option<Changed<CompanyView>>, AppError> {
        let Some(id) = id.map(CompanyId) else { return Ok(None) };
        if self.recorded(id, key).await?.is_none() {
            return Ok(None);
        }
        let row = self.company_then(id, Until::Sequence(1)).await?;
        Ok(row.map(|row| Changed::before(row.into())))
    }

    /// The identifier under which a company of this name can be registered: the one asked for, or
    /// the one that somebody else reserved the name for and has not registered.
    ///
    /// Two who want the same name at the same time come to the same identifier, which only one of
    /// them can register; it makes no difference which process they are in.
    pub(super) async fn reserve_name(
        &self,
        name: &Name,
        asked: CompanyId,
    ) -> Result<CompanyId, AppError> {
        let is_platforms = name.compared() == PLATFORM;
        if is_platforms || !self.read.companies_named(name.as_str()).await?.is_empty() {
            return Err(AppError::NameTaken(name.to_string()));
        }
        Ok(self.people.reserve_name(name, asked).await?)
    }

    /// Registers the caller's company with this command, which fails where somebody else has just
    /// done so.
    pub(super) async fn begin_company(
        &self,
        caller: &Caller,
        request: Request<CompanyCommand>,
        name: &Name,
        context: &Context,
    ) -> Result<Executed<Company>, AppError> {
        let taken = || AppError::NameTaken(name.to_string());
        match self.execute::<Company>(caller, context, request).await.map_err(AppError::from) {
            Ok(executed @ Executed::Done { .. }) => Ok(executed),
            Ok(Executed::Repeated(_)) | Err(AppError::Company(CompanyRefusal::Exists)) => {
                Err(taken())
            }
            Err(error) => Err(error),
        }
    }

    /// The caller's company.
    ///
    /// # Errors
    /// When there is none.
    pub async fn company(&self, caller: &Caller) -> Result<CompanyView, AppError> {
        Ok(self.existing_company(caller.company).await?.into())
    }

    /// The caller's company with its version.
    ///
    /// # Errors
    /// When there is none.
    pub async fn versioned_company(&self, caller: &Caller) -> Result<VersionedCompany, AppError> {
        let row = self.existing_company(caller.company).await?;
        let version = row.version;
        Ok((row.into(), version))
    }

    /// The version of what a company says of itself: its members and clients have their own.
    pub(super) async fn company_version(&self, id: CompanyId) -> Result<u64, AppError> {
        Ok(self.existing_company(id).await?.version)
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

    /// The companies with this in their name, in the order of names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_companies(
        &self,
        q: &str,
        after: Option<(String, CompanyId)>,
        limit: usize,
    ) -> Result<Listed<CompanyView, (String, CompanyId)>, AppError> {
        let rows = self.read.find_companies(q.trim(), after, limit + 1).await?;
        let place = |row: &CompanyRow| (row.name.to_string(), row.company_id);
        Ok(Listed::cut(rows, limit, place, Into::into))
    }

    /// Turns the OAuth App module of the caller's company on or off; answers the company with its
    /// version.
    ///
    /// # Errors
    /// When there is no such company, it has moved on, or the reason is not acceptable.
    pub async fn set_oauth_app(
        &self,
        caller: &Caller,
        enabled: bool,
        reason: Option<String>,
        conditions: Conditions,
    ) -> Result<VersionedCompany, AppError> {
        let context = caller.context(input::checked_reason(reason)?);
        let command = CompanyCommand::SetOauthApp { enabled };
        let version = || self.company_version(caller.company);
        let executed = self.change_part(caller, command, &context, conditions, version).await?;
        let row = self.company_after(caller.company, &executed).await?;
        let version = row.version;
        Ok((row.into(), version))
    }

    /// The company, which must exist: operators may ask about any identifier.
    pub(super) async fn existing_company(&self, id: CompanyId) -> Result<CompanyRow, AppError> {
        self.read.company(id).await?.ok_or(AppError::NotFound("company"))
    }
}
