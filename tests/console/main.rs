//! The console, walked through in a browser as people would.

#[path = "../support/mod.rs"]
mod support;

mod accessibility;
mod audit;
mod browser;
mod company;
mod evidence;
mod meanwhile;
mod operators;
mod pictures;
mod stage;
mod tokens;
