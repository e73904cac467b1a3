//! Rendering: plain functions from what the application answers to HTML.

pub mod agent;
pub mod events;
pub mod forms;
pub mod histogram;
pub mod icons;
pub mod ignored;
pub mod pager;
pub mod record;
pub mod scopes;
pub mod status;
pub mod time;
pub mod words;
