//! Running behind the log: in order, from the checkpoint, company by company, and never silently
//! past what can't be understood.

#[allow(dead_code, reason = "every suite uses its part")]
mod support;

use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use support::{COMPANY, Fixture, Given, OTHERS, create, on_every_database, refresh, whole_trail};
use token_ledger_domain::token::TokenEvent;
use token_ledger_domain::{CompanyId, LedgerEvent, Timestamp};
use token_ledger_event_store::StoreError;
use token_ledger_projections::runner::{self, BATCH, Behind, RunnerHandle, TURN};
use token_ledger_projections::sql::Statement;
use token_ledger_projections::{AuditTrail, Projection};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

on_every_database!(
    who_is_waited_for_comes_before_all_others,
    who_comes_first_is_brought_up_first,
    companies_are_brought_up_side_by_side,
    what_is_written_along_is_undone_alone,
    every_company_is_brought_to_its_head_and_kept_there,
    more_events_than_a_batch_are_all_taken_in,
    a_company_with_much_to_take_in_keeps_no_other_one_waiting,
    a_poisoned_event_stops_its_company_loudly_and_no_other,
    a_poisoned_event_that_was_put_right_lets_the_trail_go_on,
    an_event_that_is_none_of_its_type_stops_its_company,
    a_restart_goes_on_from_the_checkpoint,
    what_is_begun_anew_meanwhile_is_brought_to_the_head_again,
    what_is_begun_anew_while_nothing_happens_is_brought_to_the_head_again,
    how_far_another_process_is_counts_though_it_is_further_back,
    a_checkpoint_that_cannot_be_read_stops_its_company_and_no_other,
    a_checkpoint_beyond_the_ledger_stops_its_company_until_it_is_put_right,
    another_version_writes_everything_again,
    who_waits_is_told_when_it_is_there,
    who_waits_too_long_is_told_so,
    who_waits_is_not_kept_when_the_runner_ends,
);

/// Long enough for anything that will come at all.
const LONG: Duration = Duration::from_secs(60);

/// A running audit trail, and what it was asked to do.
struct Running {
    handle: RunnerHandle,
    advanced: Arc<Mutex<Vec<(CompanyId, u64)>>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Notes each move of the checkpoint.
#[derive(Debug)]
struct Noting {
    inner: Arc<dyn Behind>,
    advanced: Arc<Mutex<Vec<(CompanyId, u64)>>>,
}

#[async_trait]
impl Behind for Noting {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn at_once(&self) -> usize {
        self.inner.at_once()
    }

    async fn checkpoint(&self, company: CompanyId) -> Result<u64, StoreError> {
        self.inner.checkpoint(company).await
    }

    async fn checkpoints(&self) -> Result<BTreeMap<CompanyId, u64>, StoreError> {
        self.inner.checkpoints().await
    }

    async fn behind_since(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.behind_since().await
    }

    async fn advance(&self, company: CompanyId) -> Result<Option<u64>, StoreError> {
        let position = self.inner.advance(company).await?;
        let moves = position.map(|position| (company, position));
        self.advanced.lock().expect("a note").extend(moves);
        Ok(position)
    }
}

impl Running {
    fn start<F: Fixture>(given: &Given<F>) -> Self {
        Self::with(given, given.fixture.audit())
    }

    fn with<F: Fixture>(given: &Given<F>, inner: Arc<dyn Behind>) -> Self {
        let advanced = Arc::default();
        let noting = Noting { inner, advanced: Arc::clone(&advanced) };
        let (stop, stopped) = watch::channel(false);
        let (handle, task) = runner::spawn(Arc::new(noting), given.fixture.store(), stopped);
        Self { handle, advanced, stop, task }
    }

    async fn reaches_the_head<F: Fixture>(&self, given: &Given<F>, company: CompanyId) {
        let head = given.head(company).await;
        assert!(self.handle.reached(company, head, LONG).await, "it reaches {head}");
        assert_eq!(self.handle.position(company), head);
    }

