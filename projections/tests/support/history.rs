//! Random histories: what people might ask of some companies, one thing after the other.

use super::{DAY, Fixture, Given, client, member, name, secret};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use std::fmt::Debug;
use token_ledger_domain::company::{Company, CompanyCommand};
use token_ledger_domain::key::{Key, KeyCommand};
use token_ledger_domain::policy::Policy;
use token_ledger_domain::power::KeyScopes;
use token_ledger_domain::token::{Create, Refresh, Token, TokenCommand};
use token_ledger_domain::{
    ClientId, CompanyId, KeyId, KeyScope, MemberId, PersonId, Power, Role, ScopeSet, TokenId,
};
use token_ledger_event_store::{Clock, ExecuteError, Request, StoreError};
use uuid::Uuid;

/// How many companies a history is about.
const COMPANIES: usize = 3;

/// One thing that is asked. Where it means one of several, a number picks it.
#[derive(Clone, Debug)]
pub enum Step {
    Token { by: u64, which: usize, ask: Ask },
    AllTokens { company: usize, ask: Ask },
    Key { by: u64, which: usize, ask: Ask },
    NewToken { by: u64, company: usize, scopes: u8, validity: Option<i64>, client: Option<u128> },
    NewKey { by: u64, company: usize, scopes: u8, validity: Option<i64> },
    Module { company: usize, enabled: bool },
    Policy { company: usize, max_validity: i64, max_grace: i64, allowed: Option<u8> },
    Member { company: usize, number: u128, ask: MemberAsk },
    Client { company: usize, number: u128, ask: ClientAsk },
    ErasePerson { company: usize, number: u128 },
    Clock { seconds: i64 },
}

/// What is asked of a token, or of a key where keys know such a thing.
#[derive(Clone, Debug)]
pub enum Ask {
    Refresh { validity: Option<i64>, grace: i64 },
    EndGrace,
    ChangeScopes { scopes: u8 },
    Delete,
    Expire,
}

#[derive(Clone, Debug)]
pub enum MemberAsk {
    Add(Role),
    Change(Role),
    Remove,
}

#[derive(Clone, Debug)]
pub enum ClientAsk {
    Create { scopes: u8 },
    Rotate { grace: i64 },
    Delete,
}

/// Histories of up to that many steps.
pub fn histories(steps: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..=steps)
}

fn step() -> impl Strategy<Value = Step> {
    let by = 0..4_u64;
    let company = 0..COMPANIES;
    let one = any::<u16>().prop_map(usize::from);
    prop_oneof![
        5 => (by.clone(), company.clone(), 1..8_u8, validity(), option::of(0..3_u128)).prop_map(
            |(by, company, scopes, validity, client)| {
                Step::NewToken { by, company, scopes, validity, client }
            }
        ),
        8 => (by.clone(), one.clone(), ask())
            .prop_map(|(by, which, ask)| Step::Token { by, which, ask }),
        2 => (company.clone(), ask()).prop_map(|(company, ask)| Step::AllTokens { company, ask }),
        2 => (by.clone(), company.clone(), 1..8_u8, validity()).prop_map(
            |(by, company, scopes, validity)| Step::NewKey { by, company, scopes, validity }
        ),
        4 => (by, one, ask()).prop_map(|(by, which, ask)| Step::Key { by, which, ask }),
        2 => (company.clone(), any::<bool>())
            .prop_map(|(company, enabled)| Step::Module { company, enabled }),
        1 => (
            company.clone(),
            select(vec![60, DAY, 30 * DAY]),
            select(vec![0, 3600, 30 * DAY]),
            option::of(1..8_u8),
        )
            .prop_map(|(company, max_validity, max_grace, allowed)| Step::Policy {
                company, max_validity, max_grace, allowed
            }),
        5 => (company.clone(), 0..3_u128, member_ask())
            .prop_map(|(company, number, ask)| Step::Member { company, number, ask }),
        5 => (company.clone(), 0..2_u128, client_ask())
            .prop_map(|(company, number, ask)| Step::Client { company, number, ask }),
        1 => (company, 0..3_u128)
            .prop_map(|(company, number)| Step::ErasePerson { company, number }),
        4 => select(vec![-400, -200, -1, 1, 59, 60, 3600, DAY, 8 * DAY])
            .prop_map(|seconds| Step::Clock { seconds }),
    ]
}

fn validity() -> impl Strategy<Value = Option<i64>> {
    option::of(select(vec![59, 60, 3600, DAY, 7 * DAY, 8 * DAY]))
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        4 => (validity(), select(vec![0, 30, 3600, DAY, DAY + 1]))
            .prop_map(|(validity, grace)| Ask::Refresh { validity, grace }),
        1 => Just(Ask::EndGrace),
        2 => (1..8_u8).prop_map(|scopes| Ask::ChangeScopes { scopes }),
        1 => Just(Ask::Delete),
        1 => Just(Ask::Expire),
    ]
}

