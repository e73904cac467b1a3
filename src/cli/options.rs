//! Options that several commands have, and what the command line says in all.

use super::{Failure, Place};
use crate::config::{ScopeSetting, Settings, scope};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// What API keys are made like.
#[derive(Debug, Args, Serialize)]
pub(super) struct KeyPrefix {
    /// What API keys begin with; tla_ unless set otherwise
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
    /// `TOKEN_LEDGER_LOG_SEED` is set, and the last checkpoints
    #[arg(long, value_name = "FOLDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence_dir: Option<PathBuf>,
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
