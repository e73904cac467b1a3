//! Which commits of a batch can be appended, and where their events come to stand.

use crate::commit::{
    AppendError, Commit, Idempotency, MAX_CLOCK_LAG_SECONDS, Recorded, SealedEvent,
};
use crate::entry::Entry;
use crate::error::StoreError;
use crate::record::{Appended, Head, StreamId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::{CompanyId, Timestamp};
use uuid::Uuid;

/// How long ago a decision may have been made, by the database's clock, to be recorded as it is, in
/// seconds. Decisions are made by a clock that follows the database's.
pub(crate) const MAX_DECISION_AGE_SECONDS: i64 = 2;

/// The last event of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Last {
    pub entry_hash: [u8; 32],
    pub commit_id: Uuid,
    pub recorded: Recorded,
}

/// An event that is to be inserted.
#[derive(Debug)]
pub(crate) struct PlacedEvent<'a> {
    pub commit: &'a Commit,
    /// Which of the commit's events it is.
    pub index: usize,
    pub event_type: &'static str,
    pub event_version: String,
    pub position: u64,
    pub sequence: u64,
    pub recorded_at: Timestamp,
    pub entry_hash: [u8; 32],
}

impl<'a> PlacedEvent<'a> {
    pub fn sealed(&self) -> &'a SealedEvent {
        &self.commit.events[self.index]
    }

    pub fn private_commitment(&self) -> Option<&'a [u8]> {
        self.sealed().private.as_ref().map(|private| &private.commitment[..])
    }
}

/// What the database says about the companies and streams of a batch, kept up to date as commit
/// after commit takes its place.
#[derive(Debug, Default)]
pub(crate) struct Known<'a> {
    /// The locked heads; those of new companies at position 0.
    pub heads: HashMap<CompanyId, Head>,
    /// The ends of the streams that were looked for.
    pub lasts: HashMap<(CompanyId, StreamId), Last>,
    /// Commits that are in the ledger already: their answers were lost.
    pub recorded: HashMap<Uuid, Recorded>,
    /// Idempotency keys that are remembered.
    pub keys: HashSet<KeyName<'a>>,
    /// The database's time; the commits' own times count where there is none.
    pub now: Option<Timestamp>,
}

/// What tells an idempotency key from others: company, caller, route and key.
pub(crate) type KeyName<'a> = (CompanyId, &'a str, &'a str, &'a str);

pub(crate) fn key_name(company: CompanyId, key: &Idempotency) -> KeyName<'_> {
    (company, &key.caller, &key.route, &key.key)
}

/// What is to be written.
#[derive(Debug, Default)]
pub(crate) struct Placed<'a> {
    pub events: Vec<PlacedEvent<'a>>,
    pub appended: Vec<Appended>,
    /// The newest snapshot of each stream, with its sequence.
    pub snapshots: HashMap<(CompanyId, StreamId), (u64, &'a str)>,
    /// Keys, with the stream's sequence and the time.
    pub keys: Vec<(&'a Commit, &'a Idempotency, u64, Timestamp)>,
    /// The companies whose heads moved.
    pub moved: HashSet<CompanyId>,
}

/// Whether the commit says that its stream is about to begin, so that there is nothing to look
/// for. If it has begun after all, the place of its first event is taken, and the insert fails.
pub(crate) fn begins(commit: &Commit) -> bool {
    commit.expected_sequence == 0 && !commit.events.is_empty() && commit.idempotency.is_none()
}

impl<'a> Known<'a> {
    /// When the commit happens: at the time of its decision, if the database's clock agrees.
    ///
    /// # Errors
    /// When events were decided too long ago: whoever asked may have lost the right to since.
    fn time_of(&self, commit: &Commit) -> Result<Timestamp, AppendError> {
        let Some(now) = self.now else { return Ok(commit.decided_at) };
        if commit.decided_at >= now.plus_seconds(-MAX_DECISION_AGE_SECONDS) {
            Ok(now.min(commit.decided_at))
        } else if commit.events.is_empty() {
            Ok(now)
        } else {
            Err(AppendError::Outdated { at: now })
        }
    }

