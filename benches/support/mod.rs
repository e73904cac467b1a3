//! What the benchmarks share: ledgers of a given size, and figures side by side.
#![allow(dead_code, reason = "each benchmark uses its own part")]

pub mod postgres;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use token_ledger_domain::company::{Company, CompanyCommand};
use token_ledger_domain::token::{self, Create, Refresh, Token, TokenCommand, TokenDecision};
use token_ledger_domain::{Actor, Catalogue, CompanyId, LedgerEvent, Name, Power, Secret, TokenId};
use token_ledger_event_store::sqlite::{self, Access, SqliteStore};
use token_ledger_event_store::{
    Clock, Commit, Context, Entropy, Ledger, PrivatePart, Request, Store, StreamId, SystemClock,
    SystemEntropy,
};
use token_ledger_projections::VerificationIndex;
use token_ledger_projections::sqlite::{Inline, SqliteReadModels};
use uuid::Uuid;

/// A ledger in a database, with everything that the service has around it.
pub struct Bench<D = sqlite::Database, S = SqliteStore, R = SqliteReadModels> {
    pub database: Arc<D>,
    pub store: Arc<S>,
    pub ledger: Arc<Ledger>,
    pub read: Arc<R>,
    pub index: Arc<VerificationIndex>,
}

impl Bench {
    /// Opens the file, and makes it where it is missing.
    pub fn open(path: &Path) -> Self {
        let index = Arc::new(VerificationIndex::new());
        let inline = Box::new(Inline::new(Arc::clone(&index)));
        let database =
            sqlite::Database::open(path, Access::Write, inline).expect("the ledger opens");
        let store = Arc::new(SqliteStore::new(Arc::clone(&database)));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ledger = Ledger::new(Arc::clone(&store) as _, clock, Arc::new(SystemEntropy));
        let read = Arc::new(SqliteReadModels::new(Arc::clone(&database), Arc::clone(&index)));
        Self { database, store, ledger: Arc::new(ledger), read, index }
    }
}

impl<D, S: Store, R> Bench<D, S, R> {
    /// Registers a company with the module on.
    pub async fn company(&self) -> CompanyId {
        let id = CompanyId(new_id());
        let name = Name::new(format!("Company {id}")).expect("a name");
        for command in
            [CompanyCommand::Register { name }, CompanyCommand::SetOauthApp { enabled: true }]
        {
            self.ledger
                .execute::<Company>(id, Power::Operator, &context(), Request::new(id.0, command))
                .await
                .expect("the company is registered");
        }
        id
    }

    /// Creates so many tokens in bulk and answers their identifiers.
    pub async fn create(&self, company: CompanyId, count: usize) -> Vec<Uuid> {
        let ids: Vec<Uuid> = (0..count).map(|_| new_id()).collect();
        for chunk in ids.chunks(512) {
            let requests: Vec<_> = chunk.iter().map(|id| Request::new(*id, creation())).collect();
            self.execute(company, &requests).await;
        }
        ids
    }

    /// Creates a token and refreshes it until it has so many events. Decided here and appended
    /// together, since a command at a time would take longer than the benchmark.
    pub async fn long_lived(&self, company: CompanyId, events: usize) -> Uuid {
        let id = new_id();
        let (rules, _) = self.ledger.state::<Company>(company, company.0).await.expect("a company");
        let (mut token, mut decided) = (Token::default(), Vec::with_capacity(events));
        while decided.len() < events {
            let command = if decided.is_empty() { creation() } else { refreshing() };
            let now = SystemClock.now();
            let rules = rules.token_rules(&command);
            let decision = TokenDecision { command, rules, now };
            for event in token::decide(&token, &decision).expect("the command is acceptable") {
                token = token::evolve(token, event.clone());
                decided.push(LedgerEvent::Token(event));
            }
        }
        let stream = StreamId::from(TokenId(id));
        let commit =
            Commit::new(company, stream, 0, decided, &context(), SystemClock.now(), &SystemEntropy)
                .expect("a commit");
        let answer = self.store.append(vec![commit]).await.pop().expect("an answer");
        answer.expect("the events are appended");
        id
    }

    /// Carries out commands in bulk.
    pub async fn execute(&self, company: CompanyId, requests: &[Request<TokenCommand>]) {
        let answers = self
            .ledger
            .execute_many::<Token>(company, Power::SuperAdmin, &context(), requests)
            .await
            .expect("the streams load");
        for answer in answers {
            answer.expect("the command is carried out");
        }
    }

    /// A ledger of about a million events of every kind: seven of ten create a token, the others
    /// refresh, edit and delete.
    pub async fn mixed(&self, company: CompanyId, events: usize) {
        let mut ids = self.create(company, events * 7 / 10).await;
        let scopes = |names: &[&str]| Catalogue::default().select(names).expect("scopes");
        for (number, chunk) in ids.chunks_mut(512).enumerate() {
            let command = |id: &Uuid, part: usize| match part {
                0 => Request::new(*id, refreshing()),
                1 => {
                    Request::new(*id, TokenCommand::ChangeScopes { scopes: scopes(&["locations"]) })
                }
                _ => Request::new(*id, TokenCommand::Delete),
            };
            // Three sevenths of the tokens see one more event, in equal parts of each kind.
            let part = number % 3;
            let touched = chunk.len() * 3 / 7;
            let requests: Vec<_> = chunk[..touched].iter().map(|id| command(id, part)).collect();
            self.execute(company, &requests).await;
        }
    }

