//! Passwords: what they may be, and hashing them without the machine going down under it.

use super::people::Email;
use super::{App, AppError};
use argon2::password_hash::{self, Output, ParamsString, PasswordHash, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use token_ledger_domain::PersonId;
use token_ledger_event_store::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// The shortest password, in characters.
pub const MIN_CHARS: usize = 12;
/// The longest password, in characters.
pub const MAX_CHARS: usize = 1024;
/// Random bytes of a password's salt.
const SALT_BYTES: usize = 16;
/// How long a caller waits for its turn at hashing.
const PATIENCE: Duration = Duration::from_secs(10);
/// The hash of nothing that anybody knows, at the cost of every other: what is typed for an unknown
/// address is compared with it, so that it takes as long.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$jq9fMSIWNA8pXSt25iT+Xw$\
    2VBjgnwP9KP7DlGEjUxTugamYLAC26XGWQHpgQ3i2FA";

/// A text that may be a password.
pub struct Password(Zeroizing<String>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

impl Password {
    /// Takes the text as it is, however its accents are typed.
    ///
    /// # Errors
    /// When it is too short, too long, one character over and over, or the person's own address.
    pub fn new(text: Zeroizing<String>, email: &str) -> Result<Self, &'static str> {
        let length = text.chars().count();
        if length < MIN_CHARS {
            return Err("must have at least 12 characters");
        }
        if length > MAX_CHARS {
            return Err("must have at most 1024 characters");
        }
        let mut chars = text.chars();
        let first = chars.next();
        if chars.all(|c| Some(c) == first) {
            return Err("must not be one character over and over");
        }
        if Email::known(&text).is_ok_and(|own| own.as_str() == email) {
            return Err("must not be your e-mail address");
        }
        Ok(Self(text))
    }
}

/// In whose line somebody waits for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Line {
    /// Of whoever has proved nothing yet, from one network.
    Network(Option<IpAddr>),
    /// Of a person who is known by a session or a link.
    Person(PersonId),
}

/// Turns at hashing: each takes 19 MiB and a core for a while. Only the first of each line waits
/// for one, so that however many come from one network, they hold nobody else up for long.
#[derive(Clone, Debug)]
pub struct Turns {
    free: Arc<Semaphore>,
    lines: Arc<Mutex<HashMap<Line, Weak<Semaphore>>>>,
    rested: Rested,
    /// How many passwords were hashed or compared.
    taken: Arc<AtomicU64>,
}

/// What a password is hashed in.
type Memory = Vec<Block>;

/// Memory of turns that are over, for those to come: of pieces so large, taken on ever other threads,
/// the allocator would keep one for each of its arenas.
type Rested = Arc<Mutex<Vec<Memory>>>;

/// A turn at hashing. It ends with the work, not with the caller.
#[derive(Debug)]
pub(super) struct Turn {
    memory: Memory,
    rested: Rested,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.rested.lock().push(std::mem::take(&mut self.memory));
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self::at_once(std::thread::available_parallelism().map_or(1, NonZero::get))
    }
}

impl Turns {
    fn at_once(count: usize) -> Self {
        let free = Arc::new(Semaphore::new(count));
        Self { free, lines: Arc::default(), rested: Arc::default(), taken: Arc::default() }
    }

    async fn next(&self, line: Line) -> Result<Turn, AppError> {
        let head = self.head(line);
        let turn = async {
            let _first = head.acquire().await.ok()?;
            Arc::clone(&self.free).acquire_owned().await.ok()
        };
        let turn = tokio::time::timeout(PATIENCE, turn).await.ok().flatten();
        let permit = turn.ok_or(AppError::Busy)?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("token_ledger_passwords_hashed_total").increment(1);
        let memory = self.rested.lock().pop().unwrap_or_default();
        Ok(Turn { memory, rested: Arc::clone(&self.rested), _permit: permit })
    }

