//! Connections: the heads of requests, what a refusal leaves of a connection, and what the log says.

use crate::process::{Place, Serving};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

/// One connection, kept.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn to(base: &str) -> Self {
        let stream = TcpStream::connect(base.trim_start_matches("http://")).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the connection is kept");
    }

    /// The head of the next answer, in lower case; its body is read past.
    fn answer(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).expect("an answer"), 0, "closed: {head}");
        }
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length = length.map_or(0, |text| text.parse().expect("a length"));
        self.0.read_exact(&mut vec![0; length]).expect("the body");
        head
    }
}

#[test]
fn a_request_names_one_host() {
    let place = Place::new();
    place.setup("Acme");
    let serving = place.serve(&[]);
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
        ("GET /healthz HTTP/1.1\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.0\r\n\r\n", "200"),
    ] {
        let mut connection = Connection::to(&serving.base);
        connection.send(head.as_bytes());
        let answer = connection.answer();
        assert!(answer.split(' ').nth(1) == Some(status), "{head}{answer}");
        assert!(answer.contains("x-request-id: "), "{answer}");
    }
    serving.stop();
}

#[test]
fn the_log_counts_in_numbers() {
    let place = Place::new();
    place.setup("Acme");
    let serving = place.serve(&["--log-format", "json"]);
    let mut connection = Connection::to(&serving.base);
    connection.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.answer();
    let line: serde_json::Value = serde_json::from_str(&serving.says("answered")).expect("JSON");
    assert!(line["status"] == 200 && line["milliseconds"].is_u64(), "{line}");
    serving.stop();
}

