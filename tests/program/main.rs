//! The built program, run as a user runs it: commands, settings, crashes, damage and evidence.

#[path = "../process/mod.rs"]
mod process;
#[path = "../support/mod.rs"]
mod support;

mod command_line;
mod connections;
mod crash;
mod evidence;
mod full_disk;
mod golden;
mod golden_ledger;
mod output;
mod proxies;
mod secrets;
mod settings;
mod setup;
mod signals;
mod strays;
mod tampering;
mod tls;
mod witness;
