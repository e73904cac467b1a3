//! Secrets: how they are made, recognised and remembered.
//!
//! A secret is a prefix, 43 base62 characters that carry 256 random bits, and six characters of
//! checksum, so that a scanner or a client can tell a typo without asking. The ledger keeps the
//! SHA-256 of the whole text and a hint, never the text.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use zeroize::{Zeroize, Zeroizing};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_CHARS: usize = 43;
const CHECKSUM_CHARS: usize = 6;

/// What a secret opens, told by its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// An access token, `tlk_` by default.
    Token,
    /// An API key, `tla_` by default.
    Key,
    /// An OAuth client's secret, `tlc_` by default.
    Client,
}

impl SecretKind {
    /// The prefix where no other is configured.
    pub const fn default_prefix(self) -> &'static str {
        match self {
            Self::Token => "tlk_",
            Self::Key => "tla_",
            Self::Client => "tlc_",
        }
    }
}

/// A secret in clear, on its way to the one answer that shows it. It can't be printed by accident
/// and is wiped from memory when dropped.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret of this prefix made from 256 random bits.
    pub fn from_random(prefix: &str, mut random: [u8; 32]) -> Self {
        let mut text =
            Zeroizing::new(String::with_capacity(prefix.len() + RANDOM_CHARS + CHECKSUM_CHARS));
        let mut number = Zeroizing::new([0_u32; 8]);
        for (limb, bytes) in number.iter_mut().zip(random.chunks_exact(4)) {
            *limb = bytes.iter().fold(0, |limb, byte| limb << 8 | u32::from(*byte));
        }
        let body = Zeroizing::new(base62::<RANDOM_CHARS>(&mut *number));
        text.push_str(prefix);
        text.extend(body.iter().map(|byte| char::from(*byte)));
        text.extend(checksum(&*body).iter().map(|byte| char::from(*byte)));
        random.zeroize();
        Self(text)
    }

    /// The text. Name it only where the secret is handed to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the ledger keeps of it.
    pub fn stored(&self) -> StoredSecret {
        let start = self.0.len().saturating_sub(4);
        let prefix = self.0.len() - RANDOM_CHARS - CHECKSUM_CHARS;
        StoredSecret {
            digest: Digest::of(&self.0),
            hint: format!("{}…{}", &self.0[..prefix], &self.0[start..]),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Whether the text is built like a secret: some prefix, 43 base62 characters and their checksum.
/// What is not can be refused without a look-up.
pub fn is_well_formed(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(start) = bytes.len().checked_sub(RANDOM_CHARS + CHECKSUM_CHARS) else {
        return false;
    };
    let (body, sum) = bytes[start..].split_at(RANDOM_CHARS);
    body.iter().all(u8::is_ascii_alphanumeric) && checksum(body) == sum
}

/// The text with every run of letters, digits, `_` and `-` left out that holds a secret: for what
/// callers are told about what they sent, and for what is kept of it.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    if !text.split(|c| !is_run(c)).any(holds_secret) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    for piece in text.split_inclusive(|c| !is_run(c)) {
        let run = piece.trim_end_matches(|c| !is_run(c));
        kept.push_str(if holds_secret(run) { "…" } else { run });
        kept.push_str(&piece[run.len()..]);
    }
    Cow::Owned(kept)
}

/// As [`without_secrets`], of a text of which no more than so many bytes are looked through. What may
/// be the beginning of a secret that goes on behind them is left out.
pub fn beginning_without_secrets(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return without_secrets(text);
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let mut kept = without_secrets(&text[..end]).into_owned();
    let last = kept.chars().rev().take(RANDOM_CHARS + CHECKSUM_CHARS - 1);
    let begun = last.take_while(|c| is_run(*c)).count();
    kept.truncate(kept.len() - begun);
    Cow::Owned(kept)
}

