//! How far this process has heard that all ledgers have come.
//!
//! What other processes tell may be lost. Whether anything is missing, the heads themselves say: the
//! database adds them up by the last byte of the company's identifier, and only where a sum isn't that
//! of what was heard, the heads are read.

use super::errors::failed;
use super::lent::CONFIRM;
use super::read::number;
use crate::error::StoreError;
use crate::record::Point;
use parking_lot::Mutex;
use sqlx::postgres::PgRow;
use sqlx::{Executor, PgConnection, Row};
use std::collections::{BTreeMap, HashMap};
use token_ledger_domain::{CompanyId, Timestamp};

const SUMS: &str = "SELECT get_byte(uuid_send(company_id), 15), sum(last_position)::text, \
    sum(last_recorded_at)::text FROM company_heads WHERE last_position > 0 GROUP BY 1";
const HEADS: &str = "SELECT company_id, last_position, last_recorded_at FROM company_heads \
    WHERE last_position > 0 AND get_byte(uuid_send(company_id), 15) = ANY($1)";

/// The last byte of a company's identifier, as PostgreSQL has it.
type Ending = i32;
type Heads = HashMap<CompanyId, Point>;

fn ending(company: CompanyId) -> Ending {
    company.0.as_bytes().last().copied().map_or(0, Ending::from)
}

/// Positions and times of heads, added up. None is heard of before it is so, and on one server heads
/// only move forward: where the sums are equal, so are the heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    positions: i128,
    times: i128,
}

impl Sum {
    fn add(&mut self, head: Point) {
        self.positions += i128::from(head.position);
        self.times += i128::from(head.recorded_at.as_micros());
    }

    fn subtract(&mut self, head: Point) {
        self.positions -= i128::from(head.position);
        self.times -= i128::from(head.recorded_at.as_micros());
    }

    fn from_row(row: &PgRow) -> Result<Self, StoreError> {
        Ok(Self { positions: large_number(row, 1)?, times: large_number(row, 2)? })
    }
}

fn large_number(row: &PgRow, column: usize) -> Result<i128, StoreError> {
    let text: &str = row.try_get(column).map_err(failed)?;
    text.parse().map_err(|_| StoreError::Rejected(format!("{text:?} is no sum of heads")))
}

/// Heads of companies whose identifiers end alike.
#[derive(Debug, Default)]
struct Bucket {
    heads: Heads,
    sum: Sum,
}

/// The heads as far as was heard.
#[derive(Debug, Default)]
pub(super) struct Heard(BTreeMap<Ending, Bucket>);

impl Heard {
    /// A ledger has come that far. Whether that is news.
    pub fn advance(&mut self, company: CompanyId, last: Point) -> bool {
        let is_news = self.get(company).is_none_or(|head| head.position < last.position);
        if is_news {
            self.put(company, last);
        }
        is_news
    }

    fn get(&self, company: CompanyId) -> Option<Point> {
        self.0.get(&ending(company))?.heads.get(&company).copied()
    }

    fn put(&mut self, company: CompanyId, head: Point) {
        let Bucket { heads, sum } = self.0.entry(ending(company)).or_default();
        sum.add(head);
        if let Some(before) = heads.insert(company, head) {
            sum.subtract(before);
        }
    }

    fn remove(&mut self, company: CompanyId) {
        if let Some(Bucket { heads, sum }) = self.0.get_mut(&ending(company))
            && let Some(head) = heads.remove(&company)
        {
            sum.subtract(head);
        }
    }

    fn sums(&self) -> BTreeMap<Ending, Sum> {
        self.0.iter().map(|(ending, bucket)| (*ending, bucket.sum)).collect()
    }

    fn heads(&self, endings: &[Ending]) -> Heads {
        let buckets = endings.iter().filter_map(|ending| self.0.get(ending));
        buckets.flat_map(|bucket| &bucket.heads).map(|(company, head)| (*company, *head)).collect()
    }

    /// Heads were read. Answers what is news, or `None` where a ledger is not what it was: it may have
    /// been put back.
    pub fn take(
        &mut self,
        Reading { mut before, read }: Reading,
    ) -> Option<Vec<(CompanyId, Point)>> {
        let mut news = Vec::new();
        let mut is_put_back = false;
        for (company, last) in read {
            match before.remove(&company) {
                Some(heard) if heard == last => {}
                Some(heard) if heard.position >= last.position => {
                    self.put(company, last);
                    is_put_back = true;
                }
                _ => news.extend(self.advance(company, last).then_some((company, last))),
            }
        }
        for company in before.into_keys() {
            self.remove(company);
            is_put_back = true;
        }
        (!is_put_back).then_some(news)
    }
}

/// What was heard of heads before they were read, and what was read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    before: Heads,
    read: Heads,
}

