//! What an operator can set: in a file, in the environment, on the command line, the later
//! winning over the earlier.

mod check;
mod database_url;
mod lists;
mod sources;

pub use check::InvalidSettings;
pub use database_url::{DatabaseUrl, PostgresUrl};
pub use lists::{network, scope};

use crate::app::throttle::BAD_CREDENTIALS_PER_NETWORK;
use crate::app::{Choices, PostgresChoices};
use crate::evidence::keys::LogName;
use crate::http::{ForwardedHeader, Proxies};
use figment::Figment;
use figment::providers::Serialized;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sources::{Environment, SettingsFile};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use token_ledger_domain::{Catalogue, Scope, SecretKind};

/// What the names of environment variables begin with.
pub const ENVIRONMENT: &str = "TOKEN_LEDGER_";

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A data access on offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with name and description")]
pub struct ScopeSetting {
    /// The scope's name.
    pub name: Scope,
    /// What it opens, in one line.
    pub description: String,
}

/// A witness that is asked to cosign checkpoints (C2SP tlog-witness).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with url and key")]
pub struct WitnessSetting {
    /// The URL that `/add-checkpoint` is appended to.
    pub url: String,
    /// Its verifier key, in note form.
    pub key: String,
}

/// A setting that is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Everything that can be set. A field's name is its key in the file, and in capitals behind
/// `TOKEN_LEDGER_` its name in the environment.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the ledger is kept.
    pub database_url: DatabaseUrl,
    /// PostgreSQL: where notifications are listened to, if not at the database URL; the same database,
    /// at its server itself or through a pooler that keeps sessions.
    pub database_listen_url: Option<PostgresUrl>,
    /// PostgreSQL: connections of this process, besides a few that append and listen.
    pub database_connections: u32,
    /// PostgreSQL: how old knowledge of what other processes did may be for an answer at
    /// verification, in milliseconds.
    pub freshness_bound_milliseconds: u64,
    /// The address to listen on.
    pub listen: String,
    /// The URL that the service is reached at; where none is given, the address that it listens on.
    pub public_url: Option<String>,
    /// The certificate chain for TLS, PEM.
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    pub tls_key: Option<PathBuf>,
    /// Proxies whose forwarded addresses count.
    #[serde(deserialize_with = "lists::networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which the trusted proxies forward addresses.
    pub forwarded_header: ForwardedHeader,
    /// Connections at a time.
    pub max_connections: usize,
    /// Connections at a time from one address that is no trusted proxy's.
    pub max_connections_per_address: usize,
    /// Bad API keys, and bad secrets of OAuth clients, that one network may send at once before it
    /// is told to wait; as many again become possible within a minute.
    pub bad_credentials_per_network: u32,
    /// How the log is written.
    pub log_format: LogFormat,
    /// Whether plain HTTP is served beyond this machine.
    pub insecure_http: bool,
    /// Whether missing migrations are left alone.
    pub no_migrate: bool,
    /// Whether the published API takes no parameters, and so no credentials, in the query.
    pub no_query_credentials: bool,
    /// What tokens' secrets begin with.
    pub token_prefix: String,
    /// What API keys begin with.
    pub key_prefix: String,
    /// What OAuth clients' secrets begin with.
    pub client_prefix: String,
    /// The data accesses on offer; the default ones where none are given.
    #[serde(deserialize_with = "lists::scopes")]
    pub scopes: Vec<ScopeSetting>,
    /// How often terms that have ended are looked for, in seconds.
    pub expiry_interval_seconds: u64,
    /// How often the times of last use are written down, in seconds.
    pub use_flush_interval_seconds: u64,
    /// What the origins of the companies' logs begin with: the name of this installation, such as
    /// `ledger.example/log`. Another name makes other logs, with other keys.
    pub log_name: String,
    /// The seed of the logs' keys, 64 hexadecimal digits. Where none is given, it is a file in the
    /// evidence folder, made at the first start.
    pub log_seed: Option<Hidden>,
    /// The folder of what evidence keeps outside the database; beside the SQLite file unless set.
    pub evidence_dir: Option<PathBuf>,
    /// How long after an event a checkpoint is signed that covers it, at most, in milliseconds.
    pub checkpoint_delay_ms: u64,
    /// Whether anybody may read checkpoints, keys and hashes of the logs. Never their entries.
    pub public_log: bool,
    /// Witnesses that are asked to cosign checkpoints.
    pub witnesses: Vec<WitnessSetting>,
    /// How many witnesses must have cosigned before that is served; all unless set.
    pub witness_quorum: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database_url: DatabaseUrl::default(),
            database_listen_url: None,
            database_connections: 16,
            freshness_bound_milliseconds: 1000,
            listen: "127.0.0.1:8080".to_owned(),
            public_url: None,
            tls_cert: None,
            tls_key: None,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            max_connections: 8192,
            max_connections_per_address: 1024,
            bad_credentials_per_network: BAD_CREDENTIALS_PER_NETWORK,
            log_format: LogFormat::default(),
            insecure_http: false,
            no_migrate: false,
            no_query_credentials: false,
            token_prefix: SecretKind::Token.default_prefix().to_owned(),
            key_prefix: SecretKind::Key.default_prefix().to_owned(),
            client_prefix: SecretKind::Client.default_prefix().to_owned(),
            scopes: Vec::new(),
            expiry_interval_seconds: 1,
            use_flush_interval_seconds: 10,
            log_name: LogName::default().as_str().to_owned(),
            log_seed: None,
            evidence_dir: None,
            checkpoint_delay_ms: 1000,
            public_log: false,
            witnesses: Vec::new(),
            witness_quorum: None,
        }
    }
}

