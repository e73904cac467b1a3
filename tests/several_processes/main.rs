//! Several processes on one PostgreSQL database behave as one.

#[path = "../process/mod.rs"]
mod process;

mod clocks;
mod cut_off;
mod evidence;
mod fail_over;
mod freshness;
mod jobs;
mod races;
mod rebuilds;
mod stage;
mod statements;
