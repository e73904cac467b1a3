//! Checking an evidence pack with nothing but files and a key.

use super::bundle;
use super::entry_text::{EntryText, hash};
use super::note::{NoteProblem, Statement, VerifierKey};
use super::pack::{FORMAT, Pack, PackEvent, read_me};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use tlog_tiles::tlog::{Hash, check_record, record_hash};
use token_ledger_domain::Quoted;
use token_ledger_event_store::entry::{content_commitment, private_commitment};
use token_ledger_projections::tree::Edge;
use uuid::Uuid;

/// Why a pack proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// The file is no pack.
    #[error("the file is no evidence pack: {0}")]
    NoPack(String),
    /// The checkpoint is not the log's.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] NoteProblem),
    /// The pack shows no events.
    #[error("the pack shows no events")]
    Empty,
    /// An event is not what the log says.
    #[error("position {position}: {problem}")]
    Event {
        /// Its position.
        position: u64,
        /// What is wrong.
        problem: String,
    },
    /// The page in plain words is not the one that belongs to the pack.
    #[error(
        "read_me is not what the service writes for this pack; nothing in it is to be believed"
    )]
    ReadMe,
    /// The entries are not those of the checkpoint.
    #[error("the entries: {0}")]
    Entries(String),
}

impl Unproved {
    fn at(position: u64, problem: impl Into<String>) -> Self {
        Self::Event { position, problem: problem.into() }
    }
}

/// What a pack proves.
#[derive(Clone, Debug, PartialEq)]
pub struct Proved {
    /// The log and the tree that it is proved for.
    pub checkpoint: Statement,
    /// The token.
    pub token_id: Uuid,
    /// The positions of its events.
    pub positions: Vec<u64>,
    /// Those whose private part is not shown.
    pub without_private: Vec<u64>,
    /// Whether it is also proved that these are all of the token's events up to the checkpoint.
    pub complete: bool,
    /// Whether the pack names another key than the one that it was checked with, which alone counts.
    pub other_key: bool,
    /// Whether entries were given that the checkpoint does not cover, which were not looked at.
    pub goes_on: bool,
}

/// Checks a pack: the checkpoint against the key, each event against the checkpoint, each event
/// against the one before it; and with the entries of the log, that no event of the token is
/// missing.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(
    pack: &[u8],
    key: &VerifierKey,
    entries: Option<&mut dyn Read>,
) -> Result<Proved, Unproved> {
    let pack = read(pack).map_err(|error| Unproved::NoPack(error.to_string()))?;
    if pack.format != FORMAT {
        return Err(Unproved::NoPack(format!("its format is {}", Quoted(&pack.format))));
    }
    let checkpoint = key.open(&pack.checkpoint)?;
    if checkpoint.origin != pack.origin {
        return Err(Unproved::NoPack(format!("it says that it is of the log {}", pack.origin)));
    }
    let mut chain = Chain::default();
    for event in &pack.events {
        chain.take(&pack, event, &checkpoint)?;
    }
    let (Some(first), Some(last)) = (chain.positions.first(), chain.positions.last()) else {
        return Err(Unproved::Empty);
    };
    let told = read_me(pack.token_id, &checkpoint.origin, checkpoint.size, *first, *last);
    if pack.read_me != told {
        return Err(Unproved::ReadMe);
    }
    let complete = entries.is_some();
    let goes_on = match entries {
        Some(entries) => check_entries(entries, &checkpoint, pack.token_id, &chain.leaves)?,
        None => false,
    };
    Ok(Proved {
        checkpoint,
        token_id: pack.token_id,
        positions: chain.positions,
        without_private: chain.without_private,
        complete,
        other_key: pack.verifier_key != key.text(),
        goes_on,
    })
}

/// Reads a pack. It must be written as the service writes it, every member of it by its name, so that
/// no other checker reads something else in it.
fn read(pack: &[u8]) -> serde_json::Result<Pack> {
    let read: Pack = serde_json::from_slice(pack)?;
    let written: Value = serde_json::from_slice(pack)?;
    if serde_json::to_value(&read)? != written {
        let problem = "a member is missing, or not written as the service writes it";
        return Err(serde::de::Error::custom(problem));
    }
    Ok(read)
}

/// The token's events as far as they have been found in order.
#[derive(Debug, Default)]
struct Chain {
    positions: Vec<u64>,
    without_private: Vec<u64>,
    leaves: BTreeMap<u64, Hash>,
    last: Option<Hash>,
}

