//! A process that is cut off from the database knows that it doesn't know, and recovers by itself.

use crate::stage::{BOUND, Caller, LOOK, Node, PATIENCE, Stage, until};
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};
use token_ledger_test_cluster::Proxy;

/// How long a process may be without the database in these tests.
const CUT_OFF_FOR: Duration = Duration::from_secs(4);
/// How long a request is held up that comes before a process is cut off: less than it is tried again.
const HELD_UP_FOR: Duration = Duration::from_secs(3);
/// How long after the database is back a process may take to serve as before.
const RECOVERY: Duration = Duration::from_secs(15);
/// How long whoever asks whether a process is ready may have to wait for the answer.
const PROBE: Duration = Duration::from_secs(5);

/// A process that reaches the database by way of a proxy, one that reaches it directly, and two
/// tokens that are good on both.
struct Scene {
    stage: Stage,
    proxy: Proxy,
    far: Node,
    near: Node,
    stays: String,
    goes: (String, String),
}

impl Scene {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let proxy = Proxy::to(&stage.url()).await;
        let far = stage.serve_at(&proxy.url(&stage.url()), &[]);
        let near = stage.serve();
        let stays = near.create("stays").await.expect(201).field("token");
        let goes = near.create("goes").await.expect(201);
        let goes = (goes.field("token_id"), goes.field("token"));
        for secret in [&stays, &goes.1] {
            until("it is known", || far.verify(secret), |answer| answer.status == 200).await;
        }
        until("it is ready", || far.readiness(), |answer| answer.status == 200).await;
        Self { stage, proxy, far, near, stays, goes }
    }

    /// The process is cut off, a token is deleted elsewhere, and the process says that it can't
    /// know until it is let through again.
    async fn plays(self, cut: impl Fn(&Proxy), let_through: impl Fn(&Proxy)) {
        let Self { stage, proxy, far, near, stays, goes } = self;
        let began = Instant::now();
        cut(&proxy);
        near.delete(&goes.0).await.expect(204);
        // Somebody commands it meanwhile.
        let commanded = tokio::spawn({
            let far = far.caller.clone();
            async move { far.create("meanwhile").await }
        });
        let mut refused = 0;
        while began.elapsed() < CUT_OFF_FOR {
            for secret in [&stays, &goes.1] {
                let asked = began.elapsed();
                let answer = far.verify(secret).await;
                if asked >= BOUND {
                    assert_eq!(answer.status, 503, "asked {asked:?} after: {answer:?}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0);
        let refused = [
            far.introspect(&stays).await,
            far.verify(&stays).await,
            far.ask(Method::GET, "/tokens", None).await,
        ];
        for answer in refused {
            assert_eq!(answer.expect(503).header("retry-after"), "1");
        }
        let metrics = Caller::send(far.request(Method::GET, "/metrics", "")).await.expect(200);
        assert!(
            metrics.text.lines().any(|line| line == "token_ledger_database_answers 0"),
            "{metrics:?}"
        );
        let asked = Instant::now();
        let readiness = far.readiness().await.expect(503);
        assert!(asked.elapsed() < PROBE, "{:?}", asked.elapsed());
        let reasons = readiness.body["reasons"].to_string();
        assert!(reasons.contains("what other processes did is not known"), "{reasons}");
        // Nobody else is held up.
        near.create("elsewhere").await.expect(201);
        near.verify(&stays).await.expect(200);

        let_through(&proxy);
        let back = Instant::now();
        until("good again", || far.verify(&stays), |answer| answer.status != 503).await.expect(200);
        far.verify(&goes.1).await.expect(401);
        until("ready again", || far.readiness(), |answer| answer.status == 200).await;
        let took = back.elapsed();
        assert!(took < RECOVERY, "{took:?}");
        println!("served again {took:?} after the database was back");

        // Whether or not the command was carried out, it was not twice.
        let commanded = commanded.await.expect("an answer");
        assert!([201, 503].contains(&commanded.status), "{commanded:?}");
        let events = far.events().await;
        let named = |event: &&serde_json::Value| event["data"]["name"] == "meanwhile";
        let count = events.iter().filter(named).count();
        assert!(count == usize::from(commanded.status == 201) || count == 0, "{count} times");
        far.create("afterwards").await.expect(201);
        near.stop();
        far.stop();
        stage.check();
    }
}

/// Nothing arrives any more, and nothing is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_blocked_off_says_nothing_that_may_be_wrong() {
    Scene::new().await.plays(Proxy::cut, Proxy::mend).await;
}

/// All connections are closed, and no other can be made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_shut_out_says_nothing_that_may_be_wrong() {
    Scene::new().await.plays(Proxy::close, Proxy::mend).await;
}

/// What a key was let through for before it was deleted elsewhere is held up with the process, and
/// not carried out when that is let through again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_up_is_not_done_for_a_key_that_was_deleted_meanwhile() {
    let Scene { stage, proxy, far, near, stays, .. } = Scene::new().await;
    let body = json!({"email": "priya@acme.example", "role": "auditor"});
    let member = near.ask(Method::POST, "/members", Some(body)).await.expect(201);
    let member = member.field("member_id");
    let body = json!({"name": "leaked", "scopes": ["ledger.admin"]});
    let key = near.ask(Method::POST, "/keys", Some(body)).await.expect(201);
    let (id, secret) = (key.field("key_id"), key.field("key"));
    let whoami = || Caller::send(far.request(Method::GET, "/v1/whoami", &secret));
    until("the key is known", whoami, |answer| answer.status == 200).await;
    proxy.cut();
    let cut = Instant::now();
    let ask = |below: &str, body| {
        let request = far.request(Method::POST, &far.path(below), &secret).json(&body);
        tokio::spawn(Caller::send(request))
    };
    let held_up = [
        ask("/tokens", json!({"name": "held up", "scopes": ["positions"]})),
        ask("/keys", json!({"name": "held up", "scopes": ["ledger.admin"]})),
        ask("/members", json!({"email": "held-up@acme.example", "role": "auditor"})),
        // These are no commands.
        ask(&format!("/members/{member}/password-link"), json!({})),
        ask("/tokens/delete-all", json!({"scope": "positions", "reason": "it leaked"})),
    ];
    near.ask(Method::DELETE, &format!("/keys/{id}"), None).await.expect(204);
    until("it is held up", || far.readiness(), |_| cut.elapsed() > HELD_UP_FOR).await;
    proxy.mend();
    for answer in held_up {
        let answer = answer.await.expect("an answer");
        assert!([401, 503].contains(&answer.status), "{answer:?}");
    }
    near.create("afterwards").await.expect(201);
    let events = near.events().await;
    let since = events.iter().skip_while(|event| event["type"] != "key.deleted").skip(1);
    let names: Vec<_> = since.map(|event| &event["data"]["name"]).collect();
    assert_eq!(names, ["afterwards"], "{events:?}");
    near.verify(&stays).await.expect(200);
    near.stop();
    far.stop();
    stage.check();
}

