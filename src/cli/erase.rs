//! `token-ledger erase`

use super::{Failure, answer, company_id, identifier, open};
use crate::app::Caller;
use crate::config::Settings;
use crate::plural::counted;
use clap::Args;
use token_ledger_domain::{CompanyId, PersonId};
use token_ledger_event_store::sqlite::Access;

#[derive(Debug, Args)]
pub(super) struct Erase {
    /// The company: its identifier, or `platform`
    #[arg(long, value_name = "ID", value_parser = company_id)]
    company: CompanyId,
    /// The person, as `company.member_added` names them
    #[arg(long, value_name = "ID", value_parser = identifier::<PersonId>)]
    person: PersonId,
    /// On whose order, and why; it is recorded with the erasure
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Erase {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), Failure> {
        let app = open(settings, Access::WriteUnmigrated, false).await?;
        let caller = Caller::command_line(self.company);
        let erased = app.erase_person(&caller, self.person, &self.reason, None).await?.view;
        answer(&format!(
            "erased: {} of events, with their salts; position {} of the company's ledger says so",
            counted(erased.private_parts, "private part"),
            erased.position
        ))?;
        answer(if erased.account {
            "the account and its e-mail address are gone"
        } else {
            "the account stays, since the person is a member of another company; erase them there \
             too"
        })?;
        answer("exports and backups made before still hold what was erased; see docs/evidence.md")
    }
}
