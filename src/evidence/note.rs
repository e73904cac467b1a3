//! Checkpoints as signed notes (C2SP tlog-checkpoint, signed-note, tlog-cosignature).

use super::keys::LogKey;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Verifier as _, VerifyingKey};
use signed_note::{
    Note, Signature, StandardVerifier, Verifier, VerifierList, is_key_name_valid, key_id,
};
use std::fmt;
use std::str::FromStr;
use tlog_tiles::{Checkpoint, Hash};

/// What an Ed25519 cosigner's key begins with (C2SP tlog-cosignature).
const COSIGNATURE_V1: u8 = 4;
/// The bytes of its cosignatures: time and signature.
const COSIGNATURE_BYTES: usize = 8 + ed25519_dalek::SIGNATURE_LENGTH;

/// Why a note is no checkpoint that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteProblem {
    /// The key is none.
    #[error("the key is no verifier key such as NAME+HASH+KEY")]
    Key,
    /// The text is no signed note.
    #[error("it is no signed note")]
    Note,
    /// The note's text is no checkpoint.
    #[error("the note's text is no checkpoint: origin, size and root hash")]
    Checkpoint,
    /// The key did not sign it.
    #[error("the key {0} has not signed it")]
    Unsigned(String),
    /// It was signed with the key, but for another log.
    #[error("it speaks of the log {found}, the key is of {expected}")]
    Origin {
        /// The origin in it.
        found: String,
        /// The key's name.
        expected: String,
    },
    /// It can't be signed.
    #[error("it can't be signed: {0}")]
    Unsignable(String),
}

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The log.
    pub origin: String,
    /// The number of its entries.
    pub size: u64,
    /// The root of their tree.
    pub root: Hash,
}

impl Statement {
    /// The signed note that states this.
    ///
    /// # Errors
    /// When the origin can't stand in a note.
    pub fn sign(&self, key: &LogKey) -> Result<String, NoteProblem> {
        let checkpoint = Checkpoint::new(&self.origin, self.size, self.root, "")
            .map_err(|_| NoteProblem::Checkpoint)?;
        let mut note = Note::new(&checkpoint.to_bytes(), &[]).map_err(|_| NoteProblem::Note)?;
        note.add_sigs(&[key]).map_err(|error| NoteProblem::Unsignable(error.to_string()))?;
        String::from_utf8(note.to_bytes()).map_err(|_| NoteProblem::Note)
    }

    /// What a note states, whoever signed it.
    ///
    /// # Errors
    /// When it is no checkpoint.
    pub fn unverified(note: &str) -> Result<Self, NoteProblem> {
        let note = Note::from_bytes(note.as_bytes()).map_err(|_| NoteProblem::Note)?;
        Self::of(&note)
    }

    fn of(note: &Note) -> Result<Self, NoteProblem> {
        let checkpoint =
            Checkpoint::from_bytes(note.text()).map_err(|_| NoteProblem::Checkpoint)?;
        // No database counts further, and no arithmetic on sizes may overflow.
        if checkpoint.size() > i64::MAX.unsigned_abs() {
            return Err(NoteProblem::Checkpoint);
        }
        Ok(Self {
            origin: checkpoint.origin().to_owned(),
            size: checkpoint.size(),
            root: *checkpoint.hash(),
        })
    }
}

/// A key that checkpoints are checked with.
#[derive(Clone)]
pub struct VerifierKey {
    text: String,
    verifier: StandardVerifier,
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifierKey").field(&self.text).finish()
    }
}

impl FromStr for VerifierKey {
    type Err = NoteProblem;

    fn from_str(text: &str) -> Result<Self, NoteProblem> {
        let text = text.trim();
        let verifier = StandardVerifier::new(text).map_err(|_| NoteProblem::Key)?;
        Ok(Self { text: text.to_owned(), verifier })
    }
}

impl VerifierKey {
    /// The key in note form.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The log that it is the key of.
    pub fn origin(&self) -> &str {
        self.verifier.name()
    }

    /// What a note states, given that this key signed it for its own log.
    ///
    /// # Errors
    /// When it did not, or the note is no checkpoint.
    pub fn open(&self, note: &str) -> Result<Statement, NoteProblem> {
        let note = Note::from_bytes(note.as_bytes()).map_err(|_| NoteProblem::Note)?;
        let known = VerifierList::new(vec![Box::new(self.verifier.clone())]);
        note.verify(&known).map_err(|_| NoteProblem::Unsigned(self.text.clone()))?;
        let statement = Statement::of(&note)?;
        if statement.origin != self.origin() {
            let expected = self.origin().to_owned();
            return Err(NoteProblem::Origin { found: statement.origin, expected });
        }
        Ok(statement)
    }
}

