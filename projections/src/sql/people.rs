//! Beside the log: accounts, links, sessions and companies' names, which belong to the platform
//! since a person signs in once for all companies; and memberships, over all companies.

use super::{Columns, FromColumns, Sql, Statement, Table, Unreadable, Value, attempts};
use crate::attempts::Attempt;
use crate::members::{MemberRow, Members};
use crate::people::{Account, Link, Purpose, Session, Standing};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use token_ledger_domain::{CompanyId, Digest, MemberId, Name, PersonId, Timestamp};
use token_ledger_event_store::StoreError;
use uuid::Uuid;

const ACCOUNT: &str = "SELECT person_id, email, name, password_hash, vouched_by FROM accounts \
    WHERE company_id = ?1 AND email = ?2";
const ACCOUNT_OF: &str = "SELECT person_id, email, name, password_hash, vouched_by FROM accounts \
    WHERE company_id = ?1 AND person_id = ?2";
const MAKE_ACCOUNT: &str = "INSERT INTO accounts (company_id, person_id, email, name, \
    password_hash, vouched_by, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
    ON CONFLICT DO NOTHING";
const CHANGE_PASSWORD: &str = "UPDATE accounts SET password_hash = ?3 \
    WHERE company_id = ?1 AND person_id = ?2 AND password_hash IS NOT DISTINCT FROM ?4";
const RESET_PASSWORD: &str = "UPDATE accounts SET password_hash = ?3, vouched_by = ?4 \
    WHERE company_id = ?1 AND person_id = ?2";
const VOID_LINKS: &str = "DELETE FROM links WHERE company_id = ?1 AND person_id = ?2";
const END_SESSIONS: &str = "DELETE FROM sessions WHERE company_id = ?1 AND person_id = ?2";
const PUT_LINK: &str = "INSERT INTO links (company_id, person_id, purpose, digest, opens, \
    asked_by, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
    ON CONFLICT (company_id, person_id, purpose) DO UPDATE SET digest = excluded.digest, \
    opens = excluded.opens, asked_by = excluded.asked_by, created_at = excluded.created_at, \
    expires_at = excluded.expires_at";
const LINK: &str = "SELECT person_id, purpose, digest, opens, asked_by, created_at, expires_at \
    FROM links WHERE digest = ?2 AND company_id = ?1 AND purpose = ?3";
/// No company is another than none, so a link that no company asked for is good for whoever is in any
/// company.
const USE_LINK: &str = "DELETE FROM links \
    WHERE company_id = ?1 AND person_id = ?2 AND purpose = ?3 AND digest = ?4 \
    AND EXISTS (SELECT 1 FROM members WHERE person_id = ?2) \
    AND NOT EXISTS (SELECT 1 FROM members WHERE person_id = ?2 AND company_id <> ?5)";
const VOID_COMPANYS_LINKS: &str = "DELETE FROM links WHERE company_id = ?1 AND person_id = ?2 \
    AND (asked_by = ?3 OR NOT EXISTS (SELECT 1 FROM members WHERE person_id = ?2))";
const FORGET_SESSIONS: &str = "DELETE FROM sessions WHERE company_id = ?1 AND expires_at <= ?2";
const BEGIN_SESSION: &str = "INSERT INTO sessions (company_id, digest, session_id, person_id, \
    created_at, signed_in_at, seen_at, expires_at, ip, user_agent, entered, member_company, \
    member_id, role) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14 \
    FROM accounts WHERE company_id = ?1 AND person_id = ?4 \
    AND password_hash IS NOT DISTINCT FROM ?15";
const SESSION: &str = "SELECT session_id, person_id, created_at, signed_in_at, seen_at, \
    expires_at, ip, user_agent, entered, member_company, member_id, role FROM sessions \
    WHERE company_id = ?1 AND digest = ?2";
const SESSIONS: &str = "SELECT session_id, person_id, created_at, signed_in_at, seen_at, \
    expires_at, ip, user_agent, entered, member_company, member_id, role FROM sessions \
    WHERE company_id = ?1 AND person_id = ?2 ORDER BY created_at DESC, session_id";
