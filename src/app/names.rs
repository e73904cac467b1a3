//! Companies' names: what is reserved, held against the companies that are registered.

use super::App;
use std::collections::HashMap;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::StoreError;
use token_ledger_projections::companies::CompanyRow;
use token_ledger_projections::rebuild::{
    Difference, OnDifference, OnProgress, Outcome, Plan, RebuildError,
};
use token_ledger_projections::{Companies, Projection};

/// Companies that are read at a time.
const PAGE: usize = 500;

impl App {
    /// Rebuilds projections as planned, and with the companies the names that are reserved for them.
    ///
    /// # Errors
    /// As for [`token_ledger_projections::rebuild::Rebuilder::rebuild_telling`].
    pub async fn rebuild_as_planned(
        &self,
        plan: &Plan,
        progress: &OnProgress<'_>,
        tell: &mut OnDifference<'_>,
    ) -> Result<Outcome, RebuildError> {
        let mut outcome =
            self.rebuilder.rebuild_telling(plan, self.new_id(), progress, tell).await?;
        if plan.projections.contains(&Companies::NAME) {
            outcome.differences += self.rebuild_names(plan, tell).await?;
        }
        Ok(outcome)
    }

    /// Holds that the name of every company leads whoever wants it to a company that is registered,
    /// since that can't be done again; answers how many names don't.
    async fn rebuild_names(
        &self,
        plan: &Plan,
        tell: &mut OnDifference<'_>,
    ) -> Result<u64, RebuildError> {
        let mut differences = 0;
        let mut after = None;
        loop {
            // A name is reserved before its company is registered, and for good: read afterwards, it
            // is there.
            let page = match plan.company {
                None => self.read.companies(after, PAGE).await,
                Some(_) if after.is_some() => return Ok(differences),
                Some(only) => self.read.company(only).await.map(Vec::from_iter),
            };
            let mut page = match page {
                // A row that can't be read was told, and a merge has put it right.
                Err(error) if !error.is_general() && !plan.merge => return Ok(differences),
                page => page?,
            };
            let Some(last) = page.last() else { return Ok(differences) };
            after = Some(last.company_id);
            // The platform's name is nobody's to reserve.
            page.retain(|row| row.company_id != CompanyId::PLATFORM);
            let names: Vec<String> = page.iter().flat_map(spellings).collect();
            let reserved = self.people.named(&names).await?;
            for row in &page {
                if self.is_taken(row, &reserved).await? {
                    continue;
                }
                let name = row.name.compared();
                let held = |company: CompanyId| vec![("named", company.to_string())];
                let live = reserved.get(&name).map(|other| Ok(held(*other)));
                differences += 1;
                if plan.merge {
                    self.people.put_name(&name, row.company_id).await?;
                }
                tell(Difference {
                    projection: Companies::NAME,
                    company: row.company_id,
                    key: format!("name {name:?}"),
                    live,
                    rebuilt: Some(held(row.company_id)),
                })?;
            }
        }
    }

    /// Whether a company's name leads to it, or to another one that is registered.
    async fn is_taken(
        &self,
        row: &CompanyRow,
        reserved: &HashMap<String, CompanyId>,
    ) -> Result<bool, StoreError> {
        for company in spellings(row).iter().filter_map(|name| reserved.get(name)) {
            // A row that can't be read is one all the same.
            let is_registered = || async {
                match self.read.company(*company).await {
                    Err(error) if !error.is_general() => Ok(true),
                    found => found.map(|found| found.is_some()),
                }
            };
            if *company == row.company_id || is_registered().await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What a company's name may be reserved as: the way it is compared, or, once, letter by letter.
fn spellings(row: &CompanyRow) -> [String; 2] {
    [row.name.compared(), row.name.as_str().to_owned()]
}
