//! `token-ledger verify`

use super::{Failure, answer, companies, company_id, open};
use crate::app::App;
use crate::config::Settings;
use clap::Args;
use std::collections::HashMap;
use token_ledger_domain::company::{self, Company, CompanyEvent};
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::key::{self, Key};
use token_ledger_domain::token::{self, Token};
use token_ledger_domain::{CompanyId, LedgerEvent, Timestamp};
use token_ledger_event_store::entry::{Entry, content_commitment, private_commitment};
use token_ledger_event_store::sqlite::Access;
use token_ledger_event_store::{
    Head, RecordedEvent, StoreError, StoredPrivate, StoredSnapshot, StreamId,
};
use token_ledger_projections::read_models::Checkpoint;

/// Events that are read at a time.
const PAGE: usize = 5_000;
/// Snapshots that are read at a time.
const SNAPSHOTS: usize = 100;
/// Companies that are listed at a time.
const COMPANIES: usize = 1_000;

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// One company only: its identifier, or `platform`
    #[arg(long, value_name = "ID", value_parser = company_id)]
    company: Option<CompanyId>,
}

impl Verify {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), Failure> {
        let app = open(settings, Access::Read, false).await?;
        // Checkpoints never pass the heads, so they are read first.
        let checkpoints = app.read.checkpoints().await?;
        let mut wrong = 0_u64;
        let mut events = 0;
        let companies = companies(&app, self.company).await?;
        for company in &companies {
            match verify(&app, *company, &checkpoints).await? {
                Ok(count) => events += count,
                Err(Finding { position, problem }) => {
                    wrong += 1;
                    answer(&format!("company {company}, position {position}: {problem}"))?;
                }
            }
        }
        if self.company.is_none() {
            for company in headless(&app, &companies).await? {
                wrong += 1;
                answer(&format!("company {company}, position 0: its ledger has no head"))?;
            }
        }
        if wrong > 0 {
            answer(&format!("{wrong} of {} ledgers are not in order", companies.len()))?;
            return Err(Failure::Silent);
        }
        answer(&format!("{} ledgers, {events} events: all in order", companies.len()))
    }
}

/// The first thing that is wrong with a ledger.
#[derive(Debug)]
struct Finding {
    position: u64,
    problem: String,
}

impl Finding {
    fn at<T>(position: u64, problem: impl Into<String>) -> Result<T, Self> {
        Err(Self { position, problem: problem.into() })
    }
}

/// Reads a company's ledger up to its head; answers how many events it has, or what is wrong.
async fn verify(
    app: &App,
    company: CompanyId,
    checkpoints: &[Checkpoint],
) -> Result<Result<u64, Finding>, Failure> {
    let Some(head) = app.store().head(company).await? else {
        return Ok(Finding::at(0, "its ledger has no head"));
    };
    let mut chain = Chain::new(company);
    while chain.position < head.position {
        let page = match read(app, company, chain.position, head.position).await? {
            Ok(page) => page,
            Err(finding) => return Ok(Err(finding)),
        };
        if page.is_empty() {
            let problem =
                format!("the event is missing; the head says that there are {}", head.position);
            return Ok(Finding::at(chain.position + 1, problem));
        }
        let positions: Vec<u64> = page.iter().map(|event| event.position).collect();
        let parts = app.store().private_parts(company, &positions).await?;
        for (event, part) in page.iter().zip(&parts) {
            if let Err(finding) = chain.take(event, part.as_ref()) {
                return Ok(Err(finding));
            }
        }
    }
    if let Some(event) = app.store().read(company, head.position, 1).await?.first() {
        // It may have been appended meanwhile, then the head has moved with it.
        let moved = app.store().head(company).await?.map_or(0, |head| head.position);
        if moved < event.position {
            let problem = format!("an event behind the ledger's head, which is at {moved}");
            return Ok(Finding::at(event.position, problem));
        }
    }
    if let Err(finding) = chain.end(&head) {
        return Ok(Err(finding));
    }
    if let Err(finding) = verify_snapshots(app, company, &chain).await? {
        return Ok(Err(finding));
    }
    let ahead = checkpoints
        .iter()
        .find(|checkpoint| checkpoint.company_id == company && checkpoint.position > head.position);
    if let Some(Checkpoint { projection, position, .. }) = ahead {
        let problem = format!(
            "the projection {projection} claims to have come to {position}, but the ledger ends \
             at {}; `token-ledger replay` puts it right",
            head.position
        );
        return Ok(Finding::at(*position, problem));
    }
    Ok(Ok(head.position))
}

