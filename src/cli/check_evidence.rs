//! `token-ledger check-evidence`

use super::{Failure, answer, printable};
use crate::evidence::check::{Proved, check};
use crate::evidence::note::VerifierKey;
use clap::Args;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// The longest pack that is read, in bytes; none that the service writes comes near it.
const MAX_PACK: u64 = 1 << 30;

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
        let mut pack = Vec::new();
        let read = open(&self.pack)?.take(MAX_PACK).read_to_end(&mut pack);
        read.map_err(|error| failed(&self.pack, &error))?;
        let mut entries = self.entries.as_deref().map(open).transpose()?.map(BufReader::new);
        let entries = entries.as_mut().map(|entries| entries as &mut dyn Read);
        match check(&pack, &self.key, entries) {
            Ok(proved) => answer(&told(&proved)),
            Err(problem) => {
                answer(&format!("NOT PROVED: {}", printable(&problem.to_string())))?;
                Err(Failure::Silent)
            }
        }
    }
}

fn open(file: &Path) -> Result<File, Failure> {
    File::open(file).map_err(|error| failed(file, &error))
}

fn failed(file: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", file.display()))
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
        match proved.positions.as_slice() {
            [position] => {
                format!("its one event, at position {position}, is in the log as it is shown")
            }
            positions => format!(
                "its {} events, at positions {}, are in the log as they are shown",
                positions.len(),
                joined(positions)
            ),
        },
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
    if proved.goes_on {
        lines.push(format!(
            "the entries go on behind position {}; those were not checked",
            proved.checkpoint.size
        ));
    }
    if proved.other_key {
        lines.push("the key in the pack is another one".to_owned());
    }
    match &proved.without_private[..] {
        [] => {}
        [one] => lines.push(format!(
            "the private part at position {one} is not shown: it was erased or left out"
        )),
        some => lines.push(format!(
            "the private parts at positions {} are not shown: they were erased or left out",
            joined(some)
        )),
    }
    lines.join("\n")
}
