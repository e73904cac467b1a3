//! The commands, one per file.
//!
//! Answers go to stdout and diagnostics to stderr. A command exits with 0 when it is done, with 1
//! when it failed or found something wrong, and with 2 when it was used wrongly.

// They panic where the stream takes nothing; `answer` fails in words, and `tell` goes on.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod check_evidence;
mod connections;
mod demo;
mod demo_history;
mod demo_script;
mod erase;
mod export;
mod key;
mod log;
mod migrate;
mod openapi;
mod options;
mod output;
mod progress;
mod replay;
mod serve;
mod server;
mod setup;
mod signals;
mod tls;
mod verify;

use crate::app::{App, AppError, OutsideError};
use crate::config::{DatabaseUrl, InvalidSettings, LogFormat, Settings};
use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use options::{Given, Nothing, Offer};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::CompanyId;
use token_ledger_domain::key::KeyRefusal;
use token_ledger_event_store::sqlite::Access;
use token_ledger_event_store::{StoreError, SystemClock, SystemEntropy};
use token_ledger_projections::rebuild::RebuildError;

/// The variable that names the file of settings.
const CONFIG: &str = "TOKEN_LEDGER_CONFIG";

/// How long work may take that a command leaves behind, such as an opening that was given up.
const LEAVE: Duration = Duration::from_secs(1);

/// How URLs of databases begin.
const SCHEMES: [&str; 3] = ["sqlite:", "postgres:", "postgresql:"];

const DATABASE_URL_HELP: &str = "Where the ledger is kept: sqlite://PATH or \
    postgres://USER@HOST/DATABASE [env: TOKEN_LEDGER_DATABASE_URL]";

const CONFIG_HELP: &str = "A file of settings, TOML. The environment wins over it, and options \
    over both [env: TOKEN_LEDGER_CONFIG]";

/// A ledger of API access tokens: every change is an event, and every answer comes from the
/// events.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Where the ledger and its settings are.
#[derive(Clone, Debug, Args, Serialize)]
struct Place {
    /// Where the ledger is kept
    #[arg(long, global = true, value_name = "URL", help = DATABASE_URL_HELP)]
    #[serde(skip_serializing_if = "Option::is_none")]
    database_url: Option<DatabaseUrl>,
    /// A file of settings, TOML
    #[arg(long, global = true, value_name = "FILE", help = CONFIG_HELP)]
    #[serde(skip)]
    config: Option<PathBuf>,
}

