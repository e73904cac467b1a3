//! Runs a program and what it starts with one throw-away cluster, which all their tests share:
//! `with_cluster PROGRAM ARGUMENT…`. Ends as the program does.

use std::process::{Command, ExitCode};
use token_ledger_test_cluster::{CLUSTER_URL, Cluster};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().expect("a program to run");
    // Hundreds of databases come and go too soon to be vacuumed one after another.
    let cluster = Cluster::start(&["autovacuum_naptime=1h"]);
    let status = Command::new(program)
        .args(arguments)
        .env(CLUSTER_URL, cluster.url())
        .status()
        .expect("the program starts");
    ExitCode::from(u8::from(!status.success()))
}
