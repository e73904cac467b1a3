//! Work that nobody asks for: recording that terms have ended, writing down last uses, taking over
//! operations that were left, and removing idempotency keys that are no longer remembered.

use super::App;
use super::operations::Seen;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::key::{Key, KeyCommand};
use token_ledger_domain::token::{Token, TokenCommand};
use token_ledger_domain::{CompanyId, Power};
use token_ledger_event_store::{Context, Decidable, ExecuteError, Request, StoreError};
use token_ledger_projections::read_models::DueTerm;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Terms that are ended, or keys that are removed, in one go. Other writers get their turn in between.
const BATCH: usize = 500;

/// How often operations are looked for whose process has ended.
const LOOK: Duration = Duration::from_secs(5);

/// How often idempotency keys are looked for that are no longer remembered.
const FORGET: Duration = Duration::from_secs(900);

/// How often the jobs run.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// How often terms that have ended are looked for.
    pub expiry: Duration,
    /// How often the times of last use are written down.
    pub use_flush: Duration,
}

/// What a run could not settle, so that each reason is logged once and not with every run.
#[derive(Debug, Default)]
struct Unsettled {
    /// Terms that have ended without its being possible to record that, and why.
    terms: HashMap<Uuid, String>,
    /// Companies whose ledgers the clock is behind.
    ahead: BTreeSet<CompanyId>,
}

/// Starts the jobs; they end with the batch at hand when `stop` turns true.
pub fn start(
    app: &Arc<App>,
    intervals: Intervals,
    stop: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    vec![
        tokio::spawn(expire(Arc::clone(app), intervals.expiry, stop.clone())),
        tokio::spawn(flush(Arc::clone(app), intervals.use_flush, stop.clone())),
        tokio::spawn(take_over(Arc::clone(app), stop.clone())),
        tokio::spawn(forget(Arc::clone(app), stop.clone())),
    ]
}

async fn expire(app: Arc<App>, interval: Duration, mut stop: watch::Receiver<bool>) {
    let mut unsettled = Unsettled::default();
    while !*stop.borrow() {
        if let Err(error) = app.end_due_terms(&mut unsettled, &stop).await {
            tracing::error!(%error, "can't record that terms have ended");
        }
        pause(interval, &mut stop).await;
    }
}

/// Looks for operations whose process has ended.
async fn take_over(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut seen = Seen::default();
    while !*stop.borrow() {
        if let Err(error) = app.take_over_operations(&mut seen).await {
            tracing::warn!(%error, "can't look for operations that were left");
        }
        pause(LOOK, &mut stop).await;
    }
}

/// Removes idempotency keys that are no longer remembered, batch by batch.
async fn forget(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        match app.forget_keys().await {
            Ok(0) => pause(FORGET, &mut stop).await,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "can't remove old idempotency keys");
                pause(FORGET, &mut stop).await;
            }
        }
    }
}

async fn flush(app: Arc<App>, interval: Duration, mut stop: watch::Receiver<bool>) {
    loop {
        let last = *stop.borrow();
        app.flush_uses().await;
        if last {
            return;
        }
        pause(interval, &mut stop).await;
    }
}

