//! What the annotations of single operations can't say: what holds for all of them, and what the
//! operator chose.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use token_ledger_domain::event::EVENT_TYPES;
use token_ledger_domain::{Catalogue, KeyScope};

/// `If-Match` as [`super::extract::IfMatch`] reads it.
const ETAG: &str = r#"^(\*|"[0-9]{1,18}"(, ?"[0-9]{1,18}")*)$"#;
/// `If-None-Match` as [`super::extract::IfMatch`] reads it.
const WEAK_ETAG: &str = r#"^(\*|(W/)?"[0-9]{1,18}"(, ?(W/)?"[0-9]{1,18}")*)$"#;
/// The operations that change a thing which has a version.
const CHANGES: [&str; 13] = [
    "set_oauth_app",
    "set_policy",
    "change_member_role",
    "remove_member",
    "make_password_link",
    "refresh_key",
    "delete_key",
    "rotate_client",
    "delete_client",
    "refresh_token",
    "end_grace",
    "change_token",
    "delete_token",
];
/// The operations that read a thing which has a version.
const VERSIONED: [&str; 6] =
    ["get_company", "get_policy", "get_member", "get_key", "get_client", "get_token"];
/// Of these, what nothing but events changes.
const BY_EVENTS_ALONE: [&str; 2] = ["get_company", "get_policy"];
/// `Idempotency-Key` as [`super::extract::IdempotencyKey`] reads it.
const PRINTABLE: &str = "^[!-~]([ -~]*[!-~])?$";

/// Where schemas are referred to.
const SCHEMAS: &str = "#/components/schemas/";
/// The answers that leave a field out where it says nothing.
const LEAVE_OUT: [&str; 6] = [
    "Introspection",
    "IntrospectionError",
    "OauthErrorBody",
    "ProblemBody",
    "Readiness",
    "RuleProblem",
];

/// A scope (RFC 6749 §3.3).
const SCOPE: &str = r"^[!#-\[\]-~]+$";
/// No control character, and none that breaks lines or turns the direction of text.
macro_rules! plain {
    () => {
        r"[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]"
    };
}
/// What leaves nothing to see, as [`token_ledger_domain::name::can_be_seen`] has it up to U+FFFF: beyond,
/// patterns mean one thing to some readers and another to others.
macro_rules! unseen {
    () => {
        concat!(
            r"\s\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f",
            r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0",
            r"\ufff0-\ufff8"
        )
    };
}
/// Something to see.
macro_rules! seen {
    () => {
        concat!("[^", unseen!(), "]")
    };
}
/// No control characters but line breaks and tabs, and none that turns the direction of text.
macro_rules! text {
    () => {
        r"[^\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]"
    };
}
/// What is in no e-mail address.
macro_rules! strange {
    () => {
        concat!(unseen!(), r#"@<>()\[\],;:\\""#)
    };
}
/// Something to see, and no control characters.
const NAME: &str = concat!("^", plain!(), "*", seen!(), plain!(), "*$");
/// As [`NAME`], or nothing.
const NAME_OR_NOTHING: &str = concat!("^(", plain!(), "*", seen!(), plain!(), "*)?$");
/// As [`text`] has it.
const TEXT: &str = concat!("^", text!(), "*$");
/// As [`TEXT`], with something to see.
const SOME_TEXT: &str = concat!("^", text!(), "*", seen!(), text!(), "*$");
/// An e-mail address as [`crate::app::people::Email`] reads it.
const EMAIL: &str =
    concat!("^[^", strange!(), "]+@[^", strange!(), ".]+(\\.[^", strange!(), ".]+)*$");

/// Completes the description.
pub(super) fn complete(document: &mut Value, catalogue: &Catalogue) {
    for (name, shape) in vocabulary(catalogue) {
        let schema = document.pointer_mut(&format!("/components/schemas/{name}"));
        if let (Some(Value::Object(schema)), Value::Object(shape)) = (schema, shape) {
            schema.extend(shape);
        }
    }
    let asked = asked_for(document);
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    for (name, schema) in schemas.into_iter().flatten() {
        if !asked.contains(name.as_str()) && !LEAVE_OUT.contains(&name.as_str()) {
            describe_fields(schema);
        }
        if let Some(item) = name.strip_prefix("Page_") {
            schema["properties"]["items"]["items"] = json!({"$ref": format!("{SCHEMAS}{item}")});
        }
    }
    let schemas = document["components"]["schemas"].clone();
    let paths = document["paths"].as_object_mut();
    for (path, item) in paths.into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            describe_places(path, method, operation);
            describe_conditions(operation);
            describe_answers(path, method, operation);
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                describe_parameter(path, parameter, &schemas);
            }
            if let Some(body) = operation.get_mut("requestBody") {
                describe_body(method, body, &schemas);
            }
        }
    }
}

