//! The rules of companies: given these events, when this is asked, then that follows.

mod given;

use given::{Given, Rules, at, name, secret};
use proptest::prelude::*;
use std::collections::BTreeSet;
use token_ledger_domain::company::{
    self, Company, CompanyCommand, CompanyDecision, CompanyEvent, CompanyRefusal,
};
use token_ledger_domain::policy::{Policy, PolicyViolation};
use token_ledger_domain::token::{Create, Refresh, TokenCommand};
use token_ledger_domain::{ClientId, MemberId, PersonId, Power, Role, ScopeSet};
use uuid::Uuid;

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
const LONGEST: i64 = 366 * DAY;
const CLIENT: ClientId = ClientId(Uuid::from_u128(1));
const LAST: CompanyRefusal = CompanyRefusal::LastSuperAdmin { role: Role::SuperAdmin };
const LAST_OPERATOR: CompanyRefusal = CompanyRefusal::LastSuperAdmin { role: Role::Operator };

fn given(events: impl IntoIterator<Item = CompanyEvent>) -> Given<Company> {
    Rules { decide: company::decide, evolve: company::evolve }.given(events)
}

trait Asked: Sized {
    fn by(self, power: Power) -> CompanyDecision;

    fn asked(self) -> CompanyDecision {
        self.by(Power::SuperAdmin)
    }
}

impl Asked for CompanyCommand {
    fn by(self, power: Power) -> CompanyDecision {
        CompanyDecision { command: self, power, now: at(0) }
    }
}

fn member(number: u128) -> MemberId {
    MemberId(Uuid::from_u128(number))
}

fn person(number: u128) -> PersonId {
    PersonId(Uuid::from_u128(1000 + number))
}

fn scopes(text: &str) -> ScopeSet {
    text.parse().expect("scopes")
}

fn register() -> CompanyCommand {
    CompanyCommand::Register { name: name("Acme") }
}

fn establish() -> CompanyCommand {
    CompanyCommand::Establish { name: name("Acme"), member_id: member(1), person_id: person(1) }
}

fn change_policy(policy: &Policy) -> CompanyCommand {
    CompanyCommand::ChangePolicy { policy: policy.clone() }
}

fn add(number: u128, role: Role) -> CompanyCommand {
    CompanyCommand::AddMember {
        member_id: member(number),
        person_id: person(number),
        role,
        platform: false,
    }
}

fn add_on_platform(number: u128, role: Role) -> CompanyCommand {
    CompanyCommand::AddMember {
        member_id: member(number),
        person_id: person(number),
        role,
        platform: true,
    }
}

fn change_role(number: u128, role: Role) -> CompanyCommand {
    CompanyCommand::ChangeRole { member_id: member(number), role, platform: false }
}

fn change_role_on_platform(number: u128, role: Role) -> CompanyCommand {
    CompanyCommand::ChangeRole { member_id: member(number), role, platform: true }
}

fn remove(number: u128) -> CompanyCommand {
    CompanyCommand::RemoveMember { member_id: member(number) }
}

fn create_client() -> CompanyCommand {
    CompanyCommand::CreateClient {
        client_id: CLIENT,
        name: name("HR portal"),
        scopes: scopes("employees"),
        secret: secret(1),
    }
}

fn rotate(number: u32, grace_seconds: i64) -> CompanyCommand {
    CompanyCommand::RotateClient { client_id: CLIENT, secret: secret(number), grace_seconds }
}

fn delete_client() -> CompanyCommand {
    CompanyCommand::DeleteClient { client_id: CLIENT }
}

fn erase(number: u128) -> CompanyCommand {
    CompanyCommand::ErasePerson { person_id: person(number) }
}

fn registered() -> CompanyEvent {
    CompanyEvent::Registered { name: name("Acme") }
}

fn policy_changed(policy: &Policy) -> CompanyEvent {
    CompanyEvent::PolicyChanged { policy: policy.clone() }
}

