//! What the annotations of single operations can't say: what holds for all of them, and what the
//! operator chose.

use serde_json::{Value, json};
use token_ledger_domain::event::EVENT_TYPES;
use token_ledger_domain::{Catalogue, KeyScope};

/// `If-Match` as [`super::extract::IfMatch`] reads it.
const ETAG: &str = r#"^(\*|"[0-9]{1,18}"(, ?"[0-9]{1,18}")*)$"#;
/// `If-None-Match` as [`super::extract::IfMatch`] reads it.
const WEAK_ETAG: &str = r#"^(\*|(W/)?"[0-9]{1,18}"(, ?(W/)?"[0-9]{1,18}")*)$"#;
/// The operations that read a thing which has a version.
const VERSIONED: [&str; 6] =
    ["get_company", "get_policy", "get_member", "get_key", "get_client", "get_token"];
/// Of these, what nothing but events changes.
const BY_EVENTS_ALONE: [&str; 2] = ["get_company", "get_policy"];
/// `Idempotency-Key` as [`super::extract::IdempotencyKey`] reads it.
const PRINTABLE: &str = "^[!-~]([ -~]*[!-~])?$";

/// A scope (RFC 6749 §3.3).
const SCOPE: &str = r"^[!#-\[\]-~]+$";
/// No control character, and none that breaks lines or turns the direction of text.
macro_rules! plain {
    () => {
        r"[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]"
    };
}
/// Something to see, as [`token_ledger_domain::name::can_be_seen`] has it up to U+FFFF: beyond,
/// patterns mean one thing to some readers and another to others.
macro_rules! seen {
    () => {
        concat!(
            r"[^\s\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f",
            r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0",
            r"\ufff0-\ufff8]"
        )
    };
}
/// No control characters but line breaks and tabs.
macro_rules! text {
    () => {
        r"[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]"
    };
}
/// Something to see, and no control characters.
const NAME: &str = concat!("^", plain!(), "*", seen!(), plain!(), "*$");
/// As [`NAME`], or nothing.
const NAME_OR_NOTHING: &str = concat!("^(", plain!(), "*", seen!(), plain!(), "*)?$");
/// No control characters but line breaks and tabs.
const TEXT: &str = concat!("^", text!(), "*$");
/// As [`TEXT`], with something to see.
const SOME_TEXT: &str = concat!("^", text!(), "*", seen!(), text!(), "*$");
/// An e-mail address as [`crate::app::people::Email`] reads it.
const EMAIL: &str = r#"^[^\s\u0000-\u001f\u007f-\u009f@<>()\[\],;:\\"]+@[^\s\u0000-\u001f\u007f-\u009f@<>()\[\],;:\\".]+(\.[^\s\u0000-\u001f\u007f-\u009f@<>()\[\],;:\\".]+)*$"#;

/// Completes the description.
pub(super) fn complete(document: &mut Value, catalogue: &Catalogue) {
    for (name, shape) in vocabulary(catalogue) {
        let schema = document.pointer_mut(&format!("/components/schemas/{name}"));
        if let (Some(Value::Object(schema)), Value::Object(shape)) = (schema, shape) {
            schema.extend(shape);
        }
    }
    let schemas = document["components"]["schemas"].clone();
    let paths = document["paths"].as_object_mut();
    for (path, item) in paths.into_iter().flatten() {
        for (_, operation) in item.as_object_mut().into_iter().flatten() {
            describe_conditions(operation);
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                describe_parameter(path, parameter);
            }
            if let Some(body) = operation.get_mut("requestBody") {
                describe_body(body, &schemas);
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
    let header = |name, description| {
        let schema = json!({"type": "string"});
        json!({"name": name, "in": "header", "required": false, "schema": schema,
            "description": description})
    };
    if is_read {
        parameters.push(header("If-Match", "The version that it must stand at"));
    }
    if !parameters.iter().any(|parameter| parameter["name"] == "If-Match") {
        return;
    }
    if !is_read || is_by_events_alone {
        parameters.push(header("If-None-Match", "The version that it must not stand at"));
    }
    if is_read {
        let mismatch = operation["responses"]["400"]["content"].clone();
        let responses = &mut operation["responses"];
        responses["200"]["headers"] = json!({"ETag": {"description": "Its version, quoted",
            "schema": {"type": "string"}}});
        if is_by_events_alone {
            responses["304"] =
                json!({"description": "It is at a version in `If-None-Match` still"});
        }
        responses["412"] =
            json!({"description": "It is not at a version in `If-Match`", "content": mismatch});
    }
}

fn describe_parameter(path: &str, parameter: &mut Value) {
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
        if text["type"] == "string" && text.get("minLength").is_none() {
            text["minLength"] = json!(1);
        }
    }
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

/// A JSON body in which nothing is needed may be left out: it counts as an empty object.
fn describe_body(body: &mut Value, schemas: &Value) {
    if let Some(form) = body["content"].get_mut("application/x-www-form-urlencoded") {
        form["schema"] = as_form(&form["schema"], schemas);
    }
    let reference = body["content"]["application/json"]["schema"]["$ref"].as_str();
    let name = reference.and_then(|reference| reference.rsplit('/').next());
    if name.is_some_and(|name| !needs_something(&schemas[name])) {
        body["required"] = json!(false);
    }
}

/// What a form may hold: as in JSON, but for null, which no form can say.
fn as_form(schema: &Value, schemas: &Value) -> Value {
    let reference = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    let mut schema = reference.map_or(schema, |name| &schemas[name]).clone();
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
