//! Where a request comes from when proxies stand between.
//!
//! Each proxy appends the address that it was called from, so only what was appended by proxies
//! that are trusted can be believed: the headers are read from their right end, as far as the
//! addresses there are trusted ones. What stands further left is the client's own say.

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderValue};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The header that the trusted proxies set. Only one is believed: the other would be the client's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, and `X-Forwarded-Proto` with it.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Proxies whose forwarded addresses count.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// The networks that they are in.
    pub trusted: Vec<IpNet>,
    /// Where they write down whom they forward for.
    pub header: ForwardedHeader,
}

/// In the extensions of a request that came over a TLS connection of ours.
#[derive(Clone, Copy, Debug)]
pub struct OverTls;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The first address, from our side, that is not a trusted proxy's; the outermost known one
    /// where all are.
    pub ip: Option<IpAddr>,
    /// Whether it travelled by TLS up to us, or up to the outermost trusted proxy.
    pub secure: bool,
}

/// What a proxy says of whoever called it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hop {
    /// None where the proxy doesn't know or doesn't tell.
    address: Option<IpAddr>,
    /// The protocol that it was called by.
    proto: Option<String>,
}

impl Proxies {
    /// Whether this is a trusted proxy's address.
    pub fn trust(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.trusted.iter().any(|net| net.contains(&ip))
    }

    /// Where a request comes from.
    pub fn origin(&self, extensions: &Extensions, headers: &HeaderMap) -> Origin {
        let over_tls = extensions.get::<OverTls>().is_some();
        let Some(ConnectInfo(peer)) = extensions.get::<ConnectInfo<SocketAddr>>() else {
            return Origin { ip: None, secure: over_tls };
        };
        let mut origin = Origin { ip: Some(peer.ip().to_canonical()), secure: over_tls };
        if !self.trust(peer.ip()) {
            return origin;
        }
        let hops = match self.header {
            ForwardedHeader::XForwardedFor => x_forwarded(headers),
            ForwardedHeader::Forwarded => forwarded(headers),
        };
        for hop in hops.iter().rev() {
            if let Some(proto) = &hop.proto {
                origin.secure = proto.eq_ignore_ascii_case("https");
            }
            let Some(address) = hop.address else { break };
            origin.ip = Some(address);
            if !self.trust(address) {
                break;
            }
        }
        origin
    }
}

/// What `X-Forwarded-For` and `X-Forwarded-Proto` say, the nearest hop last.
fn x_forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let entries = |name| {
        // A part that is no text is its writer's; what a proxy has appended to it still counts.
        let lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let parts = lines.flat_map(|line| line.split(|byte| *byte == b','));
        let texts = parts.map(|part| str::from_utf8(part).unwrap_or("unknown").trim().to_owned());
        texts.collect::<Vec<String>>()
    };
    let addresses = entries("x-forwarded-for");
    let mut protos = entries("x-forwarded-proto");
    let mut hops: Vec<Hop> = addresses
        .iter()
        .rev()
        .map(|text| Hop { address: address(text), proto: protos.pop() })
        .collect();
    if hops.is_empty() {
        hops.extend(protos.pop().map(|proto| Hop { address: None, proto: Some(proto) }));
    }
    hops.reverse();
    hops
}

/// What `Forwarded` says, the nearest hop last.
fn forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let lines = headers.get_all("forwarded").iter();
    let elements = lines.flat_map(|line| {
        let text = String::from_utf8_lossy(line.as_bytes());
        let elements = split(&text, ',').map(|parts| parts.into_iter().map(element).collect());
        // Where a quote is left open, what a proxy has appended is a part of the client's own say.
        elements.unwrap_or_else(|| vec![Hop::default()])
    });
    elements.collect()
}

/// One element of `Forwarded`, such as `for="[2001:db8::1]:4711";proto=https`.
fn element(text: &str) -> Hop {
    let mut hop = Hop::default();
    for pair in split(text, ';').into_iter().flatten() {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let value = unquoted(value.trim());
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => hop.address = address(&value),
            "proto" => hop.proto = Some(value),
            _ => {}
        }
    }
    hop
}

/// The parts between separators that stand outside of quotes; none where a quote is left open.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

