//! Passwords: what they may be, and hashing them without the machine going down under it.

use super::{App, AppError};
use argon2::password_hash::{self, PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Argon2, Params};
use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use token_ledger_event_store::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
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
    /// Takes the text exactly as it is.
    ///
    /// # Errors
    /// When it is too short, too long, or the person's own address.
    pub fn new(text: Zeroizing<String>, email: &str) -> Result<Self, &'static str> {
        let length = text.chars().count();
        if length < MIN_CHARS {
            return Err("must have at least 12 characters");
        }
        if length > MAX_CHARS {
            return Err("must have at most 1024 characters");
        }
        if text.trim().to_lowercase() == email {
            return Err("must not be your e-mail address");
        }
        Ok(Self(text))
    }
}

/// Turns at hashing: each takes 19 MiB and a core for a while.
#[derive(Clone, Debug)]
pub struct Turns {
    free: Arc<Semaphore>,
    /// How many passwords were hashed or compared.
    taken: Arc<AtomicU64>,
}

impl Default for Turns {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { free: Arc::new(Semaphore::new(cores)), taken: Arc::default() }
    }
}

impl Turns {
    async fn next(&self) -> Result<OwnedSemaphorePermit, AppError> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.free).acquire_owned()).await;
        let turn = turn.map_err(|_| AppError::Busy)?.map_err(|_| AppError::Busy)?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("passwords_hashed_total").increment(1);
        Ok(turn)
    }
}

impl App {
    /// How many passwords were hashed or compared since the start.
    pub fn passwords_hashed(&self) -> u64 {
        self.turns.taken.load(Ordering::Relaxed)
    }

    /// What is kept of a password.
    pub(super) async fn hash_password(&self, password: Password) -> Result<String, AppError> {
        let turn = self.turns.next().await?;
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
    ) -> Result<bool, AppError> {
        let turn = self.turns.next().await?;
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

fn hash(password: &str, salt: &[u8]) -> password_hash::Result<String> {
    let salt = SaltString::encode_b64(salt)?;
    Ok(argon2().hash_password(password.as_bytes(), &salt)?.to_string())
}

fn verify(text: &str, hash: Option<&str>) -> password_hash::Result<bool> {
    let parsed = PasswordHash::new(hash.unwrap_or(NOBODYS))?;
    match argon2().verify_password(text.as_bytes(), &parsed) {
        Ok(()) => Ok(hash.is_some()),
        Err(password_hash::Error::Password) => Ok(false),
        Err(error) => Err(error),
    }
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
    fn nobodys_hash_costs_what_every_other_does_and_is_never_met() {
        let cost = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        let hashed = hash("correct horse battery", &[7; SALT_BYTES]).unwrap();
        assert_eq!(cost(NOBODYS), cost(&hashed));
        assert_eq!(verify("correct horse battery", None), Ok(false));
    }

    #[test]
    fn a_password_has_12_to_1024_characters_and_is_not_the_address() {
        let new = |text: &str| Password::new(Zeroizing::new(text.to_owned()), "ada@example.com");
        assert!(new("            ").is_ok());
        assert!(new(&"🔑".repeat(1024)).is_ok());
        for text in ["🔑".repeat(11), "a".repeat(1025), "Ada@Example.com".to_owned()] {
            assert!(new(&text).is_err(), "{text}");
        }
    }
}
