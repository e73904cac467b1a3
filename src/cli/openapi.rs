//! `token-ledger openapi`

use super::{Failure, answer};
use crate::http::openapi::document;

pub(super) fn run() -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&document())
        .map_err(|error| Failure::Failed(error.to_string()))?;
    answer(&text)
}
