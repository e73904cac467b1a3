//! What forms and addresses carry: names and values, where an empty one says nothing.

use super::access::SignedIn;
use super::error::Trouble;
use super::guard::TOKEN_FIELD;
use super::render::time::parse_field;
use crate::app::{Caller, Conditions};
use crate::http::body;
use crate::http::problem::Kind;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use sha2::{Digest, Sha256};
use token_ledger_domain::Timestamp;
use token_ledger_event_store::Idempotency;
use uuid::Uuid;

/// Fields that belong to how a form is sent, not to what it asks for.
const BESIDE: [&str; 2] = [TOKEN_FIELD, NONCE];
/// The field that keeps a form from being carried out twice.
pub(super) const NONCE: &str = "nonce";
/// The field that holds what a list was asked for when a form was opened from it.
pub const LIST: &str = "list";
/// The field that names the company that a form was opened in.
pub(super) const COMPANY: &str = "company";
/// The longest nonce.
const MAX_NONCE: usize = 64;

/// A submitted form.
#[derive(Clone, Default)]
pub struct Sent(Vec<(String, String)>);

/// The parameters of an address.
#[derive(Clone, Debug, Default)]
pub struct Query(pub Sent);

impl std::fmt::Debug for Sent {
    /// Forms may hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Trouble;

    async fn from_request(request: Request, _: &S) -> Result<Self, Trouble> {
        let who = request.extensions().get::<SignedIn>().cloned();
        let bytes = body::read(request).await?;
        let sent = Self::read(&bytes)?;
        if let Some(who) = who {
            let detail = "You have entered another company since this form was opened. Nothing \
                was changed. Open the page again.";
            sent.is_of(&who, detail)?;
        }
        Ok(sent)
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Trouble> {
        Sent::read(parts.uri.query().unwrap_or_default().as_bytes()).map(Self)
    }
}

impl Sent {
    /// Goes on where it names the company that the session is in, or none.
    ///
    /// # Errors
    /// What is said where that is another one meanwhile.
    pub fn is_of(&self, who: &SignedIn, detail: &str) -> Result<(), Trouble> {
        let here = who.company.as_ref().map(|company| company.company_id);
        if self.get(COMPANY).is_some() && self.id(COMPANY) != here {
            return Err(Trouble::new(Kind::Contended, detail));
        }
        Ok(())
    }

    /// The fields of an urlencoded text. Empty ones are left out, and those that hold a U+0000,
    /// which PostgreSQL's texts can't.
    pub fn parse(text: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(text).into_owned();
        Self(pairs.filter(|(_, value)| !value.is_empty() && !value.contains('\0')).collect())
    }

    /// As [`Self::parse`], for what somebody sent: a U+0000 is refused.
    fn read(text: &[u8]) -> Result<Self, Trouble> {
        let mut pairs = url::form_urlencoded::parse(text);
        if let Some((name, _)) = pairs.find(|(_, value)| value.contains('\0')) {
            let detail = format!("“{name}” must not contain the character U+0000.");
            return Err(Trouble::new(Kind::InvalidInput, detail));
        }
        Ok(Self::parse(text))
    }

    /// A field's value; empty where it is missing.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// A field's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<String> {
        let values = self.0.iter().filter(|(own, _)| own == name);
        values.map(|(_, value)| value.clone()).collect()
    }

