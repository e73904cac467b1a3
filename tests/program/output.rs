//! Where commands write: files that they are given, and streams that take nothing.

use crate::process::{Place, ended};
use std::fs::File;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

const UNTIL: &str = "2026-01-01T00:00:00Z";

/// The commands that write into a file, each with a place for its name.
fn writing(output: &str) -> [Vec<&str>; 2] {
    [vec!["export", "--output", output], vec!["replay", "--until", UNTIL, "--output", output]]
}

/// The names in the place's folder, but for what SQLite keeps beside a file, in order.
fn names(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.file("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with("ledger.db")).collect();
    names.sort();
    names
}

#[test]
fn no_command_writes_over_the_ledger() {
    let place = Place::sqlite();
    place.setup("Acme");
    symlink("ledger.db", place.file("link.ndjson")).unwrap();
    std::fs::hard_link(place.ledger(), place.file("hard.ndjson")).unwrap();
    let before = std::fs::read(place.ledger()).unwrap();
    let refused = |output: &str| {
        for args in writing(output) {
            let said = place.run(&args).refused(2);
            assert!(said.contains("is the ledger's own"), "{args:?}: {said}");
        }
    };
    let of_ledger = ["ledger.db", "./ledger.db", "link.ndjson", "hard.ndjson", "ledger.db.lock"];
    for output in of_ledger.into_iter().chain(["ledger.db-wal", "ledger.db-shm"]) {
        refused(output);
    }
    assert_eq!(std::fs::read(place.ledger()).unwrap(), before);
    let serving = place.serve(&[]);
    for output in ["ledger.db", "ledger.db-wal", "ledger.db.evidence/seed"] {
        refused(output);
    }
    serving.stop();
    place.run(&["verify"]).done();
}

#[test]
fn evidence_beside_a_database_is_not_written_over() {
    let place = Place::new();
    place.setup("Acme");
    place.serve(&[]).stop();
    let seed = place.evidence().join("seed");
    let before = std::fs::read(&seed).unwrap();
    for args in writing(seed.to_str().unwrap()) {
        let said = place.run(&args).refused(2);
        assert!(said.contains("is the ledger's own"), "{args:?}: {said}");
    }
    assert_eq!(std::fs::read(&seed).unwrap(), before);
}

#[test]
fn a_file_holds_the_whole_output_or_what_it_held_before() {
    let place = Place::new();
    place.setup("Acme");
    std::fs::write(place.file("kept.ndjson"), "as before").unwrap();
    let allow = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.file("kept.ndjson"), permissions).unwrap();
    };
    allow(0o640);
    // The platform's events are written by the time that this one can't be read.
    let broken = place.copy();
    broken.tamper("UPDATE events SET payload = '{' WHERE position = 6");
    std::fs::copy(place.file("kept.ndjson"), broken.file("kept.ndjson")).unwrap();
    let before = names(&broken);
    broken.run(&["export", "--output", "kept.ndjson"]).refused(1);
    assert_eq!(std::fs::read_to_string(broken.file("kept.ndjson")).unwrap(), "as before");
    assert_eq!(names(&broken), before);

    symlink("kept.ndjson", place.file("link.ndjson")).unwrap();
    let text = place.run(&["export"]).done();
    for output in ["kept.ndjson", "link.ndjson"] {
        std::fs::write(place.file("kept.ndjson"), "as before").unwrap();
        place.run(&["export", "--output", output]).done();
        assert_eq!(std::fs::read_to_string(place.file("kept.ndjson")).unwrap(), text, "{output}");
        let mode = std::fs::metadata(place.file("kept.ndjson")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{output}");
    }
    assert!(place.file("link.ndjson").is_symlink());
    place.run(&["export", "--output", "nowhere/x"]).refused(1);
    assert!(place.run(&["export", "--output", "."]).refused(1).contains("is a folder"));
}

#[test]
fn what_is_no_file_is_written_to_as_it_is() {
    let place = Place::new();
    place.setup("Acme");
    let text = place.run(&["export"]).done();
    assert_eq!(place.run(&["export", "--output", "/dev/stdout"]).done(), text);
    assert_eq!(place.run(&["export", "--output", "/dev/fd/1"]).done(), text);
    place.run(&["export", "--output", "/dev/null"]).done();
    let said = place.run(&["export", "--output", "/dev/full"]).refused(1);
    assert!(said.contains("No space left"), "{said}");

    // A shell goes on writing where it had opened the file itself.
    let script = "echo first > all; { \"$0\" export --output /dev/stdout; echo last; } >> all";
    let mut command = place.command(&[]);
    let program = command.get_program().to_owned();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]).arg(program).current_dir(place.file("")).env_clear();
    shell.env("TOKEN_LEDGER_DATABASE_URL", place.url());
    ended(&mut shell).done();
    assert_eq!(std::fs::read_to_string(place.file("all")).unwrap(), format!("first\n{text}last\n"));

    let fifo = place.file("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    command = place.command(&["export", "--output", "fifo"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(std::fs::read_to_string(&fifo).unwrap(), text);
    assert!(child.wait().unwrap().success());
}

/// A stream that takes nothing.
fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn commands_do_their_work_where_nobody_can_be_told_of_it() {
    let place = Place::new();
    place.setup("Acme");
    for args in [&["replay"][..], &["replay", "--check"], &["verify"]] {
        let status = place.command(args).stderr(full()).stdout(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(0), "{args:?}");
    }
    let status = place.command(&["verify", "--company", "nobody"]).stderr(full()).status();
    assert_eq!(status.unwrap().code(), Some(2));
    // Nobody reads on.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = place.command(&["replay"]).stderr(writer).stdout(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));

    let place = Place::sqlite();
    place.setup("Acme");
    for args in [&["serve", "--listen", "127.0.0.1:0"][..], &["demo", "--listen", "127.0.0.1:0"]] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = place.command(args);
        let mut child = command.stderr(full()).stdout(writer).spawn().unwrap();
        drop(command);
        if args[0] == "demo" {
            std::io::Read::read_exact(&mut reader, &mut [0]).unwrap();
        }
        wait_for_listener(child.id());
        let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
    }
}

/// Waits until the process listens, or has ended.
fn wait_for_listener(id: u32) {
    let is_listening = || {
        let listening = std::fs::read_to_string(format!("/proc/{id}/net/tcp")).unwrap_or_default();
        let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{id}/fd"))
            .map(|files| files.flatten().collect::<Vec<_>>())
            .unwrap_or_default()
            .iter()
            .filter_map(|file| std::fs::read_link(file.path()).ok())
            .filter_map(|link| {
                Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
            })
            .collect();
        listening.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|fields| {
            fields.get(3) == Some(&"0A")
                && sockets.iter().any(|socket| fields.get(9) == Some(&&**socket))
        })
    };
    let has_ended = || {
        std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    };
    for _ in 0..3000 {
        if is_listening() || has_ended() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("it neither listens nor ends");
}

#[test]
fn where_the_output_takes_nothing_that_is_said() {
    let place = Place::new();
    place.setup("Acme");
    for args in [&["verify"][..], &["export"], &["replay"], &["migrate"], &["--help"], &["openapi"]]
    {
        let mut command = place.command(args);
        let output = command.stdout(full()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().last();
        let expected = "error: the output can't be written: No space left on device (os error 28)";
        assert_eq!((output.status.code(), last), (Some(1), Some(expected)), "{args:?}: {said}");
    }
    let said = place.run(&["export", "--output", "/dev/full"]).refused(1);
    assert_eq!(said, "error: /dev/full can't be written: No space left on device (os error 28)\n");
}
