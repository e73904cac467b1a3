//! Lists: how they are asked for and answered.

use super::problem::Problem;
use crate::app::error::Invalid;
use crate::app::outcome::Listed;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};

/// Things on a page where no other number is asked for.
const DEFAULT_LIMIT: i64 = 50;
/// The most things on a page.
const MAX_LIMIT: i64 = 1000;
/// Bytes of the hash that ties a cursor to its list.
const TIE: usize = 12;

/// A query without parameters: any is unknown.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// What a list without filters takes.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The most things to answer with; 50 unless given.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The things.
    pub items: Vec<T>,
    /// To be sent as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The page that was asked for, of a list so short that it is read whole.
    ///
    /// # Errors
    /// When the limit or the cursor is not acceptable.
    pub fn out_of(of: &str, whole: Vec<T>, query: &PageQuery) -> Result<Self, Problem>
    where
        T: Serialize,
    {
        let (limit, after) = query.read::<usize>(of)?;
        let after = after.unwrap_or(0);
        let rest = whole.into_iter().skip(after).take(limit + 1).collect();
        let end = after.saturating_add(limit);
        Ok(Self::of(of, Listed::cut(rest, limit, |_| end, |item| item), |end| end))
    }

    /// A page of the list that `of` describes.
    pub fn of<A, P: Serialize>(of: &str, listed: Listed<T, A>, place: impl FnOnce(A) -> P) -> Self {
        let next_cursor = listed.next.map(|next| cursor(of, place(next)));
        Self { items: listed.items, next_cursor }
    }
}

/// The cursor for a place in the list that `of` describes.
pub fn cursor<P: Serialize>(of: &str, at: P) -> String {
    Cursor::new(of, at).to_text()
}

/// How many things a page shall have.
///
/// # Errors
/// When it is out of bounds.
pub fn limit(asked: Option<i64>) -> Result<usize, Invalid> {
    let asked = asked.unwrap_or(DEFAULT_LIMIT);
    usize::try_from(asked)
        .ok()
        .filter(|_| (1..=MAX_LIMIT).contains(&asked))
        .ok_or_else(|| Invalid::new("limit", format!("must be 1 to {MAX_LIMIT}")))
}

/// Where a list goes on. It is tied to the list, its order and its filters, so that it can't be
/// used with others by mistake.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor<P> {
    of: String,
    at: P,
}

impl<P: Serialize> Cursor<P> {
    fn new(of: &str, at: P) -> Self {
        Self { of: tie(of), at }
    }

    fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// The place that a cursor of the list that `of` describes stands for.
///
/// # Errors
/// When the text is no cursor, or one of another list.
pub fn place<P: DeserializeOwned>(of: &str, text: Option<&str>) -> Result<Option<P>, Invalid> {
    let Some(text) = text else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed())?;
    let cursor: Cursor<Value> = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
    if cursor.of != tie(of) {
        return Err(Invalid::new(
            "cursor",
            "belongs to a list with another order or other filters; begin without a cursor",
        ));
    }
    if !is_storable(&cursor.at) {
        return Err(malformed());
    }
    serde_json::from_value(cursor.at).map(Some).map_err(|_| malformed())
}

/// What is wrong with a text that is no cursor.
pub fn malformed() -> Invalid {
    Invalid::new("cursor", "must be the next_cursor of a page of this list, unchanged")
}

/// Whether all numbers and texts are such as databases hold.
fn is_storable(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_i64(),
        Value::Array(values) => values.iter().all(is_storable),
        Value::Object(fields) => fields.values().all(is_storable),
        Value::String(text) => !text.contains('\0'),
        Value::Null | Value::Bool(_) => true,
    }
}

fn tie(of: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(of.as_bytes())[..TIE])
}

impl PageQuery {
    /// The limit and the place, of the list that `of` describes.
    ///
    /// # Errors
    /// When one is not acceptable.
    pub fn read<P: DeserializeOwned>(&self, of: &str) -> Result<(usize, Option<P>), Problem> {
        match (limit(self.limit), place(of, self.cursor.as_deref())) {
            (Ok(limit), Ok(place)) => Ok((limit, place)),
            (limit, place) => {
                let errors = [limit.err(), place.err()];
                Err(errors.into_iter().flatten().collect::<Vec<_>>().into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_in_its_list_only() {
        let text = Cursor::new("tokens by name", 7).to_text();
        assert_eq!(place("tokens by name", Some(&text)), Ok(Some(7)));
        assert_eq!(place::<u8>("tokens by name", None), Ok(None));
        assert!(place::<u8>("tokens by age", Some(&text)).is_err());
        let beyond = Cursor::new("tokens by name", 1_u64 << 63).to_text();
        assert_eq!(place::<u64>("tokens by name", Some(&beyond)), Err(malformed()));
        let nul = Cursor::new("tokens by name", "a\0").to_text();
        assert_eq!(place::<String>("tokens by name", Some(&nul)), Err(malformed()));
        for text in ["", "x", "e30", &format!("{text}="), &text[1..]] {
            assert!(place::<u8>("tokens by name", Some(text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_page_has_1_to_1000_things() {
        assert_eq!(limit(None), Ok(50));
        assert_eq!(limit(Some(1000)), Ok(1000));
        for asked in [0, -1, 1001, i64::MIN, i64::MAX] {
            assert!(limit(Some(asked)).is_err(), "{asked}");
        }
    }
}
