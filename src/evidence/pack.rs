//! The evidence pack: all that it takes to check a token's history without access to the ledger.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What the pack's first member says.
pub const FORMAT: &str = "token-ledger evidence pack, version 1";

/// A token's events with their proofs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// The name and version of the format.
    pub format: String,
    /// What this proves and what not, in plain words.
    pub read_me: Vec<String>,
    /// The company.
    pub company_id: Uuid,
    /// The token.
    pub token_id: Uuid,
    /// The log that the checkpoint speaks of.
    pub origin: String,
    /// The key that the service signs with. Checking never trusts it: get it some other way.
    pub verifier_key: String,
    /// A signed checkpoint of the company's log, as signed note.
    pub checkpoint: String,
    /// The token's events, oldest first.
    pub events: Vec<PackEvent>,
}

/// An event with what proves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PackEvent {
    /// The position in the company's ledger, from 1.
    pub position: u64,
    /// The exact text of the entry, whose hash is a leaf of the tree.
    pub entry: String,
    /// The salt of the entry's `content`, hexadecimal.
    pub salt: String,
    /// The exact text of what happened, JSON.
    pub payload: String,
    /// The exact text of who did it, JSON.
    pub metadata: String,
    /// What names or describes a person; null where there is none or it was erased.
    pub private: Option<PackPrivate>,
    /// The hashes from the leaf's sibling up to the root's child (RFC 6962 §2.1.1), base64.
    pub inclusion_proof: Vec<String>,
}

/// The part that names or describes a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PackPrivate {
    /// The salt of the entry's `private`, hexadecimal.
    pub salt: String,
    /// The exact text, JSON.
    pub data: String,
}

/// The page in plain words. It is part of the format: whoever checks a pack holds it against this.
pub fn read_me(token: Uuid, origin: &str, size: u64, first: u64, last: u64) -> Vec<String> {
    vec![
        format!(
            "This file shows what happened to the access token {token} according to the log \
             {origin}, from position {first} to position {last} of {size}."
        ),
        "What it proves, once it has been checked with the log's key: each event shown stands in \
         the log at its position, word for word, with its time and with whoever did it; and none \
         of the token's events is missing between the first and the last one shown, since each \
         names the one before it."
            .to_owned(),
        format!(
            "What it does not prove: that nothing happened to the token after position {last}. To \
             see that, get all entries of the log up to {size} and check with them as well \
             (--entries). Nor that the log tells all that happened in the world: it proves what \
             was logged and that it has not been changed since the checkpoint was signed."
        ),
        "Times are those of the service's clock. Where `private` is null although the entry has a \
         commitment to a private part, that part was erased, and the rest is proved all the same."
            .to_owned(),
        "To check it: token-ledger check-evidence FILE --key VERIFIER_KEY. Don't take the key from \
         this file, but from somebody whom you trust to know it: the auditor's own records, or \
         whoever runs the service, by another way. Whoever changed this file could have changed \
         the key in it, too."
            .to_owned(),
        "To check it by hand or with other tools: the entry's leaf hash is SHA-256 of a zero byte \
         and the entry's text (RFC 6962); `content` in the entry is SHA-256 of the salt, the \
         payload, a line feed and the metadata; `private` is SHA-256 of its salt and its data; the \
         checkpoint is a signed note (C2SP signed-note, tlog-checkpoint), leaf index = position - 1."
            .to_owned(),
    ]
}