const NOTE_SESSION: &str = "UPDATE sessions SET seen_at = ?4 \
    WHERE company_id = ?1 AND person_id = ?2 AND session_id = ?3";
const CONFIRM_SESSION: &str = "UPDATE sessions SET signed_in_at = ?4 \
    WHERE company_id = ?1 AND person_id = ?2 AND session_id = ?3";
const PLACE_SESSION: &str = "UPDATE sessions SET entered = ?4, member_company = ?5, \
    member_id = ?6, role = ?7 WHERE company_id = ?1 AND person_id = ?2 AND session_id = ?3";
const END_SESSION: &str =
    "DELETE FROM sessions WHERE company_id = ?1 AND person_id = ?2 AND session_id = ?3";
const END_SESSIONS_BY: &str =
    "DELETE FROM sessions WHERE company_id = ?1 AND member_company = ?2 AND member_id = ?3";
const RESERVE_NAME: &str = "INSERT INTO company_names (company_id, name, named) \
    VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const PUT_NAME: &str = "INSERT INTO company_names (company_id, name, named) \
    VALUES (?1, ?2, ?3) ON CONFLICT (company_id, name) DO UPDATE SET named = excluded.named";
const FREE_NAME: &str =
    "DELETE FROM company_names WHERE company_id = ?1 AND name = ?2 AND named = ?3";
const NAMED: &str = "SELECT named FROM company_names WHERE company_id = ?1 AND name = ?2";

/// A statement about the platform's rows.
fn platform(text: impl Into<Cow<'static, str>>) -> Statement {
    Statement::new(text).with(CompanyId::PLATFORM)
}

fn of_session(text: &'static str, session: &Session) -> Statement {
    platform(text).with(session.person_id).with(session.session_id)
}

/// With the parameters that say where a session is.
fn placed(statement: Statement, standing: Option<&Standing>) -> Statement {
    statement
        .with(standing.map(|standing| standing.entered.0))
        .with(standing.map(|standing| standing.member_company.0))
        .with(standing.map(|standing| standing.member_id.0))
        .with(standing.map(|standing| standing.role.as_str()))
}

fn use_link(link: &Link) -> Statement {
    platform(USE_LINK)
        .with(link.person_id)
        .with(link.purpose.as_str())
        .with(link.digest)
        .with(link.asked_by.map(|company| company.0))
        .required()
}

/// A new password ends whatever the old one, or a link to replace it, may have given away.
fn with_new_password(password: Statement, person: PersonId) -> [Statement; 3] {
    [password.required(), platform(VOID_LINKS).with(person), platform(END_SESSIONS).with(person)]
}

impl FromColumns for Account {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self {
            person_id: PersonId(row.uuid(0)?),
            email: row.text(1)?.to_owned(),
            name: row.optional_text(2)?.map(str::to_owned),
            password_hash: row.optional_text(3)?.map(str::to_owned),
            vouched_by: row.optional_uuid(4)?.map(CompanyId),
        })
    }
}

/// A name that is reserved, and the company that it is reserved for; none where it can't be read.
struct Reserved(String, Option<CompanyId>);

impl FromColumns for Reserved {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self(row.text(0)?.to_owned(), row.company(1).ok()))
    }
}

impl FromColumns for Link {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self {
            person_id: PersonId(row.uuid(0)?),
            purpose: row.parsed::<Purpose>(1)?,
            digest: row.digest(2)?,
            opens: row.optional_uuid(3)?.map(CompanyId),
            asked_by: row.optional_uuid(4)?.map(CompanyId),
            created_at: row.time(5)?,
            expires_at: row.time(6)?,
        })
    }
}

