//! What is known of a company's tree before its events are read: who signed which root.

use super::Failure;
use super::finding::{Finding, Stop};
use super::kept::Kept;
use crate::app::App;
use crate::evidence::note::{NoteProblem, Statement, VerifierKey, may_be_cosignatures};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::MAX_CLOCK_LAG_SECONDS;
use token_ledger_projections::tree::{LogHead, SignedCheckpoint};

/// Stored checkpoints that are read at a time.
const CHECKPOINTS: usize = 1000;

/// A root that the tree must have at a size.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// The log that it was signed for.
    pub(super) log: String,
    pub(super) size: u64,
    pub(super) root: [u8; 32],
    /// Who says so.
    pub(super) source: String,
    /// Whether whoever changed the database could not have made it as well: it was kept elsewhere, or
    /// signed with a key that is known from elsewhere.
    pub(super) known: bool,
    /// When it was signed, where somebody says so. That is not signed itself.
    signed_at: Option<Timestamp>,
}

impl Mark {
    /// What a checkpoint says that was kept outside the database.
    pub(super) fn new(statement: &Statement, source: impl Into<String>) -> Self {
        Self {
            log: statement.origin.clone(),
            size: statement.size,
            root: statement.root.0,
            source: source.into(),
            known: true,
            signed_at: None,
        }
    }

    /// Whether it claims to have been signed before the last of its entries was recorded, by more
    /// than clocks may differ.
    pub(super) fn is_too_early(&self, recorded_at: Timestamp) -> bool {
        self.signed_at.is_some_and(|signed_at| is_before(signed_at, recorded_at))
    }
}

/// Whether one time is before the other by more than clocks may differ.
fn is_before(one: Timestamp, other: Timestamp) -> bool {
    one.plus_seconds(MAX_CLOCK_LAG_SECONDS) < other
}

/// Everything that is known of a company's tree before its events are read.
#[derive(Debug)]
pub(super) struct Marks {
    /// In the order of their sizes.
    pub(super) marks: Vec<Mark>,
    pub(super) aside: Aside,
}

/// What is worth knowing of a ledger though nothing may be wrong with it.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Whether it is compared with a checkpoint from outside the database.
    pub(super) is_compared: bool,
    /// How many stored checkpoints are signed with keys that are not known here, by the name of the
    /// log.
    pub(super) strange: BTreeMap<String, u64>,
    /// The names of the logs that the database says were signed.
    pub(super) signed: BTreeSet<String>,
}

/// Where a ledger's checkpoints come from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    /// Those that an auditor has kept.
    pub(super) kept: &'a [Kept],
    /// The key that these were signed with, if it was given.
    pub(super) key: Option<&'a VerifierKey>,
    /// Whether the folder was named, and must have a checkpoint of every log that was signed.
    pub(super) is_folder_named: bool,
}

