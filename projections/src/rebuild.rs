//! Rebuilding projections from the events: beside the live rows, then compared or merged.
//!
//! Events are read in pages, folded into staging rows outside the live database, and then, range
//! by range, caught up with the ledger and held against the live rows within one short
//! transaction, so that neither readers nor writers wait for long and no difference is an accident
//! of timing.

mod difference;

pub use difference::{Difference, Held};

use crate::tokens::TokenRow;
use crate::tree::TREE_NAME;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::StoreError;
use uuid::Uuid;

/// Events that are read and folded at a time.
pub const PAGE: usize = 8_000;
/// Rows that are compared or merged in one transaction.
pub const RANGE: usize = 2_000;

/// What to rebuild, and what to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The projections, by name.
    pub projections: Vec<&'static str>,
    /// One company only.
    pub company: Option<CompanyId>,
    /// Whether live rows that differ are put right, and projections behind the log brought to its
    /// end, or differences only reported.
    pub merge: bool,
}

/// What a rebuild came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Events that were read.
    pub events: u64,
    /// Rows that were compared, or written where there were none yet.
    pub rows: u64,
    /// Events that a projection behind the log had not come to: taken in when merging, and not
    /// compared otherwise.
    pub behind: u64,
    /// Rows that differed: put right when merging.
    pub differences: u64,
    /// The first of the differences; none where each was told.
    pub examples: Vec<Difference>,
}

/// Differences that are kept as examples where nobody is told of each.
pub const MAX_EXAMPLES: usize = 1000;

impl Outcome {
    /// Counts a difference. It is kept until it is told.
    pub fn differs(&mut self, difference: Difference) {
        self.differences += 1;
        self.examples.push(difference);
    }

    /// Tells the differences that were found since the last time: those of one range of rows.
    pub(crate) fn tell(&mut self, tell: &mut OnDifference<'_>) -> std::io::Result<()> {
        self.examples.drain(..).try_for_each(tell)
    }
}

/// Told each difference, a range of rows at a time.
pub type OnDifference<'a> = dyn FnMut(Difference) -> std::io::Result<()> + Send + 'a;

/// Told how far a rebuild has come: events read and events there are.
pub type OnProgress<'a> = dyn Fn(u64, u64) + Send + Sync + 'a;

/// Whoever can rebuild the read models of one database.
#[async_trait::async_trait]
pub trait Rebuilder: Send + Sync {
    /// Rebuilds projections, and either puts the live rows right or only compares them. `id` keeps
    /// scratch files of one machine apart.
    ///
    /// # Errors
    /// When an event can't be understood, a database can't be read or written, and what `tell`
    /// answers.
    async fn rebuild_telling(
        &self,
        plan: &Plan,
        id: Uuid,
        progress: &OnProgress<'_>,
        tell: &mut OnDifference<'_>,
    ) -> Result<Outcome, RebuildError>;

    /// As [`Self::rebuild_telling`], with the first differences as examples.
    ///
    /// # Errors
    /// As for [`Self::rebuild_telling`].
    async fn rebuild(
        &self,
        plan: &Plan,
        id: Uuid,
        progress: &OnProgress<'_>,
    ) -> Result<Outcome, RebuildError> {
        let mut examples = Vec::new();
        let mut keep = |difference| {
            if examples.len() < MAX_EXAMPLES {
                examples.push(difference);
            }
            Ok(())
        };
        let outcome = self.rebuild_telling(plan, id, progress, &mut keep).await?;
        Ok(Outcome { examples, ..outcome })
    }

    /// Folds a company's tokens as of a time and hands them over page by page, in the order of
    /// their identifiers.
    ///
    /// # Errors
    /// As for [`Self::rebuild`], and what `take` answers.
    async fn tokens_until(
        &self,
        company: CompanyId,
        until: Timestamp,
        id: Uuid,
        progress: &OnProgress<'_>,
        take: &mut (dyn FnMut(Vec<TokenRow>) -> std::io::Result<()> + Send),
    ) -> Result<(), RebuildError>;
}

/// Why a rebuild stopped.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// A projection of this name does not exist.
    #[error(
        "there is no projection {0:?}; there are {known}, all of these as `all`, and {tree}",
        known = ALL.join(", "),
        tree = TREE_NAME
    )]
    Unknown(String),
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] StoreError),
    /// Nobody took the rows.
    #[error("the rows can't be written: {0}")]
    Output(#[from] std::io::Error),
    /// The staging rows could not be kept.
    #[error("the staging rows can't be kept: {0}")]
    Staging(String),
}

