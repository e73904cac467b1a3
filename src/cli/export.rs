//! `token-ledger export`

use super::output::Output;
use super::{Failure, companies, company_id, identifier, open};
use crate::app::App;
use crate::app::audit::{AuditFilter, ExportFormat, csv_header};
use crate::config::Settings;
use clap::Args;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use token_ledger_domain::{CompanyId, Timestamp, TokenId};
use token_ledger_event_store::sqlite::Access;

#[derive(Debug, Args)]
pub(super) struct Export {
    /// `ndjson` or `csv`; unless given, `csv` into a file that ends in `.csv`, else `ndjson`
    #[arg(long)]
    format: Option<ExportFormat>,
    /// Where to write, and replace what is there once all is written; to stdout unless named
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// One company's events only: its identifier, or `platform`
    #[arg(long, value_name = "ID", value_parser = company_id)]
    company: Option<CompanyId>,
    /// One token's events only
    #[arg(long, value_name = "ID", value_parser = identifier::<TokenId>)]
    token: Option<TokenId>,
    /// Events recorded at this time or later, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = Timestamp::not_before)]
    from: Option<Timestamp>,
    /// Events recorded before this time, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = Timestamp::not_before)]
    to: Option<Timestamp>,
}

impl Export {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), Failure> {
        let filter = AuditFilter {
            token_id: self.token,
            from: self.from,
            to: self.to,
            ..AuditFilter::default()
        };
        filter.check()?;
        let format = self.format();
        let app = open(settings, Access::Read, false).await?;
        let companies = companies(&app, self.company).await?;
        if let Some(token) = self.token {
            expect_token(&app, &companies, token).await?;
        }
        let mut output = Output::to(self.output.as_deref(), settings)?;
        let is_all = self.company.is_none();
        let mut count = 0;
        // One for all companies, and one where there is none.
        let header = if format == ExportFormat::Csv { csv_header()? } else { Vec::new() };
        output.write_all(&header)?;
        for company in &companies {
            let mut export = app.export(*company, filter.clone(), format);
            if is_all {
                export = export.one_of_many();
            }
            let mut again = &*header;
            while let Some(chunk) = export.next_chunk().await? {
                output.write_all(chunk.strip_prefix(again).unwrap_or(&chunk))?;
                again = &[];
            }
            count += export.count();
        }
        if is_all && format == ExportFormat::Ndjson {
            let end = json!({ "export": { "companies": companies.len(), "count": count } });
            writeln!(output, "{end}")?;
        }
        output.finish()
    }

    /// The format that is asked for, by name or by the file's.
    fn format(&self) -> ExportFormat {
        let file = self.output.as_deref().and_then(Path::extension);
        let is_csv = file.is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        self.format.unwrap_or(if is_csv { ExportFormat::Csv } else { ExportFormat::Ndjson })
    }
}

/// An empty file would look as if nothing had happened to it.
async fn expect_token(app: &App, companies: &[CompanyId], token: TokenId) -> Result<(), Failure> {
    for company in companies {
        if app.read.token(*company, token).await?.is_some() {
            return Ok(());
        }
    }
    Err(Failure::Failed(format!("there is no token {token}")))
}
