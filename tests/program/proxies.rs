//! Behind proxies: whose address counts, and for what.

use crate::process::{Company, Place, Serving};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

fn company(place: &Place, options: &[&str]) -> (Company, Serving) {
    let company = place.setup("Acme");
    let serving = place.serve(options);
    (company, serving)
}

/// The address that the audit trail has of a token created with these headers.
async fn seen(serving: &Serving, company: &Company, headers: &[(&'static str, &str)]) -> String {
    let mut sent = HeaderMap::new();
    for (name, value) in headers {
        sent.append(*name, value.parse().expect("a header's value"));
    }
    let base = serving.url(&format!("/v1/companies/{}", company.id));
    let created = reqwest::Client::new()
        .post(format!("{base}/tokens"))
        .bearer_auth(&company.admin_key)
        .headers(sent)
        .json(&json!({"name": "t", "scopes": ["positions"]}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(created.status().as_u16(), 201);
    let (status, events) =
        crate::process::get(&format!("{base}/audit/events?limit=1"), &company.audit_key).await;
    assert_eq!(status, 200);
    events["items"][0]["context"]["ip"].as_str().expect("an address").to_owned()
}

#[tokio::test]
async fn the_audit_trail_has_the_first_untrusted_hop() {
    let place = Place::new();
    let (company, serving) =
        company(&place, &["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8,2001:db8:1::/48"]);
    for (headers, expected) in [
        (&[] as &[_], "127.0.0.1"),
        (&[("x-forwarded-for", "192.0.2.1")], "192.0.2.1"),
        (&[("x-forwarded-for", "203.0.113.9, 192.0.2.1:4711, 10.0.0.3")], "192.0.2.1"),
        (&[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.1")], "192.0.2.1"),
        (&[("x-forwarded-for", "[2001:db8::9]:80, 2001:db8:1::5")], "2001:db8::9"),
        (&[("x-forwarded-for", "192.0.2.1, unknown")], "127.0.0.1"),
        (&[("forwarded", "for=192.0.2.1")], "127.0.0.1"),
    ] {
        assert_eq!(seen(&serving, &company, headers).await, expected, "{headers:?}");
    }
    serving.stop();
}

#[tokio::test]
async fn a_stranger_s_headers_do_not_count() {
    let place = Place::new();
    let (company, serving) = company(&place, &["--trusted-proxies", "10.0.0.0/8"]);
    let headers = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.2")];
    assert_eq!(seen(&serving, &company, &headers).await, "127.0.0.1");
    serving.stop();
}

#[tokio::test]
async fn forwarded_counts_where_the_proxies_write_it() {
    let place = Place::new();
    let options = ["--trusted-proxies", "127.0.0.1", "--forwarded-header", "forwarded"];
    let (company, serving) = company(&place, &options);
    let headers = [
        ("forwarded", "for=203.0.113.9, for=\"[2001:db8::9]:80\";proto=https"),
        ("x-forwarded-for", "192.0.2.1"),
    ];
    assert_eq!(seen(&serving, &company, &headers).await, "2001:db8::9");
    serving.stop();
}

#[tokio::test]
async fn limits_go_by_the_forwarded_address() {
    let place = Place::new();
    let (company, serving) = company(&place, &["--trusted-proxies", "127.0.0.1"]);
    let client = reqwest::Client::new();
    let url = serving.url("/v1/whoami");
    let guess = async |from: &str| {
        let call = client.get(&url).bearer_auth("tla_guess").header("x-forwarded-for", from);
        call.send().await.expect("an answer").status().as_u16()
    };
    let mut tries = 0;
    while guess("192.0.2.1").await == 401 {
        tries += 1;
        assert!(tries < 2000, "nobody is told to wait");
    }
    assert_eq!(guess("192.0.2.1").await, 429);
    // What the client itself put before does not help it.
    assert_eq!(guess("203.0.113.9, 192.0.2.1").await, 429);
    assert_eq!(guess("198.51.100.1").await, 401);
    let (status, body): (u16, Value) = crate::process::get(&url, &company.admin_key).await;
    assert_eq!(status, 200, "{body}");
    serving.stop();
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let place = Place::new();
    let (company, serving) = company(&place, &["--max-connections-per-address", "3"]);
    let address = serving.base.strip_prefix("http://").expect("an address").to_owned();
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.expect("a connection");
        assert!(answers(&mut stream).await);
        held.push(stream);
    }
    let mut fourth = tokio::net::TcpStream::connect(&address).await.expect("a connection");
    assert!(!answers(&mut fourth).await, "it is closed");
    drop(held.pop());
    // The place is free once the service has seen the end.
    let begun = std::time::Instant::now();
    loop {
        let mut stream = tokio::net::TcpStream::connect(&address).await.expect("a connection");
        if answers(&mut stream).await {
            break;
        }
        assert!(begun.elapsed().as_secs() < 30, "the place is not given back");
    }
    drop(held);
    drop(company);
    serving.stop();
}

/// Whether the connection is answered.
async fn answers(stream: &mut tokio::net::TcpStream) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut answer = [0; 12];
    stream.write_all(request).await.is_ok()
        && stream.read_exact(&mut answer).await.is_ok()
        && &answer == b"HTTP/1.1 200"
}
