//! `token-ledger setup`

use super::options::KeyPrefix;
use super::{Failure, answer, answer_json, open, tell};
use crate::app::input;
use crate::app::people::Email;
use crate::app::setup::{NeedsLink, SetUp};
use crate::config::Settings;
use clap::Args;
use serde::Serialize;
use token_ledger_domain::{CompanyId, Name};
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
    #[command(flatten)]
    prefix: KeyPrefix,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    company_id: CompanyId,
    admin: Admin<'a>,
    operator_key: &'a str,
    admin_key: &'a str,
    audit_key: &'a str,
    introspect_key: &'a str,
}

#[derive(Serialize)]
struct Admin<'a> {
    email: &'a str,
    /// Null where the person had a password already, or it could not be set.
    password: Option<&'a str>,
}

pub(super) fn name(text: &str) -> Result<Name, String> {
    input::name(text.to_owned())
}

impl Setup {
    pub(super) const fn key_prefix(&self) -> &KeyPrefix {
        &self.prefix
    }

    pub(super) async fn run(self, settings: &Settings) -> Result<(), Failure> {
        let app = open(settings, Access::Write, true).await?;
        let made = app.set_up(&self.company, &self.admin_email).await?;
        if let Some(why) = made.needs_link {
            let why = match why {
                NeedsLink::OthersLink => {
                    "has a password that was set by another company's link, which doesn't count in \
                     this one: make a link for a new one"
                }
                NeedsLink::NotSet => {
                    "has no password, since it could not be set: make a link for one"
                }
            };
            tell(&format!("{} {why} with the operator key", self.admin_email.as_str()));
        }
        if self.json {
            return answer_json(&self.as_json(&made));
        }
        let answered = answer(&self.as_text(&made));
        if answered.is_ok() && made.password.is_some() {
            tell("next: `token-ledger serve`, and sign in at its address with /console behind it");
        }
        answered
    }

    fn as_json<'a>(&'a self, made: &'a SetUp) -> Answer<'a> {
        Answer {
            company_id: made.company_id,
            admin: Admin {
                email: self.admin_email.as_str(),
                password: made.password.as_ref().map(|password| password.as_str()),
            },
            operator_key: made.operator_key.reveal(),
            admin_key: made.admin_key.reveal(),
            audit_key: made.audit_key.reveal(),
            introspect_key: made.introspect_key.reveal(),
        }
    }

    fn as_text(&self, made: &SetUp) -> String {
        let password = match (&made.password, made.needs_link) {
            (Some(password), _) => password.as_str(),
            (None, Some(NeedsLink::NotSet)) => "(none yet)",
            (None, _) => "(the one of the existing account)",
        };
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
