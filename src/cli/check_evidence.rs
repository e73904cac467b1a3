//! `token-ledger check-evidence`

use super::{Failure, answer};
use crate::evidence::check::{Proved, check};
use crate::evidence::note::VerifierKey;
use clap::Args;
use std::path::{Path, PathBuf};

/// Checks without database and network. The key in the pack is never trusted: name one that you
/// have from somebody whom you trust to know it.
#[derive(Debug, Args)]
pub(super) struct CheckEvidence {
    /// The evidence pack
    #[arg(value_name = "FILE")]
    pack: PathBuf,
    /// The log's key, in note form: NAME+HASH+KEY
    #[arg(long, value_name = "VKEY")]
    key: VerifierKey,
    /// All entries of the log up to the checkpoint, its bundles one after the other: then it is
    /// also checked that nothing else happened to the token
    #[arg(long, value_name = "FILE")]
    entries: Option<PathBuf>,
}

impl CheckEvidence {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pack = read(&self.pack)?;
        let entries = self.entries.as_deref().map(read).transpose()?;
        match check(&pack, &self.key, entries.as_deref()) {
            Ok(proved) => answer(&told(&proved)),
            Err(problem) => {
                answer(&format!("NOT PROVED: {problem}"))?;
                Err(Failure::Silent)
            }
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))
}

fn told(proved: &Proved) -> String {
    let joined = |positions: &[u64]| {
        positions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let last = proved.positions.last().copied().unwrap_or_default();
    let mut lines = vec![
        format!(
            "PROVED: token {} in the log {}, of {} entries at the checkpoint",
            proved.token_id, proved.checkpoint.origin, proved.checkpoint.size
        ),
        format!(
            "its {} events, at positions {}, are in the log as they are shown",
            proved.positions.len(),
            joined(&proved.positions)
        ),
        format!("none of its events is missing up to position {last}"),
    ];
    lines.push(if proved.complete {
        format!("nothing else happened to it up to position {}", proved.checkpoint.size)
    } else {
        format!(
            "what happened to it after position {last} is not shown; check with --entries to \
             see that nothing did"
        )
    });
    if !proved.without_private.is_empty() {
        lines.push(format!(
            "the private parts at positions {} are not shown: they were erased or left out",
            joined(&proved.without_private)
        ));
    }
    lines.join("\n")
}
