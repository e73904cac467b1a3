//! What is handed out: checkpoints, tiles, entries, proofs and packs.

use crate::app::outcome::Listed;
use crate::app::view::corrupt;
use crate::app::{App, AppError};
use crate::evidence::bundle;
use crate::evidence::note::Statement;
use crate::evidence::pack::{FORMAT, Pack, PackEvent, PackPrivate, read_me};
use crate::evidence::proof::{self, TileSet};
use crate::evidence::tile_path::TilePath;
use futures::TryStreamExt;
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;
use tlog_tiles::Hash;
use token_ledger_domain::{CompanyId, Timestamp, TokenId};
use token_ledger_event_store::entry::Entry;
use token_ledger_event_store::{RecordedEvent, StoreError};
use token_ledger_projections::tree::{SignedCheckpoint, TileData};
use utoipa::ToSchema;

/// How long a checkpoint may take beyond its delay before whoever waits for it is told so.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often whoever waits looks for checkpoints that other processes signed.
const LOOK: Duration = Duration::from_millis(100);

/// A signed checkpoint of a company's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CheckpointView {
    /// The log.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The root of their Merkle tree, base64.
    pub root: String,
    /// The key that it was signed with, in note form.
    pub verifier_key: String,
    /// When it was signed.
    #[schema(value_type = String, format = DateTime)]
    pub signed_at: Timestamp,
    /// The witnesses that cosigned it.
    pub witnesses: Vec<String>,
    /// The checkpoint as signed note, with the signatures of witnesses.
    pub checkpoint: String,
}

impl From<SignedCheckpoint> for CheckpointView {
    fn from(signed: SignedCheckpoint) -> Self {
        let lines = signed.cosignatures.lines();
        Self {
            witnesses: lines.filter_map(|line| line.split(' ').nth(1).map(str::to_owned)).collect(),
            origin: signed.origin,
            size: signed.size,
            root: Hash(signed.root).to_string(),
            verifier_key: signed.verifier_key,
            signed_at: signed.signed_at,
            checkpoint: signed.note + &signed.cosignatures,
        }
    }
}

/// Where a list of checkpoints goes on.
pub type CheckpointPlace = (Timestamp, String, u64);

/// The hashes by which a tree extends an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConsistencyView {
    /// The log.
    pub origin: String,
    /// The size of the earlier tree.
    pub from: u64,
    /// The size of the later tree.
    pub to: u64,
    /// The root of the earlier tree, base64.
    pub from_root: String,
    /// The root of the later tree, base64.
    pub to_root: String,
    /// The proof (RFC 6962 §2.1.2), base64.
    pub hashes: Vec<String>,
}

impl App {
    /// The newest signed checkpoint of a company.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is no such company, [`AppError::CheckpointLate`] or
    /// [`AppError::Unsigned`] while nothing was signed.
    pub async fn checkpoint(&self, company: CompanyId) -> Result<SignedCheckpoint, AppError> {
        self.checkpoint_covering(company, 1).await
    }

    /// The newest signed checkpoint, waited for until it covers the position.
    async fn checkpoint_covering(
        &self,
        company: CompanyId,
        position: u64,
    ) -> Result<SignedCheckpoint, AppError> {
        self.head(company).await?;
        let origin = self.evidence.origin(company);
        let mut signed = self.evidence.signed.subscribe();
        let wait = async {
            loop {
                let last = self.evidence.trees.last_checkpoint(company, &origin).await?;
                if let Some(last) = last.filter(|last| last.size >= position) {
                    return Ok(last);
                }
                // Other processes sign too.
                let _ = tokio::time::timeout(LOOK, signed.changed()).await;
            }
        };
        let bound = self.evidence.choices.delay + PATIENCE;
        let found = match self.unsigned(company) {
            None => {
                tokio::time::timeout(bound, wait).await.unwrap_or(Err(AppError::CheckpointLate))
            }
            // Nobody will sign: only what is there already can be had.
            Some(reason) => {
                let last = self.evidence.trees.last_checkpoint(company, &origin).await?;
                last.filter(|last| last.size >= position).ok_or_else(|| {
                    tracing::error!(%company, reason, "nobody signs the checkpoint that is asked for");
                    AppError::Unsigned
                })
            }
        };
        Ok(self.served(found?))
    }

