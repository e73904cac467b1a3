//! The process is killed under load: what was acknowledged is there, what was refused is not, and
//! the ledger is in order.

use crate::process::{Company, Place, Serving, get, post};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};

/// Callers at a time.
const CALLERS: usize = 8;
/// Creations that are acknowledged before each kill.
const ACKNOWLEDGED: [usize; 5] = [1, 7, 40, 150, 400];

/// What became of the creations of one round.
#[derive(Default)]
struct Fate {
    created: Vec<String>,
    refused: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost() {
    let place = Place::new();
    let company = Arc::new(place.setup("Acme"));
    for (round, acknowledged) in ACKNOWLEDGED.into_iter().enumerate() {
        let serving = place.serve(&[]);
        let fate = create_until_killed(serving, &company, round, acknowledged).await;
        assert!(fate.created.len() >= acknowledged);

        let serving = place.serve(&[]);
        for id in &fate.created {
            let url = serving.url(&format!("/v1/companies/{}/tokens/{id}", company.id));
            let (status, token) = get(&url, &company.admin_key).await;
            assert_eq!(status, 200, "{id} is lost: {token}");
        }
        for name in &fate.refused {
            let url = serving.url(&format!("/v1/companies/{}/tokens?q={name}", company.id));
            let (status, found) = get(&url, &company.admin_key).await;
            assert_eq!((status, &found["items"]), (200, &json!([])), "{name} was refused");
        }
        place.run(&["verify"]).done();
        place.run(&["replay", "--check"]).done();
        // At rest, too.
        serving.kill();
        place.run(&["verify"]).done();
    }
    place.run(&["replay"]).done();
    place.run(&["replay", "--check"]).done();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_handed_out_is_on_record() {
    let place = Place::new();
    let company = place.setup("Acme");
    let serving = place.serve(&[]);
    let members = format!("/v1/companies/{}/members", company.id);
    let body = json!({"email": "bob@example.com", "role": "auditor"});
    let (status, bob) = post(&serving.url(&members), &company.admin_key, &body).await;
    assert_eq!(status, 201, "{bob}");
    let link = format!("{members}/{}/password-link", bob["member_id"].as_str().expect("an id"));
    let (status, made) = post(&serving.url(&link), &company.admin_key, &json!({})).await;
    assert_eq!(status, 201, "{made}");
    serving.kill();

    let serving = place.serve(&[]);
    let list = format!("/v1/companies/{}/audit/password-links", company.id);
    let (status, page) = get(&serving.url(&list), &company.audit_key).await;
    assert_eq!(status, 200, "{page}");
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2), "{page}");
    assert_eq!(page["dropped"], 0);
}

/// Creates tokens side by side, every third one unacceptable, and kills the service once so many
/// have been acknowledged.
async fn create_until_killed(
    serving: Serving,
    company: &Arc<Company>,
    round: usize,
    acknowledged: usize,
) -> Fate {
    let url = serving.url(&format!("/v1/companies/{}/tokens", company.id));
    let fate = Arc::new(Mutex::new(Fate::default()));
    let (done, mut answered) = mpsc::unbounded_channel();
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let (url, company, fate) = (url.clone(), Arc::clone(company), Arc::clone(&fate));
        let done = done.clone();
        callers.push(tokio::spawn(async move {
            let client = reqwest::Client::new();
            for number in 0.. {
                let name = format!("r{round}c{caller}n{number}x");
                let scope = if number % 3 == 2 { "unknown" } else { "positions" };
                let body = json!({"name": name, "scopes": [scope]});
                let request = client.post(&url).bearer_auth(&company.admin_key).json(&body);
                let Ok(response) = request.send().await else { return };
                let status = response.status().as_u16();
                let Ok(answer) = response.json::<serde_json::Value>().await else { return };
                let mut fate = fate.lock().await;
                match status {
                    201 => {
                        fate.created.push(answer["token_id"].as_str().unwrap().to_owned());
                        done.send(()).unwrap();
                    }
                    400 => fate.refused.push(name),
                    other => panic!("{other}: {answer}"),
                }
            }
        }));
    }
    for _ in 0..acknowledged {
        answered.recv().await.expect("callers go on until the service is gone");
    }
    serving.kill();
    for caller in callers {
        caller.await.expect("a caller ends well");
    }
    drop(answered);
    Arc::into_inner(fate).expect("all callers are done").into_inner()
}
