//! Passwords: what they may be, and hashing them without the machine going down under it.

use super::people::Email;
use super::{App, AppError};
use argon2::password_hash::{self, PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Argon2, Params};
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
    /// How many passwords were hashed or compared.
    taken: Arc<AtomicU64>,
}

impl Default for Turns {
    fn default() -> Self {
        Self::at_once(std::thread::available_parallelism().map_or(1, NonZero::get))
    }
}

impl Turns {
    fn at_once(count: usize) -> Self {
        let free = Arc::new(Semaphore::new(count));
        Self { free, lines: Arc::default(), taken: Arc::default() }
    }

    async fn next(&self, line: Line) -> Result<OwnedSemaphorePermit, AppError> {
        let head = self.head(line);
        let turn = async {
            let _first = head.acquire().await.ok()?;
            Arc::clone(&self.free).acquire_owned().await.ok()
        };
        let turn = tokio::time::timeout(PATIENCE, turn).await.ok().flatten();
        let turn = turn.ok_or(AppError::Busy)?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("token_ledger_passwords_hashed_total").increment(1);
        Ok(turn)
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
        let turn = self.turns.next(line).await?;
        let mut salt = [0; SALT_BYTES];
        self.ledger.entropy().fill(&mut salt);
        tokio::task::spawn_blocking(move || {
            let hashed = hash(&password.0, &salt);
            // The turn ends with the work, not with the caller.
            drop(turn);
            hashed
        })
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
        let turn = self.turns.next(line).await?;
        tokio::task::spawn_blocking(move || {
            let matches = verify(&text, hash.as_deref());
            drop(turn);
            matches
        })
        .await
        .map_err(|error| StoreError::Rejected(error.to_string()))?
        .map_err(|error| StoreError::Rejected(error.to_string()).into())
    }
}

fn argon2() -> Argon2<'static> {
    Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, Params::DEFAULT)
}

/// The text with its accents composed (RFC 8265 §4.2): keyboards differ in how they send them.
fn composed(text: &str) -> Zeroizing<String> {
    // Room for all of it, so that no piece is left behind in memory. Composed, no text is more
    // than three times as long (UAX #15).
    let mut composed = Zeroizing::new(String::with_capacity(3 * text.len()));
    composed.extend(text.nfc());
    composed
}

fn hash(password: &str, salt: &[u8]) -> password_hash::Result<String> {
    let salt = SaltString::encode_b64(salt)?;
    Ok(argon2().hash_password(composed(password).as_bytes(), &salt)?.to_string())
}

fn verify(text: &str, hash: Option<&str>) -> password_hash::Result<bool> {
    let parsed = PasswordHash::new(hash.unwrap_or(NOBODYS))?;
    let matches = |text: &str| match argon2().verify_password(text.as_bytes(), &parsed) {
        Ok(()) => Ok(hash.is_some()),
        Err(password_hash::Error::Password) => Ok(false),
        Err(error) => Err(error),
    };
    let composed = composed(text);
    // Hashes were of texts as they were typed once.
    Ok(matches(&composed)? || (*composed != text && matches(text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_tells_its_method_and_not_the_password() {
        let hashed = hash("correct horse battery", &[7; SALT_BYTES]).unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert!(!hashed.contains("horse"));
        assert_eq!(verify("correct horse battery", Some(&hashed)), Ok(true));
        assert_eq!(verify("correct horse", Some(&hashed)), Ok(false));
    }

    #[test]
    fn a_password_is_the_same_however_its_accents_are_typed() {
        let (composed, apart) = ("caf\u{e9} au lait, s.v.p.", "cafe\u{301} au lait, s.v.p.");
        for typed in [composed, apart] {
            let hashed = hash(typed, &[7; SALT_BYTES]).unwrap();
            assert_eq!(verify(composed, Some(&hashed)), Ok(true));
            assert_eq!(verify(apart, Some(&hashed)), Ok(true));
            assert_eq!(verify("cafe au lait, s.v.p.", Some(&hashed)), Ok(false));
        }
        let salt = SaltString::encode_b64(&[7; SALT_BYTES]).unwrap();
        let before = argon2().hash_password(apart.as_bytes(), &salt).unwrap().to_string();
        assert_eq!(verify(apart, Some(&before)), Ok(true), "as it was hashed once");
    }

    #[test]
    fn nobodys_hash_costs_what_every_other_does_and_is_never_met() {
        let cost = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        let hashed = hash("correct horse battery", &[7; SALT_BYTES]).unwrap();
        assert_eq!(cost(NOBODYS), cost(&hashed));
        assert_eq!(verify("correct horse battery", None), Ok(false));
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
