//! Settings: from a file, the environment and the command line.

use crate::process::{Place, Serving, ended};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

#[test]
fn settings_come_from_file_environment_and_command_line() {
    let place = Place::new();
    let file = place.file("settings.toml");
    std::fs::write(&file, "listen = \"0.0.0.0:0\"\nkey_prefix = \"file_\"\n").unwrap();
    // The file's address is refused, the environment's is not.
    place.run(&["serve", "--config", "settings.toml"]).refused(2);
    let mut command = place.command(&["serve", "--config", "settings.toml"]);
    command.env("TOKEN_LEDGER_LISTEN", "127.0.0.1:0").env("TOKEN_LEDGER_PORT", "tcp://10.0.0.1:80");
    Serving::start(command).stop();
    let mut command = place.command(&["serve", "--listen", "localhost:0"]);
    command.env("TOKEN_LEDGER_LISTEN", "0.0.0.0:0").env("TOKEN_LEDGER_CONFIG", "settings.toml");
    Serving::start(command).stop();
    let mut command = place.command(&["serve", "--config", "settings.toml"]);
    command.env("TOKEN_LEDGER_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1");
    Serving::start(command).stop();
    let args = ["setup", "--company", "A", "--admin-email", "a@b.c", "--config", "settings.toml"];
    assert!(place.run(&args).done().contains("file_"));
    std::fs::write(&file, "listne = \"0.0.0.0:0\"\n").unwrap();
    let said = place.run(&["serve", "--config", "settings.toml"]).refused(2);
    assert_eq!(said, "error: listne in settings.toml: there is no such setting\n");
    let mut command = place.command(&["verify"]);
    command.env("TOKEN_LEDGER_INSECURE_HTTP", "1").env("TOKEN_LEDGER_PUBLIC_URL", "");
    // What looks like a number is one only where a number is asked for.
    command.env("TOKEN_LEDGER_TOKEN_PREFIX", "007_").env("TOKEN_LEDGER_KEY_PREFIX", "42");
    command.env("TOKEN_LEDGER_CHECKPOINT_DELAY_MS", "2000");
    command.env("TOKEN_LEDGER_EXPIRY_INTERVAL_SECONDS", "soon");
    let said = ended(&mut command).refused(2).to_lowercase();
    assert!(said.contains("expiry_interval_seconds"), "{said}");
}

#[test]
fn a_number_that_is_none_is_told_from_one_in_words() {
    let place = Place::sqlite();
    for (text, found) in [("abc", "type: found string \"abc\""), ("-1", "value signed int `-1`")] {
        for setting in ["MAX_CONNECTIONS", "DATABASE_CONNECTIONS", "CHECKPOINT_DELAY_MS"] {
            let mut command = place.command(&["openapi"]);
            let said = ended(command.env(format!("TOKEN_LEDGER_{setting}"), text)).refused(2);
            let expected = format!(
                "error: TOKEN_LEDGER_{setting}: invalid {found}, expected a whole number\n"
            );
            assert_eq!(said, expected);
        }
    }
}

