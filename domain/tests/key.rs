//! The rules of API keys: given these events, when this is asked, then that follows.

mod given;

use given::{Given, Rules, at, name, secret};
use proptest::prelude::*;
use token_ledger_domain::key::{self, Key, KeyCommand, KeyDecision, KeyEvent, KeyRefusal};
use token_ledger_domain::power::KeyScopes;
use token_ledger_domain::{KeyScope, Power};

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
const TERM: i64 = 90 * DAY;
const LONGEST: i64 = 366 * DAY;

fn given(events: impl IntoIterator<Item = KeyEvent>) -> Given<Key> {
    Rules { decide: key::decide, evolve: key::evolve }.given(events)
}

trait Asked: Sized {
    fn by(self, power: Power, seconds: i64) -> KeyDecision;

    /// Of a key of the platform.
    fn on_platform_by(self, power: Power, seconds: i64) -> KeyDecision {
        KeyDecision { platform: true, ..self.by(power, seconds) }
    }

    fn at(self, seconds: i64) -> KeyDecision {
        self.by(Power::SuperAdmin, seconds)
    }
}

impl Asked for KeyCommand {
    fn by(self, power: Power, seconds: i64) -> KeyDecision {
        KeyDecision { command: self, power, platform: false, now: at(seconds) }
    }
}

fn create(scopes: &[KeyScope]) -> KeyCommand {
    create_for(scopes, None)
}

fn create_for(scopes: &[KeyScope], validity_seconds: Option<i64>) -> KeyCommand {
    KeyCommand::Create {
        name: name("Deployments"),
        scopes: scopes.iter().copied().collect(),
        secret: secret(1),
        validity_seconds,
    }
}

fn refresh(number: u32, grace_seconds: i64) -> KeyCommand {
    let secret = secret(number);
    KeyCommand::Refresh { secret, validity_seconds: None, grace_seconds, shown: None }
}

fn refresh_for(seconds: i64) -> KeyCommand {
    let validity_seconds = Some(seconds);
    KeyCommand::Refresh { secret: secret(2), validity_seconds, grace_seconds: 0, shown: None }
}

fn created_with(scopes: &[KeyScope], expires: i64) -> KeyEvent {
    KeyEvent::Created {
        name: name("Deployments"),
        scopes: scopes.iter().copied().collect(),
        secret: secret(1),
        expires_at: at(expires),
    }
}

/// Created at 0 for 90 days.
fn created() -> KeyEvent {
    created_with(&[KeyScope::Admin], TERM)
}

fn refreshed(number: u32, expires: i64, previous_expires: Option<i64>) -> KeyEvent {
    KeyEvent::Refreshed {
        secret: secret(number),
        expires_at: at(expires),
        previous_secret_expires_at: previous_expires.map(at),
    }
}

fn expired(term: u32, seconds: i64) -> KeyEvent {
    KeyEvent::Expired { term, expired_at: at(seconds) }
}

const DELETED: KeyEvent = KeyEvent::Deleted {};

mod create {
    use super::*;

    #[test]
    fn lasts_ninety_days_unless_asked_otherwise() {
        let state = given([]).when(create(&[KeyScope::Admin]).at(0)).then([created()]);
        let Key::Active(grant) = state else { panic!("not active: {state:?}") };
        assert_eq!(grant.name, name("Deployments"));
        assert_eq!(grant.scopes, KeyScopes::from([KeyScope::Admin]));
        assert_eq!((grant.term.number, grant.term.expires_at), (1, at(TERM)));
        assert_eq!((grant.term.secret, grant.term.previous), (secret(1), None));
    }

    #[test]
    fn lasts_from_a_minute_to_366_days_when_asked() {
        for seconds in [MINUTE, LONGEST] {
            given([])
                .when(create_for(&[KeyScope::Admin], Some(seconds)).at(0))
                .then([created_with(&[KeyScope::Admin], seconds)]);
        }
    }

    #[test]
    fn refuses_other_terms() {
        for asked in [i64::MIN, 0, MINUTE - 1, LONGEST + 1, i64::MAX] {
            given([])
                .when(create_for(&[KeyScope::Admin], Some(asked)).at(0))
                .then_refused(KeyRefusal::Validity { asked });
        }
    }

    #[test]
    fn refuses_a_key_without_scopes() {
        given([]).when(create(&[]).at(0)).then_refused(KeyRefusal::NoScopes);
    }