/// The names of the schemas that bodies of requests are made of.
fn asked_for(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(_, item)| item.as_object().into_iter().flatten());
    let mut names = BTreeSet::new();
    for (_, operation) in operations {
        collect_references(
            &operation["requestBody"],
            &document["components"]["schemas"],
            &mut names,
        );
    }
    names
}

fn collect_references(value: &Value, schemas: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for field in fields.values() {
                collect_references(field, schemas, names);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_references(item, schemas, names);
            }
        }
        Value::String(text) => {
            if let Some(name) = text.strip_prefix(SCHEMAS)
                && names.insert(name.to_owned())
            {
                collect_references(&schemas[name], schemas, names);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// An answer has every field, and says null where there is nothing.
fn describe_fields(schema: &mut Value) {
    for part in schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten() {
        describe_fields(part);
    }
    if let Some(fields) = schema["properties"].as_object() {
        let names: Vec<&String> = fields.keys().collect();
        schema["required"] = json!(names);
    }
}

/// What the identifiers in paths are of.
const PLACES: [(&str, &str); 7] = [
    ("company_id", "The company"),
    ("token_id", "The token"),
    ("key_id", "The key"),
    ("client_id", "The client"),
    ("member_id", "The member"),
    ("operation_id", "The operation"),
    ("person_id", "The person, as `company.member_added` has it"),
];

fn parameter(place: &str, name: &str, description: &str, schema: &Value) -> Value {
    json!({"name": name, "in": place, "required": place == "path", "schema": schema,
        "description": description})
}

fn if_match() -> Value {
    let schema = json!({"type": "string"});
    parameter("header", "If-Match", "The version that it must stand at", &schema)
}

/// The identifiers in the path, what makes a repeat harmless, and what a change may be conditioned by.
fn describe_places(path: &str, method: &str, operation: &mut Value) {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let places = names.filter_map(|name| PLACES.iter().find(|(known, _)| *known == name));
    let id = json!({"type": "string", "format": "uuid"});
    let mut parameters: Vec<Value> =
        places.map(|(name, description)| parameter("path", name, description, &id)).collect();
    if method == "post" && path.starts_with("/v1/") {
        let text = "Makes a repeat harmless: it is answered as the first request was";
        let schema = json!({"type": "string"});
        parameters.push(parameter("header", "Idempotency-Key", text, &schema));
    }
    if operation["operationId"].as_str().is_some_and(|id| CHANGES.contains(&id)) {
        parameters.push(if_match());
    }
    if let Some(Value::Array(annotated)) = operation.get_mut("parameters").map(Value::take) {
        parameters.extend(annotated);
    }
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
}

/// The headers of answers.
fn describe_answers(path: &str, method: &str, operation: &mut Value) {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let takes = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
    let (is_repeatable, has_version) = (takes("Idempotency-Key"), takes("If-Match"));
    let is_link = path.ends_with("/password-link");
    let is_versioned = |status: &str| status == "201" || has_version && status != "204";
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    if let Some(responses) = responses
        && let Some(refusal) = responses.get("503")
        && refusal["content"].is_object()
    {
        let text = "The service failed; its log says more under the `request_id`";
        let failure = json!({"description": text, "content": refusal["content"]});
        responses.entry("500").or_insert(failure);
    }
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for (status, response) in responses.into_iter().flatten() {
        let is_done = status.starts_with('2');
        let is_new = method == "post" && matches!(status.as_str(), "201" | "202") && !is_link;
        for (holds, name, description) in [
            (
                is_done && is_repeatable,
                "Idempotent-Replay",
                "`true` where this is a repeat's answer",
            ),
            (is_done && is_versioned(status) && !is_link, "ETag", "Its version, quoted"),
            (is_new, "Location", "Where it is, or its progress"),
            (
                matches!(status.as_str(), "401" | "403"),
                "WWW-Authenticate",
                "What is to be shown, and what was wrong or lacking",
            ),
            (matches!(status.as_str(), "429" | "503"), "Retry-After", "After how many seconds"),
        ] {
            if holds && response["headers"].get(name).is_none() {
                let schema = json!({"type": "string"});
                response["headers"][name] = json!({"description": description, "schema": schema});
            }
        }
    }
}

/// What each of [`super::vocabulary`] may be.
fn vocabulary(catalogue: &Catalogue) -> Vec<(&'static str, Value)> {
    let scopes: Vec<&str> = catalogue.iter().map(|(scope, _)| scope.as_str()).collect();
    let key_scopes: Vec<&str> = KeyScope::ALL.iter().map(|scope| scope.as_str()).collect();
    let event_types: Vec<&str> = EVENT_TYPES.iter().map(|(name, _)| *name).collect();
    let orders = ["created_at", "expires_at", "name", "last_used_at"];
    let orders: Vec<String> =
        orders.iter().flat_map(|name| [(*name).to_owned(), format!("-{name}")]).collect();
    vec![
        ("ScopeName", json!({"enum": scopes})),
        ("KeyScopeName", json!({"enum": key_scopes})),
        ("EventType", json!({"enum": event_types})),
        ("RoleName", json!({"enum": ["auditor", "super_admin", "operator"]})),
        ("TokenStatus", json!({"enum": ["active", "expired", "deleted"]})),
        ("ClientStatus", json!({"enum": ["active", "deleted"]})),
        ("TokenOrder", json!({"enum": orders})),
        ("ExportFormat", json!({"enum": ["ndjson", "csv"]})),
        ("GrantType", json!({"enum": ["client_credentials"]})),
        ("OptionalGrantType", json!({"enum": ["client_credentials", ""]})),
        ("NameText", json!({"minLength": 1, "maxLength": 100, "pattern": NAME})),
        ("OptionalName", json!({"maxLength": 100, "pattern": NAME_OR_NOTHING})),
        ("Reason", json!({"maxLength": 500, "pattern": TEXT})),
        ("RequiredReason", json!({"minLength": 1, "maxLength": 500, "pattern": SOME_TEXT})),
        ("EmailAddress", json!({"maxLength": 254, "pattern": EMAIL})),
        ("AnyScope", json!({"minLength": 1, "maxLength": 100, "pattern": SCOPE})),
    ]
}

/// What may be asked of the version of the thing that is changed or read (RFC 9110 §13).
fn describe_conditions(operation: &mut Value) {
    let id = operation["operationId"].as_str().unwrap_or_default();
    let is_read = VERSIONED.contains(&id);
    let is_by_events_alone = BY_EVENTS_ALONE.contains(&id);
    let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) else {
        return;
    };
    if is_read {
        parameters.push(if_match());
    }
    if !parameters.iter().any(|parameter| parameter["name"] == "If-Match") {
        return;
    }
    if !is_read || is_by_events_alone {
        let (text, schema) = ("The version that it must not stand at", json!({"type": "string"}));
        parameters.push(parameter("header", "If-None-Match", text, &schema));
    }
    if is_read {
        let mismatch = operation["responses"]["400"]["content"].clone();
        let responses = &mut operation["responses"];
        if is_by_events_alone {
            responses["304"] =
                json!({"description": "It is at a version in `If-None-Match` still"});
        }
        responses["412"] =
            json!({"description": "It is not at a version in `If-Match`", "content": mismatch});
    }
}

fn describe_parameter(path: &str, parameter: &mut Value, schemas: &Value) {
    let in_query = parameter["in"] == "query";
    let name = parameter["name"].as_str().unwrap_or_default().to_owned();
    let schema = &mut parameter["schema"];
    without_null(schema);
    match name.as_str() {
        "If-Match" => schema["pattern"] = json!(ETAG),
        "If-None-Match" => schema["pattern"] = json!(WEAK_ETAG),
        "Idempotency-Key" => {
            schema["pattern"] = json!(PRINTABLE);
            schema["minLength"] = json!(1);
            schema["maxLength"] = json!(255);
        }
        _ => {}
    }
    // A parameter without a value is refused there: it is not what the caller meant.
    if in_query && path.starts_with("/v1/") && !path.starts_with("/v1/verify") {
        let text = if schema["type"] == "array" { &mut schema["items"] } else { schema };
        if may_be_empty(named(text, schemas)) {
            text["minLength"] = json!(1);
        }
    }
}

/// Whether the schema is of texts, and says nothing yet of the empty one.
fn may_be_empty(schema: &Value) -> bool {
    let says = |keyword| schema.get(keyword).is_some();
    schema["type"] == "string" && !says("minLength") && !says("enum")
}

/// A parameter is a text, which may be left out, but can't be null.
fn without_null(schema: &mut Value) {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    let Some(choices) = schema.get_mut("oneOf").and_then(Value::as_array_mut) else { return };
    choices.retain(|choice| choice["type"] != "null");
    if let [only] = choices.as_slice() {
        *schema = only.clone();
    }
}

/// A JSON body in which nothing is needed may be left out, but to replace something: it counts as an
/// empty object.
fn describe_body(method: &str, body: &mut Value, schemas: &Value) {
    if let Some(form) = body["content"].get_mut("application/x-www-form-urlencoded") {
        let (own, in_json) = (as_form(&form["schema"], schemas), named(&form["schema"], schemas));
        if own != *in_json {
            form["schema"] = own;
        }
    }
    let in_json = &body["content"]["application/json"]["schema"];
    if method != "put" && in_json["$ref"].is_string() && !needs_something(named(in_json, schemas)) {
        body["required"] = json!(false);
    }
}

/// What a form may hold: as in JSON, but for null, which no form can say.
fn as_form(schema: &Value, schemas: &Value) -> Value {
    let mut schema = named(schema, schemas).clone();
    if let Some(parts) = schema.get_mut("allOf").and_then(Value::as_array_mut) {
        for part in parts {
            *part = as_form(part, schemas);
        }
    }
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (_, field) in fields.into_iter().flatten() {
        without_null(field);
    }
    schema
}

/// The schema that this one refers to, or this one.
fn named<'v>(schema: &'v Value, schemas: &'v Value) -> &'v Value {
    let name = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix(SCHEMAS));
    name.map_or(schema, |name| &schemas[name])
}

fn needs_something(schema: &Value) -> bool {
    let parts = schema["allOf"].as_array();
    schema.get("required").is_some() || parts.into_iter().flatten().any(needs_something)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_never_null() {
        let mut schema = json!({"type": ["string", "null"]});
        without_null(&mut schema);
        assert_eq!(schema, json!({"type": "string"}));
        let mut schema = json!({"oneOf": [{"type": "null"}, {"$ref": "#/a"}]});
        without_null(&mut schema);
        assert_eq!(schema, json!({"$ref": "#/a"}));
    }

    #[test]
    fn forms_hold_no_null() {
        let fields = json!({"a": {"type": ["string", "null"]}, "b": {"type": "string"}});
        let schemas = json!({
            "Whole": {"allOf": [{"$ref": "#/components/schemas/Part"}]},
            "Part": {"properties": fields, "required": ["b"]},
        });
        let fields = json!({"a": {"type": "string"}, "b": {"type": "string"}});
        let expected = json!({"allOf": [{"properties": fields, "required": ["b"]}]});
        assert_eq!(as_form(&json!({"$ref": "#/components/schemas/Whole"}), &schemas), expected);
    }
}
