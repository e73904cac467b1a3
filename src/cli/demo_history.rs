//! The demo's made-up history: six weeks of a company, lived through by the same use cases as any.

use super::demo_script::{
    COMPANY, KEYS, Life, OPERATOR, PEOPLE, POLICIES, Person, Plan, TOKENS, Token as TokenPlan, When,
};
use crate::app::keys::{NewKey, Renewal};
use crate::app::members::NewMember;
use crate::app::standing::Shown;
use crate::app::tokens::NewToken;
use crate::app::{App, AppError, Caller, Conditions};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use token_ledger_domain::company::CompanyCommand;
use token_ledger_domain::{
    Actor, ActorType, CompanyId, MemberId, Name, Policy, Power, Role, Timestamp, TokenId,
};
use token_ledger_event_store::Moment;
use token_ledger_event_store::clock::SetClock;
use token_ledger_projections::index::Use;
use token_ledger_projections::read_models::{TokenFilter, TokenPage, TokenSort};
use token_ledger_projections::tokens::Status;

/// How far back the history begins.
pub(super) const DAYS: i64 = 42;
const DAY: i64 = 86_400;
/// How long after the end of a term it is recorded.
const SWEEP_SECONDS: i64 = 1;
/// More tokens than the history has.
const ALL: usize = 1000;

