//! The application: everything that callers can ask for, whatever they ask through.

pub mod actors;
pub mod attempts;
pub mod audit;
pub mod clients;
pub mod companies;
mod erasing;
pub mod erasure;
pub mod error;
pub mod evidence;
pub mod former;
pub mod input;
pub mod jobs;
pub mod keys;
pub mod members;
mod names;
pub mod oauth;
mod once;
mod opened;
mod operations;
pub mod outcome;
mod outside;
mod parts;
pub mod passwords;
mod past;
pub mod people;
pub mod policy;
pub mod rebuilds;
pub mod sessions;
pub mod setup;
pub mod sign_in;
pub mod signed;
pub mod signing;
pub mod standing;
pub mod streams;
pub mod sweeps;
pub mod throttle;
pub mod tokens;
pub mod view;
pub mod witnessing;

pub use error::AppError;
pub use opened::PostgresChoices;
use opened::{Following, Opened};
pub use outside::OutsideError;

use crate::config::DatabaseUrl;
use evidence::{Evidence, EvidenceChoices};
use parking_lot::RwLock;
use standing::Shown;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::secret::is_well_formed;
use token_ledger_domain::{Actor, Catalogue, CompanyId, Digest, Power, SecretKind};
use token_ledger_event_store::clock::ForwardClock;
use token_ledger_event_store::{
    Access, Clock, Context, Entropy, Idempotency, Ledger, Moment, PrivatePart, Store, StoreError,
};
use token_ledger_projections::index::ActiveToken;
use token_ledger_projections::rebuild::Rebuilder;
use token_ledger_projections::runner::{self, Behind, RunnerHandle};
use token_ledger_projections::{Erasures, People, ReadModels, Survey, Trees, VerificationIndex};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How long a reader of the audit trail waits for it to catch up with the ledger.
pub const AUDIT_WAIT: Duration = Duration::from_secs(5);

/// What other processes have done can't be known soon.
#[derive(Clone, Copy, Debug)]
pub struct NotKnown;

/// What an operator may have chosen otherwise.
#[derive(Clone, Debug)]
pub struct Choices {
    /// The data accesses on offer.
    pub catalogue: Catalogue,
    /// The prefix of tokens' secrets.
    pub token_prefix: String,
    /// The prefix of API keys.
    pub key_prefix: String,
    /// The prefix of OAuth clients' secrets.
    pub client_prefix: String,
    /// How many bad API keys, and how many bad secrets of OAuth clients, one network may send at
    /// once before it is told to wait.
    pub bad_credentials_per_network: u32,
    /// How a PostgreSQL database is used.
    pub postgres: PostgresChoices,
    /// How the ledger is evidenced.
    pub evidence: EvidenceChoices,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            catalogue: Catalogue::default(),
            token_prefix: SecretKind::Token.default_prefix().to_owned(),
            key_prefix: SecretKind::Key.default_prefix().to_owned(),
            client_prefix: SecretKind::Client.default_prefix().to_owned(),
            bad_credentials_per_network: throttle::BAD_CREDENTIALS_PER_NETWORK,
            postgres: PostgresChoices::default(),
            evidence: EvidenceChoices::default(),
        }
    }
}

/// Who asks, with what power in the company that they ask about.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The company asked about.
    pub company: CompanyId,
    /// The power there.
    pub power: Power,
    /// Who.
    pub actor: Actor,
    /// Their name.
    pub name: Option<String>,
    /// What was shown to be let through.
    pub shown: Shown,
    /// When they were let through.
    pub let_through_at: Moment,
    /// Tells credentials apart, for idempotency keys.
    pub credential: String,
    /// The request.
    pub request_id: Option<String>,
    /// The address that it came from.
    pub ip: Option<String>,
    /// The program that sent it, as it calls itself.
    pub user_agent: Option<String>,
}

impl Caller {
    /// Whoever sits at the machine that holds the ledger.
    pub fn command_line(company: CompanyId) -> Self {
        Self {
            company,
            power: Power::Operator,
            actor: Actor::OPERATOR,
            name: Some("command line".to_owned()),
            shown: Shown::Nothing,
            let_through_at: Moment::now(),
            credential: "command line".to_owned(),
            request_id: None,
            ip: None,
            user_agent: None,
        }
    }