async fn pause(interval: Duration, stop: &mut watch::Receiver<bool>) {
    tokio::select! {
        () = tokio::time::sleep(interval) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

impl App {
    /// Records the end of every term that is over by now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expire_due(&self) -> Result<(), StoreError> {
        let (_sender, never) = watch::channel(false);
        self.end_due_terms(&mut Unsettled::default(), &never).await
    }

    /// Removes a batch of the idempotency keys that are no longer remembered; answers how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_keys(&self) -> Result<u64, StoreError> {
        self.store().forget_keys(self.now(), BATCH).await
    }

    /// Writes down when tokens were used, what could not be written down the last time included.
    pub async fn flush_uses(&self) {
        let uses = self.index.take_uses();
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.read.record_uses(&uses).await {
            let count = uses.len();
            tracing::warn!(%error, count, "when tokens were last used is not written down yet");
            self.index.return_uses(uses);
        }
    }

    async fn end_due_terms(
        &self,
        unsettled: &mut Unsettled,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), StoreError> {
        let known = std::mem::take(unsettled);
        let mut run = Run { known: &known, left: Unsettled::default(), tried: HashSet::new() };
        let tokens_ended = self.end_terms::<Token>(&mut run, stop).await;
        let keys_ended = self.end_terms::<Key>(&mut run, stop).await;
        *unsettled = run.left;
        tokens_ended.and(keys_ended)
    }

    /// Ends the terms of one kind until none is due but those that can't be ended, or another process
    /// is found to be at it.
    async fn end_terms<A: Expiring>(
        &self,
        run: &mut Run<'_>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), StoreError> {
        while !*stop.borrow() {
            let mut due = A::due(self, BATCH + run.tried.len()).await?;
            due.retain(|term| !run.tried.contains(&term.id));
            if due.is_empty() {
                break;
            }
            let (mut companies, count) = (BTreeMap::new(), due.len());
            for term in due {
                companies.entry(term.company_id).or_insert_with(Vec::new).push(term);
            }
            let mut unchanged = 0;
            for (company, terms) in companies {
                unchanged += self.end_in_company::<A>(company, &terms, run).await?;
            }
            // All processes have the same terms before them, in the same order.
            if unchanged == count {
                break;
            }
        }
        Ok(())
    }

    /// Ends terms of one company; answers of how many there was nothing to record.
    async fn end_in_company<A: Expiring>(
        &self,
        company: CompanyId,
        terms: &[DueTerm],
        run: &mut Run<'_>,
    ) -> Result<usize, StoreError> {
        if run.left.ahead.contains(&company) {
            run.tried.extend(terms.iter().map(|term| term.id));
            return Ok(0);
        }
        let mut unchanged = 0;
        let context = Context::system();
        let requests: Vec<Request<<A as Decidable>::Command>> =
            terms.iter().map(|term| Request::new(term.id, A::expire(term.term))).collect();
        let outcomes =
            self.ledger.execute_many::<A>(company, Power::Operator, &context, &requests).await?;
        for (term, outcome) in terms.iter().zip(outcomes) {
            match outcome {
                Ok(true) => {}
                Ok(false) => {
                    // What was so the last time is nobody else's doing.
                    unchanged += usize::from(!run.known.terms.contains_key(&term.id));
                    run.keep_unchanged(term);
                }
                Err(ExecuteError::Failed(error)) if error.is_general() => return Err(error),
                Err(ExecuteError::Failed(StoreError::ClockBehind { seconds })) => {
                    run.leave_for_the_clock(term, seconds);
                }
                Err(error) => run.keep(term, &error.to_string()),
            }
        }
        Ok(unchanged)
    }
}

/// One run over everything that is due.
struct Run<'a> {
    /// What was unsettled after the run before.
    known: &'a Unsettled,
    /// What this run could not settle.
    left: Unsettled,
    /// The terms that are still due and that this run doesn't try again.
    tried: HashSet<Uuid>,
}

impl Run<'_> {
    /// Nothing was to be recorded. Either somebody was faster, or the row is wrong and will be due
    /// in the next run too.
    fn keep_unchanged(&mut self, term: &DueTerm) {
        if self.known.terms.contains_key(&term.id) {
            self.keep(term, "its events say that its term is not over; check with `replay`");
        } else {
            self.leave(term, String::new());
        }
    }

    /// Nothing is recorded in this company before the clock is right.
    fn leave_for_the_clock(&mut self, term: &DueTerm, seconds: i64) {
        let company = term.company_id;
        self.tried.insert(term.id);
        if self.left.ahead.insert(company) && !self.known.ahead.contains(&company) {
            tracing::error!(
                %company,
                seconds,
                "can't record that terms have ended: the clock is behind the ledger; set it right"
            );
        }
    }

    fn keep(&mut self, term: &DueTerm, why: &str) {
        if self.known.terms.get(&term.id).is_none_or(|known| known != why) {
            let DueTerm { company_id, id, term } = term;
            tracing::error!(%company_id, %id, term, why, "can't record that this term has ended");
        }
        self.leave(term, why.to_owned());
    }

    fn leave(&mut self, term: &DueTerm, why: String) {
        self.tried.insert(term.id);
        self.left.terms.insert(term.id, why);
    }
}

