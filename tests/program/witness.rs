//! Witnesses: whoever cosigns checkpoints is served with them, and whoever fails delays nothing.

use crate::process::{Company, Place, Serving, post};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post as on_post;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tlog_tiles::tlog::{Hash, check_tree};
use token_ledger::evidence::note::{Statement, VerifierKey, WitnessKey};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(60);

/// A witness as C2SP tlog-witness describes it, for logs whose keys it is told.
struct Witness {
    name: &'static str,
    key: SigningKey,
    logs: Mutex<HashMap<String, VerifierKey>>,
    cosigned: Mutex<HashMap<String, Statement>>,
}

impl Witness {
    /// Starts one; answers it with its URL.
    async fn start(name: &'static str, secret: u8) -> (Arc<Self>, String) {
        let witness = Arc::new(Self {
            name,
            key: SigningKey::from_bytes(&[secret; 32]),
            logs: Mutex::default(),
            cosigned: Mutex::default(),
        });
        let router = Router::new()
            .route("/w/add-checkpoint", on_post(add_checkpoint))
            .with_state(Arc::clone(&witness));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/w", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (witness, url)
    }

    fn public(&self) -> Vec<u8> {
        let mut public = vec![4];
        public.extend_from_slice(self.key.verifying_key().as_bytes());
        public
    }

    fn id(&self) -> u32 {
        signed_note::key_id(self.name, &self.public())
    }

    fn verifier_key(&self) -> String {
        format!("{}+{:08x}+{}", self.name, self.id(), BASE64_STANDARD.encode(self.public()))
    }

    fn cosign(&self, text: &str) -> String {
        let time = 1_790_000_000_u64;
        let signature = self.key.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
        let mut blob = self.id().to_be_bytes().to_vec();
        blob.extend_from_slice(&time.to_be_bytes());
        blob.extend_from_slice(&signature.to_bytes());
        format!("— {} {}\n", self.name, BASE64_STANDARD.encode(blob))
    }
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: String) -> Response {
    let (head, note) = body.split_once("\n\n").expect("an empty line");
    let mut lines = head.lines();
    let old = lines.next().and_then(|line| line.strip_prefix("old ")).expect("the old size");
    let old: u64 = old.parse().expect("a number");
    let proof = lines.map(|line| Hash::parse_hash(line).expect("a hash")).collect();
    let origin = note.lines().next().expect("an origin").to_owned();
    let Some(key) = witness.logs.lock().get(&origin).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Ok(tree) = key.open(note) else { return StatusCode::FORBIDDEN.into_response() };
    let mut cosigned = witness.cosigned.lock();
    let known = cosigned.get(&origin).map_or(0, |known| known.size);
    if old != known {
        let kind = [(header::CONTENT_TYPE, "text/x.tlog.size")];
        return (StatusCode::CONFLICT, kind, format!("{known}\n")).into_response();
    }
    if let Some(known) = cosigned.get(&origin)
        && check_tree(&proof, tree.size, tree.root, known.size, known.root).is_err()
    {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    cosigned.insert(origin, tree);
    let text = note.rsplit_once("\n\n").expect("signatures").0.to_owned() + "\n";
    witness.cosign(&text).into_response()
}

/// Creates a token, and waits until the newest checkpoint covers it and has as many signatures.
async fn signed(serving: &Serving, company: &Company, signatures: usize) -> (Statement, String) {
    let base = serving.url(&format!("/v1/companies/{}", company.id));
    let body = json!({"name": "one", "scopes": ["positions"]});
    let (status, _) = post(&format!("{base}/tokens"), &company.admin_key, &body).await;
    assert_eq!(status, 201);
    let begun = Instant::now();
    loop {
        let answer = reqwest::Client::new()
            .get(format!("{base}/log/checkpoint"))
            .bearer_auth(&company.audit_key)
            .send()
            .await
            .unwrap();
        let note = answer.text().await.unwrap();
        let found = note.matches("\n— ").count();
        if let Ok(tree) = Statement::unverified(&note)
            && found == signatures
        {
            return (tree, note);
        }
        assert!(begun.elapsed() < PATIENCE, "{found} signatures, not {signatures}: {note}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn cosignatures_are_served_once_the_quorum_is_met() {
    let (one, one_url) = Witness::start("witness.example/one", 1).await;
    let (two, two_url) = Witness::start("witness.example/two", 2).await;
    let place = Place::new();
    let company = place.setup("Acme");
    let settings = place.file("settings.toml");
    let text = [(&one, &one_url), (&two, &two_url)].map(|(witness, url)| {
        format!("[[witnesses]]\nurl = {url:?}\nkey = {:?}\n", witness.verifier_key())
    });
    // A third one, where nobody listens.
    let (third, _) = Witness::start("witness.example/three", 3).await;
    let nobody = "http://127.0.0.1:9";
    let third = format!("[[witnesses]]\nurl = {nobody:?}\nkey = {:?}\n", third.verifier_key());
    let text = format!("witness_quorum = 2\n{}{third}", text.concat());
    std::fs::write(&settings, text).unwrap();
    let settings = settings.display().to_string();
    let serving = place.serve(&["--config", &settings, "--checkpoint-delay-ms", "20"]);

    // Neither knows the log: the checkpoint is there all the same.
    let (_, note) = signed(&serving, &company, 1).await;
    let key = reqwest::Client::new()
        .get(serving.url(&format!("/v1/companies/{}/log/key", company.id)))
        .bearer_auth(&company.audit_key)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let key: VerifierKey = key.parse().unwrap();
    key.open(&note).unwrap();
    serving.stop();

    let origin = key.origin().to_owned();
    for witness in [&one, &two] {
        witness.logs.lock().insert(origin.clone(), key.clone());
    }
    // One has seen an earlier tree, which the service doesn't know of: it says so, and is told how
    // the new one extends it.
    one.cosigned.lock().insert(origin.clone(), Statement::unverified(&note).unwrap());
    let serving = place.serve(&["--config", &settings, "--checkpoint-delay-ms", "20"]);
    let (tree, note) = signed(&serving, &company, 3).await;
    assert_eq!(key.open(&note).unwrap(), tree);
    for witness in [&one, &two] {
        let verifier: WitnessKey = witness.verifier_key().parse().unwrap();
        let (text, lines) = note.rsplit_once("\n\n").unwrap();
        let own = lines.lines().next().unwrap();
        let plain = format!("{text}\n\n{own}\n");
        assert!(verifier.cosignature(&plain, lines).is_some(), "{note}");
        assert!(witness.cosigned.lock()[&origin].size >= tree.size);
    }
    serving.stop();
    place.run(&["verify"]).done();
}