impl Chain {
    fn take(
        &mut self,
        pack: &Pack,
        event: &PackEvent,
        checkpoint: &Statement,
    ) -> Result<(), Unproved> {
        let position = event.position;
        let wrong = |problem: String| Unproved::at(position, problem);
        let entry = EntryText::read(&event.entry).map_err(wrong)?;
        if entry.position != position {
            return Err(wrong(format!("the entry is of position {}", entry.position)));
        }
        if entry.company_id != pack.company_id || !entry.is_of(pack.token_id) {
            return Err(wrong("the entry is of something else than the token".to_owned()));
        }
        let sequence = self.positions.len() as u64 + 1;
        if entry.sequence != sequence {
            let problem =
                format!("event {} of the token, where {sequence} belongs", entry.sequence);
            return Err(wrong(problem));
        }
        if entry.previous.as_deref().map(hash).transpose().map_err(wrong)?
            != self.last.map(|hash| hash.0)
        {
            return Err(wrong("it does not follow the event before it".to_owned()));
        }
        let salt = hash(&event.salt).map_err(wrong)?;
        let content = hash(&entry.content).map_err(wrong)?;
        if content_commitment(&salt, &event.payload, &event.metadata) != content {
            return Err(wrong("payload or metadata are not those that were logged".to_owned()));
        }
        match (&event.private, &entry.private) {
            (None, None) => {}
            (None, Some(_)) => self.without_private.push(position),
            (Some(_), None) => {
                return Err(wrong("a private part that the entry does not have".to_owned()));
            }
            (Some(shown), Some(logged)) => {
                let salt = hash(&shown.salt).map_err(wrong)?;
                if private_commitment(&salt, &shown.data) != hash(logged).map_err(wrong)? {
                    return Err(wrong(
                        "the private part is not the one that was logged".to_owned(),
                    ));
                }
            }
        }
        let leaf = record_hash(event.entry.as_bytes());
        let proof: Vec<Hash> = event
            .inclusion_proof
            .iter()
            .map(|text| Hash::parse_hash(text))
            .collect::<Result<_, _>>()
            .map_err(|_| wrong("the proof holds something else than hashes".to_owned()))?;
        let index = position.checked_sub(1).ok_or_else(|| wrong("no such position".to_owned()))?;
        check_record(&proof, checkpoint.size, checkpoint.root, index, leaf)
            .map_err(|_| wrong("the entry is not in the tree of the checkpoint".to_owned()))?;
        self.positions.push(position);
        self.leaves.insert(position, leaf);
        self.last = Some(leaf);
        Ok(())
    }
}

/// Checks that these are all entries of the checkpoint's tree and that the token's among them are
/// those shown; answers whether there are more behind them, as bundles may hold entries that came
/// later.
fn check_entries(
    entries: &mut dyn Read,
    checkpoint: &Statement,
    token: Uuid,
    shown: &BTreeMap<u64, Hash>,
) -> Result<bool, Unproved> {
    let wrong = |problem: String| Unproved::Entries(problem);
    let (mut edge, mut full) = (Edge::default(), Vec::new());
    let mut goes_on = false;
    for entry in bundle::read(entries) {
        if edge.size() == checkpoint.size {
            goes_on = true;
            break;
        }
        let position = edge.size() + 1;
        let bytes = entry.map_err(|error| wrong(error.to_string()))?;
        let leaf = record_hash(&bytes);
        edge.push(&leaf.0, &mut full);
        full.clear();
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| wrong(format!("entry {position} is no text")))?;
        let read = EntryText::read(text)
            .map_err(|problem| wrong(format!("entry {position}: {problem}")))?;
        if read.position != position {
            return Err(wrong(format!("entry {position} is of position {}", read.position)));
        }
        if read.is_of(token) && !shown.contains_key(&position) {
            return Err(Unproved::at(position, "an event of the token that the pack leaves out"));
        }
    }
    if edge.size() < checkpoint.size {
        let problem =
            format!("there are {}, the checkpoint is of {}", edge.size(), checkpoint.size);
        return Err(wrong(problem));
    }
    if edge.root().ok() != Some(checkpoint.root) {
        return Err(wrong("they are not those that the checkpoint was signed for".to_owned()));
    }
    Ok(goes_on)
}
