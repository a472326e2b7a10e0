//! What a policy amounts to, for people: every option with its value in force, and what they should know about it.

use crate::config::options::{self, Default, Opt};
use crate::config::{DataKeyScope, EncryptionConfig};

/// One option in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The key, without the prefix `sealpoint.`.
    pub key: String,
    /// The text in force.
    pub value: String,
    /// True if it was set, false if it is the default.
    pub set: bool,
}

impl EncryptionConfig {
    /// Every option that is in force, in the order of the reference. Nothing in it is secret.
    pub fn effective(&self) -> Vec<Effective> {
        options::ALL.iter().filter(|option| self.concerns(option)).flat_map(|option| self.values_of(option)).collect()
    }

    /// What an operator should be told at every start.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.enabled {
            warnings.push("enabled is false: new files are NOT sealed".to_owned());
        }
        warnings
    }

    fn values_of(&self, option: &Opt) -> Vec<Effective> {
        let set = self.settings.pairs().filter(|(key, _)| Opt::find(key).is_some_and(|(found, _)| found == option));
        let set: Vec<_> =
            set.map(|(key, value)| Effective { key: key.to_owned(), value: value.to_owned(), set: true }).collect();
        if !set.is_empty() {
            return set;
        }
        let value = match option.default {
            Default::Value(text) => text.to_owned(),
            _ if option == &options::ALLOWED_ALGORITHMS => self.algorithm.name().to_owned(),
            _ if option == &options::OPEN_TENANTS => self.tenants.open().join(", "),
            _ => return Vec::new(),
        };
        vec![Effective { key: option.key.to_owned(), value, set: false }]
    }

    /// False for the options of providers, and of a scope, that are not in use.
    fn concerns(&self, option: &Opt) -> bool {
        if option == &options::DATA_KEY_INTERVAL {
            return self.data_key.scope != DataKeyScope::Checkpoint;
        }
        let used = |provider| {
            self.kms_slots_of(self.tenants.default_tenant()).iter().any(|slot| slot.provider.name() == provider)
        };
        option.provider().is_none_or(used)
    }
}
