//! Companies' names: what is reserved, held against the companies that are registered.

use super::App;
use std::collections::{HashMap, HashSet};
use token_ledger_domain::{CompanyId, Quoted};
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
        let mut wrong = HashSet::new();
        let mut tell_and_keep = |difference: Difference| {
            if difference.projection == Companies::NAME && !plan.merge {
                wrong.insert(difference.company);
            }
            tell(difference)
        };
        let mut outcome = self
            .rebuilder
            .rebuild_telling(plan, self.new_id(), progress, &mut tell_and_keep)
            .await?;
        if plan.projections.contains(&Companies::NAME) {
            outcome.differences += self.rebuild_names(plan, &wrong, tell).await?;
        }
        Ok(outcome)
    }

    /// Holds that the name of every company leads whoever wants it to a company of this name, since
    /// that can't be registered again, and that no other name leads to it; answers how many names
    /// are otherwise. A name that leads to no company is reserved for one that may come yet. What the
    /// rows of companies that are `wrong` say of names says nothing.
    async fn rebuild_names(
        &self,
        plan: &Plan,
        wrong: &HashSet<CompanyId>,
        tell: &mut OnDifference<'_>,
    ) -> Result<u64, RebuildError> {
        let (mut put_right, mut astray) = (Vec::new(), Vec::new());
        let mut after = None;
        while let Some(mut page) = self.page_of_companies(plan, after).await? {
            after = page.last().map(|row| row.company_id);
            page.retain(|row| !wrong.contains(&row.company_id));
            if plan.company.is_none() {
                astray.extend(self.led_astray(&page).await?);
            }
            // The platform's name is nobody's to reserve.
            page.retain(|row| row.company_id != CompanyId::PLATFORM);
            let names: Vec<String> = page.iter().flat_map(spellings).collect();
            let reserved = self.people.named(&names).await?;
            for row in &page {
                if self.is_taken(row, &reserved).await? {
                    continue;
                }
                let name = row.name.compared();
                if plan.merge {
                    self.people.put_name(&name, row.company_id).await?;
                }
                let live = reserved.get(&name).copied();
                tell(difference(row.company_id, &name, live, Some(row.company_id)))?;
                put_right.push(name);
            }
        }
        // Those that another company has were put right for it.
        astray.retain(|(name, _)| !put_right.contains(name));
        for (name, company) in &astray {
            if plan.merge {
                self.people.free_name(name, *company).await?;
            }
            tell(difference(*company, name, Some(*company), None))?;
        }
        Ok((put_right.len() + astray.len()) as u64)
    }

    /// The next companies whose names are looked at, as long as there are any. A name is reserved
    /// before its company is registered, and for good: read afterwards, it is there.
    async fn page_of_companies(
        &self,
        plan: &Plan,
        after: Option<CompanyId>,
    ) -> Result<Option<Vec<CompanyRow>>, StoreError> {
        let page = match plan.company {
            None => self.read.companies(after, PAGE).await,
            Some(_) if after.is_some() => return Ok(None),
            Some(only) => self.read.company(only).await.map(Vec::from_iter),
        };
        match page {
            // A row that can't be read was told, and a merge has put it right.
            Err(error) if !error.is_general() && !plan.merge => Ok(None),
            page => page.map(|page| Some(page).filter(|page| !page.is_empty())),
        }
    }

    /// The names that lead to one of these companies and are not its own.
    async fn led_astray(
        &self,
        page: &[CompanyRow],
    ) -> Result<Vec<(String, CompanyId)>, StoreError> {
        let rows: HashMap<CompanyId, &CompanyRow> =
            page.iter().map(|row| (row.company_id, row)).collect();
        let companies: Vec<CompanyId> = rows.keys().copied().collect();
        let mut names = self.people.names_of(&companies).await?;
        names.retain(|(name, company)| {
            rows.get(company).is_some_and(|row| !spellings(row).contains(name))
        });
        Ok(names)
    }

    /// Whether a company's name leads to it, or to another one that is registered under it.
    async fn is_taken(
        &self,
        row: &CompanyRow,
        reserved: &HashMap<String, CompanyId>,
    ) -> Result<bool, StoreError> {
        for company in spellings(row).iter().filter_map(|name| reserved.get(name)) {
            // A row that can't be read is one all the same.
            let is_its_own = || async {
                match self.read.company(*company).await {
                    Err(error) if !error.is_general() => Ok(true),
                    found => found.map(|found| {
                        found.is_some_and(|found| found.name.compared() == row.name.compared())
                    }),
                }
            };
            if *company == row.company_id || is_its_own().await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A name that leads to a company of those that it is, and should be, reserved for.
fn difference(
    company: CompanyId,
    name: &str,
    live: Option<CompanyId>,
    rebuilt: Option<CompanyId>,
) -> Difference {
    let held = |company: CompanyId| vec![("named", company.to_string())];
    Difference {
        projection: Companies::NAME,
        company,
        key: format!("name {}", Quoted(name)),
        live: live.map(|company| Ok(held(company))),
        rebuilt: rebuilt.map(held),
    }
}

/// What a company's name may be reserved as: the way it is compared, or was once.
fn spellings(row: &CompanyRow) -> [String; 3] {
    let [letter_by_letter, as_spaced] = row.name.formerly_compared();
    [row.name.compared(), letter_by_letter, as_spaced]
}