fn added(number: u128, role: Role) -> CompanyEvent {
    CompanyEvent::MemberAdded { member_id: member(number), person_id: person(number), role }
}

fn role_changed(number: u128, previous_role: Role, role: Role) -> CompanyEvent {
    CompanyEvent::MemberRoleChanged { member_id: member(number), role, previous_role }
}

fn removed(number: u128) -> CompanyEvent {
    CompanyEvent::MemberRemoved { member_id: member(number) }
}

fn client_created() -> CompanyEvent {
    CompanyEvent::ClientCreated {
        client_id: CLIENT,
        name: name("HR portal"),
        scopes: scopes("employees"),
        secret: secret(1),
    }
}

fn rotated(number: u32, previous_expires: Option<i64>) -> CompanyEvent {
    CompanyEvent::ClientRotated {
        client_id: CLIENT,
        secret: secret(number),
        previous_secret_expires_at: previous_expires.map(at),
    }
}

fn erased(number: u128) -> CompanyEvent {
    CompanyEvent::PersonErased { person_id: person(number) }
}

const ENABLED: CompanyEvent = CompanyEvent::OauthAppEnabled {};
const DISABLED: CompanyEvent = CompanyEvent::OauthAppDisabled {};
const CLIENT_DELETED: CompanyEvent = CompanyEvent::ClientDeleted { client_id: CLIENT };

/// A company with member 1, its only Super Admin.
fn with_one_admin() -> Vec<CompanyEvent> {
    vec![registered(), added(1, Role::SuperAdmin)]
}

mod register {
    use super::*;

    #[test]
    fn makes_a_company_with_the_module_off_and_the_default_policy() {
        let state = given([]).when(register().by(Power::Operator)).then([registered()]);
        assert!(state.exists());
        assert_eq!(state.name, Some(name("Acme")));
        assert!(!state.token_rules(&TokenCommand::Delete).oauth_app_enabled);
        assert_eq!(state.token_rules(&TokenCommand::Delete).policy, Policy::default());
        assert!(state.members.is_empty() && state.clients.is_empty());
    }

    #[test]
    fn comes_with_the_module_and_the_first_super_admin_all_at_once() {
        let state = given([]).when(establish().by(Power::Operator)).then([
            registered(),
            CompanyEvent::OauthAppEnabled {},
            added(1, Role::SuperAdmin),
        ]);
        assert!(state.exists() && state.oauth_app_enabled);
        assert_eq!(state.members.len(), 1);
        // From then on the rules for the last Super Admin hold.
        given([registered(), CompanyEvent::OauthAppEnabled {}, added(1, Role::SuperAdmin)])
            .when(remove(1).by(Power::Operator))
            .then_refused(LAST);
    }

    #[test]
    fn of_a_company_that_exists_adds_no_super_admin_to_it() {
        for events in [vec![registered()], vec![registered(), added(2, Role::SuperAdmin)]] {
            given(events)
                .when(establish().by(Power::Operator))
                .then_refused(CompanyRefusal::Exists);
        }
    }

    #[test]
    fn is_refused_the_second_time() {
        given([registered()])
            .when(register().by(Power::Operator))
            .then_refused(CompanyRefusal::Exists);
    }

    #[test]
    fn comes_before_everything_else() {
        for command in [
            CompanyCommand::SetOauthApp { enabled: true },
            change_policy(&Policy::default()),
            add(1, Role::Auditor),
            change_role(1, Role::Auditor),
            remove(1),
            create_client(),
            rotate(2, 0),
            delete_client(),
            erase(1),
        ] {
            given([]).when(command.by(Power::Operator)).then_refused(CompanyRefusal::NotFound);
        }
    }
}

mod oauth_app {
    use super::*;

    const TURN_ON: CompanyCommand = CompanyCommand::SetOauthApp { enabled: true };
    const TURN_OFF: CompanyCommand = CompanyCommand::SetOauthApp { enabled: false };

