//! Holding rebuilt rows against the live ones.

use super::behind::{checkpoint, set_checkpoint};
use super::failed;
use super::run::prepared;
use super::tables::SqliteTable;
use crate::index::VerificationIndex;
use crate::rebuild::{Difference, Keyed, Outcome, RANGE, Readable, is_same, readable};
use crate::sql::FromColumns;
use crate::touched::Touched;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql};
use std::collections::VecDeque;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::sqlite::decoded_page;
use token_ledger_event_store::{Appended, StoreError};

/// One projection that is being rebuilt.
pub(super) trait Staged: Send {
    /// Takes a company's next events into the staging rows.
    fn stage(
        &mut self,
        staging: &Connection,
        live: &Connection,
        company: CompanyId,
        events: &[Appended],
    ) -> Result<(), StoreError>;

    /// The companies that have live rows.
    fn companies(&self, live: &Connection) -> Result<Vec<CompanyId>, StoreError>;

    /// Holds the next range of a company's rows against the live ones; whether there may be more.
    fn compare(
        &mut self,
        staging: &Connection,
        live: &Connection,
        company: CompanyId,
        merge: bool,
        outcome: &mut Outcome,
    ) -> Result<bool, StoreError>;

    /// Tells the verification index of the rows that were put right, once that is durable.
    fn merged(&mut self, index: &VerificationIndex, company: CompanyId);
}

/// A rebuilt row and the live one of the same key.
type Pair<P> = (
    <P as crate::Projection>::Key,
    Option<<P as crate::Projection>::Row>,
    Option<Readable<<P as crate::Projection>::Row>>,
);

/// The pairs of a range that differ, and the last key of the range where there may be more.
type Differing<P> = (Vec<Pair<P>>, Option<<P as crate::Projection>::Key>);

/// A projection that runs with the log: its rows are staged, since many events lead to one.
pub(super) struct Stage<P: SqliteTable> {
    after: Option<P::Key>,
    merged: Vec<Keyed<P::Key, Option<P::Row>>>,
}

impl<P: SqliteTable> Stage<P> {
    pub(super) fn boxed() -> Box<dyn Staged> {
        Box::new(Self { after: None, merged: Vec::new() })
    }

    /// The rows of the next range that are not the same on both sides, and the last key of the
    /// range where there may be more behind it. Rows are compared as they are stored; only those
    /// that differ are read.
    fn differing(
        &self,
        staging: &Connection,
        live: &Connection,
        company: CompanyId,
        outcome: &mut Outcome,
    ) -> Result<Differing<P>, StoreError> {
        let mut ours = prepared(staging, &P::page(company, self.after, RANGE))?;
        let mut theirs = prepared(live, &P::page(company, self.after, RANGE))?;
        let (mut ours, mut theirs) = (ours.raw_query(), theirs.raw_query());
        let mut rebuilt = ours.next().map_err(failed)?;
        let mut served = theirs.next().map_err(failed)?;
        let (mut rebuilt_left, mut served_left) = (RANGE, RANGE);
        let mut differing = Vec::new();
        let mut last = None;
        // Both sides up to the same key: what lies beyond the end of a full one belongs to the
        // next range.
        while rebuilt_left > 0 && served_left > 0 {
            let rebuilt_key = rebuilt.map(P::key_of).transpose()?;
            let served_key = served.map(P::key_of).transpose()?;
            let Some(key) = rebuilt_key.into_iter().chain(served_key).min() else {
                return Ok((differing, None));
            };
            last = Some(key);
            let one = rebuilt.filter(|_| rebuilt_key == Some(key));
            let other = served.filter(|_| served_key == Some(key));
            let same = match (one, other) {
                (Some(one), Some(other)) => same_columns(one, other, P::COLUMNS.len())?,
                _ => false,
            };
            if !same {
                let one = one.map(P::Row::from_columns).transpose()?;
                differing.extend(pair::<P>(key, one, other));
            }
            if rebuilt_key == Some(key) {
                outcome.rows += 1;
                rebuilt_left -= 1;
                rebuilt = ours.next().map_err(failed)?;
            }
            if served_key == Some(key) {
                served_left -= 1;
                served = theirs.next().map_err(failed)?;
            }
        }
        Ok((differing, last))
    }
}

/// What both sides have under a key, if they don't mean the same.
fn pair<P: SqliteTable>(
    key: P::Key,
    rebuilt: Option<P::Row>,
    served: Option<&Row<'_>>,
) -> Option<Pair<P>> {
    let served = served.map(|row| P::Row::from_columns(row).map_err(|error| error.to_string()));
    (!is_same(rebuilt.as_ref(), served.as_ref())).then_some((key, rebuilt, served))
}

