//! Why a use case was not carried out.

use token_ledger_domain::Quoted;
use token_ledger_domain::company::CompanyRefusal;
use token_ledger_domain::key::KeyRefusal;
use token_ledger_domain::token::TokenRefusal;
use token_ledger_event_store::{ExecuteError, StoreError};

/// One thing that is wrong with the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field or parameter.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub detail: String,
}

impl Invalid {
    /// What is wrong with a field.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}

/// Why a use case was not carried out. Nothing has happened then, unless it failed in doubt.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The input is not acceptable.
    #[error("the input is not acceptable")]
    Invalid(Vec<Invalid>),
    /// What was asked about does not exist, or not for the caller.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// What was asked about is no secret at all, so that no token can have it.
    #[error(
        "there is no such token: this is no secret as they are issued (its checksum is wrong); it \
         may be mistyped or cut off"
    )]
    NoSecret,
    /// A token's rules say no.
    #[error(transparent)]
    Token(TokenRefusal),
    /// A key's rules say no.
    #[error(transparent)]
    Key(KeyRefusal),
    /// A company's rules say no.
    #[error(transparent)]
    Company(CompanyRefusal),
    /// The OAuth client is deleted.
    #[error("the client is deleted and can't be changed; create a new one")]
    ClientDeleted,
    /// A company of this name exists, or of one that looks the same.
    #[error("a company named {} exists already, or one whose name looks the same", Quoted(.0))]
    NameTaken(String),
    /// The person is in other companies too, which are not the caller's.
    #[error(
        "the person is a member of other companies too, so only an operator may make a link to set \
         the password"
    )]
    MemberElsewhere,
    /// The person's password was set by a link that doesn't count here, such as another company's.
    #[error(
        "your password was set by a link that doesn't count here, such as another company's; ask \
         an operator of the platform for a link to set a new one"
    )]
    NotVouchedFor,
    /// The address or the password is not right; which of them is not told.
    #[error("the e-mail address or the password is not right")]
    BadCredentials,
    /// The link was used, replaced or is too old, or never was one.
    #[error("the link is no longer good: it was used, replaced by a newer one, or is too old")]
    LinkSpent,
    /// Too many failed before.
    #[error(transparent)]
    Throttled(#[from] super::throttle::Throttled),
    /// Too much is asked of the machine at once.
    #[error("too many people are signing in at once; try again")]
    Busy,
    /// The thing has moved on since the caller last looked.
    #[error("it is at version {actual} by now; read it again and decide anew")]
    VersionMismatch {
        /// The version that it is at.
        actual: u64,
    },
    /// Others kept changing the same thing.
    #[error("others keep changing the same thing; try again")]
    Contended,
    /// What let the request through ended before it could be carried out.
    #[error("the credential, or its power, ended while the request was held up; nothing was done")]
    Lapsed,
    /// A rebuild is under way.
    #[error(
        "a rebuild of {0} is under way, and there is one at a time; \
         GET /v1/projections/{0}/rebuild says how far it has come"
    )]
    Rebuilding(String),
    /// The idempotency key belongs to another request.
    #[error("the Idempotency-Key was used for another request; choose a new one")]
    KeyReused,
    /// Reading the audit trail would have shown less than what was committed.
    #[error("the audit trail has not caught up with the ledger; try again")]
    AuditBehind,
    /// The checkpoint that covers what was asked for is yet to be signed.
    #[error("no signed checkpoint covers this: the checkpoint is late; try again")]
    CheckpointLate,
    /// No checkpoint covers what was asked for, and none is being signed. Why is for the operator.
    #[error("no checkpoint is signed at the moment; the operator's log says why")]
    Unsigned,
    /// What is stored is not what was signed, so that nothing can be proved. What exactly is for the
    /// operator.
    #[error("what is stored is not what was signed; the operator's log says more")]
    NotAsSigned,
    /// A failure of ours.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

impl AppError {
    /// This error of what comes after a change that stands.
    #[must_use]
    pub fn after_change(self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(error.after_change()),
            other => other,
        }
    }

    /// Whether what was asked for may have been done all the same.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Failed(StoreError::InDoubt(_)))
    }

    /// One thing that is wrong with one field.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![Invalid::new(field, detail)])
    }
}

impl<R: IntoRefusal> From<ExecuteError<R>> for AppError {
    fn from(error: ExecuteError<R>) -> Self {
        match error {
            ExecuteError::NoCompany => Self::NotFound("company"),
            ExecuteError::Refused(refusal) => refusal.into_app(),
            ExecuteError::VersionMismatch { actual } => Self::VersionMismatch { actual },
            ExecuteError::Contended => Self::Contended,
            ExecuteError::Lapsed => Self::Lapsed,
            ExecuteError::KeyReused => Self::KeyReused,
            ExecuteError::Failed(error) => Self::Failed(error),
        }
    }
}

/// A refusal of one of the aggregates.
pub trait IntoRefusal {
    /// The refusal among all others.
    fn into_app(self) -> AppError;
}

impl IntoRefusal for TokenRefusal {
    fn into_app(self) -> AppError {
        match self {
            Self::NotFound => AppError::NotFound("token"),
            other => AppError::Token(other),
        }
    }
}

impl IntoRefusal for KeyRefusal {
    fn into_app(self) -> AppError {
        match self {
            Self::NotFound => AppError::NotFound("key"),
            other => AppError::Key(other),
        }
    }
}

impl IntoRefusal for CompanyRefusal {
    fn into_app(self) -> AppError {
        match self {
            Self::NotFound => AppError::NotFound("company"),
            Self::MemberNotFound => AppError::NotFound("member"),
            Self::ClientNotFound => AppError::NotFound("client"),
            other => AppError::Company(other),
        }
    }
}
