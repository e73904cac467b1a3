//! The audit trail: what happened, page by page and as a stream of any length.

mod export;

pub use export::{Export, ExportFormat, csv_header};

use super::outcome::Listed;
use super::view::EventView;
use super::{AUDIT_WAIT, App, AppError};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use token_ledger_domain::event::EVENT_TYPES;
use token_ledger_domain::{CompanyId, Quoted, Timestamp, TokenId};
use token_ledger_event_store::{RecordedEvent, StoreError, StreamId};
use token_ledger_projections::read_models::{AuditRecord, DayCount, Positions};
use token_ledger_projections::{AuditTrail, Projection};
use uuid::Uuid;

/// Events that an export or a stream reads at a time.
pub const PAGE: usize = 1000;
/// Companies that a page of all companies asks at once, on connections of their own.
const COMPANIES_AT_ONCE: usize = 4;

/// Which events are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// About this token.
    pub token_id: Option<TokenId>,
    /// Of any of these types; of all when empty.
    pub types: BTreeSet<String>,
    /// Done by this actor.
    pub actor_id: Option<Uuid>,
    /// Recorded at this time or later.
    pub from: Option<Timestamp>,
    /// Recorded before this time.
    pub to: Option<Timestamp>,
}

impl AuditFilter {
    /// Refuses what can't be meant: types that don't exist, an end before the beginning.
    ///
    /// # Errors
    /// [`AppError::Invalid`].
    pub fn check(&self) -> Result<(), AppError> {
        let unknown =
            self.types.iter().find(|name| !EVENT_TYPES.iter().any(|(known, _)| known == name));
        if let Some(unknown) = unknown {
            let known: Vec<&str> = EVENT_TYPES.iter().map(|(name, _)| *name).collect();
            let detail =
                format!("{} is no type of event; there are {}", Quoted(unknown), known.join(", "));
            return Err(AppError::invalid("type", detail));
        }
        if self.from.zip(self.to).is_some_and(|(from, to)| from > to) {
            return Err(AppError::invalid("from", "must not be after `to`"));
        }
        Ok(())
    }

    /// Whether finding the events takes an index.
    fn is_selective(&self) -> bool {
        !self.types.is_empty() || self.actor_id.is_some()
    }

    fn lets_through(&self, event: &RecordedEvent) -> Result<bool, StoreError> {
        if !self.types.is_empty() && !self.types.contains(&event.event_type) {
            return Ok(false);
        }
        match self.actor_id {
            None => Ok(true),
            Some(actor) => Ok(event.metadata()?.actor.id == actor),
        }
    }
}

/// One page of a list of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// Whether the newest come first.
    pub descending: bool,
    /// The position behind which the page goes on, in its direction.
    pub after: Option<u64>,
    /// The most events.
    pub limit: usize,
}

/// Where a list over all companies goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EverywhereAfter {
    /// When the last event of the page before was recorded.
    pub recorded_at: Timestamp,
    /// Its company.
    pub company: CompanyId,
    /// Its position.
    pub position: u64,
}

impl App {
    /// The last position of a company's ledger.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is no such company.
    pub async fn head(&self, company: CompanyId) -> Result<u64, AppError> {
        let head = self.store().head(company).await?;
        head.map(|head| head.position).ok_or(AppError::NotFound("company"))
    }

    /// A page of a company's audit trail. It includes everything that was committed when this was
    /// called.
    ///
    /// # Errors
    /// [`AppError::AuditBehind`] when that would take too long, and as for [`AuditFilter::check`].
    pub async fn audit_page(
        &self,
        company: CompanyId,
        filter: &AuditFilter,
        page: AuditPage,
    ) -> Result<Listed<EventView, u64>, AppError> {
        self.can_be_searched(company, filter).await?;
        let mut positions = self.positions(company, filter).await?;
        positions.descending = page.descending;
        match page.after {
            None => {}
            Some(after) if page.descending => {
                end_before(&mut positions, after);
            }
            Some(after) => positions.after_position = positions.after_position.max(after),
        }
        let found = self.read.audit(company, &positions, page.limit + 1).await?;
        Ok(Listed::cut(views(found)?, page.limit, |last| last.position, |view| view))
    }