/// What happens next.
enum Step {
    Join(&'static Person),
    Promote(&'static Person),
    Key(&'static Plan),
    Policy(Policy),
    Create(&'static TokenPlan),
    Refresh(TokenId, &'static TokenPlan),
    Rescope(TokenId, &'static TokenPlan),
    Delete(TokenId, &'static TokenPlan),
    Sweep,
}

/// A history in the making.
struct History<'a> {
    app: &'a App,
    clock: &'a SetClock,
    company: CompanyId,
    begin: Timestamp,
    end: Timestamp,
    /// What is to come, in order of time.
    steps: BTreeMap<(Timestamp, u32), Step>,
    count: u32,
    /// Who can act by now, by name.
    callers: BTreeMap<&'static str, Caller>,
    members: BTreeMap<&'static str, token_ledger_domain::MemberId>,
}

/// Makes the company and lets its history happen up to `end`.
pub(super) async fn make(
    app: &Arc<App>,
    clock: &SetClock,
    end: Timestamp,
) -> Result<CompanyId, AppError> {
    let midnight = end.as_seconds().div_euclid(DAY) * DAY;
    let begin = Timestamp::from_micros(midnight * 1_000_000).plus_seconds(-DAYS * DAY);
    clock.set(begin.plus_seconds(8 * 3600));
    app.ensure_platform().await?;
    let name = Name::new(COMPANY).map_err(|error| AppError::invalid("name", error.to_string()))?;
    let operator = Caller::command_line(CompanyId::PLATFORM);
    let registered = app.register_company(&operator, name.to_string(), Conditions::default());
    let company = CompanyId(registered.await?.view.company_id);
    let caller = Caller { company, ..operator.clone() };
    app.set_oauth_app(&caller, true, None, Conditions::default()).await?;
    let input = NewMember {
        email: OPERATOR.1.to_owned(),
        role: Role::Operator.to_string(),
        name: Some(OPERATOR.0.to_owned()),
        reason: None,
    };
    app.add_member(&operator, input, Conditions::default()).await?;
    let mut history = History {
        app,
        clock,
        company,
        begin,
        end,
        steps: BTreeMap::new(),
        count: 0,
        callers: BTreeMap::new(),
        members: BTreeMap::new(),
    };
    history.plan();
    while let Some(((at, _), step)) = history.steps.pop_first() {
        clock.set(at);
        history.take(step).await?;
    }
    clock.set(end);
    history.use_tokens().await?;
    Ok(company)
}

impl History<'_> {
    fn plan(&mut self) {
        for person in PEOPLE {
            self.at(person.joins, Step::Join(person));
            if let Some(promoted) = person.promoted {
                self.at(promoted, Step::Promote(person));
            }
        }
        for key in KEYS {
            self.at(key.at, Step::Key(key));
        }
        for (when, policy) in POLICIES {
            self.at(*when, Step::Policy(policy.clone()));
        }
        for token in TOKENS {
            self.at(token.created, Step::Create(token));
        }
    }

    fn at(&mut self, when: When, step: Step) {
        let at = match when {
            When::Day(day, hour, minute) => self.begin.plus_seconds(
                i64::from(day) * DAY + i64::from(hour) * 3600 + i64::from(minute) * 60,
            ),
            When::MinutesAgo(minutes) => self.end.plus_seconds(-60 * minutes),
        };
        self.push(at, step);
    }

    /// Lets something happen about then, if that is not in the future.
    fn push(&mut self, at: Timestamp, step: Step) {
        self.count += 1;
        // Nothing happens on the full second.
        let odd = i64::from(self.count) * 7_919_131 % 41_000_000;
        let at = Timestamp::from_micros(at.as_micros() + odd);
        if at < self.end {
            self.steps.insert((at, self.count), step);
        }
    }

    fn caller(&self, name: &str) -> Result<Caller, AppError> {
        let caller = self.callers.get(name).ok_or(AppError::NotFound("member"))?;
        Ok(Caller { request_id: Some(self.app.new_id().to_string()), ..caller.clone() })
    }

    async fn take(&mut self, step: Step) -> Result<(), AppError> {
        match step {
            Step::Join(person) => self.join(person).await,
            Step::Promote(person) => {
                let member_id =
                    *self.members.get(person.name).ok_or(AppError::NotFound("member"))?;
                let (role, platform) = (Role::SuperAdmin, false);
                let command = CompanyCommand::ChangeRole { member_id, role, platform };
                self.app.change_company(&self.caller(PEOPLE[0].name)?, command).await
            }
            Step::Key(plan) => self.create_key(plan).await,
            Step::Policy(policy) => {
                let command = CompanyCommand::ChangePolicy { policy };
                self.app.change_company(&self.caller(PEOPLE[0].name)?, command).await
            }
            Step::Create(plan) => self.create(plan).await,
            Step::Refresh(id, plan) => self.refresh(id, plan).await,
            Step::Rescope(id, plan) => self.rescope(id, plan).await,
            Step::Delete(id, plan) => self.delete(id, plan).await,
            Step::Sweep => Ok(self.app.expire_due().await?),
        }
    }

    async fn join(&mut self, person: &'static Person) -> Result<(), AppError> {
        let by = match self.callers.get(PEOPLE[0].name) {
            Some(first) => first.clone(),
            None => Caller::command_line(self.company),
        };
        let input = NewMember {
            email: person.email.to_owned(),
            role: person.role.to_string(),
            name: Some(person.name.to_owned()),
            reason: None,
        };
        let member = self.app.add_member(&by, input, Conditions::default()).await?.view;
        let member = MemberId(member.member_id);
        self.members.insert(person.name, member);
        let caller = Caller {
            company: self.company,
            power: Power::SuperAdmin,
            actor: Actor { kind: ActorType::Member, id: member.0 },
            name: Some(person.name.to_owned()),
            shown: Shown::Nothing,
            let_through_at: Moment::now(),
            credential: member.to_string(),
            request_id: None,
            ip: Some(person.ip.to_owned()),
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0".to_owned()),
        };
        self.callers.insert(person.name, caller);
        Ok(())
    }

    async fn create_key(&mut self, plan: &'static Plan) -> Result<(), AppError> {
        let input = NewKey {
            name: plan.name.to_owned(),
            scopes: vec![plan.scope.to_owned()],
            ..NewKey::default()
        };
        let by = self.caller(PEOPLE[0].name)?;
        let key = self.app.create_key(&by, input, Conditions::default()).await?.view;
        let caller = Caller {
            actor: Actor { kind: ActorType::Key, id: key.key_id },
            name: Some(plan.name.to_owned()),
            credential: key.key_id.to_string(),
            ip: Some("198.51.100.23".to_owned()),
            user_agent: Some("acme-automation/2.4".to_owned()),
            ..by
        };
        self.callers.insert(plan.name, caller);
        Ok(())
    }

    async fn create(&mut self, plan: &'static TokenPlan) -> Result<(), AppError> {
        let input = NewToken {
            name: plan.name.to_owned(),
            scopes: self.scopes(plan.scopes),
            expires_in_seconds: plan.days.map(|days| days * DAY),
            client_id: None,
            reason: None,
        };
        let caller = self.caller(plan.by)?;
        let token = self.app.create_token(&caller, input, Conditions::default()).await?.view;
        let id = TokenId(token.token_id);
        self.push(token.expires_at.plus_seconds(SWEEP_SECONDS), Step::Sweep);
        let later = |days: i64| self.clock_now().plus_seconds(days * DAY + 1800);
        match plan.life {
            Life::Lapses => {}
            Life::Renewed { every, .. } => self.push(later(every), Step::Refresh(id, plan)),
            Life::Rescoped { after, .. } => self.push(later(after), Step::Rescope(id, plan)),
            Life::Deleted { after, .. } => self.push(later(after), Step::Delete(id, plan)),
        }
        Ok(())
    }

    async fn refresh(&mut self, id: TokenId, plan: &'static TokenPlan) -> Result<(), AppError> {
        let Life::Renewed { every, grace_hours, by } = plan.life else { return Ok(()) };
        let renewal = Renewal {
            grace_period_seconds: grace_hours * 3600,
            expires_in_seconds: plan.days.map(|days| days * DAY),
            reason: None,
        };
        let caller = self.caller(by)?;
        let token = self.app.refresh_token(&caller, id, renewal, Conditions::default()).await?.view;
        self.push(token.expires_at.plus_seconds(SWEEP_SECONDS), Step::Sweep);
        self.push(self.clock_now().plus_seconds(every * DAY), Step::Refresh(id, plan));
        Ok(())
    }

    async fn rescope(&mut self, id: TokenId, plan: &'static TokenPlan) -> Result<(), AppError> {
        let Life::Rescoped { to, reason, .. } = plan.life else { return Ok(()) };
        let caller = self.caller(plan.by)?;
        let reason = Some(reason.to_owned());
        self.app
            .change_scopes(&caller, id, &self.scopes(to), reason, Conditions::default())
            .await?;
        Ok(())
    }

    async fn delete(&mut self, id: TokenId, plan: &'static TokenPlan) -> Result<(), AppError> {
        let Life::Deleted { by, reason, .. } = plan.life else { return Ok(()) };
        let caller = self.caller(by)?;
        let reason = Some(reason.to_owned());
        self.app.delete_token(&caller, id, reason, Conditions::default()).await
    }

    /// Most tokens that are good are in use.
    async fn use_tokens(&self) -> Result<(), AppError> {
        let filter = TokenFilter::of([Status::Active], self.end);
        let page =
            TokenPage { sort: TokenSort::CreatedAt, descending: true, after: None, limit: ALL };
        let tokens = self.app.read.tokens(self.company, &filter, &page).await?;
        let uses: Vec<Use> = tokens
            .iter()
            .zip((1..).zip((10..17).cycle()))
            .filter(|(_, (number, _))| number % 5 != 0)
            .map(|(token, (number, host))| {
                let ago = self.end.plus_seconds(-(number * number * 97));
                Use {
                    company_id: self.company,
                    token_id: token.row.token_id,
                    at: ago.max(token.row.issued_at.plus_seconds(30)),
                    from: Some(IpAddr::from([198, 51, 100, host])),
                }
            })
            .collect();
        Ok(self.app.read.record_uses(&uses).await?)
    }

    /// The scopes of a plan as far as they are on offer. In place of each that is not, there is
    /// another that is.
    fn scopes(&self, planned: &str) -> Vec<String> {
        let offer: Vec<&str> =
            self.app.choices.catalogue.iter().map(|(scope, _)| scope.as_str()).collect();
        let offered = |word: &str| {
            let number: usize = word.bytes().map(usize::from).sum();
            let other = || number.checked_rem(offer.len()).and_then(|index| offer.get(index));
            offer.iter().find(|scope| **scope == word).or_else(other)
        };
        let scopes: BTreeSet<&str> = planned.split(' ').filter_map(offered).copied().collect();
        scopes.into_iter().map(str::to_owned).collect()
    }

    fn clock_now(&self) -> Timestamp {
        token_ledger_event_store::Clock::now(self.clock)
    }
}
