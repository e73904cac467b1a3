//! The rules of tokens: given these events, when this is asked, then that follows.

mod given;

use given::{Given, Rules, at, name, secret};
use proptest::prelude::*;
use std::collections::BTreeSet;
use token_ledger_domain::policy::{Policy, PolicyViolation};
use token_ledger_domain::token::{
    self, Create, Refresh, Token, TokenCommand, TokenDecision, TokenEvent, TokenRefusal, TokenRules,
};
use token_ledger_domain::{ClientId, ScopeSet, Timestamp};
use uuid::Uuid;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
const WEEK: i64 = 7 * DAY;
const CLIENT: ClientId = ClientId(Uuid::from_u128(7));

fn given(events: impl IntoIterator<Item = TokenEvent>) -> Given<Token> {
    Rules { decide: token::decide, evolve: token::evolve }.given(events)
}

fn scopes(text: &str) -> ScopeSet {
    text.parse().expect("scopes")
}

fn rules() -> TokenRules {
    TokenRules {
        oauth_app_enabled: true,
        policy: Policy::default(),
        clients: BTreeSet::from([CLIENT]),
    }
}

fn module_off() -> TokenRules {
    TokenRules { oauth_app_enabled: false, ..rules() }
}

fn no_client() -> TokenRules {
    TokenRules { clients: BTreeSet::new(), ..rules() }
}

fn policy(policy: Policy) -> TokenRules {
    TokenRules { policy, ..rules() }
}

fn only_positions() -> TokenRules {
    policy(Policy { allowed_scopes: Some(scopes("positions")), ..Policy::default() })
}

trait Asked: Sized {
    fn asked(self, now: Timestamp, rules: TokenRules) -> TokenDecision;

    fn at(self, seconds: i64) -> TokenDecision {
        self.asked(at(seconds), rules())
    }

    fn under(self, rules: TokenRules) -> TokenDecision {
        self.asked(at(MINUTE), rules)
    }
}

impl Asked for TokenCommand {
    fn asked(self, now: Timestamp, rules: TokenRules) -> TokenDecision {
        TokenDecision { command: self, rules, now }
    }
}

fn create() -> Create {
    Create {
        name: name("Payroll sync"),
        scopes: scopes("employees positions"),
        secret: secret(1),
        validity_seconds: None,
        client_id: None,
    }
}

fn create_for(validity_seconds: i64) -> TokenCommand {
    TokenCommand::Create(Create { validity_seconds: Some(validity_seconds), ..create() })
}

fn refresh(number: u32) -> Refresh {
    Refresh { secret: secret(number), validity_seconds: None, grace_seconds: 0 }
}

fn refresh_with_grace(number: u32, grace_seconds: i64) -> TokenCommand {
    TokenCommand::Refresh(Refresh { grace_seconds, ..refresh(number) })
}

fn refresh_for(validity_seconds: i64) -> TokenCommand {
    TokenCommand::Refresh(Refresh { validity_seconds: Some(validity_seconds), ..refresh(2) })
}

fn change_scopes(text: &str) -> TokenCommand {
    TokenCommand::ChangeScopes { scopes: scopes(text) }
}

/// Created at 0 for a week.
fn created() -> TokenEvent {
    created_until(WEEK)
}

fn created_until(seconds: i64) -> TokenEvent {
    created_with(seconds, None)
}

fn created_by_client() -> TokenEvent {
    created_with(WEEK, Some(CLIENT))
}

fn created_with(expires: i64, client_id: Option<ClientId>) -> TokenEvent {
    TokenEvent::Created {
        name: name("Payroll sync"),
        scopes: scopes("employees positions"),
        secret: secret(1),
        expires_at: at(expires),
        client_id,
    }
}

fn refreshed(number: u32, expires: i64, previous_expires: Option<i64>) -> TokenEvent {
    TokenEvent::Refreshed {
        secret: secret(number),
        expires_at: at(expires),
        previous_secret_expires_at: previous_expires.map(at),
    }
}

