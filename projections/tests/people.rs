//! What is kept of people, on every database.

#[allow(dead_code, reason = "every suite uses its part")]
mod support;

use support::{COMPANY, Fixture, Given, OTHERS, at, digest, name, on_every_database};
use token_ledger_domain::{CompanyId, MemberId, PersonId, Role};
use token_ledger_projections::People;
use token_ledger_projections::people::{Account, Link, Purpose, Session, Standing};
use uuid::Uuid;

on_every_database!(
    an_address_is_one_account,
    a_password_is_changed_from_the_one_before_only,
    a_link_is_good_once_and_until_it_is_replaced,
    a_password_set_by_link_ends_sessions_and_other_links,
    a_companys_link_is_good_while_the_person_is_in_no_other,
    sessions_come_back_and_end,
    a_session_begins_with_the_password_of_now_only,
    a_name_is_reserved_once,
);

const ADA: PersonId = PersonId(Uuid::from_u128(1));
const BOB: PersonId = PersonId(Uuid::from_u128(2));
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";

fn account(person_id: PersonId, email: &str) -> Account {
    Account {
        person_id,
        email: email.to_owned(),
        name: None,
        password_hash: None,
        vouched_by: None,
    }
}

fn link(person_id: PersonId, purpose: Purpose, number: u8) -> Link {
    let digest = digest(&format!("link {number}"));
    Link {
        person_id,
        purpose,
        digest,
        opens: Some(COMPANY),
        asked_by: None,
        created_at: at(0),
        expires_at: at(60),
    }
}

fn session(person_id: PersonId, number: u128) -> Session {
    Session {
        session_id: Uuid::from_u128(number),
        person_id,
        created_at: at(0),
        signed_in_at: at(0),
        seen_at: at(0),
        expires_at: at(600),
        ip: Some("192.0.2.7".to_owned()),
        user_agent: None,
        standing: None,
    }
}

/// Makes a person a member, as a row that is nobody's event.
async fn join<F: Fixture>(given: &Given<F>, company: CompanyId, person: PersonId) {
    let [company, member, person] =
        [company.0, person.0, person.0].map(|id| F::blob(id.as_bytes()));
    let insert = format!(
        "INSERT INTO members (company_id, member_id, person_id, role, added_at, version, position) \
         VALUES ({company}, {member}, {person}, 'auditor', 0, 1, 1)"
    );
    given.fixture.raw(insert).await;
}

async fn an_address_is_one_account<F: Fixture>() {
    let given = Given::<F>::nothing().await;
    let people = People::new(given.fixture.sql());
    let ada = Account { name: Some("Ada 🔑".to_owned()), ..account(ADA, "ada@example.com") };
    assert_eq!(people.make_account(&ada, at(0)).await.unwrap(), ada);
    let other = account(BOB, "ada@example.com");
    assert_eq!(people.make_account(&other, at(1)).await.unwrap(), ada, "the address is Ada's");
    assert_eq!(people.account("ada@example.com").await.unwrap(), Some(ada.clone()));
    assert_eq!(people.account_of(ADA).await.unwrap(), Some(ada.clone()));
    assert_eq!(people.account_of(BOB).await.unwrap(), None);
    for unknown in ["Ada@example.com", "ada@example.co", ""] {
        assert_eq!(people.account(unknown).await.unwrap(), None);
    }
    let bob = people.make_account(&account(BOB, "bob@example.com"), at(2)).await.unwrap();
    let mut both = people.accounts_of(&[BOB, PersonId(Uuid::from_u128(3)), ADA]).await.unwrap();
    both.sort_by_key(|account| account.person_id);
    assert_eq!(both, [ada, bob]);
    assert_eq!(people.accounts_of(&[]).await.unwrap(), []);
}

async fn a_password_is_changed_from_the_one_before_only<F: Fixture>() {
    let given = Given::<F>::nothing().await;
    let people = People::new(given.fixture.sql());
    people.make_account(&account(ADA, "ada@example.com"), at(0)).await.unwrap();
    let hash = async || people.account_of(ADA).await.unwrap().unwrap().password_hash;
    assert!(!people.change_password(ADA, Some(HASH), "other").await.unwrap());
    assert_eq!(hash().await, None);
    assert!(people.change_password(ADA, None, HASH).await.unwrap());
    assert!(!people.change_password(ADA, None, "other").await.unwrap(), "it has one by now");
    assert!(people.change_password(ADA, Some(HASH), "other").await.unwrap());
    assert_eq!(hash().await.as_deref(), Some("other"));
    assert!(!people.change_password(BOB, None, HASH).await.unwrap());
}

