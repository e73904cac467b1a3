//! Snapshots: what commands are decided on without reading all events.

use super::chain::Chain;
use super::finding::{Finding, Stop};
use crate::app::App;
use token_ledger_domain::company::{self, Company};
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::key::{self, Key};
use token_ledger_domain::token::{self, Token};
use token_ledger_domain::{CompanyId, LedgerEvent};
use token_ledger_event_store::{RecordedEvent, StoreError, StoredSnapshot, StreamId};

/// Snapshots that are read at a time.
const SNAPSHOTS: usize = 100;

/// Holds every snapshot against the events that it sums up: commands are decided on it.
pub(super) async fn verify(app: &App, company: CompanyId, chain: &Chain) -> Result<(), Stop> {
    let mut after = None;
    loop {
        let page = app.store().snapshots(company, after, SNAPSHOTS).await;
        let page = page.map_err(Stop::unreadable("a snapshot"))?;
        let Some(last) = page.last() else { return Ok(()) };
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
                return Err(Finding::new(position, problem).into());
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