const fn is_run(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Whether a secret stands anywhere in a run of letters, digits, `_` and `-`.
fn holds_secret(run: &str) -> bool {
    run.as_bytes().windows(RANDOM_CHARS + CHECKSUM_CHARS).any(|window| {
        let (body, sum) = window.split_at(RANDOM_CHARS);
        body.iter().all(u8::is_ascii_alphanumeric) && checksum(body) == sum
    })
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_CHARS] {
    base62(&mut [crc32fast::hash(body)])
}

/// The number, most significant limb first, in base 62, left-padded with `0`. Uses up `number`.
fn base62<const CHARS: usize>(number: &mut [u32]) -> [u8; CHARS] {
    let mut text = [ALPHABET[0]; CHARS];
    for place in text.iter_mut().rev() {
        let mut remainder = 0_u64;
        for limb in number.iter_mut() {
            let value = remainder << 32 | u64::from(*limb);
            // A remainder is below 62, so the quotient fits a limb.
            *limb = u32::try_from(value / 62).unwrap_or(u32::MAX);
            remainder = value % 62;
        }
        *place = ALPHABET[usize::try_from(remainder).unwrap_or(0)];
    }
    text
}

/// The SHA-256 of a whole secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of this text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Digest {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// What is kept of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSecret {
    /// SHA-256 of the whole text.
    pub digest: Digest,
    /// The prefix and the last four characters, so that people can tell secrets apart.
    pub hint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_the_published_form() {
        let secret = Secret::from_random("tlk_", [0xFF; 32]);
        let text = secret.reveal();
        assert_eq!(text.len(), 4 + 43 + 6);
        assert!(is_well_formed(text));
        assert_eq!(secret.stored().hint, format!("tlk_…{}", &text[text.len() - 4..]));
        assert_eq!(secret.stored().digest, Digest::of(text));
    }

    #[test]
    fn the_checksum_is_the_padded_base62_of_the_crc_of_the_body() {
        let secret = Secret::from_random("tlk_", [0; 32]);
        let body = "0".repeat(43);
        assert!(secret.reveal().starts_with(&format!("tlk_{body}")));
        let mut value = u64::from(crc32fast::hash(body.as_bytes()));
        let mut expected = Vec::new();
        for _ in 0..6 {
            expected.push(ALPHABET[usize::try_from(value % 62).unwrap()]);
            value /= 62;
        }
        expected.reverse();
        assert_eq!(&secret.reveal().as_bytes()[47..], expected);
    }

    #[test]
    fn a_typo_is_seen() {
        let secret = Secret::from_random("tlk_", [7; 32]);
        for place in 4..secret.reveal().len() {
            let mut typo = secret.reveal().to_owned().into_bytes();
            typo[place] = if typo[place] == b'x' { b'y' } else { b'x' };
            assert!(!is_well_formed(std::str::from_utf8(&typo).unwrap()), "typo at {place}");
        }
        assert!(!is_well_formed(""));
        assert!(!is_well_formed("ключ-ключ-ключ-ключ-ключ-ключ-ключ-ключ-ключ-ключ"));
    }

    #[test]
    fn secrets_are_left_out_of_what_is_told() {
        let secret = Secret::from_random("tlk_", [5; 32]);
        let text = secret.reveal();
        assert_eq!(without_secrets(&format!("leaked: {text}, 🔑{text}x!")), "leaked: …, 🔑…!");
        assert_eq!(without_secrets(text), "…");
        for plain in ["", "no secret — at all", "tlk_", &text[5..], &"a".repeat(200)] {
            assert!(matches!(without_secrets(plain), Cow::Borrowed(kept) if kept == plain));
        }
    }

    #[test]
    fn no_part_of_a_secret_is_told_that_goes_on_behind_the_end() {
        let secret = Secret::from_random("tlk_", [5; 32]);
        let secret = secret.reveal();
        let mut text = format!("{secret} ").repeat(3);
        text.push_str("a/1 ");
        let before = text.len();
        text.push_str(secret);
        for most in 0..=text.len() + 1 {
            let told = beginning_without_secrets(&text, most);
            let told = told.trim_start_matches(['…', ' ']).trim_end_matches(['…', ' ']);
            // What a secret begins with is no part of it.
            let is_none = ["tlk_", "a/1 tlk_"].iter().any(|harmless| harmless.starts_with(told));
            assert!(is_none, "{most}: {told}");
        }
        assert!(beginning_without_secrets(&text, before).ends_with("… a/1 "));
        let plain = "é".repeat(100);
        assert_eq!(beginning_without_secrets(&plain, 101), "é".repeat(50));
    }

    #[test]
    fn different_randomness_gives_different_secrets_and_nothing_prints() {
        let one = Secret::from_random("tlk_", [1; 32]);
        let two = Secret::from_random("tlk_", [2; 32]);
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(format!("{one:?}"), "Secret(redacted)");
    }
}