    /// The circumstances of a command.
    pub fn context(&self, reason: Option<String>) -> Context {
        Context {
            actor: self.actor,
            request_id: self.request_id.clone(),
            private: PrivatePart {
                actor_name: self.name.clone(),
                ip: self.ip.clone(),
                user_agent: self.user_agent.clone(),
                reason,
                email: None,
            },
        }
    }
}

/// Conditions of a change.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The version that the thing must stand at (`If-Match`).
    pub expected_version: Option<u64>,
    /// The key under which a repeat is recognised (`Idempotency-Key`).
    pub idempotency: Option<Idempotency>,
}

/// The application over one database.
pub struct App {
    /// The companies' ledgers.
    pub ledger: Ledger,
    clock: Arc<ForwardClock>,
    /// The read models.
    pub read: ReadModels,
    /// People, and what signing in takes.
    pub people: People,
    /// All active secrets.
    pub index: Arc<VerificationIndex>,
    /// Whoever rebuilds the read models.
    pub rebuilder: Arc<dyn Rebuilder>,
    /// What the operator chose.
    pub choices: Choices,
    /// What lets anyone check the ledgers.
    pub evidence: Evidence,
    /// All rows of the log, for whoever verifies them.
    pub survey: Survey,
    erasures: Erasures,
    /// The projections that run behind the log, once [`App::start`] was called.
    behind: RwLock<Vec<RunnerHandle>>,
    projections: Vec<Arc<dyn Behind>>,
    /// What was refused, who signed in and what was exported, on its way to the database.
    attempts: attempts::Attempts,
    /// Long answers that are under way.
    pub streams: streams::Streams,
    /// Slows down whoever tries credentials out.
    pub throttle: throttle::Throttle,
    /// Turns at hashing passwords.
    turns: passwords::Turns,
    /// Held by whoever checks that an operation is new before beginning it.
    beginning: tokio::sync::Mutex<()>,
    /// Held by whoever erases a person: asked again meanwhile, it is the same erasure.
    erasing: tokio::sync::Mutex<()>,
    /// Operations that this process carries out.
    carried: RwLock<BTreeSet<uuid::Uuid>>,
    /// Operations that can't be carried out.
    stalled: RwLock<BTreeSet<uuid::Uuid>>,
    /// What goes on until the service stops.
    jobs: RwLock<Vec<AbortHandle>>,
    migrated: usize,
    following: Option<Following>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// Opens the database. The verification index is filled where the process may write or
    /// `serve`; tools that only read don't need it.
    ///
    /// # Errors
    /// When the database can't be used.
    pub async fn open(
        url: &DatabaseUrl,
        access: Access,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        choices: Choices,
    ) -> Result<Arc<Self>, StoreError> {
        let throttle =
            throttle::Throttle::new(entropy.bits256(), choices.bad_credentials_per_network);
        let Opened { store, clock, sql, index, rebuilder, projections, migrated, following } =
            match url {
                DatabaseUrl::Sqlite(path) => opened::sqlite(path, access, clock).await?,
                DatabaseUrl::Postgres(url) => {
                    opened::postgres(&url.reveal(), access, clock, &choices.postgres).await?
                }
            };
        let clock = Arc::new(ForwardClock::new(clock));
        if access != Access::Read {
            match store.heads().await {
                Ok(heads) => heads.iter().for_each(|head| clock.has_been(head.recorded_at)),
                Err(error) if error.is_general() => return Err(error),
                // Whose head it is will be told where it is needed.
                Err(error) => tracing::error!(%error, "the ledgers' heads can't be read"),
            }
        }
        let evidence = Evidence::new(choices.evidence.clone(), url, Trees::new(sql.clone()));
        Ok(Arc::new(Self {
            attempts: attempts::Attempts::default(),
            streams: streams::Streams::default(),
            throttle,
            ledger: Ledger::new(store, Arc::clone(&clock) as Arc<dyn Clock>, entropy),
            clock,
            rebuilder,
            survey: Survey::new(sql.clone()),
            erasures: Erasures::new(sql.clone()),
            people: People::new(sql.clone()),
            read: ReadModels::new(sql),
            turns: passwords::Turns::default(),
            index,
            choices,
            evidence,
            behind: RwLock::default(),
            projections,
            beginning: tokio::sync::Mutex::default(),
            erasing: tokio::sync::Mutex::default(),
            carried: RwLock::default(),
            stalled: RwLock::default(),
            jobs: RwLock::default(),
            migrated,
            following,
        }))
    }

