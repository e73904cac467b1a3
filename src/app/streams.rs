//! Answers that go on for long, such as streams and exports: how many there may be at a time.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// At a time, of one credential.
pub const PER_CREDENTIAL: usize = 32;
/// At a time, of all.
pub const IN_ALL: usize = 1024;

/// The long answers that are under way.
#[derive(Clone, Debug, Default)]
pub struct Streams(Arc<Mutex<HashMap<Uuid, usize>>>);

/// Why there is no place for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The credential has as many as it may.
    OfCredential,
    /// There are as many as there may be.
    AtAll,
}

/// A place for one, until it is let go.
#[derive(Debug)]
pub struct StreamPlace {
    streams: Streams,
    credential: Uuid,
}

impl Streams {
    /// A place for one more of this credential.
    ///
    /// # Errors
    /// [`NoPlace`] when there are too many.
    pub fn begin(&self, credential: Uuid) -> Result<StreamPlace, NoPlace> {
        let mut held = self.0.lock();
        if held.get(&credential).is_some_and(|count| *count >= PER_CREDENTIAL) {
            return Err(NoPlace::OfCredential);
        }
        if held.values().sum::<usize>() >= IN_ALL {
            return Err(NoPlace::AtAll);
        }
        *held.entry(credential).or_insert(0) += 1;
        Ok(StreamPlace { streams: self.clone(), credential })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut held = self.streams.0.lock();
        if let Some(count) = held.get_mut(&self.credential) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.credential);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_has_so_many_places_and_gets_them_back() {
        let streams = Streams::default();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut held: Vec<_> = (0..PER_CREDENTIAL).map(|_| streams.begin(one).unwrap()).collect();
        assert_eq!(streams.begin(one).unwrap_err(), NoPlace::OfCredential);
        assert!(streams.begin(other).is_ok(), "others have theirs");
        held.pop();
        assert!(streams.begin(one).is_ok());
    }

    #[test]
    fn there_are_so_many_places_in_all() {
        let streams = Streams::default();
        let credentials = (0..).map(|n| Uuid::from_u128(n / PER_CREDENTIAL as u128));
        let mut held = Vec::new();
        for credential in credentials {
            match streams.begin(credential) {
                Ok(place) => held.push(place),
                Err(refusal) => {
                    assert_eq!(refusal, NoPlace::AtAll);
                    break;
                }
            }
        }
        assert_eq!(held.len(), IN_ALL);
    }
}
