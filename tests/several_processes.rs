//! Several processes on one PostgreSQL database behave as one.

mod process;

use process::{Company, Place, Serving, get, post};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How old a process's knowledge of what the others did may be.
const BOUND: Duration = Duration::from_secs(1);

fn tokens(serving: &Serving, company: &Company) -> String {
    serving.url(&format!("/v1/companies/{}/tokens", company.id))
}

async fn create(serving: &Serving, company: &Company, name: &str) -> Value {
    let body = json!({"name": name, "scopes": ["positions"]});
    let (status, token) = post(&tokens(serving, company), &company.admin_key, &body).await;
    assert_eq!(status, 201, "{token}");
    token
}

async fn verified(serving: &Serving, secret: &str) -> u16 {
    get(&serving.url("/v1/verify"), secret).await.0
}

/// Asks until the bound is over; what is answered then must be this.
async fn is_so_within_the_bound(serving: &Serving, secret: &str, expected: u16) {
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        let status = verified(serving, secret).await;
        if status == expected {
            return;
        }
        assert!(asked - began < BOUND, "still {status} after {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_does_is_so_on_the_others() {
    let place = Place::postgres();
    let company = place.setup("Acme");
    let one = place.serve(&[]);
    let other = place.serve(&["--no-migrate"]);
    for round in 0..10 {
        let token = create(&one, &company, &format!("round {round}")).await;
        let secret = token["token"].as_str().expect("a secret");
        assert_eq!(verified(&one, secret).await, 200, "it is so here at once");
        is_so_within_the_bound(&other, secret, 200).await;
        let path = format!("{}/{}", tokens(&other, &company), token["token_id"].as_str().unwrap());
        let deleted = reqwest::Client::new().delete(path).bearer_auth(&company.admin_key).send();
        assert_eq!(deleted.await.expect("an answer").status(), 204);
        assert_eq!(verified(&other, secret).await, 401, "it is so here at once");
        is_so_within_the_bound(&one, secret, 401).await;
    }
    // Commands work beside processes that serve.
    place.run(&["verify"]).done();
    place.run(&["replay", "--check"]).done();
    place.setup("Another");
    one.stop();
    other.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_repeated_to_another_process_is_done_once() {
    let place = Place::postgres();
    let company = place.setup("Acme");
    let processes = [place.serve(&[]), place.serve(&[])];
    let mut ids = Vec::new();
    for round in 0..6 {
        let body = json!({"name": "once", "scopes": ["positions"]});
        let serving = &processes[round % 2];
        let request = reqwest::Client::new()
            .post(tokens(serving, &company))
            .bearer_auth(&company.admin_key)
            .header("Idempotency-Key", "the same")
            .json(&body);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 201);
        let token: Value = answer.json().await.expect("JSON");
        ids.push(token["token_id"].as_str().expect("an id").to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    for serving in processes {
        serving.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_another_process_turned_off_is_off() {
    let place = Place::postgres();
    let company = place.setup("Acme");
    let one = place.serve(&[]);
    let other = place.serve(&[]);
    let secret = create(&one, &company, "before").await["token"].as_str().unwrap().to_owned();
    let module = other.url(&format!("/v1/companies/{}/oauth-app", company.id));
    let off = reqwest::Client::new()
        .put(module)
        .bearer_auth(&company.operator_key)
        .json(&json!({"enabled": false}))
        .send();
    assert_eq!(off.await.expect("an answer").status(), 200);
    let body = json!({"name": "after", "scopes": ["positions"]});
    let (status, _) = post(&tokens(&one, &company), &company.admin_key, &body).await;
    assert_eq!(status, 409, "nothing is created any more, wherever it is asked");
    is_so_within_the_bound(&one, &secret, 401).await;
    one.stop();
    other.stop();
}
