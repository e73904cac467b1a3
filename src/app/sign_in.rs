//! Signing in, and proving to be oneself again.
//!
//! Every proof passes `App::prove` or the use of a link, and ends in `note_proved` or in
//! `App::not_proved`: the one place for successes and the one place for failures.

use super::passwords::{Line, Password};
use super::people::Email;
use super::sessions::{Origin, SessionCookie, Visitor, actor_by};
use super::throttle::{Failed, party};
use super::{App, AppError};
use token_ledger_domain::CompanyId;
use token_ledger_projections::attempts::{AttemptKind, Seen};
use token_ledger_projections::people::{Account, Purpose, Standing};
use zeroize::Zeroizing;

/// How somebody tried to prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// E-mail address and password.
    SignIn,
    /// A link that is good for one sign-in.
    SignInLink,
    /// The password once more, in a session.
    Confirmation,
    /// The old password, to change it.
    PasswordChange,
    /// A link that is good for setting a password once.
    PasswordLink,
}

/// An attempt to prove who one is, without what was typed as the proof.
#[derive(Clone, Debug)]
struct ProofAttempt<'a> {
    /// How.
    proof: Proof,
    /// The address that was named, normalised if it is one, or that is known; none for a link that leads to
    /// nobody.
    email: Option<&'a str>,
    /// From where.
    origin: &'a Origin,
}

impl App {
    /// Begins a session for whoever knows the password of this address.
    ///
    /// # Errors
    /// [`AppError::BadCredentials`] when nobody does, whether there is such an account or not;
    /// [`AppError::Throttled`] when that happened too often.
    pub async fn sign_in(
        &self,
        email: &str,
        password: Zeroizing<String>,
        origin: &Origin,
    ) -> Result<SessionCookie, AppError> {
        // What is no address is nobody's, and takes as long.
        let named = Email::known(email).ok();
        let account = match &named {
            Some(email) => self.people.account(email.as_str()).await?,
            None => None,
        };
        let email = Some(named.as_ref().map_or(email, Email::as_str));
        let attempt = ProofAttempt { proof: Proof::SignIn, email, origin };
        let account = self.prove(&attempt, account, password).await?;
        let standing = self.only_standing(&account).await?;
        let session = self.begin_session(&account, standing, origin).await?;
        let session = session.ok_or(AppError::BadCredentials)?;
        self.note_sign_in(&attempt, &account, &session).await;
        Ok(session)
    }

    /// Begins a session by a link that is good for one.
    ///
    /// # Errors
    /// [`AppError::LinkSpent`] when it isn't.
    pub async fn sign_in_by_link(
        &self,
        secret: &str,
        origin: &Origin,
    ) -> Result<SessionCookie, AppError> {
        let (link, account) = self.presented_link(secret, Proof::SignInLink, origin).await?;
        let attempt =
            ProofAttempt { proof: Proof::SignInLink, email: Some(&account.email), origin };
        if !self.people.use_link(&link).await? {
            return Err(self.not_proved(&attempt, AppError::LinkSpent));
        }
        note_proved(&attempt, &account);
        let standing = match link.opens {
            Some(company) => self.standing_in(&account, company).await,
            None => self.only_standing(&account).await.map_err(AppError::from),
        };
        // The link is used by now.
        let standing = standing.map_err(AppError::after_change)?;
        let session = self.begin_session(&account, standing, origin).await;
        let session = session.map_err(AppError::after_change)?.ok_or(AppError::LinkSpent)?;
        self.note_sign_in(&attempt, &account, &session).await;
        Ok(session)
    }

    /// Whether a link to sign in is good, and for whom.
    ///
    /// # Errors
    /// [`AppError::LinkSpent`] when it isn't.
    pub async fn check_sign_in_link(&self, secret: &str) -> Result<Account, AppError> {
        Ok(self.good_link(secret, Purpose::SignIn).await?.1)
    }

    /// Whether a link to set a password is good, and for whom.
    ///
    /// # Errors
    /// [`AppError::LinkSpent`] when it isn't.
    pub async fn check_password_link(&self, secret: &str) -> Result<Account, AppError> {
        Ok(self.good_link(secret, Purpose::SetPassword).await?.1)
    }

    /// Sets a password by a link that is good for that once. All the person's sessions end.
    ///
    /// # Errors
    /// [`AppError::LinkSpent`] when the link isn't good; when the password is not acceptable, and
    /// the link stays good then.
    pub async fn set_password_by_link(
        &self,
        secret: &str,
        password: Zeroizing<String>,
        origin: &Origin,
    ) -> Result<(), AppError> {
        let (link, account) = self.presented_link(secret, Proof::PasswordLink, origin).await?;
        let password = acceptable(password, &account)?;
        let hash = self.hash_password(password, Line::Person(account.person_id)).await?;
        let attempt =
            ProofAttempt { proof: Proof::PasswordLink, email: Some(&account.email), origin };
        if !self.people.redeem_link(&link, &hash).await? {
            return Err(self.not_proved(&attempt, AppError::LinkSpent));
        }
        note_proved(&attempt, &account);
        Ok(())
    }

    /// Takes the password of whoever is signed in once more.
    ///
    /// # Errors
    /// [`AppError::BadCredentials`] when it is another.
    pub async fn confirm(
        &self,
        visitor: &Visitor,
        password: Zeroizing<String>,
        origin: &Origin,
    ) -> Result<(), AppError> {
        let email = Some(visitor.account.email.as_str());
        let attempt = ProofAttempt { proof: Proof::Confirmation, email, origin };
        self.prove(&attempt, Some(visitor.account.clone()), password).await?;
        Ok(self.people.confirm_session(&visitor.session, self.now()).await?)
    }

