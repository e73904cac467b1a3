//! The events of a ledger, one after the other.

use super::erasures::Erasures;
use super::finding::Finding;
use std::collections::HashMap;
use token_ledger_domain::{CompanyId, LedgerEvent, Timestamp};
use token_ledger_event_store::entry::{Entry, private_commitment};
use token_ledger_event_store::{Head, RecordedEvent, StoreError, StoredPrivate, StreamId};

/// A ledger as far as it has been read and found in order.
pub(super) struct Chain {
    company: CompanyId,
    pub(super) position: u64,
    recorded_at: Option<Timestamp>,
    /// The last event of each stream: its sequence and its entry's hash.
    pub(super) streams: HashMap<StreamId, (u64, [u8; 32])>,
    erasures: Erasures,
}

impl Chain {
    pub(super) fn new(company: CompanyId, erasures: Erasures) -> Self {
        Self { company, position: 0, recorded_at: None, streams: HashMap::new(), erasures }
    }

    /// Takes the next event, if it is in order.
    pub(super) fn take(
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
        self.take_content(event, private.is_some())?;
        take_private(event, private)?;
        let last = self.streams.get_mut(&event.stream);
        let expected = last.as_ref().map_or(0, |(sequence, _)| *sequence) + 1;
        if event.sequence != expected {
            let problem =
                format!("{} has sequence {}, expected {expected}", event.stream, event.sequence);
            return Finding::at(position, problem);
        }
        let previous = last.as_ref().map(|(_, hash)| *hash);
        if event.company != self.company || Entry::of(event, previous).hash() != event.entry_hash {
            return Finding::at(position, "the event is not the one that was hashed");
        }
        let place = (event.sequence, event.entry_hash);
        match last {
            Some(last) => *last = place,
            None => {
                self.streams.insert(event.stream, place);
            }
        }
        self.position = position;
        self.recorded_at = Some(event.recorded_at);
        Ok(())
    }

    fn take_content(&mut self, event: &RecordedEvent, private: bool) -> Result<(), Finding> {
        let position = event.position;
        let problem = |error: StoreError| match error {
            // The place is said with the finding.
            StoreError::Corrupt { problem, .. } => Finding::new(position, problem),
            error => Finding::new(position, error.to_string()),
        };
        let metadata = event.metadata().map_err(problem)?;
        let decoded = event.decode().map_err(problem)?;
        if decoded.aggregate_type() != event.stream.kind {
            let problem = format!("{} in the stream of {}", event.event_type, event.stream);
            return Finding::at(position, problem);
        }
        if event.private_commitment.is_some() {
            self.erasures.private_part(position, &metadata.actor, &decoded, private);
        }
        self.erasures.learn(position, &decoded);
        Ok(())
    }

    /// Whether every private part that is gone was erased, as far as is known.
    pub(super) fn accounts_for_all(&self) -> bool {
        self.erasures.check().is_ok()
    }

    /// Takes in what an event beyond the end says about people.
    pub(super) fn learn_since(&mut self, event: &LedgerEvent) {
        self.erasures.learn_since(event);
    }

    /// Compares the end with what the head says.
    pub(super) fn end(&self, head: &Head) -> Result<(), Finding> {
        self.erasures.check()?;
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

fn take_private(event: &RecordedEvent, private: Option<&StoredPrivate>) -> Result<(), Finding> {
    match (event.private_commitment, private) {
        // Whether somebody was erased is known at the end.
        (_, None) => Ok(()),
        (None, Some(_)) => {
            Finding::at(event.position, "a private part that the event does not have")
        }
        (Some(commitment), Some(private)) => {
            if private_commitment(&private.salt, &private.data) == commitment {
                Ok(())
            } else {
                Finding::at(event.position, "the private part is not the one that was hashed")
            }
        }
    }
}