impl Place {
    /// With the file of settings that the environment names, where the command line names none. A
    /// variable that is empty counts as left out.
    fn found(mut self) -> Self {
        let named = || std::env::var_os(CONFIG).filter(|path| !path.is_empty());
        self.config = self.config.or_else(|| named().map(PathBuf::from));
        self
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it: a ledger in a folder of its own, with a made-up company and its history
    Demo(demo::Demo),
    /// Run the service
    Serve(Box<serve::Serve>),
    /// Make a company with its first Super Admin and API keys
    Setup(setup::Setup),
    /// Bring the schema up to date
    Migrate,
    /// Rebuild the read models from the events, or check them against the events
    Replay(replay::Replay),
    /// Check the ledgers: positions, sequences, payloads, hashes, trees and checkpoints
    Verify(verify::Verify),
    /// Check an evidence pack with nothing but files and a key
    CheckEvidence(check_evidence::CheckEvidence),
    /// Erase what names or describes a person; what the person did stays, with its proofs
    Erase(erase::Erase),
    /// Write events as NDJSON or CSV: all companies', one's or one token's
    Export(export::Export),
    /// API keys
    #[command(subcommand)]
    Key(key::Key),
    /// Print the OpenAPI document
    Openapi(Offer),
}

impl Command {
    /// The settings, those of this command's options among them.
    fn settings(&self, place: &Place) -> Result<Settings, Failure> {
        match self {
            Self::Setup(setup) => Given { place, options: setup.key_prefix() }.settings(),
            Self::Key(key) => Given { place, options: key.key_prefix() }.settings(),
            Self::Verify(verify) => Given { place, options: verify.logs() }.settings(),
            Self::Openapi(offer) => Given { place, options: offer }.settings(),
            Self::Serve(serve) => Given { place, options: serve.as_ref() }.settings(),
            Self::Demo(_)
            | Self::Migrate
            | Self::Replay(_)
            | Self::CheckEvidence(_)
            | Self::Erase(_)
            | Self::Export(_) => Given { place, options: &Nothing {} }.settings(),
        }
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// It was used wrongly.
    #[error("{0}")]
    Usage(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
    /// It found something wrong and has said so, or nobody listens any more.
    #[error("")]
    Silent,
    /// It was used wrongly, and the log says how.
    #[error("")]
    Misused,
}

impl From<InvalidSettings> for Failure {
    fn from(error: InvalidSettings) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<OutsideError> for Failure {
    fn from(error: OutsideError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Invalid(problems) => {
                let problems: Vec<String> = problems
                    .iter()
                    .map(|problem| format!("{}: {}", problem.field, problem.detail))
                    .collect();
                Self::Usage(problems.join("\n"))
            }
            AppError::Key(refusal) if is_about_the_input(&refusal) => {
                Self::Usage(refusal.to_string())
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Whether no key could be made so.
const fn is_about_the_input(refusal: &KeyRefusal) -> bool {
    match refusal {
        KeyRefusal::NoScopes
        | KeyRefusal::PlatformOnly
        | KeyRefusal::Validity { .. }
        | KeyRefusal::Grace { .. } => true,
        KeyRefusal::NotFound
        | KeyRefusal::Exists
        | KeyRefusal::OldSecret
        | KeyRefusal::Deleted
        | KeyRefusal::AboveOwnPower { .. } => false,
    }
}

impl From<RebuildError> for Failure {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Unknown(_) => Self::Usage(error.to_string()),
            RebuildError::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                error.into()
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // Whoever reads the answer, such as `head`, has had enough.
            std::io::ErrorKind::BrokenPipe => Self::Silent,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let Cli { place, command } = match parsed() {
        Ok(parsed) => parsed,
        Err(error) => return told(&discreet(error)),
    };
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| {
            let outcome = runtime.block_on(run(place.found(), command));
            runtime.shutdown_timeout(LEAVE);
            outcome
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(&failure),
    }
}

fn parsed() -> Result<Cli, clap::Error> {
    let mut command = options::with_defaults(Cli::command());
    let mut given = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches_mut(&mut given).map_err(|error| error.format(&mut command))
}

/// Prints what clap has to say: help and version are answers, all else is wrong usage.
fn told(said: &clap::Error) -> ExitCode {
    match said.print() {
        Err(error) if !said.use_stderr() => failed(&output::unwritten(&error).into()),
        _ if said.use_stderr() => ExitCode::from(2),
        _ => ExitCode::SUCCESS,
    }
}

/// Says why the command ended.
fn failed(failure: &Failure) -> ExitCode {
    let text = failure.to_string();
    if !text.is_empty() {
        tell(&format!("error: {text}"));
    }
    let is_misused = matches!(failure, Failure::Usage(_) | Failure::Misused);
    ExitCode::from(if is_misused { 2 } else { 1 })
}

/// Tells whoever reads stderr. Nobody may be listening any more, and that is no reason to fail.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The error without what a URL may hold besides the place: user, password and parameters. One may
/// also stand where none is expected.
fn discreet(mut error: clap::Error) -> clap::Error {
    let argument = error.get(ContextKind::InvalidArg);
    let is_for_url =
        matches!(argument, Some(ContextValue::String(argument)) if argument.contains("-url "));
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue]
    {
        let Some(ContextValue::String(said)) = error.get(kind) else { continue };
        let is_url = said.contains("://") || SCHEMES.iter().any(|scheme| said.contains(scheme));
        let is_value = kind == ContextKind::InvalidValue && is_for_url;
        if said.contains(['@', '?']) && (is_url || is_value) {
            let shown = ContextValue::String(place_of(said));
            error.insert(kind, shown);
            // What is proposed instead repeats it.
            error.remove(ContextKind::Suggested);
        }
    }
    error
}

/// What may be shown of a URL. What stands before a colon may also be a user.
fn place_of(url: &str) -> String {
    let scheme = SCHEMES.into_iter().find(|scheme| url.starts_with(scheme));
    match (url.split_once("://"), scheme) {
        (Some((scheme, _)), _) => format!("{scheme}://…"),
        (None, Some(scheme)) => format!("{scheme}…"),
        (None, None) => "…".to_owned(),
    }
}

async fn run(place: Place, command: Command) -> Result<(), Failure> {
    if let Command::CheckEvidence(check) = command {
        return check.run();
    }
    let settings = command.settings(&place)?;
    let level = if matches!(command, Command::Serve(_)) { "info" } else { "warn" };
    log::start(settings.log_format, level)?;
    match command {
        Command::Demo(demo) if demo.database_url.is_some() => Err(Failure::Usage(
            "the demo keeps its ledger in a folder of its own; name it with --dir".into(),
        )),
        Command::Demo(demo) => demo.run(&settings).await,
        Command::Serve(_) => serve::run(&settings).await.map_err(|failure| {
            // Whoever reads the log reads nothing else.
            if settings.log_format == LogFormat::Json { log::last(failure) } else { failure }
        }),
        Command::CheckEvidence(check) => check.run(),
        Command::Erase(erase) => erase.run(&settings).await,
        Command::Setup(setup) => setup.run(&settings).await,
        Command::Migrate => migrate::run(&settings).await,
        Command::Replay(replay) => replay.run(&settings).await,
        Command::Verify(verify) => verify.run(&settings).await,
        Command::Export(export) => export.run(&settings).await,
        Command::Key(key) => key.run(&settings).await,
        Command::Openapi(_) => openapi::run(&settings),
    }
}

/// How long a command waits for a database server that isn't there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the ledger, which must be there unless it may be made.
async fn open(settings: &Settings, access: Access, make: bool) -> Result<Arc<App>, Failure> {
    open_within(settings, access, make, Some(PATIENCE)).await
}

/// Opens the ledger; waits for its server, where it has one, so long, or for as long as it takes.
async fn open_within(
    settings: &Settings,
    access: Access,
    make: bool,
    patience: Option<Duration>,
) -> Result<Arc<App>, Failure> {
    if let Some(path) = settings.database_url.file()
        && !make
        && path.try_exists().is_ok_and(|exists| !exists)
    {
        return Err(Failure::Failed(format!(
            "there is no ledger at {}; make one with `token-ledger setup`, or name another with \
             --database-url",
            path.display()
        )));
    }
    for parameter in settings.ignored_parameters() {
        tracing::warn!(parameter, "a parameter of the database URL means nothing and is ignored");
    }
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let mut choices = settings.choices();
    choices.postgres.patience = patience;
    Ok(App::open(&settings.database_url, access, clock, entropy, choices).await?)
}

/// Writes an answer of one line of JSON.
fn answer_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::Failed(error.to_string()))?;
    answer(&text)
}

/// Writes a line of the answer.
fn answer(line: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    Ok(written.map_err(|error| output::unwritten(&error))?)
}

/// A text that others wrote: nothing in it may write to the terminal as it likes.
fn printable(text: &str) -> String {
    let escaped =
        |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// An identifier of whatever is meant.
fn identifier<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "must be a UUID".to_owned())
}

/// A company by its identifier, or the platform by its name.
fn company_id(text: &str) -> Result<CompanyId, String> {
    if text == "platform" {
        return Ok(CompanyId::PLATFORM);
    }
    text.parse().map_err(|_| "must be a company's identifier, a UUID, or `platform`".to_owned())
}

/// The companies that a command is about: the one asked for, or all, in the order of their
/// identifiers.
async fn companies(app: &App, asked: Option<CompanyId>) -> Result<Vec<CompanyId>, Failure> {
    let heads = app.store().heads().await?;
    let all = heads.into_iter().map(|head| head.company);
    match asked {
        None => Ok(all.collect()),
        Some(company) if all.into_iter().any(|known| known == company) => Ok(vec![company]),
        Some(company) => Err(Failure::Failed(format!("there is no company {company}"))),
    }
}