    #[test]
    fn is_refused_for_an_id_in_use() {
        for past in [vec![created()], vec![created(), expired(1, TERM)], vec![created(), DELETED]] {
            given(past)
                .when(create(&[KeyScope::Admin]).at(2 * TERM))
                .then_refused(KeyRefusal::Exists);
        }
    }

    #[test]
    fn nobody_grants_above_their_own_power() {
        use KeyScope::{Admin, Audit, Introspect, Operator};
        use Power::{Auditor, SuperAdmin};
        for (power, scope, granted, on_platform) in [
            (Auditor, Audit, true, true),
            (Auditor, Introspect, false, false),
            (Auditor, Admin, false, false),
            (Auditor, Operator, false, false),
            (SuperAdmin, Audit, true, true),
            // There, it is the tokens of every company.
            (SuperAdmin, Introspect, true, false),
            (SuperAdmin, Admin, true, true),
            (SuperAdmin, Operator, false, false),
            (Power::Operator, Audit, true, true),
            (Power::Operator, Introspect, true, true),
            (Power::Operator, Admin, true, true),
            (Power::Operator, Operator, false, true),
        ] {
            let create = || create(&[scope]);
            let refusal = || match scope {
                Operator if power == Power::Operator => KeyRefusal::PlatformOnly,
                _ => KeyRefusal::AboveOwnPower { scope },
            };
            for (is_granted, decision) in
                [(granted, create().by(power, 0)), (on_platform, create().on_platform_by(power, 0))]
            {
                let outcome = given([]).when(decision);
                if is_granted {
                    outcome.then([created_with(&[scope], TERM)]);
                } else {
                    outcome.then_refused(refusal());
                }
            }
        }
        for command in [refresh(2, 0), KeyCommand::Delete] {
            given([created_with(&[Introspect], TERM)])
                .when(command.on_platform_by(SuperAdmin, DAY))
                .then_refused(KeyRefusal::AboveOwnPower { scope: Introspect });
        }
    }

    #[test]
    fn one_scope_above_the_own_power_is_enough_to_refuse() {
        given([])
            .when(create(&[KeyScope::Audit, KeyScope::Admin]).by(Power::Auditor, 0))
            .then_refused(KeyRefusal::AboveOwnPower { scope: KeyScope::Admin });
    }

    #[test]
    fn operator_keys_are_for_the_platform_only() {
        given([])
            .when(create(&[KeyScope::Operator]).by(Power::Operator, 0))
            .then_refused(KeyRefusal::PlatformOnly);
        given([])
            .when(create(&[KeyScope::Operator]).by(Power::SuperAdmin, 0))
            .then_refused(KeyRefusal::AboveOwnPower { scope: KeyScope::Operator });
    }
}

mod refresh {
    use super::*;

    #[test]
    fn begins_a_new_term_and_stops_the_old_secret_at_once() {
        let state =
            given([created()]).when(refresh(2, 0).at(DAY)).then([refreshed(2, DAY + TERM, None)]);
        let Key::Active(grant) = state else { panic!("not active: {state:?}") };
        assert_eq!(grant.scopes, KeyScopes::from([KeyScope::Admin]));
        assert_eq!((grant.term.number, grant.term.expires_at), (2, at(DAY + TERM)));
        assert_eq!((grant.term.secret, grant.term.previous), (secret(2), None));
    }

    #[test]
    fn lasts_as_long_as_asked() {
        for seconds in [MINUTE, LONGEST] {
            given([created()]).when(refresh_for(seconds).at(DAY)).then([refreshed(
                2,
                DAY + seconds,
                None,
            )]);
        }
    }

    #[test]
    fn refuses_other_terms() {
        for asked in [MINUTE - 1, LONGEST + 1] {
            given([created()])
                .when(refresh_for(asked).at(DAY))
                .then_refused(KeyRefusal::Validity { asked });
        }
    }

    #[test]
    fn leaves_the_old_secret_a_grace_period_of_at_most_a_day() {
        let state = given([created()]).when(refresh(2, DAY).at(DAY)).then([refreshed(
            2,
            DAY + TERM,
            Some(2 * DAY),
        )]);
        let previous = state.grant().and_then(|grant| grant.term.previous.clone());
        let previous = previous.expect("the old secret lives");
        assert_eq!((previous.secret, previous.expires_at), (secret(1), at(2 * DAY)));
        for asked in [-1, DAY + 1] {
            given([created()])
                .when(refresh(2, asked).at(DAY))
                .then_refused(KeyRefusal::Grace { asked });
        }
    }