    /// The place of the first in a line. Lines in which nobody waits are forgotten.
    fn head(&self, line: Line) -> Arc<Semaphore> {
        let mut lines = self.lines.lock();
        if let Some(head) = lines.get(&line).and_then(Weak::upgrade) {
            return head;
        }
        lines.retain(|_, head| head.strong_count() > 0);
        let head = Arc::new(Semaphore::new(1));
        lines.insert(line, Arc::downgrade(&head));
        head
    }
}

impl App {
    /// How many passwords were hashed or compared since the start.
    pub fn passwords_hashed(&self) -> u64 {
        self.turns.taken.load(Ordering::Relaxed)
    }

    /// What is kept of a password.
    pub(super) async fn hash_password(
        &self,
        password: Password,
        line: Line,
    ) -> Result<String, AppError> {
        let mut turn = self.turns.next(line).await?;
        let mut salt = [0; SALT_BYTES];
        self.ledger.entropy().fill(&mut salt);
        tokio::task::spawn_blocking(move || hash(&password.0, &salt, &mut turn.memory))
            .await
            .map_err(|error| StoreError::Rejected(error.to_string()))?
            .map_err(|error| StoreError::Rejected(error.to_string()).into())
    }

    /// Whether the text is the password of this hash. It takes as long where there is no hash.
    pub(super) async fn is_password(
        &self,
        text: Zeroizing<String>,
        hash: Option<String>,
        line: Line,
    ) -> Result<bool, AppError> {
        let mut turn = self.turns.next(line).await?;
        tokio::task::spawn_blocking(move || verify(&text, hash.as_deref(), &mut turn.memory))
            .await
            .map_err(|error| StoreError::Rejected(error.to_string()))?
            .map_err(|error| StoreError::Rejected(error.to_string()).into())
    }
}

/// The text with its accents composed (RFC 8265 §4.2): keyboards differ in how they send them.
fn composed(text: &str) -> Zeroizing<String> {
    // Room for all of it, so that no piece is left behind in memory. Composed, no text is more
    // than three times as long (UAX #15).
    let mut composed = Zeroizing::new(String::with_capacity(3 * text.len()));
    composed.extend(text.nfc());
    composed
}

fn hash(password: &str, salt: &[u8], memory: &mut Memory) -> password_hash::Result<String> {
    let salt = SaltString::encode_b64(salt)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(argon2.params())?,
        salt: Some(salt.as_salt()),
        hash: Some(output(&argon2, &composed(password), salt.as_salt(), memory)?),
    };
    Ok(hash.to_string())
}

fn output(
    argon2: &Argon2<'_>,
    text: &str,
    salt: Salt<'_>,
    memory: &mut Memory,
) -> password_hash::Result<Output> {
    let mut bytes = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut bytes)?;
    memory.resize(argon2.params().block_count(), Block::default());
    let length = argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    Output::init_with(length, |out| {
        Ok(argon2.hash_password_into_with_memory(text.as_bytes(), salt, out, memory)?)
    })
}

