//! Sessions of the console: who is signed in, in which company, with what power.
//!
//! A session is worth what its membership is worth when it is used: the membership is read with
//! every request, and a session whose membership is gone or gives less than it did ends there.

use super::standing::Shown;
use super::view::CompanyView;
use super::{App, AppError, Caller};
use std::net::IpAddr;
use token_ledger_domain::{
    Actor, ActorType, CompanyId, Digest, MemberId, PersonId, Power, Role, Secret, Timestamp,
};
use token_ledger_event_store::{Moment, StoreError};
use token_ledger_projections::members::MemberRow;
use token_ledger_projections::people::{Account, Session, Standing};
use uuid::Uuid;

/// How long a session lives without being used, in seconds: twelve hours.
pub const IDLE_SECONDS: i64 = 12 * 3600;
/// How long a session lives at most, in seconds: a week.
pub const LIFETIME_SECONDS: i64 = 7 * 86_400;
/// How long a proof of who one is counts where a secret is about to be shown, in seconds: four
/// hours.
pub const RECENT_SECONDS: i64 = 4 * 3600;
/// How often the use of a session is noted, in seconds.
const NOTE_SECONDS: i64 = 60;
/// What sessions' secrets begin with.
const SESSION_PREFIX: &str = "tls_";
/// The most companies that an operator is offered at once.
const OFFERED: usize = 50;

/// Where a request comes from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The request.
    pub request_id: Option<String>,
    /// The address.
    pub ip: Option<IpAddr>,
    /// The program, as it calls itself.
    pub user_agent: Option<String>,
}

/// A session that has just begun, and what its cookie holds.
#[derive(Debug)]
pub struct SessionCookie {
    /// For the cookie; kept nowhere.
    pub secret: Secret,
    /// The session.
    pub session: Session,
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The session.
    pub session: Session,
    /// The digest of its cookie.
    pub shown: Digest,
    /// Who.
    pub account: Account,
    /// The power in the company that the session is in, once one is chosen.
    pub power: Option<Power>,
}

/// A company that a person may enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// The company.
    pub company: CompanyId,
    /// Its name.
    pub name: String,
    /// The role there.
    pub role: Role,
}

/// The companies that a person may enter.
#[derive(Clone, Debug, Default)]
pub struct Entrances {
    /// Those on offer, in the order of their names.
    pub offered: Vec<Entrance>,
    /// Whether the person may enter every company, of which those are some.
    pub everywhere: bool,
    /// Whether there are more that match.
    pub more: bool,
    /// The names of the person's companies that the password doesn't let them into.
    pub shut: Vec<String>,
}

/// Where a person may go, whichever company the session is in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    /// The standing on the platform of whoever runs it.
    pub platform: Option<Standing>,
    /// Whether there may be another company to choose.
    pub is_wide: bool,
}

impl Visitor {
    /// The caller that this person is with this standing of an operator.
    pub fn operator(&self, standing: Standing, origin: &Origin) -> Option<Caller> {
        let session = Session { standing: Some(standing), ..self.session.clone() };
        let power = Some(Power::Operator);
        Self { session, power, ..self.clone() }.caller(origin)
    }

    /// The caller that this person is in the company that the session is in.
    pub fn caller(&self, origin: &Origin) -> Option<Caller> {
        let (standing, power) = (self.session.standing?, self.power?);
        Some(Caller {
            company: standing.entered,
            power,
            actor: actor_by(power, standing.member_id),
            name: Some(self.account.called().to_owned()),
            shown: Shown::Session(self.shown),
            let_through_at: Moment::now(),
            credential: format!("member {}", standing.member_id),
            request_id: origin.request_id.clone(),
            ip: origin.ip.map(|ip| ip.to_string()),
            user_agent: origin.user_agent.clone(),
        })
    }

    /// Whether the person has to give the password again before a secret is shown.
    pub fn must_confirm(&self, now: Timestamp) -> bool {
        self.session.signed_in_at.plus_seconds(RECENT_SECONDS) <= now
    }
}

/// Whoever acts with this power by a membership.
pub(super) fn actor_by(power: Power, member: MemberId) -> Actor {
    let kind = if power == Power::Operator { ActorType::Operator } else { ActorType::Member };
    Actor { kind, id: member.0 }
}

/// Whether a session still lives, as far as time is concerned.
fn lives(session: &Session, now: Timestamp) -> bool {
    session.expires_at > now && session.seen_at.plus_seconds(IDLE_SECONDS) > now
}

/// The standing that a membership gives in its own company.
fn standing_of(member: &MemberRow) -> Standing {
    Standing {
        entered: member.company_id,
        member_company: member.company_id,
        member_id: member.member_id,
        role: member.role,
    }
}

fn is_operator(member: &MemberRow) -> bool {
    member.company_id == CompanyId::PLATFORM && member.role == Role::Operator
}

