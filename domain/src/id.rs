//! Identifiers. Each kind of thing has a type of its own, so that one can't stand for another.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! identifier {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }
    )*};
}

identifier! {
    /// A company: the owner of one ledger.
    CompanyId;
    /// An access token, over all its secrets.
    TokenId;
    /// An API key, over all its secrets.
    KeyId;
    /// A person's membership in one company.
    MemberId;
    /// A person, over all memberships.
    PersonId;
    /// An OAuth client of a company.
    ClientId;
}

impl CompanyId {
    /// The platform: the company whose members and keys are the operators'.
    pub const PLATFORM: Self = Self(Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0000));
}