fn scopes_changed(to: &str, added: &str, removed: &str) -> TokenEvent {
    TokenEvent::ScopesChanged { scopes: scopes(to), added: scopes(added), removed: scopes(removed) }
}

fn expired(term: u32, seconds: i64) -> TokenEvent {
    TokenEvent::Expired { term, expired_at: at(seconds) }
}

const GRACE_ENDED: TokenEvent = TokenEvent::GraceEnded {};
const DELETED: TokenEvent = TokenEvent::Deleted {};

/// The commands that need a token to be there.
fn changes() -> [TokenCommand; 4] {
    [
        refresh_with_grace(2, 0),
        TokenCommand::EndGrace,
        change_scopes("positions"),
        TokenCommand::Delete,
    ]
}

mod create {
    use super::*;

    #[test]
    fn lasts_a_week_unless_asked_otherwise() {
        let state = given([]).when(TokenCommand::Create(create()).at(0)).then([created()]);
        let Token::Active(grant) = state else { panic!("not active: {state:?}") };
        assert_eq!(grant.name, name("Payroll sync"));
        assert_eq!(grant.scopes, scopes("employees positions"));
        assert_eq!((grant.term.number, grant.term.expires_at), (1, at(WEEK)));
        assert_eq!((grant.term.secret, grant.term.previous), (secret(1), None));
    }

    #[test]
    fn lasts_as_long_as_asked() {
        given([]).when(create_for(HOUR).at(0)).then([created_until(HOUR)]);
        given([]).when(create_for(MINUTE).at(0)).then([created_until(MINUTE)]);
        given([]).when(create_for(WEEK).at(0)).then([created_until(WEEK)]);
    }

    #[test]
    fn lasts_no_longer_than_the_policy_allows_when_nothing_is_asked() {
        let day = policy(Policy { max_validity_seconds: DAY, ..Policy::default() });
        let create = TokenCommand::Create(create()).asked(at(0), day);
        given([]).when(create).then([created_until(DAY)]);
    }

    #[test]
    fn a_policy_of_long_terms_leaves_the_default_at_a_week() {
        let year = policy(Policy { max_validity_seconds: 365 * DAY, ..Policy::default() });
        let create = TokenCommand::Create(create()).asked(at(0), year.clone());
        given([]).when(create).then([created()]);
        let create = create_for(365 * DAY).asked(at(0), year);
        given([]).when(create).then([created_until(365 * DAY)]);
    }

    #[test]
    fn remembers_the_client_that_got_it() {
        let create = TokenCommand::Create(Create { client_id: Some(CLIENT), ..create() });
        let state = given([]).when(create.at(0)).then([created_by_client()]);
        assert_eq!(state.grant().and_then(|grant| grant.client_id), Some(CLIENT));
    }

    #[test]
    fn is_refused_for_a_client_that_is_deleted() {
        let create = TokenCommand::Create(Create { client_id: Some(CLIENT), ..create() });
        given([]).when(create.under(no_client())).then_refused(TokenRefusal::ClientDeleted);
    }

    #[test]
    fn refuses_a_term_beyond_the_policy() {
        given([])
            .when(create_for(WEEK + 1).at(0))
            .then_refused(PolicyViolation::MaxValidity { asked: WEEK + 1, max: WEEK });
    }

    #[test]
    fn refuses_a_term_under_a_minute() {
        for asked in [59, 0, -1, i64::MIN] {
            given([])
                .when(create_for(asked).at(0))
                .then_refused(PolicyViolation::MinValidity { asked });
        }
    }

    #[test]
    fn refuses_scopes_that_the_policy_does_not_allow() {
        given([])
            .when(TokenCommand::Create(create()).under(only_positions()))
            .then_refused(PolicyViolation::AllowedScopes { scopes: scopes("employees") });
    }

    #[test]
    fn is_refused_while_the_module_is_off() {
        given([])
            .when(TokenCommand::Create(create()).under(module_off()))
            .then_refused(TokenRefusal::OauthAppDisabled);
    }

    #[test]
    fn is_refused_for_an_id_in_use() {
        for past in [vec![created()], vec![created(), expired(1, WEEK)], vec![created(), DELETED]] {
            given(past)
                .when(TokenCommand::Create(create()).at(2 * WEEK))
                .then_refused(TokenRefusal::Exists);
        }
    }
}

