//! A company's log: checkpoints, tiles, proofs (C2SP tlog-tiles, tlog-checkpoint, tlog-proof).

use super::access::Authenticated;
use super::denials::note_export;
use super::extract::{Params, PathCompany, PathId};
use super::page::{NoParams, Page, PageQuery};
use super::problem::{Answer, Kind, Problem};
use super::reply::{RefusedRead, Reply};
use super::{RequestInfo, Service};
use crate::app::evidence::{CheckpointPlace, CheckpointView, ConsistencyView};
use crate::evidence::pack::Pack;
use crate::evidence::tile_path::{NoTile, TilePath};
use axum::Extension;
use axum::extract::{MatchedPath, Path, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;
use token_ledger_domain::TokenId;
use utoipa::IntoParams;

/// A full tile never changes.
const FOR_GOOD: &str = "max-age=31536000, immutable";
/// A partial tile may be replaced by the full one, and a checkpoint by the next.
const BRIEFLY: &str = "max-age=1";

/// How an answer may be kept.
#[derive(Clone, Copy, Debug)]
struct Caching {
    /// Whether anybody may ask.
    public: bool,
    /// For how long.
    how_long: &'static str,
}

fn answer(content_type: &'static str, caching: Caching, body: impl IntoResponse) -> Response {
    let who = if caching.public { "public" } else { "private" };
    let caching = HeaderValue::from_str(&format!("{who}, {}", caching.how_long));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        header::CACHE_CONTROL,
        caching.unwrap_or_else(|_| HeaderValue::from_static("no-store")),
    );
    response
}

fn no_tile(NoTile: NoTile) -> Problem {
    Problem::new(Kind::NotFound, NoTile.to_string())
}

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// The newest signed checkpoint, as signed note (C2SP tlog-checkpoint).
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/log/checkpoint",
    operation_id = "get_checkpoint",
    tag = "evidence",
    security(("key" = []), ()),
    responses(
        (status = 200, description = "A signed note: origin, size, root hash, signatures",
            body = String, content_type = "text/plain"),
        RefusedRead,
    )
)]
pub(super) async fn checkpoint(
    State(service): State<Arc<Service>>,
    PathCompany(company): PathCompany,
    Params(NoParams {}): Params<NoParams>,
) -> Answer<Response> {
    let signed = service.app.checkpoint(company).await?;
    let caching = Caching { public: service.app.evidence.is_public(), how_long: BRIEFLY };
    Ok(answer(TEXT, caching, signed.note + &signed.cosignatures))
}

/// The key that the company's checkpoints are signed with, in note form (C2SP signed-note).
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/log/key",
    operation_id = "get_log_key",
    tag = "evidence",
    security(("key" = []), ()),
    responses(
        (status = 200, description = "NAME+HASH+KEY and a line break", body = String,
            content_type = "text/plain"),
        RefusedRead,
    )
)]
pub(super) async fn key(
    State(service): State<Arc<Service>>,
    PathCompany(company): PathCompany,
    Params(NoParams {}): Params<NoParams>,
) -> Answer<Response> {
    let key = service.app.log_key(company).await?;
    let caching = Caching { public: service.app.evidence.is_public(), how_long: BRIEFLY };
    Ok(answer(TEXT, caching, key + "\n"))
}

/// All checkpoints that were signed, the newest first.
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/log/checkpoints",
    operation_id = "list_checkpoints",
    tag = "evidence",
    params(PageQuery),
    security(("key" = []), ()),
    responses(
        (status = 200, description = "A page of checkpoints", body = Page<CheckpointView>),
        RefusedRead,
    )
)]
pub(super) async fn checkpoints(
    State(service): State<Arc<Service>>,
    PathCompany(company): PathCompany,
    Params(query): Params<PageQuery>,
) -> Answer<Reply> {
    let list = format!("checkpoints of {company}");
    let (limit, after) = query.read::<CheckpointPlace>(&list)?;
    let listed = service.app.checkpoints(company, after, limit).await?;
    Ok(Reply::ok(Page::of(&list, listed, |place| place)))
}

/// What a tile's path holds besides the company.
#[derive(Debug, Deserialize)]
pub(super) struct HashTile {
    level: String,
    tile: String,
}