impl FromColumns for Session {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        let standing = match row.optional_uuid(8)? {
            None => None,
            Some(entered) => Some(Standing {
                entered: CompanyId(entered),
                member_company: row.company(9)?,
                member_id: MemberId(row.uuid(10)?),
                role: row.parsed(11)?,
            }),
        };
        Ok(Self {
            session_id: row.uuid(0)?,
            person_id: PersonId(row.uuid(1)?),
            created_at: row.time(2)?,
            signed_in_at: row.time(3)?,
            seen_at: row.time(4)?,
            expires_at: row.time(5)?,
            ip: row.optional_text(6)?.map(str::to_owned),
            user_agent: row.optional_text(7)?.map(str::to_owned),
            standing,
        })
    }
}

/// The names whose rows have one of these values in a column, and whom they are reserved for.
async fn reserved<V: Clone + Into<Value<'static>>>(
    sql: &Sql,
    column: &str,
    values: &[V],
) -> Result<Vec<(String, CompanyId)>, StoreError> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = platform("");
    let places: Vec<String> = values.iter().map(|value| query.place(value.clone())).collect();
    query.text = format!(
        "SELECT name, named FROM company_names WHERE company_id = ?1 AND {column} IN ({})",
        places.join(", ")
    )
    .into();
    let found: Vec<Reserved> = sql.fetch(query).await?;
    Ok(found.into_iter().filter_map(|Reserved(name, named)| Some((name, named?))).collect())
}

/// What is kept of people. Everything that is done once and by one only (a link used, a name
/// reserved, an account made) is decided by the database. Every answer here fails when it does.
#[derive(Clone, Debug)]
pub struct People {
    sql: Sql,
}

impl People {
    /// Those in this database.
    pub const fn new(sql: Sql) -> Self {
        Self { sql }
    }

    /// The account of this e-mail address.
    pub async fn account(&self, email: &str) -> Result<Option<Account>, StoreError> {
        self.sql.fetch_one(platform(ACCOUNT).with(email.to_owned())).await
    }

    /// The account of a person.
    pub async fn account_of(&self, person: PersonId) -> Result<Option<Account>, StoreError> {
        self.sql.fetch_one(platform(ACCOUNT_OF).with(person)).await
    }

    /// The accounts of a company's members.
    pub async fn accounts_of(&self, people: &[PersonId]) -> Result<Vec<Account>, StoreError> {
        if people.is_empty() {
            return Ok(Vec::new());
        }
        let mut statement = platform("");
        let places: Vec<String> = people.iter().map(|person| statement.place(*person)).collect();
        statement.text = format!(
            "SELECT person_id, email, name, password_hash, vouched_by FROM accounts \
             WHERE company_id = ?1 AND person_id IN ({})",
            places.join(", ")
        )
        .into();
        self.sql.fetch(statement).await
    }

    /// Makes the account, unless its address has one; answers with the address's account.
    pub async fn make_account(
        &self,
        account: &Account,
        now: Timestamp,
    ) -> Result<Account, StoreError> {
        let statement = platform(MAKE_ACCOUNT)
            .with(account.person_id)
            .with(account.email.clone())
            .with(account.name.clone())
            .with(account.password_hash.clone())
            .with(account.vouched_by.map(|company| company.0))
            .with(now);
        self.sql.execute(statement).await?;
        self.account(&account.email)
            .await?
            .ok_or_else(|| StoreError::Rejected("an account was not made".to_owned()))
    }

    /// Gives the person another password, ends all sessions and voids all links. `false`, and
    /// nothing is changed, where the password is not the one of `before` any more.
    pub async fn change_password(
        &self,
        person: PersonId,
        before: Option<&str>,
        hash: &str,
    ) -> Result<bool, StoreError> {
        let password = platform(CHANGE_PASSWORD)
            .with(person)
            .with(hash.to_owned())
            .with(before.map(str::to_owned));
        self.sql.transact(with_new_password(password, person).into()).await
    }

    /// A membership.
    pub async fn member(
        &self,
        company: CompanyId,
        id: MemberId,
    ) -> Result<Option<MemberRow>, StoreError> {
        let one = Statement::new(Members::statements().one.as_str());
        self.sql.fetch_one(one.with(company).with(id)).await
    }