mod refresh {
    use super::*;

    #[test]
    fn begins_a_new_term_and_stops_the_old_secret_at_once() {
        let state = given([created()]).when(refresh_with_grace(2, 0).at(DAY)).then([refreshed(
            2,
            DAY + WEEK,
            None,
        )]);
        let Token::Active(grant) = state else { panic!("not active: {state:?}") };
        assert_eq!((grant.term.number, grant.term.expires_at), (2, at(DAY + WEEK)));
        assert_eq!((grant.term.secret, grant.term.previous), (secret(2), None));
    }

    #[test]
    fn keeps_name_scopes_and_client() {
        let state = given([created_by_client()])
            .when(refresh_with_grace(2, 0).at(DAY))
            .then([refreshed(2, DAY + WEEK, None)]);
        let grant = state.grant().expect("a grant");
        assert_eq!(grant.name, name("Payroll sync"));
        assert_eq!(grant.scopes, scopes("employees positions"));
        assert_eq!(grant.client_id, Some(CLIENT));
    }

    #[test]
    fn is_refused_when_the_client_that_got_the_token_is_deleted() {
        given([created_by_client()])
            .when(refresh_with_grace(2, 0).under(no_client()))
            .then_refused(TokenRefusal::ClientDeleted);
        given([created()]).when(refresh_with_grace(2, 0).under(no_client())).then([refreshed(
            2,
            MINUTE + WEEK,
            None,
        )]);
    }

    #[test]
    fn leaves_the_old_secret_a_grace_period() {
        let state = given([created()]).when(refresh_with_grace(2, HOUR).at(DAY)).then([refreshed(
            2,
            DAY + WEEK,
            Some(DAY + HOUR),
        )]);
        let previous = state.grant().and_then(|grant| grant.term.previous.clone());
        let previous = previous.expect("the old secret lives");
        assert_eq!((previous.secret, previous.expires_at), (secret(1), at(DAY + HOUR)));
    }

    #[test]
    fn grace_never_outlives_the_old_term() {
        given([created()]).when(refresh_with_grace(2, DAY).at(WEEK - HOUR)).then([refreshed(
            2,
            2 * WEEK - HOUR,
            Some(WEEK),
        )]);
    }

    #[test]
    fn a_further_refresh_ends_the_grace_of_the_secret_before() {
        let twice_refreshed = [created(), refreshed(2, DAY + WEEK, Some(2 * DAY))];
        let state = given(twice_refreshed.clone())
            .when(refresh_with_grace(3, HOUR).at(DAY + HOUR))
            .then([refreshed(3, DAY + HOUR + WEEK, Some(DAY + 2 * HOUR))]);
        let previous = state.grant().and_then(|grant| grant.term.previous.clone());
        assert_eq!(previous.map(|previous| previous.secret), Some(secret(2)));

        let state = given(twice_refreshed)
            .when(refresh_with_grace(3, 0).at(DAY + HOUR))
            .then([refreshed(3, DAY + HOUR + WEEK, None)]);
        assert_eq!(state.grant().and_then(|grant| grant.term.previous.clone()), None);
    }

    #[test]
    fn revives_an_expired_token_for_a_full_term() {
        let state = given([created(), expired(1, WEEK)])
            .when(refresh_with_grace(2, 0).at(3 * WEEK))
            .then([refreshed(2, 4 * WEEK, None)]);
        assert!(matches!(state, Token::Active(_)));
    }

    #[test]
    fn gives_the_secret_of_an_expired_term_no_grace() {
        given([created(), expired(1, WEEK)])
            .when(refresh_with_grace(2, DAY).at(2 * WEEK))
            .then([refreshed(2, 3 * WEEK, None)]);
    }

    #[test]
    fn records_the_end_of_an_overdue_term_first() {
        let state = given([created()])
            .when(refresh_with_grace(2, DAY).at(WEEK))
            .then([expired(1, WEEK), refreshed(2, 2 * WEEK, None)]);
        assert_eq!(state.grant().map(|grant| grant.term.number), Some(2));
    }

