//! The aggregates that a ledger keeps, and how their commands are decided.

use token_ledger_domain::company::{
    self, Company, CompanyCommand, CompanyDecision, CompanyRefusal,
};
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::key::{self, Key, KeyCommand, KeyDecision, KeyRefusal};
use token_ledger_domain::token::{self, Token, TokenCommand, TokenDecision, TokenRefusal};
use token_ledger_domain::{CompanyId, LedgerEvent, Power, Timestamp};

/// An aggregate that a ledger can keep.
pub trait Decidable: cqrs_es::Aggregate + Clone {
    /// What can be asked of it.
    type Command: Send + Sync;
    /// Which streams are its.
    const KIND: AggregateType;

    /// What there is to decide about.
    fn decision(
        command: &<Self as Decidable>::Command,
        id: CompanyId,
        company: &Company,
        power: Power,
        now: Timestamp,
    ) -> <Self as cqrs_es::Aggregate>::Command;

    /// Whether the decision relies on the company's state, so that it falls with a change there.
    fn relies_on_company(command: &<Self as Decidable>::Command) -> bool;

    /// Whether the command begins a new stream, so that there is nothing to load.
    fn begins_stream(command: &<Self as Decidable>::Command) -> bool;

    /// When time alone makes another decision of it, whatever is asked: at the end of the term.
    fn holds_until(&self) -> Option<Timestamp>;

    /// The events that the decision leads to.
    ///
    /// # Errors
    /// The reason for a refusal.
    fn decide(
        &self,
        decision: &<Self as cqrs_es::Aggregate>::Command,
    ) -> Result<Vec<Self::Event>, Self::Error>;

    /// One of its events among all others.
    fn wrap(event: Self::Event) -> LedgerEvent;

    /// One of its events, if it is.
    fn unwrap(event: LedgerEvent) -> Option<Self::Event>;
}

impl Decidable for Token {
    type Command = TokenCommand;
    const KIND: AggregateType = AggregateType::Token;

    fn decision(
        command: &TokenCommand,
        _id: CompanyId,
        company: &Company,
        _power: Power,
        now: Timestamp,
    ) -> TokenDecision {
        TokenDecision { command: command.clone(), rules: company.token_rules(command), now }
    }

    fn relies_on_company(command: &TokenCommand) -> bool {
        match command {
            TokenCommand::Create(_)
            | TokenCommand::Refresh(_)
            | TokenCommand::ChangeScopes { .. } => true,
            TokenCommand::EndGrace | TokenCommand::Delete | TokenCommand::Expire { .. } => false,
        }
    }

    fn begins_stream(command: &TokenCommand) -> bool {
        matches!(command, TokenCommand::Create(_))
    }

    fn holds_until(&self) -> Option<Timestamp> {
        if let Self::Active(grant) = self { Some(grant.term.expires_at) } else { None }
    }

    fn decide(&self, decision: &TokenDecision) -> Result<Vec<Self::Event>, TokenRefusal> {
        token::decide(self, decision)
    }

    fn wrap(event: Self::Event) -> LedgerEvent {
        LedgerEvent::Token(event)
    }

    fn unwrap(event: LedgerEvent) -> Option<Self::Event> {
        if let LedgerEvent::Token(event) = event { Some(event) } else { None }
    }
}

impl Decidable for Key {
    type Command = KeyCommand;
    const KIND: AggregateType = AggregateType::Key;

    fn decision(
        command: &KeyCommand,
        id: CompanyId,
        _company: &Company,
        power: Power,
        now: Timestamp,
    ) -> KeyDecision {
        let platform = id == CompanyId::PLATFORM;
        KeyDecision { command: command.clone(), power, platform, now }
    }

    fn relies_on_company(_command: &KeyCommand) -> bool {
        false
    }

    fn begins_stream(command: &KeyCommand) -> bool {
        matches!(command, KeyCommand::Create { .. })
    }

    fn holds_until(&self) -> Option<Timestamp> {
        if let Self::Active(grant) = self { Some(grant.term.expires_at) } else { None }
    }

    fn decide(&self, decision: &KeyDecision) -> Result<Vec<Self::Event>, KeyRefusal> {
        key::decide(self, decision)
    }

    fn wrap(event: Self::Event) -> LedgerEvent {
        LedgerEvent::Key(event)
    }

    fn unwrap(event: LedgerEvent) -> Option<Self::Event> {
        if let LedgerEvent::Key(event) = event { Some(event) } else { None }
    }
}

impl Decidable for Company {
    type Command = CompanyCommand;
    const KIND: AggregateType = AggregateType::Company;

    fn decision(
        command: &CompanyCommand,
        _id: CompanyId,
        _company: &Company,
        power: Power,
        now: Timestamp,
    ) -> CompanyDecision {
        CompanyDecision { command: command.clone(), power, now }
    }

    fn relies_on_company(_command: &CompanyCommand) -> bool {
        // Its own sequence is the expected one.
        false
    }

    fn begins_stream(command: &CompanyCommand) -> bool {
        matches!(command, CompanyCommand::Register { .. } | CompanyCommand::Establish { .. })
    }

    fn holds_until(&self) -> Option<Timestamp> {
        None
    }

    fn decide(&self, decision: &CompanyDecision) -> Result<Vec<Self::Event>, CompanyRefusal> {
        company::decide(self, decision)
    }

    fn wrap(event: Self::Event) -> LedgerEvent {
        LedgerEvent::Company(event)
    }

    fn unwrap(event: LedgerEvent) -> Option<Self::Event> {
        if let LedgerEvent::Company(event) = event { Some(event) } else { None }
    }
}