    /// Those of these people who are members of another company than this.
    pub async fn elsewhere(
        &self,
        people: &[PersonId],
        company: CompanyId,
    ) -> Result<BTreeSet<PersonId>, StoreError> {
        if people.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut statement = Statement::new("").with(company);
        let places: Vec<String> = people.iter().map(|person| statement.place(*person)).collect();
        statement.text = format!(
            "SELECT DISTINCT person_id FROM members WHERE company_id <> ?1 AND person_id IN ({})",
            places.join(", ")
        )
        .into();
        let found: Vec<Uuid> = self.sql.fetch(statement).await?;
        Ok(found.into_iter().map(PersonId).collect())
    }

    /// A person's memberships in all companies.
    pub async fn memberships(&self, person: PersonId) -> Result<Vec<MemberRow>, StoreError> {
        let text = format!(
            "SELECT {} FROM members WHERE person_id = ?1 ORDER BY company_id",
            Members::COLUMNS.join(", ")
        );
        self.sql.fetch(Statement::new(text).with(person)).await
    }

    /// Keeps a link in place of an older one of its person and purpose, together with the record of
    /// who made it where there is to be one.
    pub async fn put_link(&self, link: &Link, record: Option<&Attempt>) -> Result<(), StoreError> {
        let put = platform(PUT_LINK)
            .with(link.person_id)
            .with(link.purpose.as_str())
            .with(link.digest)
            .with(link.opens.map(|company| company.0))
            .with(link.asked_by.map(|company| company.0))
            .with(link.created_at)
            .with(link.expires_at);
        let mut statements = attempts::add(record.map(std::slice::from_ref).unwrap_or_default());
        statements.push(put);
        self.sql.transact(statements).await.map(drop)
    }

    /// The link of this digest, if it was neither used nor replaced.
    pub async fn link(&self, digest: Digest, purpose: Purpose) -> Result<Option<Link>, StoreError> {
        self.sql.fetch_one(platform(LINK).with(digest).with(purpose.as_str())).await
    }

    /// Voids a person's links.
    pub async fn void_links(&self, person: PersonId) -> Result<(), StoreError> {
        self.sql.execute(platform(VOID_LINKS).with(person)).await
    }

    /// Uses a link up; `false` where somebody else was faster.
    pub async fn use_link(&self, link: &Link) -> Result<bool, StoreError> {
        self.sql.transact(vec![use_link(link)]).await
    }

    /// Uses a link up to give its person another password, as [`Self::change_password`], which the
    /// company that asked for the link then vouches for. `false` also where the person is by now
    /// in another company than that.
    pub async fn redeem_link(&self, link: &Link, hash: &str) -> Result<bool, StoreError> {
        let password = platform(RESET_PASSWORD)
            .with(link.person_id)
            .with(hash.to_owned())
            .with(link.asked_by.map(|company| company.0));
        let mut statements = vec![use_link(link)];
        statements.extend(with_new_password(password, link.person_id));
        self.sql.transact(statements).await
    }

    /// Begins a session. `false`, and none begins, where the person's password is not the one of
    /// `hash` any more.
    pub async fn begin_session(
        &self,
        digest: Digest,
        session: &Session,
        hash: Option<&str>,
    ) -> Result<bool, StoreError> {
        // Without a hold on the account, the old password would let in beside a change of it that is
        // yet to be committed, and the session would outlive it.
        let insert = platform(format!("{BEGIN_SESSION} {}", self.sql.dialect().hold))
            .with(digest)
            .with(session.session_id)
            .with(session.person_id)
            .with(session.created_at)
            .with(session.signed_in_at)
            .with(session.seen_at)
            .with(session.expires_at)
            .with(session.ip.clone())
            .with(session.user_agent.clone());
        let insert = placed(insert, session.standing.as_ref()).with(hash.map(str::to_owned));
        let forget = platform(FORGET_SESSIONS).with(session.created_at);
        self.sql.transact(vec![insert.required(), forget]).await
    }

