//! A disk that takes no more: commands are refused and leave nothing behind, everything else goes
//! on, and when there is room again, so do commands.

use crate::process::{Place, Serving, get, post};
use serde_json::json;
use std::process::Command;

/// Blocks of 512 bytes that a file of the service may have: the write-ahead log soon does.
const BLOCKS: &str = "1024";
/// More creations than there is room for.
const TOO_MANY: usize = 500;

#[tokio::test]
async fn a_full_disk_refuses_commands_and_nothing_else() {
    let place = Place::sqlite();
    let company = place.setup("Acme");
    let serving = serve_within_limit(&place);
    let tokens = serving.url(&format!("/v1/companies/{}/tokens", company.id));
    let create = async |name: String| {
        post(&tokens, &company.admin_key, &json!({"name": name, "scopes": ["positions"]})).await
    };

    let mut created = Vec::new();
    let mut secret = String::new();
    let refusal = loop {
        let name = format!("token {}", created.len());
        assert!(created.len() < TOO_MANY, "the disk never fills");
        match create(name.clone()).await {
            (201, token) => token["token"].as_str().expect("a secret").clone_into(&mut secret),
            refusal => break refusal,
        }
        created.push(name);
    };
    let (status, problem) = refusal;
    assert_eq!((status, &problem["type"]), (503, &json!("/problems/unavailable")));
    assert!(problem["detail"].as_str().expect("a detail").contains("nothing was changed"));
    serving.says("the database can't be used");
    let (status, ready) = get(&serving.url("/readyz"), "").await;
    assert_eq!((status, &ready["ready"]), (503, &json!(false)), "{ready}");
    assert!(ready["reasons"].to_string().contains("the last command failed"), "{ready}");

    // What is there is read and verified as before.
    assert_eq!(names(&tokens, &company.audit_key).await, created);
    let verified = reqwest::Client::new().get(serving.url("/v1/verify")).bearer_auth(&secret);
    assert_eq!(verified.send().await.expect("an answer").status(), 200);
    assert_eq!(create("still no room".to_owned()).await.0, 503);

    let freed = Command::new("prlimit")
        .arg(format!("--pid={}", serving.id()))
        .arg("--fsize=unlimited:unlimited")
        .status()
        .expect("prlimit can be run");
    assert!(freed.success());
    assert_eq!(create("room again".to_owned()).await.0, 201);
    assert_eq!(get(&serving.url("/readyz"), "").await.0, 200);
    created.push("room again".to_owned());
    assert_eq!(names(&tokens, &company.audit_key).await, created);
    place.run(&["verify"]).done();
    place.run(&["replay", "--check"]).done();
    serving.stop();
}

/// Starts the service where no file may grow beyond a limit. Such a write fails rather than ends
/// the process.
fn serve_within_limit(place: &Place) -> Serving {
    let script = format!("trap '' XFSZ; ulimit -S -f {BLOCKS}; exec \"$0\" \"$@\"");
    let mut command = Command::new("/bin/sh");
    command
        .env_clear()
        .env("TOKEN_LEDGER_DATABASE_URL", place.url())
        .current_dir(place.file(""))
        .args(["-c", &script, env!("CARGO_BIN_EXE_token-ledger")])
        .args(["serve", "--listen", "127.0.0.1:0"]);
    Serving::start(command)
}

/// The names of the company's tokens, oldest first.
async fn names(tokens: &str, key: &str) -> Vec<String> {
    let (status, list) = get(&format!("{tokens}?limit=1000&sort=created_at"), key).await;
    assert_eq!(status, 200, "{list}");
    let items = list["items"].as_array().expect("items");
    items.iter().map(|token| token["name"].as_str().expect("a name").to_owned()).collect()
}
