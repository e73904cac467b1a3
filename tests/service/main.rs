//! The service, called in its own process: what the HTTP API and OAuth promise.

#[path = "../support/mod.rs"]
mod support;

mod admin_api;
mod audit_api;
mod clients;
mod denials;
mod doubt;
mod erasing;
mod incidents;
mod members;
mod oauth;
mod operations;
mod policy;
mod requests;
mod sign_in;
mod throttle;
mod trees;
mod verification;
