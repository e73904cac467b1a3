//! Given past events, when a command comes, then these events or this refusal follow.
//!
//! Every step goes through `decide` and `evolve`, and then through the cqrs-es adapter, which has
//! to answer the same.

use cqrs_es::Aggregate;
use cqrs_es::test::TestFramework;
use token_ledger_domain::{Digest, Name, StoredSecret, Timestamp};

type Decided<A> = Result<Vec<<A as Aggregate>::Event>, <A as Aggregate>::Error>;

/// The two functions of an aggregate.
pub struct Rules<A: Aggregate> {
    pub decide: fn(&A, &A::Command) -> Decided<A>,
    pub evolve: fn(A, A::Event) -> A,
}

/// An aggregate with a past.
pub struct Given<A: Aggregate> {
    rules: Rules<A>,
    events: Vec<A::Event>,
}

/// What became of a command, and of the aggregate.
pub struct Outcome<A: Aggregate> {
    result: Decided<A>,
    state: A,
}

impl<A: Aggregate> Rules<A> {
    pub fn given(self, events: impl IntoIterator<Item = A::Event>) -> Given<A> {
        Given { rules: self, events: events.into_iter().collect() }
    }
}

impl<A> Given<A>
where
    A: Aggregate<Services = (), Command: Clone, Error: PartialEq> + Clone,
{
    #[track_caller]
    pub fn when(self, command: A::Command) -> Outcome<A> {
        let Self { rules, events } = self;
        let state = events.iter().cloned().fold(A::default(), rules.evolve);
        let result = (rules.decide)(&state, &command);
        let adapted = TestFramework::<A>::with(()).given(events).when(command).inspect_result();
        assert_eq!(adapted, result, "the cqrs-es adapter decides otherwise");
        let state = result.iter().flatten().cloned().fold(state, rules.evolve);
        Outcome { result, state }
    }
}

impl<A: Aggregate<Error: PartialEq>> Outcome<A> {
    /// Exactly these events; returns the state after them.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = A::Event>) -> A {
        assert_eq!(self.result, Ok(expected.into_iter().collect()));
        self.state
    }

    #[track_caller]
    pub fn then_nothing(self) {
        self.then([]);
    }

    #[track_caller]
    pub fn then_refused(self, refusal: impl Into<A::Error>) {
        assert_eq!(self.result, Err(refusal.into()));
    }
}

/// That many seconds into the tests' history.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_772_355_600_000_000).plus_seconds(seconds)
}

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// A secret of its own for each number.
pub fn secret(number: u32) -> StoredSecret {
    StoredSecret { digest: Digest::of(&number.to_string()), hint: format!("tlk_…{number:04}") }
}