fn member_ask() -> impl Strategy<Value = MemberAsk> {
    let role = select(vec![Role::Auditor, Role::SuperAdmin]);
    prop_oneof![
        2 => role.clone().prop_map(MemberAsk::Add),
        1 => role.prop_map(MemberAsk::Change),
        1 => Just(MemberAsk::Remove),
    ]
}

fn client_ask() -> impl Strategy<Value = ClientAsk> {
    prop_oneof![
        2 => (1..8_u8).prop_map(|scopes| ClientAsk::Create { scopes }),
        1 => select(vec![0, 3600]).prop_map(|grace| ClientAsk::Rotate { grace }),
        1 => Just(ClientAsk::Delete),
    ]
}

/// Some of three scopes, bit by bit.
fn some_scopes(bits: u8) -> ScopeSet {
    ["employees", "locations", "positions"]
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, scope)| scope.parse().expect("a scope"))
        .collect()
}

fn some_key_scopes(bits: u8) -> KeyScopes {
    [KeyScope::Admin, KeyScope::Audit, KeyScope::Introspect]
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, scope)| scope)
        .collect()
}

/// The companies of a history.
pub fn companies() -> impl Iterator<Item = CompanyId> {
    (0..COMPANIES).map(company)
}

fn company(number: usize) -> CompanyId {
    CompanyId(Uuid::from_u128(0x100 + number as u128))
}

/// A history in the making.
pub struct Player<'a, F> {
    given: &'a Given<F>,
    tokens: Vec<(CompanyId, TokenId)>,
    keys: Vec<(CompanyId, KeyId)>,
    secrets: u32,
}

impl<'a, F: Fixture> Player<'a, F> {
    /// With the companies registered.
    pub async fn new(given: &'a Given<F>) -> Self {
        for company in companies() {
            given.register(company).await;
        }
        Self { given, tokens: Vec::new(), keys: Vec::new(), secrets: 0 }
    }

    /// Does what is asked, unless it is refused.
    pub async fn play(&mut self, step: &Step) {
        match step.clone() {
            Step::NewToken { by, company: number, scopes, validity, client: number_of_client } => {
                let id = TokenId(self.given.new_id());
                let secret = self.new_secret();
                self.tokens.push((company(number), id));
                let create = TokenCommand::Create(Create {
                    name: name(&secret.hint),
                    scopes: some_scopes(scopes),
                    secret,
                    validity_seconds: validity,
                    client_id: number_of_client.map(|own| client_of(number, own)),
                });
                self.token(by, company(number), id, create).await;
            }
            Step::NewKey { by, company: number, scopes, validity } => {
                let id = KeyId(self.given.new_id());
                let secret = self.new_secret();
                self.keys.push((company(number), id));
                let create = KeyCommand::Create {
                    name: name(&secret.hint),
                    scopes: some_key_scopes(scopes),
                    secret,
                    validity_seconds: validity,
                };
                self.key(by, company(number), id, create).await;
            }
            Step::Token { by, which, ask } => {
                let Some((company, id)) = pick(&self.tokens, which) else { return };
                let command = self.token_command(&ask);
                self.token(by, company, id, command).await;
            }
            Step::Key { by, which, ask } => {
                let Some((company, id)) = pick(&self.keys, which) else { return };
                let Some(command) = self.key_command(&ask) else { return };
                self.key(by, company, id, command).await;
            }
            Step::AllTokens { company: number, ask } => {
                self.all_tokens(company(number), &ask).await;
            }
            Step::Clock { seconds } => {
                let clock = &self.given.clock;
                clock.set(clock.now().plus_seconds(seconds));
            }
            _ => self.play_company(step.clone()).await,
        }
    }

