//! `token-ledger migrate`

use super::{Failure, answer, open};
use crate::config::Settings;
use token_ledger_event_store::sqlite::Access;

pub(super) async fn run(settings: &Settings) -> Result<(), Failure> {
    let app = open(settings, Access::Write, true).await?;
    let url = &settings.database_url;
    answer(&match app.migrated() {
        0 => format!("{url} is up to date"),
        1 => format!("{url} is up to date now; 1 migration was applied"),
        n => format!("{url} is up to date now; {n} migrations were applied"),
    })
}
