//! The projections that run in the append transaction.

use crate::clients::Clients;
use crate::companies::Companies;
use crate::index::{Own, VerificationIndex};
use crate::keys::Keys;
use crate::members::Members;
use crate::tokens::Tokens;
use crate::touched::Touched;
use async_trait::async_trait;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::CompanyId;
use token_ledger_domain::event::AggregateType;
use token_ledger_event_store::postgres::{InlineProjections, Rows};
use token_ledger_event_store::{Appended, Head, Point, StoreError};

/// How long the follower may take for what had been committed before it was known to be.
const FOLLOWED: Duration = Duration::from_secs(1);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// Tokens, keys, companies, members and clients, and the verification index with them.
#[derive(Default)]
pub struct Inline {
    index: Arc<VerificationIndex>,
    tokens: Touched<Tokens>,
    keys: Touched<Keys>,
    companies: Touched<Companies>,
    members: Touched<Members>,
    clients: Touched<Clients>,
    /// How far each company's ledger had come, and how far these events bring it.
    appended: BTreeMap<CompanyId, (Point, Point)>,
    /// From before they are committed until they are taken over.
    own: Option<Own>,
}

impl std::fmt::Debug for Inline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inline").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Inline {
    /// The inline projections, which keep this index up to date.
    pub fn new(index: Arc<VerificationIndex>) -> Self {
        Self { index, ..Self::default() }
    }

    /// These are about to be committed, behind these heads.
    fn note(&mut self, events: &[Appended], heads: &[Head]) {
        let before = heads.iter().map(|head| (head.company, (head.point(), head.point())));
        self.appended = before.collect();
        for event in events {
            if let Some((_, last)) = self.appended.get_mut(&event.company) {
                *last = Point { position: event.position, recorded_at: event.recorded_at };
            }
        }
        self.appended.retain(|_, (before, last)| before != last);
        self.own.get_or_insert_with(|| self.index.begin_own());
    }
}

#[async_trait]
impl InlineProjections for Inline {
    async fn project(
        &mut self,
        transaction: &mut PgConnection,
        events: &[Appended],
        heads: &[Head],
    ) -> Result<(), StoreError> {
        self.note(events, heads);
        let about = |kind| events.iter().any(|event| event.stream.kind == kind);
        if about(AggregateType::Token) {
            self.tokens.apply_all(transaction, events).await?;
            self.tokens.write_all(transaction).await?;
        }
        if about(AggregateType::Key) {
            self.keys.apply_all(transaction, events).await?;
            self.keys.write_all(transaction).await?;
        }
        if about(AggregateType::Company) {
            self.companies.apply_all(transaction, events).await?;
            self.companies.write_all(transaction).await?;
            self.members.apply_all(transaction, events).await?;
            self.members.write_all(transaction).await?;
            self.clients.apply_all(transaction, events).await?;
            self.clients.write_all(transaction).await?;
        }
        Ok(())
    }

    fn insert(
        &mut self,
        events: &[Appended],
        head: &Head,
    ) -> Result<Option<Vec<Rows>>, StoreError> {
        if events.iter().any(|event| event.stream.kind != AggregateType::Token) {
            return Ok(None);
        }
        self.note(events, std::slice::from_ref(head));
        Ok(self.tokens.insert_all(events)?.map(|rows| vec![rows]))
    }

    fn committed(&mut self) {
        self.companies.rows().for_each(|row| self.index.apply_company(row));
        self.clients.rows().for_each(|row| self.index.apply_client(row));
        self.keys.rows().for_each(|row| self.index.apply_key(row));
        self.tokens.rows().for_each(|row| self.index.apply_token(row));
        for (company, (before, last)) in &self.appended {
            self.index.took_over(*company, *before, *last);
        }
        self.rolled_back();
    }

    /// What had happened before is not among the rows that were written now: the follower reads it.
    /// Where it takes too long, what was known before must no longer count by then.
    async fn recovered(&mut self, ledgers: &[(CompanyId, u64)]) -> bool {
        let index = &self.index;
        // Nobody asks a process that doesn't follow.
        let Some(bound) = index.freshness().bound() else { return true };
        let followed = async {
            while ledgers.iter().any(|(company, position)| index.cursor(*company) < *position) {
                tokio::time::sleep(LOOK).await;
            }
        };
        let is_followed = tokio::time::timeout(FOLLOWED, followed).await.is_ok();
        if !is_followed {
            tracing::warn!("the verification index was not brought up to date in time");
        }
        is_followed || bound <= FOLLOWED
    }

    fn rolled_back(&mut self) {
        self.tokens.clear();
        self.keys.clear();
        self.companies.clear();
        self.members.clear();
        self.clients.clear();
        self.appended.clear();
        if let Some(own) = self.own.take() {
            self.index.end_own(own);
        }
    }
}