    #[test]
    fn follows_the_policy_of_today() {
        let day = policy(Policy { max_validity_seconds: DAY, ..Policy::default() });
        given([created()])
            .when(refresh_with_grace(2, 0).asked(at(DAY), day.clone()))
            .then([refreshed(2, 2 * DAY, None)]);
        given([created()])
            .when(refresh_for(WEEK).asked(at(DAY), day))
            .then_refused(PolicyViolation::MaxValidity { asked: WEEK, max: DAY });
    }

    #[test]
    fn refuses_a_term_under_a_minute() {
        given([created()])
            .when(refresh_for(59).at(DAY))
            .then_refused(PolicyViolation::MinValidity { asked: 59 });
    }

    #[test]
    fn refuses_a_grace_period_out_of_bounds() {
        for asked in [-1, DAY + 1, i64::MAX] {
            given([created()])
                .when(refresh_with_grace(2, asked).at(DAY))
                .then_refused(PolicyViolation::MaxGrace { asked, max: DAY });
        }
    }

    #[test]
    fn refuses_scopes_that_the_policy_allows_no_more() {
        given([created()])
            .when(refresh_with_grace(2, 0).under(only_positions()))
            .then_refused(PolicyViolation::AllowedScopes { scopes: scopes("employees") });
    }

    #[test]
    fn is_refused_while_the_module_is_off() {
        for past in [vec![created()], vec![created(), expired(1, MINUTE)]] {
            given(past)
                .when(refresh_with_grace(2, 0).under(module_off()))
                .then_refused(TokenRefusal::OauthAppDisabled);
        }
    }
}

mod end_grace {
    use super::*;

    fn in_grace() -> [TokenEvent; 2] {
        [created(), refreshed(2, DAY + WEEK, Some(2 * DAY))]
    }

    #[test]
    fn stops_the_old_secret() {
        let state =
            given(in_grace()).when(TokenCommand::EndGrace.at(DAY + HOUR)).then([GRACE_ENDED]);
        let grant = state.grant().expect("a grant");
        assert_eq!((&grant.term.secret, &grant.term.previous), (&secret(2), &None));
    }

    #[test]
    fn is_nothing_without_an_old_secret() {
        given([created()]).when(TokenCommand::EndGrace.at(HOUR)).then_nothing();
        given([created(), refreshed(2, DAY + WEEK, None)])
            .when(TokenCommand::EndGrace.at(DAY + HOUR))
            .then_nothing();
    }

    #[test]
    fn is_nothing_after_the_grace_period() {
        given(in_grace()).when(TokenCommand::EndGrace.at(2 * DAY)).then_nothing();
    }

    #[test]
    fn is_nothing_the_second_time() {
        let past = in_grace().into_iter().chain([GRACE_ENDED]);
        given(past).when(TokenCommand::EndGrace.at(DAY + HOUR)).then_nothing();
    }

    #[test]
    fn stops_an_old_secret_that_outlives_a_short_new_term() {
        given([created(), refreshed(2, DAY + HOUR, Some(2 * DAY))])
            .when(TokenCommand::EndGrace.at(DAY + 2 * HOUR))
            .then([expired(2, DAY + HOUR), GRACE_ENDED]);
    }
}

mod change_scopes {
    use super::*;

    #[test]
    fn says_what_came_and_what_went() {
        let state = given([created()])
            .when(change_scopes("locations positions").at(HOUR))
            .then([scopes_changed("locations positions", "locations", "employees")]);
        assert_eq!(
            state.grant().map(|grant| grant.scopes.clone()),
            Some(scopes("locations positions"))
        );
    }

    #[test]
    fn to_the_same_set_is_nothing() {
        given([created()]).when(change_scopes("positions employees").at(HOUR)).then_nothing();
    }

    #[test]
    fn of_an_expired_token_leaves_it_expired() {
        let state = given([created(), expired(1, WEEK)])
            .when(change_scopes("positions").at(2 * WEEK))
            .then([scopes_changed("positions", "", "employees")]);
        assert!(matches!(state, Token::Expired(_)));
    }

