//! Where the ledger is kept.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where the ledger is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DatabaseUrl {
    /// An SQLite file: `sqlite://PATH`.
    Sqlite(PathBuf),
    /// A PostgreSQL database: `postgres://USER@HOST/DATABASE`.
    Postgres(PostgresUrl),
}

impl DatabaseUrl {
    /// The file that the ledger is kept in, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl Default for DatabaseUrl {
    fn default() -> Self {
        Self::Sqlite("token-ledger.db".into())
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("sqlite", _)) => Err("names no file; write sqlite://PATH".to_owned()),
            Some(("postgres" | "postgresql", _)) => text.parse().map(Self::Postgres),
            _ => Err("is no database URL; write sqlite://PATH or postgres://USER@HOST/DATABASE"
                .to_owned()),
        }
    }
}

impl TryFrom<String> for DatabaseUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DatabaseUrl> for String {
    fn from(url: DatabaseUrl) -> Self {
        match url {
            DatabaseUrl::Sqlite(_) => url.to_string(),
            DatabaseUrl::Postgres(url) => url.into(),
        }
    }
}

/// Without the password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// The URL of a PostgreSQL database, which may hold a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PostgresUrl(String);

impl PostgresUrl {
    /// All of it, the password too.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for PostgresUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match url::Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "postgres" | "postgresql") => {
                Err("is no PostgreSQL URL; write postgres://USER@HOST/DATABASE".to_owned())
            }
            Ok(url) if url.path().trim_matches('/').is_empty() => {
                Err("names no database; write postgres://USER@HOST/DATABASE".to_owned())
            }
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(format!("is no URL: {error}")),
        }
    }
}

impl TryFrom<String> for PostgresUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PostgresUrl> for String {
    fn from(url: PostgresUrl) -> Self {
        url.0
    }
}

/// Without the password, and without parameters, which may hold one too.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(mut url) = url::Url::parse(&self.0) else { return f.write_str("postgres://…") };
        url.set_query(None);
        // A URL with a host, as it has here, can be without a password.
        if url.password().is_some() && url.set_password(None).is_err() {
            return f.write_str("postgres://…");
        }
        url.fmt(f)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_but_not_shown() {
        let text = "postgres://ledger:hunter2@db.example:6432/ledger?sslpassword=hunter2";
        let url: DatabaseUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), "postgres://ledger@db.example:6432/ledger");
        assert!(!format!("{url:?}").contains("hunter2"));
        assert_eq!(String::from(url), text);
    }

    #[test]
    fn what_names_no_database_is_refused() {
        for (text, hint) in [
            ("postgres://ledger@db.example", "names no database"),
            ("postgresql:///", "names no database"),
            ("sqlite://", "names no file"),
            ("mysql://x/y", "no database URL"),
            ("ledger.db", "no database URL"),
        ] {
            let refused = text.parse::<DatabaseUrl>().unwrap_err();
            assert!(refused.contains(hint), "{text}: {refused}");
        }
    }
}
