//! What processes tell each other through the database's channel.

use std::str::FromStr;
use token_ledger_domain::CompanyId;
use uuid::Uuid;

/// The channel.
pub(super) const CHANNEL: &str = "token_ledger";
/// Identifiers that one payload names, of 37 bytes each: PostgreSQL takes less than 8000.
const IDS_AT_ONCE: usize = 200;

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

/// The statements by which a process tells the others that it has brought these ledgers further.
pub(super) fn moved(process: Uuid, ledgers: &[CompanyId]) -> String {
    let ids = |ledgers: &[CompanyId]| joined(ledgers.iter().map(|company| &company.0));
    let payloads = ledgers.chunks(IDS_AT_ONCE).map(|some| format!("moved {process} {}", ids(some)));
    payloads.map(statement).collect()
}

/// The statements that tell all processes which rows were put right.
pub fn tell_put_right(PutRight { projection, company, keys }: &PutRight) -> String {
    let rows = format!("put-right {projection} {}", company.0);
    let payloads = keys.chunks(IDS_AT_ONCE).map(|keys| format!("{rows} {}", joined(keys.iter())));
    payloads.map(statement).collect()
}

fn joined<'i>(ids: impl Iterator<Item = &'i Uuid>) -> String {
    ids.map(Uuid::to_string).collect::<Vec<_>>().join(" ")
}

/// Sends a payload of names and identifiers, which need no quoting.
#[allow(clippy::needless_pass_by_value, reason = "made to be sent")]
fn statement(payload: String) -> String {
    format!("SELECT pg_notify('{CHANNEL}', '{payload}'); ")
}

/// What a process sends itself.
pub(super) fn nonce(id: Uuid) -> String {
    format!("nonce {id}")
}

/// What was told.
pub(super) enum Notice {
    /// The process has brought these ledgers further.
    Moved(Uuid, Vec<CompanyId>),
    Nonce(Uuid),
    PutRight(PutRight),
}

impl Notice {
    /// What a payload says; `None` where it is of another release, perhaps.
    pub fn parse(payload: &str) -> Option<Self> {
        let mut words = payload.split(' ');
        match words.next()? {
            "moved" => {
                let process = Uuid::from_str(words.next()?).ok()?;
                let ledgers = words.map(|word| Uuid::from_str(word).ok().map(CompanyId));
                Some(Self::Moved(process, ledgers.collect::<Option<_>>()?))
            }
            "nonce" => Uuid::from_str(words.next()?).ok().map(Self::Nonce),
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

    /// What the statements tell, which PostgreSQL must take.
    fn told(statements: &str) -> Vec<Notice> {
        let payloads: Vec<&str> = statements.split('\'').skip(3).step_by(4).collect();
        assert!(payloads.iter().all(|payload| payload.len() < 8_000));
        payloads.iter().map(|payload| Notice::parse(payload).expect("a notice")).collect()
    }

    #[test]
    fn what_is_told_is_understood() {
        let process = Uuid::from_u128(7);
        let ledgers: Vec<CompanyId> = (0..300).map(|n| CompanyId(Uuid::from_u128(n))).collect();
        let told_of = told(&moved(process, &ledgers));
        assert_eq!(told_of.len(), 2);
        let together = told_of.into_iter().flat_map(|notice| match notice {
            Notice::Moved(sender, ledgers) if sender == process => ledgers,
            _ => Vec::new(),
        });
        assert_eq!(together.collect::<Vec<_>>(), ledgers);

        let rows = |keys: std::ops::Range<u128>| PutRight {
            projection: "tokens".to_owned(),
            company: CompanyId(Uuid::from_u128(1)),
            keys: keys.map(Uuid::from_u128).collect(),
        };
        let put_right =
            told(&tell_put_right(&rows(0..300))).into_iter().map(|notice| match notice {
                Notice::PutRight(rows) => Some(rows),
                _ => None,
            });
        assert_eq!(put_right.collect::<Vec<_>>(), [Some(rows(0..200)), Some(rows(200..300))]);
        for other in ["moved", "moved 1", "moved 00000000-0000-0000-0000-000000000001 1", "else"] {
            assert!(Notice::parse(other).is_none(), "{other}");
        }
    }
}
