//! Key-encryption keys by the names that files and people give them, and what the key services say of their versions.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::keys::Wrapping;
use crate::kms::{Clients, KeyVersion, KmsClient};

/// `KEK@VERSION`, or a key with all its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekName {
    /// As files name it: what `sealpoint report` shows.
    pub kek: String,
    /// One of its versions; all of them if none.
    pub version: Option<String>,
}

impl KekName {
    /// True if `wrapping` is by this key, in this version if there is one.
    pub fn names(&self, wrapping: &Wrapping) -> bool {
        self.kek == wrapping.kek && self.version.as_ref().is_none_or(|version| *version == wrapping.version)
    }
}

impl FromStr for KekName {
    type Err = Error;

    /// The version stands behind the last `@`.
    fn from_str(text: &str) -> Result<KekName> {
        let (kek, version) = match text.rsplit_once('@') {
            Some((kek, version)) => (kek, Some(version)),
            None => (text, None),
        };
        if kek.is_empty() || version.is_some_and(str::is_empty) {
            return Err(Kind::InvalidArgument
                .error(format_args!("KEK@VERSION is expected, as `sealpoint report` shows it, unlike '{text}'")));
        }
        Ok(KekName { kek: kek.to_owned(), version: version.map(str::to_owned) })
    }
}

impl fmt::Display for KekName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.kek),
            None => write!(f, "{}", self.kek),
        }
    }
}

/// What can be said of a version that wraps data keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Its key service unwraps under it, and wraps under it too.
    Current,
    /// Its key service unwraps under it.
    Enabled,
    /// Its key service says that it is disabled, or scheduled for destruction.
    Disabled,
    /// Its key service knows no such version any more.
    Gone,
    /// Its key service did not say.
    Unknown,
    /// No configured key service of the tenant has the key.
    NotConfigured,
}

impl State {
    /// True if the key service itself says that it opens what is wrapped under the version.
    pub fn opens(self) -> bool {
        matches!(self, State::Current | State::Enabled)
    }

    /// In messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            State::Current => "current",
            State::Enabled => "enabled",
            State::Disabled => "disabled",
            State::Gone => "gone",
            State::Unknown => "unknown",
            State::NotConfigured => "not configured",
        }
    }
}

/// The configured keys of every tenant, with their versions as the key services told them just now.
#[derive(Debug)]
pub struct Keks {
    tenants: HashMap<String, Vec<Arc<Kek>>>,
}

/// A key in its key service.
#[derive(Debug)]
pub struct Kek {
    /// Who asks for it.
    pub client: Arc<dyn KmsClient>,
    /// As files name it.
    pub name: Result<String>,
    /// All its versions.
    pub versions: Result<Vec<KeyVersion>>,
    /// The one that wraps.
    pub current: Result<KeyVersion>,
}

impl Keks {
    /// Asks about each key once. That one does not answer is no failure: it is known of that key then.
    pub async fn ask(clients: &Clients) -> Keks {
        // Key services are told apart by their place in the configuration: two may each have a key of one name.
        let mut asked: Vec<(usize, Arc<Kek>)> = Vec::new();
        let mut tenants = HashMap::new();
        for (tenant, clients) in clients {
            let mut keks = Vec::new();
            for (place, client) in clients.iter().enumerate() {
                let same =
                    |(known, kek): &&(usize, Arc<Kek>)| *known == place && kek.client.key_id() == client.key_id();
                let kek = match asked.iter().find(same) {
                    Some((_, kek)) => Arc::clone(kek),
                    None => {
                        let kek = Arc::new(Kek::ask(client).await);
                        asked.push((place, Arc::clone(&kek)));
                        kek
                    }
                };
                keks.push(kek);
            }
            tenants.insert(tenant.clone(), keks);
        }
        Keks { tenants }
    }

