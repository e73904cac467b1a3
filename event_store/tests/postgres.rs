//! What only PostgreSQL promises.

use sqlx::Row;
use token_ledger_event_store::StoreError;
use token_ledger_event_store::postgres::{Config, Database};
use token_ledger_test_cluster::TestDatabase;

#[tokio::test]
async fn processes_that_start_at_once_migrate_once() {
    let database = TestDatabase::fresh().await;
    let opened =
        futures::future::join_all((0..5).map(|_| Database::connect(Config::new(database.url()))))
            .await;
    let mut migrated: Vec<usize> =
        opened.into_iter().map(|database| database.expect("a ledger").migrated()).collect();
    migrated.sort_unstable();
    assert_eq!(migrated[..4], [0; 4]);
    assert!(migrated[4] > 0);
}

#[tokio::test]
async fn a_ledger_of_a_newer_release_is_refused_and_left_alone() {
    let place = TestDatabase::fresh().await;
    let database = Database::connect(Config::new(place.url())).await.expect("a ledger");
    sqlx::raw_sql("INSERT INTO ledger_migrations (version, name) VALUES (99, 'later')")
        .execute(database.pool())
        .await
        .expect("a version");
    let refused = Database::connect(Config::new(place.url())).await;
    assert!(
        matches!(&refused, Err(StoreError::Incompatible(text)) if text.contains("version 99")),
        "{refused:?}"
    );
    let row = sqlx::query("SELECT count(*) FROM ledger_migrations")
        .fetch_one(database.pool())
        .await
        .expect("a count");
    assert_eq!(row.get::<i64, _>(0), 3);
}