    #[test]
    fn leaves_term_and_old_secret_as_they_are() {
        let past = [created(), refreshed(2, DAY + WEEK, Some(2 * DAY))];
        let before = past.clone().into_iter().fold(Token::Absent, token::evolve);
        let after = given(past)
            .when(change_scopes("positions").at(DAY + HOUR))
            .then([scopes_changed("positions", "", "employees")]);
        assert_eq!(after.grant().map(|grant| &grant.term), before.grant().map(|grant| &grant.term));
    }

    #[test]
    fn refuses_additions_that_the_policy_does_not_allow() {
        given([created()])
            .when(change_scopes("employees locations positions").under(only_positions()))
            .then_refused(PolicyViolation::AllowedScopes { scopes: scopes("locations") });
    }

    #[test]
    fn may_narrow_a_token_that_began_under_a_wider_policy() {
        given([created()])
            .when(change_scopes("employees").under(only_positions()))
            .then([scopes_changed("employees", "", "positions")]);
    }

    #[test]
    fn works_while_the_module_is_off() {
        given([created()])
            .when(change_scopes("positions").under(module_off()))
            .then([scopes_changed("positions", "", "employees")]);
    }
}

mod delete {
    use super::*;

    #[test]
    fn ends_a_token_for_good() {
        let state = given([created()]).when(TokenCommand::Delete.at(HOUR)).then([DELETED]);
        assert!(matches!(state, Token::Deleted(_)));
    }

    #[test]
    fn ends_an_expired_token_too() {
        let state = given([created(), expired(1, WEEK)])
            .when(TokenCommand::Delete.at(2 * WEEK))
            .then([DELETED]);
        assert!(matches!(state, Token::Deleted(_)));
    }

    #[test]
    fn works_while_the_module_is_off() {
        given([created()]).when(TokenCommand::Delete.under(module_off())).then([DELETED]);
    }

    #[test]
    fn keeps_what_the_token_was() {
        let state = given([created()]).when(TokenCommand::Delete.at(HOUR)).then([DELETED]);
        assert_eq!(state.grant().map(|grant| &grant.name), Some(&name("Payroll sync")));
    }
}

mod expire {
    use super::*;

    #[test]
    fn records_the_end_of_the_term_when_it_has_come() {
        let expire = TokenCommand::Expire { term: 1 };
        given([created()]).when(expire.clone().at(WEEK - 1)).then_nothing();
        let state = given([created()]).when(expire.at(WEEK)).then([expired(1, WEEK)]);
        assert!(matches!(state, Token::Expired(_)));
    }

    #[test]
    fn says_when_the_term_ended_however_late_it_is_recorded() {
        given([created()])
            .when(TokenCommand::Expire { term: 1 }.at(9 * WEEK))
            .then([expired(1, WEEK)]);
    }

    #[test]
    fn of_a_term_that_was_refreshed_meanwhile_is_nothing() {
        given([created(), refreshed(2, DAY + WEEK, None)])
            .when(TokenCommand::Expire { term: 1 }.at(WEEK))
            .then_nothing();
        // Nor is the end of the new one, though that has come too.
        given([created(), refreshed(2, DAY + WEEK, None)])
            .when(TokenCommand::Expire { term: 1 }.at(DAY + WEEK))
            .then_nothing();
    }

    #[test]
    fn happens_once_per_term() {
        given([created(), expired(1, WEEK)])
            .when(TokenCommand::Expire { term: 1 }.at(2 * WEEK))
            .then_nothing();
        given([created(), expired(1, WEEK), refreshed(2, 3 * WEEK, None)])
            .when(TokenCommand::Expire { term: 2 }.at(3 * WEEK))
            .then([expired(2, 3 * WEEK)]);
    }

    #[test]
    fn of_what_is_absent_or_deleted_is_nothing() {
        let expire = TokenCommand::Expire { term: 1 };
        given([]).when(expire.clone().at(WEEK)).then_nothing();
        given([created(), DELETED]).when(expire.at(2 * WEEK)).then_nothing();
    }

