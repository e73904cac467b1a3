//! The law of the read models: for any history, inline = behind = rebuild = folding the aggregates.

#[allow(dead_code, reason = "every suite uses its part")]
mod support;

use proptest::prelude::any;
use std::collections::BTreeSet;
use std::time::Duration;
use support::fold::Folded;
use support::history::{Player, Step, companies, histories};
use support::{Fixture, Given, for_all, on_every_database, uuid_of_a_scratch_file, whole_trail};
use token_ledger_domain::key::Key;
use token_ledger_domain::token::Token;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::{Clock as _, RecordedEvent};
use token_ledger_projections::index::VerificationIndex;
use token_ledger_projections::runner;
use tokio::sync::watch;

on_every_database!(inline_and_behind_and_rebuild_and_fold_agree);

const CASES: u32 = 48;
const STEPS: usize = 80;

async fn inline_and_behind_and_rebuild_and_fold_agree<F: Fixture>() {
    let values = (histories(STEPS), any::<[u16; 2]>());
    for_all(CASES / F::COST, &values, async |(steps, moments)| hold::<F>(steps, moments).await);
}

async fn hold<F: Fixture>(steps: Vec<Step>, moments: [u16; 2]) {
    let given = Given::<F>::nothing().await;
    let (stop, stopped) = watch::channel(false);
    let (trail, task) = runner::spawn(given.fixture.audit(), given.fixture.store(), stopped);
    let mut player = Player::new(&given).await;
    for step in &steps {
        player.play(step).await;
    }

    given.assert_rows_are_the_fold().await;
    let mut rows = 0;
    for company in companies() {
        let events = given.events(company).await;
        let folded = Folded::of(&events);
        rows += folded.row_count();
        assert_the_ledger_folds_the_same(&given, company, &folded).await;
        assert!(trail.reached(company, events.len() as u64, Duration::from_secs(30)).await);
        assert_eq!(trail.stopped().len(), 0);
        assert_trail_is_the_ledger(&given, company, &events).await;
        for moment in moments {
            assert_tokens_until(&given, company, &events, moment).await;
        }
    }
    let outcome = given.assert_sound().await;
    assert_eq!(outcome.rows, rows as u64, "every row was looked at");
    assert_the_index_answers_as_the_fold(&given).await;

    stop.send(true).expect("the runner listens");
    task.await.expect("the runner ends");
}

/// What decisions are made on is what the events say too.
async fn assert_the_ledger_folds_the_same<F: Fixture>(
    given: &Given<F>,
    company: CompanyId,
    folded: &Folded,
) {
    for (id, (state, row)) in &folded.tokens {
        let loaded = given.ledger.state::<Token>(company, id.0).await.expect("a state");
        assert_eq!(loaded, (state.clone(), row.version));
    }
    for (id, (state, row)) in &folded.keys {
        let loaded = given.ledger.state::<Key>(company, id.0).await.expect("a state");
        assert_eq!(loaded, (state.clone(), row.version));
    }
}

async fn assert_trail_is_the_ledger<F: Fixture>(
    given: &Given<F>,
    company: CompanyId,
    events: &[RecordedEvent],
) {
    let trail = whole_trail(&given.fixture.models(), company).await;
    let shown: Vec<&RecordedEvent> = trail.iter().map(|record| &record.event).collect();
    assert_eq!(shown, events.iter().collect::<Vec<_>>());
    let positions: Vec<u64> = events.iter().map(|event| event.position).collect();
    let store = given.fixture.store();
    let parts = store.private_parts(company, &positions).await.expect("private parts");
    for (record, part) in trail.iter().zip(parts) {
        assert_eq!(record.private, part.map(|part| part.part()));
    }
}

/// At an event, just before it or just after it.
async fn assert_tokens_until<F: Fixture>(
    given: &Given<F>,
    company: CompanyId,
    events: &[RecordedEvent],
    moment: u16,
) {
    let event = &events[usize::from(moment / 3) % events.len()];
    let until = Timestamp::from_micros(event.recorded_at.as_micros() + i64::from(moment % 3) - 1);
    let mut found = Vec::new();
    let mut take = |page| {
        found.extend(page);
        Ok(())
    };
    given
        .fixture
        .rebuilder()
        .tokens_until(company, until, uuid_of_a_scratch_file(), &|_, _| {}, &mut take)
        .await
        .expect("it is folded");
    let before: Vec<RecordedEvent> =
        events.iter().filter(|event| event.recorded_at <= until).cloned().collect();
    let expected: Vec<_> = Folded::of(&before).tokens.into_values().map(|(_, row)| row).collect();
    assert_eq!(found, expected, "as of {until}");
}

/// The index that was kept up to date, one that was filled from the rows, and the fold give the
/// same answer for every secret that there ever was, at every moment at which answers change.
async fn assert_the_index_answers_as_the_fold<F: Fixture>(given: &Given<F>) {
    let filled = given.fixture.filled().await;
    let kept = given.fixture.index();
    assert_eq!(filled.len(), kept.len());
    let mut companies_folded = Vec::new();
    for company in companies() {
        companies_folded.push(given.fold(company).await);
    }
    let now = given.clock.now();
    let ends = companies_folded.iter().flat_map(Folded::ends).filter(|end| *end >= now);
    let moments: BTreeSet<Timestamp> = ends
        .flat_map(|end| [end, Timestamp::from_micros(end.as_micros() - 1)])
        .chain([now])
        .collect();
    for folded in &companies_folded {
        for moment in &moments {
            assert_same_answers(kept, folded, *moment);
            assert_same_answers(&filled, folded, *moment);
        }
    }
}

fn assert_same_answers(index: &VerificationIndex, folded: &Folded, now: Timestamp) {
    for digest in folded.token_secrets.keys() {
        assert_eq!(index.token(digest, now), folded.active_token(*digest, now), "at {now}");
        assert_eq!(index.key(digest, now), None);
    }
    for digest in &folded.key_secrets {
        assert_eq!(index.key(digest, now), folded.active_key(*digest, now), "at {now}");
        assert_eq!(index.token(digest, now), None);
    }
}
