//! Evidence out of the database: what it takes, and what was chosen about it.

mod answers;

pub(super) use answers::statement;
pub use answers::{CheckpointPlace, CheckpointView, ConsistencyView};

use super::outside::{Outside, OutsideError};
use crate::config::DatabaseUrl;
use crate::evidence::keys::{LogKey, LogName, Seed};
use crate::evidence::note::WitnessKey;
use crate::evidence::proof::TileSet;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::StoreError;
use token_ledger_projections::Trees;
use tokio::sync::watch;

/// What is kept outside a PostgreSQL database, unless the operator names another folder.
const FOLDER: &str = "token-ledger-evidence";

/// What an operator may have chosen about evidence.
#[derive(Clone, Debug)]
pub struct EvidenceChoices {
    /// What the logs' origins begin with.
    pub name: LogName,
    /// The seed of the logs' keys; where none is given, it is kept in the folder.
    pub seed: Option<Seed>,
    /// The folder of what is kept outside the database; where none is given, it stands beside the
    /// SQLite file, or is `token-ledger-evidence` where the process was started.
    pub folder: Option<PathBuf>,
    /// How long after an event a checkpoint may be signed that covers it.
    pub delay: Duration,
    /// Whether anybody may read checkpoints, keys and tiles of hashes.
    pub public: bool,
    /// Witnesses that are asked to cosign.
    pub witnesses: Vec<Witness>,
    /// How many of them must have cosigned before that is served.
    pub quorum: usize,
}

/// A witness (C2SP tlog-witness).
#[derive(Clone, Debug)]
pub struct Witness {
    /// Its submission prefix.
    pub url: String,
    /// Its key.
    pub key: WitnessKey,
}

impl Default for EvidenceChoices {
    fn default() -> Self {
        Self {
            name: LogName::default(),
            seed: None,
            folder: None,
            delay: Duration::from_secs(1),
            public: false,
            witnesses: Vec::new(),
            quorum: 0,
        }
    }
}

impl EvidenceChoices {
    /// The folder of what is kept outside this database.
    pub fn folder_of(&self, url: &DatabaseUrl) -> PathBuf {
        self.folder.clone().unwrap_or_else(|| {
            let DatabaseUrl::Sqlite(path) = url else { return FOLDER.into() };
            let mut folder = path.clone().into_os_string();
            folder.push(".evidence");
            folder.into()
        })
    }
}

/// The evidence of all companies, as this process has it.
pub struct Evidence {
    pub(super) choices: EvidenceChoices,
    pub(super) outside: Outside,
    pub(super) trees: Trees,
    /// The seed, once it is known to be the one that the logs are signed with.
    pub(super) seed: OnceLock<Seed>,
    /// Why nothing is signed for a company.
    pub(super) refused: RwLock<BTreeMap<CompanyId, String>>,
    /// Why nothing is signed at all.
    pub(super) disabled: RwLock<Option<String>>,
    /// Changes whenever this process has signed.
    pub(super) signed: watch::Sender<u64>,
}

impl std::fmt::Debug for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evidence").field("choices", &self.choices).finish_non_exhaustive()
    }
}

impl Evidence {
    /// The evidence in this database.
    pub fn new(choices: EvidenceChoices, url: &DatabaseUrl, trees: Trees) -> Self {
        let folder = choices.folder_of(url);
        Self {
            choices,
            outside: Outside::new(folder),
            trees,
            seed: OnceLock::new(),
            refused: RwLock::default(),
            disabled: RwLock::default(),
            signed: watch::channel(0).0,
        }
    }

    /// Trees and checkpoints as they are stored.
    pub const fn trees(&self) -> &Trees {
        &self.trees
    }

    /// What is kept outside the database.
    pub fn outside(&self) -> &Outside {
        &self.outside
    }

    /// The keys of the witnesses that are asked to cosign.
    pub fn witness_keys(&self) -> Vec<WitnessKey> {
        self.choices.witnesses.iter().map(|witness| witness.key.clone()).collect()
    }

    /// Whether anybody may read checkpoints and hashes.
    pub const fn is_public(&self) -> bool {
        self.choices.public
    }

    /// What the origins of the companies' logs begin with.
    pub fn log_name(&self) -> &str {
        self.choices.name.as_str()
    }

    /// The origin of a company's log.
    pub fn origin(&self, company: CompanyId) -> String {
        self.choices.name.origin(company)
    }

    /// The key of a company's log; none where this process doesn't have the seed.
    pub fn key(&self, company: CompanyId) -> Option<LogKey> {
        self.key_of(self.origin(company))
    }

    /// The key of any log that this seed's keys sign; none where this process doesn't have the seed.
    pub fn key_of(&self, origin: String) -> Option<LogKey> {
        self.seed.get().map(|seed| LogKey::derive(seed, origin))
    }

    /// Takes the seed that was chosen, or that of the folder, if it is there: for whoever only checks.
    ///
    /// # Errors
    /// When the folder's can't be used.
    pub fn know_seed(&self) -> Result<(), OutsideError> {
        let seed = match &self.choices.seed {
            Some(chosen) => Some(chosen.clone()),
            None => self.outside.seed()?,
        };
        if let Some(seed) = seed {
            let _ = self.seed.set(seed);
        }
        Ok(())
    }

    /// The last checkpoint of a company's log that is kept outside the database, as signed note.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn outside_note(&self, company: CompanyId) -> Result<Option<String>, OutsideError> {
        self.outside.checkpoint(&self.choices.name, company)
    }

    /// The companies of whose logs a checkpoint is kept outside the database, in the order of their
    /// identifiers.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn outside_companies(&self) -> Result<Vec<CompanyId>, OutsideError> {
        self.outside.companies(&self.choices.name)
    }

    /// Why nothing is signed, by company.
    pub fn refused(&self) -> BTreeMap<CompanyId, String> {
        self.refused.read().clone()
    }

    /// Why nothing is signed at all.
    pub fn disabled(&self) -> Option<String> {
        self.disabled.read().clone()
    }

    /// Computes from stored tiles, which are read as far as they are needed.
    ///
    /// # Errors
    /// When the database fails, or the tiles are not what they have to be.
    pub async fn compute<T>(
        &self,
        company: CompanyId,
        tiles: &mut TileSet,
        compute: impl Fn(&TileSet) -> Result<T, tlog_tiles::Error> + Send,
    ) -> Result<T, StoreError> {
        let corrupt = |problem: String| StoreError::Corrupt { company, position: 0, problem };
        loop {
            let error = match compute(tiles) {
                Ok(result) => return Ok(result),
                Err(error) => error,
            };
            let missing = tiles.missing();
            if missing.is_empty() {
                return Err(corrupt(format!("the stored tree does not add up: {error}")));
            }
            let found = self.trees.tiles(company, &missing).await?;
            if let Some((level, index)) = missing.iter().find(|(level, index)| {
                !found.iter().any(|tile| (tile.level, tile.index) == (*level, *index))
            }) {
                return Err(corrupt(format!("tile {index} of level {level} is missing")));
            }
            tiles.extend(found);
        }
    }
}
