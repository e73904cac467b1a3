//! What a company's events come to, by the domain's own functions and nothing of the projections.

use std::collections::{BTreeMap, BTreeSet};
use token_ledger_domain::company::{self, Company, CompanyEvent};
use token_ledger_domain::key::{self, Key, KeyEvent};
use token_ledger_domain::token::{self, Token, TokenEvent};
use token_ledger_domain::{
    Actor, ClientId, CompanyId, Digest, KeyId, LedgerEvent, MemberId, Timestamp, TokenId,
};
use token_ledger_event_store::{Appended, RecordedEvent};
use token_ledger_projections::audit::AuditRow;
use token_ledger_projections::clients::ClientRow;
use token_ledger_projections::companies::CompanyRow;
use token_ledger_projections::index::{ActiveKey, ActiveToken};
use token_ledger_projections::keys::KeyRow;
use token_ledger_projections::members::MemberRow;
use token_ledger_projections::tokens::{PreviousSecret, Status, TokenRow};

/// The aggregates of one company, and the rows that they amount to.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    pub tokens: BTreeMap<TokenId, (Token, TokenRow)>,
    pub keys: BTreeMap<KeyId, (Key, KeyRow)>,
    pub company: Company,
    pub company_row: Option<CompanyRow>,
    pub members: BTreeMap<MemberId, MemberRow>,
    pub clients: BTreeMap<ClientId, ClientRow>,
    pub audit: Vec<AuditRow>,
    /// Every secret that tokens ever had.
    pub token_secrets: BTreeMap<Digest, TokenId>,
    /// Every secret that keys ever had.
    pub key_secrets: BTreeSet<Digest>,
    lives: BTreeMap<uuid::Uuid, Life>,
}

/// What happened to a token or key, beside its state.
#[derive(Clone, Debug)]
struct Life {
    company: CompanyId,
    created_at: Timestamp,
    created_by: Actor,
    created_position: u64,
    refreshed_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
    issued: BTreeMap<Digest, Timestamp>,
    version: u64,
    position: u64,
}

impl Folded {
    pub fn of(events: &[RecordedEvent]) -> Self {
        let mut folded = Self::default();
        for event in events {
            folded.take(&event.appended().expect("an event that can be decoded"));
        }
        folded
    }

    fn take(&mut self, event: &Appended) {
        self.audit.push(AuditRow {
            company_id: event.company,
            position: event.position,
            aggregate_type: event.event.aggregate_type(),
            aggregate_id: event.stream.id,
            event_type: event.event.type_name().to_owned(),
            actor: event.actor,
            recorded_at: event.recorded_at,
        });
        match &*event.event {
            LedgerEvent::Token(change) => self.take_token(event, change),
            LedgerEvent::Key(change) => self.take_key(event, change),
            LedgerEvent::Company(change) => self.take_company(event, change),
        }
    }

    fn live(&mut self, event: &Appended) -> &mut Life {
        let life = self.lives.entry(event.stream.id).or_insert_with(|| Life {
            company: event.company,
            created_at: event.recorded_at,
            created_by: event.actor,
            created_position: event.position,
            refreshed_at: None,
            deleted_at: None,
            issued: BTreeMap::new(),
            version: 0,
            position: 0,
        });
        assert_eq!(event.sequence, life.version + 1, "sequences have no gap");
        life.version = event.sequence;
        life.position = event.position;
        life
    }

    fn take_token(&mut self, event: &Appended, change: &TokenEvent) {
        let id = TokenId(event.stream.id);
        let life = self.live(event);
        match change {
            TokenEvent::Created { secret, .. } => {
                life.issued.insert(secret.digest, event.recorded_at);
            }
            TokenEvent::Refreshed { secret, .. } => {
                life.issued.insert(secret.digest, event.recorded_at);
                life.refreshed_at = Some(event.recorded_at);
            }
            TokenEvent::Deleted {} => life.deleted_at = Some(event.recorded_at),
            _ => {}
        }
        let life = life.clone();
        self.token_secrets.extend(life.issued.keys().map(|digest| (*digest, id)));
        let before = self.tokens.remove(&id).map(|(state, _)| state).unwrap_or_default();
        let state = token::evolve(before, change.clone());
        let row = token_row(id, &state, &life);
        self.tokens.insert(id, (state, row));
    }

