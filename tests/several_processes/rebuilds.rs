//! Rebuilds that are asked of one process and looked at through another.

use crate::stage::{Answer, Caller, Node, Stage, until};
use reqwest::Method;

/// How often it is asked of all at once.
const RACES: usize = 4;

fn rebuild(node: &Caller, method: Method) -> reqwest::RequestBuilder {
    node.request(method, "/v1/projections/tokens/rebuild", &node.company.operator_key)
}

/// A rebuild is begun once, whichever processes are asked, and each knows how far it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_is_known_to_all() {
    let stage = Stage::new().await;
    let nodes = stage.serve_three();
    let ask = |node: &Caller, key: &str| {
        Caller::send(rebuild(node, Method::POST).header("Idempotency-Key", key))
    };
    for race in 0..RACES {
        let key = format!("key {race}");
        let (a, b, c) =
            tokio::join!(ask(&nodes[0], &key), ask(&nodes[1], &key), ask(&nodes[2], &key));
        let all = [a, b, c];
        assert!(all.iter().all(|answer| [202, 409].contains(&answer.status)), "{all:?}");
        let begun = |answer: &&Answer| {
            answer.status == 202 && answer.headers.get("idempotent-replay").is_none()
        };
        assert_eq!(all.iter().filter(begun).count(), 1, "{all:?}");
        let id = all.iter().find(begun).expect("one").field("rebuild_id");
        for node in &nodes {
            let progress = || Caller::send(rebuild(node, Method::GET));
            let is_done = |answer: &Answer| answer.body["state"] == "done";
            assert_eq!(until("it is done", progress, is_done).await.field("rebuild_id"), id);
            let again = ask(node, &key).await.expect(202);
            assert_eq!(again.field("rebuild_id"), id);
            assert_eq!(again.header("idempotent-replay"), "true");
        }
    }
    // The process that carried it out is no more.
    let left = "UPDATE operations SET state = 'running', finished_at = NULL, started_at = 0 \
        WHERE operation_id = (SELECT max(operation_id::text)::uuid FROM operations)";
    stage.place.database().run_blocking(left);
    let [dies, stays, other] = nodes;
    dies.serving.kill();
    Caller::send(rebuild(&stays, Method::POST)).await.expect(409);
    let progress = || Caller::send(rebuild(&other, Method::GET));
    until("it is done", progress, |answer| answer.body["state"] == "done").await;
    [stays, other].into_iter().for_each(Node::stop);
    stage.check();
}