/// A tile of hashes (C2SP tlog-tiles): 256 of them, or as many as a partial tile names.
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/log/tile/{level}/{tile}",
    operation_id = "get_tile",
    tag = "evidence",
    params(
        ("level" = String, Path, description = "0 to 63; 0 for the hashes of entries"),
        ("tile" = String, Path, description = "001 or x001/234, partial tiles with .p/W"),
    ),
    security(("key" = []), ()),
    responses(
        (status = 200, description = "Hashes of 32 bytes", body = Vec<u8>,
            content_type = "application/octet-stream"),
        RefusedRead,
    )
)]
pub(super) async fn tile(
    State(service): State<Arc<Service>>,
    PathCompany(company): PathCompany,
    Path(path): Path<HashTile>,
    Params(NoParams {}): Params<NoParams>,
) -> Answer<Response> {
    let tile = TilePath::hashes(&path.level, &path.tile).map_err(no_tile)?;
    let hashes = service.app.tile(company, tile).await?;
    let how_long = if tile.is_full() { FOR_GOOD } else { BRIEFLY };
    Ok(answer(BYTES, Caching { public: service.app.evidence.is_public(), how_long }, hashes))
}

/// What a bundle's path holds besides the company.
#[derive(Debug, Deserialize)]
pub(super) struct EntryTile {
    tile: String,
}

/// A bundle of entries (C2SP tlog-tiles): each behind its length in two bytes. Never public.
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/log/tile/entries/{tile}",
    operation_id = "get_entries",
    tag = "evidence",
    params(
        ("tile" = String, Path, description = "001 or x001/234, partial bundles with .p/W"),
    ),
    responses(
        (status = 200, description = "Entries, each behind its length", body = Vec<u8>,
            content_type = "application/octet-stream"),
        RefusedRead,
    )
)]
pub(super) async fn entries(
    State(service): State<Arc<Service>>,
    PathCompany(company): PathCompany,
    Path(path): Path<EntryTile>,
    Params(NoParams {}): Params<NoParams>,
) -> Answer<Response> {
    let tile = TilePath::entries(&path.tile).map_err(no_tile)?;
    let bundle = service.app.entry_bundle(company, tile).await?;
    let how_long = if tile.is_full() { FOR_GOOD } else { BRIEFLY };
    Ok(answer(BYTES, Caching { public: false, how_long }, bundle))
}

/// Which event shall be proved.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ProofQuery {
    /// Its position in the company's ledger.
    #[param(minimum = 1)]
    position: u64,
}

/// The proof that an event is in the ledger, with a checkpoint (C2SP tlog-proof).
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/log/proof",
    operation_id = "get_proof",
    tag = "evidence",
    params(ProofQuery),
    responses(
        (status = 200, description = "Leaf index, hashes, signed checkpoint", body = String,
            content_type = "text/plain"),
        RefusedRead,
    )
)]
pub(super) async fn proof(
    State(service): State<Arc<Service>>,
    PathCompany(company): PathCompany,
    Params(query): Params<ProofQuery>,
) -> Answer<Response> {
    let proof = service.app.proof(company, query.position).await?;
    Ok(answer(TEXT, Caching { public: false, how_long: BRIEFLY }, proof))
}

/// Which trees shall be compared.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ConsistencyQuery {
    /// The size of the earlier tree.
    #[param(minimum = 1)]
    from: u64,
    /// The size of the later tree.
    #[param(minimum = 1)]
    to: u64,
}

/// The hashes that prove that a later tree extends an earlier one (RFC 6962 §2.1.2).
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/log/consistency",
    operation_id = "get_consistency",
    tag = "evidence",
    params(ConsistencyQuery),
    responses(
        (status = 200, description = "The proof, with the roots of both trees",
            body = ConsistencyView),
        RefusedRead,
    )
)]
pub(super) async fn consistency(
    State(service): State<Arc<Service>>,
    PathCompany(company): PathCompany,
    Params(query): Params<ConsistencyQuery>,
) -> Answer<Reply> {
    Ok(Reply::ok(service.app.consistency(company, query.from, query.to).await?))
}

/// The evidence pack of a token: its events with salts, entries, proofs and a checkpoint, and a
/// page in plain words that says what this proves and what not.
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/tokens/{token_id}/evidence",
    operation_id = "get_evidence",
    tag = "evidence",
    responses((status = 200, description = "The pack", body = Pack), RefusedRead)
)]
pub(super) async fn evidence(
    State(service): State<Arc<Service>>,
    caller: Authenticated,
    Extension(info): Extension<RequestInfo>,
    method: Method,
    route: MatchedPath,
    PathId(token): PathId,
    Params(NoParams {}): Params<NoParams>,
) -> Answer<Response> {
    let pack = service.app.evidence_pack(caller.company, TokenId(token)).await?;
    // Nothing leaves in answer to HEAD.
    if method == Method::GET {
        note_export(&service.app, &info, &caller, &method, route.as_str());
    }
    Ok(pack_file(pack))
}

/// An evidence pack as a file.
pub fn pack_file(pack: Pack) -> Response {
    let name = format!("attachment; filename=\"token-{}-evidence.json\"", pack.token_id);
    let mut response = Reply::ok(pack).into_response();
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    response
}
