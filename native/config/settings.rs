//! Raw keys and values, each checked against the table of options.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::options::{self, Opt};
use crate::config::{EncryptionConfig, resolve, value};
use crate::error::{Error, Kind, Result};

const PREFIX: &str = "sealpoint.";
const VARIABLE_PREFIX: &str = "SEALPOINT_";
/// Variables that belong to the tools, not to the policy.
const OTHER_VARIABLES: [&str; 2] = ["SEALPOINT_CONFIG", "SEALPOINT_LOG"];

/// Known keys with values of the right form, not yet weighed against each other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "toml::Table", into = "BTreeMap<String, String>")]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Keys without the prefix `sealpoint.`.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Settings> {
        let mut settings = Settings::default();
        for (key, value) in pairs {
            settings.add(key.into(), value.into())?;
        }
        Ok(settings)
    }

    /// Tables are the parts of a key: `[kms] provider = "local"` is `kms.provider`.
    pub fn from_toml(text: &str) -> Result<Settings> {
        let table: toml::Table = text.parse().map_err(|error| Kind::Config.error(format_args!("not TOML: {error}")))?;
        Settings::try_from(table)
    }

    /// As [`from_toml`](Self::from_toml), from a file that the errors name.
    pub fn from_toml_file(path: &Path) -> Result<Settings> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Kind::Config.error(format_args!("cannot read the configuration file {}: {error}", path.display()))
        })?;
        Settings::from_toml(&text).map_err(|error| error.at(path.display()))
    }

    /// The same, overridden by variables such as `SEALPOINT_KMS_LOCAL_KEYRING`. Names that do not begin with
    /// `SEALPOINT_` are ignored; an unknown one that does is an error, unless Kubernetes put it there.
    pub fn with_environment<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Settings> {
        for (name, value) in variables {
            let Ok(name) = name.into().into_string() else { continue };
            if !name.starts_with(VARIABLE_PREFIX) || OTHER_VARIABLES.contains(&name.as_str()) || is_service_link(&name)
            {
                continue;
            }
            let option = options::ALL.iter().find(|option| option.variable().as_deref() == Some(&name));
            let option = option.ok_or_else(|| unknown_variable(&name))?;
            let value = value.into().into_string();
            let value = value.map_err(|_| Kind::Config.error(format_args!("the variable {name} is not UTF-8")))?;
            check(option, option.key, &value).map_err(|error| error.at(&name))?;
            self.0.insert(option.key.to_owned(), value);
        }
        Ok(self)
    }

    /// What they mean together.
    pub fn resolve(self) -> Result<EncryptionConfig> {
        resolve::resolve(self)
    }

    /// The text of a key, if it is set.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Every key that is set, in order, with its text.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    fn add(&mut self, key: String, value: String) -> Result<()> {
        let (option, _) = Opt::find(&key).ok_or_else(|| unknown_key(&key))?;
        check(option, &key, &value)?;
        if self.0.contains_key(&key) {
            return Err(Kind::Config.error(format_args!("{key} is set twice")));
        }
        self.0.insert(key, value);
        Ok(())
    }

    fn add_toml(&mut self, key: String, value: toml::Value) -> Result<()> {
        let text = match value {
            toml::Value::Table(table) => {
                return table.into_iter().try_for_each(|(part, value)| self.add_toml(format!("{key}.{part}"), value));
            }
            toml::Value::Array(items) => {
                let items: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                let not_texts =
                    || Kind::Config.error(format_args!("{key}: a list holds texts, such as [\"a\", \"b\"]"));
                items.ok_or_else(not_texts)?.join(",")
            }
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Datetime(time) => time.to_string(),
        };
        self.add(key, text)
    }
}

impl TryFrom<toml::Table> for Settings {
    type Error = Error;

    fn try_from(table: toml::Table) -> Result<Settings> {
        let mut settings = Settings::default();
        for (key, value) in table {
            settings.add_toml(key, value)?;
        }
        Ok(settings)
    }
}

impl From<Settings> for BTreeMap<String, String> {
    fn from(settings: Settings) -> Self {
        settings.0
    }
}

fn check(option: &Opt, key: &str, text: &str) -> Result<()> {
    value::check(&option.kind, text)
        .map_err(|reason| Kind::Config.error(format_args!("{key}: '{text}' is no value for it: {reason}")))
}

fn unknown_key(key: &str) -> Error {
    if let Some(rest) = key.strip_prefix(PREFIX)
        && Opt::find(rest).is_some()
    {
        return Kind::Config
            .error(format_args!("unknown key '{key}': here it is written without the prefix, '{rest}'"));
    }
    match value::nearest(key, options::ALL.iter().map(|option| option.key)) {
        Some(known) => Kind::Config.error(format_args!("unknown key '{key}': did you mean '{known}'?")),
        None => {
            Kind::Config.error(format_args!("unknown key '{key}': `sealpoint config reference` lists the known ones"))
        }
    }
}

fn unknown_variable(name: &str) -> Error {
    let known: Vec<String> = options::ALL.iter().filter_map(|option| option.variable()).collect();
    let lower: Vec<String> = known.iter().map(|name| name.to_ascii_lowercase()).collect();
    match value::nearest(name, lower.iter().map(String::as_str)) {
        Some(known) => Kind::Config.error(format_args!(
            "unknown variable {name} in the environment: did you mean {}?",
            known.to_ascii_uppercase()
        )),
        None => Kind::Config.error(format_args!("unknown variable {name} in the environment: unset it")),
    }
}

/// Kubernetes sets these in every pod for a service that happens to be called `sealpoint` or `sealpoint-...`.
fn is_service_link(name: &str) -> bool {
    let tail = &name[VARIABLE_PREFIX.len() - 1..];
    tail.ends_with("_SERVICE_HOST")
        || tail.contains("_SERVICE_PORT")
        || tail.ends_with("_PORT")
        || tail.contains("_PORT_") && (tail.contains("_TCP") || tail.contains("_UDP"))
}
