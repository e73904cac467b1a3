//! Options that several commands have, and what the command line says in all.

use super::{Failure, Place};
use crate::config::{ScopeSetting, Settings, scope};
use clap::{Args, Command};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What API keys are made like.
#[derive(Debug, Args, Serialize)]
pub(super) struct KeyPrefix {
    /// What API keys begin with
    #[arg(long, value_name = "PREFIX")]
    #[serde(skip_serializing_if = "Option::is_none")]
    key_prefix: Option<String>,
}

/// What is on offer.
#[derive(Debug, Args, Serialize)]
pub(super) struct Offer {
    /// A data access on offer; those named replace the default ones
    #[arg(long = "scope", value_name = "NAME=DESCRIPTION", value_parser = scope)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<ScopeSetting>,
}

/// What the logs are called, and where that is which is kept of them outside the database.
#[derive(Debug, Args, Serialize)]
pub(super) struct Logs {
    /// What the origins of the companies' logs begin with, such as `ledger.example/log`; another
    /// name makes other logs, with other keys
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log_name: Option<String>,
    /// The folder of what evidence keeps outside the database: the seed of the logs' keys, unless
    /// `TOKEN_LEDGER_LOG_SEED` is set, and the last checkpoints; DATABASE.evidence beside the SQLite
    /// file, or token-ledger-evidence in the current folder, unless set otherwise
    #[arg(long, value_name = "FOLDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence_dir: Option<PathBuf>,
}

/// The command line, with what holds where an option is left out in its help.
pub(super) fn with_defaults(command: Command) -> Command {
    let name = command.get_name().to_owned();
    called(telling(command, &json!(Settings::default())), &name)
}

/// The command and those below it under the program's name, by which they tell their version.
fn called(command: Command, name: &str) -> Command {
    let command = command.display_name(name.to_owned());
    command.mut_subcommands(|command| called(command, name))
}

fn telling(command: Command, defaults: &Value) -> Command {
    let told = command.mut_args(|arg| {
        let default = match defaults.get(arg.get_id().as_str()) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return arg,
        };
        let Some(help) = arg.get_help().map(ToString::to_string) else { return arg };
        arg.help(match help.split_once(" [env: ") {
            Some((help, variable)) => {
                format!("{help}; {default} unless set otherwise [env: {variable}")
            }
            None => format!("{help}; {default} unless set otherwise"),
        })
    });
    told.mut_subcommands(|command| match command.get_name() {
        // The demo's address is its own.
        "demo" => command,
        _ => telling(command, defaults),
    })
}

/// No options.
#[derive(Debug, Serialize)]
pub(super) struct Nothing {}

/// What the command line says, all of it.
#[derive(Serialize)]
pub(super) struct Given<'a, O> {
    #[serde(flatten)]
    pub(super) place: &'a Place,
    #[serde(flatten)]
    pub(super) options: &'a O,
}

impl<O: Serialize> Given<'_, O> {
    /// The settings of the file, of the environment and of the command line.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings::load(self.place.config.as_deref(), self)?)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde wants")]
pub(super) const fn is_false(flag: &bool) -> bool {
    !*flag
}
