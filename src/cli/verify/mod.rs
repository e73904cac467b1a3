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
use super::{Failure, answer, company_id, open, printable, tell};
use crate::app::App;
use crate::app::erasure::Memberships;
use crate::config::Settings;
use crate::evidence::note::VerifierKey;
use crate::plural::counted;
use clap::Args;
use finding::{Finding, Stop};
use kept::{Kept, KeptEntries};
use ledger::Ledger;
use marks::{Aside, Sources};
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
        if let Err(error) = app.evidence.know_seed() {
            tell(&format!("warning: the seed of the logs' keys can't be used: {error}"));
        }
        for kept in &kept {
            let own = marks::own_key(&app, kept.company);
            let own = own.filter(|own| own.origin() == kept.statement.origin);
            if let Some(key) = self.key.as_ref().or(own.as_ref()) {
                kept.check(key)?;
            }
        }
        let mut report = Report::default();
        for difference in app.survey.schema_differences().await? {
            report.finds_in_schema(&difference)?;
        }
        let sources = Sources {
            kept: &kept,
            key: self.key.as_ref(),
            is_folder_named: settings.evidence_dir.is_some(),
        };
        self.read_ledgers(&app, sources, &entries, &mut report).await?;
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
            _ => {
                report.tell_aside(&app);
                report.end()
            }
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
        sources: Sources<'_>,
        entries: &[Arc<KeptEntries>],
        report: &mut Report,
    ) -> Result<(), Failure> {
        let operators = match app.operators().await {
            // Their own ledger's finding says what.
            Err(StoreError::Unreadable(_) | StoreError::Corrupt { .. }) => Memberships::default(),
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
                sources,
                entries: entries.iter().find(|entries| entries.company == company),
                operators: &operators,
            };
            match ledger.verify(&checkpoints).await {
                Ok((events, aside)) => report.is_in_order(owner, events, aside),
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
            match marks::outside(app, company, marks::own_key(app, company).as_ref()) {
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
    /// How many of those that are were compared with nothing from outside the database.
    uncompared: u64,
    /// The names of the logs that the database says were signed for these.
    signed: BTreeSet<String>,
    /// Stored checkpoints that are signed with keys that are not known here, by the logs' name.
    strange: BTreeMap<String, u64>,
    /// Whether the database guards the events no more, or does something else besides.
    is_schema_wrong: bool,
}

impl Report {
    fn knows(&self, owner: &Owner) -> bool {
        self.ledgers.contains(owner)
    }

    fn is_in_order(&mut self, owner: Owner, events: u64, aside: Aside) {
        self.ledgers.insert(owner);
        self.events += events;
        if !aside.is_compared {
            self.uncompared += 1;
            self.signed.extend(aside.signed);
        }
        for (log, count) in aside.strange {
            *self.strange.entry(log).or_default() += count;
        }
    }

    /// Tells what an auditor should know, also where all is in order.
    fn tell_aside(&self, app: &App) {
        for (log, count) in &self.strange {
            let checkpoints = counted(*count, "stored checkpoint");
            let (verb, they) =
                if *count == 1 { ("is", "it proves") } else { ("are", "they prove") };
            tell(&printable(&format!(
                "warning: {checkpoints} of the log {log} {verb} signed with a key that is not \
                 known here, so that {they} nothing: give the log's key with --key, or the folder \
                 with the seed of its keys with --evidence-dir"
            )));
        }
        if self.uncompared == 0 {
            return;
        }
        let (name, folder) = (app.evidence.log_name(), app.evidence.outside().folder());
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let folder = folder.display();
        let mut others = self.signed.iter().filter(|other| *other != name).peekable();
        let others = if others.peek().is_none() {
            String::new()
        } else {
            let others: Vec<&str> = others.map(String::as_str).collect();
            format!("; the database also has logs of the name {}", others.join(", "))
        };
        // Nothing was signed of these yet, where others' are there.
        let is_early = !self.signed.contains(name)
            && app.evidence.outside_companies().is_ok_and(|kept| !kept.is_empty());
        let advice = if is_early {
            format!("None of theirs is kept in {folder} yet: the service signs one when it runs")
        } else {
            format!(
                "None of a log of the name {name} is kept in {folder}{others}. Give the folder in \
                 which the service keeps them with --evidence-dir and its logs' name with \
                 --log-name, or a checkpoint that somebody else has kept with --checkpoint"
            )
        };
        tell(&printable(&format!(
            "warning: no checkpoint from outside the database was compared for {}, so that it is \
             not known whether what is stored there is what was signed. {advice}",
            counted(self.uncompared, "company")
        )));
    }

    /// Says what was found.
    fn finds(&mut self, owner: Owner, finding: Finding) -> Result<(), Failure> {
        let Finding { position, problem } = finding;
        answer(&printable(&format!("company {owner}, position {position}: {problem}")))?;
        self.wrong.insert(owner.clone());
        self.ledgers.insert(owner);
        Ok(())
    }

    /// Says what is not as it was made: the events may be in order all the same.
    fn finds_in_schema(&mut self, difference: &str) -> Result<(), Failure> {
        self.is_schema_wrong = true;
        answer(&printable(&format!("the database's schema: {difference}")))
    }

    fn end(self) -> Result<(), Failure> {
        let Self { ledgers, wrong, events, uncompared, is_schema_wrong, .. } = self;
        let all = counted(ledgers.len() as u64, "ledger");
        if wrong.is_empty() {
            let but = if is_schema_wrong { ", but not the database's schema" } else { "" };
            answer(&format!("{all}, {}: all in order{but}", counted(events, "event")))?;
            if uncompared > 0 {
                answer(&format!(
                    "no checkpoint from outside the database was compared for {uncompared} of them"
                ))?;
            }
            return if is_schema_wrong { Err(Failure::Silent) } else { Ok(()) };
        }
        let are = if wrong.len() == 1 { "is" } else { "are" };
        answer(&format!("{} of {all} {are} not in order", wrong.len()))?;
        Err(Failure::Silent)
    }
}