/// What was connected never hears anything again, not even that it is over; whoever connects anew
/// is served at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_fall_silent_for_good_are_given_up() {
    let Scene { stage, proxy, far, near, stays, .. } = Scene::new().await;
    // So that there are connections that rest.
    for round in 0..20 {
        let names: Vec<_> = (0..8).map(|number| format!("{round} {number}")).collect();
        futures::future::join_all(names.iter().map(|name| far.create(name))).await;
    }
    proxy.silence();
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < PATIENCE && done < 5 {
        let listed = far.ask(Method::GET, "/tokens?limit=1", None).await;
        let created = far.create("after").await;
        let ready = far.readiness().await;
        done = if (listed.status, created.status, ready.status) == (200, 201, 200) {
            done + 1
        } else {
            0
        };
        tokio::time::sleep(LOOK).await;
    }
    let took = began.elapsed();
    assert!(took < PATIENCE, "not yet as before");
    println!("served as before {took:?} after all connections had fallen silent");
    // What runs on its own goes on too: the audit trail has what is committed from now on.
    let last = near.create("last").await.expect(201).field("token_id");
    near.verify(&stays).await.expect(200);
    let ends_with_it = |events: &Option<Vec<serde_json::Value>>| {
        let event = events.as_ref().and_then(|events| events.last());
        event.is_some_and(|event| event["token_id"] == last.as_str())
    };
    until("the audit trail", || far.events_if_known(), ends_with_it).await;
    near.stop();
    far.stop();
    stage.check();
}

/// A process whose notifications stay away, though it reaches the database, goes on telling what
/// happens only to those of whom it has made sure that they still may hear it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_key_where_no_notification_arrives() {
    let stage = Stage::new().await;
    let proxy = Proxy::to(&stage.url()).await;
    let listen_url = proxy.url(&stage.url());
    let listening = [("TOKEN_LEDGER_DATABASE_LISTEN_URL", listen_url.as_str())];
    let deaf = stage.serve_at(&stage.url(), &listening);
    let near = stage.serve();
    let body = json!({"name": "listener", "scopes": ["ledger.audit"]});
    let key = near.ask(Method::POST, "/keys", Some(body)).await.expect(201);
    let (id, secret) = (key.field("key_id"), key.field("key"));
    let open = || deaf.request(Method::GET, &deaf.path("/audit/stream"), &secret).send();
    let opened = |answer: &reqwest::Result<reqwest::Response>| {
        answer.as_ref().is_ok_and(|answer| answer.status() == 200)
    };
    let mut doomed = until("the key is known", open, opened).await.expect("a stream");
    let admin_key = &deaf.company.admin_key;
    let other = deaf.request(Method::GET, &deaf.path("/audit/stream"), admin_key).send();
    let mut other = other.await.expect("a stream");

    proxy.cut();
    near.ask(Method::DELETE, &format!("/keys/{id}"), None).await.expect(204);
    let deleted = Instant::now();
    while doomed.chunk().await.expect("an end without failure").is_some() {
        assert!(deleted.elapsed() < PATIENCE, "the stream goes on");
    }
    // Whoever may still listen hears it all.
    near.create("heard").await.expect(201);
    let mut heard = String::new();
    while !heard.contains("token.created") {
        let chunk = other.chunk().await.expect("no failure").expect("no end");
        heard.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(heard.contains("key.deleted"), "{heard}");
    // Nor does the audit trail keep anybody waiting who asks for it.
    let last = near.create("last").await.expect(201).field("token_id");
    let events = deaf.events().await;
    assert!(events.iter().any(|event| event["token_id"] == last.as_str()), "{events:?}");
    near.stop();
    deaf.stop();
}
