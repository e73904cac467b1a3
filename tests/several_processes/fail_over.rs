//! The database goes away and comes back, perhaps elsewhere.

use crate::process::{Place, Serving};
use crate::stage::{Answer, Caller, Node, Stage, until};
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use token_ledger_test_cluster::{Cluster, Proxy, TestDatabase};

/// How long the database is gone.
const GONE_FOR: Duration = Duration::from_secs(20);
/// How long after the database is back everything may take to be as before.
const RECOVERY: Duration = Duration::from_secs(15);
/// Callers who wait for their answers.
const CALLERS: usize = 12;
/// How old what is known of other processes may be.
const BOUND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_waits_for_its_database_and_says_so() {
    let stage = Stage::new().await;
    let proxy = Proxy::to(&stage.url()).await;
    for (absent, present) in
        [(Proxy::close as fn(&Proxy), Proxy::mend as fn(&Proxy)), (Proxy::cut, Proxy::mend)]
    {
        absent(&proxy);
        let mut command =
            stage.place.command(&["serve", "--listen", "127.0.0.1:0", "--no-migrate"]);
        command.env("TOKEN_LEDGER_DATABASE_URL", proxy.url(&stage.url()));
        let mut serving = Serving::spawn(command);
        serving.says("waiting for the database");
        present(&proxy);
        serving.listens();
        let node = Node::new(serving, &stage.company);
        until("it is ready", || node.readiness(), |answer| answer.status == 200).await;
        node.create("served").await.expect(201);
        node.stop();
    }
}

/// The connection ends after the commit was carried out and before that was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_not_carried_out_again() {
    let stage = Stage::new().await;
    let proxy = Proxy::to(&stage.url()).await;
    let node = stage.serve_at(&proxy.url(&stage.url()), &[]);
    let lose = || proxy.lose_answer_to("UPDATE company_heads");
    for round in 0..5 {
        lose();
        let token = node.create(&format!("lost {round}")).await.expect(201);
        assert!(proxy.has_lost());
        let below = format!("/tokens/{}", token.field("token_id"));
        // What was answered is in force, as always.
        node.verify(&token.field("token")).await.expect(200);
        lose();
        let path = node.path(&format!("{below}/refresh"));
        let refresh = node.request(Method::POST, &path, &node.company.admin_key);
        let refresh = refresh.header("Idempotency-Key", format!("{round}")).json(&json!({}));
        let refreshed = Caller::send(refresh).await.expect(200);
        assert!(proxy.has_lost());
        assert_eq!(refreshed.body["version"], 2);
        node.verify(&token.field("token")).await.expect(401);
        node.verify(&refreshed.field("token")).await.expect(200);
        lose();
        node.ask(Method::DELETE, &below, None).await.expect(204);
        assert!(proxy.has_lost());
        node.verify(&refreshed.field("token")).await.expect(401);
    }
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for event in node.events().await {
        *kinds.entry(event["type"].as_str().expect("a type").to_owned()).or_default() += 1;
    }
    for kind in ["token.created", "token.refreshed", "token.deleted"] {
        assert_eq!(kinds.get(kind), Some(&5), "{kinds:?}");
    }
    node.stop();
    stage.check();
}

/// The connection ends after the commit was carried out, and the database stays away: nobody can say
/// that nothing was changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_done_is_not_said_to_be_undone() {
    let stage = Stage::new().await;
    let proxy = Proxy::to(&stage.url()).await;
    let node = stage.serve_at(&proxy.url(&stage.url()), &[]);
    let create = || {
        let request = node.request(Method::POST, &node.path("/tokens"), &node.company.admin_key);
        let body = json!({"name": "perhaps", "scopes": ["positions"]});
        Caller::send(request.header("Idempotency-Key", "perhaps").json(&body))
    };
    proxy.lose_answer_for_good("UPDATE company_heads");
    let answer = create().await.expect(503);
    assert!(proxy.has_lost());
    assert_eq!(answer.body["type"], "/problems/unavailable");
    assert!(answer.field("detail").contains("whether this is done"), "{answer:?}");
    // What never came as far as that has not happened, and is said not to have.
    let answer = node.create("never").await.expect(503);
    assert!(answer.field("detail").contains("nothing was changed"), "{answer:?}");
    proxy.mend();
    until("the database is back", || node.readiness(), |answer| answer.status == 200).await;
    let again = create().await.expect(201);
    assert_eq!(again.header("idempotent-replay"), "true");
    let named = |name| move |event: &&serde_json::Value| event["data"]["name"] == name;
    let events = node.events().await;
    assert_eq!(events.iter().filter(named("perhaps")).count(), 1);
    assert_eq!(events.iter().filter(named("never")).count(), 0);
    node.stop();
    stage.check();
}