#[test]
fn a_failure_is_logged_with_its_request_however_little_is_logged() {
    let place = Place::new();
    let company = place.setup("Acme");
    let mut command = place.as_service(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("TOKEN_LEDGER_LOG", "warn,token_ledger::cli=info");
    let serving = Serving::start(command);
    place.alter("ALTER TABLE companies RENAME TO unreadable");
    let mut connection = Connection::to(&serving.base);
    let path = format!("/v1/companies/{}/policy", company.id);
    let credential = format!("Authorization: Bearer {}", company.admin_key);
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{credential}\r\n\r\n");
    connection.send(head.as_bytes());
    let answer = connection.answer();
    assert!(answer.starts_with("http/1.1 50"), "{answer}");
    let id = answer.split("x-request-id: ").nth(1).and_then(|rest| rest.lines().next());
    let line = serving.says("a request failed");
    assert!(line.contains(id.expect("an identifier")), "{line}");
    place.alter("ALTER TABLE unreadable RENAME TO companies");
    serving.stop();
}

#[test]
fn a_head_that_can_not_be_read_leaves_a_trace() {
    let place = Place::new();
    place.setup("Acme");
    let serving = place.serve(&[]);
    let mut connection = Connection::to(&serving.base);
    let many = "X: x\r\n".repeat(101);
    connection.send(format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes());
    assert!(connection.answer().starts_with("http/1.1 431"));
    serving.says("the head of a request could not be read");
    let mut connection = Connection::to(&serving.base);
    connection.send(b"GET /metrics HTTP/1.0\r\n\r\n");
    let mut told = String::new();
    connection.0.read_to_string(&mut told).expect("an answer");
    assert!(told.contains("\ntoken_ledger_request_heads_refused_total 1\n"), "{told}");
    serving.stop();
}

#[test]
fn a_head_is_no_larger_than_a_body() {
    let place = Place::new();
    place.setup("Acme");
    let serving = place.serve(&[]);
    let begun = "GET /healthz HTTP/1.1\r\nHost: a\r\nUser-Agent: ";
    let mut connection = Connection::to(&serving.base);
    connection.send(format!("{begun}{}\r\n\r\n", "x".repeat(60 * 1024)).as_bytes());
    assert!(connection.answer().starts_with("http/1.1 200"));
    let mut connection = Connection::to(&serving.base);
    let more = "x".repeat(64 * 1024 - begun.len());
    connection.send(format!("{begun}{more}").as_bytes());
    assert!(connection.answer().starts_with("http/1.1 431"));
    serving.stop();
}

#[test]
fn a_connection_outlives_refusals() {
    let place = Place::new();
    let company = place.setup("Acme");
    let serving = place.serve(&[]);
    let tokens = format!("/v1/companies/{}/tokens", company.id);
    let body = "x".repeat(2000);
    let head = |method: &str, path: &str, key: &str, more: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: ledger\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\n{more}\r\n"
        )
    };
    let length = format!("Content-Length: {}\r\n", body.len());
    let mut connection = Connection::to(&serving.base);
    for (method, path, key, status) in [
        ("POST", &*tokens, &*company.audit_key, "403"),
        ("POST", &*tokens, "tla_wrong", "401"),
        ("POST", "/v1/nothing", &company.admin_key, "404"),
        ("PUT", &*tokens, &company.admin_key, "405"),
        ("POST", &format!("{tokens}?colour=red"), &company.admin_key, "400"),
        ("POST", "/v1/verify", "tlk_wrong", "401"),
        ("POST", "/oauth/introspect", "tla_wrong", "401"),
        ("POST", "/oauth/introspect", &company.audit_key, "403"),
        ("POST", "/oauth/introspect", &company.introspect_key, "400"),
        ("PUT", "/oauth/introspect", &company.introspect_key, "405"),
    ] {
        for pause in [Duration::ZERO, Duration::from_millis(100)] {
            connection.send(head(method, path, key, &length).as_bytes());
            std::thread::sleep(pause);
            connection.send(body.as_bytes());
            let answer = connection.answer();
            assert!(answer.starts_with(&format!("http/1.1 {status}")), "{answer}");
            assert!(!answer.contains("connection: close"), "{answer}");
        }
    }

    // What is not sent unless it is asked for is not asked for.
    let too_large = "Content-Length: 65537\r\n";
    for (path, key, length, status) in [
        (&*tokens, &company.audit_key, &*length, "403"),
        (&*tokens, &company.admin_key, too_large, "413"),
    ] {
        let held_back = head("POST", path, key, &format!("{length}Expect: 100-continue\r\n"));
        let mut connection = Connection::to(&serving.base);
        connection.send(held_back.as_bytes());
        let answer = connection.answer();
        assert!(answer.starts_with(&format!("http/1.1 {status}")), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }

    // What never comes is not waited for.
    let mut connection = Connection::to(&serving.base);
    connection.send(head("POST", &tokens, &company.audit_key, &length).as_bytes());
    let answer = connection.answer();
    assert!(answer.starts_with("http/1.1 403"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");

    // Nor is much read of what nobody wants.
    let mut connection = Connection::to(&serving.base);
    let chunked = head("POST", &tokens, &company.audit_key, "Transfer-Encoding: chunked\r\n");
    connection.send(chunked.as_bytes());
    let chunk = format!("{:x}\r\n{}\r\n", 100_000, "x".repeat(100_000));
    for _ in 0..11 {
        connection.send(chunk.as_bytes());
    }
    let answer = connection.answer();
    assert!(answer.starts_with("http/1.1 403"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    serving.stop();
}

#[test]
fn a_log_that_nobody_reads_any_more_stops_nothing() {
    let place = Place::new();
    place.setup("Acme");
    let mut serve = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut child = serve.stderr(Stdio::piped()).spawn().expect("the program can be run");
    let mut said = String::new();
    let mut log = BufReader::new(child.stderr.take().expect("stderr"));
    while !said.contains("listening on ") {
        assert_ne!(log.read_line(&mut said).expect("a line"), 0, "{said}");
    }
    drop(log);
    let (_, base) = said.rsplit_once("listening on http://").expect("an address");
    let mut stream = TcpStream::connect(base.trim()).expect("it listens");
    let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    let read = asked.and_then(|()| stream.read_to_string(&mut answer));
    child.kill().and_then(|()| child.wait()).expect("it is there");
    read.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
}
