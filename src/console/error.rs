//! What goes wrong on a page.

use super::refusal::sentence;
use crate::app::AppError;
use crate::app::streams::NoPlace;
use crate::http::body::Unread;
use crate::http::problem::{Kind, Problem};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// What a person is told whose wish may have been carried out.
const IN_DOUBT: &str = "The service failed before it was known whether this is done: it may be. Look \
    before you do it again.";

/// What each company has its own of.
const OF_A_COMPANY: [&str; 7] =
    ["token", "key", "client", "member", "person", "event", "checkpoint"];

/// What a page's handler answers.
pub type Shown = Result<Response, Trouble>;

/// Something that keeps a page from being shown. The access check, which knows the person and the
/// request, makes a page of it.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// The kind.
    pub kind: Kind,
    /// What was wrong and what to do.
    pub detail: String,
    /// A header that goes with it.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// Whether what is not there may be in another company.
    pub may_be_elsewhere: bool,
}

impl Trouble {
    /// Trouble of this kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), header: None, may_be_elsewhere: false }
    }

    /// This is not in the company; each company has its own.
    pub fn not_here(detail: impl Into<String>) -> Self {
        Self { may_be_elsewhere: true, ..Self::new(Kind::NotFound, detail) }
    }

    /// The address leads to no page.
    pub fn nowhere() -> Self {
        Self::new(Kind::NotFound, "There is no page at this address. Check that it is complete.")
    }

    /// The kind in a person's words.
    pub(super) const fn title(&self) -> &'static str {
        match self.kind {
            Kind::NotFound | Kind::MethodNotAllowed => "There is nothing here",
            Kind::Unauthorized => "Please sign in",
            Kind::Forbidden | Kind::AboveOwnPower => "You may not do this",
            Kind::Contended => "Something has changed meanwhile",
            Kind::Unavailable => "This can’t be done right now",
            Kind::Internal => "The service failed",
            other => other.title(),
        }
    }

    /// A page that tells of it itself, with the header that goes along.
    pub fn on(self, page: impl FnOnce(StatusCode, &str) -> Response) -> Response {
        let mut page = page(self.status(), &self.detail);
        page.headers_mut().extend(self.header);
        page
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.kind.status()
    }
}

impl From<AppError> for Trouble {
    fn from(error: AppError) -> Self {
        let is_in_doubt = error.is_in_doubt();
        let may_be_elsewhere =
            matches!(error, AppError::NotFound(what) if OF_A_COMPANY.contains(&what));
        let Problem { kind, detail, header, .. } = error.into();
        let detail = if is_in_doubt { IN_DOUBT.to_owned() } else { sentence(&detail) };
        Self { kind, detail, header, may_be_elsewhere }
    }
}

impl From<NoPlace> for Trouble {
    fn from(refusal: NoPlace) -> Self {
        let Problem { kind, detail, header, .. } = refusal.into();
        Self { header, ..Self::new(kind, detail) }
    }
}

impl From<Unread> for Trouble {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Self::new(Kind::BodyTooLarge, "The form may have up to 64 KiB."),
            Unread::TooSlow => Self::new(Kind::RequestTimeout, "The form did not come in time."),
            Unread::Broken => Self::new(Kind::InvalidInput, "The form could not be read."),
        }
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_ledger_event_store::StoreError;

    #[test]
    fn who_may_have_got_what_they_wanted_is_told_to_look() {
        let failed = || StoreError::Unavailable("gone".to_owned());
        let trouble = |error: StoreError| Trouble::from(AppError::Failed(error));
        assert_eq!(trouble(failed().after_change()).detail, IN_DOUBT);
        assert!(trouble(failed()).detail.contains("nothing was changed"));
    }
}