async fn a_link_is_good_once_and_until_it_is_replaced<F: Fixture>() {
    let given = Given::<F>::nothing().await;
    let people = People::new(given.fixture.sql());
    join(&given, COMPANY, ADA).await;
    let first = link(ADA, Purpose::SetPassword, 1);
    people.put_link(&first, None).await.unwrap();
    assert_eq!(people.link(first.digest, Purpose::SetPassword).await.unwrap(), Some(first));
    assert_eq!(people.link(first.digest, Purpose::SignIn).await.unwrap(), None);
    let (second, sign_in) = (link(ADA, Purpose::SetPassword, 2), link(ADA, Purpose::SignIn, 3));
    let bobs = link(BOB, Purpose::SetPassword, 4);
    for link in [&second, &sign_in, &bobs] {
        people.put_link(link, None).await.unwrap();
    }
    assert_eq!(people.link(first.digest, Purpose::SetPassword).await.unwrap(), None);
    assert!(!people.use_link(&first).await.unwrap(), "it is replaced");
    assert!(people.use_link(&second).await.unwrap());
    assert!(!people.use_link(&second).await.unwrap(), "it is used up");
    assert_eq!(people.link(sign_in.digest, Purpose::SignIn).await.unwrap(), Some(sign_in));
    people.void_links(ADA).await.unwrap();
    assert_eq!(people.link(sign_in.digest, Purpose::SignIn).await.unwrap(), None);
    assert_eq!(people.link(bobs.digest, Purpose::SetPassword).await.unwrap(), Some(bobs));
}

async fn a_password_set_by_link_ends_sessions_and_other_links<F: Fixture>() {
    let given = Given::<F>::nothing().await;
    let people = People::new(given.fixture.sql());
    for (person, email) in [(ADA, "ada@example.com"), (BOB, "bob@example.com")] {
        people.make_account(&account(person, email), at(0)).await.unwrap();
    }
    let (set, sign_in) = (link(ADA, Purpose::SetPassword, 1), link(ADA, Purpose::SignIn, 2));
    people.put_link(&set, None).await.unwrap();
    people.put_link(&sign_in, None).await.unwrap();
    assert!(people.begin_session(digest("a"), &session(ADA, 1), None).await.unwrap());
    assert!(people.begin_session(digest("b"), &session(BOB, 2), None).await.unwrap());
    assert!(!people.redeem_link(&set, HASH).await.unwrap(), "she is in no company");
    assert!(people.session(digest("a")).await.unwrap().is_some(), "nothing was done");
    join(&given, COMPANY, ADA).await;
    assert!(people.redeem_link(&set, HASH).await.unwrap());
    let ada = people.account_of(ADA).await.unwrap().unwrap();
    assert_eq!(ada.password_hash.as_deref(), Some(HASH));
    assert_eq!(people.session(digest("a")).await.unwrap(), None);
    assert!(people.session(digest("b")).await.unwrap().is_some(), "Bob is let be");
    assert_eq!(people.link(sign_in.digest, Purpose::SignIn).await.unwrap(), None);
    assert!(!people.redeem_link(&set, "other").await.unwrap(), "it is used up");
    let ada = people.account_of(ADA).await.unwrap().unwrap();
    assert_eq!(ada.password_hash.as_deref(), Some(HASH));
}

async fn a_companys_link_is_good_while_the_person_is_in_no_other<F: Fixture>() {
    let given = Given::<F>::nothing().await;
    let people = People::new(given.fixture.sql());
    people.make_account(&account(ADA, "ada@example.com"), at(0)).await.unwrap();
    let asked = |number| Link {
        asked_by: Some(COMPANY),
        opens: None,
        ..link(ADA, Purpose::SetPassword, number)
    };
    let vouched_by = async || people.account_of(ADA).await.unwrap().unwrap().vouched_by;
    join(&given, COMPANY, ADA).await;
    people.put_link(&asked(1), None).await.unwrap();
    assert!(people.redeem_link(&asked(1), HASH).await.unwrap());
    assert_eq!(vouched_by().await, Some(COMPANY));
    assert!(people.change_password(ADA, Some(HASH), "other").await.unwrap());
    assert_eq!(vouched_by().await, Some(COMPANY), "whoever knows the old one sets the new one");

    people.put_link(&asked(2), None).await.unwrap();
    join(&given, OTHERS[1], ADA).await;
    assert!(!people.redeem_link(&asked(2), HASH).await.unwrap());
    let ada = people.account_of(ADA).await.unwrap().unwrap();
    assert_eq!(ada.password_hash.as_deref(), Some("other"));
    let operators = link(ADA, Purpose::SetPassword, 3);
    people.put_link(&operators, None).await.unwrap();
    assert!(people.redeem_link(&operators, HASH).await.unwrap());
    assert_eq!(vouched_by().await, None);
}