/// Gathers what is known of a company's tree.
pub(super) async fn marks(
    app: &App,
    company: CompanyId,
    sources: Sources<'_>,
) -> Result<Marks, Stop> {
    let evidence = &app.evidence;
    let origin = evidence.origin(company);
    let given = sources.key.filter(|key| key.origin() == origin).cloned();
    let own = own_key(app, company).or(given);
    let Stored { signed, keys, largest } =
        stored(app, company, [own.as_ref(), sources.key]).await?;
    let heads = compare_heads(app, company, &largest).await?;
    let mut marks = Vec::new();
    // The keys that the database has and that something from outside it was signed with.
    let mut borne_out: Vec<&str> = Vec::new();
    match outside(app, company, own.as_ref().or(keys.get(&origin)))? {
        // A log is named before anything that was signed for it is kept outside.
        Some(mark) if !heads.iter().any(|head| head.origin == origin) => {
            let problem = format!("nothing of this log is stored, but there is {}", mark.source);
            return Err(Finding::new(mark.size, problem).into());
        }
        Some(mark) => {
            borne_out.extend(keys.get(&origin).map(VerifierKey::text));
            marks.push(mark);
        }
        None if sources.is_folder_named => {
            if let Some(head) = heads.iter().find(|head| head.origin == origin && head.size > 0) {
                let folder = evidence.outside().folder().display();
                let problem = format!(
                    "the log {origin} was signed up to here, but no checkpoint of it is kept in \
                     {folder}"
                );
                return Err(Finding::new(head.size, problem).into());
            }
        }
        None => {}
    }
    for kept in sources.kept.iter().filter(|kept| kept.company == company) {
        let log = &kept.statement.origin;
        let of_log = || own.as_ref().filter(|own| own.origin() == log).or_else(|| keys.get(log));
        let Some(key) = sources.key.or_else(of_log) else {
            let problem = format!(
                "{}: the key of the log {log} is not known here; give it with --key",
                kept.file.display()
            );
            return Err(Failure::Usage(problem).into());
        };
        match kept.mark(key) {
            Ok(mark) => marks.push(mark),
            Err(problem) => return Err(Finding::new(kept.statement.size, problem).into()),
        }
        borne_out
            .extend(keys.get(log).map(VerifierKey::text).filter(|stored| *stored == key.text()));
    }
    let mut aside = Aside { is_compared: !marks.is_empty(), ..Aside::default() };
    let name = |origin: &str| {
        let (name, _) = origin.rsplit_once('/').unwrap_or((origin, ""));
        name.to_owned()
    };
    let signed_logs = heads.iter().filter(|head| head.size > 0);
    aside.signed.extend(signed_logs.map(|head| name(&head.origin)));
    let known = |log: &str| {
        let key = keys.get(log).map(VerifierKey::text);
        let derived = evidence.key_of(log.to_owned()).map(|key| key.verifier_key());
        let given = sources.key.filter(|given| given.origin() == log).map(VerifierKey::text);
        key.is_some_and(|key| {
            derived.as_deref() == Some(key) || given == Some(key) || borne_out.contains(&key)
        })
    };
    let known: HashMap<&str, bool> = keys.keys().map(|log| (log.as_str(), known(log))).collect();
    for mut mark in signed {
        mark.known = known.get(mark.log.as_str()).is_some_and(|known| *known);
        if !mark.known {
            *aside.strange.entry(name(&mark.log)).or_default() += 1;
        }
        marks.push(mark);
    }
    marks.sort_by_key(|mark| mark.size);
    Ok(Marks { marks, aside })
}

/// The key of a company's log, where the seed is known.
pub(super) fn own_key(app: &App, company: CompanyId) -> Option<VerifierKey> {
    app.evidence.key(company).and_then(|key| key.verifier_key().parse().ok())
}

/// The stored checkpoints of a company, which all are what they say they are.
struct Stored {
    signed: Vec<Mark>,
    /// The key of each log.
    keys: HashMap<String, VerifierKey>,
    /// The largest of each log.
    largest: HashMap<String, SignedCheckpoint>,
}

async fn stored(
    app: &App,
    company: CompanyId,
    known: [Option<&VerifierKey>; 2],
) -> Result<Stored, Stop> {
    let mut keys: HashMap<String, VerifierKey> = HashMap::new();
    let mut largest: HashMap<String, SignedCheckpoint> = HashMap::new();
    let witnesses = app.evidence.witness_keys();
    let mut marks = Vec::new();
    let mut after = None;
    let latest = app.now();
    loop {
        let page = app.evidence.trees().checkpoints(company, after, false, CHECKPOINTS).await;
        let page = page.map_err(Stop::unreadable("a stored checkpoint"))?;
        let Some(last) = page.last() else { break };
        after = Some((last.signed_at, last.origin.clone(), last.size));
        for signed in &page {
            let known = known.into_iter().flatten().find(|key| key.origin() == signed.origin);
            let key = known.or_else(|| keys.get(&signed.origin));
            if key.is_some_and(|key| key.text() != signed.verifier_key) {
                let problem = "the stored checkpoint was signed with another key than the log's";
                return Err(Finding::new(signed.size, problem).into());
            }
            match stored_mark(signed, &mut keys) {
                Ok(mark) => marks.push(mark),
                Err(problem) => return Err(Finding::new(signed.size, problem).into()),
            }
            if !may_be_cosignatures(&signed.note, &signed.cosignatures, &witnesses) {
                let problem = "what stands with the stored checkpoint is no cosignature of it";
                return Err(Finding::new(signed.size, problem).into());
            }
            if is_before(latest, signed.signed_at) {
                let problem = "the stored checkpoint is of the future";
                return Err(Finding::new(signed.size, problem).into());
            }
            // They come in the order in which they claim to have been signed.
            let before = largest.entry(signed.origin.clone()).or_insert_with(|| signed.clone());
            if before.size < signed.size {
                *before = signed.clone();
            } else if is_before(before.signed_at, signed.signed_at) {
                let problem = format!(
                    "the stored checkpoint claims to have been signed before that of {} entries",
                    signed.size
                );
                return Err(Finding::new(before.size, problem).into());
            }
        }
    }
    Ok(Stored { signed: marks, keys, largest })
}

