//! Executing commands: load, decide, append, and again when somebody else was faster.

use crate::clock::{Clock, Entropy, Moment};
use crate::commit::{AppendError, Commit, Context, Idempotency, Recorded};
use crate::decidable::Decidable;
use crate::error::StoreError;
use crate::record::StreamId;
use crate::request::{ExecuteError, Executed, Request};
use crate::standing::{ForGood, STANDS_FOR, Standing};
use crate::store::{LoadedStream, Replay, Store};
use crate::turns::Turns;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::company::Company;
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::{CompanyId, Power, Timestamp};

/// How often a command is decided anew before the caller is told that others were faster.
const MAX_ATTEMPTS: usize = 20;
/// For how long a command is decided anew that was not recorded in time, as where the database is away.
const DECIDED_FOR: Duration = Duration::from_secs(5);
/// Before every time.
const EVER: Timestamp = Timestamp::from_micros(i64::MIN);
/// A stream's state is kept in a snapshot whenever it has grown by this many events.
pub const SNAPSHOT_EVERY: u64 = 100;

/// A folded stream.
#[derive(Clone, Debug, Default)]
struct Folded<A> {
    state: A,
    sequence: u64,
}

/// The companies' ledgers, for whoever has something to ask of them.
pub struct Ledger {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    companies: RwLock<HashMap<CompanyId, Arc<Folded<Company>>>>,
    turns: Turns,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

impl Ledger {
    /// The ledgers in this store.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, clock, entropy, companies: RwLock::default(), turns: Turns::default() }
    }