    #[test]
    fn works_while_the_module_is_off() {
        let expire = TokenCommand::Expire { term: 1 };
        given([created()]).when(expire.asked(at(WEEK), module_off())).then([expired(1, WEEK)]);
    }
}

mod any_change {
    use super::*;

    #[test]
    fn of_an_absent_token_is_refused() {
        for command in changes() {
            given([]).when(command.at(0)).then_refused(TokenRefusal::NotFound);
        }
    }

    #[test]
    fn of_a_deleted_token_is_refused() {
        for past in [vec![created(), DELETED], vec![created(), expired(1, WEEK), DELETED]] {
            for command in changes() {
                given(past.clone()).when(command.at(2 * WEEK)).then_refused(TokenRefusal::Deleted);
            }
        }
    }

    #[test]
    fn of_an_overdue_token_records_the_end_of_its_term_first() {
        given([created()]).when(TokenCommand::Delete.at(WEEK)).then([expired(1, WEEK), DELETED]);
        given([created()])
            .when(change_scopes("positions").at(2 * WEEK))
            .then([expired(1, WEEK), scopes_changed("positions", "", "employees")]);
    }

    #[test]
    fn that_changes_nothing_still_records_the_end_of_an_overdue_term() {
        for command in [change_scopes("employees positions"), TokenCommand::EndGrace] {
            given([created()]).when(command.at(WEEK)).then([expired(1, WEEK)]);
        }
    }

    #[test]
    fn that_is_refused_records_nothing_of_an_overdue_term() {
        given([created()])
            .when(refresh_for(59).at(WEEK))
            .then_refused(PolicyViolation::MinValidity { asked: 59 });
        given([created()])
            .when(refresh_with_grace(2, 0).asked(at(WEEK), module_off()))
            .then_refused(TokenRefusal::OauthAppDisabled);
        given([created()])
            .when(TokenCommand::Create(create()).at(WEEK))
            .then_refused(TokenRefusal::Exists);
    }
}

#[test]
fn an_event_that_cannot_follow_changes_nothing() {
    let active = token::evolve(Token::Absent, created());
    let deleted = token::evolve(active.clone(), DELETED);
    for event in [refreshed(2, WEEK, None), expired(1, WEEK), GRACE_ENDED, DELETED] {
        assert_eq!(token::evolve(Token::Absent, event.clone()), Token::Absent);
        assert_eq!(token::evolve(deleted.clone(), event), deleted);
    }
    assert_eq!(token::evolve(active.clone(), created_until(HOUR)), active);
    assert_eq!(token::evolve(active.clone(), expired(2, WEEK)), active);
}

#[test]
fn a_violation_names_the_field_that_is_wrong() {
    for (violation, field) in [
        (PolicyViolation::MaxValidity { asked: 2, max: 1 }, "expires_in_seconds"),
        (PolicyViolation::MinValidity { asked: 2 }, "expires_in_seconds"),
        (PolicyViolation::MaxGrace { asked: 2, max: 1 }, "grace_period_seconds"),
        (PolicyViolation::AllowedScopes { scopes: scopes("employees") }, "scopes"),
    ] {
        assert_eq!(violation.field(), field);
    }
}

mod any_history {
    use super::*;
    use std::collections::BTreeSet;

    fn some_scopes() -> impl Strategy<Value = ScopeSet> {
        prop::sample::select(vec!["employees", "positions", "employees positions", "locations"])
            .prop_map(scopes)
    }

    fn some_validity() -> impl Strategy<Value = Option<i64>> {
        prop::option::of(prop_oneof![Just(0), Just(MINUTE), Just(HOUR), Just(WEEK), Just(9 * WEEK)])
    }

    fn some_grace() -> impl Strategy<Value = i64> {
        prop_oneof![Just(0), Just(MINUTE), Just(HOUR), Just(DAY), Just(WEEK)]
    }