/// What the tree must be, given the checkpoint that is kept outside the database. It must be signed
/// with this key, where it is known.
pub(super) fn outside(
    app: &App,
    company: CompanyId,
    key: Option<&VerifierKey>,
) -> Result<Option<Mark>, Stop> {
    let Some(note) = app.evidence.outside_note(company)? else { return Ok(None) };
    let statement = key.map_or_else(|| Statement::unverified(&note), |key| key.open(&note));
    let source = format!("the checkpoint kept in {}", app.evidence.outside().folder().display());
    match statement {
        Ok(statement) => Ok(Some(Mark::new(&statement, source))),
        Err(problem) => Err(Finding::new(0, format!("{source}: {problem}")).into()),
    }
}

/// Holds the stored checkpoints against what stands beside them: how far each log has been signed,
/// which it answers.
async fn compare_heads(
    app: &App,
    company: CompanyId,
    largest: &HashMap<String, SignedCheckpoint>,
) -> Result<Vec<LogHead>, Stop> {
    // Read after the checkpoints: a head never falls behind one of them.
    let heads = app.evidence.trees().log_heads(company).await;
    let heads = heads.map_err(Stop::unreadable("how far a log was signed"))?;
    for (origin, signed) in largest {
        let head = heads.iter().find(|head| head.origin == *origin);
        let fits = head.is_some_and(|head| {
            head.size >= signed.size && head.verifier_key == signed.verifier_key
        });
        if !fits {
            let problem =
                format!("the log {origin} was signed up to here, but its head says otherwise");
            return Err(Finding::new(signed.size, problem).into());
        }
    }
    // A log that nothing was signed for yet has a head of no entries.
    for head in heads.iter().filter(|head| head.size > 0) {
        // It may have been raised meanwhile, and a checkpoint with it.
        let last = app.evidence.trees().last_checkpoint(company, &head.origin).await?;
        if last.is_none_or(|last| last.size < head.size) {
            let problem = format!(
                "the head of the log {} says that it was signed up to here, but there is no such \
                 checkpoint",
                head.origin
            );
            return Err(Finding::new(head.size, problem).into());
        }
    }
    Ok(heads)
}

/// What a stored checkpoint says, if its columns say the same and its key signed it.
fn stored_mark(
    signed: &SignedCheckpoint,
    keys: &mut HashMap<String, VerifierKey>,
) -> Result<Mark, String> {
    let wrong = |problem: NoteProblem| format!("the stored checkpoint: {problem}");
    let known = keys.get(&signed.origin).filter(|key| key.text() == signed.verifier_key);
    let key = match known {
        Some(key) => key.clone(),
        None => signed.verifier_key.parse().map_err(wrong)?,
    };
    let statement = key.open(&signed.note).map_err(wrong)?;
    let told = (statement.origin.as_str(), statement.size, statement.root.0);
    if told != (signed.origin.as_str(), signed.size, signed.root)
        || !signed.origin.ends_with(&format!("/{}", signed.company_id))
    {
        return Err("the stored checkpoint is not the one that was signed".to_owned());
    }
    keys.insert(signed.origin.clone(), key);
    let mark = Mark::new(&statement, format!("a stored checkpoint of the log {}", signed.origin));
    Ok(Mark { known: false, signed_at: Some(signed.signed_at), ..mark })
}