impl App {
    /// Whoever the cookie belongs to, while the session lives. Counts as a use of the session.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn visitor(&self, cookie: &str) -> Result<Option<Visitor>, AppError> {
        let Some(visitor) = self.onlooker(cookie).await? else { return Ok(None) };
        let now = self.now();
        if visitor.session.seen_at.plus_seconds(NOTE_SECONDS) <= now {
            self.people.note_session(&visitor.session, now).await?;
        }
        Ok(Some(visitor))
    }

    /// As [`Self::visitor`], for answers that go on for long: it is no use of the session, which
    /// would never end otherwise.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn onlooker(&self, cookie: &str) -> Result<Option<Visitor>, AppError> {
        Ok(self.visitor_of(Digest::of(cookie)).await?)
    }

    /// The power that a session gives in a company now.
    pub(super) async fn power_in(
        &self,
        shown: Digest,
        company: CompanyId,
    ) -> Result<Option<Power>, StoreError> {
        let Some(visitor) = self.visitor_of(shown).await? else { return Ok(None) };
        let is_there = |standing: Standing| standing.entered == company;
        let is_operator = match visitor.session.standing {
            Some(_) => visitor.power == Some(Power::Operator),
            None => self.reach(&visitor.account).await?.platform.is_some(),
        };
        Ok(if is_operator {
            Some(Power::Operator)
        } else {
            visitor.power.filter(|_| visitor.session.standing.is_some_and(is_there))
        })
    }

    /// Whoever the session's cookie of this digest belongs to, while the session lives.
    async fn visitor_of(&self, shown: Digest) -> Result<Option<Visitor>, StoreError> {
        if let Some(seconds) = self.lost_seconds() {
            // What is over is not known then.
            return Err(StoreError::Unavailable(format!("the clock has gone back by {seconds} s")));
        }
        let Some(session) = self.people.session(shown).await? else {
            return Ok(None);
        };
        let account = self.people.account_of(session.person_id).await?;
        let (Some(account), true) = (account, lives(&session, self.now())) else {
            self.people.end_session(session.person_id, session.session_id).await?;
            return Ok(None);
        };
        let power = match &session.standing {
            None => None,
            Some(standing) => {
                let power = self.power_by(&account, standing).await?;
                if power.is_none() {
                    self.people.end_session(session.person_id, session.session_id).await?;
                    return Ok(None);
                }
                power
            }
        };
        Ok(Some(Visitor { session, shown, account, power }))
    }

    /// The power that a standing gives now; none where the membership is gone or was lowered, or
    /// is more than the password counts for.
    async fn power_by(
        &self,
        account: &Account,
        standing: &Standing,
    ) -> Result<Option<Power>, StoreError> {
        let (company, member_id) = (standing.member_company, standing.member_id);
        let member = self.people.member(company, member_id).await?;
        if self.is_erased(company, member_id).await? {
            return Ok(None);
        }
        let stands = |member: &MemberRow| {
            member.person_id == account.person_id
                && account.opens(member)
                && member.role >= standing.role
                && (standing.entered == standing.member_company || is_operator(member))
        };
        Ok(member.filter(stands).map(|member| member.role.power()))
    }

    /// Up to so many memberships of a person in the companies that are asked for, but for those that
    /// they were erased from. Each is looked up in its company: a person may have a thousand.
    async fn memberships(
        &self,
        person: PersonId,
        which: impl Fn(&MemberRow) -> bool,
        at_most: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        let mut memberships = Vec::new();
        let rows = self.people.memberships(person).await?;
        for member in rows.into_iter().filter(which) {
            if memberships.len() == at_most {
                break;
            }
            if !self.is_erased(member.company_id, member.member_id).await? {
                memberships.push(member);
            }
        }
        Ok(memberships)
    }

    /// Begins a session, unless the account's password has changed meanwhile.
    pub(super) async fn begin_session(
        &self,
        account: &Account,
        standing: Option<Standing>,
        origin: &Origin,
    ) -> Result<Option<SessionCookie>, AppError> {
        let secret = Secret::from_random(SESSION_PREFIX, self.ledger.entropy().bits256());
        let now = self.now();
        let session = Session {
            session_id: self.new_id(),
            person_id: account.person_id,
            created_at: now,
            signed_in_at: now,
            seen_at: now,
            expires_at: now.plus_seconds(LIFETIME_SECONDS),
            ip: origin.ip.map(|ip| ip.to_string()),
            user_agent: origin.user_agent.clone(),
            standing,
        };
        let digest = Digest::of(secret.reveal());
        let hash = account.password_hash.as_deref();
        let begun = self.people.begin_session(digest, &session, hash).await?;
        Ok(begun.then_some(SessionCookie { secret, session }))
    }

    /// Where a person stands who has nothing to choose: a member of one company, and no operator.
    pub(super) async fn only_standing(
        &self,
        account: &Account,
    ) -> Result<Option<Standing>, StoreError> {
        let memberships = self.memberships(account.person_id, |_| true, 2).await?;
        Ok(match memberships.as_slice() {
            [only] if !is_operator(only) && account.opens(only) => Some(standing_of(only)),
            _ => None,
        })
    }

    /// Where a person stands in a company, if anywhere.
    ///
    /// # Errors
    /// [`AppError::NotVouchedFor`] for a member whose password doesn't let them in.
    pub(super) async fn standing_in(
        &self,
        account: &Account,
        company: CompanyId,
    ) -> Result<Option<Standing>, AppError> {
        let counts = |member: &MemberRow| member.company_id == company || is_operator(member);
        let memberships = self.memberships(account.person_id, counts, usize::MAX).await?;
        let (open, shut): (Vec<_>, Vec<_>) =
            memberships.iter().partition(|member| account.opens(member));
        // An operator's power is the same everywhere, and the greatest.
        if let Some(operator) = open.iter().find(|member| is_operator(member)) {
            let known = self.read.company(company).await?.is_some();
            return Ok(known.then(|| Standing { entered: company, ..standing_of(operator) }));
        }
        if shut.iter().any(|member| member.company_id == company) {
            return Err(AppError::NotVouchedFor);
        }
        Ok(open.iter().find(|member| member.company_id == company).map(|own| standing_of(own)))
    }

    /// Where a person may go.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reach(&self, account: &Account) -> Result<Reach, StoreError> {
        let person = account.person_id;
        let operators = self.memberships(person, is_operator, usize::MAX).await?;
        let operator = operators.iter().find(|own| account.opens(own));
        let is_wide = operator.is_some() || self.memberships(person, |_| true, 2).await?.len() > 1;
        Ok(Reach { platform: operator.map(standing_of), is_wide })
    }

    /// Takes a session into a company; answers with the person's power there. The company's auditor
    /// sees who came in.
    ///
    /// # Errors
    /// When there is no such company for this person.
    pub async fn enter(
        &self,
        visitor: &Visitor,
        company: CompanyId,
        origin: &Origin,
    ) -> Result<Power, AppError> {
        let standing = self.standing_in(&visitor.account, company).await?;
        let standing = standing.ok_or(AppError::NotFound("company"))?;
        self.people.place_session(&visitor.session, &standing).await?;
        if visitor.session.standing.is_none_or(|before| before.entered != company) {
            self.note_entry(standing, origin);
        }
        Ok(standing.role.power())
    }

    /// The companies with this in their name that a person may enter: an operator every one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn entrances(&self, account: &Account, q: &str) -> Result<Entrances, AppError> {
        let memberships = self.memberships(account.person_id, |_| true, usize::MAX).await?;
        if memberships.iter().any(|member| is_operator(member) && account.opens(member)) {
            let found = self.find_companies(q, None, OFFERED).await?;
            let entrance = |company: CompanyView| Entrance {
                company: CompanyId(company.company_id),
                name: company.name,
                role: Role::Operator,
            };
            let more = found.next.is_some();
            let offered = found.items.into_iter().map(entrance).collect();
            return Ok(Entrances { offered, everywhere: true, more, shut: Vec::new() });
        }
        let q = q.trim().to_lowercase();
        let mut entrances = Vec::with_capacity(memberships.len());
        let mut shut = Vec::new();
        for member in memberships {
            if let Some(row) = self.read.company(member.company_id).await? {
                let (company, role) = (member.company_id, member.role);
                if !account.opens(&member) {
                    shut.push(row.name.to_string());
                } else if row.name.as_str().to_lowercase().contains(&q) {
                    entrances.push(Entrance { company, name: row.name.to_string(), role });
                }
            }
        }
        entrances.sort_by(|one, other| one.name.cmp(&other.name));
        shut.sort();
        Ok(Entrances { offered: entrances, everywhere: false, more: false, shut })
    }

    /// The person's own sessions that live, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn own_sessions(&self, visitor: &Visitor) -> Result<Vec<Session>, AppError> {
        let now = self.now();
        let mut sessions = self.people.sessions(visitor.account.person_id).await?;
        sessions.retain(|session| lives(session, now));
        Ok(sessions)
    }

    /// Ends the session that the cookie belongs to, if it lives.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_session(&self, cookie: &str) -> Result<(), AppError> {
        match self.people.session(Digest::of(cookie)).await? {
            Some(session) => {
                Ok(self.people.end_session(session.person_id, session.session_id).await?)
            }
            None => Ok(()),
        }
    }

    /// Ends one of the person's own sessions. Nothing happens where there is none such.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_own_session(&self, visitor: &Visitor, session: Uuid) -> Result<(), AppError> {
        Ok(self.people.end_session(visitor.account.person_id, session).await?)
    }
}