    fn some_command() -> impl Strategy<Value = TokenCommand> {
        prop_oneof![
            2 => some_validity().prop_map(|validity_seconds| {
                TokenCommand::Create(Create { validity_seconds, ..create() })
            }),
            4 => (some_validity(), some_grace(), 2..1000_u32).prop_map(
                |(validity_seconds, grace_seconds, number)| TokenCommand::Refresh(Refresh {
                    secret: secret(number),
                    validity_seconds,
                    grace_seconds,
                })
            ),
            2 => Just(TokenCommand::EndGrace),
            2 => some_scopes().prop_map(|scopes| TokenCommand::ChangeScopes { scopes }),
            1 => Just(TokenCommand::Delete),
            4 => (1..6_u32).prop_map(|term| TokenCommand::Expire { term }),
        ]
    }

    fn some_rules() -> impl Strategy<Value = TokenRules> {
        (prop::bool::weighted(0.9), prop::option::of(some_scopes()), some_grace()).prop_map(
            |(oauth_app_enabled, allowed_scopes, max_grace_seconds)| TokenRules {
                oauth_app_enabled,
                policy: Policy { allowed_scopes, max_grace_seconds, ..Policy::default() },
                clients: BTreeSet::new(),
            },
        )
    }

    /// Commands with the seconds that pass before each.
    fn some_history() -> impl Strategy<Value = Vec<(i64, TokenCommand, TokenRules)>> {
        let pause = prop_oneof![Just(0), Just(1), 1..HOUR, 1..DAY, Just(WEEK)];
        prop::collection::vec((pause, some_command(), some_rules()), 1..40)
    }

    /// What one accepted event may do to a token at that moment.
    fn check_step(before: &Token, event: &TokenEvent, after: &Token, now: Timestamp) {
        assert!(!matches!(before, Token::Deleted(_)), "{event:?} happened to a deleted token");
        assert_ne!(before, after, "{event:?} was recorded but changes nothing");
        let term = &after.grant().expect("a token with events has a grant").term;
        let old = before.grant().map(|grant| &grant.term);
        match event {
            TokenEvent::Created { .. } => assert_eq!((old, term.number), (None, 1)),
            TokenEvent::Refreshed { .. } => {
                let old = old.expect("a term to refresh");
                assert_eq!(term.number, old.number + 1);
                assert!(term.expires_at > now);
                if let Some(previous) = &term.previous {
                    assert_eq!(previous.secret, old.secret);
                    assert!(previous.expires_at > now);
                    assert!(previous.expires_at <= old.expires_at);
                }
            }
            TokenEvent::Expired { term: number, expired_at } => {
                let old = old.expect("a term to expire");
                assert_eq!((*number, *expired_at), (old.number, old.expires_at));
                assert!(*expired_at <= now);
                assert_eq!(term, old);
            }
            TokenEvent::GraceEnded {} => assert_eq!(term.previous, None),
            TokenEvent::ScopesChanged { .. } | TokenEvent::Deleted {} => {
                assert_eq!(Some(term), old);
            }
        }
    }

    proptest! {
        #[test]
        fn keeps_the_laws(history in some_history()) {
            let mut token = Token::default();
            let mut recorded = Vec::new();
            let mut ended_terms = BTreeSet::new();
            let mut now = at(0);
            for (pause, command, rules) in history {
                now = now.plus_seconds(pause);
                let is_of_another_term = matches!(
                    (&command, token.grant()),
                    (TokenCommand::Expire { term }, Some(grant)) if *term != grant.term.number
                );
                let decision = command.asked(now, rules);
                let Ok(events) = token::decide(&token, &decision) else { continue };
                for event in events {
                    let next = token::evolve(token.clone(), event.clone());
                    check_step(&token, &event, &next, now);
                    if let TokenEvent::Expired { term, .. } = event {
                        prop_assert!(ended_terms.insert(term), "term {} ended twice", term);
                    }
                    token = next;
                    recorded.push(event);
                }
                if let Token::Active(grant) = &token
                    && !is_of_another_term
                {
                    prop_assert!(grant.term.expires_at > now, "an overdue term was left open");
                }
            }
            let replayed = recorded.into_iter().fold(Token::default(), token::evolve);
            prop_assert_eq!(replayed, token);
        }
    }
}
