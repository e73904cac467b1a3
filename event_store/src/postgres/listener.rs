//! What other processes commit, as PostgreSQL's notifications tell it.
//!
//! Every append transaction notifies; the server hands notifications out in the order of the
//! commits. Each process also sends itself a nonce through the same channel, several times a
//! second, and where somebody waits for it: when it comes back, everything that was committed before it
//! was sent has been told.

use super::database::connect;
use super::errors::failed;
use super::lent::confirm_primary;
use crate::clock::{CorrectedClock, Moment};
use crate::error::StoreError;
use crate::record::Point;
use parking_lot::Mutex;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::query::QueryScalar;
use sqlx::{PgConnection, Postgres};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::{CompanyId, Timestamp};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

/// The channel.
pub(super) const CHANNEL: &str = "token_ledger";
/// How long a payload may be, in bytes: PostgreSQL takes less than 8000.
const MAX_PAYLOAD: usize = 7900;
/// Keys that one payload names, of 37 bytes each.
const KEYS_AT_ONCE: usize = 200;
/// How often a nonce is sent.
const NONCE_EVERY: Duration = Duration::from_millis(250);
/// How soon one nonce follows another where somebody waits for it: each is a transaction of its own.
const NONCE_GAP: Duration = Duration::from_millis(20);
/// How long a nonce may be on its way before the connections are given up.
const NONCE_TIMEOUT: Duration = Duration::from_secs(2);
/// Changes that a slow follower may lag behind before it has to compare the heads.
const CHANGES_KEPT: usize = 8192;
/// The pauses between attempts to listen again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Measurements of the clocks' difference of which the one that took least time counts.
const MEASUREMENTS: usize = 8;
/// How far two clocks may drift apart while these are made, in microseconds.
const DRIFT: i64 = 2_000;

const SEND_NONCE: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
    FROM pg_notify($1, $2)";
/// Nobody is told, and a standby answers it too.
const ASK_TIME: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

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

/// What a follower of all ledgers has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A company's ledger has come to this position, or further.
    Advanced {
        /// The company.
        company: CompanyId,
        /// Its last event.
        last: Point,
        /// What the events are about that were just recorded.
        kinds: Kinds,
    },
    /// Everything that was committed before this moment has been told before this.
    Current(Moment),
    /// Rows of a projection were put right, which no event has changed.
    PutRight(Arc<PutRight>),
    /// Something may have been missed: compare all heads. So does a receiver that lagged.
    Resync,
}

/// Which rows were put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRight {
    /// The projection's name.
    pub projection: String,
    /// The company whose rows they are.
    pub company: CompanyId,
    /// Their keys.
    pub keys: Vec<Uuid>,
}

/// What the listener shares with the database's users.
#[derive(Debug)]
pub(super) struct Told {
    pub changes: broadcast::Sender<Change>,
    pub freshness: watch::Sender<Option<Moment>>,
    pub news: watch::Sender<u64>,
    pub clock: Arc<CorrectedClock>,
    /// Somebody waits for the next nonce.
    pub hurried: Notify,
}

impl Told {
    pub fn new() -> Self {
        Self {
            changes: broadcast::channel(CHANGES_KEPT).0,
            freshness: watch::channel(None).0,
            news: watch::channel(0).0,
            clock: Arc::new(CorrectedClock::default()),
            hurried: Notify::new(),
        }
    }

    fn tell(&self, change: Change) {
        let (current, is_news) = match &change {
            Change::Current(sent) => (Some(*sent), false),
            Change::Advanced { .. } | Change::Resync => (None, true),
            Change::PutRight(_) => (None, false),
        };
        // Nobody may be following.
        let _ = self.changes.send(change);
        if current.is_some() {
            self.freshness.send_replace(current);
        }
        if is_news {
            self.news.send_modify(|count| *count += 1);
        }
    }
}

/// What tells all processes how far a ledger has come.
pub(super) fn advanced(company: CompanyId, last: Point, kinds: Kinds) -> String {
    format!("at{}", item(company, last, kinds))
}

fn item(company: CompanyId, last: Point, kinds: Kinds) -> String {
    format!(" {}:{}:{}:{kinds}", company.0, last.position, last.recorded_at.as_micros())
}