    #[test]
    fn turns_on_and_off_again() {
        let state = given([registered()]).when(TURN_ON.by(Power::Operator)).then([ENABLED]);
        assert!(state.token_rules(&TokenCommand::Delete).oauth_app_enabled);
        let state =
            given([registered(), ENABLED]).when(TURN_OFF.by(Power::Operator)).then([DISABLED]);
        assert!(!state.token_rules(&TokenCommand::Delete).oauth_app_enabled);
    }

    #[test]
    fn turned_where_it_stands_is_nothing() {
        given([registered()]).when(TURN_OFF.by(Power::Operator)).then_nothing();
        given([registered(), ENABLED]).when(TURN_ON.by(Power::Operator)).then_nothing();
        given([registered(), ENABLED, DISABLED]).when(TURN_OFF.by(Power::Operator)).then_nothing();
    }
}

mod policy {
    use super::*;

    fn strict() -> Policy {
        Policy {
            max_validity_seconds: DAY,
            max_grace_seconds: 0,
            allowed_scopes: Some(scopes("employees")),
        }
    }

    #[test]
    fn is_replaced_as_a_whole() {
        let state = given([registered()])
            .when(change_policy(&strict()).asked())
            .then([policy_changed(&strict())]);
        assert_eq!(state.token_rules(&TokenCommand::Delete).policy, strict());
    }

    #[test]
    fn that_stands_already_is_nothing() {
        given([registered()]).when(change_policy(&Policy::default()).asked()).then_nothing();
        given([registered(), policy_changed(&strict())])
            .when(change_policy(&strict()).asked())
            .then_nothing();
    }

    #[test]
    fn allows_terms_of_a_minute_to_366_days() {
        for max_validity_seconds in [60, LONGEST] {
            let policy = Policy { max_validity_seconds, ..strict() };
            given([registered()])
                .when(change_policy(&policy).asked())
                .then([policy_changed(&policy)]);
        }
        for max_validity_seconds in [i64::MIN, 0, 59, LONGEST + 1] {
            let policy = Policy { max_validity_seconds, ..strict() };
            given([registered()]).when(change_policy(&policy).asked()).then_refused(
                CompanyRefusal::PolicyBounds {
                    rule: "max_validity_seconds",
                    min: 60,
                    max: LONGEST,
                },
            );
        }
    }

    #[test]
    fn allows_grace_of_nothing_to_366_days() {
        for max_grace_seconds in [0, LONGEST] {
            let policy = Policy { max_grace_seconds, ..Policy::default() };
            given([registered()])
                .when(change_policy(&policy).asked())
                .then([policy_changed(&policy)]);
        }
        for max_grace_seconds in [-1, LONGEST + 1] {
            let policy = Policy { max_grace_seconds, ..Policy::default() };
            given([registered()]).when(change_policy(&policy).asked()).then_refused(
                CompanyRefusal::PolicyBounds { rule: "max_grace_seconds", min: 0, max: LONGEST },
            );
        }
    }

    #[test]
    fn allows_at_least_one_scope() {
        let policy = Policy { allowed_scopes: Some(ScopeSet::default()), ..strict() };
        given([registered()])
            .when(change_policy(&policy).asked())
            .then_refused(CompanyRefusal::NoScopesAllowed);
    }
}

mod add_member {
    use super::*;

    #[test]
    fn gives_a_person_a_role() {
        let state = given(with_one_admin())
            .when(add(2, Role::Auditor).asked())
            .then([added(2, Role::Auditor)]);
        let new = &state.members[&member(2)];
        assert_eq!((new.person_id, new.role), (person(2), Role::Auditor));
    }

    #[test]
    fn refuses_a_person_who_is_a_member_already() {
        let again = CompanyCommand::AddMember {
            member_id: member(2),
            person_id: person(1),
            role: Role::Auditor,
            platform: false,
        };
        given(with_one_admin()).when(again.asked()).then_refused(CompanyRefusal::MemberExists);
    }