    /// Waits until the company's projection stands still.
    async fn stands_still(&self, company: CompanyId) {
        while !self.handle.is_stopped(company) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends it; answers the moves of the checkpoint.
    async fn ended(self) -> Vec<(CompanyId, u64)> {
        self.stop.send(true).expect("the runner listens");
        self.task.await.expect("the runner ends");
        std::mem::take(&mut *self.advanced.lock().expect("the notes"))
    }
}

/// The trail of a company holds every event up to there once and in order.
async fn assert_trail<F: Fixture>(given: &Given<F>, company: CompanyId, until: u64) {
    let trail = whole_trail(&given.fixture.models(), company).await;
    let shown: Vec<u64> = trail.iter().map(|record| record.event.position).collect();
    assert_eq!(shown, (1..=until).collect::<Vec<_>>());
    let table = given.fixture.table("audit").name;
    let literal = F::blob(company.0.as_bytes());
    let counted = format!("UPDATE {table} SET position = position WHERE company_id = {literal}");
    assert_eq!(given.fixture.raw(counted).await as u64, until, "and nothing else");
}

/// Three companies whose modules are on.
async fn three_companies<F: Fixture>() -> Given<F> {
    let given = Given::<F>::a_company().await;
    for company in OTHERS {
        given.register(company).await;
    }
    given
}

/// Appends an event that this release can't understand, as a later one might have.
async fn poison<F: Fixture>(given: &Given<F>, company: CompanyId, stream: Uuid, sequence: u64) {
    let literal = F::blob(company.0.as_bytes());
    let inserted = format!(
        "INSERT INTO events (company_id, aggregate_type, aggregate_id, sequence, event_type, \
         event_version, payload, metadata, position, recorded_at, commit_id, salt, entry_hash) \
         SELECT e.company_id, 'token', '{stream}', {sequence}, 'token.deleted', '1', \
         '{{\"nonsense\":true}}', e.metadata, e.position + 1, e.recorded_at, e.commit_id, e.salt, \
         e.entry_hash FROM events e JOIN company_heads h ON h.company_id = e.company_id \
         AND h.last_position = e.position WHERE e.company_id = {literal}"
    );
    assert_eq!(given.fixture.raw(inserted).await, 1);
    let moved = format!(
        "UPDATE company_heads SET last_position = last_position + 1 WHERE company_id = {literal}"
    );
    assert_eq!(given.fixture.raw(moved).await, 1);
}

/// Wakes the runner by an event of this company and waits until it was taken in.
async fn a_turn<F: Fixture>(given: &Given<F>, running: &Running, company: CompanyId) {
    given.token(company, create("wakes")).await;
    running.reaches_the_head(given, company).await;
}

async fn every_company_is_brought_to_its_head_and_kept_there<F: Fixture>() {
    let given = three_companies::<F>().await;
    let running = Running::start(&given);
    for company in [COMPANY, OTHERS[0], OTHERS[1]] {
        running.reaches_the_head(&given, company).await;
        let token = given.token(company, create("later")).await;
        given.tell_token(company, token, refresh("later again", 60)).await;
        running.reaches_the_head(&given, company).await;
        assert_trail(&given, company, 4).await;
    }
    assert!(running.handle.stopped().is_empty());
    assert_eq!(running.handle.name(), "audit");
    running.ended().await;
    let checkpoints = given.fixture.models().checkpoints().await.expect("checkpoints");
    let shown: Vec<_> = checkpoints
        .iter()
        .map(|checkpoint| {
            let of = (checkpoint.projection.as_str(), checkpoint.version);
            (checkpoint.company_id, of, checkpoint.position)
        })
        .collect();
    let of = (AuditTrail::NAME, AuditTrail::VERSION);
    assert_eq!(shown, [(OTHERS[0], of, 4), (COMPANY, of, 4), (OTHERS[1], of, 4)]);
}

/// Companies from a number on, which have a name and the module on.
async fn more_companies<F: Fixture>(given: &Given<F>, numbers: Range<u128>) -> Vec<CompanyId> {
    let companies: Vec<_> = numbers.map(|number| CompanyId(Uuid::from_u128(number))).collect();
    for company in &companies {
        given.register(*company).await;
    }
    companies
}

/// An audit trail that holds companies before they are brought up.
#[derive(Debug)]
struct Holding {
    inner: Arc<dyn Behind>,
    at_once: usize,
    /// Those that it has held, in order.
    held: watch::Sender<Vec<CompanyId>>,
    /// Whether it holds a company.
    holds: watch::Receiver<fn(CompanyId) -> bool>,
}

#[async_trait]
impl Behind for Holding {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn at_once(&self) -> usize {
        self.at_once
    }

    async fn checkpoint(&self, company: CompanyId) -> Result<u64, StoreError> {
        self.inner.checkpoint(company).await
    }

    async fn checkpoints(&self) -> Result<BTreeMap<CompanyId, u64>, StoreError> {
        self.inner.checkpoints().await
    }