impl Settings {
    /// The settings of the file, if one is named, the environment, and the command line.
    ///
    /// # Errors
    /// When a setting is unknown, can't be read or is not acceptable.
    pub fn load(file: Option<&Path>, options: &impl Serialize) -> Result<Self, InvalidSettings> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            figment = figment.merge(SettingsFile::read(file)?);
        }
        let settings: Self = figment
            .merge(Environment::of(&Self::names()?)?)
            .merge(Serialized::defaults(options))
            // In the environment, 1 means yes.
            .extract_lossy()
            .map_err(|error| InvalidSettings::Unreadable(Box::new(error)))?;
        settings.check()?;
        Ok(settings)
    }

    /// The variables in the environment that look like settings and are none. They mean nothing.
    pub fn unknown_variables() -> Vec<String> {
        let variables = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        Self::names().map(|names| sources::unknown(variables, &names)).unwrap_or_default()
    }

    /// What everything that can be set is called.
    fn names() -> Result<Vec<String>, InvalidSettings> {
        Figment::from(Serialized::defaults(Self::default()))
            .extract::<figment::value::Dict>()
            .map(|settings| settings.into_keys().collect())
            .map_err(|error| InvalidSettings::Unreadable(Box::new(error)))
    }

    /// The files of certificate and key, where TLS shall be spoken.
    pub const fn tls_files(&self) -> Option<(&PathBuf, &PathBuf)> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => None,
        }
    }

    /// The parameters of database URLs that mean nothing, by name.
    pub fn ignored_parameters(&self) -> Vec<String> {
        let database = match &self.database_url {
            DatabaseUrl::Postgres(url) => Some(url),
            DatabaseUrl::Sqlite(_) => None,
        };
        let urls = database.into_iter().chain(&self.database_listen_url);
        urls.flat_map(PostgresUrl::ignored).collect()
    }

    /// Whose word counts for where requests come from.
    pub fn proxies(&self) -> Proxies {
        Proxies { trusted: self.trusted_proxies.clone(), header: self.forwarded_header }
    }

    /// What the application is told.
    pub fn choices(&self) -> Choices {
        let catalogue = if self.scopes.is_empty() {
            Catalogue::default()
        } else {
            Catalogue::new(
                self.scopes.iter().map(|scope| (scope.name.clone(), scope.description.clone())),
            )
        };
        Choices {
            catalogue,
            token_prefix: self.token_prefix.clone(),
            key_prefix: self.key_prefix.clone(),
            client_prefix: self.client_prefix.clone(),
            bad_credentials_per_network: self.bad_credentials_per_network,
            postgres: PostgresChoices {
                listen_url: self.database_listen_url.as_ref().map(PostgresUrl::reveal),
                connections: self.database_connections,
                freshness_bound: Duration::from_millis(self.freshness_bound_milliseconds),
                ..PostgresChoices::default()
            },
            // They were checked when they were loaded.
            evidence: self.evidence().unwrap_or_default(),
        }
    }

    /// The folder of what evidence keeps outside the database.
    pub fn evidence_folder(&self) -> PathBuf {
        self.choices().evidence.folder_of(&self.database_url)
    }

    /// How often terms that have ended are looked for.
    pub const fn expiry_interval(&self) -> Duration {
        Duration::from_secs(self.expiry_interval_seconds)
    }

    /// How often the times of last use are written down.
    pub const fn use_flush_interval(&self) -> Duration {
        Duration::from_secs(self.use_flush_interval_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn from_file(text: &str, options: &serde_json::Value) -> Result<Settings, InvalidSettings> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::load(Some(file.path()), options)
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let settings = from_file(
            "listen = \"127.0.0.1:1\"\ntrusted_proxies = [\"10.0.0.0/8\", \"192.0.2.1\"]\n\
             [[scopes]]\nname = \"rooms\"\ndescription = \"Rooms\"\n",
            &json!({"listen": "127.0.0.1:2"}),
        )
        .unwrap();
        assert_eq!(settings.listen, "127.0.0.1:2");
        assert_eq!(settings.trusted_proxies.len(), 2);
        assert!(settings.choices().catalogue.select(&["rooms"]).is_ok());
        assert!(settings.choices().catalogue.select(&["positions"]).is_err());
    }

    #[test]
    fn what_is_unknown_or_unacceptable_is_named() {
        for (text, named) in [
            ("listne = \"127.0.0.1:1\"", "listne"),
            ("database_url = \"mysql://x\"", "database URL"),
            ("database_url = \"postgres://\"", "names no database"),
            ("database_listen_url = \"sqlite://x\"", "postgres://"),
            ("database_connections = 0", "database_connections: must be 1 to 1000"),
            (
                "freshness_bound_milliseconds = 100",
                "freshness_bound_milliseconds: must be 500 to 60000",
            ),
            ("trusted_proxies = [\"proxy\"]", "proxy"),
            ("key_prefix = \"tlk_\"", "key_prefix: must differ from token_prefix"),
            ("token_prefix = \"tla_\"", "token_prefix: must differ from key_prefix"),
            ("[[scopes]]\nname = \"a,b\"\ndescription = \"\"", "commas"),
            ("token_prefix = \"a b\"", "token_prefix"),
            ("expiry_interval_seconds = 0", "expiry_interval_seconds: must be 1 to 3600"),
            ("public_url = \"ftp://x\"", "public_url"),
            ("public_url = \"https://x/ledger\"", "without a path"),
            ("tls_cert = \"cert.pem\"", "tls_key"),
            ("tls_key = \"key.pem\"", "tls_cert"),
            ("forwarded_header = \"via\"", "via"),
            ("max_connections = 0", "max_connections: must be 1 to 1000000"),
            ("max_connections = 1000001", "max_connections: must be 1 to 1000000"),
            ("max_connections_per_address = 0", "max_connections_per_address"),
            ("bad_credentials_per_network = 0", "bad_credentials_per_network"),
            ("log_format = \"xml\"", "xml"),
            ("[[scopes]]\nname = \"ledger.rooms\"\ndescription = \"\"", "reserved"),
            ("log_name = \"a b\"", "log_name"),
            ("log_seed = \"ab\"", "log_seed"),
            ("checkpoint_delay_ms = 1", "checkpoint_delay_ms: must be 10 to 60000"),
            ("witness_quorum = 1", "witness_quorum"),
            ("[[witnesses]]\nurl = \"ftp://x\"\nkey = \"x\"", "witnesses"),
        ] {
            let error = from_file(text, &json!({})).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn an_option_that_is_unacceptable_is_named_and_nothing_of_ours() {
        let options = json!({"scopes": [{"name": "a b", "description": ""}]});
        let error = Settings::load(None, &options).unwrap_err().to_string();
        assert!(error.starts_with("scopes.0.name: is not a scope"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_toml_is_not_shown() {
        let text = "listen = \"x\"\ndatabase_url = \"postgres://u:hunter2@h/l";
        let error = from_file(text, &json!({})).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn yes_may_be_said_in_other_words() {
        for text in ["true", "\"yes\"", "1"] {
            let settings = from_file(&format!("insecure_http = {text}"), &json!({})).unwrap();
            assert!(settings.insecure_http, "{text}");
        }
    }

    #[test]
    fn a_public_url_ends_without_a_slash() {
        let settings = from_file("public_url = \"https://ledger.example/\"", &json!({})).unwrap();
        assert_eq!(
            settings.checked_public_url().unwrap().as_deref(),
            Some("https://ledger.example")
        );
    }

    #[test]
    fn networks_come_as_text_too() {
        let options = json!({"trusted_proxies": "10.0.0.0/8, ::1"});
        let settings = Settings::load(None, &options).unwrap();
        assert_eq!(settings.trusted_proxies.len(), 2);
    }
}