    #[test]
    fn grace_never_outlives_the_old_term() {
        given([created()]).when(refresh(2, DAY).at(TERM - HOUR)).then([refreshed(
            2,
            2 * TERM - HOUR,
            Some(TERM),
        )]);
    }

    #[test]
    fn a_further_refresh_ends_the_grace_of_the_secret_before() {
        let state = given([created(), refreshed(2, DAY + TERM, Some(2 * DAY))])
            .when(refresh(3, HOUR).at(DAY))
            .then([refreshed(3, DAY + TERM, Some(DAY + HOUR))]);
        let previous = state.grant().and_then(|grant| grant.term.previous.clone());
        assert_eq!(previous.map(|previous| previous.secret), Some(secret(2)));
    }

    #[test]
    fn by_its_own_secret_takes_the_current_one() {
        let shown = |number| KeyCommand::Refresh {
            secret: secret(3),
            validity_seconds: None,
            grace_seconds: 0,
            shown: Some(secret(number).digest),
        };
        let refreshed_once = || [created(), refreshed(2, DAY + TERM, Some(2 * DAY))];
        given(refreshed_once()).when(shown(1).at(DAY)).then_refused(KeyRefusal::OldSecret);
        given(refreshed_once()).when(shown(2).at(DAY)).then([refreshed(3, DAY + TERM, None)]);
    }

    #[test]
    fn revives_an_expired_key_for_a_full_term() {
        let state = given([created(), expired(1, TERM)])
            .when(refresh(2, DAY).at(2 * TERM))
            .then([refreshed(2, 3 * TERM, None)]);
        assert!(matches!(state, Key::Active(_)));
    }

    #[test]
    fn records_the_end_of_an_overdue_term_first() {
        given([created()])
            .when(refresh(2, DAY).at(TERM))
            .then([expired(1, TERM), refreshed(2, 2 * TERM, None)]);
    }

    #[test]
    fn is_a_grant_and_so_never_above_the_own_power() {
        given([created()])
            .when(refresh(2, 0).by(Power::Auditor, DAY))
            .then_refused(KeyRefusal::AboveOwnPower { scope: KeyScope::Admin });
        given([created_with(&[KeyScope::Operator], TERM)])
            .when(refresh(2, 0).by(Power::SuperAdmin, DAY))
            .then_refused(KeyRefusal::AboveOwnPower { scope: KeyScope::Operator });
        given([created_with(&[KeyScope::Operator], TERM)])
            .when(refresh(2, 0).by(Power::Operator, DAY))
            .then([refreshed(2, DAY + TERM, None)]);
    }
}

mod delete {
    use super::*;

    #[test]
    fn ends_a_key_for_good() {
        for past in [vec![created()], vec![created(), expired(1, HOUR)]] {
            let state = given(past).when(KeyCommand::Delete.at(HOUR)).then([DELETED]);
            assert!(matches!(state, Key::Deleted(_)));
        }
    }

    #[test]
    fn records_the_end_of_an_overdue_term_first() {
        given([created()]).when(KeyCommand::Delete.at(TERM)).then([expired(1, TERM), DELETED]);
    }
}

mod expire {
    use super::*;

    #[test]
    fn records_the_end_of_the_term_when_it_has_come() {
        let expire = KeyCommand::Expire { term: 1 };
        given([created()]).when(expire.clone().at(TERM - 1)).then_nothing();
        for seconds in [TERM, 2 * TERM] {
            let state =
                given([created()]).when(expire.clone().at(seconds)).then([expired(1, TERM)]);
            assert!(matches!(state, Key::Expired(_)));
        }
    }

    #[test]
    fn of_a_term_that_was_refreshed_meanwhile_is_nothing() {
        given([created(), refreshed(2, DAY + TERM, None)])
            .when(KeyCommand::Expire { term: 1 }.at(TERM))
            .then_nothing();
        // Nor is the end of the new one, though that has come too.
        given([created(), refreshed(2, DAY + TERM, None)])
            .when(KeyCommand::Expire { term: 1 }.at(DAY + TERM))
            .then_nothing();
    }

    #[test]
    fn happens_once_per_term() {
        given([created(), expired(1, TERM)])
            .when(KeyCommand::Expire { term: 1 }.at(2 * TERM))
            .then_nothing();
    }

    #[test]
    fn of_what_is_absent_or_deleted_is_nothing() {
        let expire = KeyCommand::Expire { term: 1 };
        given([]).when(expire.clone().at(TERM)).then_nothing();
        given([created(), DELETED]).when(expire.at(2 * TERM)).then_nothing();
    }
}