    async fn behind_since(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.behind_since().await
    }

    async fn advance(&self, company: CompanyId) -> Result<Option<u64>, StoreError> {
        let mut holds = self.holds.clone();
        if holds.borrow()(company) {
            self.held.send_modify(|held| held.push(company));
            holds.wait_for(|holds| !holds(company)).await.expect("somebody lets it go");
        }
        self.inner.advance(company).await
    }
}

/// A running audit trail that holds companies, so many side by side.
struct Gate {
    running: Running,
    held: watch::Receiver<Vec<CompanyId>>,
    holds: watch::Sender<fn(CompanyId) -> bool>,
}

impl Gate {
    fn start<F: Fixture>(given: &Given<F>, at_once: usize, holds: fn(CompanyId) -> bool) -> Self {
        let (note, held) = watch::channel(Vec::new());
        let (set, holds) = watch::channel(holds);
        let holding = Holding { inner: given.fixture.audit(), at_once, held: note, holds };
        Self { running: Running::with(given, Arc::new(holding)), held, holds: set }
    }

    /// Waits until so many are held.
    async fn holds(&mut self, count: usize) -> Vec<CompanyId> {
        self.held.wait_for(|held| held.len() >= count).await.expect("it runs").clone()
    }

    async fn lets_go(self) -> Vec<(CompanyId, u64)> {
        self.holds.send(|_| false).expect("it listens");
        self.running.ended().await
    }
}

async fn who_is_waited_for_comes_before_all_others<F: Fixture>() {
    let given = three_companies::<F>().await;
    let last = *more_companies(&given, 0x20..0x26).await.last().expect("companies");
    let mut gate = Gate::start(&given, 2, |company| company.0.as_u128() != 0x25);
    let first = gate.holds(2).await;
    // In the middle of a run in which all that there is room for is held.
    for _ in 0..3 {
        gate.running.reaches_the_head(&given, last).await;
        given.token(last, create("one more")).await;
    }
    gate.running.reaches_the_head(&given, last).await;
    assert_eq!(
        *gate.held.borrow(),
        first,
        "the others have not moved, nor have more of them begun"
    );
    let moves = gate.lets_go().await;
    assert_eq!(moves[..4], [(last, 2), (last, 3), (last, 4), (last, 5)]);
    assert_eq!(moves.len(), 4 + 8, "and then all others");
    assert_trail(&given, last, 5).await;
}

async fn who_comes_first_is_brought_up_first<F: Fixture>() {
    let given = three_companies::<F>().await;
    more_companies(&given, 0x20..0x26).await;
    given.catch_up().await;
    let mut gate = Gate::start(&given, 1, |_| true);
    for company in given.fixture.store().heads().await.expect("heads") {
        given.token(company.company, create("later")).await;
    }
    let waited_for = [0x24, 0x21].map(|number| CompanyId(Uuid::from_u128(number)));
    gate.holds(1).await;
    let handle = gate.running.handle.clone();
    let mut waiting: Vec<_> =
        waited_for.iter().map(|company| Box::pin(handle.reached(*company, 3, LONG))).collect();
    for one in &mut waiting {
        assert!(poll_fn(|context| Poll::Ready(one.as_mut().poll(context))).await.is_pending());
    }
    let begun = gate.holds(2).await;
    assert_eq!(begun[1], waited_for[0], "in the order in which they came");
    gate.holds.send(|_| false).expect("it listens");
    for one in waiting {
        assert!(one.await);
    }
    gate.lets_go().await;
}

async fn companies_are_brought_up_side_by_side<F: Fixture>() {
    let given = three_companies::<F>().await;
    more_companies(&given, 0x20..0x23).await;
    let mut gate = Gate::start(&given, 4, |_| true);
    let begun = gate.holds(4).await;
    assert_eq!(begun.iter().collect::<BTreeSet<_>>().len(), 4, "each of them once: {begun:?}");
    let moves = gate.lets_go().await;
    assert_eq!(moves.len(), 6);
    for company in [COMPANY, OTHERS[0], OTHERS[1]] {
        assert_trail(&given, company, 2).await;
    }
}

/// What goes along with others' is undone alone where it is not to be.
async fn what_is_written_along_is_undone_alone<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let sql = given.fixture.sql();
    let begin = |projection: &'static str| {
        let begin = "INSERT INTO checkpoints (company_id, projection, version, position) \
            VALUES (?1, ?2, 1, 0)";
        Statement::new(begin).with(COMPANY).with(projection)
    };
    let nothing = Statement::new("DELETE FROM checkpoints WHERE position = -7").required();
    let (kept, undone) = tokio::join!(
        sql.transact_along(vec![begin("kept")]),
        sql.transact_along(vec![begin("undone"), nothing]),
    );
    assert!(kept.expect("it is written"));
    assert!(!undone.expect("it is undone"));
    let checkpoints = given.fixture.models().checkpoints().await.expect("checkpoints");
    let names: Vec<_> = checkpoints.iter().map(|checkpoint| &*checkpoint.projection).collect();
    assert_eq!(names, ["kept"]);
}

