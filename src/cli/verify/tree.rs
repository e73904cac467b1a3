//! The tree of a ledger, built anew from its events, and what it is compared with.

use super::{Failure, Finding};
use crate::app::App;
use crate::evidence::note::{NoteProblem, Statement, VerifierKey};
use std::collections::HashMap;
use std::path::PathBuf;
use token_ledger_domain::CompanyId;
use token_ledger_projections::tree::{Edge, SignedCheckpoint, TileData};

/// Stored checkpoints that are read at a time.
const CHECKPOINTS: usize = 1000;
/// Bytes of a hash.
const HASH: usize = 32;

/// Leaves below a hash of a level: 256 to the power of the level.
fn leaves(level: u8) -> u64 {
    1_u64.checked_shl(8 * u32::from(level)).unwrap_or(u64::MAX)
}

/// A root that the tree must have at a size.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    size: u64,
    root: [u8; 32],
    /// Who says so.
    source: String,
}

impl Mark {
    fn new(statement: &Statement, source: impl Into<String>) -> Self {
        Self { size: statement.size, root: statement.root.0, source: source.into() }
    }
}

/// A checkpoint that an auditor has kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// The file.
    pub(super) file: PathBuf,
    /// The signed note.
    pub(super) note: String,
    /// What it says.
    pub(super) statement: Statement,
    /// The company that it is of.
    pub(super) company: CompanyId,
}

impl Kept {
    /// Reads a checkpoint's file.
    pub(super) fn read(file: PathBuf) -> Result<Self, Failure> {
        let failed = |problem: String| Failure::Failed(format!("{}: {problem}", file.display()));
        let note = std::fs::read_to_string(&file).map_err(|error| failed(error.to_string()))?;
        let statement = Statement::unverified(&note).map_err(|error| failed(error.to_string()))?;
        let company = statement.origin.rsplit('/').next().and_then(|id| id.parse().ok());
        let company = company
            .ok_or_else(|| failed(format!("the log {} is not a company's", statement.origin)))?;
        Ok(Self { file, note, statement, company })
    }

    /// What the tree must be, given that the log signed this.
    fn mark(&self, key: &VerifierKey) -> Result<Mark, String> {
        let source = format!("the checkpoint in {}", self.file.display());
        match key.open(&self.note) {
            Ok(statement) => Ok(Mark::new(&statement, source)),
            Err(problem) => Err(format!("{source}: {problem}")),
        }
    }
}

/// Everything that is known of a company's tree before its events are read.
pub(super) async fn marks(
    app: &App,
    company: CompanyId,
    kept: &[Kept],
    key: Option<&VerifierKey>,
) -> Result<Result<Vec<Mark>, Finding>, Failure> {
    let evidence = &app.evidence;
    let own = evidence.key(company).map(|key| key.verifier_key());
    let origin = evidence.origin(company);
    let mut keys: HashMap<String, VerifierKey> = HashMap::new();
    let mut marks = Vec::new();
    let mut after = None;
    loop {
        let page = evidence.trees().checkpoints(company, after, false, CHECKPOINTS).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.signed_at, last.origin.clone(), last.size));
        for signed in &page {
            if signed.origin == origin
                && own.as_ref().is_some_and(|own| *own != signed.verifier_key)
            {
                let problem = "the stored checkpoint was signed with another key than the log's";
                return Ok(Finding::at(signed.size, problem));
            }
            match stored_mark(signed, &mut keys) {
                Ok(mark) => marks.push(mark),
                Err(problem) => return Ok(Finding::at(signed.size, problem)),
            }
        }
    }
    let folder = evidence.outside().folder().display().to_string();
    if let Some(note) = evidence.outside_note(company)? {
        let key = own.as_deref().and_then(|own| own.parse().ok());
        let key: Option<VerifierKey> = key.or_else(|| keys.get(&origin).cloned());
        let statement = match &key {
            Some(key) => key.open(&note),
            None => Statement::unverified(&note),
        };
        let source = format!("the checkpoint kept in {folder}");
        match statement {
            Ok(statement) => marks.push(Mark::new(&statement, source)),
            Err(problem) => return Ok(Finding::at(0, format!("{source}: {problem}"))),
        }
    }
    for kept in kept.iter().filter(|kept| kept.company == company) {
        let of_origin = || {
            let own = own.as_deref().filter(|_| kept.statement.origin == origin);
            let own = own.and_then(|own| own.parse().ok());
            own.or_else(|| keys.get(&kept.statement.origin).cloned())
        };
        let Some(key) = key.cloned().or_else(of_origin) else {
            return Err(Failure::Usage(format!(
                "{}: the key of the log {} is not known here; give it with --key",
                kept.file.display(),
                kept.statement.origin
            )));
        };
        match kept.mark(&key) {
            Ok(mark) => marks.push(mark),
            Err(problem) => return Ok(Finding::at(kept.statement.size, problem)),
        }
    }
    marks.sort_by_key(|mark| mark.size);
    Ok(Ok(marks))
}