    /// Those of a tenant, in the order of its configuration.
    pub fn of(&self, tenant: &str) -> &[Arc<Kek>] {
        self.tenants.get(tenant).map_or(&[], Vec::as_slice)
    }

    /// Every tenant and its keys.
    pub fn all(&self) -> impl Iterator<Item = (&String, &Arc<Kek>)> {
        self.tenants.iter().flat_map(|(tenant, keks)| keks.iter().map(move |kek| (tenant, kek)))
    }

    /// Refuses a key, or a version of one, that none of these is by and that no configured key service has: an answer about
    /// it would be one about a slip of the pen.
    pub fn check_known<'w>(&self, name: &KekName, wrappings: impl IntoIterator<Item = &'w Wrapping>) -> Result<()> {
        let mut used = BTreeSet::new();
        for wrapping in wrappings {
            if name.names(wrapping) {
                return Ok(());
            }
            used.insert((wrapping.kek.as_str(), wrapping.version.as_str()));
        }
        let kek = &name.kek;
        let named = |known: &&Arc<Kek>| known.name.as_ref().is_ok_and(|known| known == kek);
        let configured: Vec<_> = self.all().map(|(_, known)| known).filter(named).collect();
        match (configured.first(), &name.version) {
            (Some(_), None) => Ok(()),
            (Some(known), Some(version)) => {
                let has = |known: &&Arc<Kek>| known.versions.iter().flatten().any(|known| known.id == *version);
                if configured.iter().any(has) {
                    return Ok(());
                }
                let versions = known.versions.as_ref().map_err(Error::clone)?;
                let known: Vec<_> = versions.iter().map(|version| version.id.as_str()).collect();
                Err(Kind::KeyVersionNotFound.error(format_args!(
                    "key '{kek}' has no version '{version}', and no file is under it: it has {}",
                    known.join(", ")
                )))
            }
            (None, version) => {
                // It may be one that did not tell its name.
                if let Some(error) = self.all().find_map(|(_, kek)| kek.name.as_ref().err()) {
                    return Err(error.clone());
                }
                let versions: Vec<_> =
                    used.iter().filter(|(used, _)| used == kek).map(|(_, version)| *version).collect();
                if let (Some(version), false) = (version, versions.is_empty()) {
                    return Err(Kind::KeyVersionNotFound.error(format_args!(
                        "no file is under version '{version}' of the key '{kek}', and none is configured by that name: the files are under {}",
                        versions.join(", ")
                    )));
                }
                let used: BTreeSet<_> = used.into_iter().map(|(kek, _)| kek).collect();
                let files = if used.is_empty() { "" } else { ": the files are under " };
                Err(Kind::KeyNotFound.error(format_args!(
                    "no file is under a key '{kek}', and none is configured by that name{files}{}",
                    Vec::from_iter(used).join(", ")
                )))
            }
        }
    }

    /// Why some versions are [`State::Unknown`].
    pub fn silent(&self) -> Vec<Error> {
        let mut errors: Vec<Error> = Vec::new();
        for (_, kek) in self.all() {
            let failed = [kek.name.as_ref().err(), kek.versions.as_ref().err(), kek.current.as_ref().err()];
            let named =
                |error: &Error| error.clone().at(format_args!("{} '{}'", kek.client.provider(), kek.client.key_id()));
            errors.extend(failed.into_iter().flatten().next().map(named));
        }
        errors.sort_by(|a, b| a.message().cmp(b.message()));
        errors.dedup();
        errors
    }

    /// What is known of a version that a tenant's data key is wrapped under.
    pub fn state(&self, tenant: &str, wrapping: &Wrapping) -> State {
        let opens = |kek: &&Arc<Kek>| kek.client.provider() == wrapping.provider && kek.client.opens(&wrapping.kek);
        let states = self.of(tenant).iter().filter(opens).map(|kek| kek.state(wrapping));
        // Several of a tenant's clients may have one key, and not all of them be asked with success.
        states.min().unwrap_or(State::NotConfigured)
    }
}