    /// The whole number that a field holds.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.trim().parse().ok()
    }

    /// The seconds that a field holds, if it is there.
    ///
    /// # Errors
    /// When it holds something else, which no form of ours sends.
    pub fn seconds(&self, name: &str) -> Result<Option<i64>, Trouble> {
        let seconds = self.get(name).map(|text| text.trim().parse()).transpose();
        seconds.map_err(|_| {
            Trouble::new(Kind::InvalidInput, format!("“{name}” has to be a number of seconds."))
        })
    }

    /// The instant that a field names.
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        parse_field(self.get(name)?.trim())
    }

    /// The identifier that a field holds.
    pub fn id(&self, name: &str) -> Option<Uuid> {
        self.get(name)?.trim().parse().ok()
    }

    /// The reason that was given.
    pub fn reason(&self) -> Option<String> {
        // Forms end lines with a carriage return, which is no part of what was written.
        self.get("reason").map(|text| text.replace('\r', ""))
    }

    /// The fields of these names, in their order.
    pub fn only(&self, names: &[&str]) -> Vec<(&str, &str)> {
        let wanted = self.0.iter().filter(|(name, _)| names.contains(&name.as_str()));
        wanted.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// The fields that have none of these names.
    pub fn except(&self, names: &[&str]) -> Vec<(&str, &str)> {
        let wanted = self.0.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        wanted.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// What it says without the fields that a list does not know, and those.
    pub fn sifted(&self, is_known: impl Fn(&str, &str) -> bool) -> (Self, Vec<(String, String)>) {
        let fields = self.0.iter().cloned();
        let (known, unknown) = fields.partition(|(name, value)| is_known(name, value));
        (Self(known), unknown)
    }

    /// The fields of these names as one text, for [`LIST`]; none where there are none.
    pub fn asked(&self, names: &[&str]) -> Option<String> {
        address("", self.only(names)).strip_prefix('?').map(str::to_owned)
    }

    /// The list at this path that the form was opened from, asked for what it was.
    pub fn list_before(&self, path: &str, names: &[&str], notice: Option<&str>) -> String {
        let asked = Self::parse(self.text(LIST).as_bytes());
        let notice = notice.map(|notice| ("notice", notice));
        address(path, asked.only(names).into_iter().chain(notice))
    }

    /// The conditions of the change that the form asks for: the version that it was filled in
    /// at, and the nonce by which its second arrival is recognised. The route says what is changed,
    /// of which thing: the forms of a page have one nonce.
    pub fn conditions(&self, caller: &Caller, route: &str) -> Conditions {
        let expected_version =
            self.number("version").and_then(|version| u64::try_from(version).ok());
        let nonce = self.get(NONCE).filter(|nonce| nonce.len() <= MAX_NONCE);
        let idempotency = nonce.map(|nonce| {
            let route = format!("console {route}");
            Idempotency::of(&caller.credential, route, nonce, self.hash())
        });
        Conditions { expected_version, idempotency }
    }

    /// Tells what was asked for from anything else.
    fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (name, value) in &self.0 {
            if !BESIDE.contains(&name.as_str()) {
                for part in [name, value] {
                    hash.update(part.len().to_be_bytes());
                    hash.update(part);
                }
            }
        }
        hash.finalize().into()
    }
}

/// A path with parameters.
pub fn address<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_ledger_domain::CompanyId;

    #[test]
    fn empty_fields_say_nothing() {
        let fields = Sent::parse(b"q=&status=active&status=expired&scope=a+b");
        assert_eq!(fields.get("q"), None);
        assert_eq!(fields.all("status"), ["active", "expired"]);
        assert_eq!(fields.text("scope"), "a b");
    }

    #[test]
    fn seconds_that_are_none_are_not_taken_for_none_at_all() {
        let seconds = |text: &str| Sent::parse(text.as_bytes()).seconds("s").ok();
        assert_eq!(seconds("s=3600"), Some(Some(3600)));
        assert_eq!((seconds(""), seconds("s=")), (Some(None), Some(None)));
        assert_eq!((seconds("s=abc"), seconds("s=1.5")), (None, None));
    }

    #[test]
    fn a_repeat_asks_for_the_same_whatever_it_is_sent_with() {
        let hash = |text: &str| Sent::parse(text.as_bytes()).hash();
        assert_eq!(hash("name=a&nonce=1&csrf=x"), hash("name=a&nonce=2&csrf=y"));
        assert_ne!(hash("name=a&scopes=b"), hash("name=ascopes&b="));
        assert_ne!(hash("name=a"), hash("name=b"));
    }

    #[test]
    fn forms_of_one_page_are_no_repeats_of_each_other() {
        let sent = Sent::parse(b"nonce=1");
        let caller = Caller::command_line(CompanyId::PLATFORM);
        let of = |route: &str| sent.conditions(&caller, route).idempotency.unwrap();
        assert_eq!(of("rebuild keys"), of("rebuild keys"));
        assert_ne!(of("rebuild keys"), of("rebuild tokens"));
    }

    #[test]
    fn a_list_is_gone_back_to_as_it_was_asked_for() {
        let list = Sent::parse(b"q=a%26b&status=active&status=deleted&notice=done");
        let asked = list.asked(&["q", "status"]).unwrap();
        let form = Sent::parse(address("", [(LIST, asked.as_str())]).as_bytes().split_at(1).1);
        let back = form.list_before("/list", &["q", "status"], Some("gone"));
        assert_eq!(back, "/list?q=a%26b&status=active&status=deleted&notice=gone");
        assert_eq!(Sent::default().list_before("/list", &["q"], None), "/list");
        assert_eq!(Sent::default().asked(&["q"]), None);
    }

    #[test]
    fn addresses_are_escaped() {
        assert_eq!(
            address("/console/tokens", [("q", "a&b"), ("q", "ü")]),
            "/console/tokens?q=a%26b&q=%C3%BC"
        );
        assert_eq!(address("/console/tokens", []), "/console/tokens");
    }
}