    async fn play_company(&mut self, step: Step) {
        match step {
            Step::Module { company: number, enabled } => {
                self.company(number, CompanyCommand::SetOauthApp { enabled }).await;
            }
            Step::Policy { company: number, max_validity, max_grace, allowed } => {
                let policy = Policy {
                    max_validity_seconds: max_validity,
                    max_grace_seconds: max_grace,
                    allowed_scopes: allowed.map(some_scopes),
                };
                self.company(number, CompanyCommand::ChangePolicy { policy }).await;
            }
            Step::Member { company: number, number: id, ask } => {
                let member_id = MemberId(Uuid::from_u128(0xD000 + id));
                let person_id = PersonId(Uuid::from_u128(0xE000 + id));
                let command = match ask {
                    MemberAsk::Add(role) => {
                        CompanyCommand::AddMember { member_id, person_id, role, platform: false }
                    }
                    MemberAsk::Change(role) => {
                        CompanyCommand::ChangeRole { member_id, role, platform: false }
                    }
                    MemberAsk::Remove => CompanyCommand::RemoveMember { member_id },
                };
                self.company(number, command).await;
            }
            Step::Client { company: number, number: id, ask } => {
                let client_id = client_of(number, id);
                let secret = self.new_secret();
                let command = match ask {
                    ClientAsk::Create { scopes } => CompanyCommand::CreateClient {
                        client_id,
                        name: name(&secret.hint),
                        scopes: some_scopes(scopes),
                        secret,
                    },
                    ClientAsk::Rotate { grace } => {
                        CompanyCommand::RotateClient { client_id, secret, grace_seconds: grace }
                    }
                    ClientAsk::Delete => CompanyCommand::DeleteClient { client_id },
                };
                self.company(number, command).await;
            }
            Step::ErasePerson { company: number, number: id } => {
                let person_id = PersonId(Uuid::from_u128(0xE000 + id));
                self.company(number, CompanyCommand::ErasePerson { person_id }).await;
            }
            other => unreachable!("{other:?} is not asked of a company"),
        }
    }

    fn new_secret(&mut self) -> token_ledger_domain::StoredSecret {
        self.secrets += 1;
        secret(&format!("{:04}", self.secrets))
    }

    fn token_command(&mut self, ask: &Ask) -> TokenCommand {
        match ask {
            Ask::Refresh { validity, grace } => TokenCommand::Refresh(Refresh {
                secret: self.new_secret(),
                validity_seconds: *validity,
                grace_seconds: *grace,
            }),
            Ask::EndGrace => TokenCommand::EndGrace,
            Ask::ChangeScopes { scopes } => {
                TokenCommand::ChangeScopes { scopes: some_scopes(*scopes) }
            }
            Ask::Delete => TokenCommand::Delete,
            Ask::Expire => TokenCommand::Expire { term: 1 },
        }
    }

    fn key_command(&mut self, ask: &Ask) -> Option<KeyCommand> {
        match ask {
            Ask::Refresh { validity, grace } => Some(KeyCommand::Refresh {
                secret: self.new_secret(),
                validity_seconds: *validity,
                grace_seconds: *grace,
                shown: None,
            }),
            Ask::Delete => Some(KeyCommand::Delete),
            Ask::Expire => Some(KeyCommand::Expire { term: 1 }),
            Ask::EndGrace | Ask::ChangeScopes { .. } => None,
        }
    }

    async fn token(&self, by: u64, company: CompanyId, id: TokenId, command: TokenCommand) {
        let request = Request::new(id.0, command);
        let ledger = &self.given.ledger;
        let power = Power::SuperAdmin;
        assert_ours(ledger.execute::<Token>(company, power, &member(by), request).await);
    }

    async fn key(&self, by: u64, company: CompanyId, id: KeyId, command: KeyCommand) {
        let request = Request::new(id.0, command);
        let ledger = &self.given.ledger;
        let power = Power::SuperAdmin;
        assert_ours(ledger.execute::<Key>(company, power, &member(by), request).await);
    }

    async fn company(&self, number: usize, command: CompanyCommand) {
        let id = company(number);
        let request = Request::new(id.0, command);
        let ledger = &self.given.ledger;
        assert_ours(ledger.execute::<Company>(id, Power::SuperAdmin, &member(0), request).await);
    }

    /// The same of all tokens of a company, in one transaction.
    async fn all_tokens(&mut self, company: CompanyId, ask: &Ask) {
        let own: Vec<TokenId> =
            self.tokens.iter().filter(|(owner, _)| *owner == company).map(|(_, id)| *id).collect();
        let requests: Vec<_> =
            own.into_iter().map(|id| Request::new(id.0, self.token_command(ask))).collect();
        let ledger = &self.given.ledger;
        let answers = ledger
            .execute_many::<Token>(company, Power::SuperAdmin, &member(0), &requests)
            .await
            .expect("answers");
        answers.into_iter().for_each(assert_ours);
    }
}

fn pick<T: Copy>(list: &[T], which: usize) -> Option<T> {
    (!list.is_empty()).then(|| list[which % list.len()])
}

/// Refusals are the rules at work, also that of a clock that went too far back.
fn assert_ours<T: Debug, R: Debug>(outcome: Result<T, ExecuteError<R>>) {
    match outcome {
        Ok(_)
        | Err(ExecuteError::Refused(_) | ExecuteError::Failed(StoreError::ClockBehind { .. })) => {}
        Err(other) => panic!("{other:?}"),
    }
}

/// A company's client by its number there: a client's identifier is its company's alone.
fn client_of(company: usize, number: u128) -> ClientId {
    client(number + 0x100 * company as u128)
}
