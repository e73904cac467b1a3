//! `token-ledger verify`

mod chain;
mod erasures;
mod finding;
mod kept;
mod ledger;
mod marks;
mod snapshots;
mod tree;

use super::options::Logs;
use super::{Failure, answer, company_id, open, printable};
use crate::app::App;
use crate::app::erasure::People;
use crate::config::Settings;
use crate::evidence::note::VerifierKey;
use crate::plural::counted;
use clap::Args;
use finding::{Finding, Stop};
use kept::{Kept, KeptEntries};
use ledger::Ledger;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::StoreError;
use token_ledger_event_store::sqlite::Access;
use token_ledger_projections::survey::{Owner, SurveyedHead};

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
        let mut report = Report::default();
        self.read_ledgers(&app, &kept, &entries, &mut report).await?;
        self.find_headless(&app, &mut report).await?;
        self.find_lost(&app, &mut report).await?;
        for Kept { company, file, statement, .. } in &kept {
            let owner = Owner::Company(*company);
            if report.knows(&owner) {
                continue;
            }
            let (file, size) = (file.display(), statement.size);
            let problem = format!(
                "there is no such ledger, but the checkpoint in {file} speaks of {size} entries"
            );
            report.finds(owner, Finding::new(0, problem))?;
        }
        match self.company {
            Some(company) if !report.knows(&Owner::Company(company)) => {
                Err(Failure::Failed(format!("there is no company {company}")))
            }
            _ => report.end(),
        }
    }

    /// Whether this company's rows are to be verified.
    fn is_about(&self, owner: &Owner) -> bool {
        self.company.is_none_or(|company| *owner == Owner::Company(company))
    }

    /// Reads every ledger that has a head.
    async fn read_ledgers(
        &self,
        app: &App,
        kept: &[Kept],
        entries: &[Arc<KeptEntries>],
        report: &mut Report,
    ) -> Result<(), Failure> {
        let operators = match app.operators().await {
            // Their own ledger's finding says what.
            Err(StoreError::Unreadable(_) | StoreError::Corrupt { .. }) => People::default(),
            operators => operators?,
        };
        // Checkpoints never pass the heads, so they are read first.
        let checkpoints = app.survey.checkpoints().await?;
        for SurveyedHead { owner, position } in app.survey.heads().await? {
            if !self.is_about(&owner) {
                continue;
            }
            let company = match (&owner, position) {
                (Owner::Unreadable(_), _) => {
                    report.finds(owner, Finding::new(0, "a head of no company"))?;
                    continue;
                }
                (_, Err(problem)) => {
                    let problem = format!("its head can't be read: {problem}");
                    report.finds(owner, Finding::new(0, problem))?;
                    continue;
                }
                // A transaction that refuses what would have been its first event may leave one.
                (_, Ok(0)) if !app.is_only_writer() => continue,
                (_, Ok(0)) => {
                    report.finds(owner, Finding::new(0, "a head of no events"))?;
                    continue;
                }
                (Owner::Company(company), Ok(_)) => *company,
            };
            let ledger = Ledger {
                app,
                company,
                kept,
                entries: entries.iter().find(|entries| entries.company == company),
                key: self.key.as_ref(),
                operators: &operators,
            };
            match ledger.verify(&checkpoints).await {
                Ok(events) => report.is_in_order(owner, events),
                Err(Stop::Found(finding)) => report.finds(owner, finding)?,
                Err(Stop::Failed(failure)) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Looks for rows of companies that have no ledger.
    async fn find_headless(&self, app: &App, report: &mut Report) -> Result<(), Failure> {
        let mut headless: BTreeMap<Owner, Vec<&str>> = BTreeMap::new();
        for (owner, table) in app.survey.owners().await? {
            if self.is_about(&owner) && !report.knows(&owner) {
                headless.entry(owner).or_default().push(table);
            }
        }
        for (owner, tables) in headless {
            // Those that were registered meanwhile have a head by now.
            if let Owner::Company(company) = owner
                && app.store().head(company).await?.is_some()
            {
                continue;
            }
            let problem = format!("its ledger has no head, but rows in {}", tables.join(", "));
            report.finds(owner, Finding::new(0, problem))?;
        }
        Ok(())
    }

    /// Looks for ledgers that are gone, though a checkpoint of them is kept outside the database.
    async fn find_lost(&self, app: &App, report: &mut Report) -> Result<(), Failure> {
        for company in app.evidence.outside_companies()? {
            let owner = Owner::Company(company);
            if !self.is_about(&owner)
                || report.knows(&owner)
                // It may have been registered meanwhile.
                || app.store().head(company).await?.is_some()
            {
                continue;
            }
            match marks::outside(app, company, None) {
                Ok(Some(mark)) => {
                    let problem = format!(
                        "there is no such ledger, but {} speaks of {} entries",
                        mark.source, mark.size
                    );
                    report.finds(owner, Finding::new(0, problem))?;
                }
                Ok(None) => {}
                Err(Stop::Found(finding)) => report.finds(owner, finding)?,
                Err(Stop::Failed(failure)) => return Err(failure),
            }
        }
        Ok(())
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Report {
    /// Whose ledgers were looked at.
    ledgers: BTreeSet<Owner>,
    /// Those that are not in order.
    wrong: BTreeSet<Owner>,
    /// The events of those that are.
    events: u64,
}

impl Report {
    fn knows(&self, owner: &Owner) -> bool {
        self.ledgers.contains(owner)
    }

    fn is_in_order(&mut self, owner: Owner, events: u64) {
        self.ledgers.insert(owner);
        self.events += events;
    }

    /// Says what was found.
    fn finds(&mut self, owner: Owner, finding: Finding) -> Result<(), Failure> {
        let Finding { position, problem } = finding;
        answer(&printable(&format!("company {owner}, position {position}: {problem}")))?;
        self.wrong.insert(owner.clone());
        self.ledgers.insert(owner);
        Ok(())
    }

    fn end(self) -> Result<(), Failure> {
        let Self { ledgers, wrong, events } = self;
        let all = counted(ledgers.len() as u64, "ledger");
        if wrong.is_empty() {
            return answer(&format!("{all}, {}: all in order", counted(events, "event")));
        }
        let are = if wrong.len() == 1 { "is" } else { "are" };
        answer(&format!("{} of {all} {are} not in order", wrong.len()))?;
        Err(Failure::Silent)
    }
}
