//! The console: pages for people, rendered here and working as plain forms.
//!
//! A request passes the envelope of [`crate::http`], then its route's access check
//! ([`access`]), then its handler. The check looks the session up, refuses what comes from another
//! site or lacks the session's CSRF token, and only then lets a form's body through: a handler
//! can't forget it.
//!
//! To add a page:
//!
//! 1. Write a file for it here, with one function per action. A handler takes
//!    `State<Arc<Service>>` and `desk::Desk` (somebody in a company), `desk::Bridge` (an operator, in
//!    a company or in none) or [`SignedIn`] (somebody who may not have chosen a company yet). The
//!    first two hold the [`Caller`] that use cases ask for. What the address asks for comes with
//!    `sent::Query`, a form's fields with `sent::Sent` ([`Fields`] where they have types of their
//!    own), and what the path names with `extract::Path`. It calls one use case and answers `Shown`,
//!    a page or an error: `?` turns an `AppError` into a page with the right status.
//! 2. Render it with `desk.page`, or `desk.refused` where a form has to be filled in again: what
//!    stands around it, as a [`page::Page`], and the content, as maud markup. A form begins with
//!    `desk.seal()`, which holds the CSRF token, the company that the form is about, and a nonce for
//!    `Sent::conditions`, which keeps it from being carried out twice. Where there is only a
//!    [`SignedIn`], [`page::of`] renders, and [`form::post`] makes forms with the token.
//! 3. List it in [`routes`] with the power that it needs, and in [`page::SECTIONS`] if it belongs
//!    into the navigation.
//! 4. A form names the fields that it shows (`refusal::Shows`), so that `refusal::refusal` tells what
//!    belongs beside them from what stands above. One about something that others may change
//!    carries its version (`forms::version`); what a use case refuses of it goes through
//!    `meanwhile::missed`, which tells what they did.
//! 5. Where a secret is about to be shown, begin with `desk.unconfirmed`, the way for whoever signed
//!    in hours ago to give the password again.
//!
//! Styles go into `style.css`; there are no others, no inline ones, and nothing from another host.
//! A further file to serve goes into `assets`.
//!
//! [`Caller`]: crate::app::Caller

pub mod access;
mod actors;
mod assets;
mod audit;
mod clients;
mod companies;
mod cookie;
pub mod deeds;
mod desk;
mod error;
mod extract;
pub mod form;
mod guard;
mod home;
mod keys;
mod links;
mod log;
mod meanwhile;
mod members;
mod membership;
mod names;
mod notices;
pub mod page;
mod passwords;
pub mod paths;
mod people;
mod platform;
mod policy;
mod refusal;
mod render;
mod reveal;
mod routes;
mod sent;
mod sessions;
mod sign_in;
mod theme;
mod tokens;

pub use access::{Access, SignedIn};
pub use error::{Shown, Trouble};
pub use form::Fields;
pub use routes::{Routes, routes};
