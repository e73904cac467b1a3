//! What the database holds to about checkpoints, whoever asks: one tree for a size, never a smaller
//! one, one key for a log, one signature of each witness.

use crate::support::TestApp;
use token_ledger::app::AppError;
use token_ledger_projections::tree::SignedCheckpoint;

fn checkpoint(app: &TestApp, size: u64, root: u8) -> SignedCheckpoint {
    let origin = format!("ledger.example/{}", app.company);
    SignedCheckpoint {
        company_id: app.company,
        size,
        root: [root; 32],
        verifier_key: format!("{origin}+00000000+AQ"),
        note: format!("{origin}\n{size}\n{root}\n"),
        origin,
        cosignatures: String::new(),
        signed_at: app.app.now(),
    }
}

#[tokio::test]
async fn there_is_no_event_behind_the_last_one() {
    let app = TestApp::new().await;
    let last = app.app.head(app.company).await.expect("a head");
    assert!(app.app.event(app.company, last).await.is_ok());
    for position in [0, last + 1, u64::MAX / 2 + 6, u64::MAX] {
        let found = app.app.event(app.company, position).await;
        assert!(matches!(found, Err(AppError::NotFound(_))), "{position}: {found:?}");
    }
}

#[tokio::test]
async fn no_two_trees_are_signed_for_one_size_and_none_that_is_smaller() {
    let app = TestApp::new().await;
    let trees = app.app.evidence.trees();
    let keep = async |checkpoint: SignedCheckpoint| {
        trees.keep_checkpoint(&checkpoint).await.expect("an answer")
    };
    assert!(keep(checkpoint(&app, 5, 1)).await);
    for (size, root) in [(5, 1), (5, 2), (4, 1), (1, 1)] {
        assert!(!keep(checkpoint(&app, size, root)).await, "{size} {root}");
    }
    let mut another_key = checkpoint(&app, 6, 1);
    another_key.verifier_key.push('A');
    assert!(!keep(another_key).await, "another key");
    assert!(keep(checkpoint(&app, 7, 1)).await);
    // Another log begins anew.
    let mut other = checkpoint(&app, 3, 9);
    other.origin.push_str("/2");
    assert!(keep(other).await);

    let origin = checkpoint(&app, 7, 1).origin;
    let last = trees.last_checkpoint(app.company, &origin).await.expect("an answer");
    assert_eq!(last, Some(checkpoint(&app, 7, 1)));
    let all = trees.checkpoints(app.company, None, false, 10).await.expect("checkpoints");
    let sizes: Vec<_> = all.iter().map(|signed| signed.size).collect();
    assert_eq!(sizes, [5, 7, 3]);
    let heads = trees.log_heads(app.company).await.expect("heads");
    let heads: Vec<_> = heads.iter().map(|head| (head.origin.clone(), head.size)).collect();
    assert_eq!(heads, [(origin.clone(), 7), (origin + "/2", 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_sign_a_size_at_once_one_wins() {
    let app = TestApp::new().await;
    for size in 1..20 {
        let signers: Vec<_> = (0..8)
            .map(|root| {
                let trees = app.app.evidence.trees().clone();
                let checkpoint = checkpoint(&app, size, root);
                tokio::spawn(async move { trees.keep_checkpoint(&checkpoint).await })
            })
            .collect();
        let mut kept = 0;
        for signer in signers {
            kept += usize::from(signer.await.expect("a signer").expect("an answer"));
        }
        assert_eq!(kept, 1, "of size {size}");
    }
}

#[tokio::test]
async fn a_witness_that_is_asked_twice_counts_once() {
    let app = TestApp::new().await;
    let trees = app.app.evidence.trees();
    let signed = checkpoint(&app, 5, 1);
    assert!(trees.keep_checkpoint(&signed).await.expect("an answer"));
    for line in ["— w_1 aaaa\n", "— w_1 bbbb\n", "— w-1 cccc\n", "— w_11 dddd\n", "— w_1 aaaa\n"]
    {
        trees.keep_cosignature(&signed, line).await.expect("it is kept");
    }
    let kept = trees.last_checkpoint(app.company, &signed.origin).await.expect("an answer");
    assert_eq!(kept.expect("a checkpoint").cosignatures, "— w_1 aaaa\n— w-1 cccc\n— w_11 dddd\n");
}
