//! `token-ledger verify`

mod chain;
mod erasures;
mod kept;
mod marks;
mod snapshots;
mod tree;

use super::options::Logs;
use super::{Failure, answer, companies, company_id, open};
use crate::app::App;
use crate::app::erasure::People;
use crate::config::Settings;
use crate::evidence::note::VerifierKey;
use chain::Chain;
use clap::Args;
use erasures::Erasures;
use kept::{Kept, KeptEntries};
use std::path::PathBuf;
use std::sync::Arc;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::sqlite::Access;
use token_ledger_event_store::{Head, RecordedEvent, StoreError, StoredPrivate};
use token_ledger_projections::read_models::Checkpoint;
use tree::Tree;

/// Events that are read at a time.
const PAGE: usize = 5_000;
/// Companies that are listed at a time.
const COMPANIES: usize = 1_000;

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// One company only: its identifier, or `platform`
    #[arg(long, value_name = "ID", value_parser = company_id)]
    company: Option<CompanyId>,
    /// A checkpoint that was kept from earlier: the ledger must still be what it was signed for.
    /// Repeatable
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// The key that the kept checkpoints were signed with, in note form; the log's own unless given
    #[arg(long, value_name = "VKEY")]
    key: Option<VerifierKey>,
    /// All entries of a log that were kept from earlier, its bundles one after the other: where the
    /// ledger is not what a checkpoint was signed for, they tell the exact position. Repeatable
    #[arg(long, value_name = "FILE")]
    entries: Vec<PathBuf>,
    #[command(flatten)]
    logs: Logs,
}

impl Verify {
    pub(super) const fn logs(&self) -> &Logs {
        &self.logs
    }

