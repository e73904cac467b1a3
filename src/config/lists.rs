//! Settings that are lists, which the environment has as texts.

use super::ScopeSetting;
use ipnet::IpNet;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use token_ledger_domain::Quoted;

/// Networks as a list, or as a text with commas or spaces between them.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum ListOrText {
        List(Vec<String>),
        Text(String),
    }
    let texts: Vec<String> = match ListOrText::deserialize(deserializer)? {
        ListOrText::List(list) => list,
        ListOrText::Text(text) => text.split([',', ' ']).map(str::to_owned).collect(),
    };
    texts
        .iter()
        .map(|text| text.trim())
        .filter(|text| !text.is_empty())
        .map(|text| network(text).map_err(D::Error::custom))
        .collect()
}

/// A network, or a single address.
///
/// # Errors
/// When the text is neither.
pub fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from)).map_err(
        |_| format!("{} is neither a network such as 10.0.0.0/8 nor an address", Quoted(text)),
    )
}

/// Data accesses as a list, or as a text with one in each line, as `--scope` takes it.
pub(super) fn scopes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ScopeSetting>, D::Error> {
    deserializer.deserialize_any(Scopes)
}

struct Scopes;

impl<'de> Visitor<'de> for Scopes {
    type Value = Vec<ScopeSetting>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names with descriptions, or lines NAME=DESCRIPTION")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(|line| scope(line).map_err(E::custom)).collect()
    }
}

/// A data access, as `NAME=DESCRIPTION`.
///
/// # Errors
/// When the text is not that, or the name can't be a scope's.
pub fn scope(text: &str) -> Result<ScopeSetting, String> {
    let (name, description) =
        text.split_once('=').ok_or_else(|| format!("{} is not NAME=DESCRIPTION", Quoted(text)))?;
    let name = name.parse().map_err(|error| format!("{}: {error}", Quoted(name)))?;
    Ok(ScopeSetting { name, description: description.to_owned() })
}
