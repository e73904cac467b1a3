//! The token aggregate: an access token over all its terms and secrets.

use crate::id::ClientId;
use crate::name::Name;
use crate::policy::{Policy, PolicyViolation};
use crate::scope::ScopeSet;
use crate::secret::StoredSecret;
use crate::term::Term;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A token's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Token {
    /// Nothing has happened yet.
    #[default]
    Absent,
    /// Created, and neither deleted nor recorded as expired. Whether its term has ended meanwhile
    /// is for the clock to say.
    Active(Grant),
    /// Its term has ended, and that was recorded. A refresh makes it active again.
    Expired(Grant),
    /// Deleted, for good.
    Deleted(Grant),
}

/// What a token is and may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its name.
    pub name: Name,
    /// Its data accesses.
    pub scopes: ScopeSet,
    /// The client that got it over OAuth, if one did.
    pub client_id: Option<ClientId>,
    /// The current term.
    pub term: Term,
}

/// What can be asked of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenCommand {
    /// Create it.
    Create(Create),
    /// Begin a new term with a new secret.
    Refresh(Refresh),
    /// Stop the old secret now.
    EndGrace,
    /// Replace its scopes.
    ChangeScopes {
        /// The whole new set.
        scopes: ScopeSet,
    },
    /// Delete it.
    Delete,
    /// Record that a term has ended.
    Expire {
        /// The number of the term that is meant.
        term: u32,
    },
}

/// Everything that a new token needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// Its name.
    pub name: Name,
    /// Its scopes, known to be on offer.
    pub scopes: ScopeSet,
    /// What is kept of its secret.
    pub secret: StoredSecret,
    /// Length of the first term in seconds; `None` for the policy's default.
    pub validity_seconds: Option<i64>,
    /// The client that gets it over OAuth.
    pub client_id: Option<ClientId>,
}

/// Everything that a refresh needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// What is kept of the new secret.
    pub secret: StoredSecret,
    /// Length of the new term in seconds; `None` for the policy's default.
    pub validity_seconds: Option<i64>,
    /// How long the old secret lives on, in seconds; 0 for not at all.
    pub grace_seconds: i64,
}

/// What a token's company says at the moment of the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// Whether the OAuth App module is on.
    pub oauth_app_enabled: bool,
    /// The policy for terms that begin now.
    pub policy: Policy,
    /// Those of its OAuth clients that a new term may begin for.
    pub clients: BTreeSet<ClientId>,
}

impl TokenRules {
    /// A client that is deleted gets no token any more, and none of its tokens a new term.
    fn client(&self, client: Option<ClientId>) -> Result<(), TokenRefusal> {
        match client {
            Some(client) if !self.clients.contains(&client) => Err(TokenRefusal::ClientDeleted),
            _ => Ok(()),
        }
    }
}

/// A command with all that its decision depends on besides the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenDecision {
    /// What is asked.
    pub command: TokenCommand,
    /// What the company says.
    pub rules: TokenRules,
    /// Now.
    pub now: Timestamp,
}

/// What has happened to a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum TokenEvent {
    /// It was created.
    #[serde(rename = "token.created")]
    Created {
        /// Its name.
        name: Name,
        /// Its scopes.
        scopes: ScopeSet,
        /// What is kept of its secret.
        secret: StoredSecret,
        /// When the first term ends.
        expires_at: Timestamp,
        /// The client that got it over OAuth.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<ClientId>,
    },
    /// A new term began with a new secret.
    #[serde(rename = "token.refreshed")]
    Refreshed {
        /// What is kept of the new secret.
        secret: StoredSecret,
        /// When the new term ends.
        expires_at: Timestamp,
        /// When the old secret stops; none for at once.
        previous_secret_expires_at: Option<Timestamp>,
    },
    /// The old secret was stopped before its grace period was over.
    #[serde(rename = "token.grace_ended")]
    GraceEnded {},
    /// It got other scopes.
    #[serde(rename = "token.scopes_changed")]
    ScopesChanged {
        /// The whole new set.
        scopes: ScopeSet,
        /// Those that are new.
        added: ScopeSet,
        /// Those that are gone.
        removed: ScopeSet,
    },
    /// It was deleted.
    #[serde(rename = "token.deleted")]
    Deleted {},
    /// A term ended.
    #[serde(rename = "token.expired")]
    Expired {
        /// The number of the term.
        term: u32,
        /// When it ended.
        expired_at: Timestamp,
    },
}

