//! `token-ledger openapi`

use super::{Failure, answer};
use crate::config::Settings;
use crate::http::openapi::document;

pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&document(&settings.choices().catalogue))
        .map_err(|error| Failure::Failed(error.to_string()))?;
    answer(&text)
}