/// As before, with the deletion of a client: its tokens are deleted all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tokens_of_a_client_that_may_be_deleted_are_deleted_if_it_is() {
    let stage = Stage::new().await;
    let proxy = Proxy::to(&stage.url()).await;
    let node = stage.serve_at(&proxy.url(&stage.url()), &[]);
    let body = json!({"name": "portal", "scopes": ["positions"]});
    let client = node.ask(Method::POST, "/clients", Some(body)).await.expect(201);
    let (id, secret) = (client.field("client_id"), client.field("client_secret"));
    let address = format!("{}/oauth/token", node.serving.base);
    let request = reqwest::Client::new().post(address).basic_auth(&id, Some(&secret));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    Caller::send(request.body("grant_type=client_credentials")).await.expect(200);
    proxy.lose_answer_for_good("UPDATE company_heads");
    let below = format!("/clients/{id}");
    let answer = node.ask(Method::DELETE, &below, None).await.expect(503);
    assert!(answer.field("detail").contains("whether this is done"), "{answer:?}");
    assert!(proxy.has_lost());
    proxy.mend();
    let repeat = || node.ask(Method::DELETE, &below, None);
    until("the database is back", repeat, |answer| answer.status != 503).await.expect(409);
    let list = || node.ask(Method::GET, "/tokens", None);
    let is_empty = |answer: &Answer| answer.body["items"] == json!([]);
    until("its tokens are deleted", list, is_empty).await.expect(200);
    let events = node.events().await;
    assert!(events.iter().any(|event| event["type"] == "token.deleted"), "{events:?}");
    node.stop();
    stage.check();
}

/// What somebody asked for and whether it was acknowledged.
struct Asked {
    name: String,
    is_acknowledged: bool,
}

