//! Bringing companies into being: the platform, a company, its first Super Admin and keys.

use super::keys::NewKey;
use super::{App, AppError, Caller, Conditions};
use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Argon2, password_hash};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use token_ledger_domain::company::{Company, CompanyCommand};
use token_ledger_domain::{CompanyId, KeyScope, MemberId, Name, PersonId, Role, Secret};
use token_ledger_event_store::{Request, StoreError};
use token_ledger_projections::read_models::Account;
use zeroize::Zeroizing;

/// The platform's name.
const PLATFORM: &str = "platform";
/// Random bytes of a generated password: 144 bits, 24 characters.
const PASSWORD_BYTES: usize = 18;
/// Random bytes of a password's salt.
const SALT_BYTES: usize = 16;
/// The longest e-mail address (RFC 5321 §4.5.3.1.3, without the angle brackets).
const MAX_EMAIL: usize = 254;

/// An e-mail address, in lower case and without white space around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// The address that the text gives. Whether anybody reads what is sent there is not known.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        const PROBLEM: &str = "must be an e-mail address such as ada@example.com";
        let text = text.trim().to_lowercase();
        let strange = |c: char| c.is_control() || c.is_whitespace() || "<>()[],;:\\\"".contains(c);
        if text.len() > MAX_EMAIL || text.contains(strange) {
            return Err(PROBLEM);
        }
        match text.split_once('@') {
            Some((local, domain))
                if !local.is_empty()
                    && !domain.contains('@')
                    && !domain.split('.').any(str::is_empty) =>
            {
                Ok(Self(text))
            }
            _ => Err(PROBLEM),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A company that was just set up, with everything that is shown only once.
#[derive(Debug)]
pub struct SetUp {
    /// The company.
    pub company_id: CompanyId,
    /// The first Super Admin's password; none where the person had an account already.
    pub password: Option<Zeroizing<String>>,
    /// The platform's key with `ledger.operator`.
    pub operator_key: Secret,
    /// The company's key with `ledger.admin`.
    pub admin_key: Secret,
    /// The company's key with `ledger.audit`.
    pub audit_key: Secret,
    /// The company's key with `ledger.introspect`.
    pub introspect_key: Secret,
}

impl App {
    /// Registers a company with its module on, its first Super Admin and keys, and the platform
    /// where it is missing.
    ///
    /// # Errors
    /// When a company of this name exists, or the store fails.
    pub async fn set_up(&self, name: &Name, email: &Email) -> Result<SetUp, AppError> {
        self.ensure_platform().await?;
        // Before the account, so that a refusal leaves none behind whose password nobody knows.
        if !self.read.companies_named(name.as_str()).await?.is_empty() {
            return Err(AppError::NameTaken(name.to_string()));
        }
        let (account, password) = self.account_for(email).await?;
        let platform = Caller::command_line(CompanyId::PLATFORM);
        let company = self.begin_company(&platform, name).await?;
        let caller = Caller::command_line(company);
        self.add_member(&caller, account.person_id, email, Role::SuperAdmin).await?;
        Ok(SetUp {
            company_id: company,
            password,
            operator_key: self.issue_key(&platform, "operator", KeyScope::Operator).await?,
            admin_key: self.issue_key(&caller, "admin", KeyScope::Admin).await?,
            audit_key: self.issue_key(&caller, "audit", KeyScope::Audit).await?,
            introspect_key: self.issue_key(&caller, "introspect", KeyScope::Introspect).await?,
        })
    }

    /// Registers the platform where it is missing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ensure_platform(&self) -> Result<(), AppError> {
        if self.read.company(CompanyId::PLATFORM).await?.is_some() {
            return Ok(());
        }
        let name =
            Name::new(PLATFORM).map_err(|error| AppError::invalid("name", error.to_string()))?;
        let caller = Caller::command_line(CompanyId::PLATFORM);
        self.change_company(&caller, CompanyCommand::Register { name }).await
    }

    /// Registers a company and turns its module on.
    ///
    /// # Errors
    /// When a company of this name exists, or the store fails.
    pub async fn begin_company(
        &self,
        operator: &Caller,
        name: &Name,
    ) -> Result<CompanyId, AppError> {
        let name = name.to_string();
        let registered = self.register_company(operator, name, Conditions::default()).await?;
        let company = CompanyId(registered.view.company_id);
        self.set_oauth_app(&Caller { company, ..operator.clone() }, true).await?;
        Ok(company)
    }

    /// Makes a person a member.
    ///
    /// # Errors
    /// When the company's rules say no, or the store fails.
    pub async fn add_member(
        &self,
        caller: &Caller,
        person_id: PersonId,
        email: &Email,
        role: Role,
    ) -> Result<MemberId, AppError> {
        let member_id = MemberId(self.new_id());
        let platform = caller.company == CompanyId::PLATFORM;
        let mut context = caller.context(None);
        context.private.email = Some(email.as_str().to_owned());
        let command = CompanyCommand::AddMember { member_id, person_id, role, platform };
        let request = Request::new(caller.company.0, command);
        self.ledger.execute::<Company>(caller.company, caller.power, &context, request).await?;
        Ok(member_id)
    }

    /// Changes the caller's company.
    ///
    /// # Errors
    /// When the company's rules say no, or the store fails.
    pub async fn change_company(
        &self,
        caller: &Caller,
        command: CompanyCommand,
    ) -> Result<(), AppError> {
        let context = caller.context(None);
        let request = Request::new(caller.company.0, command);
        self.ledger.execute::<Company>(caller.company, caller.power, &context, request).await?;
        Ok(())
    }

    /// Creates a key with one scope and the usual term.
    ///
    /// # Errors
    /// When there is no such company, the keys' rules say no, or the store fails.
    pub async fn issue_key(
        &self,
        caller: &Caller,
        name: &str,
        scope: KeyScope,
    ) -> Result<Secret, AppError> {
        let input = NewKey {
            name: name.to_owned(),
            scopes: vec![scope.as_str().to_owned()],
            ..NewKey::default()
        };
        let created = self.create_key(caller, input, Conditions::default()).await?;
        created.secret.ok_or(AppError::KeyReused)
    }

    /// The person's account, with a new password where it is made now.
    async fn account_for(
        &self,
        email: &Email,
    ) -> Result<(Account, Option<Zeroizing<String>>), AppError> {
        if let Some(known) = self.read.account(email.as_str()).await? {
            return Ok((known, None));
        }
        let password = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.random::<PASSWORD_BYTES>()));
        let salt = self.random::<SALT_BYTES>();
        let hashed = password.clone();
        let hash = tokio::task::spawn_blocking(move || hash_password(&hashed, salt.as_ref()))
            .await
            .map_err(|error| StoreError::Rejected(error.to_string()))?
            .map_err(|error| StoreError::Rejected(error.to_string()))?;
        let account = Account {
            person_id: PersonId(self.new_id()),
            email: email.as_str().to_owned(),
            password_hash: Some(hash),
        };
        self.read.save_account(&account, self.now()).await?;
        Ok((account, Some(password)))
    }

    fn random<const BYTES: usize>(&self) -> Zeroizing<[u8; BYTES]> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        self.ledger.entropy().fill(bytes.as_mut());
        bytes
    }
}

fn hash_password(password: &str, salt: &[u8]) -> password_hash::Result<String> {
    let salt = SaltString::encode_b64(salt)?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalised_and_checked() {
        assert_eq!(Email::new(" Ada@Example.COM ").unwrap().as_str(), "ada@example.com");
        for text in ["", "ada", "@example.com", "ada@", "a b@c.d", "ada@x..y", "a@b@c", "a\nb@c"] {
            assert!(Email::new(text).is_err(), "{text:?}");
        }
        assert!(Email::new(&format!("{}@example.com", "a".repeat(250))).is_err());
    }

    #[test]
    fn a_hash_tells_its_method_and_not_the_password() {
        let hash = hash_password("correct horse", &[7; SALT_BYTES]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(!hash.contains("horse"));
    }
}
