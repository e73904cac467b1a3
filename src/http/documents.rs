//! The descriptions of the API, which anybody may ask for: each is made when it is first asked for.

use super::{docs_page, openapi};
use axum::body::Bytes;
use std::sync::OnceLock;
use token_ledger_domain::Catalogue;

/// The descriptions of the API of a service, whose catalogue never changes.
#[derive(Debug, Default)]
pub struct Documents {
    openapi: OnceLock<Bytes>,
    page: OnceLock<Bytes>,
}

impl Documents {
    /// For programs: JSON.
    pub(super) fn openapi(&self, catalogue: &Catalogue) -> Bytes {
        let made = || openapi::document(catalogue).to_string().into();
        self.openapi.get_or_init(made).clone()
    }

    /// For people: HTML.
    pub(super) fn page(&self, catalogue: &Catalogue) -> Bytes {
        let made = || docs_page::page_of(&openapi::document(catalogue)).into();
        self.page.get_or_init(made).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_made_once() {
        let (documents, catalogue) = (Documents::default(), Catalogue::default());
        for made in [Documents::openapi, Documents::page] {
            let [first, second] = [(); 2].map(|()| made(&documents, &catalogue));
            assert!(!first.is_empty());
            assert_eq!(first.as_ptr(), second.as_ptr());
        }
    }
}