    /// Why nothing is signed for a company.
    pub(in crate::app) fn unsigned(&self, company: CompanyId) -> Option<String> {
        self.evidence.disabled().or_else(|| self.evidence.refused.read().get(&company).cloned())
    }

    /// The verifier key of a company's log, in note form.
    ///
    /// # Errors
    /// As for [`App::checkpoint`].
    pub async fn log_key(&self, company: CompanyId) -> Result<String, AppError> {
        self.head(company).await?;
        if let Some(key) = self.evidence.key(company) {
            return Ok(key.verifier_key());
        }
        Ok(self.checkpoint(company).await?.verifier_key)
    }

    /// Signed checkpoints, the newest first.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is no such company.
    pub async fn checkpoints(
        &self,
        company: CompanyId,
        after: Option<CheckpointPlace>,
        limit: usize,
    ) -> Result<Listed<CheckpointView, CheckpointPlace>, AppError> {
        self.head(company).await?;
        let found = self.evidence.trees.checkpoints(company, after, true, limit + 1).await?;
        let place = |last: &SignedCheckpoint| (last.signed_at, last.origin.clone(), last.size);
        Ok(Listed::cut(found, limit, place, |signed| self.served(signed).into()))
    }

    /// The hashes of a tile.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when the tree has no such tile.
    pub async fn tile(&self, company: CompanyId, tile: TilePath) -> Result<Vec<u8>, AppError> {
        const NONE: AppError = AppError::NotFound("tile");
        self.head(company).await?;
        let found = self.evidence.trees.tiles(company, &[(tile.level, tile.index)]).await?;
        let TileData { mut hashes, .. } = found.into_iter().next().ok_or(NONE)?;
        let bytes = tile.width as usize * 32;
        if hashes.len() < bytes {
            return Err(NONE);
        }
        hashes.truncate(bytes);
        Ok(hashes)
    }

    /// A bundle of entries.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there are not as many.
    pub async fn entry_bundle(
        &self,
        company: CompanyId,
        tile: TilePath,
    ) -> Result<Vec<u8>, AppError> {
        let head = self.head(company).await?;
        let first = tile.index * u64::from(crate::evidence::tile_path::WIDTH);
        let last = first + u64::from(tile.width);
        if last > head {
            return Err(AppError::NotFound("tile"));
        }
        let events = self.store().read(company, first, tile.width as usize).await?;
        let predecessors: HashMap<u64, [u8; 32]> =
            self.evidence.trees.predecessors(company, first, last).await?.into_iter().collect();
        let mut entries = Vec::with_capacity(events.len() * 700);
        for event in &events {
            let text = entry_text(event, predecessors.get(&event.position).copied())
                .map_err(not_as_signed)?;
            if !bundle::push(&mut entries, text.as_bytes()) {
                return Err(AppError::Failed(corrupt(event, "the entry is too long")));
            }
        }
        Ok(entries)
    }

    /// The proof that an event is in its company's ledger, as C2SP tlog-proof.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is no such event.
    pub async fn proof(&self, company: CompanyId, position: u64) -> Result<String, AppError> {
        let head = self.head(company).await?;
        let index = position.checked_sub(1).filter(|_| position <= head);
        let index = index.ok_or(AppError::NotFound("event"))?;
        let signed = self.checkpoint_covering(company, position).await?;
        let tree = statement(&signed);
        let mut tiles = TileSet::new();
        let hashes = self
            .evidence
            .compute(company, &mut tiles, |tiles| proof::inclusion(tiles, &tree, index))
            .await
            .map_err(not_as_signed)?;
        Ok(proof::text(index, &hashes, &(signed.note + &signed.cosignatures)))
    }