/// The key of a witness that cosigns checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl FromStr for WitnessKey {
    type Err = NoteProblem;

    fn from_str(text: &str) -> Result<Self, NoteProblem> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteProblem::Key);
        };
        let bytes = BASE64_STANDARD.decode(key).map_err(|_| NoteProblem::Key)?;
        let digits = id.len() == 8 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
        let id = u32::from_str_radix(id, 16).map_err(|_| NoteProblem::Key)?;
        if !digits || !is_key_name_valid(name) || key_id(name, &bytes) != id {
            return Err(NoteProblem::Key);
        }
        let (&COSIGNATURE_V1, public) = bytes.split_first().ok_or(NoteProblem::Key)? else {
            return Err(NoteProblem::Key);
        };
        let key = VerifyingKey::try_from(public).map_err(|_| NoteProblem::Key)?;
        Ok(Self { name: name.to_owned(), id, key })
    }
}

impl WitnessKey {
    /// The witness's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The signature line, out of those that a witness answered with, by which it cosigns the
    /// checkpoint; with its line break.
    pub fn cosignature(&self, checkpoint: &str, answer: &str) -> Option<String> {
        let note = Note::from_bytes(checkpoint.as_bytes()).ok()?;
        answer.lines().find_map(|line| {
            let signature = Signature::from_bytes(line.as_bytes()).ok()?;
            let signed = self.signed(note.text(), &signature);
            signed.then(|| String::from_utf8(signature.to_bytes()).ok()).flatten()
        })
    }

    fn is_of(&self, line: &Signature) -> bool {
        line.name() == self.name && line.id() == self.id
    }

    fn signed(&self, text: &[u8], line: &Signature) -> bool {
        if !self.is_of(line) {
            return false;
        }
        let Some((time, signature)) = line.signature().split_first_chunk::<8>() else {
            return false;
        };
        let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
        let mut message = format!("cosignature/v1\ntime {}\n", u64::from_be_bytes(*time));
        let Ok(text) = std::str::from_utf8(text) else { return false };
        message.push_str(text);
        self.key.verify(message.as_bytes(), &signature).is_ok()
    }
}

/// Whether these lines, each with its line break, may be witnesses' cosignatures of a checkpoint. Those
/// of witnesses whose keys are known must be.
pub fn may_be_cosignatures(checkpoint: &str, lines: &str, known: &[WitnessKey]) -> bool {
    let Ok(note) = Note::from_bytes(checkpoint.as_bytes()) else { return false };
    lines.split_inclusive('\n').all(|line| {
        let text = line.strip_suffix('\n').unwrap_or_default();
        let Ok(signature) = Signature::from_bytes(text.as_bytes()) else { return false };
        signature.signature().len() == COSIGNATURE_BYTES
            && known
                .iter()
                .filter(|witness| witness.is_of(&signature))
                .all(|witness| witness.signed(note.text(), &signature))
    })
}

#[cfg(test)]
mod tests {
    use super::super::keys::{LogKey, Seed};
    use super::*;

    fn statement() -> Statement {
        Statement { origin: "ledger.example/x".to_owned(), size: 7, root: Hash([3; 32]) }
    }

    fn key() -> LogKey {
        LogKey::derive(&Seed::new([1; 32]), "ledger.example/x".to_owned())
    }

    #[test]
    fn what_is_signed_can_be_opened_with_the_key_alone() {
        let note = statement().sign(&key()).unwrap();
        let verifier: VerifierKey = key().verifier_key().parse().unwrap();
        assert_eq!(verifier.open(&note).unwrap(), statement());
        assert_eq!(Statement::unverified(&note).unwrap(), statement());
        assert!(note.starts_with("ledger.example/x\n7\nAwMD"), "{note}");
        assert!(note.contains("\n\n— ledger.example/x "), "{note}");
    }

    #[test]
    fn another_key_another_text_and_another_log_are_refused() {
        let note = statement().sign(&key()).unwrap();
        let other = LogKey::derive(&Seed::new([2; 32]), "ledger.example/x".to_owned());
        let verifier: VerifierKey = other.verifier_key().parse().unwrap();
        assert!(matches!(verifier.open(&note), Err(NoteProblem::Unsigned(_))));
        let verifier: VerifierKey = key().verifier_key().parse().unwrap();
        let larger = note.replace("\n7\n", "\n8\n");
        assert!(matches!(verifier.open(&larger), Err(NoteProblem::Unsigned(_))));
        let elsewhere = Statement { origin: "ledger.example/y".to_owned(), ..statement() };
        let note = elsewhere.sign(&key()).unwrap();
        assert!(matches!(verifier.open(&note), Err(NoteProblem::Origin { .. })));
        for text in ["", "a\n", "a\n7\nx\n\n— b c\n", "a\n18446744073709551615\n"] {
            assert!(verifier.open(text).is_err(), "{text:?}");
        }
        for text in ["", "a", "a+b", "a+b+c", "a+00000000+AQ==", "a+00000000+"] {
            assert!(text.parse::<VerifierKey>().is_err(), "{text:?}");
            assert!(text.parse::<WitnessKey>().is_err(), "{text:?}");
        }
    }
}
