//! What was refused, who signed in and what was exported, for the auditor, beside the ledger.
//!
//! Noting an attempt never waits: it goes into a bounded queue, from which one task writes in
//! batches. What finds the queue full, what one caller is refused or exports too often and what is
//! beyond the newest so many is dropped and counted, and what waits is lost with the process. No
//! record of a sign-in is dropped for what else its caller did. The record of a link to set a password
//! takes no part in this: it is stored with the link, and kept.

use super::outcome::Listed;
use super::throttle::{Allowance, party};
use super::{App, AppError};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::{ActorType, CompanyId, MemberId, Timestamp};
use token_ledger_event_store::StoreError;
use token_ledger_projections::attempts::{Attempt, AttemptFilter, AttemptKind, Seen};
use token_ledger_projections::people::Link;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Attempts of each kind that are kept of each company, but for links, of callers who have shown who
/// they are; and as many of others, whom anybody may be. Whoever made a link could push its record
/// out by making others.
const KEPT: usize = 10_000;
/// Attempts that wait to be written.
const QUEUE: usize = 4096;
/// Places of the queue that refusals leave to everything else.
const NOT_FOR_REFUSALS: usize = 1024;
/// Attempts that are written in one transaction.
const BATCH: usize = 500;
/// How long attempts are gathered before they are written.
const GATHER: Duration = Duration::from_millis(250);
/// How many are written of a company before the oldest are removed again.
const TRIM_EVERY: usize = 500;
/// How long a reader waits for what was noted before.
const WAIT: Duration = Duration::from_secs(5);
/// Companies whose dropped attempts are counted apart between two writes; those of others count
/// as the platform's.
const COUNTED_APART: usize = 1024;
/// Attempts of one kind of one caller that are kept: more would push those of others out.
const OF_ONE_CALLER: Allowance = Allowance::new(500, Duration::from_secs(1));

/// Numbers of dropped attempts that are yet to be written.
type Dropped = BTreeMap<(CompanyId, AttemptKind), u64>;

enum Message {
    Note(Box<Attempt>),
    /// Answer when everything before is written.
    Flush(oneshot::Sender<()>),
}

/// Attempts on their way to the database.
#[derive(Debug)]
pub struct Attempts {
    sender: mpsc::Sender<Message>,
    receiver: Mutex<Option<mpsc::Receiver<Message>>>,
    dropped: Mutex<Dropped>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Note(_) => "Note",
            Self::Flush(_) => "Flush",
        })
    }
}

impl Default for Attempts {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        Self { sender, receiver: Mutex::new(Some(receiver)), dropped: Mutex::default() }
    }
}

/// Whether a caller may do so much of this that its records push those of others out.
const fn is_cheap(kind: AttemptKind) -> bool {
    matches!(kind, AttemptKind::Denied | AttemptKind::Export)
}

fn count(kind: AttemptKind) {
    metrics::counter!("token_ledger_attempts_total", "kind" => kind.as_str()).increment(1);
}

/// Where a caller's attempts are counted apart by where they come from: nobody has shown to be the
/// caller who is named, so that anybody may say so.
fn counted_from(seen: &Seen) -> Option<IpAddr> {
    let is_shown = seen.actor.is_some() && !matches!(seen.status, 401 | 429);
    seen.ip.filter(|_| !is_shown).map(party)
}

impl Attempts {
    /// Puts an attempt into the queue, if it has a place for it.
    fn put(&self, attempt: Attempt) {
        let (company, kind) = (attempt.seen.company_id, attempt.seen.kind);
        let is_full = kind == AttemptKind::Denied && self.sender.capacity() <= NOT_FOR_REFUSALS;
        if is_full || self.sender.try_send(Message::Note(Box::new(attempt))).is_err() {
            self.drop_one(company, kind);
        }
    }

    fn drop_one(&self, company: CompanyId, kind: AttemptKind) {
        metrics::counter!("token_ledger_attempts_dropped_total", "kind" => kind.as_str())
            .increment(1);
        let mut dropped = self.dropped.lock();
        let apart = dropped.len() < COUNTED_APART || dropped.contains_key(&(company, kind));
        let company = if apart { company } else { CompanyId::PLATFORM };
        *dropped.entry((company, kind)).or_insert(0) += 1;
    }
}

impl App {
    /// Notes an attempt. Never waits.
    pub fn note(&self, seen: Seen) {
        let is_cheap = is_cheap(seen.kind);
        self.keep(seen, is_cheap);
    }

    /// As [`Self::note`], of what takes its caller next to nothing whatever its kind.
    pub(super) fn note_cheap(&self, seen: Seen) {
        self.keep(seen, true);
    }