/// What a stored checkpoint says, if its columns say the same and its key signed it.
fn stored_mark(
    signed: &SignedCheckpoint,
    keys: &mut HashMap<String, VerifierKey>,
) -> Result<Mark, String> {
    let wrong = |problem: NoteProblem| format!("the stored checkpoint: {problem}");
    let known = keys.get(&signed.origin).filter(|key| key.text() == signed.verifier_key);
    let key = match known {
        Some(key) => key.clone(),
        None => signed.verifier_key.parse().map_err(wrong)?,
    };
    let statement = key.open(&signed.note).map_err(wrong)?;
    let told = (statement.origin.as_str(), statement.size, statement.root.0);
    if told != (signed.origin.as_str(), signed.size, signed.root)
        || !signed.origin.ends_with(&format!("/{}", signed.company_id))
    {
        return Err("the stored checkpoint is not the one that was signed".to_owned());
    }
    keys.insert(signed.origin.clone(), key);
    Ok(Mark::new(&statement, "a stored checkpoint"))
}

/// The tree as far as the events have been read.
pub(super) struct Tree {
    edge: Edge,
    /// How many entries the stored tree has.
    stored: u64,
    full: Vec<TileData>,
    partial: Vec<TileData>,
    marks: Vec<Mark>,
    next: usize,
    /// Up to here, a signed checkpoint agrees.
    agreed: u64,
    disagreement: Option<Finding>,
}

impl Tree {
    pub(super) fn new(stored: u64, marks: Vec<Mark>) -> Self {
        Self {
            edge: Edge::default(),
            stored,
            full: Vec::new(),
            partial: Vec::new(),
            marks,
            next: 0,
            agreed: 0,
            disagreement: None,
        }
    }

    /// Takes the hash of the next entry.
    pub(super) fn take(&mut self, hash: &[u8; HASH]) {
        self.edge.push(hash, &mut self.full);
        let size = self.edge.size();
        if size == self.stored {
            self.partial = self.edge.partial().collect();
        }
        while let Some(mark) = self.marks.get(self.next).filter(|mark| mark.size <= size) {
            if mark.size == size && self.disagreement.is_none() {
                if self.edge.root().is_ok_and(|root| root.0 == mark.root) {
                    self.agreed = size;
                } else {
                    self.disagreement = Some(disagreement(mark, self.agreed));
                }
            }
            self.next += 1;
        }
    }

    /// Compares the tiles that are complete by now with the stored ones.
    pub(super) async fn compare(
        &mut self,
        app: &App,
        company: CompanyId,
    ) -> Result<Result<(), Finding>, Failure> {
        let stored = self.stored;
        let mut tiles: Vec<TileData> = std::mem::take(&mut self.full);
        tiles.retain(|tile| {
            let last = (tile.index + 1).checked_mul(leaves(tile.level + 1));
            last.is_some_and(|last| last <= stored)
        });
        tiles.append(&mut self.partial);
        for some in tiles.chunks(64) {
            let wanted: Vec<(u8, u64)> = some.iter().map(|tile| (tile.level, tile.index)).collect();
            let found = app.evidence.trees().tiles(company, &wanted).await;
            let found = match found {
                Ok(found) => found,
                Err(error @ token_ledger_event_store::StoreError::Rejected(_)) => {
                    let first = some.first().map_or(0, |tile| first_position(tile, 0));
                    return Ok(Finding::at(first, format!("the stored tree: {error}")));
                }
                Err(error) => return Err(error.into()),
            };
            let found: HashMap<(u8, u64), Vec<u8>> =
                found.into_iter().map(|tile| ((tile.level, tile.index), tile.hashes)).collect();
            for tile in some {
                let hashes = found.get(&(tile.level, tile.index));
                if let Err(finding) = compare(tile, hashes.map_or(&[], Vec::as_slice)) {
                    return Ok(Err(finding));
                }
            }
        }
        Ok(self.disagreement.take().map_or(Ok(()), Err))
    }

    /// Whether there are as many entries as was signed.
    pub(super) fn end(&self) -> Result<(), Finding> {
        match self.marks.get(self.next) {
            None => Ok(()),
            Some(mark) => {
                let size = self.edge.size();
                let problem = format!(
                    "the event is missing: the ledger ends at {size}, but {} speaks of {} entries",
                    mark.source, mark.size
                );
                Finding::at(size + 1, problem)
            }
        }
    }
}

/// The first position below a hash of a tile.
fn first_position(tile: &TileData, hash: usize) -> u64 {
    (tile.index * 256 + hash as u64) * leaves(tile.level) + 1
}

/// Compares a tile with what is stored of it, which may have grown since.
fn compare(tile: &TileData, stored: &[u8]) -> Result<(), Finding> {
    let same = tile.hashes.chunks(HASH).zip(stored.chunks(HASH)).take_while(|(own, it)| own == it);
    let same = same.count();
    if same * HASH == tile.hashes.len() {
        return Ok(());
    }
    let problem = if same * HASH >= stored.len() {
        "its hash is missing in the stored tree".to_owned()
    } else {
        format!(
            "the stored tree has another hash here (tile {} of level {})",
            tile.index, tile.level
        )
    };
    Finding::at(first_position(tile, same), problem)
}

fn disagreement(mark: &Mark, agreed: u64) -> Finding {
    let source = &mark.source;
    let problem = if mark.size == agreed + 1 {
        format!("the entry is not the one that {source} was signed for")
    } else if agreed == 0 {
        format!(
            "among the entries up to {} is one that is not what {source} was signed for",
            mark.size
        )
    } else {
        format!(
            "the entries up to {agreed} are those that were signed, but among those from here to \
             {} is one that is not what {source} was signed for",
            mark.size
        )
    };
    Finding { position: agreed + 1, problem }
}
