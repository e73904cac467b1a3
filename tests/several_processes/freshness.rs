//! What one process does is so on the others, within the bound.

use crate::stage::{Answer, BOUND, Caller, Node, PATIENCE, Stage, median_and_worst};
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};

/// How often each kind of change is made.
const ROUNDS: usize = 9;

/// Asks until it is so; answers how long after `began` that was. What is answered to a question
/// that was asked when the bound was over is right, or that it can't be known.
async fn seen(
    node: &Caller,
    secret: &str,
    began: Instant,
    holds: impl Fn(&Answer) -> bool,
) -> Duration {
    loop {
        let asked = Instant::now();
        let answer = node.verify(secret).await;
        if holds(&answer) {
            return began.elapsed();
        }
        let late = asked - began;
        assert!(late < BOUND || answer.status == 503, "{late:?} later: {answer:?}");
        assert!(late < PATIENCE, "{answer:?}");
    }
}

/// The times after which all others have seen a change that was just answered.
async fn seen_by_all<'a>(
    others: &[&'a Node],
    secret: &'a str,
    holds: impl Fn(&Answer) -> bool + Copy,
) -> Vec<Duration> {
    let began = Instant::now();
    let seeing = others.iter().map(|node| seen(node, secret, began, holds));
    futures::future::join_all(seeing).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_does_is_so_on_the_others() {
    let stage = Stage::new().await;
    let nodes = stage.serve_three();
    let mut times = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        let one = &nodes[round % 3];
        let others = [&nodes[(round + 1) % 3], &nodes[(round + 2) % 3]];
        let is = |status| move |answer: &Answer| answer.status == status;

        let token = one.create(&format!("round {round}")).await.expect(201);
        let (id, secret) = (token.field("token_id"), token.field("token"));
        one.verify(&secret).await.expect(200);
        times[0].extend(seen_by_all(&others, &secret, is(200)).await);

        let below = format!("/tokens/{id}");
        let scopes = json!({"scopes": ["employees"]});
        others[0].ask(Method::PATCH, &below, Some(scopes)).await.expect(200);
        assert_eq!(others[0].verify(&secret).await.header("x-scopes"), "employees");
        let edited = |answer: &Answer| answer.header("x-scopes") == "employees";
        times[1].extend(seen_by_all(&[one, others[1]], &secret, edited).await);

        let refresh = format!("{below}/refresh");
        let refreshed = others[1].ask(Method::POST, &refresh, Some(json!({}))).await.expect(200);
        let newer = refreshed.field("token");
        others[1].verify(&secret).await.expect(401);
        others[1].verify(&newer).await.expect(200);
        let those = [one, others[0]];
        let (gone, come) = tokio::join!(
            seen_by_all(&those, &secret, is(401)),
            seen_by_all(&those, &newer, is(200)),
        );
        times[2].extend(gone.into_iter().chain(come));

        one.delete(&id).await.expect(204);
        one.verify(&newer).await.expect(401);
        times[3].extend(seen_by_all(&others, &newer, is(401)).await);
    }
    for (what, times) in ["created", "edited", "refreshed", "deleted"].into_iter().zip(&mut times) {
        let (median, worst) = median_and_worst(times);
        println!("{what}: known to the others after {median:?} (median), {worst:?} (worst)");
        assert!(median < BOUND, "{what}: {median:?}");
    }
    // Commands work beside processes that serve.
    stage.check();
    stage.place.setup("Another");
    nodes.into_iter().for_each(Node::stop);
}

/// What a process has done and not told yet is known within the bound all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_did_that_was_killed_at_once_is_so_on_the_others() {
    let stage = Stage::new().await;
    let stays = stage.serve();
    for round in 0..ROUNDS {
        let dies = stage.serve();
        let mut tokens = Vec::new();
        for number in 0..8 {
            let token = dies.create(&format!("round {round}, {number}")).await.expect(201);
            stays.verify(&token.field("token")).await.expect(200);
            tokens.push((token.field("token_id"), token.field("token")));
        }
        // The others are told of the first ones at once, of the rest a few milliseconds later.
        let deleting = tokens.iter().map(|(id, _)| dies.delete(id));
        for deleted in futures::future::join_all(deleting).await {
            deleted.expect(204);
        }
        dies.serving.kill();
        let is_refused = |answer: &Answer| answer.status == 401;
        for (_, secret) in &tokens {
            seen_by_all(&[&stays], secret, is_refused).await;
        }
    }
    stage.check();
    stays.stop();
}

