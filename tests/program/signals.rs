//! What a service does when it is sent signals, whatever it is doing.

use crate::process::{Place, Serving};
use std::io::{Read, Write};
use std::net::TcpStream;

/// A database that nobody serves.
const NOWHERE: &str = "postgres://u@127.0.0.1:1/l?sslmode=disable";

/// A request whose body does not come.
fn unfinished_request(serving: &Serving) -> TcpStream {
    let address = serving.base.strip_prefix("http://").expect("plain HTTP");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let head = "POST /oauth/token HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\
        Expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it is sent");
    // It is told to go on once the body is waited for.
    let mut told = [0; 12];
    stream.read_exact(&mut told).expect("an answer");
    assert_eq!(&told, b"HTTP/1.1 100");
    stream
}

#[test]
fn a_service_that_fails_at_its_start_tells_of_nothing_else() {
    let place = Place::sqlite();
    place.setup("Acme");
    place.alter("ALTER TABLE operations RENAME TO elsewhere");
    let ended = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("operations"), "{ended:?}");
    assert!(ended.stderr.contains("stopped"), "what runs on its own is told to end: {ended:?}");
    assert!(!ended.stderr.contains("evidence") && !ended.stderr.contains("cancelled"), "{ended:?}");
}

#[test]
fn a_service_that_waits_for_its_database_stops_when_asked() {
    let place = Place::sqlite();
    for signal in ["TERM", "INT"] {
        let args = ["serve", "--listen", "127.0.0.1:0", "--database-url", NOWHERE];
        let serving = Serving::spawn(place.command(&args));
        serving.says("waiting for the database");
        serving.signal("HUP");
        serving.signal(signal);
        let (status, said) = serving.wait();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains("asked to stop before it listened"), "{said}");
    }
}

#[test]
fn a_service_without_a_certificate_ignores_hangups() {
    let place = Place::sqlite();
    let serving = place.serve(&[]);
    for _ in 0..2 {
        serving.signal("HUP");
        serving.says("SIGHUP is ignored");
    }
    serving.stop();
}

#[test]
fn whoever_asks_twice_waits_for_no_request() {
    let place = Place::sqlite();
    let serving = place.serve(&[]);
    let _stream = unfinished_request(&serving);
    serving.signal("TERM");
    serving.says("stopping");
    serving.signal("INT");
    serving.says("asked to stop once more: requests were cut off");
    let (status, said) = serving.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("stopped"), "{said}");
}
