//! `token-ledger replay`

use super::output::{Output, unwritten};
use super::progress::Progress;
use super::{Failure, answer, companies, company_id, open};
use crate::app::App;
use crate::app::view::TokenView;
use crate::config::Settings;
use crate::plural::counted;
use clap::Args;
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::StoreError;
use token_ledger_event_store::sqlite::Access;
use token_ledger_projections::read_models::TokenRecord;
use token_ledger_projections::rebuild::{Difference, Outcome, Plan, named};
use token_ledger_projections::tokens::TokenRow;
use token_ledger_projections::tree::TREE_NAME;

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The projection: tokens, keys, companies, members, clients, audit, or all of these; or tree
    #[arg(long, value_name = "NAME", default_value = "all")]
    projection: String,
    /// One company only: its identifier, or `platform`
    #[arg(long, value_name = "ID", value_parser = company_id)]
    company: Option<CompanyId>,
    /// Change nothing: rebuild beside the live rows, compare, and exit with 1 on any difference
    #[arg(long)]
    check: bool,
    /// Write the tokens as they were at this time instead, RFC 3339
    #[arg(long, value_name = "TIME", conflicts_with_all = ["check", "projection"])]
    until: Option<Timestamp>,
    /// Where to write the tokens, as NDJSON, and replace what is there once all is written; to
    /// stdout unless named
    #[arg(long, value_name = "FILE", requires = "until", conflicts_with = "check")]
    output: Option<PathBuf>,
}

impl Replay {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), Failure> {
        if let Some(until) = self.until {
            return self.tokens_until(settings, until).await;
        }
        if self.projection == TREE_NAME {
            return self.trees(settings).await;
        }
        let projections = named(&self.projection)?;
        let access = if self.check { Access::Read } else { Access::WriteUnmigrated };
        let app = open(settings, access, false).await?;
        companies(&app, self.company).await?;
        let plan = Plan { projections, company: self.company, merge: !self.check };
        let progress = Arc::new(Progress::new());
        let mut tell = |difference: Difference| {
            let said = progress.aside(|| writeln!(std::io::stdout().lock(), "{difference}"));
            // Rows are put right whether anybody listens or not; the report fails then.
            if self.check { said.map_err(|error| unwritten(&error)) } else { Ok(()) }
        };
        let showing = showing(&progress);
        let outcome = app.rebuild_as_planned(&plan, &showing, &mut tell).await;
        progress.end();
        self.report(&plan, &outcome?)
    }

    /// Builds the trees anew. What was signed stays, and is still held against them.
    async fn trees(&self, settings: &Settings) -> Result<(), Failure> {
        if self.check {
            let verify = "the stored trees are compared with the events by `token-ledger verify`";
            return Err(Failure::Usage(verify.to_owned()));
        }
        let app = open(settings, Access::WriteUnmigrated, false).await?;
        let companies = companies(&app, self.company).await?;
        let lengths = Lengths::of(&app).await?;
        let total = lengths.total(&companies);
        let progress = Progress::new();
        let mut entries = 0;
        for company in &companies {
            let reached = |size| progress.show(entries + size, total);
            let rebuilt = app.evidence.trees().rebuild(*company, &reached).await;
            entries += rebuilt.inspect_err(|_| progress.end())?;
        }
        progress.end();
        let trees = counted(companies.len() as u64, "tree");
        answer(&format!("rebuilt tree: {trees}, {}", counted(entries, "entry")))
    }

    fn report(&self, plan: &Plan, outcome: &Outcome) -> Result<(), Failure> {
        let Outcome { events, rows, behind, differences, .. } = outcome;
        let names = plan.projections.join(", ");
        let verb = if self.check { "compared" } else { "rebuilt" };
        let found = match (differences, self.check) {
            (0, true) => "all as the events say".to_owned(),
            (0, false) => "all were as the events say".to_owned(),
            (n, true) => counted(*n, "difference"),
            (n, false) => format!("{} put right", counted(*n, "difference")),
        };
        let (events, rows) = (counted(*events, "event"), counted(*rows, "row"));
        answer(&format!("{verb} {names}: {events}, {rows}, {found}"))?;
        match (behind, self.check) {
            (0, _) => {}
            (n, true) => answer(&format!(
                "the audit trail has not come to {n} of the events yet; what it will say of them \
                 was not compared"
            ))?,
            (n, false) => answer(&format!("the audit trail had not come to {n} of the events"))?,
        }
        if self.check && *differences > 0 { Err(Failure::Silent) } else { Ok(()) }
    }

    async fn tokens_until(&self, settings: &Settings, until: Timestamp) -> Result<(), Failure> {
        let app = open(settings, Access::Read, false).await?;
        if until > app.now() {
            return Err(Failure::Usage("--until must not be in the future".to_owned()));
        }
        let companies = companies(&app, self.company).await?;
        let mut output = Output::to(self.output.as_deref(), settings)?;
        let progress = Arc::new(Progress::new());
        let lengths = Lengths::of(&app).await?;
        let total = lengths.total(&companies);
        let mut before = 0;
        for company in companies {
            let mut take = |rows: Vec<TokenRow>| {
                let views = with_names(&app, company, rows, until)?;
                progress.aside(|| write_lines(&mut output, &views))
            };
            let show = showing(&progress);
            let show_all = move |events, _| show(before + events, total);
            app.rebuilder
                .tokens_until(company, until, app.new_id(), &show_all, &mut take)
                .await
                .inspect_err(|_| progress.end())?;
            before += lengths.one(&company);
        }
        progress.show(before, total);
        progress.end();
        output.finish()
    }
}

/// How many events there are, by company.
struct Lengths(HashMap<CompanyId, u64>);

impl Lengths {
    async fn of(app: &App) -> Result<Self, StoreError> {
        let heads = app.store().heads().await?;
        Ok(Self(heads.iter().map(|head| (head.company, head.position)).collect()))
    }

    fn one(&self, company: &CompanyId) -> u64 {
        self.0.get(company).copied().unwrap_or(0)
    }

    fn total(&self, companies: &[CompanyId]) -> u64 {
        companies.iter().map(|company| self.one(company)).sum()
    }
}

fn write_lines(output: &mut Output, views: &[TokenView]) -> std::io::Result<()> {
    for view in views {
        serde_json::to_writer(&mut *output, view)?;
        output.write_all(b"\n")?;
    }
    Ok(())
}

fn showing(progress: &Arc<Progress>) -> impl Fn(u64, u64) + Send + Sync + 'static {
    let progress = Arc::clone(progress);
    move |events, total| progress.show(events, total)
}

/// The tokens as callers see them. Rows are handed over by plain code, so the names are waited for
/// on this thread.
fn with_names(
    app: &App,
    company: CompanyId,
    rows: Vec<TokenRow>,
    until: Timestamp,
) -> std::io::Result<Vec<TokenView>> {
    let positions: Vec<u64> = rows.iter().map(|row| row.created_position).collect();
    let parts = tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(app.store().private_parts(company, &positions))
    })
    .map_err(std::io::Error::other)?;
    Ok(rows
        .into_iter()
        .zip(parts)
        .map(|(row, part)| {
            let created_by_name = part.and_then(|part| part.part().actor_name);
            TokenView::new(
                TokenRecord { row, created_by_name, last_used_at: None, last_used_from: None },
                until,
            )
        })
        .collect())
}
