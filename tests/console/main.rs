//! The console, walked through in a browser as people would.

#[path = "../support/mod.rs"]
mod support;

mod accessibility;
mod audit;
mod browser;
mod company;
mod dialogs;
mod evidence;
mod focus;
mod forms;
mod layout;
mod lists;
mod meanwhile;
mod notices;
mod old_secrets;
mod operators;
mod pictures;
mod plain;
mod repeats;
mod retired;
mod stage;
mod tokens;
mod waiting;
