//! Answers that go on for long, and whether whoever gets one may have what comes next: a power that
//! was there when the answer began may have ended since.

use super::Service;
use super::verify::credential;
use crate::app::AppError;
use crate::app::standing::power_of;
use axum::http::HeaderMap;
use std::sync::Arc;
use token_ledger_domain::{CompanyId, Digest, Power};

/// Whoever gets an answer that goes on for long.
pub trait Recipient: Send + Sync + 'static {
    /// Whether it may have what comes next.
    fn may_read(&self) -> impl Future<Output = Result<bool, AppError>> + Send;
}

/// Whoever sent an API key that gives an auditor's power in a company.
pub(super) struct KeyHolder {
    service: Arc<Service>,
    company: CompanyId,
    /// The SHA-256 of the key.
    credential: Digest,
}

impl KeyHolder {
    pub(super) fn of(service: &Arc<Service>, company: CompanyId, headers: &HeaderMap) -> Self {
        let credential = Digest::of(credential(headers).unwrap_or_default());
        Self { service: Arc::clone(service), company, credential }
    }
}

impl Recipient for KeyHolder {
    /// What can't be known right now is no permission, as for requests.
    async fn may_read(&self) -> Result<bool, AppError> {
        let app = &self.service.app;
        if !app.knows().await {
            return Ok(false);
        }
        let key = app.index.key(&self.credential, app.now());
        Ok(key.and_then(|key| power_of(&key, self.company)) >= Some(Power::Auditor))
    }
}
