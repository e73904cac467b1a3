//! Beside the log: what was refused, who signed in, what was exported. Nothing here comes from
//! events, so nothing of it can be rebuilt.

use std::net::IpAddr;
use token_ledger_domain::{Actor, CompanyId, Timestamp};
use uuid::Uuid;

/// What kind of attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttemptKind {
    /// A request or a sign-in that was refused.
    Denied,
    /// Somebody signed in.
    SignIn,
    /// Somebody took records out.
    Export,
    /// Somebody made a link by which a member sets a password.
    PasswordLink,
}

impl AttemptKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Denied, Self::SignIn, Self::Export, Self::PasswordLink];

    /// The name in tables and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::SignIn => "sign_in",
            Self::Export => "export",
            Self::PasswordLink => "password_link",
        }
    }
}

impl std::str::FromStr for AttemptKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no kind of attempt"))
    }
}

/// An attempt as whoever saw it knows it, without what was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What kind.
    pub kind: AttemptKind,
    /// The company whose resources it was about; the platform where none was named.
    pub company_id: CompanyId,
    /// Who, as far as known.
    pub actor: Option<Actor>,
    /// The request's method.
    pub method: String,
    /// The route, with names in place of what is in the path.
    pub route: String,
    /// The answer's status.
    pub status: u16,
    /// The kind of problem that was answered.
    pub problem: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// The address that it came from.
    pub ip: Option<IpAddr>,
    /// The program that sent it, as it calls itself.
    pub user_agent: Option<String>,
}

/// An attempt as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When.
    pub at: Timestamp,
    /// Tells it from others.
    pub attempt_id: Uuid,
    /// What was seen of it.
    pub seen: Seen,
}

/// Which attempts of a company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptFilter {
    /// Of this kind.
    pub kind: AttemptKind,
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// Behind this one, newest first.
    pub after: Option<(Timestamp, Uuid)>,
}