    /// How many events the filter lets through on each day, the earliest first; days without any
    /// are left out. Everything is counted that was committed when this was called.
    ///
    /// # Errors
    /// As for [`Self::audit_page`].
    pub async fn audit_days(
        &self,
        company: CompanyId,
        filter: &AuditFilter,
    ) -> Result<Vec<DayCount>, AppError> {
        self.can_be_searched(company, filter).await?;
        let positions = self.positions(company, filter).await?;
        Ok(self.read.audit_days(company, &positions).await?)
    }

    /// Waits until everything that was committed is where the filter looks for it.
    async fn can_be_searched(
        &self,
        company: CompanyId,
        filter: &AuditFilter,
    ) -> Result<(), AppError> {
        filter.check()?;
        let head = self.head(company).await?;
        // A token's events are found in the log itself.
        if filter.token_id.is_some() || self.audit_reached(company, head).await? {
            return Ok(());
        }
        Err(AppError::AuditBehind)
    }

    /// How many events the filter lets through.
    ///
    /// # Errors
    /// As for [`Self::audit_page`].
    pub async fn audit_count(
        &self,
        company: CompanyId,
        filter: &AuditFilter,
    ) -> Result<u64, AppError> {
        if filter.is_selective() || filter.token_id.is_some() {
            let days = self.audit_days(company, filter).await?;
            return Ok(days.iter().map(|day| day.events).sum());
        }
        // Positions have no gaps, so they count.
        let head = self.head(company).await?;
        let mut positions = self.positions(company, filter).await?;
        let end = end_before(&mut positions, head + 1);
        Ok((end - 1).saturating_sub(positions.after_position))
    }

    /// The newest events of all companies, as far as the audit trail has got.
    ///
    /// # Errors
    /// As for [`AuditFilter::check`], and when the store fails.
    pub async fn audit_everywhere(
        &self,
        filter: &AuditFilter,
        after: Option<EverywhereAfter>,
        limit: usize,
    ) -> Result<Listed<EventView, EverywhereAfter>, AppError> {
        filter.check()?;
        let wanted = limit + 1;
        let mut heads = self.store().heads().await?;
        heads.retain(|head| filter.from.is_none_or(|from| head.recorded_at >= from));
        heads.sort_by_key(|head| Reverse(head.recorded_at));
        let pages = heads.into_iter().map(|head| async move {
            let page = self.newest_of(head.company, filter, after, wanted).await?;
            Ok::<_, AppError>((head.recorded_at, page))
        });
        let mut pages = stream::iter(pages).buffered(COMPANIES_AT_ONCE);
        let mut newest: Vec<AuditRecord> = Vec::new();
        while let Some((last_recorded_at, page)) = pages.try_next().await? {
            // What is still to come is older than what has been found.
            let full = newest.len() >= wanted;
            if full && newest.last().is_some_and(|last| last.event.recorded_at > last_recorded_at) {
                break;
            }
            newest.extend(page);
            newest.sort_by_key(|record| {
                let event = &record.event;
                (Reverse(event.recorded_at), event.company, Reverse(event.position))
            });
            newest.truncate(wanted);
        }
        let place = |last: &EventView| EverywhereAfter {
            recorded_at: last.recorded_at,
            company: CompanyId(last.company_id),
            position: last.position,
        };
        Ok(Listed::cut(views(newest)?, limit, place, |view| view))
    }

    /// The newest events of a company on the page of all companies that goes on there.
    async fn newest_of(
        &self,
        company: CompanyId,
        filter: &AuditFilter,
        after: Option<EverywhereAfter>,
        wanted: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let mut positions = self.positions(company, filter).await?;
        positions.descending = true;
        if let Some(after) = after {
            end_before(&mut positions, self.everywhere_bound(company, after).await?);
        }
        self.read.audit(company, &positions, wanted).await
    }

    /// The position of a company before which the page goes on.
    async fn everywhere_bound(
        &self,
        company: CompanyId,
        after: EverywhereAfter,
    ) -> Result<u64, StoreError> {
        if company == after.company {
            return Ok(after.position);
        }
        let inclusive = company > after.company;
        Ok(self.store().position_at(company, after.recorded_at, inclusive).await? + 1)
    }

