//! The audit trail: what happened, page by page and as a stream of any length.

use super::outcome::Listed;
use super::view::EventView;
use super::{AUDIT_WAIT, App, AppError};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use token_ledger_domain::event::EVENT_TYPES;
use token_ledger_domain::{CompanyId, Timestamp, TokenId};
use token_ledger_event_store::{RecordedEvent, StoreError, StreamId};
use token_ledger_projections::read_models::{AuditFilter as Positions, AuditRecord, DayCount};
use token_ledger_projections::{AuditTrail, Projection};
use uuid::Uuid;

/// Events that an export or a stream reads at a time.
pub const PAGE: usize = 1000;

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
            let detail = format!("{unknown:?} is no type of event; there are {}", known.join(", "));
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
        filter.check()?;
        let head = self.head(company).await?;
        // A token's events are found in the log itself.
        if filter.token_id.is_none() && !self.audit_reached(company, head).await? {
            return Err(AppError::AuditBehind);
        }
        let mut positions = self.positions(company, filter).await?;
        positions.descending = page.descending;
        match page.after {
            None => {}
            Some(after) if page.descending => positions.end_before(after),
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
        filter.check()?;
        let head = self.head(company).await?;
        if !self.audit_reached(company, head).await? {
            return Err(AppError::AuditBehind);
        }
        let positions = self.positions(company, filter).await?;
        Ok(self.read.audit_days(company, &positions).await?)
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
        positions.end_before(head + 1);
        Ok((positions.before_position - 1).saturating_sub(positions.after_position))
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
        heads.sort_by_key(|head| Reverse(head.recorded_at));
        let mut newest: Vec<AuditRecord> = Vec::new();
        for head in heads {
            // What is still to come is older than what has been found.
            let full = newest.len() >= wanted;
            if full && newest.last().is_some_and(|last| last.event.recorded_at > head.recorded_at) {
                break;
            }
            let mut positions = self.positions(head.company, filter).await?;
            positions.descending = true;
            if let Some(after) = after {
                positions.end_before(self.everywhere_bound(head.company, after).await?);
            }
            newest.extend(self.read.audit(head.company, &positions, wanted).await?);
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

    /// An export of all of a company's events that the filter lets through and that are there
    /// when the first chunk is asked for.
    pub fn export(
        self: &Arc<Self>,
        company: CompanyId,
        filter: AuditFilter,
        format: ExportFormat,
    ) -> Export {
        let (app, state) = (Arc::clone(self), State::Fresh);
        Export { app, company, filter, format, is_one_of_many: false, count: 0, state }
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
            positions.before_position = self.store().position_at(company, to, false).await? + 1;
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

/// Bounds that only ever get narrower.
trait Narrow {
    fn end_before(&mut self, position: u64);
}

impl Narrow for Positions {
    fn end_before(&mut self, position: u64) {
        self.before_position = match self.before_position {
            0 => position,
            bound => bound.min(position),
        };
    }
}

fn views(records: Vec<AuditRecord>) -> Result<Vec<EventView>, AppError> {
    Ok(records.into_iter().map(EventView::new).collect::<Result<_, _>>()?)
}

/// What an export is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// One JSON object a line; the last one says how many there were.
    Ndjson,
    /// Comma-separated values (RFC 4180) below a header line.
    Csv,
}

impl ExportFormat {
    /// The format's name, also the usual end of a file's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

impl std::str::FromStr for ExportFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Ndjson, Self::Csv]
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| "must be ndjson or csv".to_owned())
    }
}

/// An export under way: pages are read as they are asked for, each in a transaction of its own.
#[derive(Debug)]
pub struct Export {
    app: Arc<App>,
    company: CompanyId,
    filter: AuditFilter,
    format: ExportFormat,
    is_one_of_many: bool,
    count: u64,
    state: State,
}

/// How far an export is.
#[derive(Debug)]
enum State {
    Fresh,
    Begun(Scan),
    Done,
}

/// The part of the ledger that is still to be exported.
#[derive(Clone, Debug)]
struct Scan {
    positions: Positions,
    /// The last event that was read.
    last: u64,
    /// Whether the audit trail leads to the events; otherwise the whole log is read.
    indexed: bool,
}

impl Export {
    /// The same as a part of something greater: its last record names the company.
    #[must_use]
    pub fn one_of_many(self) -> Self {
        Self { is_one_of_many: true, ..self }
    }

    /// Takes note of where the ledger ends, so that what is refused is refused before the first
    /// byte. [`Self::next_chunk`] does it otherwise.
    ///
    /// # Errors
    /// When there is no such company or the filter can't be meant.
    pub async fn begin(&mut self) -> Result<(), AppError> {
        self.filter.check()?;
        let app = &self.app;
        let head = app.head(self.company).await?;
        let mut positions = app.positions(self.company, &self.filter).await?;
        positions.end_before(head + 1);
        let indexed = self.filter.token_id.is_some()
            || self.filter.is_selective() && app.audit_reached(self.company, head).await?;
        let last = positions.after_position;
        self.state = State::Begun(Scan { positions, last, indexed });
        Ok(())
    }

