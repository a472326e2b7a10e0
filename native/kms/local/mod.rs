//! `local`: a keyring file instead of a key service, for trying out and for tests.

mod aead;
mod file;
mod keyring;
mod passphrase;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::config::KeyringConfig;
use crate::context::EncryptionContext;
use crate::error::{Error, Kind, Result};
use crate::kms::{Canary, Destruction, KeyVersion, KmsClient, Probe, WrappedKey};
use crate::secret::Secret;

pub use keyring::{Key, Keyring, KeyringFile, Version};

/// The first byte of what [`LocalHsmClient`] wraps: nonce (12), ciphertext and tag (16) of AES-256-GCM follow, with the
/// canonical context as associated data.
const WRAP_VERSION: u8 = 1;

/// One key of a keyring file. The file is looked at with every call, so a rotation by another process holds at once.
#[derive(Clone)]
pub struct LocalHsmClient {
    source: Arc<Source>,
    key: String,
}

/// The keyring, shared by the clients of all its keys.
struct Source {
    file: KeyringFile,
    loaded: Mutex<(file::Stamp, Arc<Keyring>)>,
}

impl LocalHsmClient {
    /// Opens the keyring; the error says what is wrong with it, and what to do. Each opening is announced in the log.
    pub fn open(config: &KeyringConfig) -> Result<LocalHsmClient> {
        let file = KeyringFile::new(&config.keyring, config.passphrase_file.as_deref())?;
        let (stamp, keyring) = file.load()?;
        keyring.key(&config.key).map_err(|error| file.at(error))?;
        log::warn!(
            "the key service is the local keyring {}: whoever reads it reads everything; for trying out and for tests only",
            config.keyring.display()
        );
        let source = Source { file, loaded: Mutex::new((stamp, Arc::new(keyring))) };
        Ok(LocalHsmClient { source: Arc::new(source), key: config.key.clone() })
    }

    /// Another key of the same keyring.
    pub fn with_key(&self, key: &str) -> Result<LocalHsmClient> {
        self.source.current()?.key(key).map_err(|error| self.source.file.at(error))?;
        Ok(LocalHsmClient { source: Arc::clone(&self.source), key: key.to_owned() })
    }

    /// Where the keyring is.
    pub fn path(&self) -> &Path {
        self.source.file.path()
    }

    /// Runs on a thread that may block: the file is read there, its lock waited for, its passphrase stretched.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LocalHsmClient) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let client = self.clone();
        let ended = tokio::task::spawn_blocking(move || work(&client)).await;
        ended.unwrap_or_else(|_| {
            Err(Kind::Internal.error("a call of the local keyring panicked, or the engine is closed"))
        })
    }

    /// Changes the file, as [`run`](Self::run) does.
    async fn update<T: Send + 'static>(
        &self,
        change: impl FnOnce(&str, &mut Keyring) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(move |client| client.source.file.update(|keyring| change(&client.key, keyring))).await
    }

    fn with<T>(&self, read: impl FnOnce(&Key) -> Result<T>) -> Result<T> {
        let keyring = self.source.current()?;
        keyring.key(&self.key).and_then(read).map_err(|error| self.source.file.at(error))
    }

    fn wrap(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        self.with(|key| {
            let version = key.current()?;
            let mut bytes = vec![WRAP_VERSION];
            bytes.extend(aead::seal(version.material(), &context.encode(), plaintext.expose())?);
            Ok(WrappedKey { kek: self.key.clone(), version: version.id().to_string(), bytes })
        })
    }

    fn unwrap(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret> {
        self.with(|key| {
            let version = key.usable(&wrapped.version)?;
            let refused = || {
                Kind::WrappedKey.error(format_args!(
                    "key '{}' version {} refuses the wrapped data key: it is damaged, or was wrapped for another tenant or encryption context",
                    key.name(),
                    version.id()
                ))
            };
            match wrapped.bytes.split_first() {
                Some((&WRAP_VERSION, sealed)) => {
                    aead::open(version.material(), &context.encode(), sealed)?.ok_or_else(refused)
                }
                Some(_) | None => Err(refused()),
            }
        })
    }
}

impl Source {
    /// The keyring as it is now; the file is read only if it was replaced since.
    fn current(&self) -> Result<Arc<Keyring>> {
        let mut loaded = self.loaded.lock();
        if self.file.stamp()? != loaded.0 {
            let (stamp, keyring) = self.file.load()?;
            *loaded = (stamp, Arc::new(keyring));
        }
        Ok(Arc::clone(&loaded.1))
    }
}

#[async_trait]
impl KmsClient for LocalHsmClient {
    fn provider(&self) -> &str {
        "local"
    }

    fn key_id(&self) -> &str {
        &self.key
    }

    async fn encrypt(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        let (plaintext, context) = (plaintext.copy()?, context.clone());
        self.run(move |client| client.wrap(&plaintext, &context)).await
    }

    async fn decrypt(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret> {
        let (wrapped, context) = (wrapped.clone(), context.clone());
        self.run(move |client| client.unwrap(&wrapped, &context)).await
    }

    async fn current_key_version(&self) -> Result<KeyVersion> {
        self.run(|client| client.with(|key| Ok(key.current()?.describe()))).await
    }

    async fn key_versions(&self) -> Result<Vec<KeyVersion>> {
        self.run(|client| client.with(|key| Ok(key.versions().iter().map(Version::describe).collect()))).await
    }

    async fn rotate(&self) -> Result<KeyVersion> {
        self.update(|key, keyring| Ok(keyring.key_mut(key)?.rotate(SystemTime::now())?.describe())).await
    }

    async fn set_version_enabled(&self, version: &str, enabled: bool) -> Result<()> {
        let id = version.parse().map_err(|_| {
            Kind::KeyVersionNotFound.error(format_args!(
                "key '{}' has no version '{}'",
                self.key,
                version.escape_debug()
            ))
        })?;
        self.update(move |key, keyring| keyring.key_mut(key)?.set_enabled(id, enabled)).await
    }

    /// At once. Copies of the keyring, backups among them, still hold the key.
    async fn schedule_destruction(&self, _: Duration) -> Result<Destruction> {
        self.update(|key, keyring| keyring.remove(key)).await?;
        Ok(Destruction::Done)
    }

    async fn probe(&self) -> Vec<Probe> {
        let works = |client: &LocalHsmClient| {
            let canary = Canary::new()?;
            let opened = client.unwrap(&client.wrap(&canary.secret, &canary.context)?, &canary.context)?;
            if canary.is(&opened) { Ok(()) } else { Err(client.broken()) }
        };
        vec![Probe::new(format!("read {}", self.path().display()), self.run(works).await)]
    }
}

impl LocalHsmClient {
    fn broken(&self) -> Error {
        Kind::Internal.error(format_args!("key '{}' does not unwrap what it wrapped", self.key))
    }
}

impl fmt::Debug for LocalHsmClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalHsmClient({}, {})", self.path().display(), self.key)
    }
}