    /// How far the machine's clock has to be set right by the database's, in microseconds; `None`
    /// where the database has no clock of its own.
    pub fn clock_offset_micros(&self) -> Option<i64> {
        self.following.as_ref().map(Following::clock_offset_micros)
    }

    /// Whether no other process writes to the database while this one does.
    pub const fn is_only_writer(&self) -> bool {
        self.following.is_none()
    }

    /// How many migrations were applied at the opening.
    pub const fn migrated(&self) -> usize {
        self.migrated
    }

    /// The store of the ledgers.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.ledger.store()
    }

    /// Now, by the clock that decisions are made by.
    pub fn now(&self) -> token_ledger_domain::Timestamp {
        self.ledger.clock().now()
    }

    /// By how many seconds the clock has gone back, if that is too far to know what is over.
    pub fn lost_seconds(&self) -> Option<i64> {
        self.clock.lost_seconds()
    }

    /// Whether it is known well enough what is good right now.
    pub fn is_sure(&self) -> bool {
        self.lost_seconds().is_none() && self.index.freshness().is_fresh()
    }

    /// As [`Self::is_sure`], at once or within a second.
    pub async fn knows(&self) -> bool {
        self.lost_seconds().is_none() && self.index.freshness().reached().await
    }

    /// Sees to it that it is known here what other processes have just done with a secret, if it may be
    /// one and nothing good is known of it. `false` when that can't be known soon.
    pub async fn learns_of(&self, secret: &str, is_good: impl Fn() -> bool) -> bool {
        !is_well_formed(secret) || is_good() || self.index.learn_of(&Digest::of(secret)).await
    }

    /// The good token that a secret is of, if there is one, also where another process has just given
    /// the secret out.
    ///
    /// # Errors
    /// When what other processes have done can't be known soon.
    pub async fn good_token(
        &self,
        secret: &str,
        digest: &Digest,
    ) -> Result<Option<ActiveToken>, NotKnown> {
        let find = || self.index.token(digest, self.now());
        let found = find();
        if found.is_some() || !is_well_formed(secret) {
            return Ok(found);
        }
        if self.index.learn_of(digest).await { Ok(find()) } else { Err(NotKnown) }
    }

    /// A fresh identifier.
    pub fn new_id(&self) -> uuid::Uuid {
        self.ledger.entropy().uuid(self.now())
    }

    /// Starts the projections that run behind the log, and the writing of attempts; they end when
    /// `stop` turns true.
    pub fn start(
        self: &Arc<Self>,
        stop: &watch::Receiver<bool>,
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let mut tasks = Vec::new();
        for projection in &self.projections {
            let store = Arc::clone(self.store());
            let (handle, task) = runner::spawn(Arc::clone(projection), store, stop.clone());
            self.behind.write().push(handle);
            tasks.push(task);
        }
        tasks.extend(self.start_attempts(stop));
        tasks
    }

    /// Looks after jobs that go on until the service stops.
    pub fn watch_jobs(&self, jobs: &[tokio::task::JoinHandle<()>]) {
        self.jobs.write().extend(jobs.iter().map(tokio::task::JoinHandle::abort_handle));
    }

    /// Whether a job has ended before the service stops, as one that panicked has.
    pub fn has_lost_job(&self) -> bool {
        self.jobs.read().iter().any(AbortHandle::is_finished)
    }

    /// The projections that run behind the log in this process.
    pub fn behind(&self) -> Vec<RunnerHandle> {
        self.behind.read().clone()
    }
}
