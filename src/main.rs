//! The `token-ledger` command.

fn main() {}