    /// The next bytes; `None` after the last. An error means that the export is incomplete.
    ///
    /// # Errors
    /// As for [`Self::begin`], and when the store fails.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, AppError> {
        let mut chunk = Vec::new();
        if matches!(self.state, State::Fresh) {
            self.begin().await?;
        }
        let State::Begun(scan) = &self.state else { return Ok(None) };
        let mut scan = scan.clone();
        if self.format == ExportFormat::Csv && scan.last == scan.positions.after_position {
            csv_rows(&mut chunk, std::iter::once(HEADER.map(str::to_owned)))?;
        }
        let records = self.next_page(&mut scan).await?;
        let views = views(records)?;
        self.count += views.len() as u64;
        match self.format {
            ExportFormat::Ndjson => {
                for view in &views {
                    json_line(&mut chunk, view)?;
                }
            }
            ExportFormat::Csv => csv_rows(&mut chunk, views.iter().map(cells))?,
        }
        if scan.last + 1 < scan.positions.before_position {
            self.state = State::Begun(scan);
            return Ok(Some(chunk));
        }
        self.state = State::Done;
        if self.format == ExportFormat::Ndjson {
            json_line(&mut chunk, &serde_json::json!({ "export": self.end(&scan) }))?;
        }
        Ok(Some(chunk))
    }

    /// What the last record says.
    fn end(&self, scan: &Scan) -> serde_json::Value {
        let last_position = scan.positions.before_position - 1;
        let mut end = serde_json::json!({ "count": self.count, "last_position": last_position });
        if self.is_one_of_many {
            end["company_id"] = self.company.0.to_string().into();
        }
        end
    }

    /// How many events were written.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The next page, and how far it went.
    async fn next_page(&self, scan: &mut Scan) -> Result<Vec<AuditRecord>, StoreError> {
        let end = scan.positions.before_position;
        if scan.indexed {
            let positions = Positions { after_position: scan.last, ..scan.positions.clone() };
            let found = self.app.read.audit(self.company, &positions, PAGE).await?;
            scan.last = match found.last() {
                Some(record) if found.len() == PAGE => record.event.position,
                _ => end - 1,
            };
            return Ok(found);
        }
        let mut events = self.app.store().read(self.company, scan.last, PAGE).await?;
        scan.last = events.last().map_or(end, |event| event.position);
        events.retain(|event| event.position < end);
        let mut chosen = Vec::with_capacity(events.len());
        for event in events {
            if self.filter.lets_through(&event)? {
                chosen.push(event);
            }
        }
        self.app.with_private_parts(self.company, chosen).await
    }
}

fn unwritable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Rejected(format!("an event can't be written: {error}"))
}

fn json_line<T: serde::Serialize>(chunk: &mut Vec<u8>, value: &T) -> Result<(), StoreError> {
    serde_json::to_writer(&mut *chunk, value).map_err(unwritable)?;
    chunk.push(b'\n');
    Ok(())
}

/// Columns of an export as CSV.
const COLUMNS: usize = 17;

const HEADER: [&str; COLUMNS] = [
    "position",
    "company_id",
    "token_id",
    "aggregate_type",
    "aggregate_id",
    "sequence",
    "type",
    "schema_version",
    "recorded_at",
    "actor_type",
    "actor_id",
    "actor_name",
    "request_id",
    "ip",
    "user_agent",
    "reason",
    "data",
];

fn cells(view: &EventView) -> [String; COLUMNS] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    [
        view.position.to_string(),
        view.company_id.to_string(),
        view.token_id.map(|id| id.to_string()).unwrap_or_default(),
        view.aggregate.kind.to_owned(),
        view.aggregate.id.to_string(),
        view.sequence.to_string(),
        view.kind.clone(),
        view.schema_version.to_string(),
        view.recorded_at.to_string(),
        view.actor.kind.to_owned(),
        view.actor.id.to_string(),
        text(&view.actor.name),
        text(&view.context.request_id),
        text(&view.context.ip),
        text(&view.context.user_agent),
        text(&view.context.reason),
        serde_json::Value::Object(view.data.clone()).to_string(),
    ]
}

fn csv_rows(
    chunk: &mut Vec<u8>,
    rows: impl Iterator<Item = [String; COLUMNS]>,
) -> Result<(), StoreError> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(chunk);
    for row in rows {
        writer.write_record(row.map(neutralised)).map_err(unwritable)?;
    }
    writer.flush().map_err(unwritable)
}

/// What spreadsheets take for the beginning of a formula, the signs' full-width forms too.
const RUN: [char; 11] = ['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r', '\n'];

/// The cell's text, such that no spreadsheet takes it for a formula.
fn neutralised(text: String) -> String {
    if text.starts_with(RUN) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_is_neutralised() {
        for text in
            ["=1+1", "+1", "-1", "@SUM(A1)", "＝1", "＋1", "－1", "＠A", "\t=1", "\r=1", "\n=1"]
        {
            assert_eq!(neutralised(text.to_owned()), format!("'{text}"));
        }
        for text in ["", "plain", "a=b", "'=1", "{\"a\":1}"] {
            assert_eq!(neutralised(text.to_owned()), text);
        }
    }

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
