//! The key that each company's checkpoints are signed with.
//!
//! All of them derive from one seed: HKDF-SHA256 with the origin as info gives the Ed25519 key.

use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use sha2::Sha256;
use signed_note::{Signer, is_key_name_valid, key_id, new_ed25519_verifier_key};
use std::fmt;
use std::str::FromStr;
use token_ledger_domain::CompanyId;
use zeroize::Zeroizing;

/// What HKDF salts with, so that a seed used elsewhere too gives other keys there.
const SALT: &[u8] = b"token-ledger checkpoint key v1";
/// What an Ed25519 key begins with in a signed note (C2SP signed-note).
const ED25519: u8 = 1;

/// What all keys derive from: 32 random bytes. Whoever has them can sign for every company.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// The text is no seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a seed is 64 hexadecimal digits")]
pub struct InvalidSeed;

impl Seed {
    /// A seed of these random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The text that [`Seed::from_str`] reads.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(*self.0))
    }
}

impl FromStr for Seed {
    type Err = InvalidSeed;

    fn from_str(text: &str) -> Result<Self, InvalidSeed> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), bytes.as_mut_slice()).map_err(|_| InvalidSeed)?;
        Ok(Self(bytes))
    }
}

/// The name is no name of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1 to 200 characters such as ledger.example/log, without spaces, + and control \
     characters, and not begin or end with a slash"
)]
pub struct InvalidLogName;

/// What the origins of all companies of an installation begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogName(String);

impl Default for LogName {
    fn default() -> Self {
        Self("token-ledger".to_owned())
    }
}

impl FromStr for LogName {
    type Err = InvalidLogName;

    fn from_str(text: &str) -> Result<Self, InvalidLogName> {
        let plain = is_key_name_valid(text) && !text.chars().any(char::is_control);
        if !plain || text.len() > 200 || text.starts_with('/') || text.ends_with('/') {
            return Err(InvalidLogName);
        }
        Ok(Self(text.to_owned()))
    }
}

impl LogName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The origin of a company's log: what its checkpoints and its key are named.
    pub fn origin(&self, company: CompanyId) -> String {
        format!("{}/{company}", self.0)
    }
}

/// The key of one company's log.
pub struct LogKey {
    origin: String,
    key: SigningKey,
    id: u32,
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogKey").field(&self.verifier_key()).finish()
    }
}

impl LogKey {
    /// The key of the log of this origin.
    pub fn derive(seed: &Seed, origin: String) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        // 32 bytes are far below what HKDF-SHA256 can give, which is the only thing it refuses.
        let _ = Hkdf::<Sha256>::new(Some(SALT), seed.0.as_slice())
            .expand(origin.as_bytes(), secret.as_mut_slice());
        let key = SigningKey::from_bytes(&secret);
        let mut public = vec![ED25519];
        public.extend_from_slice(key.verifying_key().as_bytes());
        Self { id: key_id(&origin, &public), origin, key }
    }

    /// The origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The verifier key in note form, for whoever checks.
    pub fn verifier_key(&self) -> String {
        new_ed25519_verifier_key(&self.origin, &self.key.verifying_key())
    }
}

impl Signer for LogKey {
    fn name(&self) -> &str {
        &self.origin
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ed25519_dalek::SignatureError> {
        ed25519_dalek::Signer::try_sign(&self.key, message).map(|signature| signature.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fixed_by_seed_and_origin() {
        let seed = Seed::new([7; 32]);
        let name: LogName = "ledger.example/log".parse().unwrap();
        let key = |seed: &Seed, company| LogKey::derive(seed, name.origin(company)).verifier_key();
        let platform = key(&seed, CompanyId::PLATFORM);
        assert_eq!(
            platform,
            "ledger.example/log/00000000-0000-7000-8000-000000000000+1364b72d+\
             ASFAorrdz12yRZgucj8ZZjeMH8DZ2U3X4KTDMifZUZrG"
        );
        let read: Seed = seed.to_text().parse().unwrap();
        assert_eq!(key(&read, CompanyId::PLATFORM), platform);
        assert_ne!(key(&Seed::new([8; 32]), CompanyId::PLATFORM), platform);
        assert_ne!(key(&seed, CompanyId(uuid::Uuid::from_u128(1))), platform);
    }

    #[test]
    fn a_seed_shows_itself_to_nobody() {
        let text = format!("{:?}", Seed::new([0xab; 32]));
        assert!(!text.contains("ab"), "{text}");
    }

    #[test]
    fn names_that_no_note_could_carry_are_refused() {
        for name in ["", "a b", "a+b", "/a", "a/", "a\u{7}b", &"x".repeat(201)] {
            assert_eq!(name.parse::<LogName>(), Err(InvalidLogName), "{name:?}");
        }
        assert!("ledger.example".parse::<LogName>().is_ok());
    }
}