/// The names of all projections, in the order in which they are rebuilt.
pub const ALL: [&str; 6] = ["companies", "members", "clients", "keys", "tokens", "audit"];

/// The projections of this name; all for `all`.
///
/// # Errors
/// When there is none.
pub fn named(name: &str) -> Result<Vec<&'static str>, RebuildError> {
    if name == "all" {
        return Ok(ALL.to_vec());
    }
    ALL.iter()
        .find(|known| **known == name)
        .map(|known| vec![*known])
        .ok_or_else(|| RebuildError::Unknown(name.to_owned()))
}

/// How far a projection has come whose checkpoint can't be read: beyond every end, so that all rows
/// are due, and it is put right.
pub(crate) const UNREADABLE: u64 = u64::MAX;

/// A checkpoint, or [`UNREADABLE`].
pub(crate) fn readable(checkpoint: Result<u64, StoreError>) -> Result<u64, StoreError> {
    match checkpoint {
        Err(StoreError::Unreadable(_)) => Ok(UNREADABLE),
        read => read,
    }
}

/// Fails where one of the events is missing that follow a position: a token whose deletion is lost
/// would be good again.
pub(crate) fn without_gaps(
    company: CompanyId,
    after: u64,
    positions: impl Iterator<Item = u64>,
) -> Result<(), StoreError> {
    match (after + 1..).zip(positions).find(|(expected, found)| expected != found) {
        Some((position, _)) => Err(missing(company, position)),
        None => Ok(()),
    }
}

/// Fails where events are missing at the end, which the head knows of.
pub(crate) fn to_the_head(company: CompanyId, position: u64, head: u64) -> Result<(), StoreError> {
    if position < head { Err(missing(company, position + 1)) } else { Ok(()) }
}

fn missing(company: CompanyId, position: u64) -> StoreError {
    let problem = "the event is missing, and nothing is rebuilt without it".to_owned();
    StoreError::Corrupt { company, position, problem }
}

/// Something with its key.
pub(crate) type Keyed<K, T> = (K, T);
/// A row, or why it can't be read.
pub(crate) type Readable<R> = Result<R, String>;

/// Whether the row that is served is the one that the events give.
pub(crate) fn is_same<R: PartialEq>(rebuilt: Option<&R>, served: Option<&Readable<R>>) -> bool {
    match (rebuilt, served) {
        (None, None) => true,
        (Some(rebuilt), Some(Ok(served))) => rebuilt == served,
        _ => false,
    }
}

/// Cuts two ranges off behind the same key, since what lies beyond belongs to the next ranges;
/// answers that key where there may be more behind it.
pub(crate) fn cut<K: Copy + Ord, A, B>(
    ones: &mut Vec<Keyed<K, A>>,
    others: &mut Vec<Keyed<K, B>>,
) -> Option<K> {
    let end = last_of_full(ones).into_iter().chain(last_of_full(others)).min()?;
    ones.retain(|(key, _)| *key <= end);
    others.retain(|(key, _)| *key <= end);
    Some(end)
}

/// The last key of a range that is full, so that there may be more behind it.
fn last_of_full<K: Copy, T>(rows: &[Keyed<K, T>]) -> Option<K> {
    (rows.len() == RANGE).then(|| rows.last().map(|(key, _)| *key)).flatten()
}

/// What two lists have under the same key.
pub(crate) type Pair<K, A, B> = (K, Option<A>, Option<B>);

/// What has the same key side by side; both lists are in the order of their keys.
pub(crate) fn pair<K: Copy + Ord, A, B>(
    ones: Vec<Keyed<K, A>>,
    others: Vec<Keyed<K, B>>,
) -> Vec<Pair<K, A, B>> {
    let mut pairs = Vec::with_capacity(ones.len().max(others.len()));
    let mut ones = ones.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    loop {
        let next = [ones.peek().map(|(key, _)| *key), others.peek().map(|(key, _)| *key)];
        let Some(key) = next.into_iter().flatten().min() else { return pairs };
        let one = ones.next_if(|(own, _)| *own == key).map(|(_, one)| one);
        let other = others.next_if(|(own, _)| *own == key).map(|(_, other)| other);
        pairs.push((key, one, other));
    }
}