    /// The session of this digest, ended ones and idle ones included as long as they are kept.
    pub async fn session(&self, digest: Digest) -> Result<Option<Session>, StoreError> {
        self.sql.fetch_one(platform(SESSION).with(digest)).await
    }

    /// A person's sessions, the newest first.
    pub async fn sessions(&self, person: PersonId) -> Result<Vec<Session>, StoreError> {
        self.sql.fetch(platform(SESSIONS).with(person)).await
    }

    /// Notes that a session was used.
    pub async fn note_session(&self, session: &Session, now: Timestamp) -> Result<(), StoreError> {
        self.sql.execute(of_session(NOTE_SESSION, session).with(now)).await
    }

    /// Notes that a session's person proved to be the person.
    pub async fn confirm_session(
        &self,
        session: &Session,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.sql.execute(of_session(CONFIRM_SESSION, session).with(now)).await
    }

    /// Takes a session into a company.
    pub async fn place_session(
        &self,
        session: &Session,
        standing: &Standing,
    ) -> Result<(), StoreError> {
        self.sql.execute(placed(of_session(PLACE_SESSION, session), Some(standing))).await
    }

    /// Ends a session of a person.
    pub async fn end_session(&self, person: PersonId, session: Uuid) -> Result<(), StoreError> {
        self.sql.execute(platform(END_SESSION).with(person).with(session)).await
    }

    /// Ends the sessions that are where they are by this membership.
    pub async fn end_sessions_by(
        &self,
        company: CompanyId,
        member: MemberId,
    ) -> Result<(), StoreError> {
        self.sql.execute(platform(END_SESSIONS_BY).with(company).with(member)).await
    }

    /// Ends what somebody has by a membership that has ended: the sessions that are where they are by
    /// it, and the links that the company asked for; all links, once the person is in no company.
    pub async fn end_membership(&self, member: &MemberRow) -> Result<(), StoreError> {
        let MemberRow { company_id, member_id, person_id, .. } = member;
        let sessions = platform(END_SESSIONS_BY).with(*company_id).with(*member_id);
        let links = platform(VOID_COMPANYS_LINKS).with(*person_id).with(*company_id);
        self.sql.transact(vec![sessions, links]).await.map(drop)
    }

    /// Reserves a name for a company, unless it is another's; answers with whose it is.
    pub async fn reserve_name(
        &self,
        name: &Name,
        company: CompanyId,
    ) -> Result<CompanyId, StoreError> {
        let formerly = name.formerly_compared();
        if let Some((_, named)) = reserved(&self.sql, "name", &formerly).await?.first() {
            return Ok(*named);
        }
        let name = name.compared();
        self.sql.execute(platform(RESERVE_NAME).with(name.clone()).with(company)).await?;
        let named: Option<Uuid> = self.sql.fetch_one(platform(NAMED).with(name)).await?;
        named
            .map(CompanyId)
            .ok_or_else(|| StoreError::Rejected("a name was not reserved".to_owned()))
    }

    /// Whose names these are, as they are compared, as far as they are reserved.
    pub async fn named(&self, names: &[String]) -> Result<HashMap<String, CompanyId>, StoreError> {
        Ok(reserved(&self.sql, "name", names).await?.into_iter().collect())
    }

    /// The names that are reserved for one of these companies, and for which.
    pub async fn names_of(
        &self,
        companies: &[CompanyId],
    ) -> Result<Vec<(String, CompanyId)>, StoreError> {
        reserved(&self.sql, "named", companies).await
    }

    /// Lets go of a name that is reserved for this company.
    pub async fn free_name(&self, name: &str, company: CompanyId) -> Result<(), StoreError> {
        self.sql.execute(platform(FREE_NAME).with(name.to_owned()).with(company)).await
    }

    /// Reserves a name, as it is compared, for the company that is registered by it, whoever's it was.
    pub async fn put_name(&self, name: &str, company: CompanyId) -> Result<(), StoreError> {
        self.sql.execute(platform(PUT_NAME).with(name.to_owned()).with(company)).await
    }
}
