//! What processes tell each other through the database's channel.

use crate::record::{Head, Point};
use std::fmt::Write as _;
use std::str::FromStr;
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::{CompanyId, Timestamp};
use uuid::Uuid;

/// The channel.
pub(super) const CHANNEL: &str = "token_ledger";
/// How long a payload may be, in bytes: PostgreSQL takes less than 8000.
const MAX_PAYLOAD: usize = 7900;
/// Keys that one payload names, of 37 bytes each.
const KEYS_AT_ONCE: usize = 200;

/// Which kinds of aggregates something is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Tokens.
    pub token: bool,
    /// API keys.
    pub key: bool,
    /// The company itself, its members and clients.
    pub company: bool,
}

impl Kinds {
    /// All of them.
    pub const ALL: Self = Self { token: true, key: true, company: true };

    /// Adds a kind.
    pub const fn add(&mut self, kind: AggregateType) {
        match kind {
            AggregateType::Token => self.token = true,
            AggregateType::Key => self.key = true,
            AggregateType::Company => self.company = true,
        }
    }

    /// These and the others.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            token: self.token || other.token,
            key: self.key || other.key,
            company: self.company || other.company,
        }
    }

    const fn letters(self) -> [(bool, char); 3] {
        [(self.token, 't'), (self.key, 'k'), (self.company, 'c')]
    }

    fn parse(text: &str) -> Option<Self> {
        let mut kinds = Self::default();
        for letter in text.chars() {
            kinds.add(match letter {
                't' => AggregateType::Token,
                'k' => AggregateType::Key,
                'c' => AggregateType::Company,
                _ => return None,
            });
        }
        Some(kinds)
    }
}

impl std::fmt::Display for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.letters().iter().filter(|(is_in, _)| *is_in).try_for_each(|(_, c)| f.write_char(*c))
    }
}

/// What was appended to a company's ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Advanced {
    pub company: CompanyId,
    /// The position of its first event.
    pub first: u64,
    pub last: Point,
    /// What the events are about.
    pub kinds: Kinds,
}

impl Advanced {
    /// What was appended between these heads of a ledger.
    pub const fn between(before: &Head, after: &Head, kinds: Kinds) -> Self {
        Self { company: after.company, first: before.position + 1, last: after.point(), kinds }
    }

    /// This and what was appended after it, as one where nothing is missing in between; else only
    /// the later one, whose first position tells that something is.
    #[must_use]
    pub const fn then(self, later: Self) -> Self {
        if later.first != self.last.position + 1 {
            return later;
        }
        Self { first: self.first, kinds: self.kinds.and(later.kinds), ..later }
    }

    fn parse(word: &str) -> Option<Self> {
        let mut parts = word.split(':');
        let company = CompanyId(Uuid::from_str(parts.next()?).ok()?);
        let mut position = || {
            let position = u64::from_str(parts.next()?).ok()?;
            i64::try_from(position).is_ok().then_some(position)
        };
        let (first, position) = (position()?, position()?);
        let recorded_at = Timestamp::from_micros(parts.next()?.parse().ok()?);
        let kinds = Kinds::parse(parts.next()?)?;
        Some(Self { company, first, last: Point { position, recorded_at }, kinds })
    }
}

impl std::fmt::Display for Advanced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { company, first, last: Point { position, recorded_at }, kinds } = self;
        write!(f, "{}:{first}:{position}:{}:{kinds}", company.0, recorded_at.as_micros())
    }
}

/// Which rows of a projection were put right, which no event has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRight {
    /// The projection's name.
    pub projection: String,
    /// The company whose rows they are.
    pub company: CompanyId,
    /// Their keys.
    pub keys: Vec<Uuid>,
}

/// The statements that tell all processes how far these ledgers have come.
pub(super) fn tell(advanced: impl IntoIterator<Item = Advanced>) -> String {
    let mut statements = String::new();
    let mut payload = String::new();
    let mut send = |payload: &mut String| {
        if !payload.is_empty() {
            // Identifiers and numbers need no quoting, and writing to a String can't fail.
            let _ = write!(statements, "SELECT pg_notify('{CHANNEL}', 'at{payload}'); ");
            payload.clear();
        }
    };
    for advanced in advanced {
        let item = format!(" {advanced}");
        if "at".len() + payload.len() + item.len() > MAX_PAYLOAD {
            send(&mut payload);
        }
        payload.push_str(&item);
    }
    send(&mut payload);
    statements
}