    /// Gives a commit its place, if its conditions hold.
    ///
    /// # Errors
    /// The condition that doesn't.
    pub fn place(
        &mut self,
        commit: &'a Commit,
        placed: &mut Placed<'a>,
    ) -> Result<Recorded, AppendError> {
        let stream = (commit.company, commit.stream);
        let last = self.lasts.get(&stream).copied();
        if let Some(recorded) = self.recorded.get(&commit.commit_id) {
            return Ok(*recorded);
        }
        if let Some(last) = &last
            && last.commit_id == commit.commit_id
        {
            return Ok(last.recorded);
        }
        if let Some(key) = &commit.idempotency
            && self.keys.contains(&key_name(commit.company, key))
        {
            return Err(AppendError::Repeated);
        }
        if last.map_or(0, |last| last.recorded.sequence) != commit.expected_sequence {
            return Err(AppendError::Conflict);
        }
        let now = self.time_of(commit)?;
        let head = self.heads.get_mut(&commit.company).ok_or(StoreError::Closed)?;
        if commit.company_sequence.is_some_and(|sequence| sequence != head.company_sequence) {
            return Err(AppendError::CompanyChanged);
        }
        let lag = head.recorded_at.as_seconds().saturating_sub(now.as_seconds());
        if lag > MAX_CLOCK_LAG_SECONDS {
            return Err(StoreError::ClockBehind { seconds: lag }.into());
        }
        let recorded_at = head.recorded_at.max(now);
        commit.holds_at(recorded_at)?;
        let previous = last.map(|last| last.entry_hash);
        let hash = insert(commit, head.position, recorded_at, previous, placed);
        let count = commit.events.len() as u64;
        let sequence = commit.expected_sequence + count;
        head.position += count;
        if count > 0 {
            head.recorded_at = recorded_at;
            placed.moved.insert(commit.company);
            if commit.stream.kind == AggregateType::Company {
                head.company_sequence = sequence;
            }
        }
        let recorded = Recorded { sequence, position: head.position, recorded_at };
        if let (Some(entry_hash), true) = (hash, count > 0) {
            let commit_id = commit.commit_id;
            self.lasts.insert(stream, Last { entry_hash, commit_id, recorded });
        }
        if let Some(snapshot) = &commit.snapshot {
            placed.snapshots.insert(stream, (sequence, snapshot));
        }
        if let Some(key) = &commit.idempotency {
            self.keys.insert(key_name(commit.company, key));
            placed.keys.push((commit, key, sequence, recorded_at));
        }
        Ok(recorded)
    }
}

/// Adds the commit's events to what is to be written; answers the last entry hash of the stream.
fn insert<'a>(
    commit: &'a Commit,
    head: u64,
    recorded_at: Timestamp,
    mut previous: Option<[u8; 32]>,
    placed: &mut Placed<'a>,
) -> Option<[u8; 32]> {
    for (index, sealed) in commit.events.iter().enumerate() {
        let position = head + index as u64 + 1;
        let sequence = commit.expected_sequence + index as u64 + 1;
        let event_type = sealed.event.type_name();
        let event_version = sealed.event.version().to_string();
        let entry_hash = Entry {
            company: commit.company,
            position,
            stream: commit.stream,
            sequence,
            event_type,
            event_version: &event_version,
            recorded_at,
            content: sealed.commitment,
            private: sealed.private.as_ref().map(|private| private.commitment),
            previous,
        }
        .hash();
        previous = Some(entry_hash);
        placed.events.push(PlacedEvent {
            commit,
            index,
            event_type,
            event_version,
            position,
            sequence,
            recorded_at,
            entry_hash,
        });
        placed.appended.push(Appended {
            company: commit.company,
            position,
            stream: commit.stream,
            sequence,
            recorded_at,
            actor: sealed.actor,
            event: Arc::clone(&sealed.event),
        });
    }
    previous
}

impl Placed<'_> {
    /// Takes a commit back that was to begin its stream, behind so many events of others.
    pub fn take_back(&mut self, commit: &Commit, events: usize) {
        self.events.truncate(events);
        self.appended.truncate(events);
        self.snapshots.remove(&(commit.company, commit.stream));
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.keys.is_empty() && self.snapshots.is_empty()
    }
}
