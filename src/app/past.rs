//! Things as they were: what their events up to some point make of them.

use super::App;
use token_ledger_domain::{CompanyId, KeyId, Timestamp, TokenId};
use token_ledger_event_store::{RecordedEvent, StoreError, StreamId};
use token_ledger_projections::companies::CompanyRow;
use token_ledger_projections::read_models::{KeyRecord, TokenRecord};
use token_ledger_projections::{Companies, Keys, Projection, Tokens};

/// Events that are read at a time.
const PAGE: usize = 500;

/// Up to where events count.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// Up to this sequence of the stream.
    Sequence(u64),
    /// Up to this time.
    Time(Timestamp),
}

impl Until {
    fn includes(self, event: &RecordedEvent) -> bool {
        match self {
            Self::Sequence(sequence) => event.sequence <= sequence,
            Self::Time(time) => event.recorded_at <= time,
        }
    }
}

impl App {
    /// A token as it was; `None` before it existed.
    pub(super) async fn token_then(
        &self,
        company: CompanyId,
        id: TokenId,
        until: Until,
    ) -> Result<Option<TokenRecord>, StoreError> {
        let Some(row) = self.fold::<Tokens>(company, id.into(), until).await? else {
            return Ok(None);
        };
        let created_by_name = self.actor_name(company, row.created_position).await?;
        Ok(Some(TokenRecord { row, created_by_name, last_used_at: None }))
    }

    /// A key as it was; `None` before it existed.
    pub(super) async fn key_then(
        &self,
        company: CompanyId,
        id: KeyId,
        until: Until,
    ) -> Result<Option<KeyRecord>, StoreError> {
        let Some(row) = self.fold::<Keys>(company, id.into(), until).await? else {
            return Ok(None);
        };
        let created_by_name = self.actor_name(company, row.created_position).await?;
        Ok(Some(KeyRecord { row, created_by_name }))
    }

    /// A company as it was; `None` before it existed.
    pub(super) async fn company_then(
        &self,
        id: CompanyId,
        until: Until,
    ) -> Result<Option<CompanyRow>, StoreError> {
        self.fold::<Companies>(id, id.into(), until).await
    }

    async fn fold<P: Projection>(
        &self,
        company: CompanyId,
        stream: StreamId,
        until: Until,
    ) -> Result<Option<P::Row>, StoreError> {
        let mut row = None;
        let mut sequence = 0;
        loop {
            let page = self.store().history(company, stream, sequence, PAGE).await?;
            for event in &page {
                if !until.includes(event) {
                    return Ok(row);
                }
                let appended = event.appended()?;
                row = P::apply(row, &appended).map_err(|misfit| misfit.at(&appended))?;
                sequence = event.sequence;
            }
            if page.len() < PAGE {
                return Ok(row);
            }
        }
    }

    async fn actor_name(
        &self,
        company: CompanyId,
        position: u64,
    ) -> Result<Option<String>, StoreError> {
        let mut parts = self.store().private_parts(company, &[position]).await?;
        Ok(parts.pop().flatten().and_then(|stored| stored.part().actor_name))
    }
}