    fn keep(&self, seen: Seen, is_cheap: bool) {
        count(seen.kind);
        let whose = (seen.kind, seen.actor, counted_from(&seen));
        let attempt = self.attempt(seen);
        if is_cheap && !self.throttle.admits(&whose, OF_ONE_CALLER, attempt.at) {
            return self.attempts.drop_one(attempt.seen.company_id, attempt.seen.kind);
        }
        self.attempts.put(attempt);
    }

    /// Stores a link together with the record of who made it: neither is there without the other.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn put_recorded_link(
        &self,
        link: &Link,
        maker: Seen,
    ) -> Result<(), StoreError> {
        let mut record = [self.attempt(maker)];
        self.leave_out_erased(&mut record).await;
        let [record] = record;
        self.people.put_link(link, Some(&record)).await?;
        count(record.seen.kind);
        Ok(())
    }

    fn attempt(&self, seen: Seen) -> Attempt {
        Attempt { at: self.now(), attempt_id: self.new_id(), seen }
    }

    /// Leaves out what tells of a person who was erased since: whichever process erased them has
    /// only seen what was written before.
    async fn leave_out_erased(&self, batch: &mut [Attempt]) {
        let mut known = BTreeMap::new();
        for Attempt { seen, .. } in batch {
            let Some(actor) = seen.actor else { continue };
            let company = match actor.kind {
                ActorType::Member => seen.company_id,
                ActorType::Operator => CompanyId::PLATFORM,
                _ => continue,
            };
            let of = (company, actor.id);
            let is_erased = match known.get(&of) {
                Some(known) => *known,
                // Who can't be asked about is treated as one who was erased.
                None => self.is_erased(company, MemberId(actor.id)).await.unwrap_or(true),
            };
            known.insert(of, is_erased);
            if is_erased {
                (seen.ip, seen.user_agent) = (None, None);
            }
        }
    }

    /// A company's attempts, newest first, and how many were dropped. Includes everything that was
    /// noted when this was called.
    ///
    /// # Errors
    /// When the company doesn't exist, the filter can't be meant, or the store fails.
    pub async fn attempts_page(
        &self,
        company: CompanyId,
        filter: AttemptFilter,
        limit: usize,
    ) -> Result<(Listed<Attempt, (Timestamp, Uuid)>, u64), AppError> {
        if filter.from.zip(filter.to).is_some_and(|(from, to)| from > to) {
            return Err(AppError::invalid("from", "must not be after `to`"));
        }
        self.head(company).await?;
        self.flush_attempts().await?;
        let found = self.read.attempts(company, &filter, limit + 1).await?;
        let dropped = self.read.attempts_dropped(company, filter.kind).await?;
        let place = |last: &Attempt| (last.at, last.attempt_id);
        let listed = Listed::cut(found, limit, place, |attempt| attempt);
        Ok((listed, dropped))
    }

    /// Waits until everything that was noted is written, where somebody writes it.
    pub(super) async fn flush_attempts(&self) -> Result<(), AppError> {
        if self.attempts.receiver.lock().is_some() {
            return Ok(());
        }
        let (written, waits) = oneshot::channel();
        let flushed = async {
            self.attempts.sender.send(Message::Flush(written)).await.ok()?;
            waits.await.ok()
        };
        match tokio::time::timeout(WAIT, flushed).await {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(StoreError::Closed.into()),
            Err(_) => Err(AppError::AuditBehind),
        }
    }

    /// Starts writing what is noted, until `stop` turns true and all that was noted by then is
    /// written. Does nothing when it was started before.
    pub(super) fn start_attempts(
        self: &Arc<Self>,
        stop: &watch::Receiver<bool>,
    ) -> Option<JoinHandle<()>> {
        let receiver = self.attempts.receiver.lock().take()?;
        let writer = Writer {
            app: Arc::clone(self),
            known: BTreeSet::from([CompanyId::PLATFORM]),
            written: BTreeMap::new(),
        };
        Some(tokio::spawn(writer.run(receiver, stop.clone())))
    }
}

