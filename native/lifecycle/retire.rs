//! Retire: an old version of a key is disabled once nobody needs it, and can be enabled again.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::{EncryptionConfig, KmsProvider};
use crate::engine::EncryptionEngine;
use crate::error::{Error, Kind, Result};
use crate::keys::Wrapping;
use crate::kms::KeyVersion;
use crate::lifecycle::kek::{Kek, KekName, Keks, State};
use crate::lifecycle::report::{Report, Row};

/// A version that is to be disabled or enabled.
#[derive(Debug)]
pub struct Candidate {
    /// Its name.
    pub name: KekName,
    /// As its key service tells it.
    pub version: KeyVersion,
    kek: Arc<Kek>,
}

/// For how long a version may still be sealed under after another one has taken its place: the old one may be handed out for
/// a while, and a data key lie ready for `data-key.max-age` and be sealed with for as long again.
pub fn settle(config: &EncryptionConfig) -> Duration {
    let fallbacks = config.kms_fallbacks.iter().map(|slot| &slot.provider);
    let handed_out = std::iter::once(&config.kms_provider).chain(fallbacks).map(handed_out).max();
    config.data_key.max_age * 2 + handed_out.unwrap_or_default()
}

/// For how long the old version may be handed out after a rotation.
fn handed_out(service: &KmsProvider) -> Duration {
    const HOUR: Duration = Duration::from_secs(3600);
    match service {
        // What Google promises for exceptional cases.
        KmsProvider::GcpKms(_) => 3 * HOUR,
        // For so long a public key is believed while the vault does not answer.
        KmsProvider::AzureKeyVault(vault) if vault.wrap_locally => HOUR,
        KmsProvider::AwsKms(_) | KmsProvider::AzureKeyVault(_) | KmsProvider::Vault(_) | KmsProvider::LocalHsm(_) => {
            Duration::ZERO
        }
    }
}

impl Candidate {
    /// Asks the configured key services for it.
    pub fn find(engine: &EncryptionEngine, name: &KekName) -> Result<Candidate> {
        let Some(wanted) = &name.version else {
            return Err(Kind::InvalidArgument.error(format_args!(
                "{name}: which version? KEK@VERSION is expected, as `sealpoint report` shows it"
            )));
        };
        let keks = engine.wait(Keks::ask(engine.keys().clients()));
        let named = |kek: &&Arc<Kek>| kek.name.as_ref().is_ok_and(|known| *known == name.kek);
        let mut found: Vec<&Arc<Kek>> = keks.all().map(|(_, kek)| kek).filter(named).collect();
        found.sort_by_key(|kek| Arc::as_ptr(kek));
        found.dedup_by_key(|kek| Arc::as_ptr(kek));
        let kek = match found[..] {
            [kek] => Arc::clone(kek),
            [] => return Err(unknown(&keks, name)),
            _ => {
                return Err(Kind::Config.error(format_args!(
                    "two key services have a key '{}': give a configuration with one of them only",
                    name.kek
                )));
            }
        };
        let versions = kek.versions.as_ref().map_err(Error::clone)?;
        let Some(version) = versions.iter().find(|version| version.id == *wanted).cloned() else {
            let known: Vec<_> = versions.iter().map(|version| version.id.as_str()).collect();
            return Err(Kind::KeyVersionNotFound.error(format_args!(
                "key '{}' has no version '{wanted}': it has {}",
                name.kek,
                known.join(", ")
            )));
        };
        Ok(Candidate { name: name.clone(), version, kek })
    }

    /// True for the version that wraps: disabled, nothing could be sealed any more.
    pub fn is_current(&self) -> Result<bool> {
        Ok(self.kek.current.as_ref().map_err(Error::clone)?.id == self.version.id)
    }