    /// The store behind it.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The clock that it decides by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The randomness that it draws on.
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.entropy
    }

    /// Executes a command. When this answers `Done`, the events are durable and every inline
    /// projection shows them.
    ///
    /// # Errors
    /// When it is refused, a condition is not met, or the store fails; nothing has happened then,
    /// but where the failure is [`StoreError::InDoubt`].
    pub async fn execute<A: Decidable>(
        &self,
        company: CompanyId,
        power: Power,
        context: &Context,
        request: Request<<A as Decidable>::Command>,
    ) -> Result<Executed<A>, ExecuteError<A::Error>> {
        self.execute_for(&ForGood, company, power, context, request).await
    }

    /// As [`Self::execute`], for somebody whose standing was checked when the request was let through,
    /// and is checked again where that is a while ago and before a command that was decided anew is
    /// appended. On PostgreSQL a decision is recorded soon after it was made or not at all, so that
    /// nothing is recorded long after whoever asked has lost the right to.
    ///
    /// # Errors
    /// As [`Self::execute`], and [`ExecuteError::Lapsed`].
    pub async fn execute_for<A: Decidable>(
        &self,
        standing: &dyn Standing,
        company: CompanyId,
        power: Power,
        context: &Context,
        request: Request<<A as Decidable>::Command>,
    ) -> Result<Executed<A>, ExecuteError<A::Error>> {
        // Nobody else knows of a stream that is about to begin.
        let begins = A::begins_stream(&request.command);
        let stream = StreamId { kind: A::KIND, id: request.id };
        let _turn = if begins { None } else { Some(self.turns.take(company, stream).await) };
        let (mut not_before, mut stood_at) = (EVER, standing.since());
        let begun = Moment::now();
        // Kept over all attempts, so that one whose answer was lost recognises itself.
        let commit_id = self.entropy.uuid(self.clock.now());
        for attempt in 0..MAX_ATTEMPTS {
            let begins = begins && attempt == 0;
            let decided = self.decide_once(company, power, context, &request, begins, not_before);
            let (mut commit, state) = match decided.await? {
                ControlFlow::Continue(decided) => decided,
                ControlFlow::Break(executed) => return Ok(executed),
            };
            if attempt > 0 || stood_at.elapsed() >= STANDS_FOR {
                stood_at = Moment::now();
                if !standing.holds().await? {
                    return Err(ExecuteError::Lapsed);
                }
            }
            commit.commit_id = commit_id;
            let changes = !commit.events.is_empty();
            match self.append_one(commit).await {
                Ok(recorded) => {
                    if A::KIND == AggregateType::Company {
                        self.forget_company(company);
                    }
                    return Ok(Executed::Done {
                        state,
                        sequence: recorded.sequence,
                        position: changes.then_some(recorded.position),
                        recorded_at: recorded.recorded_at,
                    });
                }
                Err(AppendError::CompanyChanged) => self.forget_company(company),
                Err(AppendError::Outdated { at }) => {
                    in_time(begun)?;
                    not_before = at;
                }
                Err(AppendError::Conflict | AppendError::Repeated) => {
                    if A::KIND == AggregateType::Company {
                        self.forget_company(company);
                    }
                }
                Err(AppendError::Failed(error)) => return Err(error.into()),
            }
        }
        Err(ExecuteError::Contended)
    }

    /// Decides a command by what is recorded; breaks with the answer where nothing is to be appended:
    /// the request is a repeat, or changes nothing. A stream that begins is not looked for.
    async fn decide_once<A: Decidable>(
        &self,
        company: CompanyId,
        power: Power,
        context: &Context,
        request: &Request<<A as Decidable>::Command>,
        begins: bool,
        not_before: Timestamp,
    ) -> Result<ControlFlow<Executed<A>, (Commit, A)>, ExecuteError<A::Error>> {
        if let Some(key) = &request.idempotency
            && let Some(replay) = self.store.replay(company, key, self.clock.now()).await?
        {
            return repeated(key, replay).map(ControlFlow::Break);
        }
        let folded = if begins {
            Folded::default()
        } else {
            self.fold::<A>(company, StreamId { kind: A::KIND, id: request.id }).await?
        };
        let decided = self.decide(company, power, context, folded, request, not_before).await;
        let (commit, state) = match (decided, &request.idempotency) {
            (Ok(decided), _) => decided,
            (Err(failure @ ExecuteError::Failed(_)), _) | (Err(failure), None) => {
                return Err(failure);
            }
            // It may be refused for what the same request has done since it was looked for.
            (Err(refusal), Some(key)) => {
                let replay = self.store.replay(company, key, self.clock.now()).await?;
                let replay = replay.map_or(Err(refusal), |replay| repeated(key, replay));
                return replay.map(ControlFlow::Break);
            }
        };
        if commit.events.is_empty() && commit.idempotency.is_none() {
            return Ok(ControlFlow::Break(Executed::Done {
                state,
                sequence: commit.expected_sequence,
                position: None,
                recorded_at: commit.decided_at,
            }));
        }
        Ok(ControlFlow::Continue((commit, state)))
    }

    /// Executes many commands of one company side by side, each for itself: loads the streams
    /// together and appends together. Answers in the same order; `Ok(true)` where something
    /// changed.
    ///
    /// # Errors
    /// When nothing could be loaded at all.
    pub async fn execute_many<A: Decidable>(
        &self,
        company: CompanyId,
        power: Power,
        context: &Context,
        requests: &[Request<<A as Decidable>::Command>],
    ) -> Result<Vec<Result<bool, ExecuteError<A::Error>>>, StoreError> {
        let mut answers: Vec<Option<Result<bool, ExecuteError<A::Error>>>> =
            requests.iter().map(|_| None).collect();
        let (mut not_before, begun) = (EVER, Moment::now());
        for _ in 0..MAX_ATTEMPTS {
            let open: Vec<usize> =
                (0..requests.len()).filter(|index| answers[*index].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let streams: Vec<StreamId> = open
                .iter()
                .map(|index| StreamId { kind: A::KIND, id: requests[*index].id })
                .collect();
            let loaded = self.load_each(company, &streams).await?;
            let mut commits = Vec::with_capacity(open.len());
            let mut owners = Vec::with_capacity(open.len());
            for (index, loaded) in open.into_iter().zip(loaded) {
                let request = &requests[index];
                let decided =
                    match loaded.and_then(|loaded| fold_stream::<A>(company, request.id, loaded)) {
                        Ok(folded) => {
                            self.decide(company, power, context, folded, request, not_before).await
                        }
                        Err(error) => Err(error.into()),
                    };
                match decided {
                    Ok((commit, _)) if commit.events.is_empty() => answers[index] = Some(Ok(false)),
                    Ok((commit, _)) => {
                        commits.push(commit);
                        owners.push(index);
                    }
                    Err(error) => answers[index] = Some(Err(error)),
                }
            }
            let outcomes = self.store.append(commits).await;
            for (index, outcome) in owners.into_iter().zip(outcomes) {
                match outcome {
                    Ok(_) => answers[index] = Some(Ok(true)),
                    Err(AppendError::Failed(error)) => answers[index] = Some(Err(error.into())),
                    Err(AppendError::CompanyChanged) => self.forget_company(company),
                    Err(AppendError::Outdated { at }) => match in_time(begun) {
                        Ok(()) => not_before = not_before.max(at),
                        // The others go on.
                        Err(_) => answers[index] = Some(Err(ExecuteError::Contended)),
                    },
                    Err(AppendError::Conflict | AppendError::Repeated) => {}
                }
            }
        }
        Ok(answers
            .into_iter()
            .map(|answer| answer.unwrap_or(Err(ExecuteError::Contended)))
            .collect())
    }

    /// Streams of one company, loaded together, or each for itself where one of them can't be read.
    async fn load_each(
        &self,
        company: CompanyId,
        streams: &[StreamId],
    ) -> Result<Vec<Result<LoadedStream, StoreError>>, StoreError> {
        match self.store.load(company, streams).await {
            Ok(loaded) => return Ok(loaded.into_iter().map(Ok).collect()),
            Err(error) if error.is_general() => return Err(error),
            Err(_) => {}
        }
        let mut each = Vec::with_capacity(streams.len());
        for stream in streams {
            match self.store.load(company, &[*stream]).await {
                Ok(mut loaded) => each.push(Ok(loaded.pop().unwrap_or_default())),
                Err(error) if error.is_general() => return Err(error),
                Err(error) => each.push(Err(error)),
            }
        }
        Ok(each)
    }

    /// The state of an aggregate and its sequence; 0 when nothing happened to it.
    ///
    /// # Errors
    /// When the store fails or holds something that can't be decoded.
    pub async fn state<A: Decidable>(
        &self,
        company: CompanyId,
        id: uuid::Uuid,
    ) -> Result<(A, u64), StoreError> {
        let folded = self.fold::<A>(company, StreamId { kind: A::KIND, id }).await?;
        Ok((folded.state, folded.sequence))
    }

    async fn decide<A: Decidable>(
        &self,
        company_id: CompanyId,
        power: Power,
        context: &Context,
        folded: Folded<A>,
        request: &Request<<A as Decidable>::Command>,
        not_before: Timestamp,
    ) -> Result<(Commit, A), ExecuteError<A::Error>> {
        let mut company = self.company(company_id).await?;
        if A::KIND != AggregateType::Company && !company.state.exists() {
            return Err(ExecuteError::NoCompany);
        }
        let now = self.clock.now().max(not_before);
        if let Some(expected) = request.expected_version
            && folded.sequence != expected
            && folded.sequence > 0
        {
            return Err(ExecuteError::VersionMismatch { actual: folded.sequence });
        }
        let decide = |company: &Company| {
            folded.state.decide(&A::decision(&request.command, company_id, company, power, now))
        };
        let mut events = decide(&company.state);
        // What is appended is checked against the company; a refusal has to be checked here.
        if events.is_err()
            && A::relies_on_company(&request.command)
            && let Some(newer) = self.newer_company(company_id, company.sequence).await?
        {
            events = decide(&newer.state);
            company = newer;
        }
        let events = events.map_err(ExecuteError::Refused)?;
        let held_until = folded.state.holds_until();
        let mut state = folded.state;
        for event in &events {
            state.apply(event.clone());
        }
        // Recorded before the term that it relies on has ended, and before the one that it begins has.
        let ends = [held_until, state.holds_until()];
        let holds_until = ends.into_iter().flatten().filter(|end| *end > now).min();
        let sequence = folded.sequence + events.len() as u64;
        let snapshot = (sequence / SNAPSHOT_EVERY > folded.sequence / SNAPSHOT_EVERY)
            .then(|| serde_json::to_string(&state))
            .transpose()
            .map_err(|error| StoreError::Rejected(error.to_string()))?;
        let events = events.into_iter().map(A::wrap).collect();
        let mut commit = Commit::new(
            company_id,
            StreamId { kind: A::KIND, id: request.id },
            folded.sequence,
            events,
            context,
            now,
            self.entropy.as_ref(),
        )?;
        commit.idempotency.clone_from(&request.idempotency);
        commit.snapshot = snapshot;
        commit.holds_until = holds_until;
        if A::relies_on_company(&request.command) {
            commit.company_sequence = Some(company.sequence);
        }
        Ok((commit, state))
    }

    async fn append_one(&self, commit: Commit) -> Result<Recorded, AppendError> {
        let answer = self.store.append(vec![commit]).await.pop();
        answer.unwrap_or(Err(AppendError::Failed(StoreError::Closed)))
    }

    async fn fold<A: Decidable>(
        &self,
        company: CompanyId,
        stream: StreamId,
    ) -> Result<Folded<A>, StoreError> {
        let loaded = self.store.load(company, &[stream]).await?.pop().unwrap_or_default();
        fold_stream(company, stream.id, loaded)
    }

    async fn company(&self, id: CompanyId) -> Result<Arc<Folded<Company>>, StoreError> {
        if let Some(known) = self.companies.read().get(&id) {
            return Ok(Arc::clone(known));
        }
        let folded = Arc::new(self.fold::<Company>(id, id.into()).await?);
        if folded.state.exists() {
            self.companies.write().insert(id, Arc::clone(&folded));
        }
        Ok(folded)
    }

    /// The company as it is now, if it has changed since this sequence: somebody else may have
    /// changed it, also in another process.
    async fn newer_company(
        &self,
        id: CompanyId,
        sequence: u64,
    ) -> Result<Option<Arc<Folded<Company>>>, StoreError> {
        let head = self.store.head(id).await?;
        if head.is_none_or(|head| head.company_sequence == sequence) {
            return Ok(None);
        }
        let folded = Arc::new(self.fold::<Company>(id, id.into()).await?);
        self.companies.write().insert(id, Arc::clone(&folded));
        Ok(Some(folded))
    }

    /// Looks at a company as it is now, whichever process changed it last.
    ///
    /// # Errors
    /// When the store fails or holds something that can't be decoded.
    pub async fn look_at<T>(
        &self,
        id: CompanyId,
        look: impl FnOnce(&Company) -> T,
    ) -> Result<T, StoreError> {
        let mut company = self.company(id).await?;
        if let Some(newer) = self.newer_company(id, company.sequence).await? {
            company = newer;
        }
        Ok(look(&company.state))
    }

    fn forget_company(&self, id: CompanyId) {
        self.companies.write().remove(&id);
    }
}