/// The statements that tell all processes which rows were put right.
pub fn tell_put_right(PutRight { projection, company, keys }: &PutRight) -> String {
    let mut statements = String::new();
    for keys in keys.chunks(KEYS_AT_ONCE) {
        let keys: Vec<String> = keys.iter().map(Uuid::to_string).collect();
        // Names and identifiers need no quoting, and writing to a String can't fail.
        let _ = write!(
            statements,
            "SELECT pg_notify('{CHANNEL}', 'put-right {projection} {} {}'); ",
            company.0,
            keys.join(" ")
        );
    }
    statements
}

/// What a process sends itself.
pub(super) fn nonce(process: Uuid, number: u64) -> String {
    format!("nonce {process} {number}")
}

/// What was told.
pub(super) enum Notice {
    Advanced(Vec<Advanced>),
    Nonce(Uuid, u64),
    PutRight(PutRight),
}

impl Notice {
    /// What a payload says; `None` where it is of another release, perhaps.
    pub fn parse(payload: &str) -> Option<Self> {
        let mut words = payload.split(' ');
        match words.next()? {
            "at" => words.map(Advanced::parse).collect::<Option<_>>().map(Self::Advanced),
            "nonce" => {
                let process = Uuid::from_str(words.next()?).ok()?;
                Some(Self::Nonce(process, words.next()?.parse().ok()?))
            }
            "put-right" => {
                let projection = words.next()?.to_owned();
                let company = CompanyId(Uuid::from_str(words.next()?).ok()?);
                let keys = words.map(|word| Uuid::from_str(word).ok()).collect::<Option<_>>()?;
                Some(Self::PutRight(PutRight { projection, company, keys }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn company(number: u128) -> CompanyId {
        CompanyId(Uuid::from_u128(number))
    }

    const fn point(position: u64, at: i64) -> Point {
        Point { position, recorded_at: Timestamp::from_micros(at) }
    }

    #[test]
    fn what_is_told_is_understood() {
        let kinds = Kinds { token: true, company: true, key: false };
        let last = point(7, 1_772_355_600_000_000);
        let ledgers = [
            Advanced { company: company(1), first: 5, last, kinds },
            Advanced { company: company(2), first: 9, last: point(9, -1), kinds: Kinds::ALL },
        ];
        let statement = tell(ledgers);
        let payload = statement.split('\'').nth(3).expect("a payload");
        let Some(Notice::Advanced(told)) = Notice::parse(payload) else { panic!("{payload}") };
        assert_eq!(told, ledgers);
        let rows = |keys: std::ops::Range<u128>| PutRight {
            projection: "tokens".to_owned(),
            company: company(1),
            keys: keys.map(Uuid::from_u128).collect(),
        };
        let statements = tell_put_right(&rows(0..300));
        let payloads: Vec<&str> = statements.split('\'').skip(3).step_by(4).collect();
        assert!(payloads.iter().all(|payload| payload.len() <= MAX_PAYLOAD));
        let told: Vec<PutRight> = payloads
            .iter()
            .filter_map(|payload| match Notice::parse(payload) {
                Some(Notice::PutRight(told)) => Some(told),
                _ => None,
            })
            .collect();
        assert_eq!(told, [rows(0..200), rows(200..300)]);
        for other in [
            "at 1",
            "at 00000000-0000-0000-0000-000000000001:7:1:t",
            "at 00000000-0000-0000-0000-000000000001:9223372036854775808:9223372036854775808:1:t",
            "else",
        ] {
            assert!(Notice::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn as_many_ledgers_as_there_are_fit_into_as_many_payloads_as_they_need() {
        const MOST: u64 = i64::MAX.unsigned_abs();
        let of = |number| {
            let last = point(MOST, i64::MIN);
            Advanced { company: company(number), first: MOST, last, kinds: Kinds::ALL }
        };
        let statements = tell((0..1_000).map(of));
        let payloads: Vec<&str> = statements.split('\'').skip(3).step_by(4).collect();
        assert!(payloads.iter().all(|payload| payload.len() <= MAX_PAYLOAD));
        let told = payloads.iter().map(|payload| match Notice::parse(payload) {
            Some(Notice::Advanced(told)) => told,
            _ => panic!("{payload}"),
        });
        assert_eq!(told.flatten().collect::<Vec<_>>(), (0..1_000).map(of).collect::<Vec<_>>());
    }

    #[test]
    fn what_follows_without_a_gap_is_told_as_one() {
        let (tokens, keys) = (Kinds::parse("t").expect("a kind"), Kinds::parse("k").expect("one"));
        let of = |first, last, kinds| Advanced {
            company: company(1),
            first,
            last: point(last, 0),
            kinds,
        };
        let together = of(3, 5, tokens).then(of(6, 8, keys));
        assert_eq!(together, of(3, 8, tokens.and(keys)));
        assert_eq!(of(3, 5, tokens).then(of(7, 8, keys)), of(7, 8, keys));
    }
}