impl Kek {
    async fn ask(client: &Arc<dyn KmsClient>) -> Kek {
        let (name, versions) = (client.kek().await, client.key_versions().await);
        let current = client.current_key_version().await;
        Kek { client: Arc::clone(client), name, versions, current }
    }

    /// True if this is the key that `wrapping` is by, and not another one that the same client may open.
    pub fn is(&self, wrapping: &Wrapping) -> bool {
        self.client.provider() == wrapping.provider && self.name.as_ref().is_ok_and(|name| *name == wrapping.kek)
    }

    fn state(&self, wrapping: &Wrapping) -> State {
        let (Ok(versions), true) = (&self.versions, self.is(wrapping)) else { return State::Unknown };
        match versions.iter().find(|version| version.id == wrapping.version) {
            None => State::Gone,
            Some(version) if !version.enabled => State::Disabled,
            Some(version) if self.current.as_ref().is_ok_and(|current| current.id == version.id) => State::Current,
            Some(_) => State::Enabled,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::config::KeyringConfig;
    use crate::kms::local::{KeyringFile, LocalHsmClient};

    #[test]
    fn the_version_stands_behind_the_last_at_sign() {
        for (text, kek, version) in [
            ("sealpoint@3", "sealpoint", Some("3")),
            ("a@b@c", "a@b", Some("c")),
            ("transit/keys/state", "transit/keys/state", None),
            ("https://flink.vault.azure.net/keys/state@21c6", "https://flink.vault.azure.net/keys/state", Some("21c6")),
        ] {
            let name: KekName = text.parse().unwrap();
            assert_eq!((name.kek.as_str(), name.version.as_deref()), (kek, version));
            assert_eq!(name.to_string(), text);
        }
        for bad in ["", "@3", "key@"] {
            assert_eq!(bad.parse::<KekName>().unwrap_err().kind(), Kind::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn only_what_a_key_service_says_is_enabled_counts_as_opening() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = folder.path().join("keyring");
        KeyringFile::new(&keyring, None).unwrap().create("k").unwrap();
        let config = KeyringConfig { keyring, key: "k".to_owned(), passphrase_file: None };
        let client: Arc<dyn KmsClient> = Arc::new(LocalHsmClient::open(&config).unwrap());
        let version = |id: &str, enabled| KeyVersion { id: id.to_owned(), created_at: UNIX_EPOCH, enabled };
        let keks = |versions| {
            let (name, current) = (Ok("k".to_owned()), Ok(version("3", true)));
            let kek = Arc::new(Kek { client: Arc::clone(&client), name, versions, current });
            Keks { tenants: HashMap::from([("a".to_owned(), vec![kek])]) }
        };
        let wrapping = |provider: &str, kek: &str, version: &str| Wrapping {
            provider: provider.to_owned(),
            kek: kek.to_owned(),
            version: version.to_owned(),
        };
        let known = keks(Ok(vec![version("1", false), version("2", true), version("3", true)]));
        let silent = keks(Err(Kind::KmsUnavailable.error("away")));
        for (keks, tenant, wrapping, state) in [
            (&known, "a", wrapping("local", "k", "1"), State::Disabled),
            (&known, "a", wrapping("local", "k", "2"), State::Enabled),
            (&known, "a", wrapping("local", "k", "3"), State::Current),
            (&known, "a", wrapping("local", "k", "4"), State::Gone),
            (&known, "a", wrapping("local", "other", "2"), State::NotConfigured),
            (&known, "a", wrapping("vault", "k", "2"), State::NotConfigured),
            (&known, "b", wrapping("local", "k", "2"), State::NotConfigured),
            (&silent, "a", wrapping("local", "k", "2"), State::Unknown),
        ] {
            assert_eq!(keks.state(tenant, &wrapping), state, "{tenant} {wrapping:?}");
            assert_eq!(state.opens(), matches!(state, State::Current | State::Enabled));
        }
    }
}