/// The next events. Where a page can't be read, the first event that can't is looked for.
async fn read(
    app: &App,
    company: CompanyId,
    after: u64,
    head: u64,
) -> Result<Result<Vec<RecordedEvent>, Finding>, StoreError> {
    match app.store().read(company, after, PAGE).await {
        Ok(mut page) => {
            page.retain(|event| event.position <= head);
            Ok(Ok(page))
        }
        Err(StoreError::Rejected(_) | StoreError::Corrupt { .. }) => {
            match app.store().read(company, after, 1).await {
                Ok(page) => Ok(Ok(page)),
                Err(StoreError::Rejected(problem) | StoreError::Corrupt { problem, .. }) => {
                    Ok(Finding::at(after + 1, format!("the event can't be read: {problem}")))
                }
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Holds every snapshot against the events that it sums up: commands are decided on it.
async fn verify_snapshots(
    app: &App,
    company: CompanyId,
    chain: &Chain,
) -> Result<Result<(), Finding>, Failure> {
    let mut after = None;
    loop {
        let page = app.store().snapshots(company, after, SNAPSHOTS).await?;
        let Some(last) = page.last() else { return Ok(Ok(())) };
        after = Some(last.stream);
        for StoredSnapshot { stream, sequence, state } in page {
            // Counted whole: the stream may have grown since.
            let count = usize::try_from(sequence).unwrap_or(usize::MAX);
            let events = app.store().history(company, stream, 0, count).await?;
            let position = events.last().map_or(0, |event| event.position);
            let whole = events.last().is_some_and(|event| event.sequence == sequence);
            let in_reading = chain.streams.contains_key(&stream) || position > chain.position;
            if !whole || !in_reading || !sums_up(stream, &events, &state)? {
                let problem = format!("the snapshot of {stream} is not what its events say");
                return Ok(Finding::at(position, problem));
            }
        }
    }
}

fn sums_up(stream: StreamId, events: &[RecordedEvent], state: &str) -> Result<bool, StoreError> {
    let (mut token, mut key, mut company) = (Token::default(), Key::default(), Company::default());
    for event in events {
        match event.decode()? {
            LedgerEvent::Token(event) => token = token::evolve(token, event),
            LedgerEvent::Key(event) => key = key::evolve(key, event),
            LedgerEvent::Company(event) => company = company::evolve(company, event),
        }
    }
    Ok(match stream.kind {
        AggregateType::Token => {
            serde_json::from_str(state).is_ok_and(|state: Token| state == token)
        }
        AggregateType::Key => serde_json::from_str(state).is_ok_and(|state: Key| state == key),
        AggregateType::Company => {
            serde_json::from_str(state).is_ok_and(|state: Company| state == company)
        }
    })
}

/// Companies that have rows but no ledger.
async fn headless(app: &App, known: &[CompanyId]) -> Result<Vec<CompanyId>, Failure> {
    let mut missing = Vec::new();
    let mut after = None;
    loop {
        let page = app.read.companies(after, COMPANIES).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.company_id);
        missing.extend(
            page.iter()
                .map(|row| row.company_id)
                // The list of heads is in the order of the identifiers.
                .filter(|company| known.binary_search(company).is_err()),
        );
    }
    // Those that were registered meanwhile have a head by now.
    let mut headless = Vec::new();
    for company in missing {
        if app.store().head(company).await?.is_none() {
            headless.push(company);
        }
    }
    Ok(headless)
}

/// A ledger as far as it has been read and found in order.
struct Chain {
    company: CompanyId,
    position: u64,
    recorded_at: Option<Timestamp>,
    /// The last event of each stream: its sequence and its entry's hash.
    streams: HashMap<StreamId, (u64, [u8; 32])>,
    /// The first event whose private part is gone.
    erased: Option<u64>,
    erasure: bool,
}

impl Chain {
    fn new(company: CompanyId) -> Self {
        Self {
            company,
            position: 0,
            recorded_at: None,
            streams: HashMap::new(),
            erased: None,
            erasure: false,
        }
    }

    /// Takes the next event, if it is in order.
    fn take(
        &mut self,
        event: &RecordedEvent,
        private: Option<&StoredPrivate>,
    ) -> Result<(), Finding> {
        let position = event.position;
        if position != self.position + 1 {
            let problem = format!("the event is missing; the next one is at {position}");
            return Finding::at(self.position + 1, problem);
        }
        if self.recorded_at.is_some_and(|before| before > event.recorded_at) {
            let problem = format!("recorded at {}, before its predecessor", event.recorded_at);
            return Finding::at(position, problem);
        }
        self.take_content(event)?;
        self.take_private(event, private)?;
        let last = self.streams.get(&event.stream).copied();
        let expected = last.map_or(0, |(sequence, _)| sequence) + 1;
        if event.sequence != expected {
            let problem =
                format!("{} has sequence {}, expected {expected}", event.stream, event.sequence);
            return Finding::at(position, problem);
        }
        let entry = Entry {
            company: self.company,
            position,
            stream: event.stream,
            sequence: event.sequence,
            event_type: &event.event_type,
            event_version: &event.event_version,
            recorded_at: event.recorded_at,
            content: content_commitment(&event.salt, &event.payload, &event.metadata),
            private: event.private_commitment,
            previous: last.map(|(_, hash)| hash),
        };
        if entry.hash() != event.entry_hash {
            return Finding::at(position, "the event is not the one that was hashed");
        }
        self.position = position;
        self.recorded_at = Some(event.recorded_at);
        self.streams.insert(event.stream, (event.sequence, event.entry_hash));
        Ok(())
    }

    fn take_content(&mut self, event: &RecordedEvent) -> Result<(), Finding> {
        let position = event.position;
        let problem = |error: StoreError| Finding { position, problem: error.to_string() };
        event.metadata().map_err(problem)?;
        let decoded = event.decode().map_err(problem)?;
        if decoded.aggregate_type() != event.stream.kind {
            let problem = format!("{} in the stream of {}", event.event_type, event.stream);
            return Finding::at(position, problem);
        }
        self.erasure |= matches!(decoded, LedgerEvent::Company(CompanyEvent::PersonErased { .. }));
        Ok(())
    }

    fn take_private(
        &mut self,
        event: &RecordedEvent,
        private: Option<&StoredPrivate>,
    ) -> Result<(), Finding> {
        match (event.private_commitment, private) {
            (None, None) => {}
            (None, Some(_)) => {
                return Finding::at(event.position, "a private part that the event does not have");
            }
            (Some(_), None) => {
                self.erased.get_or_insert(event.position);
            }
            (Some(commitment), Some(private)) => {
                if private_commitment(&private.salt, &private.data) != commitment {
                    return Finding::at(
                        event.position,
                        "the private part is not the one that was hashed",
                    );
                }
            }
        }
        Ok(())
    }

    /// Compares the end with what the head says.
    fn end(&self, head: &Head) -> Result<(), Finding> {
        if let Some(position) = self.erased
            && !self.erasure
        {
            return Finding::at(position, "the private part is missing, and nobody was erased");
        }
        if self.recorded_at != Some(head.recorded_at) {
            return Finding::at(head.position, "the head has another time than the last event");
        }
        let company = self.streams.get(&self.company.into()).map_or(0, |(sequence, _)| *sequence);
        if company != head.company_sequence {
            let problem = format!(
                "the head says that the company is at sequence {}, its events say {company}",
                head.company_sequence
            );
            return Finding::at(head.position, problem);
        }
        Ok(())
    }
}