#[test]
fn a_file_of_settings_that_cannot_be_used_is_named_and_so_is_why() {
    let place = Place::sqlite();
    std::fs::create_dir(place.file("folder")).unwrap();
    for (name, content) in [
        ("broken.toml", &b"listen = \"x"[..]),
        ("binary.toml", b"\xff\xfe"),
        ("unknown.toml", b"listne = 1"),
        ("types.toml", b"database_connections = \"many\""),
        ("scopes.toml", b"[[scopes]]\nname = \"rooms\"\ndescripton = \"\""),
        ("empty.toml", b""),
    ] {
        std::fs::write(place.file(name), content).unwrap();
    }
    for (name, told) in [
        ("missing.toml", "the file of settings, missing.toml, can't be read: No such file"),
        ("folder", "the file of settings, folder, can't be read: Is a directory"),
        ("binary.toml", "the file of settings, binary.toml, can't be read: stream did not"),
        ("broken.toml", "broken.toml: TOML parse error at line 1, column 12: invalid basic string"),
        ("unknown.toml", "listne in unknown.toml: there is no such setting"),
        ("types.toml", "database_connections in types.toml: invalid type: found string"),
        ("scopes.toml", "scopes.0.descripton in scopes.toml: there is no such setting"),
    ] {
        let said = place.run(&["verify", "--config", name]).refused(2);
        assert!(said.starts_with(&format!("error: {told}")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let mut command = place.command(&["verify"]);
        assert_eq!(ended(command.env("TOKEN_LEDGER_CONFIG", name)).refused(2), said);
    }
    // What is empty counts as left out.
    for name in ["", "empty.toml"] {
        let mut command = place.command(&["openapi"]);
        ended(command.env("TOKEN_LEDGER_CONFIG", name)).done();
    }
}

#[test]
fn a_file_of_settings_may_be_a_pipe() {
    use std::io::Write;
    let place = Place::sqlite();
    let mut command = place.command(&["openapi", "--config", "/dev/stdin"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let settings = b"[[scopes]]\nname = \"rooms\"\ndescription = \"Rooms\"\n";
    child.stdin.take().unwrap().write_all(settings).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("\"rooms\""));
}

#[test]
fn the_data_accesses_on_offer_are_named_by_option_and_variable() {
    let place = Place::sqlite();
    let offer = "rooms=Rooms, and who booked them";
    let by_option = place.run(&["openapi", "--scope", offer, "--scope", "desks=a = b"]).done();
    assert!(by_option.contains("\"rooms\"") && !by_option.contains("\"positions\""));
    for variable in ["TOKEN_LEDGER_SCOPE", "TOKEN_LEDGER_SCOPES"] {
        let mut command = place.command(&["openapi"]);
        command.env(variable, format!("{offer}\n desks=a = b\n"));
        assert_eq!(ended(&mut command).done(), by_option, "{variable}");
        let mut command = place.command(&["openapi"]);
        let said = ended(command.env(variable, "rooms")).refused(2);
        assert!(said.contains("\"rooms\" is not NAME=DESCRIPTION"), "{said}");
    }
    let said = place.run(&["openapi", "--scope", "a b=x"]).refused(2);
    assert!(said.contains("--scope"), "{said}");
}

#[test]
fn a_variable_that_is_no_setting_is_named_in_the_log() {
    let place = Place::sqlite();
    let mut command = place.command(&["openapi"]);
    command.env("TOKEN_LEDGER_LISTNE", "127.0.0.1:1").env("TOKEN_LEDGER_LOG", "warn");
    command.env("TOKEN_LEDGER_PORT", "tcp://10.0.0.1:80").env("TOKEN_LEDGER_LISTEN", "");
    let told = ended(&mut command);
    assert_eq!(told.code, Some(0));
    assert!(told.stderr.contains("TOKEN_LEDGER_LISTNE"), "{told:?}");
    assert_eq!(told.stderr.lines().count(), 1, "{told:?}");
    let said = ended(command.env("TOKEN_LEDGER_LOG", "a=b=c")).refused(2);
    assert!(said.starts_with("error: TOKEN_LEDGER_LOG: "), "{said}");
}

#[test]
fn what_is_set_for_the_service_can_be_set_for_the_commands_that_need_it() {
    let place = Place::new();
    let args = ["setup", "--company", "A", "--admin-email", "a@b.c", "--key-prefix", "acme_"];
    assert!(place.run(&args).done().contains("acme_"));
    let key = ["key", "create", "--company", "platform", "--name", "k", "--scope", "ledger.audit"];
    let key = place.run(&[&key[..], &["--key-prefix", "globex_"]].concat()).done();
    assert!(key.contains("globex_"), "{key}");

    let logs = ["--evidence-dir", "elsewhere", "--log-name", "ledger.example/log"];
    let args = ["serve", "--listen", "127.0.0.1:0", "--checkpoint-delay-ms", "10"];
    Serving::start(place.command(&[&args[..], &logs].concat())).stop();
    place.run(&[&["verify"][..], &logs].concat()).done();
    // It is held against what was kept there.
    let kept = place.file("elsewhere/log ledger.example%2Flog");
    let kept: Vec<_> = std::fs::read_dir(kept).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!kept.is_empty());
    for file in &kept {
        std::fs::write(file, "no checkpoint").unwrap();
    }
    place.run(&["verify"]).done();
    place.run(&[&["verify"][..], &logs].concat()).refused(1);
    let said = place.run(&["verify", "--evidence-dir", "nowhere"]).refused(2);
    assert!(said.contains("there is no folder nowhere"), "{said}");
}

#[test]
fn an_evidence_folder_that_is_not_there_is_refused_wherever_it_is_named() {
    let place = Place::new();
    place.setup("Acme");
    place.serve(&["--evidence-dir", "there"]).stop();
    for (folder, told) in [
        ("nowhere", "error: evidence_dir: there is no folder nowhere"),
        ("settings.toml", "error: evidence_dir: settings.toml is no folder"),
    ] {
        std::fs::write(place.file("settings.toml"), format!("evidence_dir = \"{folder}\"\n"))
            .unwrap();
        let by_option = place.run(&["verify", "--evidence-dir", folder]).refused(2);
        assert!(by_option.starts_with(told), "{by_option}");
        let mut command = place.command(&["verify"]);
        command.env("TOKEN_LEDGER_EVIDENCE_DIR", folder);
        assert_eq!(ended(&mut command).refused(2), by_option);
        assert_eq!(place.run(&["verify", "--config", "settings.toml"]).refused(2), by_option);
    }
    let mut command = place.command(&["verify"]);
    ended(command.env("TOKEN_LEDGER_EVIDENCE_DIR", "there")).done();
    // The one that nobody named may be missing.
    place.run(&["verify"]).done();
}

#[test]
fn a_variable_that_is_no_text_is_named() {
    let place = Place::sqlite();
    for variable in ["DATABASE_URL", "LISTEN", "LOG", "SCOPE"] {
        let variable = format!("TOKEN_LEDGER_{variable}");
        let mut command = place.command(&["migrate"]);
        command.env(&variable, OsStr::from_bytes(b"sqlite://bad\xff.db"));
        let said = ended(&mut command).refused(2);
        assert_eq!(said, format!("error: {variable}: is not UTF-8\n"));
    }
    assert_eq!(std::fs::read_dir(place.file("")).unwrap().count(), 0);
    // A file may be called anything.
    let config = OsStr::from_bytes(b"bad\xff.toml");
    std::fs::write(place.file("").join(config), "").unwrap();
    ended(place.command(&["migrate"]).env("TOKEN_LEDGER_CONFIG", config)).done();
}

#[test]
fn a_level_that_there_is_not_is_refused() {
    let place = Place::sqlite();
    for log in ["debugg", "debugg=,x", "token_ledger=debugg", "info,token_ledger=", "a[b", "info,x"]
    {
        let mut command = place.command(&["migrate"]);
        let said = ended(command.env("TOKEN_LEDGER_LOG", log)).refused(2);
        assert!(said.starts_with("error: TOKEN_LEDGER_LOG: "), "{log}: {said}");
    }
    for log in
        ["debug", "OFF", "3", "info,token_ledger=debug", "warn,[request]=trace", "a[b]", "info,"]
    {
        ended(place.command(&["migrate"]).env("TOKEN_LEDGER_LOG", log)).done();
    }
}

#[test]
fn the_name_of_a_file_may_be_escaped_in_a_url() {
    let place = Place::sqlite();
    for (url, name) in [
        ("sqlite://x%20y.db", "x y.db"),
        ("sqlite://100%25%3f%23.db", "100%?#.db"),
        ("sqlite://file:x.db", "file:x.db"),
    ] {
        place.run(&["migrate", "--database-url", url]).done();
        let size = place.file(name).metadata().expect("a file").len();
        assert!(size > 0, "{name} is where the ledger is");
        // What it holds is found again, in every way in which it is opened.
        let setup = ["setup", "--company", "A", "--admin-email", "a@b.c", "--database-url", url];
        place.run(&setup).done();
        place.run(&["verify", "--database-url", url]).done();
        let mut command = place.command(&["verify"]);
        assert!(ended(command.env("TOKEN_LEDGER_DATABASE_URL", url)).done().contains("2 ledgers"));
    }
    for url in ["sqlite://100%.db", "sqlite://x%2.db", "sqlite://x%zz.db", "sqlite://x%00.db"] {
        let said = place.run(&["migrate", "--database-url", url]).refused(2);
        assert!(said.contains("%25") || said.contains("NUL"), "{url}: {said}");
    }
}

#[test]
fn words_that_can_be_chosen_among_are_told_plainly() {
    let place = Place::sqlite();
    std::fs::write(place.file("settings.toml"), "log_format = \"xml\"\n").unwrap();
    let said = place.run(&["openapi", "--config", "settings.toml"]).refused(2);
    assert_eq!(said, "error: log_format in settings.toml: \"xml\" is none of text, json\n");
}

#[test]
fn what_has_the_wrong_form_is_told_in_the_words_of_the_file() {
    let place = Place::sqlite();
    let key = "w+f1f0a3a5+BHhrNeXo8pXvlLrTGPsdQyvrzZBPzRT1RNG3B0C7mnhv";
    for (settings, told) in [
        ("scopes = [\"a=A\"]\n".to_owned(), "expected a table with name and description"),
        ("witnesses = [\"w\"]\n".to_owned(), "expected a table with url and key"),
        (
            format!("[[witnesses]]\nurl = \"http://me@w.example/?x=1\"\nkey = \"{key}\"\n"),
            "without user, query and fragment",
        ),
    ] {
        std::fs::write(place.file("settings.toml"), &settings).unwrap();
        let said = place.run(&["serve", "--config", "settings.toml"]).refused(2);
        assert!(said.contains(told), "{settings}{said}");
    }
}

#[test]
fn help_and_the_table_of_settings_say_what_holds_unless_set() {
    let place = Place::sqlite();
    let help = place.run(&["serve", "--help"]).done();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let table = include_str!("../../docs/operations.md");
    let defaults = serde_json::json!(token_ledger::config::Settings::default());
    let mut options = 0;
    for (setting, default) in defaults.as_object().unwrap() {
        let default = match default {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => continue,
        };
        let option = format!("--{}", setting.replace('_', "-"));
        let told = help.split(&format!("{option} <")).nth(1).unwrap_or_else(|| panic!("{option}"));
        let told = words(told.split("\n      --").next().unwrap());
        assert!(told.contains(&format!("; {default} unless set otherwise")), "{option}: {told}");
        let named = format!("`{option}`");
        let row = table.lines().find(|line| line.starts_with("| `--") && line.contains(&named));
        let row = row.unwrap_or_else(|| panic!("no row of {option}"));
        let column = row.split('|').nth(2).unwrap();
        assert!(column.contains(&default), "{option}: {row}");
        options += 1;
    }
    assert!(options > 15, "{options}");
}