    #[test]
    fn refuses_an_id_in_use() {
        let same_id = CompanyCommand::AddMember {
            member_id: member(1),
            person_id: person(2),
            role: Role::Auditor,
            platform: false,
        };
        given(with_one_admin()).when(same_id.asked()).then_refused(CompanyRefusal::MemberExists);
    }

    #[test]
    fn takes_back_a_person_who_was_removed() {
        let past = with_one_admin().into_iter().chain([added(2, Role::Auditor), removed(2)]);
        given(past).when(add(2, Role::SuperAdmin).asked()).then([added(2, Role::SuperAdmin)]);
    }

    #[test]
    fn nobody_grants_above_their_own_power() {
        let roles = [Role::Auditor, Role::SuperAdmin, Role::Operator];
        for power in [Power::Auditor, Power::SuperAdmin, Power::Operator] {
            for role in roles {
                let outcome = given([registered()]).when(add_on_platform(1, role).by(power));
                if role.power() <= power {
                    outcome.then([added(1, role)]);
                } else {
                    outcome.then_refused(CompanyRefusal::AboveOwnPower { role });
                }
            }
        }
    }

    #[test]
    fn operators_are_members_of_the_platform_only() {
        given([registered()])
            .when(add(1, Role::Operator).by(Power::Operator))
            .then_refused(CompanyRefusal::PlatformOnly);
        given([registered()])
            .when(add(1, Role::Operator).by(Power::SuperAdmin))
            .then_refused(CompanyRefusal::AboveOwnPower { role: Role::Operator });
    }
}

mod change_role {
    use super::*;

    fn with_two_admins() -> Vec<CompanyEvent> {
        vec![registered(), added(1, Role::SuperAdmin), added(2, Role::SuperAdmin)]
    }

    #[test]
    fn raises_and_lowers() {
        let past = with_one_admin().into_iter().chain([added(2, Role::Auditor)]);
        let state = given(past)
            .when(change_role(2, Role::SuperAdmin).asked())
            .then([role_changed(2, Role::Auditor, Role::SuperAdmin)]);
        assert_eq!(state.members[&member(2)].role, Role::SuperAdmin);

        let state = given(with_two_admins())
            .when(change_role(1, Role::Auditor).asked())
            .then([role_changed(1, Role::SuperAdmin, Role::Auditor)]);
        assert_eq!(state.members[&member(1)].role, Role::Auditor);
        assert_eq!(state.members[&member(1)].person_id, person(1));
    }

    #[test]
    fn to_the_same_role_is_nothing() {
        given(with_one_admin()).when(change_role(1, Role::SuperAdmin).asked()).then_nothing();
    }

    #[test]
    fn of_no_member_is_refused() {
        given(with_one_admin())
            .when(change_role(2, Role::Auditor).asked())
            .then_refused(CompanyRefusal::MemberNotFound);
    }

    #[test]
    fn of_the_last_super_admin_to_less_is_refused() {
        given(with_one_admin()).when(change_role(1, Role::Auditor).asked()).then_refused(LAST);
        let one_was_lowered =
            with_two_admins().into_iter().chain([role_changed(2, Role::SuperAdmin, Role::Auditor)]);
        given(one_was_lowered).when(change_role(1, Role::Auditor).asked()).then_refused(LAST);
    }

    #[test]
    fn of_the_last_super_admin_to_more_leaves_one_who_can_not_be_lowered() {
        given(with_one_admin())
            .when(change_role_on_platform(1, Role::Operator).by(Power::Operator))
            .then([role_changed(1, Role::SuperAdmin, Role::Operator)]);
        let raised =
            with_one_admin().into_iter().chain([role_changed(1, Role::SuperAdmin, Role::Operator)]);
        given(raised)
            .when(change_role_on_platform(1, Role::Auditor).by(Power::Operator))
            .then_refused(LAST_OPERATOR);
    }