    pub(super) async fn run(self, settings: &Settings) -> Result<(), Failure> {
        settings.expect_evidence_dir()?;
        let kept: Vec<Kept> =
            self.checkpoints.iter().cloned().map(Kept::read).collect::<Result<_, _>>()?;
        if let Some((company, other)) = self.company.and_then(|company| {
            kept.iter().find(|kept| kept.company != company).map(|kept| (company, kept))
        }) {
            return Err(Failure::Usage(format!(
                "the checkpoint in {} is of the company {}, but only {company} is to be verified",
                other.file.display(),
                other.company
            )));
        }
        let entries: Vec<Arc<KeptEntries>> = self
            .entries
            .iter()
            .map(|file| KeptEntries::read(file).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let app = open(settings, Access::Read, false).await?;
        app.evidence.know_seed();
        let operators = app.operators().await?;
        // Checkpoints never pass the heads, so they are read first.
        let checkpoints = app.read.checkpoints().await?;
        let mut wrong = 0_u64;
        let mut events = 0;
        let companies = companies(&app, self.company).await?;
        for company in &companies {
            let ledger = Ledger {
                app: &app,
                company: *company,
                kept: &kept,
                entries: entries.iter().find(|entries| entries.company == *company),
                key: self.key.as_ref(),
                operators: &operators,
            };
            match ledger.verify(&checkpoints).await? {
                Ok(count) => events += count,
                Err(Finding { position, problem }) => {
                    wrong += 1;
                    answer(&format!("company {company}, position {position}: {problem}"))?;
                }
            }
        }
        if self.company.is_none() {
            for company in headless(&app, &companies).await? {
                wrong += 1;
                answer(&format!("company {company}, position 0: its ledger has no head"))?;
            }
        }
        for Kept { company, file, statement, .. } in
            kept.iter().filter(|kept| !companies.contains(&kept.company))
        {
            wrong += 1;
            let (file, size) = (file.display(), statement.size);
            answer(&format!(
                "company {company}, position 0: there is no such ledger, but the checkpoint in \
                 {file} speaks of {size} entries"
            ))?;
        }
        if wrong > 0 {
            answer(&format!("{wrong} of {} ledgers are not in order", companies.len()))?;
            return Err(Failure::Silent);
        }
        answer(&format!("{} ledgers, {events} events: all in order", companies.len()))
    }
}

/// The first thing that is wrong with a ledger.
#[derive(Debug)]
struct Finding {
    position: u64,
    problem: String,
}

impl Finding {
    fn at<T>(position: u64, problem: impl Into<String>) -> Result<T, Self> {
        Err(Self { position, problem: problem.into() })
    }
}

/// What verifying one ledger takes.
struct Ledger<'a> {
    app: &'a App,
    company: CompanyId,
    kept: &'a [Kept],
    entries: Option<&'a Arc<KeptEntries>>,
    key: Option<&'a VerifierKey>,
    operators: &'a People,
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
    /// Reads a company's ledger up to its head; answers how many events it has, or what is wrong.
    async fn verify(&self, checkpoints: &[Checkpoint]) -> Result<Result<u64, Finding>, Failure> {
        let (app, company) = (self.app, self.company);
        // Neither tree nor checkpoints pass the head, so they are read first.
        let marks = match marks::marks(app, company, self.kept, self.key).await? {
            Ok(marks) => marks,
            Err(finding) => return Ok(Err(finding)),
        };
        let stored = app.evidence.trees().size(company).await?;
        let Some(head) = app.store().head(company).await? else {
            return Ok(Finding::at(0, "its ledger has no head"));
        };
        let mut reading = Reading {
            chain: Chain::new(company, Erasures::new(self.operators.clone())),
            tree: Tree::new(stored.min(head.position), marks, self.entries.cloned()),
        };
        let mut next = self.stretch(0, head.position).await?;
        while reading.chain.position < head.position {
            let stretch = match next {
                Ok(stretch) => stretch,
                Err(finding) => return Ok(Err(finding)),
            };
            let Some(last) = stretch.events.last().map(|event| event.position) else {
                let problem =
                    format!("the event is missing; the head says that there are {}", head.position);
                return Ok(Finding::at(reading.chain.position + 1, problem));
            };
            // The next ones are read while these are checked.
            let check = tokio::task::spawn_blocking(move || {
                let taken = reading.take(&stretch);
                (reading, taken)
            });
            let (checked, following) = tokio::join!(check, self.stretch(last, head.position));
            let (checked, taken) =
                checked.map_err(|error| Failure::Failed(format!("it broke off: {error}")))?;
            if let Err(finding) = taken {
                return Ok(Err(finding));
            }
            reading = checked;
            if let Err(finding) = reading.tree.compare(app, company).await? {
                return Ok(Err(finding));
            }
            next = following?;
        }
        let Reading { mut chain, tree } = reading;
        if !chain.accounts_for_all() {
            self.learn_erasures(&mut chain).await?;
        }
        if let Some(finding) = self.behind_head(&head).await? {
            return Ok(Err(finding));
        }
        if let Err(finding) = tree.end() {
            return Ok(Err(finding));
        }
        self.verify_rest(&head, &chain, checkpoints).await
    }