/// The statements that tell all processes how far these ledgers have come.
pub(super) fn tell(advanced: &[(CompanyId, Point, Kinds)]) -> String {
    let mut statements = String::new();
    let mut payload = String::new();
    let mut send = |payload: &mut String| {
        if !payload.is_empty() {
            // Identifiers and numbers need no quoting, and writing to a String can't fail.
            let _ = write!(statements, "SELECT pg_notify('{CHANNEL}', 'at{payload}'); ");
            payload.clear();
        }
    };
    for (company, last, kinds) in advanced {
        let item = item(*company, *last, *kinds);
        if payload.len() + item.len() > MAX_PAYLOAD {
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

/// A nonce that has not come back yet.
struct Nonce {
    number: u64,
    sent: Moment,
}

/// Listens for as long as the process lives, whatever happens to the connections.
pub(super) async fn run(options: PgConnectOptions, told: Arc<Told>, process: Uuid) {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let error = listen(&options, &told, process).await;
        if began.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        tracing::warn!(%error, "listening to the database again");
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Listens until something fails.
async fn listen(options: &PgConnectOptions, told: &Told, process: Uuid) -> StoreError {
    let waiting = Mutex::new(VecDeque::new());
    let listening = async {
        let mut listener = start(options).await?;
        let mut sender = connect(options).await.map_err(failed)?;
        // Whatever is committed from here on is told; what was before, the heads tell.
        told.tell(Change::Resync);
        tokio::try_join!(
            receive(&mut listener, told, process, &waiting),
            send_nonces(&mut sender, told, process, &waiting),
        )?;
        Ok(())
    };
    match listening.await {
        Ok(()) => StoreError::Closed,
        Err(error) => error,
    }
}

async fn start(options: &PgConnectOptions) -> Result<PgListener, StoreError> {
    let starting = async {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(options.clone())
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    };
    tokio::time::timeout(2 * NONCE_TIMEOUT, starting)
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        .map_err(failed)
}

async fn receive(
    listener: &mut PgListener,
    told: &Told,
    process: Uuid,
    waiting: &Mutex<VecDeque<Nonce>>,
) -> Result<(), StoreError> {
    while let Some(notification) = listener.try_recv().await.map_err(failed)? {
        match Notice::parse(notification.payload()) {
            Some(Notice::Advanced(companies)) => {
                for (company, last, kinds) in companies {
                    told.tell(Change::Advanced { company, last, kinds });
                }
            }
            Some(Notice::Nonce(sender, number)) if sender == process => {
                let mut waiting = waiting.lock();
                waiting.retain(|nonce| nonce.number >= number);
                if let Some(nonce) = waiting.pop_front() {
                    told.tell(Change::Current(nonce.sent));
                }
            }
            Some(Notice::Nonce(..)) => {}
            Some(Notice::PutRight(rows)) => told.tell(Change::PutRight(Arc::new(rows))),
            // Of another release, perhaps: something has happened.
            None => told.tell(Change::Resync),
        }
    }
    Err(StoreError::Unavailable("the connection that listens was closed".to_owned()))
}

enum Notice {
    Advanced(Vec<(CompanyId, Point, Kinds)>),
    Nonce(Uuid, u64),
    PutRight(PutRight),
}

impl Notice {
    fn parse(payload: &str) -> Option<Self> {
        let mut words = payload.split(' ');
        match words.next()? {
            "at" => words
                .map(|word| {
                    let mut parts = word.split(':');
                    let company = CompanyId(Uuid::from_str(parts.next()?).ok()?);
                    let position = parts.next()?.parse().ok()?;
                    let recorded_at = Timestamp::from_micros(parts.next()?.parse().ok()?);
                    let kinds = Kinds::parse(parts.next()?)?;
                    Some((company, Point { position, recorded_at }, kinds))
                })
                .collect::<Option<_>>()
                .map(Self::Advanced),
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

async fn send_nonces(
    connection: &mut PgConnection,
    Told { clock, hurried, .. }: &Told,
    process: Uuid,
    waiting: &Mutex<VecDeque<Nonce>>,
) -> Result<(), StoreError> {
    let silent = || StoreError::Unavailable("its notifications don't arrive".to_owned());
    let mut ticks = tokio::time::interval(NONCE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut measured = Measurements::default();
    let mut last = Instant::now();
    for number in 0.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = hurried.notified() => tokio::time::sleep_until(last + NONCE_GAP).await,
        }
        last = Instant::now();
        let sent = Moment::now();
        {
            let mut waiting = waiting.lock();
            if waiting.front().is_some_and(|oldest: &Nonce| oldest.sent.elapsed() > NONCE_TIMEOUT) {
                return Err(silent());
            }
            waiting.push_back(Nonce { number, sent });
        }
        let payload = format!("nonce {process} {number}");
        let nonce = sqlx::query_scalar(SEND_NONCE).bind(CHANNEL).bind(payload);
        let sending = async {
            confirm_primary(connection).await?;
            measure(connection, clock, nonce).await
        };
        let measurement =
            tokio::time::timeout(NONCE_TIMEOUT, sending).await.map_err(|_| silent())??;
        clock.set(measured.add(measurement));
    }
    Ok(())
}

/// How far the database's clock is ahead of the steady one, in microseconds.
#[derive(Clone, Copy)]
struct Measurement {
    offset: i64,
    /// How long it took: the offset is right within half of it.
    took: i64,
}

/// Measures with a query that answers the database's time.
async fn measure(
    connection: &mut PgConnection,
    clock: &CorrectedClock,
    time: QueryScalar<'_, Postgres, i64, PgArguments>,
) -> Result<Measurement, StoreError> {
    let before = clock.steady_micros();
    let database = time.fetch_one(connection).await.map_err(failed)?;
    let took = clock.steady_micros() - before;
    Ok(Measurement { offset: database - (before + took / 2), took })
}

/// Sets the clock right before anything is done by it.
pub(super) async fn set_clock(
    connection: &mut PgConnection,
    clock: &CorrectedClock,
) -> Result<(), StoreError> {
    let mut measured = Measurements::default();
    for _ in 0..3 {
        let measurement = measure(connection, clock, sqlx::query_scalar(ASK_TIME)).await?;
        clock.set(measured.add(measurement));
    }
    Ok(())
}

/// The last few measurements.
#[derive(Default)]
struct Measurements(VecDeque<Measurement>);

impl Measurement {
    /// Whether both can be right. Where not, the database's clock was set in between.
    const fn agrees_with(&self, other: &Self) -> bool {
        let apart = self.offset.abs_diff(other.offset);
        apart <= (self.took / 2 + other.took / 2 + DRIFT).unsigned_abs()
    }
}

impl Measurements {
    /// The offset by the measurement that took least time, of those since the clock was set.
    fn add(&mut self, measurement: Measurement) -> i64 {
        self.0.retain(|earlier| earlier.agrees_with(&measurement));
        self.0.push_back(measurement);
        if self.0.len() > MEASUREMENTS {
            self.0.pop_front();
        }
        self.0.iter().min_by_key(|one| one.took).map_or(0, |best| best.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        let company = |number| CompanyId(Uuid::from_u128(number));
        let kinds = Kinds { token: true, company: true, key: false };
        let point = |position, at| Point { position, recorded_at: Timestamp::from_micros(at) };
        let ledgers = [
            (company(1), point(7, 1_772_355_600_000_000), kinds),
            (company(2), point(9, -1), Kinds::ALL),
        ];
        let statement = tell(&ledgers);
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
        for other in ["at 1", "at 00000000-0000-0000-0000-000000000001:7:t", "else"] {
            assert!(Notice::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn the_quickest_measurement_counts_until_the_clock_is_set() {
        let mut measured = Measurements::default();
        assert_eq!(measured.add(Measurement { offset: 100, took: 400 }), 100);
        assert_eq!(measured.add(Measurement { offset: 5_000, took: 20_000 }), 100);
        assert_eq!(measured.add(Measurement { offset: 3_000_100, took: 9_000 }), 3_000_100);
        assert_eq!(measured.add(Measurement { offset: 3_000_300, took: 500 }), 3_000_300);
    }
}