async fn sessions_come_back_and_end<F: Fixture>() {
    let given = Given::<F>::nothing().await;
    let people = People::new(given.fixture.sql());
    people.make_account(&account(ADA, "ada@example.com"), at(0)).await.unwrap();
    let standing = Standing {
        entered: COMPANY,
        member_company: CompanyId::PLATFORM,
        member_id: MemberId(Uuid::from_u128(9)),
        role: Role::Operator,
    };
    let first = session(ADA, 1);
    let second = Session { created_at: at(1), standing: Some(standing), ..session(ADA, 2) };
    assert!(people.begin_session(digest("1"), &first, None).await.unwrap());
    assert!(people.begin_session(digest("2"), &second, None).await.unwrap());
    assert_eq!(people.session(digest("1")).await.unwrap(), Some(first.clone()));
    assert_eq!(people.sessions(ADA).await.unwrap(), [second.clone(), first.clone()]);
    assert_eq!(people.sessions(BOB).await.unwrap(), []);

    people.note_session(&first, at(5)).await.unwrap();
    people.confirm_session(&first, at(6)).await.unwrap();
    people.place_session(&first, &standing).await.unwrap();
    let now =
        Session { seen_at: at(5), signed_in_at: at(6), standing: Some(standing), ..first.clone() };
    assert_eq!(people.session(digest("1")).await.unwrap(), Some(now));

    people.end_session(BOB, second.session_id).await.unwrap();
    assert!(people.session(digest("2")).await.unwrap().is_some(), "it is not Bob's to end");
    people.end_session(ADA, second.session_id).await.unwrap();
    assert_eq!(people.session(digest("2")).await.unwrap(), None);
    people.end_sessions_by(OTHERS[0], standing.member_id).await.unwrap();
    assert!(people.session(digest("1")).await.unwrap().is_some());
    people.end_sessions_by(CompanyId::PLATFORM, standing.member_id).await.unwrap();
    assert_eq!(people.session(digest("1")).await.unwrap(), None);
    people.note_session(&first, at(7)).await.unwrap();
    assert_eq!(people.session(digest("1")).await.unwrap(), None, "an ended one stays ended");

    let over = Session { expires_at: at(10), ..session(ADA, 3) };
    assert!(people.begin_session(digest("3"), &over, None).await.unwrap());
    let later = Session { created_at: at(10), ..session(ADA, 4) };
    assert!(people.begin_session(digest("4"), &later, None).await.unwrap());
    assert_eq!(people.sessions(ADA).await.unwrap(), [later], "what is over is forgotten");
}

async fn a_session_begins_with_the_password_of_now_only<F: Fixture>() {
    let given = Given::<F>::nothing().await;
    let people = People::new(given.fixture.sql());
    people.make_account(&account(ADA, "ada@example.com"), at(0)).await.unwrap();
    people.change_password(ADA, None, HASH).await.unwrap();
    for hash in [None, Some("other")] {
        assert!(!people.begin_session(digest("1"), &session(ADA, 1), hash).await.unwrap());
    }
    assert!(!people.begin_session(digest("2"), &session(BOB, 2), None).await.unwrap());
    assert!(people.begin_session(digest("1"), &session(ADA, 1), Some(HASH)).await.unwrap());
}

async fn a_name_is_reserved_once<F: Fixture>() {
    let given = Given::<F>::nothing().await;
    let people = People::new(given.fixture.sql());
    let (one, other) = (OTHERS[0], OTHERS[1]);
    let acme = name("Acme");
    let race = tokio::join!(people.reserve_name(&acme, one), people.reserve_name(&acme, other));
    let winner = race.0.unwrap();
    assert_eq!(race.1.unwrap(), winner);
    assert_eq!(people.reserve_name(&acme, COMPANY).await.unwrap(), winner);
    for same in ["acme", "ACME ", "Ac\u{200B}me"] {
        assert_eq!(people.reserve_name(&name(same), COMPANY).await.unwrap(), winner, "{same:?}");
    }
    assert_eq!(people.reserve_name(&name("Acme 2"), COMPANY).await.unwrap(), COMPANY);
    // As former releases reserved them: letter by letter, and with their white space as it was.
    for (before, now) in [("Globex", "Globex"), ("alpha  gmbh", "ALPHA  GmbH")] {
        people.put_name(before, one).await.unwrap();
        assert_eq!(people.reserve_name(&name(now), COMPANY).await.unwrap(), one, "{before}");
    }
}