    /// Takes in erasures that were recorded while the ledger was read.
    async fn learn_erasures(&self, chain: &mut Chain) -> Result<(), Failure> {
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

    /// An event that stands behind the head.
    async fn behind_head(&self, head: &Head) -> Result<Option<Finding>, Failure> {
        let (app, company) = (self.app, self.company);
        let behind = app.store().read(company, head.position, 1).await?;
        let Some(event) = behind.first() else { return Ok(None) };
        // It may have been appended meanwhile, then the head has moved with it.
        let moved = app.store().head(company).await?.map_or(0, |head| head.position);
        Ok((moved < event.position).then(|| Finding {
            position: event.position,
            problem: format!("an event behind the ledger's head, which is at {moved}"),
        }))
    }

    /// What stands beside the events: the head, snapshots and how far projections claim to be.
    async fn verify_rest(
        &self,
        head: &Head,
        chain: &Chain,
        checkpoints: &[Checkpoint],
    ) -> Result<Result<u64, Finding>, Failure> {
        let (app, company) = (self.app, self.company);
        if let Err(finding) = chain.end(head) {
            return Ok(Err(finding));
        }
        if let Err(finding) = snapshots::verify(app, company, chain).await? {
            return Ok(Err(finding));
        }
        let ahead =
            checkpoints.iter().find(|it| it.company_id == company && it.position > head.position);
        if let Some(Checkpoint { projection, position, .. }) = ahead {
            let problem = format!(
                "the projection {projection} claims to have come to {position}, but the ledger \
                 ends at {}; `token-ledger replay` puts it right",
                head.position
            );
            return Ok(Finding::at(*position, problem));
        }
        Ok(Ok(head.position))
    }

    /// The next events, with their private parts.
    async fn stretch(&self, after: u64, head: u64) -> Result<Result<Stretch, Finding>, Failure> {
        let events = match read(self.app, self.company, after, head).await? {
            Ok(events) => events,
            Err(finding) => return Ok(Err(finding)),
        };
        let Some(last) = events.last().map(|event| event.position) else {
            return Ok(Ok(Stretch { events, parts: Vec::new() }));
        };
        let found = match self.app.store().private_range(self.company, after, last).await {
            Ok(found) => found,
            Err(StoreError::Rejected(_) | StoreError::Corrupt { .. }) => {
                match self.unreadable_part(&events).await? {
                    Some(finding) => return Ok(Err(finding)),
                    // It could be read the second time.
                    None => return Box::pin(self.stretch(after, head)).await,
                }
            }
            Err(error) => return Err(error.into()),
        };
        let mut found = found.into_iter().peekable();
        let parts = events.iter().map(|event| {
            while found.next_if(|(position, _)| *position < event.position).is_some() {}
            found.next_if(|(position, _)| *position == event.position).map(|(_, part)| part)
        });
        let parts = parts.collect();
        Ok(Ok(Stretch { events, parts }))
    }

    /// The first private part among those of some events that can't be read.
    async fn unreadable_part(&self, events: &[RecordedEvent]) -> Result<Option<Finding>, Failure> {
        for event in events {
            let position = event.position;
            match self.app.store().private_parts(self.company, &[position]).await {
                Ok(_) => {}
                Err(StoreError::Rejected(problem) | StoreError::Corrupt { problem, .. }) => {
                    let problem = format!("the private part can't be read: {problem}");
                    return Ok(Some(Finding { position, problem }));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

/// The next events. Where a page can't be read, the first event that can't is looked for.
async fn read(
    app: &App,
    company: CompanyId,
    after: u64,
    head: u64,
) -> Result<Result<Vec<RecordedEvent>, Finding>, StoreError> {
    match app.store().read(company, after, PAGE).await {
        Ok(mut page) => {
            page.retain(|event| event.position <= head);
            Ok(Ok(page))
        }
        Err(StoreError::Rejected(_) | StoreError::Corrupt { .. }) => {
            match app.store().read(company, after, 1).await {
                Ok(page) => Ok(Ok(page)),
                Err(StoreError::Rejected(problem) | StoreError::Corrupt { problem, .. }) => {
                    Ok(Finding::at(after + 1, format!("the event can't be read: {problem}")))
                }
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Companies that have rows but no ledger.
async fn headless(app: &App, known: &[CompanyId]) -> Result<Vec<CompanyId>, Failure> {
    let mut missing = Vec::new();
    let mut after = None;
    loop {
        let page = app.read.companies(after, COMPANIES).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.company_id);
        missing.extend(
            page.iter()
                .map(|row| row.company_id)
                // The list of heads is in the order of the identifiers.
                .filter(|company| known.binary_search(company).is_err()),
        );
    }
    // Those that were registered meanwhile have a head by now.
    let mut headless = Vec::new();
    for company in missing {
        if app.store().head(company).await?.is_none() {
            headless.push(company);
        }
    }
    Ok(headless)
}
