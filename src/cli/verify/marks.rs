//! What is known of a company's tree before its events are read: who signed which root.

use super::Failure;
use super::finding::{Finding, Stop};
use super::kept::Kept;
use crate::app::App;
use crate::evidence::note::{NoteProblem, Statement, VerifierKey, may_be_cosignatures};
use std::collections::HashMap;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::MAX_CLOCK_LAG_SECONDS;
use token_ledger_projections::tree::SignedCheckpoint;

/// Stored checkpoints that are read at a time.
const CHECKPOINTS: usize = 1000;

/// A root that the tree must have at a size.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) size: u64,
    pub(super) root: [u8; 32],
    /// Who says so.
    pub(super) source: String,
    /// When it was signed, where somebody says so. That is not signed itself.
    signed_at: Option<Timestamp>,
}

impl Mark {
    pub(super) fn new(statement: &Statement, source: impl Into<String>) -> Self {
        let (size, root) = (statement.size, statement.root.0);
        Self { size, root, source: source.into(), signed_at: None }
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
pub(super) async fn marks(
    app: &App,
    company: CompanyId,
    kept: &[Kept],
    key: Option<&VerifierKey>,
) -> Result<Vec<Mark>, Stop> {
    let evidence = &app.evidence;
    let own = evidence.key(company).map(|key| key.verifier_key());
    let origin = evidence.origin(company);
    let mut keys: HashMap<String, VerifierKey> = HashMap::new();
    let mut largest: HashMap<String, SignedCheckpoint> = HashMap::new();
    let witnesses = evidence.witness_keys();
    let mut marks = Vec::new();
    let mut after = None;
    let latest = app.now();
    loop {
        let page = evidence.trees().checkpoints(company, after, false, CHECKPOINTS).await;
        let page = page.map_err(Stop::unreadable("a stored checkpoint"))?;
        let Some(last) = page.last() else { break };
        after = Some((last.signed_at, last.origin.clone(), last.size));
        for signed in &page {
            if signed.origin == origin
                && own.as_ref().is_some_and(|own| *own != signed.verifier_key)
            {
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
    compare_heads(app, company, &largest).await?;
    if let Some(mark) = outside(app, company, keys.get(&origin))? {
        // A log is named before anything that was signed for it is kept outside.
        if !app.evidence.trees().log_heads(company).await?.iter().any(|head| head.origin == origin)
        {
            let problem = format!("nothing of this log is stored, but there is {}", mark.source);
            return Err(Finding::new(mark.size, problem).into());
        }
        marks.push(mark);
    }
    for kept in kept.iter().filter(|kept| kept.company == company) {
        let of_origin = || {
            let own = own.as_deref().filter(|_| kept.statement.origin == origin);
            let own = own.and_then(|own| own.parse().ok());
            own.or_else(|| keys.get(&kept.statement.origin).cloned())
        };
        let Some(key) = key.cloned().or_else(of_origin) else {
            let problem = format!(
                "{}: the key of the log {} is not known here; give it with --key",
                kept.file.display(),
                kept.statement.origin
            );
            return Err(Failure::Usage(problem).into());
        };
        match kept.mark(&key) {
            Ok(mark) => marks.push(mark),
            Err(problem) => return Err(Finding::new(kept.statement.size, problem).into()),
        }
    }
    marks.sort_by_key(|mark| mark.size);
    Ok(marks)
}

/// What the tree must be, given the checkpoint that is kept outside the database. It must be signed
/// with the log's key, or with the one given where that is not known.
pub(super) fn outside(
    app: &App,
    company: CompanyId,
    signed_with: Option<&VerifierKey>,
) -> Result<Option<Mark>, Stop> {
    let Some(note) = app.evidence.outside_note(company)? else { return Ok(None) };
    let own = app.evidence.key(company).and_then(|key| key.verifier_key().parse().ok());
    let statement = match own.as_ref().or(signed_with) {
        Some(key) => key.open(&note),
        None => Statement::unverified(&note),
    };
    let source = format!("the checkpoint kept in {}", app.evidence.outside().folder().display());
    match statement {
        Ok(statement) => Ok(Some(Mark::new(&statement, source))),
        Err(problem) => Err(Finding::new(0, format!("{source}: {problem}")).into()),
    }
}

/// Holds the stored checkpoints against what stands beside them: how far each log has been signed.
async fn compare_heads(
    app: &App,
    company: CompanyId,
    largest: &HashMap<String, SignedCheckpoint>,
) -> Result<(), Stop> {
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
    for head in heads.into_iter().filter(|head| head.size > 0) {
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
    Ok(())
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
    let mark = Mark::new(&statement, "a stored checkpoint");
    Ok(Mark { signed_at: Some(signed.signed_at), ..mark })
}