    /// The proof that the tree of `to` entries extends the tree of `from` entries.
    ///
    /// # Errors
    /// [`AppError::Invalid`] when the sizes are not those of trees.
    pub async fn consistency(
        &self,
        company: CompanyId,
        from: u64,
        to: u64,
    ) -> Result<ConsistencyView, AppError> {
        let head = self.head(company).await?;
        if from == 0 || from > to {
            return Err(AppError::invalid("from", "must be 1 to the value of `to`"));
        }
        if to > head {
            return Err(AppError::invalid("to", format!("the log has {head} entries")));
        }
        self.checkpoint_covering(company, to).await?;
        let mut tiles = TileSet::new();
        let compute = |tiles: &TileSet| {
            let hashes = proof::consistency(tiles, from, to)?;
            Ok((hashes, proof::root(tiles, from)?, proof::root(tiles, to)?))
        };
        let (hashes, from_root, to_root) =
            self.evidence.compute(company, &mut tiles, compute).await.map_err(not_as_signed)?;
        Ok(ConsistencyView {
            origin: self.evidence.origin(company),
            from,
            to,
            from_root: from_root.to_string(),
            to_root: to_root.to_string(),
            hashes: hashes.iter().map(ToString::to_string).collect(),
        })
    }

    /// The evidence pack of a token: all that happened to it until now, with proofs.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is no such token.
    pub async fn evidence_pack(
        &self,
        company: CompanyId,
        token: TokenId,
    ) -> Result<Pack, AppError> {
        let events: Vec<RecordedEvent> =
            self.each_event(company, token.into(), 0).try_collect().await?;
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Err(AppError::NotFound("token"));
        };
        let (first, last) = (first.position, last.position);
        let signed = self.checkpoint_covering(company, last).await?;
        let tree = statement(&signed);
        let positions: Vec<u64> = events.iter().map(|event| event.position).collect();
        let parts = self.store().private_parts(company, &positions).await?;
        let mut tiles = TileSet::new();
        let mut shown = Vec::with_capacity(events.len());
        let mut previous = None;
        for (event, part) in events.iter().zip(parts) {
            let index = event.position.saturating_sub(1);
            let hashes = self
                .evidence
                .compute(company, &mut tiles, |tiles| proof::inclusion(tiles, &tree, index))
                .await
                .map_err(not_as_signed)?;
            shown.push(PackEvent {
                position: event.position,
                entry: entry_text(event, previous).map_err(not_as_signed)?,
                salt: hex::encode(event.salt),
                payload: event.payload.clone(),
                metadata: event.metadata.clone(),
                private: part
                    .map(|part| PackPrivate { salt: hex::encode(part.salt), data: part.data }),
                inclusion_proof: hashes.iter().map(ToString::to_string).collect(),
            });
            previous = Some(event.entry_hash);
        }
        Ok(Pack {
            format: FORMAT.to_owned(),
            read_me: read_me(token.0, &signed.origin, signed.size, first, last),
            company_id: company.0,
            token_id: token.0,
            origin: signed.origin,
            verifier_key: signed.verifier_key,
            checkpoint: signed.note + &signed.cosignatures,
            events: shown,
        })
    }
}

/// What a stored checkpoint says.
pub(in crate::app) fn statement(signed: &SignedCheckpoint) -> Statement {
    Statement { origin: signed.origin.clone(), size: signed.size, root: Hash(signed.root) }
}

/// Why nothing can be proved of what is stored.
fn not_as_signed(error: StoreError) -> AppError {
    if !matches!(error, StoreError::Corrupt { .. }) {
        return error.into();
    }
    tracing::error!(%error, "what is stored is not what was signed; `token-ledger verify` says more");
    AppError::NotAsSigned
}

/// The text of an event's entry, if it is the one that was hashed.
fn entry_text(event: &RecordedEvent, previous: Option<[u8; 32]>) -> Result<String, StoreError> {
    let entry = Entry::of(event, previous);
    if entry.hash() == event.entry_hash {
        Ok(entry.text())
    } else {
        Err(corrupt(event, "the event is not the one that was hashed"))
    }
}
