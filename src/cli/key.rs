//! `token-ledger key create`

use super::options::KeyPrefix;
use super::{Failure, answer, company_id, open, setup};
use crate::app::keys::NewKey;
use crate::app::{AppError, Caller, Conditions};
use crate::config::Settings;
use clap::{Args, Subcommand};
use token_ledger_domain::{CompanyId, KeyScope, Name};
use token_ledger_event_store::sqlite::Access;

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Create an API key and print it, this once
    Create(Create),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The company's identifier, or `platform`
    #[arg(long, value_name = "ID", value_parser = company_id)]
    company: CompanyId,
    /// The key's name, 1 to 100 characters
    #[arg(long, value_name = "NAME", value_parser = setup::name)]
    name: Name,
    /// What the key may do: ledger.operator (platform only), ledger.admin, ledger.audit,
    /// ledger.introspect
    #[arg(long = "scope", value_name = "SCOPE", required = true, num_args = 1..)]
    scopes: Vec<KeyScope>,
    /// How long it is valid, in seconds; 90 days unless asked otherwise
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    expires_in: Option<i64>,
    #[command(flatten)]
    prefix: KeyPrefix,
}

impl Key {
    pub(super) const fn key_prefix(&self) -> &KeyPrefix {
        let Self::Create(Create { prefix, .. }) = self;
        prefix
    }

    pub(super) async fn run(self, settings: &Settings) -> Result<(), Failure> {
        let Self::Create(Create { company, name, scopes, expires_in, .. }) = self;
        let app = open(settings, Access::WriteUnmigrated, false).await?;
        let input = NewKey {
            name: name.to_string(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            expires_in_seconds: expires_in,
            reason: None,
        };
        let caller = Caller::command_line(company);
        let created = match app.create_key(&caller, input, Conditions::default()).await {
            Err(AppError::NotFound(_)) if company == CompanyId::PLATFORM => {
                let missing = "the ledger has no companies yet; begin with `token-ledger setup`";
                return Err(Failure::Failed(missing.to_owned()));
            }
            created => created?,
        };
        match created.secret {
            Some(secret) => answer(secret.reveal()),
            None => Err(Failure::Failed("the key's secret was not made".to_owned())),
        }
    }
}
