//! Token Ledger: a ledger for API access tokens.
//!
//! - [`app`]: the use cases, which know neither HTTP nor the command line
//! - [`http`]: the API
//! - [`console`]: the pages for people
//! - [`cli`]: the commands
//! - [`config`]: what an operator can set
//! - [`evidence`]: formats, keys and proofs that anyone can check

pub mod app;
pub mod cli;
pub mod config;
pub mod console;
pub mod evidence;
pub mod http;
#[cfg(test)]
mod logged;
mod plural;
