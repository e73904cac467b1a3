//! A statement's parameters.

use std::borrow::Cow;
use token_ledger_domain::{
    ClientId, CompanyId, Digest, KeyId, MemberId, PersonId, Timestamp, TokenId,
};
use uuid::Uuid;

/// What a column can hold. Instants are microseconds since 1970, and truth is 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An identifier.
    Uuid,
    /// A number or an instant.
    Int,
    /// A text.
    Text,
    /// Bytes, such as a digest.
    Bytes,
}

/// A parameter. A value that is missing still has its kind, which PostgreSQL wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An identifier.
    Uuid(Option<Uuid>),
    /// A number or an instant.
    Int(Option<i64>),
    /// A text.
    Text(Option<Cow<'a, str>>),
    /// Bytes.
    Bytes(Option<Cow<'a, [u8]>>),
}

macro_rules! values {
    ($($from:ty => |$value:ident| $to:expr;)*) => {$(
        impl<'a> From<$from> for Value<'a> {
            fn from($value: $from) -> Self {
                $to
            }
        }
    )*};
}

values! {
    Uuid => |id| Self::Uuid(Some(id));
    Option<Uuid> => |id| Self::Uuid(id);
    CompanyId => |id| Self::Uuid(Some(id.0));
    TokenId => |id| Self::Uuid(Some(id.0));
    KeyId => |id| Self::Uuid(Some(id.0));
    ClientId => |id| Self::Uuid(Some(id.0));
    Option<ClientId> => |id| Self::Uuid(id.map(|id| id.0));
    MemberId => |id| Self::Uuid(Some(id.0));
    PersonId => |id| Self::Uuid(Some(id.0));
    i64 => |number| Self::Int(Some(number));
    u32 => |number| Self::Int(Some(number.into()));
    u64 => |number| Self::Int(Some(i64::try_from(number).unwrap_or(i64::MAX)));
    usize => |number| Self::Int(Some(i64::try_from(number).unwrap_or(i64::MAX)));
    bool => |truth| Self::Int(Some(truth.into()));
    Timestamp => |time| Self::Int(Some(time.as_micros()));
    Option<Timestamp> => |time| Self::Int(time.map(Timestamp::as_micros));
    &'a str => |text| Self::Text(Some(Cow::Borrowed(text)));
    String => |text| Self::Text(Some(Cow::Owned(text)));
    Option<&'a str> => |text| Self::Text(text.map(Cow::Borrowed));
    Option<String> => |text| Self::Text(text.map(Cow::Owned));
    &'a Digest => |digest| Self::Bytes(Some(Cow::Borrowed(&digest.0)));
    Option<&'a Digest> => |digest| Self::Bytes(digest.map(|digest| Cow::Borrowed(&digest.0[..])));
    Digest => |digest| Self::Bytes(Some(Cow::Owned(digest.0.to_vec())));
}