/// Why a token's command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// There is no such token.
    #[error("there is no such token")]
    NotFound,
    /// A token of this identifier exists already.
    #[error("a token with this id exists already")]
    Exists,
    /// The token is deleted, for good.
    #[error("the token is deleted and can't be changed; create a new one")]
    Deleted,
    /// The company's OAuth App module is off.
    #[error("the company's OAuth App module is off; an operator can turn it on")]
    OauthAppDisabled,
    /// The OAuth client that the token is for was deleted.
    #[error("the OAuth client that the token is for is deleted")]
    ClientDeleted,
    /// The company's policy is against it.
    #[error(transparent)]
    Policy(#[from] PolicyViolation),
}

impl Token {
    /// What the token is and may do, once it exists.
    pub const fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Absent => None,
            Self::Active(grant) | Self::Expired(grant) | Self::Deleted(grant) => Some(grant),
        }
    }

    /// The grant of a token that can still be changed.
    fn changeable(&self) -> Result<&Grant, TokenRefusal> {
        match self {
            Self::Absent => Err(TokenRefusal::NotFound),
            Self::Deleted(_) => Err(TokenRefusal::Deleted),
            Self::Active(grant) | Self::Expired(grant) => Ok(grant),
        }
    }
}

/// The events that the command leads to; none when it changes nothing.
///
/// The end of a term that is past due is recorded before whatever else happens to the token.
///
/// # Errors
/// The reason for a refusal, after which nothing has happened.
pub fn decide(token: &Token, decision: &TokenDecision) -> Result<Vec<TokenEvent>, TokenRefusal> {
    if let TokenCommand::Expire { term } = decision.command
        && token.grant().is_none_or(|grant| grant.term.number != term)
    {
        return Ok(Vec::new());
    }
    let overdue = overdue(token, decision.now);
    let Some(expired) = overdue else {
        return decide_in_time(token, decision);
    };
    let token = evolve(token.clone(), expired.clone());
    let mut events = vec![expired];
    events.extend(decide_in_time(&token, decision)?);
    Ok(events)
}

/// The event that says that the current term is over, when it is and was not recorded yet.
fn overdue(token: &Token, now: Timestamp) -> Option<TokenEvent> {
    match token {
        Token::Active(grant) if grant.term.is_over(now) => {
            Some(TokenEvent::Expired { term: grant.term.number, expired_at: grant.term.expires_at })
        }
        _ => None,
    }
}

fn decide_in_time(
    token: &Token,
    decision: &TokenDecision,
) -> Result<Vec<TokenEvent>, TokenRefusal> {
    let TokenDecision { command, rules, now } = decision;
    match command {
        TokenCommand::Create(create) => decide_create(token, create, rules, *now),
        TokenCommand::Refresh(refresh) => decide_refresh(token, refresh, rules, *now),
        TokenCommand::EndGrace => decide_end_grace(token, *now),
        TokenCommand::ChangeScopes { scopes } => decide_change_scopes(token, scopes, rules),
        TokenCommand::Delete => token.changeable().map(|_| vec![TokenEvent::Deleted {}]),
        // Where the term is over, its end stands before this.
        TokenCommand::Expire { .. } => Ok(Vec::new()),
    }
}

fn decide_create(
    token: &Token,
    create: &Create,
    rules: &TokenRules,
    now: Timestamp,
) -> Result<Vec<TokenEvent>, TokenRefusal> {
    if *token != Token::Absent {
        return Err(TokenRefusal::Exists);
    }
    if !rules.oauth_app_enabled {
        return Err(TokenRefusal::OauthAppDisabled);
    }
    rules.client(create.client_id)?;
    rules.policy.scopes(&create.scopes)?;
    let validity = rules.policy.validity(create.validity_seconds)?;
    Ok(vec![TokenEvent::Created {
        name: create.name.clone(),
        scopes: create.scopes.clone(),
        secret: create.secret.clone(),
        expires_at: now.plus_seconds(validity),
        client_id: create.client_id,
    }])
}

