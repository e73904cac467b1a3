//! One ledger, read from its first event to its head, with all that stands beside it.

use super::chain::Chain;
use super::erasures::Erasures;
use super::finding::{Finding, Stop};
use super::kept::KeptEntries;
use super::marks::{self, Aside, Marks, Sources};
use super::tree::{self, Tree};
use super::{Failure, snapshots};
use crate::app::App;
use crate::app::erasure::Memberships;
use std::sync::Arc;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::{Head, RecordedEvent, StoreError, StoredPrivate};
use token_ledger_projections::survey::{Owner, SurveyedCheckpoint};
use token_ledger_projections::tree::TREE_NAME;
use token_ledger_projections::{AuditTrail, Projection};

/// Events that are read at a time.
const PAGE: usize = 5_000;

/// What verifying one ledger takes.
pub(super) struct Ledger<'a> {
    pub(super) app: &'a App,
    pub(super) company: CompanyId,
    pub(super) sources: Sources<'a>,
    pub(super) entries: Option<&'a Arc<KeptEntries>>,
    pub(super) operators: &'a Memberships,
}

/// Events with their private parts.
struct Stretch {
    events: Vec<RecordedEvent>,
    parts: Vec<Option<StoredPrivate>>,
}

/// A ledger as far as it has been read: its events and its tree.
struct Reading {
    chain: Chain,
    tree: Tree,
}

impl Reading {
    fn take(&mut self, stretch: &Stretch) -> Result<(), Finding> {
        for (event, part) in stretch.events.iter().zip(&stretch.parts) {
            self.chain.take(event, part.as_ref())?;
            self.tree.take(event);
        }
        Ok(())
    }
}

