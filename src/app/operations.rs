//! Work that goes on after its request was answered.

/// Rebuilds that this process runs or ran.
#[derive(Debug, Default)]
pub struct Rebuilds;
