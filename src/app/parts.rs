//! Changes to parts of a company that have versions of their own: members, clients, and what the
//! company says of itself.

use super::{App, AppError, Caller, Conditions};
use token_ledger_domain::company::{Company, CompanyCommand};
use token_ledger_event_store::{Context, Executed, Request};

/// How often a change that holds for one version of a part is tried while others change the company.
const MAX_ATTEMPTS: usize = 20;

impl App {
    /// Changes a part of the caller's company, at the version asked for if one is; `version` reads
    /// the part's. A repeat is answered as the first time, however far the part has moved on since.
    ///
    /// # Errors
    /// When the part is at another version, or the company's rules say no.
    pub(super) async fn change_part<F>(
        &self,
        caller: &Caller,
        command: CompanyCommand,
        context: &Context,
        conditions: Conditions,
        version: impl Fn() -> F + Sync,
    ) -> Result<Executed<Company>, AppError>
    where
        F: Future<Output = Result<u64, AppError>> + Send,
    {
        let company = caller.company;
        let Conditions { expected_version, idempotency } = conditions;
        if let Some(replay) = self.recorded(company, idempotency.as_ref()).await? {
            return Ok(Executed::Repeated(replay));
        }
        for _ in 0..MAX_ATTEMPTS {
            // Only the company's sequence can be demanded of the ledger. A part that stands at the
            // version asked for behind this sequence still does when the sequence holds.
            let sequence = match expected_version {
                None => None,
                Some(expected) => {
                    let head = self.store().head(company).await?;
                    let refusal = match version().await {
                        Ok(actual) if actual == expected => None,
                        Ok(actual) => Some(AppError::VersionMismatch { actual }),
                        Err(error) => Some(error),
                    };
                    if let Some(refusal) = refusal {
                        // It may be for what the same request has done since it was looked for.
                        let replay = self.recorded(company, idempotency.as_ref()).await?;
                        return replay.map(Executed::Repeated).ok_or(refusal);
                    }
                    head.map(|head| head.company_sequence)
                }
            };
            let request = Request {
                id: company.0,
                command: command.clone(),
                expected_version: sequence,
                idempotency: idempotency.clone(),
            };
            let executed = self.execute(caller, context, request).await;
            match executed.map_err(AppError::from) {
                Err(AppError::VersionMismatch { .. }) if sequence.is_some() => {}
                executed => return executed,
            }
        }
        Err(AppError::Contended)
    }
}
