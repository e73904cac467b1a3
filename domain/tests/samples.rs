//! Stored samples: one payload for every type of event in every version that a ledger can hold.
//!
//! The files under `samples` are what ledgers out there contain and hash. They are never edited:
//! when one fails here, the change to the event needs a new version and an upcaster instead.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use token_ledger_domain::event::{AggregateType, EVENT_TYPES, UndecodableEvent};
use token_ledger_domain::{LedgerEvent, ScopeSet};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

fn file_name(event_type: &str, version: u32) -> String {
    format!("{event_type}.v{version}.json")
}

fn sample(event_type: &str, version: u32) -> String {
    let path = folder().join(file_name(event_type, version));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every type in every version from the first to the newest.
fn all_versions() -> impl Iterator<Item = (&'static str, u32)> {
    EVENT_TYPES
        .into_iter()
        .flat_map(|(event_type, newest)| (1..=newest).map(move |version| (event_type, version)))
}

fn decode(event_type: &str, payload: &str) -> Result<LedgerEvent, UndecodableEvent> {
    LedgerEvent::decode(event_type, "1", payload)
}

#[track_caller]
fn error(event_type: &str, version: &str, payload: &str) -> UndecodableEvent {
    LedgerEvent::decode(event_type, version, payload).expect_err("should not decode")
}

#[test]
fn there_is_one_sample_for_every_type_and_version() {
    let expected: BTreeSet<_> = all_versions().map(|(kind, v)| file_name(kind, v)).collect();
    let found: BTreeSet<_> = fs::read_dir(folder())
        .expect("the folder of samples")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn every_sample_decodes_to_the_newest_version_of_its_type() {
    for (event_type, version) in all_versions() {
        let event =
            LedgerEvent::decode(event_type, &version.to_string(), &sample(event_type, version))
                .unwrap_or_else(|error| panic!("{event_type} v{version}: {error}"));
        assert_eq!(event.type_name(), event_type);
        assert!(EVENT_TYPES.contains(&(event_type, event.version())), "{event_type}");
    }
}

#[test]
fn every_sample_of_a_newest_version_serialises_back_to_the_same_bytes() {
    for (event_type, version) in EVENT_TYPES {
        let stored = sample(event_type, version);
        let event = LedgerEvent::decode(event_type, &version.to_string(), &stored)
            .unwrap_or_else(|error| panic!("{event_type}: {error}"));
        assert_eq!(event.payload().expect("a payload"), stored);
    }
}

#[test]
fn the_type_begins_with_the_kind_of_aggregate() {
    for (event_type, _) in EVENT_TYPES {
        let event = decode(event_type, &sample(event_type, 1)).expect("a sample decodes");
        let kind: AggregateType =
            event_type.split('.').next().unwrap_or_default().parse().expect("a known kind");
        assert_eq!(event.aggregate_type(), kind);
        assert_eq!(kind.to_string().parse::<AggregateType>().expect("a known kind"), kind);
    }
    let unknown = "invoice".parse::<AggregateType>().expect_err("no such kind");
    assert_eq!(unknown.to_string(), r#"unknown aggregate type "invoice""#);
}

#[test]
fn the_adapter_and_the_ledger_agree_on_type_and_version() {
    use cqrs_es::DomainEvent;
    for (event_type, newest) in EVENT_TYPES {
        let event = decode(event_type, &sample(event_type, newest)).expect("a sample decodes");
        let adapted = match &event {
            LedgerEvent::Token(event) => (event.event_type(), event.event_version()),
            LedgerEvent::Key(event) => (event.event_type(), event.event_version()),
            LedgerEvent::Company(event) => (event.event_type(), event.event_version()),
        };
        assert_eq!(adapted, (event_type.to_owned(), newest.to_string()));
    }
}

#[test]
fn what_is_not_there_is_stored_the_same_way_too() {
    let secret = format!(r#"{{"digest":"{}","hint":"tlk_…abcd"}}"#, "0a".repeat(32));
    let time = "2026-03-01T09:00:00.000000Z";
    for (event_type, fields) in [
        (
            "token.created",
            format!(r#""name":"A","scopes":["a"],"secret":{secret},"expires_at":"{time}""#),
        ),
        (
            "token.refreshed",
            format!(r#""secret":{secret},"expires_at":"{time}","previous_secret_expires_at":null"#),
        ),
        (
            "company.policy_changed",
            r#""policy":{"max_validity_seconds":60,"max_grace_seconds":0,"allowed_scopes":null}"#
                .to_owned(),
        ),
    ] {
        let stored = format!(r#"{{"type":"{event_type}",{fields}}}"#);
        let event = decode(event_type, &stored).expect("decodes");
        assert_eq!(event.payload().expect("a payload"), stored);
    }
}

#[test]
fn an_unknown_type_is_named() {
    for unknown in ["token.stolen", "invoice.created", "token", "", "token.created "] {
        let error = error(unknown, "1", r#"{"type":"token.deleted"}"#);
        assert!(
            matches!(&error, UndecodableEvent::Type { event_type, .. } if event_type == unknown)
        );
        assert_eq!(error.to_string(), format!(r#"unknown event type {unknown:?} in version "1""#));
    }
}

#[test]
fn an_unknown_version_is_named_with_its_type() {
    for (event_type, newest) in EVENT_TYPES {
        let later = (newest + 1).to_string();
        for unknown in [later.as_str(), "0", "-1", "1.0", "one", ""] {
            let error = error(event_type, unknown, &sample(event_type, newest));
            assert_eq!(
                error.to_string(),
                format!("unknown event type {event_type:?} in version {unknown:?}")
            );
        }
    }
}

#[test]
fn a_payload_of_any_other_type_is_an_error_that_names_the_type() {
    for (event_type, _) in EVENT_TYPES {
        for (other, version) in EVENT_TYPES.into_iter().filter(|(other, _)| *other != event_type) {
            let error = error(event_type, "1", &sample(other, version));
            assert!(matches!(error, UndecodableEvent::Payload { .. }), "{error}");
            assert!(error.to_string().contains(&format!("payload of {event_type}:")), "{error}");
        }
    }
}

/// Fields whose absence means that there is none.
const OPTIONAL: [(&str, &str); 4] = [
    ("token.created", "client_id"),
    ("token.refreshed", "previous_secret_expires_at"),
    ("key.refreshed", "previous_secret_expires_at"),
    ("company.client_rotated", "previous_secret_expires_at"),
];

#[test]
fn a_missing_field_is_an_error_that_names_type_and_field() {
    for (event_type, newest) in EVENT_TYPES {
        let whole: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&sample(event_type, newest)).expect("an object");
        for field in whole.keys().filter(|field| !OPTIONAL.contains(&(event_type, field))) {
            let mut cut = whole.clone();
            cut.remove(field);
            let payload = serde_json::to_string(&cut).expect("JSON");
            let text = error(event_type, &newest.to_string(), &payload).to_string();
            assert!(text.contains(event_type) && text.contains(field.as_str()), "{text}");
        }
    }
}

#[test]
fn what_is_no_valid_payload_is_an_error_that_names_the_type() {
    let created = sample("token.created", 1);
    let mut broken = vec![
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        created[..created.len() - 1].to_owned(),
        format!("{created}{created}"),
    ];
    for (from, to) in [
        (r#""Payroll sync""#, r#""""#),
        (r#""employees""#, r#""two words""#),
        (r#""digest":""#, r#""digest":"z"#),
        ("2026-", "someday "),
    ] {
        assert!(created.contains(from), "{from} is in the sample");
        broken.push(created.replacen(from, to, 1));
    }
    for payload in broken {
        let text = error("token.created", "1", &payload).to_string();
        assert!(text.starts_with("payload of token.created: "), "{text}");
    }
}

#[test]
fn sets_are_stored_sorted() {
    let sorted: ScopeSet = "positions employees".parse().expect("scopes");
    assert_eq!(serde_json::to_string(&sorted).expect("JSON"), r#"["employees","positions"]"#);
}
