//! The files that pages refer to, embedded in the binary. Their address holds a hash of what they
//! hold, so that they can be kept for good. Where it holds another, the page is of another version
//! of the service, and nothing is kept.

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// A file.
pub(super) struct Asset {
    pub(super) name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

pub(super) static STYLE: Asset = Asset {
    name: "style.css",
    content_type: "text/css; charset=utf-8",
    content: include_str!("style.css"),
};

pub(super) static SCRIPT: Asset = Asset {
    name: "console.js",
    content_type: "text/javascript; charset=utf-8",
    content: concat!(
        include_str!("trail.js"),
        include_str!("rebuilds.js"),
        include_str!("console.js")
    ),
};

pub(super) static ICON: Asset =
    Asset { name: "icon.svg", content_type: "image/svg+xml", content: include_str!("icon.svg") };

static ICON_ADDRESS: LazyLock<String> = LazyLock::new(|| ICON.address());
static SCRIPT_ADDRESS: LazyLock<String> = LazyLock::new(|| SCRIPT.address());
static STYLE_ADDRESS: LazyLock<String> = LazyLock::new(|| STYLE.address());

impl Asset {
    fn address(&self) -> String {
        let hash = hex::encode(&Sha256::digest(self.content)[..8]);
        format!("/console/assets/{}?v={hash}", self.name)
    }
}

/// Where the icon is.
pub(super) fn icon() -> &'static str {
    &ICON_ADDRESS
}

/// Where the stylesheet is.
pub(super) fn style() -> &'static str {
    &STYLE_ADDRESS
}

/// Where the script is.
pub(super) fn script() -> &'static str {
    &SCRIPT_ADDRESS
}

/// The icon.
pub(super) async fn get_icon(uri: Uri) -> Response {
    serve(&ICON, icon(), &uri)
}

/// The script.
pub(super) async fn get_script(uri: Uri) -> Response {
    serve(&SCRIPT, script(), &uri)
}

/// The stylesheet.
pub(super) async fn get_style(uri: Uri) -> Response {
    serve(&STYLE, style(), &uri)
}

/// The file, to be kept for good where it was asked for by its own address.
fn serve(asset: &'static Asset, own: &str, asked: &Uri) -> Response {
    let is_own = asked.path_and_query().is_some_and(|asked| asked.as_str() == own);
    let kept = if is_own { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(kept)),
    ];
    (StatusCode::OK, headers, asset.content).into_response()
}
