//! What a list of tokens can be asked for.

use super::extract::bound;
use super::page;
use super::problem::Problem;
use super::vocabulary::{AnyScope, TokenOrder, TokenStatus};
use crate::app::error::Invalid;
use crate::app::input::Check;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use token_ledger_domain::{CompanyId, Scope, Timestamp};
use token_ledger_projections::read_models::{After, SortValue, TokenFilter, TokenPage, TokenSort};
use token_ledger_projections::tokens::Status;
use utoipa::IntoParams;
use uuid::Uuid;

/// The order where no other is asked for.
const DEFAULT_SORT: &str = "-created_at";

/// Filters, order and page.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TokenQuery {
    /// `active`, `expired` or `deleted`; may be repeated. Active and expired ones unless given.
    #[serde(default)]
    #[param(value_type = Vec<TokenStatus>)]
    status: Vec<String>,
    /// Those that have this scope.
    #[param(value_type = Option<AnyScope>)]
    scope: Option<String>,
    /// Those that have this in their name.
    q: Option<String>,
    /// Those that this actor created.
    #[param(value_type = Option<Uuid>)]
    created_by: Option<String>,
    /// Those whose term ends before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    expires_before: Option<String>,
    /// `created_at`, `expires_at`, `name` or `last_used_at`, with `-` in front for descending;
    /// `-created_at` unless given.
    #[param(value_type = Option<TokenOrder>)]
    sort: Option<String>,
    /// The most tokens to answer with; 50 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What was asked for.
#[derive(Debug)]
pub struct Asked {
    /// Which tokens.
    pub filter: TokenFilter,
    /// In which order, and which of them.
    pub page: TokenPage,
    /// Filters and order as a text, to which cursors are tied.
    pub list: String,
}

/// A place in a list, as cursors carry it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Place {
    value: PlaceValue,
    id: Uuid,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum PlaceValue {
    Micros(i64),
    Text(String),
}

impl From<After> for Place {
    fn from(after: After) -> Self {
        let value = match after.value {
            SortValue::Time(time) => PlaceValue::Micros(time.as_micros()),
            SortValue::Text(text) => PlaceValue::Text(text),
        };
        Self { value, id: after.id }
    }
}

impl From<Place> for After {
    fn from(place: Place) -> Self {
        let value = match place.value {
            PlaceValue::Micros(micros) => SortValue::Time(Timestamp::from_micros(micros)),
            PlaceValue::Text(text) => SortValue::Text(text),
        };
        Self { value, id: place.id }
    }
}

impl TokenQuery {
    /// What is asked for, of this company.
    ///
    /// # Errors
    /// When a parameter is not acceptable; all of them are named.
    pub fn read(&self, company: CompanyId, now: Timestamp) -> Result<Asked, Problem> {
        let mut check = Check::default();
        let status = check.taken(statuses(&self.status));
        let scope: Option<Option<Scope>> =
            check.field("scope", self.scope.as_deref().map(str::parse).transpose());
        let created_by = check.taken(self.created_by());
        let expires_before = check.taken(bound("expires_before", self.expires_before.as_deref()));
        let sort = check.taken(sort(self.sort.as_deref().unwrap_or(DEFAULT_SORT)));
        let limit = check.taken(page::limit(self.limit));
        let list = self.list(company);
        let place = page::place(&list, self.cursor.as_deref());
        let place = check.taken(place.and_then(|place| fitting(place, sort)));
        let (
            Some(status),
            Some(scope),
            Some(created_by),
            Some(expires_before),
            Some((sort, descending)),
            Some(limit),
            Some(place),
        ) = (status, scope, created_by, expires_before, sort, limit, place)
        else {
            return Err(check.refusal().into());
        };
        let filter = TokenFilter {
            scope: scope.map(|scope| scope.to_string()),
            q: self.q.clone(),
            created_by,
            expires_before,
            ..TokenFilter::of(status, now)
        };
        let after = place.map(After::from);
        Ok(Asked { filter, page: TokenPage { sort, descending, after, limit }, list })
    }

    fn created_by(&self) -> Result<Option<Uuid>, Invalid> {
        let parsed = self.created_by.as_deref().map(str::parse).transpose();
        parsed.map_err(|_| Invalid::new("created_by", "must be the UUID of an actor"))
    }

    /// Everything that tells one list from another.
    fn list(&self, company: CompanyId) -> String {
        let status: BTreeSet<&String> = self.status.iter().collect();
        format!(
            "tokens of {company}: {status:?} {:?} {:?} {:?} {:?} {}",
            self.scope,
            self.q,
            self.created_by,
            self.expires_before,
            self.sort.as_deref().unwrap_or(DEFAULT_SORT),
        )
    }
}

/// The place, if it is one in this order: a text among names, a time otherwise.
fn fitting(
    place: Option<Place>,
    sort: Option<(TokenSort, bool)>,
) -> Result<Option<Place>, Invalid> {
    let by_name = matches!(sort, Some((TokenSort::Name, _)));
    let is_text = |place: &Place| matches!(place.value, PlaceValue::Text(_));
    if sort.is_some() && place.as_ref().is_some_and(|place| is_text(place) != by_name) {
        return Err(page::malformed());
    }
    Ok(place)
}

fn statuses(names: &[String]) -> Result<BTreeSet<Status>, Invalid> {
    if names.is_empty() {
        return Ok(BTreeSet::from([Status::Active, Status::Expired]));
    }
    let parsed: Option<BTreeSet<Status>> = names.iter().map(|name| Status::parse(name)).collect();
    parsed.ok_or_else(|| Invalid::new("status", "must be active, expired or deleted"))
}

/// The column and whether the greatest come first.
fn sort(text: &str) -> Result<(TokenSort, bool), Invalid> {
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    let column = match name {
        "created_at" => TokenSort::CreatedAt,
        "expires_at" => TokenSort::ExpiresAt,
        "name" => TokenSort::Name,
        "last_used_at" => TokenSort::LastUsedAt,
        _ => {
            return Err(Invalid::new(
                "sort",
                "must be created_at, expires_at, name or last_used_at, or one of them after a -",
            ));
        }
    };
    Ok((column, descending))
}