impl Reading {
    /// Reads the heads that may be others than was heard, from a primary that is known to be one still.
    /// With what has changed of them, everything has been heard that was committed before this began.
    ///
    /// # Errors
    /// When the connection fails, or a head can't be read.
    pub async fn of(
        connection: &mut PgConnection,
        heard: &Mutex<Heard>,
    ) -> Result<Self, StoreError> {
        let mut sums = heard.lock().sums();
        let mut differing = Vec::new();
        // In one round trip, so that what is far away is known in time.
        let both = format!("{SUMS}; {CONFIRM}");
        let rows = connection.fetch_all(both.as_str()).await.map_err(failed)?;
        for row in rows.iter().filter(|row| row.len() > 1) {
            let ending = row.try_get(0).map_err(failed)?;
            if sums.remove(&ending).unwrap_or_default() != Sum::from_row(row)? {
                differing.push(ending);
            }
        }
        let is_some = |(_, sum): &(_, Sum)| *sum != Sum::default();
        differing.extend(sums.into_iter().filter(is_some).map(|(ending, _)| ending));
        if differing.is_empty() {
            return Ok(Self::default());
        }
        let before = heard.lock().heads(&differing);
        let rows = sqlx::query(HEADS).bind(&differing).fetch_all(connection).await;
        let read = rows.map_err(failed)?;
        let read = read.iter().map(|row| {
            let recorded_at = Timestamp::from_micros(row.try_get(2).map_err(failed)?);
            let company = CompanyId(row.try_get(0).map_err(failed)?);
            Ok((company, Point { position: number(row, 1)?, recorded_at }))
        });
        Ok(Self { before, read: read.collect::<Result<_, StoreError>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::database::{Config, Database};
    use super::*;
    use sqlx::Connection;
    use token_ledger_test_cluster::TestDatabase;
    use uuid::Uuid;

    const COMPANY: CompanyId = CompanyId(Uuid::from_u128(1));
    const OTHER: CompanyId = CompanyId(Uuid::from_u128(0x101));

    const fn point(position: u64) -> Point {
        Point { position, recorded_at: Timestamp::from_micros(1_000 + position.cast_signed()) }
    }

    fn heard(position: u64) -> Heard {
        let mut heard = Heard::default();
        heard.put(COMPANY, point(position));
        heard.put(OTHER, point(1));
        heard
    }

    /// Reads the company's head and the other one's, while nothing else is heard.
    fn read(heard: &mut Heard, last: Option<Point>) -> Option<Vec<(CompanyId, Point)>> {
        let before = heard.heads(&[1]);
        let read = last.map(|last| (COMPANY, last)).into_iter().chain([(OTHER, point(1))]);
        heard.take(Reading { before, read: read.collect() })
    }

    #[test]
    fn what_is_known_already_is_no_news() {
        let mut heard = heard(7);
        assert!(heard.advance(COMPANY, point(9)));
        assert!(!heard.advance(COMPANY, point(9)) && !heard.advance(COMPANY, point(8)));
        assert!(heard.advance(COMPANY, point(10)));
    }

    #[test]
    fn heads_that_have_moved_are_news() {
        let mut heard = heard(7);
        assert_eq!(read(&mut heard, Some(point(7))), Some(Vec::new()));
        assert_eq!(read(&mut heard, Some(point(9))), Some(vec![(COMPANY, point(9))]));
        assert_eq!(read(&mut heard, Some(point(9))), Some(Vec::new()));
    }

    #[test]
    fn what_is_heard_while_heads_are_read_is_no_ledger_put_back() {
        let mut heard = heard(7);
        let before = heard.heads(&[1]);
        heard.advance(COMPANY, point(9));
        let read = Heads::from([(COMPANY, point(8)), (OTHER, point(1))]);
        assert_eq!(heard.take(Reading { before, read }), Some(Vec::new()));
        assert_eq!(heard.get(COMPANY), Some(point(9)));
    }

    #[test]
    fn a_head_that_goes_back_is_noticed() {
        let other_time = Point { recorded_at: Timestamp::from_micros(1), ..point(7) };
        for head in [Some(point(6)), Some(other_time), None] {
            let mut heard = heard(7);
            assert_eq!(read(&mut heard, head), None, "{head:?}");
            assert_eq!(read(&mut heard, head), Some(Vec::new()), "what is so from now on");
        }
    }

    #[test]
    fn sums_are_those_of_the_heads() {
        let mut heard = heard(7);
        heard.advance(COMPANY, point(9));
        heard.remove(OTHER);
        let mut sum = Sum::default();
        sum.add(point(9));
        assert_eq!(heard.sums(), BTreeMap::from([(1, sum)]));
        heard.remove(COMPANY);
        assert_eq!(heard.sums(), BTreeMap::from([(1, Sum::default())]));
    }

    #[tokio::test]
    async fn the_database_adds_up_the_same_sums() {
        let place = TestDatabase::fresh().await;
        Database::connect(Config::new(place.url())).await.expect("a ledger");
        let mut connection = PgConnection::connect(&place.url()).await.expect("a connection");
        let heads = "INSERT INTO company_heads \
            SELECT gen_random_uuid(), n, 1772355600000000 + n, 0 FROM generate_series(1, 1000) AS n \
            UNION ALL SELECT gen_random_uuid(), 0, -9223372036854775808, 0 FROM generate_series(1, 3)";
        connection.execute(heads).await.expect("heads");
        let heard = Mutex::new(Heard::default());
        let mut look = async || {
            let reading = Reading::of(&mut connection, &heard).await.expect("heads");
            let read = reading.read.len();
            (read, heard.lock().take(reading).expect("none went back").len())
        };
        assert_eq!(look().await, (1_000, 1_000), "not those of ledgers without an event");
        assert_eq!(look().await, (0, 0), "no head is read that is known");
    }
}