    #[test]
    fn of_the_platforms_last_operator_to_less_is_refused() {
        let past = || with_one_admin().into_iter().chain([added(2, Role::Operator)]);
        for role in [Role::SuperAdmin, Role::Auditor] {
            given(past())
                .when(change_role_on_platform(2, role).by(Power::Operator))
                .then_refused(LAST_OPERATOR);
        }
        given(past().chain([added(3, Role::Operator)]))
            .when(change_role_on_platform(2, Role::Auditor).by(Power::Operator))
            .then([role_changed(2, Role::Operator, Role::Auditor)]);
        // An operator does what a Super Admin does.
        given(past())
            .when(change_role_on_platform(1, Role::Auditor).by(Power::Operator))
            .then([role_changed(1, Role::SuperAdmin, Role::Auditor)]);
    }

    #[test]
    fn above_the_own_power_is_refused() {
        let past = with_one_admin().into_iter().chain([added(2, Role::Auditor)]);
        given(past)
            .when(change_role(2, Role::SuperAdmin).by(Power::Auditor))
            .then_refused(CompanyRefusal::AboveOwnPower { role: Role::SuperAdmin });
    }

    #[test]
    fn of_somebody_above_the_own_power_is_refused() {
        let past = with_one_admin().into_iter().chain([added(2, Role::Operator)]);
        given(past)
            .when(change_role_on_platform(2, Role::Auditor).asked())
            .then_refused(CompanyRefusal::AboveOwnPower { role: Role::Operator });
    }

    #[test]
    fn to_operator_is_for_the_platform_only() {
        given(with_two_admins())
            .when(change_role(1, Role::Operator).by(Power::Operator))
            .then_refused(CompanyRefusal::PlatformOnly);
    }
}

mod remove_member {
    use super::*;

    #[test]
    fn ends_the_membership() {
        let past = with_one_admin().into_iter().chain([added(2, Role::Auditor)]);
        let state = given(past).when(remove(2).asked()).then([removed(2)]);
        assert!(!state.members.contains_key(&member(2)));
    }

    #[test]
    fn may_take_a_super_admin_when_another_stays() {
        let past = with_one_admin().into_iter().chain([added(2, Role::SuperAdmin)]);
        given(past).when(remove(1).asked()).then([removed(1)]);
    }

    #[test]
    fn never_takes_the_last_super_admin() {
        given(with_one_admin()).when(remove(1).by(Power::Operator)).then_refused(LAST);
        let past = with_one_admin().into_iter().chain([added(2, Role::Auditor)]);
        given(past).when(remove(1).asked()).then_refused(LAST);
    }

    #[test]
    fn never_leaves_an_erased_super_admin_alone() {
        let past = || with_one_admin().into_iter().chain([added(2, Role::SuperAdmin), erased(2)]);
        given(past()).when(remove(1).asked()).then_refused(LAST);
        given(past()).when(remove(2).asked()).then([removed(2)]);
        given(past().chain([added(3, Role::SuperAdmin)]))
            .when(remove(1).asked())
            .then([removed(1)]);
    }

    #[test]
    fn never_takes_the_platforms_last_operator() {
        for other in [Role::Auditor, Role::SuperAdmin] {
            given([registered(), added(1, Role::Operator), added(2, other)])
                .when(remove(1).by(Power::Operator))
                .then_refused(LAST_OPERATOR);
        }
    }

    #[test]
    fn of_somebody_above_the_own_power_is_refused() {
        let past = with_one_admin().into_iter().chain([added(2, Role::Operator)]);
        given(past)
            .when(remove(2).asked())
            .then_refused(CompanyRefusal::AboveOwnPower { role: Role::Operator });
    }

