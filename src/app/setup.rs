//! Bringing companies into being: the platform, a company, its first Super Admin and keys.

use super::error::IntoRefusal;
use super::keys::NewKey;
use super::passwords::{Line, Password};
use super::people::Email;
use super::{App, AppError, Caller, Conditions};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use token_ledger_domain::company::{Company, CompanyCommand, CompanyRefusal};
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::key::{Key, KeyCommand};
use token_ledger_domain::power::KeyScopes;
use token_ledger_domain::{CompanyId, KeyId, KeyScope, MemberId, Name, Secret};
use token_ledger_event_store::{
    AppendError, Commit, Context, Decidable, Request, StoreError, StreamId,
};
use token_ledger_projections::people::Account;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The platform's name.
pub(super) const PLATFORM: &str = "platform";
/// Random bytes of a generated password: 144 bits, 24 characters.
const PASSWORD_BYTES: usize = 18;

/// A company that was just set up, with everything that is shown only once.
pub struct SetUp {
    /// The company.
    pub company_id: CompanyId,
    /// The first Super Admin's password; none where the person had one already, or needs a link.
    pub password: Option<Zeroizing<String>>,
    /// Why the person can't come in without a link to set a password, where that is so.
    pub needs_link: Option<NeedsLink>,
    /// The platform's key with `ledger.operator`.
    pub operator_key: Secret,
    /// The company's key with `ledger.admin`.
    pub admin_key: Secret,
    /// The company's key with `ledger.audit`.
    pub audit_key: Secret,
    /// The company's key with `ledger.introspect`.
    pub introspect_key: Secret,
}

/// Why the first Super Admin of a company needs a link to set a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeedsLink {
    /// The password was set by another company's link, and doesn't let the person in.
    OthersLink,
    /// The company was made, but the password could not be set any more.
    NotSet,
}

impl fmt::Debug for SetUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetUp").field("company_id", &self.company_id).finish_non_exhaustive()
    }
}

/// A password that nobody has seen yet.
struct Generated {
    text: Zeroizing<String>,
    hash: String,
}

/// A key that is about to be recorded.
struct NextKey {
    secret: Secret,
    commit: Commit,
}

impl App {
    /// Registers a company with its module on, its first Super Admin and its keys, and the platform
    /// where it is missing. What fails can be done again.
    ///
    /// The platform's key comes first: what keeps events from being recorded, such as a full disk,
    /// shows before there is a company. Everything of the company goes into one append, so that no
    /// company is left whose keys nobody has seen.
    ///
    /// # Errors
    /// When a company of this name exists, or the store fails.
    pub async fn set_up(&self, name: &Name, email: &Email) -> Result<SetUp, AppError> {
        self.ensure_platform().await?;
        // Before there is an account, which a refusal would leave behind.
        let company = self.reserve_name(name, CompanyId(self.new_id())).await?;
        let account = self.account_for(email, None).await?;
        let password = self.generated_password(&account).await?;
        let (platform, caller) =
            (Caller::command_line(CompanyId::PLATFORM), Caller::command_line(company));
        let operator = self.next_key(&platform, "operator", KeyScope::Operator)?;
        self.append_all(vec![operator.commit.clone()]).await?;
        // Decided only now, however long that took: what was decided long ago is not recorded.
        let [admin, audit, introspect] = match self.establish(&caller, name, &account).await {
            Ok(keys) => keys,
            Err(error) => {
                self.take_back(&[operator.commit]).await;
                return Err(error);
            }
        };
        let needs_link = account.vouched_by.map(|_| NeedsLink::OthersLink);
        let (password, needs_link) = match self.put_first_password(&account, password).await {
            Ok(password) => (password, needs_link),
            Err(error) => {
                tracing::warn!(%error, "the first Super Admin's password was not set");
                (None, Some(NeedsLink::NotSet))
            }
        };
        Ok(SetUp {
            company_id: company,
            password,
            needs_link,
            operator_key: operator.secret,
            admin_key: admin.secret,
            audit_key: audit.secret,
            introspect_key: introspect.secret,
        })
    }

    /// Registers the company with its first Super Admin and its keys.
    async fn establish(
        &self,
        caller: &Caller,
        name: &Name,
        admin: &Account,
    ) -> Result<[NextKey; 3], AppError> {
        let keys = [
            self.next_key(caller, "admin", KeyScope::Admin)?,
            self.next_key(caller, "audit", KeyScope::Audit)?,
            self.next_key(caller, "introspect", KeyScope::Introspect)?,
        ];
        let mut commits = vec![self.establishing(caller, name, admin)?];
        commits.extend(keys.iter().map(|key| key.commit.clone()));
        match self.append_all(commits).await {
            Ok(()) => Ok(keys),
            // Somebody else has just registered it.
            Err(AppError::Contended) => Err(AppError::NameTaken(name.to_string())),
            Err(error) => Err(error),
        }
    }