async fn more_events_than_a_batch_are_all_taken_in<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    given.tokens(COMPANY, 0..u32::try_from(BATCH).expect("a batch")).await;
    let running = Running::start(&given);
    running.reaches_the_head(&given, COMPANY).await;
    let batch = BATCH as u64;
    assert_eq!(running.ended().await, [(COMPANY, batch), (COMPANY, batch + 2)]);
    assert_trail(&given, COMPANY, batch + 2).await;
}

async fn a_company_with_much_to_take_in_keeps_no_other_one_waiting<F: Fixture>() {
    let given = three_companies::<F>().await;
    let heads = given.fixture.store().heads().await.expect("the heads");
    let first = heads[0].company;
    let many = u32::try_from((TURN + 1) * BATCH).expect("a number of tokens");
    given.tokens(first, 0..many).await;
    let running = Running::start(&given);
    running.reaches_the_head(&given, first).await;
    let moves: Vec<CompanyId> =
        running.ended().await.into_iter().map(|(company, _)| company).collect();
    let one_turn = &moves[..TURN + heads.len() - 1];
    assert!(heads.iter().all(|head| one_turn.contains(&head.company)), "{moves:?}");
}

async fn a_poisoned_event_stops_its_company_loudly_and_no_other<F: Fixture>() {
    let given = three_companies::<F>().await;
    given.token(COMPANY, create("before")).await;
    poison(&given, COMPANY, given.new_id(), 1).await;
    given.token(COMPANY, create("behind")).await;
    let running = Running::start(&given);
    running.stands_still(COMPANY).await;
    for _ in 0..3 {
        a_turn(&given, &running, OTHERS[0]).await;
        a_turn(&given, &running, OTHERS[1]).await;
        let stopped = running.handle.stopped();
        assert_eq!(stopped.keys().collect::<Vec<_>>(), [&COMPANY]);
        let why = &stopped[&COMPANY];
        assert!(why.contains(&format!("company {COMPANY}, position 4")), "{why}");
        assert!(why.contains("token.deleted"), "{why}");
        assert_eq!(running.handle.position(COMPANY), 3, "up to it, and not past it");
        assert!(!running.handle.reached(COMPANY, 4, Duration::from_millis(1)).await);
    }
    running.ended().await;
    assert_trail(&given, COMPANY, 3).await;
    for company in OTHERS {
        assert_trail(&given, company, given.head(company).await).await;
    }
}

async fn a_poisoned_event_that_was_put_right_lets_the_trail_go_on<F: Fixture>() {
    let given = three_companies::<F>().await;
    let token = given.token(COMPANY, create("poisoned")).await;
    poison(&given, COMPANY, token.0, 2).await;
    let running = Running::start(&given);
    running.stands_still(COMPANY).await;
    assert_eq!(running.handle.stopped().len(), 1);

    let deleted = LedgerEvent::Token(TokenEvent::Deleted {}).payload().expect("JSON");
    given.fixture.forge(COMPANY, 4, &deleted).await;
    a_turn(&given, &running, OTHERS[1]).await;
    running.reaches_the_head(&given, COMPANY).await;
    assert!(running.handle.stopped().is_empty(), "{:?}", running.handle.stopped());
    running.ended().await;
    assert_trail(&given, COMPANY, 4).await;
}

/// An event that is none of its type.
async fn an_event_that_is_none_of_its_type_stops_its_company<F: Fixture>() {
    let given = three_companies::<F>().await;
    let token = given.token(COMPANY, create("poisoned")).await;
    poison(&given, COMPANY, token.0, 2).await;
    let key_event = r#"{"type":"key.deleted"}"#;
    given.fixture.forge(COMPANY, 4, key_event).await;
    let running = Running::start(&given);
    running.stands_still(COMPANY).await;
    a_turn(&given, &running, OTHERS[1]).await;
    assert_eq!(running.handle.stopped().keys().collect::<Vec<_>>(), [&COMPANY]);
    running.ended().await;
    assert_trail(&given, COMPANY, 3).await;
}

