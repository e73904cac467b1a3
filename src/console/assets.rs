//! The files that pages refer to, embedded in the binary. Their address holds a hash of what they
//! hold, so that they can be kept for good.

use axum::http::{HeaderValue, StatusCode, header};
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
    content: include_str!("console.js"),
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
pub(super) async fn get_icon() -> Response {
    serve(&ICON)
}

/// The script.
pub(super) async fn get_script() -> Response {
    serve(&SCRIPT)
}

/// The stylesheet.
pub(super) async fn get_style() -> Response {
    serve(&STYLE)
}

fn serve(asset: &'static Asset) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    (StatusCode::OK, headers, asset.content).into_response()
}
