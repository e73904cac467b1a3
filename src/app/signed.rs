//! How far a company's ledger is signed, as people look at it: nothing here waits for a signature.

use super::evidence::CheckpointView;
use super::view::EventView;
use super::{App, AppError};
use token_ledger_domain::CompanyId;
use token_ledger_projections::tree::SignedCheckpoint;

/// How far a company's log is signed.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The log.
    pub origin: String,
    /// The newest checkpoint; none while nothing was signed.
    pub newest: Option<CheckpointView>,
    /// Whether nothing more is signed at the moment. Why is for the operator, in the log.
    pub is_refused: bool,
}

impl Signed {
    /// The number of events that are signed for.
    pub fn size(&self) -> u64 {
        self.newest.as_ref().map_or(0, |checkpoint| checkpoint.size)
    }
}

impl App {
    /// How far a company's log is signed.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is no such company.
    pub async fn signed(&self, company: CompanyId) -> Result<Signed, AppError> {
        self.head(company).await?;
        let origin = self.evidence.origin(company);
        let newest = self.evidence.trees().last_checkpoint(company, &origin).await?;
        let newest = newest.map(|signed| self.served(signed).into());
        Ok(Signed { origin, newest, is_refused: self.unsigned(company).is_some() })
    }

    /// A checkpoint that was signed, of any origin that the log had.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is none such.
    pub async fn signed_checkpoint(
        &self,
        company: CompanyId,
        origin: &str,
        size: u64,
    ) -> Result<CheckpointView, AppError> {
        let found = self.evidence.trees().checkpoint(company, origin, size).await?;
        Ok(self.served(found.ok_or(AppError::NotFound("checkpoint"))?).into())
    }

    /// The event at a position.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is none.
    pub async fn event(&self, company: CompanyId, position: u64) -> Result<EventView, AppError> {
        let head = self.head(company).await?;
        let before = position.checked_sub(1).filter(|_| position <= head);
        let before = before.ok_or(AppError::NotFound("event"))?;
        let events = self.store().read(company, before, 1).await?;
        let mut views = self.told(company, events).await?;
        views.pop().ok_or(AppError::NotFound("event"))
    }

    /// The checkpoint as it is handed out: without witnesses' signatures while too few gave theirs.
    pub(super) fn served(&self, mut signed: SignedCheckpoint) -> SignedCheckpoint {
        if signed.cosignatures.lines().count() < self.evidence.choices.quorum {
            signed.cosignatures.clear();
        }
        signed
    }
}