fn verify(text: &str, hash: Option<&str>, memory: &mut Memory) -> password_hash::Result<bool> {
    let parsed = PasswordHash::new(hash.unwrap_or(NOBODYS))?;
    let (Some(salt), Some(expected)) = (parsed.salt, parsed.hash) else {
        return Err(password_hash::Error::PhcStringField);
    };
    let version = parsed.version.map(Version::try_from).transpose()?.unwrap_or_default();
    let argon2 =
        Argon2::new(Algorithm::try_from(parsed.algorithm)?, version, Params::try_from(&parsed)?);
    // Outputs are compared in constant time.
    let mut is_of = |text: &str| output(&argon2, text, salt, memory).map(|own| own == expected);
    let composed = composed(text);
    // Hashes were of texts as they were typed once.
    let is_met = is_of(&composed)? || (*composed != text && is_of(text)?);
    Ok(is_met && hash.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordHasher;

    #[test]
    fn a_hash_tells_its_method_and_not_the_password() {
        let memory = &mut Memory::new();
        let hashed = hash("correct horse battery", &[7; SALT_BYTES], memory).unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert!(!hashed.contains("horse"));
        assert_eq!(verify("correct horse battery", Some(&hashed), memory), Ok(true));
        assert_eq!(verify("correct horse", Some(&hashed), memory), Ok(false));
        let salt = SaltString::encode_b64(&[7; SALT_BYTES]).unwrap();
        let plain = Argon2::default().hash_password(b"correct horse battery", &salt).unwrap();
        assert_eq!(plain.to_string(), hashed, "whatever was in the memory before");
    }

    #[test]
    fn a_password_is_the_same_however_its_accents_are_typed() {
        let memory = &mut Memory::new();
        let (composed, apart) = ("caf\u{e9} au lait, s.v.p.", "cafe\u{301} au lait, s.v.p.");
        for typed in [composed, apart] {
            let hashed = hash(typed, &[7; SALT_BYTES], memory).unwrap();
            assert_eq!(verify(composed, Some(&hashed), memory), Ok(true));
            assert_eq!(verify(apart, Some(&hashed), memory), Ok(true));
            assert_eq!(verify("cafe au lait, s.v.p.", Some(&hashed), memory), Ok(false));
        }
        let salt = SaltString::encode_b64(&[7; SALT_BYTES]).unwrap();
        let before = Argon2::default().hash_password(apart.as_bytes(), &salt).unwrap().to_string();
        assert_eq!(verify(apart, Some(&before), memory), Ok(true), "as it was hashed once");
    }

    #[test]
    fn nobodys_hash_costs_what_every_other_does_and_is_never_met() {
        let memory = &mut Memory::new();
        let cost = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        let hashed = hash("correct horse battery", &[7; SALT_BYTES], memory).unwrap();
        assert_eq!(cost(NOBODYS), cost(&hashed));
        assert_eq!(verify("correct horse battery", None, memory), Ok(false));
    }

    #[tokio::test]
    async fn turns_one_after_the_other_take_the_same_memory() {
        let turns = Turns::at_once(2);
        for _ in 0..20 {
            let mut turn = turns.next(Line::Network(None)).await.unwrap();
            let work = move || verify("correct horse battery", None, &mut turn.memory);
            assert_eq!(std::thread::spawn(work).join().unwrap(), Ok(false));
        }
        assert_eq!(turns.rested.lock().len(), 1);
    }

    #[tokio::test]
    async fn a_crowd_from_one_network_holds_nobody_else_up() {
        let turns = Turns::at_once(1);
        let order = Arc::new(Mutex::new(Vec::new()));
        let crowd = Line::Network("192.0.2.1".parse().ok());
        let others = [Line::Network(None), Line::Person(PersonId(uuid::Uuid::from_u128(1)))];
        let held = turns.next(crowd).await.unwrap();
        let lines = [crowd; 50].into_iter().chain(others);
        let waiting: Vec<_> = lines
            .map(|line| {
                let (turns, order) = (turns.clone(), Arc::clone(&order));
                tokio::spawn(async move {
                    let turn = turns.next(line).await;
                    order.lock().push(line);
                    drop(turn);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(held);
        futures::future::join_all(waiting).await;
        assert_eq!(order.lock()[..3], [crowd, others[0], others[1]]);
        assert_eq!(turns.taken.load(Ordering::Relaxed), 53);
        assert_eq!(turns.lines.lock().len(), 3);
        drop(turns.next(Line::Network("192.0.2.2".parse().ok())).await.unwrap());
        assert_eq!(turns.lines.lock().len(), 1, "those that nobody waits in are forgotten");
    }

    #[test]
    fn a_password_has_12_to_1024_characters_and_is_neither_the_address_nor_one_character() {
        let new = |text: &str| Password::new(Zeroizing::new(text.to_owned()), "ada@example.com");
        assert!(new("           .").is_ok());
        assert!(new(&"🔑🗝".repeat(512)).is_ok());
        let long = "ab".repeat(513);
        for text in ["🔑🗝".repeat(5), long, "Ada@Example.com".to_owned(), "🔑".repeat(12)] {
            assert!(new(&text).is_err(), "{text}");
        }
    }
}