fn decide_refresh(
    token: &Token,
    refresh: &Refresh,
    rules: &TokenRules,
    now: Timestamp,
) -> Result<Vec<TokenEvent>, TokenRefusal> {
    let grant = token.changeable()?;
    if !rules.oauth_app_enabled {
        return Err(TokenRefusal::OauthAppDisabled);
    }
    rules.client(grant.client_id)?;
    rules.policy.scopes(&grant.scopes)?;
    let validity = rules.policy.validity(refresh.validity_seconds)?;
    let grace = rules.policy.grace(refresh.grace_seconds)?;
    let expires_at = now.plus_seconds(validity);
    Ok(vec![TokenEvent::Refreshed {
        secret: refresh.secret.clone(),
        expires_at,
        // An expired token has no secret that works, so the old one doesn't outlive the new term.
        previous_secret_expires_at: grant.term.grace_end(now, grace).map(|end| end.min(expires_at)),
    }])
}

fn decide_end_grace(token: &Token, now: Timestamp) -> Result<Vec<TokenEvent>, TokenRefusal> {
    let grant = token.changeable()?;
    let lives = grant.term.previous.as_ref().is_some_and(|previous| previous.expires_at > now);
    Ok(if lives { vec![TokenEvent::GraceEnded {}] } else { Vec::new() })
}

fn decide_change_scopes(
    token: &Token,
    scopes: &ScopeSet,
    rules: &TokenRules,
) -> Result<Vec<TokenEvent>, TokenRefusal> {
    let grant = token.changeable()?;
    if *scopes == grant.scopes {
        return Ok(Vec::new());
    }
    let added = scopes.without(&grant.scopes);
    rules.policy.scopes(&added)?;
    let removed = grant.scopes.without(scopes);
    Ok(vec![TokenEvent::ScopesChanged { scopes: scopes.clone(), added, removed }])
}

/// The state after the event. An event that can't follow the state changes nothing; the store's
/// sequence check keeps such from being recorded.
#[must_use]
pub fn evolve(token: Token, event: TokenEvent) -> Token {
    match (token, event) {
        (Token::Absent, TokenEvent::Created { name, scopes, secret, expires_at, client_id }) => {
            Token::Active(Grant { name, scopes, client_id, term: Term::first(secret, expires_at) })
        }
        (
            Token::Active(grant) | Token::Expired(grant),
            TokenEvent::Refreshed { secret, expires_at, previous_secret_expires_at },
        ) => Token::Active(Grant {
            term: grant.term.next(secret, expires_at, previous_secret_expires_at),
            ..grant
        }),
        (Token::Active(grant), TokenEvent::Expired { term, .. }) if term == grant.term.number => {
            Token::Expired(grant)
        }
        (Token::Active(grant) | Token::Expired(grant), TokenEvent::Deleted {}) => {
            Token::Deleted(grant)
        }
        (Token::Active(grant), event) => Token::Active(evolve_grant(grant, event)),
        (Token::Expired(grant), event) => Token::Expired(evolve_grant(grant, event)),
        (unchanged, _) => unchanged,
    }
}

fn evolve_grant(mut grant: Grant, event: TokenEvent) -> Grant {
    match event {
        TokenEvent::ScopesChanged { scopes, .. } => grant.scopes = scopes,
        TokenEvent::GraceEnded {} => grant.term.previous = None,
        _ => {}
    }
    grant
}

impl TokenEvent {
    /// The event's type, as the ledger carries it.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "token.created",
            Self::Refreshed { .. } => "token.refreshed",
            Self::GraceEnded {} => "token.grace_ended",
            Self::ScopesChanged { .. } => "token.scopes_changed",
            Self::Deleted {} => "token.deleted",
            Self::Expired { .. } => "token.expired",
        }
    }

    /// The version of the event's shape.
    pub const fn version(&self) -> u32 {
        1
    }
}

crate::adapter::adapt!(Token, "token", TokenDecision -> TokenEvent or TokenRefusal);