fn same_columns(one: &Row<'_>, other: &Row<'_>, count: usize) -> Result<bool, StoreError> {
    for column in 0..count {
        if one.get_ref(column).map_err(failed)? != other.get_ref(column).map_err(failed)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl<P: SqliteTable> Staged for Stage<P> {
    fn stage(
        &mut self,
        staging: &Connection,
        _live: &Connection,
        _company: CompanyId,
        events: &[Appended],
    ) -> Result<(), StoreError> {
        let mut touched = Touched::<P>::default();
        for event in events {
            touched.apply(staging, event)?;
        }
        touched.write(staging)
    }

    fn companies(&self, live: &Connection) -> Result<Vec<CompanyId>, StoreError> {
        P::companies(live)
    }

    fn compare(
        &mut self,
        staging: &Connection,
        live: &Connection,
        company: CompanyId,
        merge: bool,
        outcome: &mut Outcome,
    ) -> Result<bool, StoreError> {
        let (differing, end) = self.differing(staging, live, company, outcome)?;
        for pair in differing {
            if merge {
                self.merged.push((pair.0, pair.1.clone()));
            }
            settle::<P>(live, company, pair, merge, outcome)?;
        }
        self.after = end;
        Ok(end.is_some())
    }

    fn merged(&mut self, index: &VerificationIndex, company: CompanyId) {
        for (key, row) in self.merged.drain(..) {
            P::refresh(index, Some(company), key, row.as_ref());
        }
    }
}

/// A projection behind the log of which each event gives one row, by its position. The rows are
/// held against the live ones as the events are read, and none is staged; what differs, or has not
/// been due yet, is looked at again when ranges are compared. A merge brings it to the end of the log.
pub(super) struct Direct<P> {
    merge: bool,
    position: u64,
    suspect: VecDeque<(u64, u64)>,
    beyond: u64,
    /// Where the projection was when its rows were first compared.
    found: Option<u64>,
    /// Events whose rows were not compared: the projection had not come to them.
    left_out: u64,
    projection: std::marker::PhantomData<P>,
}

impl<P: SqliteTable<Key = u64>> Direct<P> {
    pub(super) fn boxed(merge: bool) -> Box<dyn Staged> {
        Box::new(Self::new(merge))
    }

    const fn new(merge: bool) -> Self {
        Self {
            merge,
            position: 0,
            suspect: VecDeque::new(),
            beyond: 0,
            found: None,
            left_out: 0,
            projection: std::marker::PhantomData,
        }
    }

    /// Up to where there should be rows: a projection has none yet of what it has not come to.
    const fn due(&self, reached: u64) -> u64 {
        if self.merge { u64::MAX } else { reached }
    }

    /// The rows up to a position that are not what the events behind `after` say, of which there
    /// should be rows up to `due`.
    fn differing(
        live: &Connection,
        company: CompanyId,
        (after, until): (u64, u64),
        events: &[Appended],
        due: u64,
    ) -> Result<Vec<Pair<P>>, StoreError> {
        // One more than there may be events: no event is at position 0, but a row may be.
        let page = P::page(company, (after > 0).then_some(after), RANGE + 1);
        let mut statement = prepared(live, &page)?;
        let mut rows = statement.raw_query();
        let mut served = rows.next().map_err(failed)?;
        let mut events = events.iter().peekable();
        let mut differing = Vec::new();
        loop {
            let served_key = served.map(P::key_of).transpose()?;
            let served_key = served_key.filter(|key| *key <= until);
            let event_key = events.peek().map(|event| event.position);
            let Some(key) = served_key.into_iter().chain(event_key).min() else {
                return Ok(differing);
            };
            let rebuilt = match events.next_if(|event| event.position == key) {
                Some(event) if event.position <= due => {
                    P::apply(None, event).map_err(|misfit| misfit.at(event))?
                }
                _ => None,
            };
            let served_row = served.filter(|_| served_key == Some(key));
            let same = match (&rebuilt, served_row) {
                (Some(rebuilt), Some(served)) => same_values::<P>(rebuilt, served)?,
                _ => false,
            };
            if !same {
                differing.extend(pair::<P>(key, rebuilt, served_row));
            }
            if served_key == Some(key) {
                served = rows.next().map_err(failed)?;
            }
        }
    }
}

/// Whether a row's columns hold just what this row would be stored as.
fn same_values<P: SqliteTable>(rebuilt: &P::Row, served: &Row<'_>) -> Result<bool, StoreError> {
    let mut column = 0;
    let mut same = Ok(true);
    P::values(rebuilt, &mut |value| {
        if matches!(same, Ok(true)) {
            same = served.get_ref(column).and_then(|served| Ok(is(&value.to_sql()?, served)));
        }
        column += 1;
    });
    same.map_err(failed)
}

fn is(value: &ToSqlOutput<'_>, stored: ValueRef<'_>) -> bool {
    match value {
        ToSqlOutput::Borrowed(value) => *value == stored,
        ToSqlOutput::Owned(value) => ValueRef::from(value) == stored,
        _ => false,
    }
}

impl<P: SqliteTable<Key = u64>> Direct<P> {
    /// Puts right, or only counts, what differs in a range: behind a position, up to another one;
    /// answers how many rows that are.
    fn settle_range(
        &mut self,
        live: &Connection,
        company: CompanyId,
        (after, until): (u64, u64),
        events: &[Appended],
        merge: bool,
        outcome: &mut Outcome,
    ) -> Result<usize, StoreError> {
        let reached = readable(checkpoint::<P>(live, company))?;
        self.found.get_or_insert(reached);
        let due = self.due(reached);
        let differing = Self::differing(live, company, (after, until), events, due)?;
        let count = differing.len();
        self.beyond = differing.last().map_or(self.beyond, |(key, ..)| *key);
        self.left_out += events.iter().filter(|event| event.position > due).count() as u64;
        for pair in differing {
            match &pair {
                (key, Some(row), None) if *key > reached => P::put(live, row)?,
                _ => settle::<P>(live, company, pair, merge, outcome)?,
            }
        }
        // With the rows: whoever follows the log would write them again.
        let there = self.position.min(until);
        if merge && there > reached {
            set_checkpoint::<P>(live, company, there)?;
        }
        Ok(count)
    }
}

impl<P: SqliteTable<Key = u64>> Staged for Direct<P> {
    fn stage(
        &mut self,
        _staging: &Connection,
        live: &Connection,
        company: CompanyId,
        events: &[Appended],
    ) -> Result<(), StoreError> {
        let due = self.due(readable(checkpoint::<P>(live, company))?);
        for events in events.chunks(RANGE) {
            let Some(last) = events.last().map(|event| event.position) else { continue };
            let range = (self.position, last);
            if last > due || !Self::differing(live, company, range, events, due)?.is_empty() {
                self.suspect.push_back(range);
            }
            self.position = last;
        }
        Ok(())
    }

    fn companies(&self, live: &Connection) -> Result<Vec<CompanyId>, StoreError> {
        P::companies(live)
    }

    fn compare(
        &mut self,
        _staging: &Connection,
        live: &Connection,
        company: CompanyId,
        merge: bool,
        outcome: &mut Outcome,
    ) -> Result<bool, StoreError> {
        // Together with what follows where that is little: writers add to it all the time.
        let mut looked_at = 0;
        while let Some((after, until)) = self.suspect.pop_front() {
            let most = usize::try_from(until - after).map_or(RANGE, |count| count.min(RANGE));
            let events = match decoded_page(live, company, after, most)? {
                (_, Some(error)) => return Err(error),
                (mut events, None) => {
                    events.retain(|event| event.position <= until);
                    events
                }
            };
            self.settle_range(live, company, (after, until), &events, merge, outcome)?;
            looked_at += events.len();
            if looked_at >= RANGE {
                return Ok(true);
            }
        }
        // Behind the last event there should be no row.
        let range = (self.position.max(self.beyond), u64::MAX);
        let strays = self.settle_range(live, company, range, &[], merge, outcome)?;
        if strays >= RANGE {
            return Ok(true);
        }
        let reached = readable(checkpoint::<P>(live, company))?;
        outcome.rows += self.position - self.left_out;
        outcome.behind += if merge {
            self.position.saturating_sub(self.found.unwrap_or(reached))
        } else {
            self.left_out
        };
        if reached > self.position {
            if merge {
                set_checkpoint::<P>(live, company, self.position)?;
            }
            outcome.differs(Difference::of_checkpoint::<P>(company, reached, self.position));
        }
        *self = Self::new(merge);
        Ok(false)
    }

    fn merged(&mut self, _: &VerificationIndex, _: CompanyId) {}
}

/// Counts a difference, and puts the live row right where that is wanted.
fn settle<P: SqliteTable>(
    live: &Connection,
    company: CompanyId,
    (key, rebuilt, served): Pair<P>,
    merge: bool,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    if merge {
        match &rebuilt {
            Some(row) => P::put(live, row)?,
            None => P::remove(live, company, key)?,
        }
    }
    outcome.differs(Difference::of::<P>(company, key, served, rebuilt));
    Ok(())
}