/// Creates token after token. With keys, each is asked for until it is acknowledged.
async fn create_on(
    callers: [Caller; 3],
    number: usize,
    is_over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> Vec<Asked> {
    let with_keys = number.is_multiple_of(2);
    let mut asked = Vec::new();
    for count in 0.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let name = format!("{number} {count}");
        let body = json!({"name": name, "scopes": ["positions"]});
        let mut answer: Option<Answer> = None;
        for attempt in 0.. {
            let caller = &callers[(number + count + attempt) % 3];
            let key = &caller.company.admin_key;
            let mut request =
                caller.request(Method::POST, &caller.path("/tokens"), key).json(&body);
            if with_keys {
                request = request.header("Idempotency-Key", &name);
            }
            answer = Caller::try_send(request).await;
            if !with_keys || answer.as_ref().is_some_and(|answer| answer.status == 201) {
                break;
            }
        }
        let is_acknowledged = answer.is_some_and(|answer| answer.status == 201);
        if is_acknowledged {
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        asked.push(Asked { name, is_acknowledged });
    }
    asked
}

/// The machine of the database loses power under load. After a while its standby takes over, under
/// the same name at another address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_loses_and_doubles_nothing() {
    let primary = Cluster::start(&[]);
    let stage = Stage::on(Place::on(TestDatabase::fresh_in_blocking(&primary))).await;
    let standby = primary.standby();
    let copy = Place::on(stage.place.database().in_cluster(&standby));
    for reading in [&["verify"][..], &["replay", "--check"], &["export"]] {
        copy.run(reading).done();
    }
    let proxy = Proxy::to(&stage.url()).await;
    let url = proxy.url(&stage.url());
    let nodes = [(); 3].map(|()| stage.serve_at(&url, &[]));
    let (is_over, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let callers = [0, 1, 2].map(|index: usize| nodes[index].caller.clone());
            tokio::spawn(create_on(
                callers,
                number,
                Arc::clone(&is_over),
                Arc::clone(&acknowledged),
            ))
        })
        .collect();
    let count = || async { acknowledged.load(Ordering::SeqCst) };
    until("there is load", count, |count| *count > 200).await;

    proxy.cut();
    proxy.silence();
    primary.cut_power();
    tokio::time::sleep(GONE_FOR).await;
    standby.promote();
    proxy.lead_to(&standby.url());
    proxy.mend();
    let back = Instant::now();
    let before = acknowledged.load(Ordering::SeqCst);
    until("commands are carried out", count, |count| *count > before).await;
    println!("commands again {:?} after the database was back", back.elapsed());
    for node in &nodes {
        until("it is ready", || node.readiness(), |answer| answer.status == 200).await;
    }
    println!("all ready again {:?} after the database was back", back.elapsed());
    assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
    let before = acknowledged.load(Ordering::SeqCst);
    until("load goes on", count, |count| *count > before + 100).await;
    is_over.store(true, Ordering::SeqCst);

    let mut created: BTreeMap<String, usize> = BTreeMap::new();
    let mut asked = Vec::new();
    for caller in callers {
        asked.extend(caller.await.expect("it ends well"));
    }
    let events = nodes[0].events().await;
    let creations = events.iter().filter(|event| event["type"] == "token.created");
    for name in creations.map(|event| event["data"]["name"].as_str().expect("a name")) {
        *created.entry(name.to_owned()).or_default() += 1;
    }
    for Asked { name, is_acknowledged } in &asked {
        match created.get(name) {
            Some(1) => {}
            None if !is_acknowledged => {}
            count => panic!("{name}, acknowledged: {is_acknowledged}, created: {count:?}"),
        }
    }
    assert!(created.len() <= asked.len());
    let positions: Vec<u64> =
        events.iter().map(|event| event["position"].as_u64().expect("a position")).collect();
    assert!(positions.iter().copied().eq(1..=positions.len() as u64));
    nodes.into_iter().for_each(Node::stop);
    Stage { place: copy, company: stage.company }.check();
}

/// The name leads to a standby for a while that is behind, for everything or for all but what is
/// listened to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_standby_says_is_not_relied_upon() {
    let primary = Cluster::start(&[]);
    let stage = Stage::on(Place::on(TestDatabase::fresh_in_blocking(&primary))).await;
    let standby = primary.standby();
    let copy = stage.place.database().in_cluster(&standby);
    copy.run_blocking("SELECT pg_wal_replay_pause()");
    let proxies = [Proxy::to(&stage.url()).await, Proxy::to(&stage.url()).await];
    let [led, elsewhere] = proxies.each_ref().map(|proxy| proxy.url(&stage.url()));
    let listens = stage.url();
    let nodes = [
        stage.serve_at(&led, &[]),
        stage.serve_at(&elsewhere, &[("TOKEN_LEDGER_DATABASE_LISTEN_URL", &listens)]),
    ];
    let another = stage.serve();
    let token = another.create("deleted").await.expect(201);
    let secret = token.field("token");
    for node in &nodes {
        until("it has heard of it", || node.verify(&secret), |answer| answer.status == 200).await;
    }
    for proxy in &proxies {
        proxy.close();
        proxy.lead_to(&copy.url());
        proxy.mend();
    }
    let below = format!("/tokens/{}", token.field("token_id"));
    another.ask(Method::DELETE, &below, None).await.expect(204);
    let deleted = Instant::now();
    // As long as it may not have heard of it, and as long again for those who relied on a standby.
    while deleted.elapsed() < Duration::from_secs(4) {
        for node in &nodes {
            let asked = deleted.elapsed();
            let answer = node.verify(&secret).await;
            assert!(asked < BOUND || answer.status != 200, "{answer:?} after {asked:?}");
        }
    }
    for proxy in &proxies {
        proxy.close();
        proxy.lead_to(&stage.url());
        proxy.mend();
    }
    for node in &nodes {
        until("all is well", || node.readiness(), |answer| answer.status == 200).await;
        node.verify(&secret).await.expect(401);
    }
    nodes.into_iter().chain([another]).for_each(Node::stop);
    copy.run_blocking("SELECT pg_wal_replay_resume()");
    stage.check();
}

