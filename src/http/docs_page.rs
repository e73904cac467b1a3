//! The description of the API as a page for people.

use super::Service;
use super::html::{self, escaped, prose};
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use std::fmt::Write;
use std::sync::Arc;

/// The API, for people.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "docs",
    tag = "documentation",
    security(()),
    responses((status = 200, description = "A page", body = String, content_type = "text/html"))
)]
pub(super) async fn docs(State(service): State<Arc<Service>>) -> Response {
    html::answer(service.documents.page(&service.app.choices.catalogue))
}

/// The page that shows the document.
pub(super) fn page_of(document: &Value) -> String {
    html::text("API", &rendered(document))
}

/// One operation of the document.
struct Operation<'a> {
    method: String,
    path: &'a str,
    tag: &'a str,
    content: &'a Value,
}

fn rendered(document: &Value) -> String {
    let operations = operations(document);
    let mut html = format!(
        "<h1>{} {}</h1>\n<p>{}</p>\n<p>Send an API key as <code>Authorization: Bearer KEY</code>. \
         The same, for programs: <a href=\"/openapi.json\">openapi.json</a>. What errors mean: \
         <a href=\"/problems\">problems</a>.</p>\n",
        text(&document["info"], "title"),
        text(&document["info"], "version"),
        text(&document["info"], "description"),
    );
    let tags: Vec<&Value> = document["tags"].as_array().into_iter().flatten().collect();
    html.push_str("<nav><ul>\n");
    for tag in &tags {
        let name = text(tag, "name");
        let _ = writeln!(html, "<li><a href=\"#{name}\">{name}</a><ul>");
        for Operation { method, path, content, .. } in of_tag(&operations, &name) {
            let _ = writeln!(
                html,
                "<li><a href=\"#{}\"><span class=\"method\">{method}</span> \
                 <span class=\"path\">{}</span></a></li>",
                text(content, "operationId"),
                escaped(path),
            );
        }
        html.push_str("</ul></li>\n");
    }
    html.push_str("<li><a href=\"#Schemas\">Schemas</a></li></ul></nav>\n");
    for tag in &tags {
        let name = text(tag, "name");
        let _ =
            writeln!(html, "<h2 id=\"{name}\">{name}</h2>\n<p>{}</p>", text(tag, "description"));
        for operation in of_tag(&operations, &name) {
            html.push_str(&section(operation));
        }
    }
    html.push_str("<h2 id=\"Schemas\">Schemas</h2>\n");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        html.push_str(&schema_section(name, schema));
    }
    html
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, content) in item.as_object().into_iter().flatten() {
            let tag = content["tags"][0].as_str().unwrap_or_default();
            operations.push(Operation { method: method.to_uppercase(), path, tag, content });
        }
    }
    operations
}

/// The operations of a tag.
fn of_tag<'o, 'a>(
    operations: &'o [Operation<'a>],
    tag: &'o str,
) -> impl Iterator<Item = &'o Operation<'a>> {
    operations.iter().filter(move |operation| escaped(operation.tag) == tag)
}

fn text(value: &Value, field: &str) -> String {
    prose(value[field].as_str().unwrap_or_default())
}

fn section(operation: &Operation<'_>) -> String {
    let content = operation.content;
    let mut html = format!(
        "<section class=\"operation\" id=\"{}\"><h3><span class=\"method\">{}</span> \
         <span class=\"path\">{}</span></h3>\n<p>{} {}</p>\n",
        text(content, "operationId"),
        operation.method,
        escaped(operation.path),
        text(content, "summary"),
        text(content, "description"),
    );
    let mut rows = String::new();
    for parameter in content["parameters"].as_array().into_iter().flatten() {
        let required = if parameter["required"] == true { ", required" } else { "" };
        let _ = writeln!(
            rows,
            "<tr><td><code>{}</code></td><td>{}{required}</td><td>{}</td><td>{}</td></tr>",
            text(parameter, "name"),
            text(parameter, "in"),
            type_of(&parameter["schema"]),
            text(parameter, "description"),
        );
    }
    if !rows.is_empty() {
        let _ = write!(
            html,
            "<table><tr><th>Parameter</th><th>In</th><th>Type</th><th>Description</th></tr>\n{rows}</table>\n"
        );
    }
    for (media, body) in content["requestBody"]["content"].as_object().into_iter().flatten() {
        let _ = writeln!(
            html,
            "<p>Body: {} as <code>{}</code></p>",
            type_of(&body["schema"]),
            escaped(media)
        );
    }
    html.push_str("<table><tr><th>Status</th><th>Description</th><th>Body</th></tr>\n");
    for (status, response) in content["responses"].as_object().into_iter().flatten() {
        let bodies: Vec<String> = response["content"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(media, body)| {
                format!(
                    "{} <span class=\"note\">{}</span>",
                    type_of(&body["schema"]),
                    escaped(media)
                )
            })
            .collect();
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(status),
            text(response, "description"),
            bodies.join("<br>"),
        );
    }
    html.push_str("</table></section>\n");
    html
}

fn schema_section(name: &str, schema: &Value) -> String {
    let name = escaped(name);
    let mut html = format!(
        "<section class=\"operation\" id=\"schema-{name}\"><h3>{name}</h3>\n<p>{}</p>\n",
        text(schema, "description"),
    );
    let mut rows = String::new();
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (field, property) in schema["properties"].as_object().into_iter().flatten() {
        let must = if required.contains(&field.as_str()) { ", required" } else { "" };
        let _ = writeln!(
            rows,
            "<tr><td><code>{}</code></td><td>{}{must}</td><td>{}</td></tr>",
            escaped(field),
            type_of(property),
            text(property, "description"),
        );
    }
    if rows.is_empty() {
        let _ = writeln!(html, "<p>{}</p>", type_of(schema));
    } else {
        let _ = writeln!(
            html,
            "<table><tr><th>Field</th><th>Type</th><th>Description</th></tr>\n{rows}</table>"
        );
    }
    html.push_str("</section>\n");
    html
}

/// A schema in a few words.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        let name = escaped(name);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[several].as_array() {
            let parts: Vec<String> = parts.iter().map(type_of).collect();
            return parts.join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| format!("<code>{}</code>", escaped(value)))
            .collect();
        return values.join(", ");
    }
    if let Some(kinds) = schema["type"].as_array() {
        let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
        return escaped(&kinds.join(" or "));
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", type_of(&schema["items"])),
        Some(kind) => escaped(schema["format"].as_str().unwrap_or(kind)),
        None => String::new(),
    }
}