/// A row that was changed stays as it is, so what was before the checkpoint was not written again.
async fn a_restart_goes_on_from_the_checkpoint<F: Fixture>() {
    let given = three_companies::<F>().await;
    let running = Running::start(&given);
    running.reaches_the_head(&given, COMPANY).await;
    running.reaches_the_head(&given, OTHERS[1]).await;
    running.ended().await;
    mark_the_first_row(&given).await;

    let given = given.reopened().await;
    given.tokens(COMPANY, 0..3).await;
    let running = Running::start(&given);
    running.reaches_the_head(&given, COMPANY).await;
    running.reaches_the_head(&given, OTHERS[1]).await;
    assert_eq!(running.ended().await, [(COMPANY, 5)], "what is at its head is left alone");
    assert_trail(&given, COMPANY, 5).await;
    assert!(is_marked(&given).await);
}

const MARK: &str = "company.marked";

async fn what_is_begun_anew_meanwhile_is_brought_to_the_head_again<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    given.tokens(COMPANY, 0..2_500).await;
    let running = Running::start(&given);
    running.reaches_the_head(&given, COMPANY).await;
    given.fixture.raw("DELETE FROM checkpoints".to_owned()).await;
    given.token(COMPANY, create("later")).await;
    let head = given.head(COMPANY).await;
    while !running.handle.reached(COMPANY, head, Duration::from_millis(1)).await {
        assert_eq!(running.handle.stopped(), BTreeMap::new());
    }
    running.ended().await;
    assert_trail(&given, COMPANY, head).await;
}

async fn what_is_begun_anew_while_nothing_happens_is_brought_to_the_head_again<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let running = Running::start(&given);
    running.reaches_the_head(&given, COMPANY).await;
    // As whoever began to write the rows anew leaves them, when it is killed.
    given.fixture.raw("DELETE FROM audit_trail".to_owned()).await;
    given.fixture.raw("DELETE FROM checkpoints".to_owned()).await;
    let head = given.head(COMPANY).await;
    let audit = given.fixture.audit();
    while audit.checkpoint(COMPANY).await.expect("a checkpoint") < head {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.ended().await;
    assert_trail(&given, COMPANY, head).await;
}

/// A projection that another process is at, which has begun anew.
#[derive(Debug)]
struct Elsewhere;

#[async_trait]
impl Behind for Elsewhere {
    fn name(&self) -> &'static str {
        AuditTrail::NAME
    }

    fn at_once(&self) -> usize {
        1
    }

    async fn checkpoint(&self, _: CompanyId) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn checkpoints(&self) -> Result<BTreeMap<CompanyId, u64>, StoreError> {
        Ok(BTreeMap::from([(COMPANY, 1)]))
    }

    async fn behind_since(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn advance(&self, _: CompanyId) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
}

async fn how_far_another_process_is_counts_though_it_is_further_back<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let (stop, stopped) = watch::channel(false);
    let (handle, task) = runner::spawn(Arc::new(Elsewhere), given.fixture.store(), stopped);
    // It ends with a run, whatever came before.
    stop.send(true).expect("the runner listens");
    task.await.expect("the runner ends");
    assert_eq!(handle.position(COMPANY), 0);
}

async fn a_checkpoint_that_cannot_be_read_stops_its_company_and_no_other<F: Fixture>() {
    let given = three_companies::<F>().await;
    given.catch_up().await;
    let literal = F::blob(COMPANY.0.as_bytes());
    let unreadable = format!("UPDATE checkpoints SET position = -1 WHERE company_id = {literal}");
    assert_eq!(given.fixture.raw(unreadable).await, 1);
    let running = Running::start(&given);
    running.stands_still(COMPANY).await;
    for company in OTHERS {
        a_turn(&given, &running, company).await;
    }
    let stopped = running.handle.stopped();
    assert_eq!(stopped.keys().collect::<Vec<_>>(), [&COMPANY]);
    assert!(stopped[&COMPANY].contains("position"), "{stopped:?}");
    running.ended().await;
}