impl Ledger<'_> {
    /// Reads a company's ledger up to its head; answers how many events it has, and what else is
    /// worth knowing.
    pub(super) async fn verify(
        &self,
        checkpoints: &[SurveyedCheckpoint],
    ) -> Result<(u64, Aside), Stop> {
        let (app, company) = (self.app, self.company);
        if let Some(stray) = app.survey.before_first(company).await? {
            return Err(Finding::before_first(stray).into());
        }
        // Neither tree nor checkpoints pass the head, so they are read first.
        let Marks { marks, aside } = marks::marks(app, company, self.sources).await?;
        let stored = app.evidence.trees().size(company).await;
        let stored = stored.map_err(Stop::unreadable("how far the stored tree has come"))?;
        let Some(head) = app.store().head(company).await? else {
            return Err(Finding::new(0, "its ledger has no head").into());
        };
        let mut reading = Reading {
            chain: Chain::new(company, Erasures::new(self.operators.clone())),
            tree: Tree::new(stored.min(head.position), marks, self.entries.cloned()),
        };
        let mut next = self.stretch(0, head.position).await;
        while reading.chain.position < head.position {
            let stretch = next?;
            let Some(last) = stretch.events.last().map(|event| event.position) else {
                let problem =
                    format!("the event is missing; the head says that there are {}", head.position);
                return Err(Finding::new(reading.chain.position + 1, problem).into());
            };
            // The next ones are read while these are checked.
            let check = tokio::task::spawn_blocking(move || {
                let taken = reading.take(&stretch);
                (reading, taken)
            });
            let (checked, following) = tokio::join!(check, self.stretch(last, head.position));
            let (checked, taken) =
                checked.map_err(|error| Failure::Failed(format!("it broke off: {error}")))?;
            taken?;
            reading = checked;
            reading.tree.compare(app, company).await?;
            next = following;
        }
        let Reading { mut chain, tree } = reading;
        if !chain.accounts_for_all() {
            self.learn_erasures(&mut chain).await?;
        }
        self.behind_head(&head).await?;
        tree.end()?;
        self.verify_rest(&head, &chain, checkpoints).await?;
        Ok((head.position, aside))
    }

    /// Takes in erasures that were recorded while the ledger was read.
    async fn learn_erasures(&self, chain: &mut Chain) -> Result<(), Stop> {
        let mut after = chain.position;
        loop {
            let page = self.app.store().read(self.company, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.position;
            for event in &page {
                // What can't be decoded is not for this reading to find.
                if let Ok(decoded) = event.decode() {
                    chain.learn_since(&decoded);
                }
            }
        }
    }

    /// Looks for an event that stands behind the head.
    async fn behind_head(&self, head: &Head) -> Result<(), Stop> {
        let (app, company) = (self.app, self.company);
        let behind = app.store().read(company, head.position, 1).await?;
        let Some(event) = behind.first() else { return Ok(()) };
        // It may have been appended meanwhile, then the head has moved with it.
        let moved = app.store().head(company).await?.map_or(0, |head| head.position);
        if moved >= event.position {
            return Ok(());
        }
        let problem = format!("an event behind the ledger's head, which is at {moved}");
        Err(Finding::new(event.position, problem).into())
    }

    /// What stands beside the events: the head, snapshots and how far projections claim to be.
    async fn verify_rest(
        &self,
        head: &Head,
        chain: &Chain,
        checkpoints: &[SurveyedCheckpoint],
    ) -> Result<(), Stop> {
        let (app, company) = (self.app, self.company);
        chain.end(head)?;
        if let Some(stray) = app.survey.part_behind_head(company).await? {
            return Err(Finding::behind_head(stray).into());
        }
        snapshots::verify(app, company, chain).await?;
        for SurveyedCheckpoint { owner, place } in checkpoints {
            if *owner != Owner::Company(company) {
                continue;
            }
            let (projection, position) = match place {
                Ok(place) => place,
                Err(problem) => {
                    let problem = format!("a projection's place can't be read: {problem}");
                    return Err(Finding::new(0, problem).into());
                }
            };
            let is_one = [AuditTrail::NAME, TREE_NAME].contains(&projection.as_str());
            if is_one && *position <= head.position {
                continue;
            }
            let problem = if is_one {
                format!(
                    "the projection {projection} claims to have come to {position}, but the \
                     ledger ends at {}; `token-ledger replay --projection {projection}` puts it \
                     right",
                    head.position
                )
            } else {
                format!(
                    "the projection {projection} claims to have come to {position}, but no such \
                     projection has a place of its own: remove its row from the table checkpoints"
                )
            };
            return Err(Finding::new(*position, problem).into());
        }
        tree::find_stray_tile(app, company).await
    }

    /// The next events, with their private parts.
    async fn stretch(&self, after: u64, head: u64) -> Result<Stretch, Stop> {
        let events = self.events(after, head).await?;
        let Some(last) = events.last().map(|event| event.position) else {
            return Ok(Stretch { events, parts: Vec::new() });
        };
        let found = match self.app.store().private_range(self.company, after, last).await {
            Err(StoreError::Unreadable(_) | StoreError::Corrupt { .. }) => {
                self.find_unreadable_part(&events).await?;
                // It may be readable the second time.
                let again = self.app.store().private_range(self.company, after, last).await;
                again.map_err(Stop::unreadable("a private part"))?
            }
            found => found?,
        };
        let mut found = found.into_iter().peekable();
        let parts = events.iter().map(|event| {
            while found.next_if(|(position, _)| *position < event.position).is_some() {}
            found.next_if(|(position, _)| *position == event.position).map(|(_, part)| part)
        });
        let parts = parts.collect();
        Ok(Stretch { events, parts })
    }

    /// Looks for the first private part among those of some events that can't be read.
    async fn find_unreadable_part(&self, events: &[RecordedEvent]) -> Result<(), Stop> {
        for event in events {
            let position = event.position;
            match self.app.store().private_parts(self.company, &[position]).await {
                Err(StoreError::Unreadable(problem) | StoreError::Corrupt { problem, .. }) => {
                    let problem = format!("the private part can't be read: {problem}");
                    return Err(Finding::new(position, problem).into());
                }
                read => drop(read?),
            }
        }
        Ok(())
    }

    /// The next events. Where a page can't be read, the first event that can't is looked for.
    async fn events(&self, after: u64, head: u64) -> Result<Vec<RecordedEvent>, Stop> {
        let store = self.app.store();
        match store.read(self.company, after, PAGE).await {
            Err(StoreError::Unreadable(_) | StoreError::Corrupt { .. }) => {}
            page => {
                let mut page = page?;
                page.retain(|event| event.position <= head);
                return Ok(page);
            }
        }
        match store.read(self.company, after, 1).await {
            Err(StoreError::Unreadable(problem) | StoreError::Corrupt { problem, .. }) => {
                let problem = format!("the event can't be read: {problem}");
                Err(Finding::new(after + 1, problem).into())
            }
            page => Ok(page?),
        }
    }
}
