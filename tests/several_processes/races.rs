//! Two processes are asked at once.

use crate::stage::{Caller, Node, Stage, until};
use reqwest::Method;
use serde_json::{Value, json};

/// How often a race is run.
const RACES: usize = 12;

/// A create that relied on the module's being on never stands after its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_created_after_the_end_of_the_module() {
    let stage = Stage::new().await;
    let [one, other, third] = stage.serve_three();
    let token = one.create("to refresh").await.expect(201).field("token_id");
    let refresh = format!("/tokens/{token}/refresh");
    let (mut done, mut refused) = (0, 0);
    for race in 0..2 * RACES {
        let names: Vec<String> = (0..8).map(|number| format!("{race} {number}")).collect();
        let creations = futures::future::join_all(names.iter().map(|name| one.create(name)));
        let refreshing = third.ask(Method::POST, &refresh, Some(json!({})));
        let (created, refreshed, off) =
            tokio::join!(creations, refreshing, other.set_module(false));
        off.expect(200);
        for answer in created.into_iter().chain([refreshed]) {
            match answer.status {
                200 | 201 => done += 1,
                409 => refused += 1,
                other => panic!("{other}: {answer:?}"),
            }
        }
        // From now on, wherever it is asked.
        one.create("late").await.expect(409);
        third.create("late").await.expect(409);
        other.set_module(true).await.expect(200);
    }
    println!("{done} were in time, {refused} were not");
    let mut is_on = false;
    for event in one.events().await {
        match event["type"].as_str().expect("a type") {
            "company.oauth_app_enabled" => is_on = true,
            "company.oauth_app_disabled" => is_on = false,
            "token.created" | "token.refreshed" => assert!(is_on, "{event}"),
            _ => {}
        }
    }
    [one, other, third].into_iter().for_each(Node::stop);
    stage.check();
}

