//! Things as they were: what their events up to some point make of them.

use super::{App, AppError};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use token_ledger_domain::company::Company;
use token_ledger_domain::{CompanyId, KeyId, MemberId, Timestamp, TokenId};
use token_ledger_event_store::{Appended, Executed, RecordedEvent, StoreError, StreamId};
use token_ledger_projections::clients::ClientRow;
use token_ledger_projections::companies::CompanyRow;
use token_ledger_projections::members::MemberRow;
use token_ledger_projections::read_models::{KeyRecord, TokenRecord};
use token_ledger_projections::{Clients, Companies, Keys, Members, Projection, Tokens};
use uuid::Uuid;

/// Events that are read at a time.
const PAGE: usize = 500;

/// Up to where events count.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// Up to this sequence of the stream.
    Sequence(u64),
    /// Up to this time.
    Time(Timestamp),
}

impl Until {
    fn includes(self, event: &RecordedEvent) -> bool {
        match self {
            Self::Sequence(sequence) => event.sequence <= sequence,
            Self::Time(time) => event.recorded_at <= time,
        }
    }
}

impl App {
    /// The events of a stream behind this sequence, in order, read as they are taken.
    pub(super) fn each_event(
        &self,
        company: CompanyId,
        stream: StreamId,
        sequence: u64,
    ) -> BoxStream<'_, Result<RecordedEvent, StoreError>> {
        let pages = stream::try_unfold(Some(sequence), move |sequence| async move {
            let Some(sequence) = sequence else { return Ok::<_, StoreError>(None) };
            let page = self.store().history(company, stream, sequence, PAGE).await?;
            let last = page.last().filter(|_| page.len() == PAGE).map(|event| event.sequence);
            Ok(Some((stream::iter(page).map(Ok), last)))
        });
        pages.try_flatten().boxed()
    }

    /// A token as it was at a time, up to which these events count; `None` before it existed. Of its
    /// uses only the last is known, which is left out where it was later.
    pub(super) async fn token_then(
        &self,
        company: CompanyId,
        id: TokenId,
        until: Until,
        at: Timestamp,
    ) -> Result<Option<TokenRecord>, StoreError> {
        let Some(row) = self.fold::<Tokens>(company, id.into(), until).await? else {
            return Ok(None);
        };
        let created_by_name = self.actor_name(company, row.created_position).await?;
        let now = self.read.token(company, id).await?;
        let used = now.filter(|now| now.last_used_at.is_some_and(|used| used <= at));
        let (last_used_at, last_used_from) =
            used.map_or((None, None), |used| (used.last_used_at, used.last_used_from));
        Ok(Some(TokenRecord { row, created_by_name, last_used_at, last_used_from }))
    }

    /// A key as it was; `None` before it existed.
    pub(super) async fn key_then(
        &self,
        company: CompanyId,
        id: KeyId,
        until: Until,
    ) -> Result<Option<KeyRecord>, StoreError> {
        let Some(row) = self.fold::<Keys>(company, id.into(), until).await? else {
            return Ok(None);
        };
        let created_by_name = self.actor_name(company, row.created_position).await?;
        Ok(Some(KeyRecord { row, created_by_name }))
    }

    /// A company as what was executed left it, whatever happened to it since.
    pub(super) async fn company_after(
        &self,
        id: CompanyId,
        executed: &Executed<Company>,
    ) -> Result<CompanyRow, StoreError> {
        let after = async {
            let sequence = sequence_after(executed);
            let current = self.read.company(id).await?.filter(|row| row.version <= sequence);
            if current.is_some() {
                return Ok(current);
            }
            self.company_then(id, Until::Sequence(sequence)).await
        };
        present(after.await, "company")
    }

    /// A company as it was; `None` before it existed.
    pub(super) async fn company_then(
        &self,
        id: CompanyId,
        until: Until,
    ) -> Result<Option<CompanyRow>, StoreError> {
        self.fold::<Companies>(id, id.into(), until).await
    }

    /// Whether a company's OAuth App module was on at a time, so that its tokens worked.
    ///
    /// # Errors
    /// When the events can't be read.
    pub async fn was_on(&self, company: CompanyId, at: Timestamp) -> Result<bool, AppError> {
        let then = self.company_then(company, Until::Time(at)).await?;
        Ok(then.is_some_and(|company| company.oauth_app_enabled))
    }

    /// The client that the event at this sequence of its company's stream is about, as it was right
    /// after it; `None` where the event is about no client.
    pub(super) async fn client_after(
        &self,
        company: CompanyId,
        sequence: u64,
    ) -> Result<Option<ClientRow>, StoreError> {
        self.part_after::<Clients>(company, sequence).await
    }

    /// A member as what was executed in the company left it, whatever happened to it since.
    pub(super) async fn member_left_by(
        &self,
        company: CompanyId,
        id: MemberId,
        executed: &Executed<Company>,
    ) -> Result<MemberRow, StoreError> {
        let after = async {
            let sequence = sequence_after(executed);
            let current = self.people.member(company, id).await?;
            let current = current.filter(|row| row.version <= sequence);
            if current.is_some() {
                return Ok(current);
            }
            self.member_then(company, id, Until::Sequence(sequence)).await
        };
        present(after.await, "member")
    }

    /// The member that the event at this sequence of its company's stream is about, as it was right
    /// after it; `None` where the event is about no member.
    pub(super) async fn member_after(
        &self,
        company: CompanyId,
        sequence: u64,
    ) -> Result<Option<MemberRow>, StoreError> {
        self.part_after::<Members>(company, sequence).await
    }

    /// A member as it was; `None` when it was none.
    pub(super) async fn member_then(
        &self,
        company: CompanyId,
        id: MemberId,
        until: Until,
    ) -> Result<Option<MemberRow>, StoreError> {
        self.part_then::<Members>(company, id.0, until).await
    }

    /// The part of a company that the event at this sequence is about, right after it.
    async fn part_after<P: Projection<Key = Uuid>>(
        &self,
        company: CompanyId,
        sequence: u64,
    ) -> Result<Option<P::Row>, StoreError> {
        let before = sequence.saturating_sub(1);
        let mut events = self.store().history(company, company.into(), before, 1).await?;
        let Some(event) = events.pop() else { return Ok(None) };
        let Some(id) = P::key(&event.appended()?) else { return Ok(None) };
        self.part_then::<P>(company, id, Until::Sequence(sequence)).await
    }

    /// A part of a company, whose events are the company's, as it was.
    async fn part_then<P: Projection<Key = Uuid>>(
        &self,
        company: CompanyId,
        id: Uuid,
        until: Until,
    ) -> Result<Option<P::Row>, StoreError> {
        let about = |event: &Appended| P::key(event) == Some(id);
        self.fold_those::<P>(company, company.into(), until, about).await
    }

    async fn fold<P: Projection>(
        &self,
        company: CompanyId,
        stream: StreamId,
        until: Until,
    ) -> Result<Option<P::Row>, StoreError> {
        self.fold_those::<P>(company, stream, until, |_| true).await
    }

    /// The row that those events of a stream make which are about it.
    async fn fold_those<P: Projection>(
        &self,
        company: CompanyId,
        stream: StreamId,
        until: Until,
        about: impl Fn(&Appended) -> bool + Send,
    ) -> Result<Option<P::Row>, StoreError> {
        let mut row = None;
        let mut events = self.each_event(company, stream, 0);
        while let Some(event) = events.try_next().await? {
            if !until.includes(&event) {
                break;
            }
            let appended = event.appended()?;
            if about(&appended) {
                row = P::apply(row, &appended).map_err(|misfit| misfit.at(&appended))?;
            }
        }
        Ok(row)
    }

    async fn actor_name(
        &self,
        company: CompanyId,
        position: u64,
    ) -> Result<Option<String>, StoreError> {
        let mut parts = self.store().private_parts(company, &[position]).await?;
        Ok(parts.pop().flatten().and_then(|stored| stored.part().actor_name))
    }
}

/// What a change that stands left behind, which is there unless we fail.
fn present<R>(found: Result<Option<R>, StoreError>, what: &str) -> Result<R, StoreError> {
    let missing = || StoreError::Rejected(format!("no row of a {what}"));
    found.and_then(|row| row.ok_or_else(missing)).map_err(StoreError::after_change)
}

/// The company's sequence after what was executed, now or the first time.
const fn sequence_after(executed: &Executed<Company>) -> u64 {
    match executed {
        Executed::Done { sequence, .. } => *sequence,
        Executed::Repeated(replay) => replay.sequence,
    }
}
