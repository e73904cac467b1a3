//! Checkpoints that were signed, as they are stored.

use token_ledger_domain::{CompanyId, Timestamp};

/// A signed checkpoint as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// The company.
    pub company_id: CompanyId,
    /// The origin that it was signed for.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The root of their tree.
    pub root: [u8; 32],
    /// The key that it was signed with, in note form.
    pub verifier_key: String,
    /// The signed note, exactly.
    pub note: String,
    /// Signature lines of witnesses, each with its line break.
    pub cosignatures: String,
    /// When it was signed.
    pub signed_at: Timestamp,
}

/// How far the log of an origin has been signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The origin.
    pub origin: String,
    /// The key that it is signed with, in note form.
    pub verifier_key: String,
    /// The number of entries of the largest tree that was signed.
    pub size: u64,
}