    fn take_key(&mut self, event: &Appended, change: &KeyEvent) {
        let id = KeyId(event.stream.id);
        let life = self.live(event);
        match change {
            KeyEvent::Created { secret, .. } => {
                life.issued.insert(secret.digest, event.recorded_at);
            }
            KeyEvent::Refreshed { secret, .. } => {
                life.issued.insert(secret.digest, event.recorded_at);
                life.refreshed_at = Some(event.recorded_at);
            }
            KeyEvent::Deleted {} => life.deleted_at = Some(event.recorded_at),
            KeyEvent::Expired { .. } => {}
        }
        let life = life.clone();
        self.key_secrets.extend(life.issued.keys());
        let before = self.keys.remove(&id).map(|(state, _)| state).unwrap_or_default();
        let state = key::evolve(before, change.clone());
        let row = key_row(id, &state, &life);
        self.keys.insert(id, (state, row));
    }

    fn take_company(&mut self, event: &Appended, change: &CompanyEvent) {
        self.company = company::evolve(std::mem::take(&mut self.company), change.clone());
        let before = self.company_row.as_ref();
        let created_at = before.map_or(event.recorded_at, |row| row.created_at);
        let is_own = matches!(
            change,
            CompanyEvent::Registered { .. }
                | CompanyEvent::OauthAppEnabled {}
                | CompanyEvent::OauthAppDisabled {}
                | CompanyEvent::PolicyChanged { .. }
        );
        let version = before.filter(|_| !is_own).map_or(event.sequence, |row| row.version);
        self.company_row = Some(CompanyRow {
            company_id: event.company,
            name: self.company.name.clone().expect("it was registered"),
            oauth_app_enabled: self.company.oauth_app_enabled,
            policy: self.company.policy.clone(),
            created_at,
            version,
            position: event.position,
        });
        match change {
            CompanyEvent::MemberAdded { member_id, .. }
            | CompanyEvent::MemberRoleChanged { member_id, .. }
            | CompanyEvent::MemberRemoved { member_id } => self.take_member(event, *member_id),
            CompanyEvent::ClientCreated { client_id, .. } => {
                self.clients.remove(client_id);
                self.take_client(event, *client_id);
            }
            CompanyEvent::ClientRotated { client_id, .. } => {
                self.take_client(event, *client_id);
                let row = self.clients.get_mut(client_id).expect("a client");
                row.rotated_at = Some(event.recorded_at);
            }
            CompanyEvent::ClientDeleted { client_id } => {
                let row = self.clients.get_mut(client_id).expect("a client");
                row.deleted_at = Some(event.recorded_at);
                (row.version, row.position) = (event.sequence, event.position);
            }
            _ => {}
        }
    }

    fn take_member(&mut self, event: &Appended, id: MemberId) {
        let before = self.members.remove(&id);
        let Some(member) = self.company.members.get(&id) else { return };
        self.members.insert(
            id,
            MemberRow {
                company_id: event.company,
                member_id: id,
                person_id: member.person_id,
                role: member.role,
                added_at: before.map_or(event.recorded_at, |row| row.added_at),
                version: event.sequence,
                position: event.position,
            },
        );
    }

    fn take_client(&mut self, event: &Appended, id: ClientId) {
        let before = self.clients.remove(&id);
        let client = self.company.clients.get(&id).expect("a client");
        self.clients.insert(
            id,
            ClientRow {
                company_id: event.company,
                client_id: id,
                name: client.name.clone(),
                scopes: client.scopes.clone(),
                digest: client.secret.digest,
                hint: client.secret.hint.clone(),
                previous: client.previous.as_ref().map(|(secret, end)| (secret.digest, *end)),
                created_at: before.map_or(event.recorded_at, |row| row.created_at),
                rotated_at: None,
                deleted_at: None,
                version: event.sequence,
                position: event.position,
            },
        );
    }

    /// How many rows all of it comes to.
    pub fn row_count(&self) -> usize {
        let rows = [self.tokens.len(), self.keys.len(), self.members.len(), self.clients.len()];
        rows.into_iter().sum::<usize>() + usize::from(self.company.exists()) + self.audit.len()
    }

