//! The pages that explain problems: what the `type` of a problem resolves to.

use super::html::{escaped, page, prose};
use super::problem::{Answer, Kind, Problem, ProblemBody};
use axum::extract::Path;
use axum::response::Response;

/// Every kind of problem.
#[utoipa::path(
    get,
    path = "/problems",
    operation_id = "list_problems",
    tag = "documentation",
    security(()),
    responses((status = 200, description = "A page", body = String, content_type = "text/html"))
)]
pub(super) async fn index() -> Response {
    let mut rows = String::new();
    for kind in Kind::ALL {
        rows.push_str(&format!(
            "<tr><td>{}</td><td><a href=\"/problems/{slug}\">{slug}</a></td><td>{}</td></tr>\n",
            kind.status().as_u16(),
            escaped(kind.title()),
            slug = kind.slug(),
        ));
    }
    let body = format!(
        "<h1>Problems</h1>\n<p>What the <code>type</code> of an error answer means.</p>\n\
         <table><tr><th>Status</th><th>Type</th><th>Title</th></tr>\n{rows}</table>\n\
         <p><a href=\"/docs\">The whole API</a></p>"
    );
    page("Problems", &body)
}

/// One kind of problem: what it means and what to do about it.
#[utoipa::path(
    get,
    path = "/problems/{slug}",
    operation_id = "get_problem",
    tag = "documentation",
    params(("slug" = String, Path, description = "The last part of the problem's `type`")),
    security(()),
    responses(
        (status = 200, description = "A page", body = String, content_type = "text/html"),
        (status = 404, description = "There is no such kind", body = ProblemBody,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn one(Path(slug): Path<String>) -> Answer<Response> {
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.slug() == slug)
        .ok_or_else(|| Problem::new(Kind::NotFound, "There is no such kind of problem."))?;
    let status = kind.status();
    let body = format!(
        "<h1>{title}</h1>\n<p class=\"note\"><code>/problems/{slug}</code>, status {status}</p>\n\
         <p>{explanation}</p>\n<p><a href=\"/problems\">All problems</a></p>",
        title = escaped(kind.title()),
        explanation = prose(kind.explanation()),
    );
    Ok(page(kind.title(), &body))
}