    /// A token's events behind a sequence, oldest first.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is no such token.
    pub async fn token_history(
        &self,
        company: CompanyId,
        token: TokenId,
        after_sequence: u64,
        limit: usize,
    ) -> Result<Listed<EventView, u64>, AppError> {
        if after_sequence == 0 {
            self.read.token(company, token).await?.ok_or(AppError::NotFound("token"))?;
        }
        self.stream_history(company, token.into(), after_sequence, limit).await
    }

    /// The events of a token, key or company behind a sequence, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stream_history(
        &self,
        company: CompanyId,
        stream: StreamId,
        after_sequence: u64,
        limit: usize,
    ) -> Result<Listed<EventView, u64>, AppError> {
        let events = self.store().history(company, stream, after_sequence, limit + 1).await?;
        let events = self.told(company, events).await?;
        Ok(Listed::cut(events, limit, |last| last.sequence, |view| view))
    }

    /// The events of a company behind a position, oldest first, straight from the log.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn events_after(
        &self,
        company: CompanyId,
        position: u64,
    ) -> Result<Vec<EventView>, AppError> {
        let events = self.store().read(company, position, PAGE).await?;
        self.told(company, events).await
    }

    /// Events with their private parts.
    pub(super) async fn told(
        &self,
        company: CompanyId,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<EventView>, AppError> {
        views(self.with_private_parts(company, events).await?)
    }

    /// Whether the audit trail holds everything up to the position, or does so soon.
    async fn audit_reached(&self, company: CompanyId, position: u64) -> Result<bool, StoreError> {
        let runner = self.behind().into_iter().find(|runner| runner.name() == AuditTrail::NAME);
        if let Some(runner) = runner {
            return Ok(runner.reached(company, position, AUDIT_WAIT).await);
        }
        let checkpoints = self.read.checkpoints().await?;
        Ok(checkpoints.iter().any(|checkpoint| {
            checkpoint.company_id == company
                && checkpoint.projection == AuditTrail::NAME
                && checkpoint.version == AuditTrail::VERSION
                && checkpoint.position >= position
        }))
    }

    /// The filter in positions instead of times.
    async fn positions(
        &self,
        company: CompanyId,
        filter: &AuditFilter,
    ) -> Result<Positions, StoreError> {
        let mut positions = Positions {
            token_id: filter.token_id,
            types: filter.types.clone(),
            actor_id: filter.actor_id,
            ..Positions::default()
        };
        if let Some(from) = filter.from {
            positions.after_position = self.store().position_at(company, from, false).await?;
        }
        if let Some(to) = filter.to {
            let last = self.store().position_at(company, to, false).await?;
            positions.before_position = Some(last + 1);
        }
        Ok(positions)
    }

    async fn with_private_parts(
        &self,
        company: CompanyId,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let positions: Vec<u64> = events.iter().map(|event| event.position).collect();
        let parts = self.store().private_parts(company, &positions).await?;
        Ok(events
            .into_iter()
            .zip(parts)
            .map(|(event, part)| AuditRecord { event, private: part.map(|part| part.part()) })
            .collect())
    }
}

/// Ends the positions before this one, unless they end sooner; answers before which they end.
fn end_before(positions: &mut Positions, position: u64) -> u64 {
    let end = positions.before_position.map_or(position, |bound| bound.min(position));
    positions.before_position = Some(end);
    end
}

fn views(records: Vec<AuditRecord>) -> Result<Vec<EventView>, AppError> {
    Ok(records.into_iter().map(EventView::new).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_what_can_not_be_meant() {
        let filter = AuditFilter { types: ["token.made".to_owned()].into(), ..Default::default() };
        assert!(matches!(filter.check(), Err(AppError::Invalid(_))));
        let time = Timestamp::from_micros(10);
        let same = AuditFilter { from: Some(time), to: Some(time), ..Default::default() };
        assert!(same.check().is_ok());
        let earlier = Some(Timestamp::from_micros(9));
        assert!(AuditFilter { to: earlier, ..same }.check().is_err());
    }
}