/// Writes what is noted.
struct Writer {
    app: Arc<App>,
    /// Companies that are known to exist. They never cease to.
    known: BTreeSet<CompanyId>,
    /// How much was written since the oldest were last removed.
    written: BTreeMap<(CompanyId, AttemptKind), usize>,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Message>, mut stop: watch::Receiver<bool>) {
        loop {
            let first = tokio::select! {
                // What was noted before the end came is written.
                biased;
                first = receiver.recv() => first,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let Some(first) = first else { return };
            let (mut batch, mut waiting) = (Vec::new(), Vec::new());
            let mut next = Some(first);
            let gathered = tokio::time::sleep(GATHER);
            tokio::pin!(gathered);
            while let Some(message) = next.take() {
                match message {
                    Message::Note(attempt) => batch.push(*attempt),
                    Message::Flush(written) => waiting.push(written),
                }
                if batch.len() >= BATCH {
                    break;
                }
                next = match receiver.try_recv() {
                    Ok(message) => Some(message),
                    // Somebody waits.
                    Err(_) if !waiting.is_empty() => None,
                    Err(_) => tokio::select! {
                        message = receiver.recv() => message,
                        () = &mut gathered => None,
                        _ = stop.wait_for(|stop| *stop) => None,
                    },
                };
            }
            self.write(batch).await;
            for written in waiting {
                // The reader may have gone away.
                let _ = written.send(());
            }
        }
    }

    /// Writes a batch. What can't be written is dropped and counted: the service goes on. So is what
    /// may have been written, where that is in doubt: the number that an auditor reads may be too high
    /// then, never too low.
    async fn write(&mut self, mut batch: Vec<Attempt>) {
        let dropped = std::mem::take(&mut *self.app.attempts.dropped.lock());
        if batch.is_empty() && dropped.is_empty() {
            return;
        }
        if let Err(error) = self.add(&mut batch, &dropped).await {
            tracing::warn!(%error, count = batch.len(), "attempts were not written down");
            let mut again = self.app.attempts.dropped.lock();
            for (whose, count) in dropped {
                *again.entry(whose).or_insert(0) += count;
            }
            drop(again);
            for attempt in &batch {
                self.app.attempts.drop_one(attempt.seen.company_id, attempt.seen.kind);
            }
            return;
        }
        for attempt in &batch {
            *self
                .written
                .entry((attempt.seen.company_id, attempt.seen.kind))
                .or_insert(TRIM_EVERY) += 1;
        }
        self.trim().await;
    }

    /// Adds a batch, and numbers of what was dropped, to what is kept of each company.
    async fn add(&mut self, batch: &mut [Attempt], dropped: &Dropped) -> Result<(), StoreError> {
        for Attempt { seen, .. } in &mut *batch {
            seen.company_id = self.kept_of(seen.company_id).await?;
        }
        self.app.leave_out_erased(batch).await;
        let mut known = Dropped::new();
        for ((company, kind), count) in dropped {
            *known.entry((self.kept_of(*company).await?, *kind)).or_insert(0) += count;
        }
        self.app.read.add_attempts(batch, &known).await
    }

    /// Removes the oldest of those of which much was written.
    async fn trim(&mut self) {
        for ((company, kind), written) in &mut self.written {
            if *written < TRIM_EVERY {
                continue;
            }
            match self.app.read.trim_attempts(*company, *kind, KEPT).await {
                Ok(()) => *written = 0,
                Err(error) => tracing::warn!(%error, %company, "old attempts were not removed"),
            }
        }
    }

    /// Among whose attempts those are kept that name this company: the platform's where there is no
    /// such company.
    async fn kept_of(&mut self, company: CompanyId) -> Result<CompanyId, StoreError> {
        if self.known.contains(&company) {
            return Ok(company);
        }
        match self.app.read.company(company).await {
            Ok(None) => return Ok(CompanyId::PLATFORM),
            Ok(Some(_)) => self.known.insert(company),
            Err(error) if error.is_general() => return Err(error),
            // A row that can't be read is one all the same.
            Err(_) => false,
        };
        Ok(company)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(kind: AttemptKind) -> Attempt {
        let seen = Seen {
            company_id: CompanyId::PLATFORM,
            kind,
            actor: None,
            method: String::new(),
            route: String::new(),
            status: 403,
            problem: None,
            request_id: None,
            ip: None,
            user_agent: None,
        };
        Attempt { at: Timestamp::from_micros(0), attempt_id: Uuid::nil(), seen }
    }

    #[test]
    fn refusals_leave_room_for_everything_else() {
        let attempts = Attempts::default();
        let dropped = |kind| attempts.dropped.lock().get(&(CompanyId::PLATFORM, kind)).copied();
        for _ in 0..=QUEUE {
            attempts.put(attempt(AttemptKind::Denied));
        }
        let beyond = u64::try_from(NOT_FOR_REFUSALS + 1).ok();
        assert_eq!(dropped(AttemptKind::Denied), beyond);
        for _ in 0..NOT_FOR_REFUSALS {
            attempts.put(attempt(AttemptKind::SignIn));
        }
        assert_eq!(dropped(AttemptKind::SignIn), None);
        attempts.put(attempt(AttemptKind::SignIn));
        assert_eq!(dropped(AttemptKind::SignIn), Some(1), "there is an end to it");
    }
}