mod any_change {
    use super::*;

    #[test]
    fn of_an_absent_key_is_refused() {
        for command in [refresh(2, 0), KeyCommand::Delete] {
            given([]).when(command.at(0)).then_refused(KeyRefusal::NotFound);
        }
    }

    #[test]
    fn of_a_deleted_key_is_refused() {
        for past in [vec![created(), DELETED], vec![created(), expired(1, TERM), DELETED]] {
            for command in [refresh(2, 0), KeyCommand::Delete] {
                given(past.clone()).when(command.at(2 * TERM)).then_refused(KeyRefusal::Deleted);
            }
        }
    }

    #[test]
    fn that_is_refused_records_nothing_of_an_overdue_term() {
        given([created()])
            .when(refresh(2, -1).at(TERM))
            .then_refused(KeyRefusal::Grace { asked: -1 });
        given([created()])
            .when(refresh(2, 0).by(Power::Auditor, TERM))
            .then_refused(KeyRefusal::AboveOwnPower { scope: KeyScope::Admin });
    }
}

#[test]
fn an_event_that_cannot_follow_changes_nothing() {
    let active = key::evolve(Key::Absent, created());
    let deleted = key::evolve(active.clone(), DELETED);
    for event in [refreshed(2, TERM, None), expired(1, TERM), DELETED] {
        assert_eq!(key::evolve(Key::Absent, event.clone()), Key::Absent);
        assert_eq!(key::evolve(deleted.clone(), event), deleted);
    }
    assert_eq!(key::evolve(active.clone(), created_with(&[], HOUR)), active);
    assert_eq!(key::evolve(active.clone(), expired(2, TERM)), active);
}

mod any_history {
    use super::*;

    fn some_command() -> impl Strategy<Value = KeyCommand> {
        let validity =
            prop::option::of(prop_oneof![Just(0), Just(MINUTE), Just(DAY), Just(LONGEST)]);
        prop_oneof![
            Just(create(&[KeyScope::Admin])),
            (validity, prop_oneof![Just(-1), Just(0), Just(HOUR), Just(DAY)], 2..1000_u32)
                .prop_map(|(validity_seconds, grace_seconds, number)| KeyCommand::Refresh {
                    secret: secret(number),
                    validity_seconds,
                    grace_seconds,
                    shown: None,
                }),
            Just(KeyCommand::Delete),
            (1..6_u32).prop_map(|term| KeyCommand::Expire { term }),
        ]
    }

    fn check_step(before: &Key, event: &KeyEvent, after: &Key, now: i64) {
        assert!(!matches!(before, Key::Deleted(_)), "{event:?} happened to a deleted key");
        assert_ne!(before, after, "{event:?} was recorded but changes nothing");
        let term = &after.grant().expect("a key with events has a grant").term;
        let Some(old) = before.grant().map(|grant| &grant.term) else {
            return assert_eq!(term.number, 1);
        };
        match event {
            KeyEvent::Refreshed { .. } => {
                assert_eq!(term.number, old.number + 1);
                if let Some(previous) = &term.previous {
                    assert_eq!(previous.secret, old.secret);
                    assert!(previous.expires_at > at(now));
                    assert!(previous.expires_at <= old.expires_at.min(at(now + DAY)));
                }
            }
            KeyEvent::Expired { term: number, expired_at } => {
                assert_eq!((*number, *expired_at), (old.number, old.expires_at));
                assert!(matches!(before, Key::Active(_)), "term {number} ended twice");
            }
            KeyEvent::Created { .. } | KeyEvent::Deleted {} => assert_eq!(term, old),
        }
    }

    proptest! {
        #[test]
        fn keeps_the_laws(
            history in prop::collection::vec((0..TERM, some_command()), 1..40)
        ) {
            let mut key = Key::default();
            let mut now = 0;
            for (pause, command) in history {
                now += pause;
                let is_of_another_term = matches!(
                    (&command, key.grant()),
                    (KeyCommand::Expire { term }, Some(grant)) if *term != grant.term.number
                );
                let Ok(events) = key::decide(&key, &command.at(now)) else { continue };
                for event in events {
                    let next = key::evolve(key.clone(), event.clone());
                    check_step(&key, &event, &next, now);
                    key = next;
                }
                if let Key::Active(grant) = &key
                    && !is_of_another_term
                {
                    prop_assert!(grant.term.expires_at > at(now), "an overdue term was left open");
                }
            }
        }
    }
}