    /// The registration of a company with its first Super Admin.
    fn establishing(
        &self,
        caller: &Caller,
        name: &Name,
        admin: &Account,
    ) -> Result<Commit, AppError> {
        let command = CompanyCommand::Establish {
            name: name.clone(),
            member_id: MemberId(self.new_id()),
            person_id: admin.person_id,
        };
        let mut context = caller.context(None);
        context.private.email = Some(admin.email.clone());
        self.beginning::<Company>(caller, &context, caller.company.0, &command)
    }

    /// A key with one scope and the usual term.
    fn next_key(&self, caller: &Caller, name: &str, scope: KeyScope) -> Result<NextKey, AppError> {
        let name = Name::new(name).map_err(|error| AppError::invalid("name", error.to_string()))?;
        let secret = self.key_secret();
        let command = KeyCommand::Create {
            name,
            scopes: KeyScopes::from([scope]),
            secret: secret.stored(),
            validity_seconds: None,
        };
        let context = caller.context(None);
        let commit = self.beginning::<Key>(caller, &context, self.new_id(), &command)?;
        Ok(NextKey { secret, commit })
    }

    /// The first commit of a stream.
    fn beginning<A: Decidable>(
        &self,
        caller: &Caller,
        context: &Context,
        id: Uuid,
        command: &<A as Decidable>::Command,
    ) -> Result<Commit, AppError>
    where
        A::Error: IntoRefusal,
    {
        let now = self.now();
        let decision = A::decision(command, caller.company, &Company::default(), caller.power, now);
        let events = A::default().decide(&decision).map_err(IntoRefusal::into_app)?;
        let events = events.into_iter().map(A::wrap).collect();
        let (stream, entropy) = (StreamId { kind: A::KIND, id }, self.ledger.entropy().as_ref());
        Ok(Commit::new(caller.company, stream, 0, events, context, now, entropy)?)
    }

    /// Appends these. Where not all of them can be, the keys among the others are taken back.
    async fn append_all(&self, commits: Vec<Commit>) -> Result<(), AppError> {
        let outcomes = self.store().append(commits.clone()).await;
        let (mut appended, mut failure) = (Vec::new(), None);
        for (commit, outcome) in commits.into_iter().zip(outcomes) {
            match outcome {
                Ok(_) => appended.push(commit),
                Err(AppendError::Failed(error)) => failure = Some(error.into()),
                Err(AppendError::Outdated { .. }) => failure = Some(StoreError::late().into()),
                Err(_) => failure = failure.or(Some(AppError::Contended)),
            }
        }
        let Some(failure) = failure else { return Ok(()) };
        self.take_back(&appended).await;
        Err(failure)
    }

    /// Deletes the keys among what was appended: nobody has seen their secrets.
    async fn take_back(&self, appended: &[Commit]) {
        for Commit { company, stream, .. } in appended {
            if stream.kind != AggregateType::Key {
                continue;
            }
            let caller = Caller::command_line(*company);
            let reason = Some("the setup that it was made for failed".to_owned());
            let deleted =
                self.delete_key(&caller, KeyId(stream.id), reason, Conditions::default()).await;
            if let Err(error) = deleted {
                tracing::warn!(key_id = %stream.id, %error, "a key stays that nobody has seen");
            }
        }
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
        match self.change_company(&caller, CompanyCommand::Register { name }).await {
            // Somebody else has just done it.
            Err(AppError::Company(CompanyRefusal::Exists)) => Ok(()),
            other => other,
        }
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
        let request = Request::new(caller.company.0, command);
        self.execute::<Company>(caller, &caller.context(None), request).await?;
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

    /// A new password for a person who has none.
    async fn generated_password(&self, account: &Account) -> Result<Option<Generated>, AppError> {
        if account.password_hash.is_some() {
            return Ok(None);
        }
        let mut bytes = Zeroizing::new([0; PASSWORD_BYTES]);
        self.ledger.entropy().fill(bytes.as_mut());
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_ref()));
        let password = Password::new(text.clone(), &account.email)
            .map_err(|problem| AppError::invalid("password", problem))?;
        let hash = self.hash_password(password, Line::Person(account.person_id)).await?;
        Ok(Some(Generated { text, hash }))
    }

    /// Gives the person the password; answers it, unless the person has set another meanwhile.
    async fn put_first_password(
        &self,
        account: &Account,
        password: Option<Generated>,
    ) -> Result<Option<Zeroizing<String>>, StoreError> {
        let Some(Generated { text, hash }) = password else { return Ok(None) };
        let set = self.people.change_password(account.person_id, None, &hash).await?;
        Ok(set.then_some(text))
    }
}
