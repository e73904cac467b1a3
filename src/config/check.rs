//! Which settings are acceptable.

use super::{ENVIRONMENT, Hidden, Settings, WitnessSetting};
use crate::app::evidence::{EvidenceChoices, Witness};
use crate::evidence::keys::{LogName, Seed};
use crate::evidence::note::WitnessKey;
use figment::error::Kind;
use figment::{Metadata, Source};
use std::borrow::Cow;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use token_ledger_domain::{Quoted, Scope, SecretKind};

/// The longest prefix of a secret, in characters.
const MAX_PREFIX: usize = 20;
/// How the scopes of API keys begin, which no data access may be mistaken for.
const RESERVED: &str = "ledger.";

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    /// There is no file of settings, or it can't be read.
    #[error("the file of settings, {}, can't be read: {error}", .path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A variable holds no text.
    #[error("{variable}: is not UTF-8")]
    NotText {
        /// The variable.
        variable: String,
    },
    /// What a file, a variable or an option says can't be understood.
    #[error("{}", in_words(.0))]
    Unreadable(Box<figment::Error>),
    /// A setting is not acceptable.
    #[error("{setting}: {problem}")]
    Unacceptable {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl InvalidSettings {
    fn of(setting: &'static str, problem: impl Into<String>) -> Self {
        Self::Unacceptable { setting, problem: problem.into() }
    }
}

/// The errors, each with the variable or the setting that it is about.
fn in_words(errors: &figment::Error) -> String {
    let told: Vec<String> = errors.clone().into_iter().map(|error| one_in_words(&error)).collect();
    told.join("\n")
}

fn one_in_words(error: &figment::Error) -> String {
    let setting = error.path.join(".");
    let place = match &error.metadata {
        Some(Metadata { source: Some(Source::File(file)), .. }) if setting.is_empty() => {
            return format!("{}: {}", file.display(), without_source(&error.kind));
        }
        _ if setting.is_empty() => return without_source(error),
        Some(metadata) if metadata.name.contains("environment") => {
            format!("{ENVIRONMENT}{}", setting.to_uppercase())
        }
        Some(Metadata { source: Some(Source::File(file)), .. }) => {
            format!("{setting} in {}", file.display())
        }
        _ => setting,
    };
    match &error.kind {
        Kind::UnknownField(..) => format!("{place}: there is no such setting"),
        Kind::UnknownVariant(found, known) => {
            format!("{place}: {} is none of {}", Quoted(found), known.join(", "))
        }
        kind => format!("{place}: {}", with_plain_number(kind)),
    }
}

/// What is wrong, without the name that a whole number has in the program.
fn with_plain_number(kind: &Kind) -> Cow<'_, Kind> {
    let plain = |expected: &str| {
        let is_number = ["u32", "u64", "usize"].contains(&expected);
        is_number.then(|| "a whole number".to_owned())
    };
    let plain = match kind {
        Kind::InvalidType(found, expected) => {
            plain(expected).map(|expected| Kind::InvalidType(found.clone(), expected))
        }
        Kind::InvalidValue(found, expected) => {
            plain(expected).map(|expected| Kind::InvalidValue(found.clone(), expected))
        }
        _ => None,
    };
    plain.map_or(Cow::Borrowed(kind), Cow::Owned)
}

/// The error in one line, without those that it shows of the file, which may hold a password.
fn without_source(error: &impl ToString) -> String {
    let is_shown = |line: &&str| {
        line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|')
    };
    let text = error.to_string();
    let told = text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_shown(line));
    told.collect::<Vec<_>>().join(": ")
}