fn unquoted(text: &str) -> String {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inner) => inner.replace('\\', ""),
        None => text.to_owned(),
    }
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`
/// or `[2001:db8::1]:80`; the port may be a name that only the proxy understands, such as `:_web`
/// (RFC 7239 §6). Nothing for `unknown` and for such names in place of the address.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.split_once(":_").map_or(text, |(address, _)| address);
    let ip: Option<IpAddr> = text.parse().ok();
    let ip = ip.or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()));
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    ip.or_else(bare).map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    const OURS: &str = "10.0.0.1";

    fn origin(
        header: ForwardedHeader,
        peer: &str,
        sent: &[(&'static str, &str)],
    ) -> (String, bool) {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"];
        let trusted = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let mut extensions = Extensions::new();
        let peer = SocketAddr::new(peer.parse().unwrap(), 40_000);
        extensions.insert(ConnectInfo(peer));
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        let origin = Proxies { trusted, header }.origin(&extensions, &headers);
        (origin.ip.unwrap().to_string(), origin.secure)
    }

    fn ip(peer: &str, values: &[&str]) -> String {
        let sent: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
        origin(ForwardedHeader::XForwardedFor, peer, &sent).0
    }

    #[test]
    fn what_a_stranger_forwards_does_not_count() {
        let sent = [("x-forwarded-for", "192.0.2.9"), ("x-forwarded-proto", "https")];
        let found = origin(ForwardedHeader::XForwardedFor, "192.0.2.1", &sent);
        assert_eq!(found, ("192.0.2.1".to_owned(), false));
    }

    #[test]
    fn the_first_untrusted_hop_from_the_right_counts() {
        for (values, expected) in [
            (&["192.0.2.1"] as &[_], "192.0.2.1"),
            (&["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.9", "192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.9, 192.0.2.1, 10.1.1.1"], "192.0.2.1"),
            (&["203.0.113.9, 192.0.2.1", "10.1.1.1,10.2.2.2"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["[2001:db8::7]:4711"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["2001:db8::7, 2001:db8:1::5"], "2001:db8::7"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1, ::ffff:10.0.0.7"], "192.0.2.1"),
            // Who it is, the nearest proxy doesn't say: more than the proxy is not known.
            (&["192.0.2.1, unknown"], OURS),
            (&["192.0.2.1, unknown, 10.5.5.5"], "10.5.5.5"),
            (&["192.0.2.1, "], OURS),
            (&["192.0.2.1", "\u{e9}"], OURS),
            (&["\u{e9}, 192.0.2.1"], "192.0.2.1"),
            // Proxies all the way.
            (&["10.7.7.7, 10.5.5.5"], "10.7.7.7"),
            (&[], OURS),
        ] {
            assert_eq!(ip(OURS, values), expected, "{values:?}");
        }
        assert_eq!(ip("::ffff:10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
    }

    #[test]
    fn the_protocol_is_the_one_that_the_outermost_trusted_proxy_was_called_by() {
        for (addresses, protos, secure) in [
            ("192.0.2.1", "https", true),
            ("192.0.2.1", "HTTPS", true),
            ("192.0.2.1", "http", false),
            ("192.0.2.1", "", false),
            ("192.0.2.1", "https, http", false),
            ("192.0.2.1, 10.1.1.1", "https, http", true),
            ("203.0.113.9, 192.0.2.1, 10.1.1.1", "https, http, http", false),
            ("192.0.2.1, 10.1.1.1", "https", true),
        ] {
            let sent = [("x-forwarded-for", addresses), ("x-forwarded-proto", protos)];
            let found = origin(ForwardedHeader::XForwardedFor, OURS, &sent);
            assert_eq!(found.1, secure, "{addresses}; {protos}");
        }
        let alone = [("x-forwarded-proto", "https")];
        let found = origin(ForwardedHeader::XForwardedFor, OURS, &alone);
        assert_eq!(found, (OURS.to_owned(), true));
    }

    #[test]
    fn forwarded_is_read_where_the_proxies_write_it() {
        for (value, expected, secure) in [
            ("for=192.0.2.1", "192.0.2.1", false),
            ("for=192.0.2.1;proto=https;by=203.0.113.43", "192.0.2.1", true),
            ("For=\"[2001:db8:cafe::17]:4711\"; Proto=\"https\"", "2001:db8:cafe::17", true),
            ("for=203.0.113.9, for=192.0.2.1", "192.0.2.1", false),
            ("for=\"203.0.113.9, 192.0.2.3\", for=192.0.2.1", "192.0.2.1", false),
            ("for=192.0.2.1;proto=https, for=10.1.1.1;proto=http", "192.0.2.1", true),
            ("for=192.0.2.1, for=_secret", OURS, false),
            ("for=\"192.0.2.1:_web\"", "192.0.2.1", false),
            ("for=\"[2001:db8::1]:_web\"", "2001:db8::1", false),
            ("for=192.0.2.1, for=unknown", OURS, false),
            ("nonsense", OURS, false),
            ("\u{e9}, for=192.0.2.1", "192.0.2.1", false),
            // A client's open quote must not swallow what the proxy appends to it.
            ("for=203.0.113.9;proto=https;x=\", for=192.0.2.1", OURS, false),
            ("for=203.0.113.9;x=\"\\, for=\"[2001:db8::7]\"", OURS, false),
        ] {
            let sent = [("forwarded", value), ("x-forwarded-for", "198.51.100.1")];
            let found = origin(ForwardedHeader::Forwarded, OURS, &sent);
            assert_eq!(found, (expected.to_owned(), secure), "{value}");
        }
        let spoofed = [("forwarded", "for=198.51.100.1"), ("x-forwarded-for", "192.0.2.1")];
        let found = origin(ForwardedHeader::XForwardedFor, OURS, &spoofed);
        assert_eq!(found.0, "192.0.2.1");
    }
}
