//! `token-ledger setup`

use super::{Failure, answer, open};
use crate::app::setup::{Email, SetUp};
use crate::config::Settings;
use clap::Args;
use serde_json::json;
use token_ledger_domain::Name;
use token_ledger_event_store::sqlite::Access;

#[derive(Debug, Args)]
pub(super) struct Setup {
    /// The company's name, 1 to 100 characters
    #[arg(long, value_name = "NAME", value_parser = name)]
    company: Name,
    /// The e-mail address of its first Super Admin
    #[arg(long, value_name = "EMAIL", value_parser = Email::new)]
    admin_email: Email,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}

impl Setup {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), Failure> {
        let app = open(settings, Access::Write, true).await?;
        let made = app.set_up(&self.company, &self.admin_email).await?;
        if self.json {
            answer(&self.as_json(&made).to_string())
        } else {
            answer(&self.as_text(&made))
        }
    }

    fn as_json(&self, made: &SetUp) -> serde_json::Value {
        json!({
            "company_id": made.company_id,
            "admin": {
                "email": self.admin_email.as_str(),
                "password": made.password.as_ref().map(|password| password.as_str()),
            },
            "operator_key": made.operator_key.reveal(),
            "admin_key": made.admin_key.reveal(),
            "audit_key": made.audit_key.reveal(),
            "introspect_key": made.introspect_key.reveal(),
        })
    }

    fn as_text(&self, made: &SetUp) -> String {
        let password = made.password.as_ref().map_or("(the one of the existing account)", |p| p);
        format!(
            "Company         {}\n\
             Identifier      {}\n\
             Super Admin     {}\n\
             Password        {password}\n\n\
             API keys, valid for 90 days. They and the password are not shown again.\n\
             Operator        {}\n\
             Admin           {}\n\
             Audit           {}\n\
             Introspection   {}",
            self.company,
            made.company_id,
            self.admin_email.as_str(),
            made.operator_key.reveal(),
            made.admin_key.reveal(),
            made.audit_key.reveal(),
            made.introspect_key.reveal(),
        )
    }
}
