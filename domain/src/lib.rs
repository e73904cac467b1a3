//! The rules of the token ledger, and nothing else: no I/O, no clock, no randomness.
//!
//! Three aggregates keep everything that can happen: [`token::Token`], [`key::Key`] and
//! [`company::Company`]. Each is a state, a set of imperative commands, a set of past-tense events
//! and two plain functions: `decide(state, command) -> events` and `evolve(state, event) -> state`.
//! One macro (`adapter`) makes them aggregates of cqrs-es.
//!
//! To add a command: add a variant to the aggregate's command enum, a function that decides it, an
//! event if nothing existing says what happened, a refusal for each reason to say no, and a
//! given/when/then test for every one of them. To change an event's shape: raise its version in
//! `version`, add an upcaster in [`event`] and keep a stored sample of the old version.

pub mod actor;
mod adapter;
pub mod company;
pub mod event;
pub mod id;
pub mod key;
pub mod name;
pub mod policy;
pub mod power;
pub mod quoted;
pub mod scope;
pub mod secret;
mod term;
pub mod time;
pub mod token;

pub use actor::{Actor, ActorType};
pub use event::LedgerEvent;
pub use id::{ClientId, CompanyId, KeyId, MemberId, PersonId, TokenId};
pub use name::Name;
pub use policy::Policy;
pub use power::{KeyScope, Power, Role};
pub use quoted::Quoted;
pub use scope::{Catalogue, Scope, ScopeSet};
pub use secret::{Digest, Secret, SecretKind, StoredSecret};
pub use term::{Previous, Term};
pub use time::Timestamp;
