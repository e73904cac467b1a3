//! People: their addresses and accounts, and the links by which they come in.

use super::input::HOLDS_SECRET;
use super::{App, AppError, Caller};
use std::borrow::Cow;
use token_ledger_domain::name::{InvalidName, first_unseen};
use token_ledger_domain::secret::without_secrets;
use token_ledger_domain::{CompanyId, Digest, MemberId, PersonId, Power, Secret};
use token_ledger_event_store::StoreError;
use token_ledger_projections::attempts::{AttemptKind, Seen};
use token_ledger_projections::members::MemberRow;
use token_ledger_projections::people::{Account, Link, Purpose};
use unicode_normalization::UnicodeNormalization;

/// The longest e-mail address (RFC 5321 §4.5.3.1.3, without the angle brackets).
const MAX_EMAIL: usize = 254;
/// How long a link to set a password is good, in seconds: a day.
pub const PASSWORD_LINK_SECONDS: i64 = 86_400;
/// How long a link to sign in is good, in seconds: an hour.
pub const SIGN_IN_LINK_SECONDS: i64 = 3600;
/// What links' secrets begin with.
const LINK_PREFIX: &str = "tll_";

/// An e-mail address: in lower case, composed (Unicode NFC), its domain as people read it rather
/// than in Punycode, and without white space around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// The address that the text gives to a new account. Whether anybody reads what is sent there is
    /// not known.
    ///
    /// # Errors
    /// When it is none, looks like another one for a character that nobody sees, or holds a secret,
    /// which would be kept and shown then.
    pub fn new(text: &str) -> Result<Self, Cow<'static, str>> {
        if matches!(without_secrets(text), Cow::Owned(_)) {
            return Err(HOLDS_SECRET.into());
        }
        if let Some(unseen) = first_unseen(text.trim()) {
            return Err(InvalidName::Control(unseen.into()).to_string().into());
        }
        Ok(Self::known(text)?)
    }

    /// The address that the text gives, of an account that may be there: what was once taken is
    /// found for ever, so that this never asks for more than it did at first.
    ///
    /// # Errors
    /// When it is none.
    pub fn known(text: &str) -> Result<Self, &'static str> {
        const PROBLEM: &str = "must be an e-mail address such as ada@example.com";
        let text: String = text.trim().to_lowercase().nfc().collect();
        if !is_address(&text) {
            return Err(PROBLEM);
        }
        let (local, domain) = text.split_once('@').ok_or(PROBLEM)?;
        let readable = match idna::domain_to_unicode(domain) {
            (readable, Ok(())) => Some(format!("{local}@{readable}")),
            // It may be one all the same: not everybody's domains are the Internet's.
            (_, Err(_)) => None,
        };
        Ok(Self(readable.filter(|readable| is_address(readable)).unwrap_or(text)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_address(text: &str) -> bool {
    let strange = |c: char| c.is_control() || c.is_whitespace() || "<>()[],;:\\\"".contains(c);
    let is_possible = text.len() <= MAX_EMAIL && !text.contains(strange);
    is_possible
        && text.split_once('@').is_some_and(|(local, domain)| {
            let labels = !domain.contains('@') && !domain.split('.').any(str::is_empty);
            !local.is_empty() && labels
        })
}

impl App {
    /// The account of this address, made without a password where there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn account_for(
        &self,
        email: &Email,
        name: Option<String>,
    ) -> Result<Account, StoreError> {
        if let Some(known) = self.people.account(email.as_str()).await? {
            return Ok(known);
        }
        let account = Account {
            person_id: PersonId(self.new_id()),
            email: email.as_str().to_owned(),
            name,
            password_hash: None,
            vouched_by: None,
        };
        self.people.make_account(&account, self.now()).await
    }

    /// A new link by which a member can set a password, for the caller to hand over. It replaces
    /// an older one, and is recorded for the auditor: who holds it gets in as the member.
    ///
    /// # Errors
    /// When the caller may not any more, or the store fails.
    pub(super) async fn password_link(
        &self,
        caller: &Caller,
        member: &MemberRow,
    ) -> Result<Secret, AppError> {
        let person_id = member.person_id;
        let asked_by = (caller.power < Power::Operator).then_some(caller.company);
        let purpose = Purpose::SetPassword;
        let (secret, link) =
            self.new_link(person_id, purpose, None, asked_by, PASSWORD_LINK_SECONDS);
        self.put_recorded_link(&link, made_link(caller, member.member_id)).await?;
        if let Err(lapsed) = self.still_stands(caller).await {
            self.people.void_links(person_id).await?;
            return Err(lapsed);
        }
        Ok(secret)
    }

    /// A new link by which the person of this address can sign in and enter the company.
    ///
    /// # Errors
    /// When there is no such person, or the store fails.
    pub async fn sign_in_link(&self, email: &str, opens: CompanyId) -> Result<Secret, AppError> {
        let account = self.people.account(email).await?.ok_or(AppError::NotFound("person"))?;
        let (purpose, seconds) = (Purpose::SignIn, SIGN_IN_LINK_SECONDS);
        let (secret, link) = self.new_link(account.person_id, purpose, Some(opens), None, seconds);
        self.people.put_link(&link, None).await?;
        Ok(secret)
    }

    /// A link that is yet to be stored.
    fn new_link(
        &self,
        person_id: PersonId,
        purpose: Purpose,
        opens: Option<CompanyId>,
        asked_by: Option<CompanyId>,
        seconds: i64,
    ) -> (Secret, Link) {
        let secret = Secret::from_random(LINK_PREFIX, self.ledger.entropy().bits256());
        let now = self.now();
        let link = Link {
            person_id,
            purpose,
            digest: Digest::of(secret.reveal()),
            opens,
            asked_by,
            created_at: now,
            expires_at: now.plus_seconds(seconds),
        };
        (secret, link)
    }

    /// Whether the person is a member of another company than this.
    pub(crate) async fn is_elsewhere(
        &self,
        person: PersonId,
        company: CompanyId,
    ) -> Result<bool, StoreError> {
        Ok(!self.people.elsewhere(&[person], company).await?.is_empty())
    }

    /// The link of this secret and the account that it is for, while it is good.
    ///
    /// # Errors
    /// [`AppError::LinkSpent`] when it is not, whatever the reason.
    pub(super) async fn good_link(
        &self,
        secret: &str,
        purpose: Purpose,
    ) -> Result<(Link, Account), AppError> {
        let link = self.people.link(Digest::of(secret), purpose).await?;
        let link = link.filter(|link| link.expires_at > self.now()).ok_or(AppError::LinkSpent)?;
        let memberships = self.people.memberships(link.person_id).await?;
        let is_elsewhere = |company| memberships.iter().any(|member| member.company_id != company);
        if memberships.is_empty() || link.asked_by.is_some_and(is_elsewhere) {
            return Err(AppError::LinkSpent);
        }
        let account = self.people.account_of(link.person_id).await?;
        Ok((link, account.ok_or(AppError::LinkSpent)?))
    }
}

/// Who made a link for this member. The route names the member: the record is about nothing else.
fn made_link(caller: &Caller, member: MemberId) -> Seen {
    Seen {
        kind: AttemptKind::PasswordLink,
        company_id: caller.company,
        actor: Some(caller.actor),
        method: "POST".to_owned(),
        route: format!("/v1/companies/{{company_id}}/members/{member}/password-link"),
        status: 201,
        problem: None,
        request_id: caller.request_id.clone(),
        ip: caller.ip.as_deref().and_then(|ip| ip.parse().ok()),
        user_agent: caller.user_agent.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalised_and_checked() {
        assert_eq!(Email::new(" Ada@Example.COM ").unwrap().as_str(), "ada@example.com");
        let [composed, decomposed] = ["Zo\u{eb}@example.com", "ZOE\u{308}@example.com"];
        assert_eq!(Email::new(composed), Email::new(decomposed));
        for same in ["ada@xn--exmple-cua.com", "ADA@XN--EXMPLE-CUA.com", "ada@ex\u{c4}mple.com"] {
            assert_eq!(Email::new(same).unwrap().as_str(), "ada@ex\u{e4}mple.com");
        }
        // What is mapped to nothing, or to what no address has, stays as it is.
        for kept in ["ada@xn--a.com", "ada@mail_1.internal", "ada@b\u{fc}ro", "ada@x\u{ff08}"] {
            assert_eq!(Email::new(kept).unwrap().as_str(), kept);
        }
        for text in ["", "ada", "@example.com", "ada@", "a b@c.d", "ada@x..y", "a@b@c", "a\nb@c"] {
            assert!(Email::new(text).is_err(), "{text:?}");
        }
        assert!(Email::new(&format!("{}@example.com", "a".repeat(250))).is_err());
    }

    #[test]
    fn no_new_address_looks_like_another_and_a_known_one_is_found() {
        for unseen in
            ["\u{202e}", "\u{2066}", "\u{200b}", "\u{feff}", "\u{ad}", "\u{61c}", "\u{7f}"]
        {
            let code = u32::from(unseen.chars().next().unwrap());
            let problem = format!("must not contain control characters (found U+{code:04X})");
            for text in [format!("a{unseen}da@example.com"), format!("ada@exam{unseen}ple.com")] {
                assert_eq!(Email::new(&text), Err(problem.clone().into()), "{text:?}");
            }
        }
        let known = Email::known("Ad\u{200b}a@Example.com").unwrap();
        assert_eq!(known.as_str(), "ad\u{200b}a@example.com");
        // A domain may have them in Punycode only.
        let joined = "ada@xn--ngba1749n.example";
        assert_eq!(Email::new(joined).unwrap().as_str(), joined);
    }

    #[test]
    fn no_address_holds_a_secret() {
        let secret = Secret::from_random("tlk_", [7; 32]);
        let address = format!("{}@example.com", secret.reveal());
        assert_eq!(Email::new(&address), Err(HOLDS_SECRET.into()));
    }
}