    /// The position of the company's last event.
    pub async fn head(&self, company: CompanyId) -> u64 {
        self.store.head(company).await.expect("a head").expect("a head").position
    }

    /// Creates tokens, each caller one after the other; answers how long each creation took.
    pub async fn create_side_by_side(
        &self,
        company: CompanyId,
        requests: Vec<Vec<Request<TokenCommand>>>,
    ) -> Vec<Duration> {
        let ledger = Arc::clone(&self.ledger);
        let ask = move |request| {
            let ledger = Arc::clone(&ledger);
            async move {
                let context = context();
                let outcome =
                    ledger.execute::<Token>(company, Power::SuperAdmin, &context, request);
                outcome.await.expect("a token is created");
            }
        };
        side_by_side(requests, ask).await
    }
}

/// Lets each caller ask for one thing after the other; answers how long each answer took.
pub async fn side_by_side<F, A>(requests: Vec<Vec<Request<TokenCommand>>>, ask: F) -> Vec<Duration>
where
    F: Fn(Request<TokenCommand>) -> A + Clone + Send + 'static,
    A: Future<Output = ()> + Send,
{
    let mut tasks = Vec::new();
    for requests in requests {
        let ask = ask.clone();
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::with_capacity(requests.len());
            for request in requests {
                let started = Instant::now();
                ask(request).await;
                latencies.push(started.elapsed());
            }
            latencies
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("a caller finishes"));
    }
    all
}

/// Creations that are ready, for each caller. Identifiers follow one another as they would if each
/// were made when its request came in: in the order of time, not of callers.
pub fn creations(callers: usize, per_caller: usize) -> Vec<Vec<Request<TokenCommand>>> {
    let mut requests: Vec<Vec<_>> = (0..callers).map(|_| Vec::new()).collect();
    for _ in 0..per_caller {
        for of_caller in &mut requests {
            of_caller.push(Request::new(new_id(), creation()));
        }
    }
    requests
}

/// How many of these were done in a second.
pub fn rate(count: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(count).expect("a small number")) / took.as_secs_f64()
}

/// A fresh identifier.
pub fn new_id() -> Uuid {
    SystemEntropy.uuid(SystemClock.now())
}

/// The circumstances of an everyday command.
pub fn context() -> Context {
    Context {
        actor: Actor { kind: token_ledger_domain::ActorType::Key, id: Uuid::from_u128(7) },
        request_id: Some("0199f7a2-5d7e-7c3c-9d8e-0c2f8f0b1a11".to_owned()),
        private: PrivatePart {
            actor_name: Some("Payroll admin".to_owned()),
            ip: Some("192.0.2.17".to_owned()),
            user_agent: Some("payroll/3.1 (+https://example.com)".to_owned()),
            reason: None,
            email: None,
        },
    }
}

/// A creation with a fresh secret.
pub fn creation() -> TokenCommand {
    creation_for(None)
}

/// A creation with a fresh secret, valid for so long.
pub fn creation_for(validity_seconds: Option<i64>) -> TokenCommand {
    let secret = Secret::from_random("tlk_", SystemEntropy.bits256());
    TokenCommand::Create(Create {
        name: Name::new("Payroll sync").expect("a name"),
        scopes: Catalogue::default().select(&["employees", "positions"]).expect("scopes"),
        secret: secret.stored(),
        validity_seconds,
        client_id: None,
    })
}

/// A refresh with a fresh secret.
pub fn refreshing() -> TokenCommand {
    let secret = Secret::from_random("tlk_", SystemEntropy.bits256());
    TokenCommand::Refresh(Refresh {
        secret: secret.stored(),
        validity_seconds: None,
        grace_seconds: 3600,
    })
}

/// A folder for a benchmark's files, emptied first.
pub fn folder(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the benchmark's files");
    folder
}

/// How long something takes.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that so large a part of the values stay below.
pub fn percentile(values: &mut [Duration], part: f64) -> Duration {
    values.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let place = ((values.len() as f64) * part) as usize;
    values[place.min(values.len() - 1)]
}

/// Memory of this process that is in use now and was at most, in MB, where the system tells.
pub fn memory() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|kilobytes| kilobytes.parse::<f64>().ok())
            .map_or(f64::NAN, |kilobytes| kilobytes / 1000.0)
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// How long all the machine's cores together have been busy so far, with whatever; nothing where the
/// system doesn't say.
#[must_use]
pub fn cores_busy() -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let hundredths = |number: &str| number.parse::<u64>().unwrap_or(0);
    let times: Vec<u64> = text
        .lines()
        .next()
        .into_iter()
        .flat_map(str::split_whitespace)
        .skip(1)
        .map(hundredths)
        .collect();
    // User, nice, system, idle, waiting for disks, interrupts and what they lead to.
    let is_busy = [true, true, true, false, false, true, true];
    let busy = times.iter().zip(is_busy).filter(|(_, is_busy)| *is_busy).map(|(time, _)| time);
    Duration::from_millis(10 * busy.sum::<u64>())
}