/// One of its standbys may have taken over from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_its_standbys_have_left_is_not_relied_upon() {
    let primary = Cluster::start(&[]);
    let stage = Stage::on(Place::on(TestDatabase::fresh_in_blocking(&primary))).await;
    let standby = primary.standby();
    let node = stage.serve();
    let token = node.create("kept").await.expect(201).field("token");
    node.verify(&token).await.expect(200);
    standby.cut_power();
    until("it can't know", || node.verify(&token), |answer| answer.status == 503).await;
    stage.place.database().run_blocking("ALTER SYSTEM RESET synchronous_standby_names");
    stage.place.database().run_blocking("SELECT pg_reload_conf()");
    until("it needs no standby", || node.readiness(), |answer| answer.status == 200).await;
    node.verify(&token).await.expect(200);
    node.stop();
    stage.check();
}

/// Somebody puts the database back to an earlier state while a process runs: what it knows of what
/// has never happened now is not said any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_was_put_back_is_noticed() {
    let put_back = PutBack::make().await;
    put_back.proxy.mend();
    put_back.is_noticed();
    // Nor when the ledger has come as far again, with other events.
    let another = put_back.written_on(3).await;
    put_back.end(another).await;
}

/// So it is where others have written on before the process sees the database again, as far as it had
/// come or beyond: a standby took over that had not heard of the last event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_was_put_back_and_written_on_is_noticed() {
    for tokens in [1, 3] {
        let put_back = PutBack::make().await;
        let another = put_back.written_on(tokens).await;
        put_back.proxy.mend();
        put_back.is_noticed();
        put_back.end(another).await;
    }
}

/// A process that is cut off from its database, in which its last event doesn't stand any more.
struct PutBack {
    stage: Stage,
    proxy: Proxy,
    node: Node,
    stays: String,
    undone: String,
}

impl PutBack {
    async fn make() -> Self {
        let stage = Stage::new().await;
        let proxy = Proxy::to(&stage.url()).await;
        let node = stage.serve_at(&proxy.url(&stage.url()), &[]);
        let stays = node.create("stays").await.expect(201).field("token");
        let head = node.events().await.len();
        let undone = node.create("undone").await.expect(201).field("token");
        node.verify(&undone).await.expect(200);
        proxy.close();
        let company = &stage.company.id;
        let last = format!("company_id = '{company}' AND position = {head}");
        stage.place.database().run_blocking(&format!(
            "ALTER TABLE events DISABLE TRIGGER ALL; \
             DELETE FROM events WHERE company_id = '{company}' AND position > {head}; \
             DELETE FROM event_private WHERE company_id = '{company}' AND position > {head}; \
             DELETE FROM audit_trail WHERE company_id = '{company}' AND position > {head}; \
             DELETE FROM tokens WHERE company_id = '{company}' AND position > {head}; \
             UPDATE checkpoints SET position = {head} \
                 WHERE company_id = '{company}' AND position > {head}; \
             UPDATE company_heads SET last_position = {head}, last_recorded_at = \
                 (SELECT recorded_at FROM events WHERE {last}) WHERE company_id = '{company}'"
        ));
        Self { stage, proxy, node, stays, undone }
    }

    /// Another process creates so many tokens.
    async fn written_on(&self, tokens: usize) -> Node {
        let another = self.stage.serve();
        for number in 0..tokens {
            another.create(&format!("token {number}")).await.expect(201);
        }
        another
    }

    fn is_noticed(&self) {
        let said = self.node.serving.says("was put back to an earlier state");
        assert!(said.contains(self.stage.company.id.as_str()), "{said}");
    }

    async fn end(self, another: Node) {
        another.verify(&self.undone).await.expect(401);
        another.verify(&self.stays).await.expect(200);
        self.node.verify(&self.undone).await.expect(503);
        self.node.readiness().await.expect(503);
        self.node.stop();
        another.stop();
    }
}
