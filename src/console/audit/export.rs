//! The audit trail as a file, with the filters that are on.

use super::{Onlooker, asked};
use crate::app::audit::ExportFormat;
use crate::console::desk::Desk;
use crate::console::error::{Shown, Trouble};
use crate::console::sent::Query;
use crate::http::Service;
use crate::http::audit::download;
use crate::http::problem::Kind;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use std::sync::Arc;

/// The route, as records of exports name it.
pub const ROUTE: &str = "/console/audit/export";

/// `GET /console/audit/export`
pub async fn export(
    State(service): State<Arc<Service>>,
    desk: Desk,
    method: Method,
    Query(sent): Query,
    headers: HeaderMap,
) -> Shown {
    sent.is_of(
        &desk.who,
        "You have entered another company since this page was opened. Nothing was \
        exported. Open the page again.",
    )?;
    let format: ExportFormat = sent
        .text("format")
        .parse()
        .map_err(|_| Trouble::new(Kind::InvalidInput, "Choose CSV or NDJSON."))?;
    let asked = asked(&service, &desk, &sent).await?;
    if let Some(trouble) = asked.trouble() {
        return Err(trouble);
    }
    let company = desk.caller.company;
    let mut export = service.app.export(company, asked.filter, format);
    let session = desk.who.visitor.session.session_id;
    let place = service.app.streams.begin(session, company)?;
    export.begin().await?;
    // Nothing leaves in answer to HEAD.
    if method == Method::GET {
        desk.note_export(&service, ROUTE);
    }
    let onlooker = Onlooker::of(&service, company, &headers);
    Ok(download(export, (onlooker, place), company, format))
}