    /// Changes the password of whoever is signed in. All the person's sessions end, and a new one
    /// begins here.
    ///
    /// # Errors
    /// [`AppError::BadCredentials`] when the old one is another; when the new one is not
    /// acceptable.
    pub async fn change_password(
        &self,
        visitor: &Visitor,
        old: Zeroizing<String>,
        new: Zeroizing<String>,
        origin: &Origin,
    ) -> Result<SessionCookie, AppError> {
        let account = &visitor.account;
        let email = Some(account.email.as_str());
        let attempt = ProofAttempt { proof: Proof::PasswordChange, email, origin };
        let password = acceptable(new, account)?;
        self.prove(&attempt, Some(account.clone()), old).await?;
        let hash = self.hash_password(password, Line::Person(account.person_id)).await?;
        let before = account.password_hash.as_deref();
        if !self.people.change_password(account.person_id, before, &hash).await? {
            return Err(AppError::BadCredentials);
        }
        let account = Account { password_hash: Some(hash), ..account.clone() };
        let standing = visitor.session.standing;
        let session = self.begin_session(&account, standing, origin).await;
        session.map_err(AppError::after_change)?.ok_or(AppError::BadCredentials)
    }

    /// The account, if the password is its own. An account that doesn't exist takes as long.
    async fn prove(
        &self,
        attempt: &ProofAttempt<'_>,
        account: Option<Account>,
        password: Zeroizing<String>,
    ) -> Result<Account, AppError> {
        let hash = account.as_ref().and_then(|account| account.password_hash.clone());
        let line = match &account {
            Some(account) if attempt.proof != Proof::SignIn => Line::Person(account.person_id),
            _ => Line::Network(attempt.origin.ip.map(party)),
        };
        let proved = self.is_password(password, hash, line).await?;
        match account.filter(|_| proved) {
            Some(account) => {
                note_proved(attempt, &account);
                Ok(account)
            }
            None => Err(self.not_proved(attempt, AppError::BadCredentials)),
        }
    }

    async fn presented_link(
        &self,
        secret: &str,
        proof: Proof,
        origin: &Origin,
    ) -> Result<(token_ledger_projections::people::Link, Account), AppError> {
        let purpose = match proof {
            Proof::PasswordLink => Purpose::SetPassword,
            _ => Purpose::SignIn,
        };
        match self.good_link(secret, purpose).await {
            Err(AppError::LinkSpent) => {
                let attempt = ProofAttempt { proof, email: None, origin };
                Err(self.not_proved(&attempt, AppError::LinkSpent))
            }
            other => other,
        }
    }

    /// Keeps a sign-in for the auditor: of the company that it led into, or of the platform. Who is
    /// in no company yet is named as the operator that they are, if they are one.
    async fn note_sign_in(
        &self,
        attempt: &ProofAttempt<'_>,
        account: &Account,
        cookie: &SessionCookie,
    ) {
        let route = match attempt.proof {
            Proof::SignInLink => "/console/sign-in/{link}",
            _ => "/console/sign-in",
        };
        let entered = cookie.session.standing;
        let known = match entered {
            Some(standing) => Some(standing),
            // They are in by now, whatever is known of them.
            None => self.reach(account).await.unwrap_or_default().platform,
        };
        let company = entered.map(|standing| standing.entered);
        self.note(came_in(route, company, known, attempt.origin));
    }

    /// Keeps for the company's auditor that somebody who had signed in came into the company.
    pub(super) fn note_entry(&self, standing: Standing, origin: &Origin) {
        let company = Some(standing.entered);
        self.note_cheap(came_in("/console/companies", company, Some(standing), origin));
    }

    /// What every failed proof passes, on its way to the caller.
    fn not_proved(&self, attempt: &ProofAttempt<'_>, error: AppError) -> AppError {
        tracing::info!(proof = ?attempt.proof, %error, "somebody did not prove who they are");
        // Links' secrets can't be guessed, and lead to nobody where they aren't good.
        let Some(email) = attempt.email else { return error };
        match self.throttle.failed(Failed::SignIn(email), attempt.origin.ip, self.now()) {
            Ok(()) => error,
            Err(throttled) => throttled.into(),
        }
    }
}

/// What every successful proof passes.
fn note_proved(attempt: &ProofAttempt<'_>, account: &Account) {
    let person = account.person_id;
    tracing::info!(proof = ?attempt.proof, %person, "a person proved who they are");
}

/// Who came in by this route, into which company.
fn came_in(
    route: &str,
    company: Option<CompanyId>,
    known: Option<Standing>,
    origin: &Origin,
) -> Seen {
    Seen {
        kind: AttemptKind::SignIn,
        company_id: company.unwrap_or(CompanyId::PLATFORM),
        actor: known.map(|standing| actor_by(standing.role.power(), standing.member_id)),
        method: "POST".to_owned(),
        route: route.to_owned(),
        status: 303,
        problem: None,
        request_id: origin.request_id.clone(),
        ip: origin.ip,
        user_agent: origin.user_agent.clone(),
    }
}

fn acceptable(password: Zeroizing<String>, account: &Account) -> Result<Password, AppError> {
    Password::new(password, &account.email)
        .map_err(|problem| AppError::invalid("password", problem))
}