/// Creates with a key, and answers the token's identifier if it was done.
async fn create_once(node: &Caller, key: &str, body: &Value) -> crate::stage::Answer {
    let request = node.request(Method::POST, &node.path("/tokens"), &node.company.admin_key);
    Caller::send(request.header("Idempotency-Key", key).json(body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_repeated_to_another_process_is_done_once() {
    let stage = Stage::new().await;
    let nodes = stage.serve_three();
    let body = json!({"name": "once", "scopes": ["positions"]});
    for race in 0..RACES {
        let key = format!("key {race}");
        let both =
            tokio::join!(create_once(&nodes[0], &key, &body), create_once(&nodes[1], &key, &body));
        let both = [both.0, both.1];
        assert!(both.iter().all(|answer| [201, 409].contains(&answer.status)), "{both:?}");
        let secrets = both.iter().filter(|answer| answer.body["token"].is_string()).count();
        assert_eq!(secrets, 1, "the secret is told once: {both:?}");
        let ids: Vec<&Value> = both.iter().map(|answer| &answer.body["token_id"]).collect();
        let id = ids.iter().find(|id| id.is_string()).expect("one was done");
        let again = create_once(&nodes[2], &key, &body).await.expect(201);
        assert_eq!(&again.body["token_id"], *id);
        assert_eq!(again.body["token"], Value::Null);
        assert_eq!(again.header("idempotent-replay"), "true");
        let another = json!({"name": "another", "scopes": ["positions"]});
        create_once(&nodes[race % 3], &key, &another).await.expect(422);
    }
    let created = nodes[0].events().await;
    let created = created.iter().filter(|event| event["type"] == "token.created").count();
    assert_eq!(created, RACES);
    nodes.into_iter().for_each(Node::stop);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_changed_once() {
    let stage = Stage::new().await;
    let [one, other, third] = stage.serve_three();
    let token = one.create("token").await.expect(201);
    let below = format!("/tokens/{}", token.field("token_id"));
    let mut etag = token.header("etag").to_owned();
    for race in 0..RACES {
        // Other than what the race before led to: no change would be no event.
        let scopes = match race % 2 {
            0 => ["employees", "locations"],
            _ => ["departments", "team_members"],
        };
        let change = |node: &Caller, scope: &str| {
            let path = node.path(&below);
            let request = node.request(Method::PATCH, &path, &node.company.admin_key);
            let body = json!({"scopes": [scope]});
            Caller::send(request.header("If-Match", etag.as_str()).json(&body))
        };
        let (a, b) = tokio::join!(change(&one, scopes[0]), change(&other, scopes[1]));
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "{a:?} {b:?}");
        // What the third process says of it is what the first change led to.
        let now = third.ask(Method::GET, &below, None).await.expect(200);
        let done = if a.status == 200 { a } else { b };
        assert_eq!(now.body, done.body);
        etag = now.header("etag").to_owned();
    }
    [one, other, third].into_iter().for_each(Node::stop);
}

/// Who is not guarded by a ledger of its own: names of companies, and people.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_given_once_and_a_person_added_once() {
    let stage = Stage::new().await;
    let nodes = [stage.serve(), stage.serve()];
    for race in 0..RACES {
        let register = |node: &Caller| {
            let key = &node.company.operator_key;
            let request = node.request(Method::POST, "/v1/companies", key);
            Caller::send(request.json(&json!({"name": format!("Globex {race}")})))
        };
        let (a, b) = tokio::join!(register(&nodes[0]), register(&nodes[1]));
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{a:?} {b:?}");

        let body = json!({"email": format!("person{race}@example.com"), "role": "auditor"});
        let add = |node: &Node| {
            let (node, body) = (node.caller.clone(), body.clone());
            async move { node.ask(Method::POST, "/members", Some(body)).await }
        };
        let (a, b) = tokio::join!(add(&nodes[0]), add(&nodes[1]));
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{a:?} {b:?}");
    }
    let members = nodes[1].ask(Method::GET, "/members?limit=1000", None).await.expect(200);
    assert_eq!(members.body["items"].as_array().map(Vec::len), Some(RACES + 1));
    let key = &stage.company.operator_key;
    let companies = nodes[0].request(Method::GET, "/v1/companies?limit=1000", key);
    let companies = Caller::send(companies).await.expect(200);
    let named = companies.body["items"].as_array().expect("a list");
    let globex = named.iter().filter(|one| one["name"].as_str().unwrap().starts_with("Globex"));
    assert_eq!(globex.count(), RACES);
    nodes.into_iter().for_each(Node::stop);
    stage.check();
}

/// Of two Super Admins, one stays, and a client that was deleted gets no token any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_removed_by_two_processes_is_removed_once() {
    let stage = Stage::new().await;
    let nodes = [stage.serve(), stage.serve()];
    for race in 0..RACES / 2 {
        let body = json!({"email": format!("admin{race}@example.com"), "role": "super_admin"});
        nodes[0].ask(Method::POST, "/members", Some(body)).await.expect(201);
        let members = nodes[0].ask(Method::GET, "/members", None).await.expect(200).body;
        let ids: Vec<&str> = members["items"]
            .as_array()
            .expect("two")
            .iter()
            .map(|member| member["member_id"].as_str().expect("an id"))
            .collect();
        let remove = |node: &Node, id: &str| {
            let (node, below) = (node.caller.clone(), format!("/members/{id}"));
            async move { node.ask(Method::DELETE, &below, None).await }
        };
        let (a, b) = tokio::join!(remove(&nodes[0], ids[0]), remove(&nodes[1], ids[1]));
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 409], "one of {ids:?} stays: {a:?} {b:?}");

        let body = json!({"name": "client", "scopes": ["positions"]});
        let client = nodes[0].ask(Method::POST, "/clients", Some(body)).await.expect(201);
        let (id, secret) = (client.field("client_id"), client.field("client_secret"));
        let ask = |node: &Caller| {
            let form =
                format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
            let request = node.request(Method::POST, "/oauth/token", "");
            let mut request = request.build().expect("a request");
            request.headers_mut().remove("authorization");
            let http = reqwest::Client::new();
            let request = reqwest::RequestBuilder::from_parts(http, request);
            let form =
                request.header("content-type", "application/x-www-form-urlencoded").body(form);
            Caller::send(form)
        };
        until("the client is known", || ask(&nodes[1]), |answer| answer.status == 200).await;
        let delete = |node: &Node| {
            let (node, below) = (node.caller.clone(), format!("/clients/{id}"));
            async move { node.ask(Method::DELETE, &below, None).await }
        };
        let (a, b, tokens) = tokio::join!(
            delete(&nodes[0]),
            delete(&nodes[1]),
            futures::future::join_all((0..6).map(|number| ask(&nodes[number % 2])))
        );
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 409], "{a:?} {b:?}");
        assert!(tokens.iter().all(|answer| [200, 401].contains(&answer.status)), "{tokens:?}");
        for token in tokens.iter().filter(|answer| answer.status == 200) {
            let secret = token.field("access_token");
            for node in &nodes {
                until("its tokens end", || node.verify(&secret), |answer| answer.status == 401)
                    .await;
            }
        }
        let mut is_deleted = false;
        for event in nodes[0].events().await {
            let own = event["data"]["client_id"] == id.as_str();
            match event["type"].as_str().expect("a type") {
                "company.client_deleted" if own => is_deleted = true,
                "token.created" if own => assert!(!is_deleted, "{event}"),
                _ => {}
            }
        }
        assert!(is_deleted);
    }
    nodes.into_iter().for_each(Node::stop);
    stage.check();
}
