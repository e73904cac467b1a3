//! Answers that go on for long, such as streams and exports: how many there may be at a time.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;
use token_ledger_domain::CompanyId;
use uuid::Uuid;

/// At a time, of one credential.
pub const PER_CREDENTIAL: usize = 32;
/// At a time, about one company.
pub const PER_COMPANY: usize = 256;
/// At a time, of all.
pub const IN_ALL: usize = 1024;

/// The long answers that are under way.
#[derive(Clone, Debug, Default)]
pub struct Streams(Arc<Mutex<Held>>);

/// How many places are taken.
#[derive(Debug, Default)]
struct Held {
    of_credentials: HashMap<Uuid, usize>,
    of_companies: HashMap<CompanyId, usize>,
}

/// Why there is no place for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The credential has as many as it may.
    OfCredential,
    /// As many are about the company as may be.
    OfCompany,
    /// There are as many as there may be.
    AtAll,
}

/// A place for one, until it is let go.
#[derive(Debug)]
pub struct StreamPlace {
    streams: Streams,
    credential: Uuid,
    company: CompanyId,
}

impl Streams {
    /// A place for one more of this credential, about this company.
    ///
    /// # Errors
    /// [`NoPlace`] when there are too many.
    pub fn begin(&self, credential: Uuid, company: CompanyId) -> Result<StreamPlace, NoPlace> {
        let mut held = self.0.lock();
        if held.of_credentials.get(&credential).is_some_and(|count| *count >= PER_CREDENTIAL) {
            return Err(NoPlace::OfCredential);
        }
        if held.of_companies.get(&company).is_some_and(|count| *count >= PER_COMPANY) {
            return Err(NoPlace::OfCompany);
        }
        if held.of_companies.values().sum::<usize>() >= IN_ALL {
            return Err(NoPlace::AtAll);
        }
        *held.of_credentials.entry(credential).or_insert(0) += 1;
        *held.of_companies.entry(company).or_insert(0) += 1;
        Ok(StreamPlace { streams: self.clone(), credential, company })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut held = self.streams.0.lock();
        one_less(&mut held.of_credentials, self.credential);
        one_less(&mut held.of_companies, self.company);
    }
}

fn one_less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, of: K) {
    if let Entry::Occupied(mut count) = counts.entry(of) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn company(n: usize) -> CompanyId {
        CompanyId(uuid(n))
    }

    fn uuid(n: usize) -> Uuid {
        Uuid::from_u128(n as u128)
    }

    #[test]
    fn a_credential_has_so_many_places_and_gets_them_back() {
        let streams = Streams::default();
        let begin = |credential| streams.begin(uuid(credential), company(0));
        let mut held: Vec<_> = (0..PER_CREDENTIAL).map(|_| begin(1).unwrap()).collect();
        assert_eq!(begin(1).unwrap_err(), NoPlace::OfCredential);
        assert!(begin(2).is_ok(), "others have theirs");
        held.pop();
        assert!(begin(1).is_ok());
    }

    #[test]
    fn a_company_has_so_many_places_and_gets_them_back() {
        let streams = Streams::default();
        let begin = |n, of| streams.begin(uuid(n / PER_CREDENTIAL), company(of));
        let mut held: Vec<_> = (0..PER_COMPANY).map(|n| begin(n, 1).unwrap()).collect();
        assert_eq!(begin(PER_COMPANY, 1).unwrap_err(), NoPlace::OfCompany);
        assert!(begin(PER_COMPANY, 2).is_ok(), "others have theirs");
        held.pop();
        assert!(begin(PER_COMPANY, 1).is_ok());
        held.clear();
        let nothing = streams.0.lock();
        assert!(nothing.of_credentials.is_empty() && nothing.of_companies.is_empty());
    }

    #[test]
    fn there_are_so_many_places_in_all() {
        let streams = Streams::default();
        let mut held = Vec::new();
        for n in 0..=IN_ALL {
            match streams.begin(uuid(n / PER_CREDENTIAL), company(n / PER_COMPANY)) {
                Ok(place) => held.push(place),
                Err(refusal) => assert_eq!(refusal, NoPlace::AtAll),
            }
        }
        assert_eq!(held.len(), IN_ALL);
    }
}