fn repeated<A, R>(key: &Idempotency, replay: Replay) -> Result<Executed<A>, ExecuteError<R>> {
    if replay.request_hash == key.request_hash {
        Ok(Executed::Repeated(replay))
    } else {
        Err(ExecuteError::KeyReused)
    }
}

/// Whether a command that was begun then may be decided once more.
///
/// # Errors
/// When it may not: nothing was recorded of it, whatever was in its way.
fn in_time(begun: Moment) -> Result<(), StoreError> {
    if begun.elapsed() < DECIDED_FOR {
        return Ok(());
    }
    Err(StoreError::late())
}

fn fold_stream<A: Decidable>(
    company: CompanyId,
    id: uuid::Uuid,
    loaded: LoadedStream,
) -> Result<Folded<A>, StoreError> {
    let (mut sequence, mut state) = match loaded.snapshot {
        None => (0, A::default()),
        Some((sequence, text)) => match serde_json::from_str(&text) {
            Ok(state) => (sequence, state),
            Err(error) => {
                let stream = StreamId { kind: A::KIND, id };
                let problem = format!("the snapshot of {stream} can't be read: {error}");
                return Err(StoreError::Corrupt { company, position: 0, problem });
            }
        },
    };
    for event in loaded.events {
        let decoded = event.decode()?;
        let own = A::unwrap(decoded).ok_or_else(|| StoreError::Corrupt {
            company: event.company,
            position: event.position,
            problem: format!("{} in a stream of {}", event.event_type, A::KIND),
        })?;
        state.apply(own);
        sequence = event.sequence;
    }
    Ok(Folded { state, sequence })
}