impl Settings {
    /// Refuses settings that are not acceptable, alone or together.
    pub(super) fn check(&self) -> Result<(), InvalidSettings> {
        let prefixes = [
            ("token_prefix", &self.token_prefix, SecretKind::Token),
            ("key_prefix", &self.key_prefix, SecretKind::Key),
            ("client_prefix", &self.client_prefix, SecretKind::Client),
        ];
        for (index, (setting, prefix, kind)) in prefixes.iter().enumerate() {
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.chars().all(allowed) {
                let problem = "must have 1 to 20 ASCII letters, digits, _ and -";
                return Err(InvalidSettings::of(setting, problem));
            }
            if let Some((other, ..)) = prefixes[..index].iter().find(|(_, text, _)| text == prefix)
            {
                // Which of the two was set; one that is as ever was not.
                let is_set = prefix.as_str() != kind.default_prefix();
                let (set, other) = if is_set { (setting, other) } else { (other, setting) };
                return Err(InvalidSettings::of(set, format!("must differ from {other}")));
            }
        }
        self.check_ranges()?;
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => {
                return Err(InvalidSettings::of("tls_key", "is needed with tls_cert"));
            }
            (None, Some(_)) => {
                return Err(InvalidSettings::of("tls_cert", "is needed with tls_key"));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let mut names: Vec<&Scope> = self.scopes.iter().map(|scope| &scope.name).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        if names.len() < count {
            return Err(InvalidSettings::of("scopes", "each may be named only once"));
        }
        if let Some(reserved) = names.iter().find(|name| name.as_str().starts_with(RESERVED)) {
            let problem = format!("{reserved} is reserved: names beginning with {RESERVED} are");
            return Err(InvalidSettings::of("scopes", problem));
        }
        if let Some(split) = names.iter().find(|name| name.as_str().contains(',')) {
            let problem = format!("{split}: commas stand between scopes, so no name may hold one");
            return Err(InvalidSettings::of("scopes", problem));
        }
        self.evidence()?;
        self.checked_public_url().map(|_| ())
    }

    /// Refuses numbers that are out of range.
    fn check_ranges(&self) -> Result<(), InvalidSettings> {
        let ranges: [(_, u64, RangeInclusive<u64>); 8] = [
            ("database_connections", self.database_connections.into(), 1..=1000),
            ("freshness_bound_milliseconds", self.freshness_bound_milliseconds, 500..=60_000),
            ("max_connections", self.max_connections as u64, 1..=1_000_000),
            ("max_connections_per_address", self.max_connections_per_address as u64, 1..=1_000_000),
            ("bad_credentials_per_network", self.bad_credentials_per_network.into(), 1..=1_000_000),
            ("expiry_interval_seconds", self.expiry_interval_seconds, 1..=3600),
            ("use_flush_interval_seconds", self.use_flush_interval_seconds, 1..=3600),
            ("checkpoint_delay_ms", self.checkpoint_delay_ms, 10..=60_000),
        ];
        for (setting, value, range) in ranges {
            if !range.contains(&value) {
                let problem = format!("must be {} to {}", range.start(), range.end());
                return Err(InvalidSettings::of(setting, problem));
            }
        }
        Ok(())
    }

    /// What was chosen about evidence.
    ///
    /// # Errors
    /// When a setting is not acceptable.
    pub fn evidence(&self) -> Result<EvidenceChoices, InvalidSettings> {
        let name: LogName = self
            .log_name
            .parse()
            .map_err(|error| InvalidSettings::of("log_name", format!("{error}")))?;
        let seed = self.log_seed.as_ref().map(|Hidden(text)| text.parse::<Seed>());
        let seed =
            seed.transpose().map_err(|error| InvalidSettings::of("log_seed", error.to_string()))?;
        let quorum = self.witness_quorum.unwrap_or(self.witnesses.len());
        if quorum > self.witnesses.len() {
            return Err(InvalidSettings::of("witness_quorum", "is more than there are witnesses"));
        }
        let witnesses = self.witnesses.iter().map(witness).collect::<Result<_, _>>()?;
        Ok(EvidenceChoices {
            name,
            seed,
            folder: self.evidence_dir.clone(),
            delay: Duration::from_millis(self.checkpoint_delay_ms),
            public: self.public_log,
            witnesses,
            quorum,
        })
    }

    /// Expects the evidence folder to be there, where one is named: for whoever only reads it.
    ///
    /// # Errors
    /// When it is not there, or can't be looked at.
    pub fn expect_evidence_dir(&self) -> Result<(), InvalidSettings> {
        let Some(folder) = &self.evidence_dir else { return Ok(()) };
        let name = folder.display();
        let problem = match folder.metadata() {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => format!("{name} is no folder"),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                format!("there is no folder {name}")
            }
            Err(error) => format!("{name}: {error}"),
        };
        Err(InvalidSettings::of("evidence_dir", problem))
    }

    /// The public URL, without a slash at its end, where one is set.
    ///
    /// # Errors
    /// When it is not the URL of a service.
    pub fn checked_public_url(&self) -> Result<Option<String>, InvalidSettings> {
        let Some(text) = &self.public_url else { return Ok(None) };
        let url = url::Url::parse(text).map_err(|error| {
            let problem =
                format!("{}: {error}; write it as https://ledger.example.com", Quoted(text));
            InvalidSettings::of("public_url", problem)
        })?;
        plain(&url).map_err(|problem| InvalidSettings::of("public_url", problem))?;
        if url.path() != "/" {
            let problem = "must name a host without a path: the console, the API and what they \
                link to stand at the host's root";
            return Err(InvalidSettings::of("public_url", problem));
        }
        Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
    }
}

/// Refuses a URL that no path can be appended to.
fn plain(url: &url::Url) -> Result<(), &'static str> {
    let is_whole = url.query().is_none() && url.fragment().is_none();
    let is_anonymous = url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || !is_whole || !is_anonymous {
        return Err("must be an http or https URL without user, query and fragment");
    }
    Ok(())
}

fn witness(setting: &WitnessSetting) -> Result<Witness, InvalidSettings> {
    let unacceptable = |problem: String| InvalidSettings::of("witnesses", problem);
    let url = url::Url::parse(&setting.url)
        .map_err(|error| unacceptable(format!("{}: {error}", Quoted(&setting.url))))?;
    plain(&url).map_err(|problem| unacceptable(format!("{}: {problem}", Quoted(&setting.url))))?;
    let key: WitnessKey = setting
        .key
        .parse()
        .map_err(|error| unacceptable(format!("{}: {error}", Quoted(&setting.key))))?;
    Ok(Witness { url: url.as_str().trim_end_matches('/').to_owned(), key })
}
