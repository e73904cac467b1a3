//! The rows of one projection that a transaction touches.

use crate::projection::Projection;
use std::collections::{BTreeSet, HashMap};
use token_ledger_domain::CompanyId;
use token_ledger_event_store::{Appended, StoreError};

/// A row's place: its company and its key there.
pub(crate) type Place<P> = (CompanyId, <P as Projection>::Key);

/// Rows, each after the events that were applied to it.
pub(crate) struct Touched<P: Projection> {
    rows: HashMap<Place<P>, TouchedRow<P::Row>>,
}

/// What became of a row.
pub(crate) struct TouchedRow<R> {
    /// The row; none where it is to be removed.
    pub row: Option<R>,
    /// Whether there is none in the database yet.
    pub is_new: bool,
}

impl<P: Projection> Default for Touched<P> {
    fn default() -> Self {
        Self { rows: HashMap::new() }
    }
}

impl<P: Projection> Touched<P> {
    /// Applies an event to its row, which is read first where the event doesn't begin it and it
    /// isn't here.
    ///
    /// # Errors
    /// When the row can't be read, or the event doesn't fit it.
    pub fn take(
        &mut self,
        event: &Appended,
        read: impl FnOnce(CompanyId, P::Key) -> Result<Option<P::Row>, StoreError>,
    ) -> Result<(), StoreError> {
        let Some(key) = P::key(event) else { return Ok(()) };
        let place = (event.company, key);
        let TouchedRow { row, is_new } = match self.rows.remove(&place) {
            Some(touched) => touched,
            None if P::begins(event) => TouchedRow { row: None, is_new: true },
            None => TouchedRow { row: read(event.company, key)?, is_new: false },
        };
        let row = P::apply(row, event).map_err(|misfit| misfit.at(event))?;
        self.rows.insert(place, TouchedRow { row, is_new });
        Ok(())
    }

    /// The rows that these events need to be read before they are applied, in order.
    pub fn wanted(&self, events: &[Appended]) -> BTreeSet<Place<P>> {
        let mut seen = BTreeSet::new();
        let mut wanted = BTreeSet::new();
        for event in events {
            let Some(key) = P::key(event) else { continue };
            let place = (event.company, key);
            // Only what comes first asks for the row.
            if !self.rows.contains_key(&place) && seen.insert(place) && !P::begins(event) {
                wanted.insert(place);
            }
        }
        wanted
    }

    /// Takes in a row as it was read.
    pub fn hold(&mut self, company: CompanyId, row: P::Row) {
        let place = (company, P::row_key(&row));
        self.rows.insert(place, TouchedRow { row: Some(row), is_new: false });
    }

    /// All of them, with their places.
    pub fn iter(&self) -> impl Iterator<Item = (&Place<P>, &TouchedRow<P::Row>)> {
        self.rows.iter()
    }

    /// Those that are there.
    pub fn rows(&self) -> impl Iterator<Item = &P::Row> {
        self.rows.values().filter_map(|touched| touched.row.as_ref())
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.rows.clear();
    }
}
