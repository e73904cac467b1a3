//! What a proxy asks of the token of a request that it is to let through.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use token_ledger_domain::CompanyId;

const REQUIRED_SCOPE: HeaderName = HeaderName::from_static("x-required-scope");
const REQUIRED_COMPANY: HeaderName = HeaderName::from_static("x-required-company");

/// What the asking proxy needs of the token.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// The scopes that it must have.
    pub(super) scopes: Vec<String>,
    companies: Vec<String>,
}

impl Needs {
    /// What query and headers say.
    pub(super) fn of(query: &str, headers: &HeaderMap) -> Self {
        let mut needs = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "scope" => needs.add_scopes(&value),
                "company" => needs.companies.push(value.into_owned()),
                _ => {}
            }
        }
        for text in listed(headers, &REQUIRED_SCOPE) {
            needs.add_scopes(&text);
        }
        for text in listed(headers, &REQUIRED_COMPANY) {
            needs.companies.push(text.trim().to_owned());
        }
        needs
    }

    /// A text without a scope is one that no token has: a proxy meant to ask for something.
    fn add_scopes(&mut self, text: &str) {
        if text.trim_ascii().is_empty() {
            self.scopes.push(String::new());
        }
        self.scopes.extend(text.split_ascii_whitespace().map(str::to_owned));
    }

    /// Whether this is every company that was named.
    pub(super) fn is_company(&self, company: CompanyId) -> bool {
        self.companies.iter().all(|text| text.parse() == Ok(company))
    }
}

/// What the lines of a header say. Whoever passes them on may have joined them, with commas in
/// between (RFC 9110 §5.3).
fn listed(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let texts = lines.flat_map(|line| line.split(|byte| *byte == b','));
    texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}