    #[test]
    fn of_no_member_or_a_removed_one_is_refused() {
        given(with_one_admin())
            .when(remove(2).asked())
            .then_refused(CompanyRefusal::MemberNotFound);
        let past = with_one_admin().into_iter().chain([added(2, Role::Auditor), removed(2)]);
        given(past).when(remove(2).asked()).then_refused(CompanyRefusal::MemberNotFound);
    }
}

mod clients {
    use super::*;

    #[test]
    fn are_created_with_name_scopes_and_secret() {
        let state = given([registered()]).when(create_client().asked()).then([client_created()]);
        let client = &state.clients[&CLIENT];
        assert_eq!((&client.name, &client.scopes), (&name("HR portal"), &scopes("employees")));
        assert_eq!((&client.secret, &client.previous), (&secret(1), &None));
    }

    #[test]
    fn are_created_once_per_id() {
        given([registered(), client_created()])
            .when(create_client().asked())
            .then_refused(CompanyRefusal::ClientExists);
    }

    #[test]
    fn get_a_new_secret_and_lose_the_old_one_at_once() {
        let state = given([registered(), client_created()])
            .when(rotate(2, 0).asked())
            .then([rotated(2, None)]);
        let client = &state.clients[&CLIENT];
        assert_eq!((&client.secret, &client.previous), (&secret(2), &None));
    }

    #[test]
    fn keep_the_old_secret_for_a_grace_period() {
        let state = given([registered(), client_created()])
            .when(rotate(2, HOUR).asked())
            .then([rotated(2, Some(HOUR))]);
        assert_eq!(state.clients[&CLIENT].previous, Some((secret(1), at(HOUR))));
    }

    #[test]
    fn keep_at_most_one_old_secret() {
        let past = [registered(), client_created(), rotated(2, Some(HOUR))];
        let state = given(past.clone()).when(rotate(3, DAY).asked()).then([rotated(3, Some(DAY))]);
        assert_eq!(state.clients[&CLIENT].previous, Some((secret(2), at(DAY))));
        let state = given(past).when(rotate(3, 0).asked()).then([rotated(3, None)]);
        assert_eq!(state.clients[&CLIENT].previous, None);
    }

    #[test]
    fn have_a_grace_period_within_the_policy() {
        for asked in [-1, DAY + 1] {
            given([registered(), client_created()]).when(rotate(2, asked).asked()).then_refused(
                CompanyRefusal::Policy(PolicyViolation::MaxGrace { asked, max: DAY }),
            );
        }
        let no_grace = Policy { max_grace_seconds: 0, ..Policy::default() };
        given([registered(), policy_changed(&no_grace), client_created()])
            .when(rotate(2, 1).asked())
            .then_refused(CompanyRefusal::Policy(PolicyViolation::MaxGrace { asked: 1, max: 0 }));
    }

    #[test]
    fn are_deleted_once() {
        let state = given([registered(), client_created()])
            .when(delete_client().asked())
            .then([CLIENT_DELETED]);
        assert!(state.clients.is_empty());
        given([registered(), client_created(), CLIENT_DELETED])
            .when(delete_client().asked())
            .then_refused(CompanyRefusal::ClientNotFound);
    }

    #[test]
    fn that_are_deleted_are_named_to_no_command_of_a_token() {
        let create = |client_id| {
            TokenCommand::Create(Create {
                name: name("HR portal"),
                scopes: scopes("employees"),
                secret: secret(9),
                validity_seconds: None,
                client_id,
            })
        };
        let refresh = TokenCommand::Refresh(Refresh {
            secret: secret(9),
            validity_seconds: None,
            grace_seconds: 0,
        });
        let state =
            [registered(), client_created()].into_iter().fold(Company::default(), company::evolve);
        let known = BTreeSet::from([CLIENT]);
        assert_eq!(state.token_rules(&create(Some(CLIENT))).clients, known);
        assert_eq!(state.token_rules(&refresh).clients, known);
        assert!(state.token_rules(&create(None)).clients.is_empty());
        let state = company::evolve(state, CLIENT_DELETED);
        assert!(state.token_rules(&create(Some(CLIENT))).clients.is_empty());
        assert!(state.token_rules(&refresh).clients.is_empty());
    }