    /// From when on no process seals under it any more that takes up a new version within this time, by the key
    /// service's word of when the next version was made.
    pub fn quiet_from(&self, settle: Duration, now: SystemTime) -> Result<SystemTime> {
        let versions = self.kek.versions.as_ref().map_err(Error::clone)?;
        let mut after = versions.iter().skip_while(|version| version.id != self.version.id).skip(1);
        // A version whose time nobody knows may have been made just now; and one of Google's may have become the primary one
        // just now, however long ago it was made.
        let known = |made: &SystemTime| *made > UNIX_EPOCH && self.kek.client.provider() != "gcp";
        let replaced = after.next().map(|next| next.created_at).filter(known);
        Ok(replaced.unwrap_or(now) + settle)
    }

    /// Proves that this process may disable it, by enabling it as it is.
    pub fn check_permission(&self, engine: &EncryptionEngine) -> Result<()> {
        self.set_enabled(engine, true)
    }

    /// Disables the version, which nobody needs by this report; nothing if that is still so afterwards. Otherwise somebody
    /// disabled meanwhile what opens files in its stead, who may have counted on this one in turn, or its key service does
    /// not say: this one is enabled again, and the other one told, with what is known of it.
    pub fn disable(&self, engine: &EncryptionEngine, report: &Report) -> Result<Option<(Wrapping, State)>> {
        self.set_enabled(engine, false)?;
        let keks = engine.wait(Keks::ask(engine.keys().clients()));
        let mut others = report.rows.iter().filter(|row| row.state.opens() && !self.name.names(&row.wrapping));
        let lost = others.find_map(|Row { tenant, wrapping, .. }| {
            let state = keks.state(tenant, wrapping);
            (!state.opens()).then_some((wrapping, state))
        });
        let Some((wrapping, state)) = lost else { return Ok(None) };
        self.set_enabled(engine, true).map_err(|error| {
            error.at(format_args!(
                "{wrapping} does not open files any more, or its key service does not say so ({1}), and {0} could not be enabled again (`sealpoint retire --undo {0}`)",
                self.name,
                state.name()
            ))
        })?;
        Ok(Some((wrapping.clone(), state)))
    }

    /// Disables it, or enables it again.
    pub fn set_enabled(&self, engine: &EncryptionEngine, enabled: bool) -> Result<()> {
        engine.wait(self.kek.client.set_version_enabled(&self.version.id, enabled))
    }
}

fn unknown(keks: &Keks, name: &KekName) -> Error {
    let mut known = Vec::new();
    for (_, kek) in keks.all() {
        match &kek.name {
            Ok(name) => known.push(format!("'{name}'")),
            // It may be the one.
            Err(error) => return error.clone().at(format_args!("{name} is not found")),
        }
    }
    known.sort();
    known.dedup();
    Kind::KeyNotFound.error(format_args!(
        "no configured key service has a key '{}', only {}: see `sealpoint report`, kms.* and tenants.<name>.key",
        name.kek,
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_hands_out_the_old_version_for_a_while_is_waited_for() {
        let vault = [("kms.azure.vault-url", "https://v.vault.azure.net"), ("kms.azure.key-name", "k")];
        let google = [
            ("kms.fallbacks", "google"),
            ("kms.fallback.google.provider", "gcp"),
            ("kms.fallback.google.gcp.project", "p"),
            ("kms.fallback.google.gcp.location", "europe-west1"),
            ("kms.fallback.google.gcp.key-ring", "r"),
            ("kms.fallback.google.gcp.key-name", "k"),
        ];
        let local = [("kms.azure.wrap-locally", "true")];
        let hours = |pairs: &[&[(&str, &str)]]| {
            let pairs = pairs.concat().into_iter().chain([("kms.provider", "azure"), ("data-key.max-age", "2 h")]);
            let config = EncryptionConfig::from_pairs(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
            settle(&config.unwrap()).as_secs() / 3600
        };
        assert_eq!(hours(&[&vault]), 4);
        assert_eq!(hours(&[&vault, &local]), 5);
        assert_eq!(hours(&[&vault, &local, &google]), 7);
    }
}
