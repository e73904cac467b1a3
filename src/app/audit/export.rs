//! The audit trail as a file of any length.

use super::{AuditFilter, PAGE, Positions, end_before, views};
use crate::app::view::EventView;
use crate::app::{App, AppError};
use std::sync::Arc;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::StoreError;
use token_ledger_projections::read_models::AuditRecord;

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

/// The line above all rows of an export as CSV.
///
/// # Errors
/// When it can't be written.
pub fn csv_header() -> Result<Vec<u8>, StoreError> {
    let mut header = Vec::new();
    csv_rows(&mut header, std::iter::once(HEADER.map(str::to_owned)))?;
    Ok(header)
}

impl App {
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
    /// Before which it ends.
    end: u64,
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
        let end = end_before(&mut positions, head + 1);
        let indexed = self.filter.token_id.is_some()
            || self.filter.is_selective() && app.audit_reached(self.company, head).await?;
        let last = positions.after_position;
        self.state = State::Begun(Scan { positions, end, last, indexed });
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
            chunk = csv_header()?;
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
        if scan.last + 1 < scan.end {
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
        let mut end = serde_json::json!({ "count": self.count, "last_position": scan.end - 1 });
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
        let end = scan.end;
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
}