/// Else what the ledger comes to by and by would be left out.
async fn a_checkpoint_beyond_the_ledger_stops_its_company_until_it_is_put_right<F: Fixture>() {
    let given = three_companies::<F>().await;
    given.catch_up().await;
    let head = given.head(COMPANY).await;
    let literal = F::blob(COMPANY.0.as_bytes());
    let claims = head + 3;
    let set = format!("UPDATE checkpoints SET position = {claims} WHERE company_id = {literal}");
    assert_eq!(given.fixture.raw(set).await, 1);
    let running = Running::start(&given);
    running.stands_still(COMPANY).await;
    for company in OTHERS {
        a_turn(&given, &running, company).await;
    }
    given.tokens(COMPANY, 0..10).await;
    for company in OTHERS {
        a_turn(&given, &running, company).await;
    }
    let stopped = running.handle.stopped();
    assert_eq!(stopped.keys().collect::<Vec<_>>(), [&COMPANY]);
    assert!(stopped[&COMPANY].contains("beyond the ledger's end"), "{stopped:?}");
    given.rebuild(&["audit"], true).await;
    while !running.handle.stopped().is_empty() {
        a_turn(&given, &running, OTHERS[0]).await;
    }
    running.ended().await;
    assert_trail(&given, COMPANY, head + 10).await;
}

async fn mark_the_first_row<F: Fixture>(given: &Given<F>) {
    let literal = F::blob(COMPANY.0.as_bytes());
    let sql = format!(
        "UPDATE audit_trail SET event_type = '{MARK}' WHERE company_id = {literal} AND position = 1"
    );
    assert_eq!(given.fixture.raw(sql).await, 1);
}

async fn is_marked<F: Fixture>(given: &Given<F>) -> bool {
    let sql = format!("UPDATE audit_trail SET position = position WHERE event_type = '{MARK}'");
    given.fixture.raw(sql).await == 1
}

async fn another_version_writes_everything_again<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    given.tokens(COMPANY, 0..10).await;
    given.catch_up().await;
    mark_the_first_row(&given).await;
    // Rows that the other version had and this one doesn't, more than are removed at once.
    let columns = given.fixture.table("audit").columns.join(", ");
    let values = columns.replace("position", "position + number");
    let sql = format!(
        "WITH RECURSIVE more (number) AS \
         (SELECT 100 UNION ALL SELECT number + 1 FROM more WHERE number < 4600) \
         INSERT INTO audit_trail ({columns}) \
         SELECT {values} FROM audit_trail CROSS JOIN more WHERE position = 2"
    );
    assert_eq!(given.fixture.raw(sql).await, 4_501);
    let other = AuditTrail::VERSION + 1;
    assert_eq!(given.fixture.raw(format!("UPDATE checkpoints SET version = {other}")).await, 1);

    let given = given.reopened().await;
    assert_eq!(given.fixture.audit().checkpoint(COMPANY).await.expect("a checkpoint"), 0);
    let running = Running::start(&given);
    running.reaches_the_head(&given, COMPANY).await;
    assert_eq!(running.ended().await, [(COMPANY, 12)]);
    assert_trail(&given, COMPANY, 12).await;
    assert!(!is_marked(&given).await);
    given.assert_sound().await;
    let checkpoints = given.fixture.models().checkpoints().await.expect("checkpoints");
    assert_eq!(checkpoints[0].version, AuditTrail::VERSION);
}

async fn who_waits_is_told_when_it_is_there<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let running = Running::start(&given);
    running.reaches_the_head(&given, COMPANY).await;
    let next = given.head(COMPANY).await + 1;
    let handle = running.handle.clone();
    let mut waiting = pin!(handle.reached(COMPANY, next, LONG));
    let first = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
    assert!(first.is_pending(), "it is not there yet");
    given.token(COMPANY, create("next")).await;
    assert!(waiting.await);
    assert_trail(&given, COMPANY, next).await;
    assert!(running.handle.reached(COMPANY, next, Duration::ZERO).await, "and it stays so");
    running.ended().await;
}

async fn who_waits_too_long_is_told_so<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let running = Running::start(&given);
    running.reaches_the_head(&given, COMPANY).await;
    let beyond = given.head(COMPANY).await + 1;
    assert!(!running.handle.reached(COMPANY, beyond, Duration::from_millis(5)).await);
    assert!(!running.handle.reached(OTHERS[0], 1, Duration::from_millis(5)).await);
    running.ended().await;
}

async fn who_waits_is_not_kept_when_the_runner_ends<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let running = Running::start(&given);
    running.reaches_the_head(&given, COMPANY).await;
    let handle = running.handle.clone();
    running.ended().await;
    assert!(handle.reached(COMPANY, given.head(COMPANY).await, LONG).await, "what is there is");
    assert!(!handle.reached(COMPANY, 100, LONG * 1000).await);
}