/// What has terms.
trait Expiring: Decidable {
    /// The command that ends a term.
    fn expire(term: u32) -> <Self as Decidable>::Command;

    /// The terms that are over.
    fn due(
        app: &App,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<DueTerm>, StoreError>> + Send;
}

impl Expiring for Token {
    fn expire(term: u32) -> TokenCommand {
        TokenCommand::Expire { term }
    }

    async fn due(app: &App, limit: usize) -> Result<Vec<DueTerm>, StoreError> {
        app.read.due_tokens(app.now(), limit).await
    }
}

impl Expiring for Key {
    fn expire(term: u32) -> KeyCommand {
        KeyCommand::Expire { term }
    }

    async fn due(app: &App, limit: usize) -> Result<Vec<DueTerm>, StoreError> {
        app.read.due_keys(app.now(), limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::keys::NewKey;
    use crate::app::tokens::NewToken;
    use crate::app::{Caller, Choices, Conditions};
    use crate::config::DatabaseUrl;
    use std::collections::BTreeSet;
    use tempfile::TempDir;
    use token_ledger_domain::{Timestamp, TokenId};
    use token_ledger_event_store::clock::SetClock;
    use token_ledger_event_store::commit::IDEMPOTENCY_SECONDS;
    use token_ledger_event_store::sqlite::Access;
    use token_ledger_event_store::{Idempotency, SystemEntropy};
    use token_ledger_projections::tokens::Status;

    struct Stage {
        dir: TempDir,
        app: Arc<App>,
        clock: Arc<SetClock>,
        caller: Caller,
    }

    impl Stage {
        async fn new() -> Self {
            let dir = TempDir::new().unwrap();
            let clock = Arc::new(SetClock::at(Timestamp::from_micros(1_800_000_000_000_000)));
            let url = DatabaseUrl::Sqlite(dir.path().join("ledger.db"));
            let entropy = Arc::new(SystemEntropy);
            let app = App::open(
                &url,
                Access::Write,
                Arc::clone(&clock) as _,
                entropy,
                Choices::default(),
            )
            .await
            .unwrap();
            app.ensure_platform().await.unwrap();
            let operator = Caller::command_line(CompanyId::PLATFORM);
            let conditions = Conditions::default();
            let company = app.register_company(&operator, "Acme".to_owned(), conditions).await;
            let company = CompanyId(company.unwrap().view.company_id);
            let caller = Caller { company, ..operator };
            app.set_oauth_app(&caller, true, None, Conditions::default()).await.unwrap();
            Self { dir, app, clock, caller: Caller::command_line(company) }
        }

        async fn token(&self, seconds: i64) -> TokenId {
            let input = NewToken {
                name: "t".to_owned(),
                scopes: vec!["positions".to_owned()],
                expires_in_seconds: Some(seconds),
                client_id: None,
                reason: None,
            };
            let token = self.app.create_token(&self.caller, input, Conditions::default()).await;
            TokenId(token.unwrap().view.token_id)
        }

        fn later(&self, seconds: i64) {
            self.clock.set(self.app.now().plus_seconds(seconds));
        }

        async fn status(&self, id: TokenId) -> Status {
            self.app.read.token(self.caller.company, id).await.unwrap().unwrap().row.status
        }
    }

    #[tokio::test]
    async fn every_term_that_is_over_is_recorded_once() {
        let stage = Stage::new().await;
        let mut short = Vec::new();
        for _ in 0..BATCH / 10 {
            short.push(stage.token(60).await);
        }
        let long = stage.token(3600).await;
        let key = NewKey {
            name: "k".to_owned(),
            scopes: vec!["ledger.audit".to_owned()],
            expires_in_seconds: Some(60),
            reason: None,
        };
        stage.app.create_key(&stage.caller, key, Conditions::default()).await.unwrap();
        stage.later(60);
        stage.app.expire_due().await.unwrap();
        for id in short {
            assert_eq!(stage.status(id).await, Status::Expired);
        }
        assert_eq!(stage.status(long).await, Status::Active);
        let head = stage.app.head(stage.caller.company).await.unwrap();
        stage.app.expire_due().await.unwrap();
        assert_eq!(stage.app.head(stage.caller.company).await.unwrap(), head);
        assert!(stage.app.read.due_keys(stage.app.now(), 9).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_term_that_cannot_be_ended_does_not_hold_up_the_others() {
        let stage = Stage::new().await;
        let broken = stage.token(60).await;
        let wrong = stage.token(3600).await;
        let sound = stage.token(120).await;
        let file = rusqlite::Connection::open(stage.dir.path().join("ledger.db")).unwrap();
        file.execute_batch(&format!(
            "DROP TRIGGER events_are_never_changed;
             UPDATE events SET payload = '{{' WHERE aggregate_id = '{broken}';
             UPDATE tokens SET expires_at = 0 WHERE token_id = x'{}';",
            wrong.0.simple()
        ))
        .unwrap();
        stage.later(120);
        let mut unsettled = Unsettled::default();
        let (_sender, never) = watch::channel(false);
        for _ in 0..3 {
            stage.app.end_due_terms(&mut unsettled, &never).await.unwrap();
        }
        assert_eq!(stage.status(sound).await, Status::Expired);
        let left: BTreeSet<Uuid> = unsettled.terms.into_keys().collect();
        assert_eq!(left, BTreeSet::from([broken.0, wrong.0]));
    }

    #[tokio::test]
    async fn a_clock_that_is_behind_is_named_once_and_not_with_every_term_and_run() {
        let stage = Stage::new().await;
        let short = [stage.token(60).await, stage.token(61).await, stage.token(62).await];
        stage.later(1000);
        stage.token(3600).await;
        stage.later(-600);
        let (log, logged) = crate::logged::log();
        let _logging = tracing::subscriber::set_default(log);
        let told = || logged.try_iter().filter(|line| line.contains("ERROR")).count();
        let (_sender, never) = watch::channel(false);
        let mut unsettled = Unsettled::default();
        let mut run = async || stage.app.end_due_terms(&mut unsettled, &never).await.unwrap();
        for _ in 0..3 {
            run().await;
        }
        assert_eq!(told(), 1);
        stage.later(600);
        run().await;
        for id in short {
            assert_eq!(stage.status(id).await, Status::Expired);
        }
        let next = stage.token(60).await;
        stage.later(1000);
        stage.token(3600).await;
        stage.later(-600);
        run().await;
        assert_eq!(stage.status(next).await, Status::Active);
        assert_eq!(told(), 1, "it was right meanwhile");
    }

    #[tokio::test]
    async fn keys_that_are_no_longer_remembered_are_removed() {
        let stage = Stage::new().await;
        let key = Idempotency::of("caller", "POST /".to_owned(), "key", [1; 32]);
        let input = NewToken {
            name: "t".to_owned(),
            scopes: vec!["positions".to_owned()],
            expires_in_seconds: None,
            client_id: None,
            reason: None,
        };
        let conditions = Conditions { idempotency: Some(key.clone()), ..Conditions::default() };
        stage.app.create_token(&stage.caller, input, conditions).await.unwrap();
        let (store, then) = (stage.app.store(), stage.app.now());
        let known =
            async || store.replay(stage.caller.company, &key, then).await.unwrap().is_some();
        let (stop, stopping) = watch::channel(false);
        stage.later(IDEMPOTENCY_SECONDS);
        stage.app.forget_keys().await.unwrap();
        assert!(known().await, "it is a day old, and no older");
        stage.later(1);
        let job = tokio::spawn(forget(Arc::clone(&stage.app), stopping));
        tokio::time::timeout(Duration::from_secs(30), async { while known().await {} })
            .await
            .expect("it is removed");
        stop.send(true).unwrap();
        job.await.unwrap();
    }
}
