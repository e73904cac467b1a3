//! Where the ledger is kept.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How a connection to PostgreSQL may be protected.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// The parameters of a PostgreSQL URL that mean something here; `options[…]` does too.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Where the ledger is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DatabaseUrl {
    /// An SQLite file: `sqlite://PATH`, with `%20` and the like in it for what a URL can't hold.
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
            Some(("sqlite", "")) => Err("names no file; write sqlite://PATH".to_owned()),
            Some(("sqlite", path)) if path.contains(['?', '#']) => Err(
                "has a ? or # in it; sqlite://PATH takes no parameters, and a name has %3F or %23"
                    .to_owned(),
            ),
            Some(("sqlite", path)) => file(path).map(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => text.parse().map(Self::Postgres),
            _ => Err("is no database URL; write sqlite://PATH or postgres://USER@HOST/DATABASE"
                .to_owned()),
        }
    }
}

/// The file that the path of a URL names.
fn file(path: &str) -> Result<PathBuf, String> {
    let mut behind = path.split('%').skip(1);
    let is_escape = |text: &str| {
        text.as_bytes().first_chunk::<2>().is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    if !behind.all(is_escape) {
        return Err("has a % in it that is no escape; write %25 for one in a name".to_owned());
    }
    let name = percent_decode_str(path).decode_utf8();
    let name = name.map_err(|_| "is not UTF-8 behind its percent signs".to_owned())?;
    if name.contains('\0') {
        return Err("names a file with NUL in it".to_owned());
    }
    if name.contains(":memory:") {
        return Err("is kept in memory, where nothing lasts; name a file: sqlite://PATH".to_owned());
    }
    Ok(name.into_owned().into())
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

/// Without the password; a file's name escaped as far as it has to be.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => {
                let path = path.display().to_string();
                let path = path.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
                write!(f, "sqlite://{path}")
            }
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// The URL of a PostgreSQL database, which may hold a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PostgresUrl(String);

impl PostgresUrl {
    /// What to connect with, the password too. Parameters that mean nothing here are left out:
    /// whoever connects would write them to the log, where a mistyped `password` has no place.
    pub fn reveal(&self) -> String {
        let Ok(mut url) = url::Url::parse(&self.0) else { return self.0.clone() };
        let unknown = self.ignored();
        if unknown.is_empty() {
            return self.0.clone();
        }
        let kept: Vec<_> = pairs(&url).filter(|(name, _)| !unknown.contains(name)).collect();
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
        url.into()
    }

    /// The names of the parameters that mean nothing here.
    pub fn ignored(&self) -> Vec<String> {
        let Ok(url) = url::Url::parse(&self.0) else { return Vec::new() };
        let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
        pairs(&url).map(|(name, _)| name).filter(|name| !is_known(name)).collect()
    }
}

fn pairs(url: &url::Url) -> impl Iterator<Item = (String, String)> {
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned()))
}

/// What is wrong with a parameter, if anything is. Its value is not told: it may be a password that
/// slipped.
fn unsuitable(name: &str, value: &str) -> Option<String> {
    let wanted = match name {
        "sslmode" | "ssl-mode" if !SSL_MODES.contains(&value) => {
            "disable, allow, prefer, require, verify-ca or verify-full"
        }
        "port" if value.parse::<u16>().is_err() => "a port",
        "hostaddr" if value.parse::<IpAddr>().is_err() => "an IP address",
        "statement-cache-capacity" if value.parse::<usize>().is_err() => "a number",
        _ => return None,
    };
    Some(format!("its {name} must be {wanted}"))
}

