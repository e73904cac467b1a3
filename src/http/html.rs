//! The frame of pages for people: plain HTML, one stylesheet, nothing from elsewhere.

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
const STYLE: &str = include_str!("docs.css");

/// A page of this title with this HTML.
pub(super) fn page(title: &str, body: &str) -> Response {
    answer(text(title, body).into())
}

/// The text of such a page.
pub(super) fn text(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} – Token Ledger</title>\
         <link rel=\"stylesheet\" href=\"/docs/style.css\"></head>\n\
         <body><main>\n{body}\n</main></body></html>\n",
        title = escaped(title),
    )
}

/// The answer that is a page of this text.
pub(super) fn answer(html: Bytes) -> Response {
    (headers("text/html; charset=utf-8"), html).into_response()
}

fn headers(content_type: &'static str) -> [(HeaderName, HeaderValue); 2] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ]
}

/// The stylesheet of the pages.
#[utoipa::path(
    get,
    path = "/docs/style.css",
    operation_id = "docs_style",
    tag = "documentation",
    security(()),
    responses((status = 200, description = "The stylesheet", body = String,
        content_type = "text/css"))
)]
pub(super) async fn style() -> Response {
    (headers("text/css; charset=utf-8"), STYLE).into_response()
}

/// The text, such that HTML shows it as it is.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

/// As [`escaped`], with what stands between backquotes as code.
pub(super) fn prose(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for (index, part) in text.split('`').enumerate() {
        let part = escaped(part);
        if index % 2 == 1 {
            html.push_str(&format!("<code>{part}</code>"));
        } else {
            html.push_str(&part);
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escaped("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
        assert_eq!(prose("send `<KEY>` now"), "send <code>&lt;KEY&gt;</code> now");
    }
}
