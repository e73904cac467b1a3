//! The `token-ledger` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    token_ledger::cli::main()
}