impl FromStr for PostgresUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = url::Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") || !url.has_authority() {
            return Err("is no PostgreSQL URL; write postgres://USER@HOST/DATABASE".to_owned());
        }
        if url.path().trim_matches('/').is_empty() {
            return Err("names no database; write postgres://USER@HOST/DATABASE".to_owned());
        }
        let parts = [url.username(), url.password().unwrap_or_default(), url.path()];
        if parts.iter().any(|part| percent_decode_str(part).decode_utf8().is_err()) {
            return Err("is not UTF-8 behind its percent signs".to_owned());
        }
        let problem = pairs(&url).find_map(|(name, value)| unsuitable(&name, &value));
        problem.map_or_else(|| Ok(Self(text.to_owned())), Err)
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
    fn a_parameter_that_means_nothing_is_named_and_left_out() {
        let url: PostgresUrl =
            "postgres://u:a%2Fb@h/l?pasword=hunter2&sslmode=require&options[geqo]=off"
                .parse()
                .unwrap();
        assert_eq!(url.ignored(), ["pasword"]);
        assert_eq!(url.reveal(), "postgres://u:a%2Fb@h/l?sslmode=require&options%5Bgeqo%5D=off");
        let url: PostgresUrl = "postgres://h/l?connect_timeout=5".parse().unwrap();
        assert_eq!(url.reveal(), "postgres://h/l");
        let plain = "postgres://h/l?sslmode=require";
        assert_eq!(plain.parse::<PostgresUrl>().unwrap().reveal(), plain);
    }

    #[test]
    fn a_parameter_that_can_not_be_is_refused_without_its_value() {
        for (query, hint) in [
            ("sslmode=hunter2", "its sslmode must be disable, "),
            ("port=hunter2", "its port must be a port"),
            ("hostaddr=hunter2", "an IP address"),
            ("statement-cache-capacity=hunter2", "a number"),
        ] {
            let text = format!("postgres://u:hunter2@h/l?{query}");
            let refused = text.parse::<DatabaseUrl>().unwrap_err();
            assert!(refused.contains(hint) && !refused.contains("hunter2"), "{refused}");
        }
        let refused = "postgres://u:%ff@h/l".parse::<DatabaseUrl>().unwrap_err();
        assert!(refused.contains("UTF-8"), "{refused}");
        for text in ["postgres:u:hunter2@h/l", "postgres:/h/l"] {
            let refused = text.parse::<PostgresUrl>().unwrap_err();
            assert!(refused.contains("postgres://USER@HOST/DATABASE"), "{refused}");
        }
    }

    #[test]
    fn a_file_is_named_by_a_path_with_escapes() {
        for (text, name, shown) in [
            ("sqlite://x%20y.db", "x y.db", "sqlite://x y.db"),
            ("sqlite://x y.db", "x y.db", "sqlite://x y.db"),
            ("sqlite:///a/%62%C3%A9.db", "/a/bé.db", "sqlite:///a/bé.db"),
            ("sqlite://100%25%3f%23+.db", "100%?#+.db", "sqlite://100%25%3F%23+.db"),
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(url.file(), Some(Path::new(name)));
            assert_eq!(url.to_string(), shown);
            assert_eq!(String::from(url.clone()).parse(), Ok(url));
        }
    }

    #[test]
    fn what_names_no_database_is_refused() {
        for (text, hint) in [
            ("postgres://ledger@db.example", "names no database"),
            ("postgresql:///", "names no database"),
            ("postgres:u:hunter2@h/l", "no database URL"),
            ("sqlite://", "names no file"),
            ("sqlite://ledger.db?mode=rwc", "takes no parameters"),
            ("sqlite:///var/ledger.db#x", "takes no parameters"),
            ("sqlite://:memory:", "in memory"),
            ("sqlite://%3Amemory%3A", "in memory"),
            ("sqlite://100%.db", "write %25"),
            ("sqlite://100%2", "write %25"),
            ("sqlite://100%%25", "write %25"),
            ("sqlite://x%2zé", "write %25"),
            ("sqlite://x%00.db", "NUL"),
            ("sqlite://x%ff.db", "UTF-8"),
            ("mysql://x/y", "no database URL"),
            ("ledger.db", "no database URL"),
        ] {
            let refused = text.parse::<DatabaseUrl>().unwrap_err();
            assert!(refused.contains(hint), "{text}: {refused}");
        }
    }
}
