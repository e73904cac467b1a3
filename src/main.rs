//! The `token-ledger` command.

use std::process::ExitCode;

/// Callers, the writing thread and SQLite hand memory to one another all the time: what one thread
/// takes and another gives back costs less here than with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    token_ledger::cli::main()
}
