//! Where settings come from besides the command line: a file, and the environment.

use super::{ENVIRONMENT, InvalidSettings};
use figment::providers::{Env, Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A longer file is none of settings, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// Variables that are ours and no settings: what is logged, the file of settings.
const BESIDE: [&str; 2] = ["LOG", "CONFIG"];
/// What the tests' variables begin with.
const OF_TESTS: &str = "TEST_";
/// An option that may be given several times, and the setting that holds all of them.
const SCOPE: (&str, &str) = ("scope", "scopes");

/// A file of settings. It is read once: it may be a pipe.
pub(super) struct SettingsFile {
    path: PathBuf,
    text: String,
}

impl SettingsFile {
    pub(super) fn read(path: &Path) -> Result<Self, InvalidSettings> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
            .map_err(|error| InvalidSettings::NoFile { path: path.to_owned(), error })?;
        Ok(Self { path: path.to_owned(), text })
    }
}

impl Provider for SettingsFile {
    fn metadata(&self) -> Metadata {
        Metadata::from("file of settings", self.path.as_path())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Toml::string(&self.text).data()
    }
}

/// The variables that are settings. One that is empty counts as left out.
pub(super) struct Environment(Env);

impl Environment {
    pub(super) fn of(settings: &[String]) -> Result<Self, InvalidSettings> {
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        if let Some(variable) = not_text(std::env::vars_os(), &settings) {
            return Err(InvalidSettings::NotText { variable });
        }
        let variables = Env::prefixed(ENVIRONMENT)
            .filter(|name| is_set(name.as_str()))
            .map(|name| if name == SCOPE.0 { SCOPE.1.into() } else { name.into() })
            .only(&settings);
        Ok(Self(variables))
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        self.0.metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let settings = self.0.iter().map(|(name, text)| (name.to_string(), value(text)));
        Ok(self.0.profile.collect(settings.collect()))
    }
}

/// A variable's value. Lists and quoted texts are read as they are in a file; all else is text,
/// and becomes a number only where the setting is one.
fn value(text: String) -> Value {
    if text.trim_start().starts_with(['[', '{', '"', '\'']) {
        return text.parse().unwrap_or_else(|never| match never {});
    }
    text.into()
}

/// The first of these variables that is a setting and holds no text.
fn not_text(
    variables: impl Iterator<Item = (OsString, OsString)>,
    settings: &[&str],
) -> Option<String> {
    variables
        .filter(|(_, value)| value.to_str().is_none())
        .filter_map(|(name, _)| name.into_string().ok())
        .find(|name| {
            let setting = name.to_lowercase();
            let setting = setting.strip_prefix(&ENVIRONMENT.to_lowercase());
            setting.is_some_and(|setting| setting == SCOPE.0 || settings.contains(&setting))
        })
}

fn is_set(setting: &str) -> bool {
    let name = format!("{ENVIRONMENT}{}", setting.to_uppercase());
    std::env::var_os(name).is_none_or(|value| !value.is_empty())
}

/// Of these variables, those that look like settings and are none.
pub(super) fn unknown(variables: impl Iterator<Item = String>, settings: &[String]) -> Vec<String> {
    let is_unknown = |variable: &String| {
        let Some(name) = variable.strip_prefix(ENVIRONMENT) else { return false };
        let setting = name.to_lowercase();
        setting != SCOPE.0
            && !settings.contains(&setting)
            && !BESIDE.contains(&name)
            && !name.starts_with(OF_TESTS)
            && !is_of_a_platform(name)
    };
    let mut unknown: Vec<String> = variables.filter(is_unknown).collect();
    unknown.sort();
    unknown
}

/// Whether the variable tells where a service of a similar name is, as platforms put it there on
/// their own: `TOKEN_LEDGER_SERVICE_HOST`, `TOKEN_LEDGER_PORT_8080_TCP_ADDR`.
fn is_of_a_platform(name: &str) -> bool {
    name.ends_with("SERVICE_HOST") || name.split('_').any(|word| word == "PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_text_unless_it_is_quoted_or_a_list() {
        assert_eq!(value("007".to_owned()), Value::from("007"));
        assert_eq!(value("true".to_owned()), Value::from("true"));
        assert_eq!(value("\"1\"".to_owned()), Value::from("1"));
        assert_eq!(value("[\"a\"]".to_owned()), Value::from(vec!["a"]));
    }

    #[test]
    fn variables_that_look_like_settings_and_are_none_are_found() {
        let settings = ["listen".to_owned(), "scopes".to_owned()];
        let names = [
            "PATH",
            "TOKEN_LEDGER_LISTEN",
            "TOKEN_LEDGER_LISTNE",
            "TOKEN_LEDGER_SCOPE",
            "TOKEN_LEDGER_SCOPES",
            "TOKEN_LEDGER_LOG",
            "TOKEN_LEDGER_CONFIG",
            "TOKEN_LEDGER_TEST_DATABASE",
            "TOKEN_LEDGER_PORT",
            "TOKEN_LEDGER_SERVICE_HOST",
            "TOKEN_LEDGER_SERVICE_PORT_HTTP",
            "TOKEN_LEDGER_POSTGRES_PORT_5432_TCP_ADDR",
            "TOKEN_LEDGER_DATABASE",
        ];
        let found = unknown(names.into_iter().map(str::to_owned), &settings);
        assert_eq!(found, ["TOKEN_LEDGER_DATABASE", "TOKEN_LEDGER_LISTNE"]);
    }
}