    #[test]
    fn that_are_absent_or_deleted_get_no_new_secret() {
        for past in [vec![registered()], vec![registered(), client_created(), CLIENT_DELETED]] {
            given(past).when(rotate(2, 0).asked()).then_refused(CompanyRefusal::ClientNotFound);
        }
    }
}

mod erase_person {
    use super::*;

    #[test]
    fn is_recorded_for_members_and_for_those_who_were() {
        for past in [
            with_one_admin(),
            vec![registered(), added(1, Role::Auditor), removed(1)],
            vec![registered()],
        ] {
            let mut expected = past.iter().cloned().fold(Company::default(), company::evolve);
            for membership in expected.members.values_mut() {
                membership.is_erased = true;
            }
            let after = given(past).when(erase(1).by(Power::Operator)).then([erased(1)]);
            assert_eq!(after, expected, "the membership stays");
        }
    }
}

#[test]
fn an_event_that_cannot_follow_changes_nothing() {
    let policy = Policy { max_validity_seconds: DAY, ..Policy::default() };
    for event in [
        ENABLED,
        policy_changed(&policy),
        added(1, Role::Auditor),
        role_changed(1, Role::Auditor, Role::SuperAdmin),
        removed(1),
        client_created(),
        rotated(2, None),
        CLIENT_DELETED,
    ] {
        assert_eq!(company::evolve(Company::default(), event), Company::default());
    }

    let past = with_one_admin().into_iter().chain([client_created(), rotated(2, None)]);
    let company = past.fold(Company::default(), company::evolve);
    for event in [
        CompanyEvent::Registered { name: name("Another") },
        added(1, Role::Auditor),
        role_changed(2, Role::Auditor, Role::SuperAdmin),
        removed(2),
        client_created(),
    ] {
        assert_eq!(company::evolve(company.clone(), event), company);
    }
}

mod any_history {
    use super::*;

    fn some_power() -> impl Strategy<Value = Power> {
        prop::sample::select(vec![Power::Auditor, Power::SuperAdmin, Power::Operator])
    }

    fn some_role() -> impl Strategy<Value = Role> {
        prop::sample::select(vec![Role::Auditor, Role::SuperAdmin, Role::Operator])
    }

    fn some_command() -> impl Strategy<Value = CompanyCommand> {
        let number = 1..5_u128;
        prop_oneof![
            (number.clone(), some_role()).prop_map(|(number, role)| add_on_platform(number, role)),
            (number.clone(), some_role())
                .prop_map(|(number, role)| change_role_on_platform(number, role)),
            number.prop_map(remove),
            Just(create_client()),
            (2..1000_u32, 0..2 * DAY).prop_map(|(number, grace)| rotate(number, grace)),
            Just(delete_client()),
            any::<bool>().prop_map(|enabled| CompanyCommand::SetOauthApp { enabled }),
        ]
    }

    proptest! {
        #[test]
        fn keeps_the_laws(
            history in prop::collection::vec((some_command(), some_power()), 1..60)
        ) {
            let mut company = with_one_admin().into_iter().fold(Company::default(), company::evolve);
            for (command, power) in history {
                let Ok(events) = company::decide(&company, &command.clone().by(power)) else {
                    continue;
                };
                for event in events {
                    let next = company::evolve(company.clone(), event.clone());
                    prop_assert_ne!(&next, &company, "{:?} changes nothing", event);
                    company = next;
                }
                prop_assert!(
                    company.members.values().any(|member| member.role.power() >= Power::SuperAdmin),
                    "{command:?} left nobody in charge"
                );
            }
        }
    }
}