/// Who listens at another database than the one that it serves relies on nothing that it hears there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_elsewhere_calls_nothing_active_that_was_deleted() {
    let (stage, elsewhere) = (Stage::new().await, Stage::new().await);
    let near = stage.serve();
    let token = near.create("short-lived").await.expect(201);
    let (id, secret) = (token.field("token_id"), token.field("token"));
    let url = elsewhere.url();
    let deaf = stage.serve_at(&stage.url(), &[("TOKEN_LEDGER_DATABASE_LISTEN_URL", url.as_str())]);
    let is = |status| move |answer: &Answer| answer.status == status;
    seen_by_all(&[&deaf], &secret, is(200)).await;
    near.delete(&id).await.expect(204);
    seen_by_all(&[&deaf], &secret, is(401)).await;
    [near, deaf].into_iter().for_each(Node::stop);
    stage.check();
}

/// Whoever is given a secret may show it to another process the moment after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_just_given_out_is_good_everywhere() {
    let stage = Stage::new().await;
    let [one, another] = [stage.serve(), stage.serve()];
    for round in 0..ROUNDS {
        let created = one.create(&format!("round {round}")).await.expect(201);
        another.verify(&created.field("token")).await.expect(200);
        let refresh = format!("/tokens/{}/refresh", created.field("token_id"));
        let refreshed = one.ask(Method::POST, &refresh, Some(json!({}))).await.expect(200);
        let introspected = another.introspect(&refreshed.field("token")).await.expect(200);
        assert_eq!(introspected.body["active"], true);

        let (name, path) = (format!("round {round}"), one.path("/tokens"));
        for scope in ["ledger.audit", "ledger.introspect"] {
            let body = json!({"name": name, "scopes": [scope]});
            let key = one.ask(Method::POST, "/keys", Some(body)).await.expect(201).field("key");
            let asked = match scope {
                "ledger.audit" => another.request(Method::GET, &path, &key),
                _ => {
                    another.request(Method::POST, "/oauth/introspect", &key).form(&[("token", "x")])
                }
            };
            Caller::send(asked).await.expect(200);
        }
        let body = json!({"name": name, "scopes": ["positions"]});
        let mut client = one.ask(Method::POST, "/clients", Some(body)).await.expect(201);
        let rotate = format!("/clients/{}/rotate", client.field("client_id"));
        for path in ["/oauth/token", "/oauth/introspect"] {
            let (id, secret) = (client.field("client_id"), client.field("client_secret"));
            let form = [("grant_type", "client_credentials"), ("token", "x")];
            Caller::send(another.as_client(&id, &secret, path).form(&form)).await.expect(200);
            client = one.ask(Method::POST, &rotate, Some(json!({}))).await.expect(200);
        }
    }
    stage.check();
    [one, another].into_iter().for_each(Node::stop);
}

/// The processes are nobody who could change what has happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_can_not_change_what_has_happened() {
    let stage = Stage::new().await;
    let node = stage.serve();
    node.create("one").await.expect(201);
    let database = stage.place.database();
    for statement in [
        "UPDATE events SET payload = '{}'",
        "DELETE FROM events",
        "TRUNCATE events",
        "DROP TABLE events",
        "ALTER TABLE events DISABLE TRIGGER ALL",
    ] {
        let refused = database.try_as_blocking(crate::stage::SERVICE, statement);
        assert_eq!(refused, Err("42501".to_owned()), "{statement}: insufficient privilege");
    }
    // On plain PostgreSQL, not even who owns them.
    for statement in ["UPDATE events SET payload = '{}'", "DELETE FROM events", "TRUNCATE events"] {
        let refused = database.try_as_blocking("postgres", statement);
        assert_eq!(refused, Err("23001".to_owned()), "{statement}: restrict violation");
    }
    node.stop();
    stage.check();
}

/// Somebody who may read all and add nothing serves, and says that it can't do its work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_write_is_not_ready() {
    const READER: &str = "ledger_test_reader";
    let stage = Stage::new().await;
    let database = stage.place.database();
    database.let_in(READER, "pg_read_all_data").await;
    let node = stage.serve_at(&database.url_as(READER), &[]);
    let answer = node.readiness().await.expect(503);
    assert!(answer.text.contains("the database can't be written"), "{answer:?}");
    node.create("one").await.expect(500);
    drop(node);
    stage.check();
}