    /// What a token's secret opens at a time: nothing unless the token is active, the company's
    /// module is on and the secret has not ended.
    pub fn active_token(&self, digest: Digest, now: Timestamp) -> Option<ActiveToken> {
        let id = *self.token_secrets.get(&digest)?;
        let (Token::Active(grant), row) = self.tokens.get(&id)? else { return None };
        let end = if grant.term.secret.digest == digest {
            grant.term.expires_at
        } else {
            let previous = grant.term.previous.as_ref()?;
            (previous.secret.digest == digest).then_some(previous.expires_at)?
        };
        if !self.company.oauth_app_enabled || now >= end {
            return None;
        }
        // What a client got ends with the client, before its tokens are deleted one by one.
        if grant.client_id.is_some_and(|client| !self.company.clients.contains_key(&client)) {
            return None;
        }
        let issued_at = self.lives[&id.0].issued[&digest].as_seconds();
        Some(ActiveToken {
            token_id: id,
            company_id: row.company_id,
            scopes: grant.scopes.to_string().into(),
            client_id: grant.client_id,
            issued_at: u32::try_from(issued_at).expect("a time of this century"),
            expires_at: end,
            use_is_due: true,
        })
    }

    /// What a key's secret opens at a time.
    pub fn active_key(&self, digest: Digest, now: Timestamp) -> Option<ActiveKey> {
        self.keys.iter().find_map(|(id, (state, row))| {
            let Key::Active(grant) = state else { return None };
            let previous =
                grant.term.previous.iter().map(|old| (old.secret.digest, old.expires_at));
            let (_, expires_at) = [(grant.term.secret.digest, grant.term.expires_at)]
                .into_iter()
                .chain(previous)
                .find(|(own, end)| *own == digest && now < *end)?;
            Some(ActiveKey {
                key_id: *id,
                company_id: row.company_id,
                name: grant.name.clone(),
                scopes: grant.scopes.clone(),
                expires_at,
            })
        })
    }

    /// The instants at which secrets end.
    pub fn ends(&self) -> BTreeSet<Timestamp> {
        let tokens = self.tokens.values().flat_map(|(_, row)| {
            [Some(row.expires_at), row.previous.map(|previous| previous.expires_at)]
        });
        let keys = self
            .keys
            .values()
            .flat_map(|(_, row)| [Some(row.expires_at), row.previous.map(|(_, end)| end)]);
        tokens.chain(keys).flatten().collect()
    }
}

fn token_row(id: TokenId, state: &Token, life: &Life) -> TokenRow {
    let grant = state.grant().expect("it was created");
    TokenRow {
        company_id: life.company,
        token_id: id,
        name: grant.name.clone(),
        scopes: grant.scopes.clone(),
        status: match state {
            Token::Absent | Token::Active(_) => Status::Active,
            Token::Expired(_) => Status::Expired,
            Token::Deleted(_) => Status::Deleted,
        },
        client_id: grant.client_id,
        term: grant.term.number,
        digest: grant.term.secret.digest,
        hint: grant.term.secret.hint.clone(),
        expires_at: grant.term.expires_at,
        issued_at: life.issued[&grant.term.secret.digest],
        previous: grant.term.previous.as_ref().map(|previous| PreviousSecret {
            digest: previous.secret.digest,
            expires_at: previous.expires_at,
            issued_at: life.issued[&previous.secret.digest],
        }),
        created_at: life.created_at,
        created_by: life.created_by,
        created_position: life.created_position,
        refreshed_at: life.refreshed_at,
        deleted_at: life.deleted_at,
        version: life.version,
        position: life.position,
    }
}

fn key_row(id: KeyId, state: &Key, life: &Life) -> KeyRow {
    let grant = state.grant().expect("it was created");
    let previous = grant.term.previous.as_ref();
    KeyRow {
        company_id: life.company,
        key_id: id,
        name: grant.name.clone(),
        scopes: grant.scopes.clone(),
        status: match state {
            Key::Absent | Key::Active(_) => Status::Active,
            Key::Expired(_) => Status::Expired,
            Key::Deleted(_) => Status::Deleted,
        },
        term: grant.term.number,
        digest: grant.term.secret.digest,
        hint: grant.term.secret.hint.clone(),
        expires_at: grant.term.expires_at,
        previous: previous.map(|previous| (previous.secret.digest, previous.expires_at)),
        created_at: life.created_at,
        created_by: life.created_by,
        created_position: life.created_position,
        refreshed_at: life.refreshed_at,
        deleted_at: life.deleted_at,
        version: life.version,
        position: life.position,
    }
}
