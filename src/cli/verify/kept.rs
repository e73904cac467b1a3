//! What auditors have kept from earlier: checkpoints, and entries.

use super::Failure;
use super::finding::Finding;
use super::marks::Mark;
use crate::evidence::bundle;
use crate::evidence::entry_text::EntryText;
use crate::evidence::note::{Statement, VerifierKey};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use tlog_tiles::tlog::record_hash;
use token_ledger_domain::CompanyId;
use token_ledger_projections::tree::Edge;

/// The longest checkpoint that is read, in bytes.
const MAX_CHECKPOINT: u64 = 1 << 20;

fn failed(file: &Path, problem: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("{}: {problem}", file.display()))
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
        let size = std::fs::metadata(&file).map_err(|error| failed(&file, error))?.len();
        if size > MAX_CHECKPOINT {
            return Err(failed(&file, "too long for a checkpoint"));
        }
        let note = std::fs::read_to_string(&file).map_err(|error| failed(&file, error))?;
        let statement = Statement::unverified(&note).map_err(|error| failed(&file, error))?;
        let company = statement.origin.rsplit('/').next().and_then(|id| id.parse().ok());
        let company = company.ok_or_else(|| {
            failed(&file, format_args!("the log {} is not a company's", statement.origin))
        })?;
        Ok(Self { file, note, statement, company })
    }

    /// Refuses a file that this key has not signed: it says nothing of the ledger then.
    pub(super) fn check(&self, key: &VerifierKey) -> Result<(), Failure> {
        key.open(&self.note).map(drop).map_err(|error| failed(&self.file, error))
    }

    /// What the tree must be, given that the log signed this.
    pub(super) fn mark(&self, key: &VerifierKey) -> Result<Mark, String> {
        let source = format!("the checkpoint in {}", self.file.display());
        match key.open(&self.note) {
            Ok(statement) => Ok(Mark::new(&statement, source)),
            Err(problem) => Err(format!("{source}: {problem}")),
        }
    }
}

/// The hashes of entries that an auditor has kept, from the first one on. They are believed as far
/// as a checkpoint agrees with them.
#[derive(Clone, Debug)]
pub(super) struct KeptEntries {
    /// The company that they are of.
    pub(super) company: CompanyId,
    hashes: Vec<[u8; 32]>,
}

impl KeptEntries {
    /// Reads a file of bundles, one after the other.
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let opened = File::open(file).map_err(|error| failed(file, error))?;
        let (mut company, mut hashes) = (None, Vec::new());
        for entry in bundle::read(BufReader::new(opened)) {
            let bytes = entry.map_err(|error| failed(file, error))?;
            let position = hashes.len() as u64 + 1;
            let wrong = |problem| failed(file, format_args!("entry {position}: {problem}"));
            let text =
                std::str::from_utf8(&bytes).map_err(|_| wrong("it is no text".to_owned()))?;
            let read = EntryText::read(text).map_err(wrong)?;
            if read.position != position
                || *company.get_or_insert(CompanyId(read.company_id)) != CompanyId(read.company_id)
            {
                let problem = "the entries of one log from the first one on must stand here";
                return Err(wrong(problem.to_owned()));
            }
            hashes.push(record_hash(&bytes).0);
        }
        let company = company.ok_or_else(|| failed(file, "there are no entries"))?;
        Ok(Self { company, hashes })
    }

    /// The first position up to a checkpoint's size at which the ledger has another entry than was
    /// kept, if these are the entries that the checkpoint was signed for.
    pub(super) fn differ(&self, mark: &Mark, first_other: Option<u64>) -> Option<Finding> {
        let position = first_other.filter(|position| *position <= mark.size)?;
        let kept = self.hashes.get(..usize::try_from(mark.size).ok()?)?;
        let (mut edge, mut full) = (Edge::default(), Vec::new());
        for hash in kept {
            edge.push(hash, &mut full);
            full.clear();
        }
        let same = edge.root().is_ok_and(|root| root.0 == mark.root);
        same.then(|| {
            let problem = format!(
                "the entry is not the one that was kept and that {} was signed for",
                mark.source
            );
            Finding::new(position, problem)
        })
    }

    /// Whether another entry was kept at this position.
    pub(super) fn is_other(&self, position: u64, hash: &[u8; 32]) -> bool {
        let index = position.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.hashes.get(index)).is_some_and(|kept| kept != hash)
    }
}
