//! `azure`: Azure Key Vault and Managed HSM.
//!
//! Over the REST API and not over Microsoft's crates: those add 17 crates to this library, lose the body of a request
//! that is retried, and hide the status of a refusal. What is needed of the API are seven requests.
//!
//! RSA keys wrap by RSA-OAEP-256, the context bound inside; symmetric keys of a Managed HSM by AES-256-GCM, the context
//! as associated data.

mod algorithm;
mod challenge;
mod credential;
mod errors;
mod key;
mod rotation_policy;
mod token;
mod vault;
mod wire;
mod wrapped;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::config::{AzureAlgorithm, AzureKeyVaultConfig, KmsTransport};
use crate::context::EncryptionContext;
use crate::error::{Error, Kind, Result};
use crate::kms::bind::{bind, unbind};
use crate::kms::{Canary, Destruction, KeyVersion, KmsClient, Need, Probe, WrappedKey};
use crate::secret::Secret;
use algorithm::{Algorithm, Operation};
use key::KeyInUse;
use vault::{Target, Vault};
use wire::CryptoRequest;
use wrapped::Wrapped;

/// How long the key is taken to be as it was: which version is current, enabled, and how it wraps.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// With the vault away, local wrapping goes on with the key as it was last seen, but no longer than this.
const TRUST_FOR: Duration = Duration::from_secs(3600);

/// A vault that did not answer is not asked again for so long, while local wrapping goes on.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(30);

const DATA_KEY_LEN: usize = 32;

/// One key of a vault.
pub struct AzureKmsClient {
    vault: Arc<Vault>,
    config: AzureKeyVaultConfig,
    kek: String,
    seen: Mutex<Option<Seen>>,
    /// Held by whoever looks at the key.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Seen {
    key: Arc<KeyInUse>,
    at: Instant,
    look_again_at: Instant,
}

impl AzureKmsClient {
    /// Checks the configuration; calls nobody.
    pub fn new(config: &AzureKeyVaultConfig, transport: &KmsTransport) -> Result<AzureKmsClient> {
        AzureKmsClient::of(Arc::new(Vault::new(config, transport)?), config)
    }

    /// Another key of the same vault, by the same credential.
    pub fn with_key(&self, key: &str) -> Result<AzureKmsClient> {
        let config = AzureKeyVaultConfig { key_name: key.to_owned(), ..self.config.clone() };
        AzureKmsClient::of(Arc::clone(&self.vault), &config)
    }

    fn of(vault: Arc<Vault>, config: &AzureKeyVaultConfig) -> Result<AzureKmsClient> {
        let bad = |option: &str, text: &str| {
            Kind::Config.error(format_args!(
                "{option}: letters, digits and dashes are expected, unlike '{}'",
                text.escape_debug()
            ))
        };
        if !wire::is_version(&config.key_name) {
            return Err(bad("kms.azure.key-name", &config.key_name));
        }
        if let Some(version) = config.key_version.as_ref().filter(|version| !wire::is_version(version)) {
            return Err(bad("kms.azure.key-version", version));
        }
        let kek = vault.kek(&config.key_name);
        let (seen, looking) = (Mutex::new(None), tokio::sync::Mutex::new(()));
        Ok(AzureKmsClient { vault, config: config.clone(), kek, seen, looking })
    }

    /// The version that wraps: that of the configuration, or the newest.
    fn current(&self) -> Target<'_> {
        Target { key: &self.config.key_name, version: self.config.key_version.as_deref() }
    }

    fn version<'a>(&'a self, version: &'a str) -> Result<Target<'a>> {
        if !wire::is_version(version) {
            return Err(Kind::KeyVersionNotFound.error(format_args!(
                "'{}' is no version of key {}",
                version.escape_debug(),
                self.kek
            )));
        }
        Ok(Target { key: &self.config.key_name, version: Some(version) })
    }

    /// The key that wraps, looked at again from time to time, by one caller while the others wait.
    async fn key_in_use(&self) -> Result<Arc<KeyInUse>> {
        let fresh = || self.seen.lock().clone().filter(|seen| Instant::now() < seen.look_again_at);
        let known = match fresh() {
            Some(seen) => seen,
            None => {
                let _looking = self.looking.lock().await;
                match fresh() {
                    Some(seen) => seen,
                    None => return self.look().await,
                }
            }
        };
        known.key.check(SystemTime::now()).map_err(|error| self.at(error))?;
        Ok(known.key)
    }

    async fn look(&self) -> Result<Arc<KeyInUse>> {
        let now = Instant::now();
        let bundle = match self.vault.get(self.current()).await {
            Ok(bundle) => bundle,
            Err(error) => return self.without_a_look(error, now),
        };
        let key = KeyInUse::new(&bundle, &self.config.key_name, self.config.algorithm);
        let key = Arc::new(key.map_err(|error| {
            *self.seen.lock() = None;
            self.at(error)
        })?);
        *self.seen.lock() = Some(Seen { key: Arc::clone(&key), at: now, look_again_at: now + LOOK_AGAIN_AFTER });
        Ok(key)
    }

    /// Wrapping on this machine needs no vault: it goes on through an outage, if that is not too long.
    fn without_a_look(&self, error: Error, now: Instant) -> Result<Arc<KeyInUse>> {
        let mut seen = self.seen.lock();
        match seen.as_mut() {
            Some(known) if self.config.wrap_locally && error.may_pass() && now < known.at + TRUST_FOR => {
                known.look_again_at = now + ASK_AGAIN_AFTER;
                known.key.check(SystemTime::now()).map_err(|error| self.at(error))?;
                Ok(Arc::clone(&known.key))
            }
            _ => Err(error),
        }
    }

    async fn wrap(&self, data_key: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        let key = self.key_in_use().await?;
        if !self.config.wrap_locally {
            return self.wrap_there(key.algorithm, data_key, context).await;
        }
        let bytes = key.wrap_here(&bind(data_key, context)?).map_err(|error| self.at(error))?;
        self.wrapped(key.version.clone(), key.algorithm, &[&bytes])
    }

    async fn wrap_there(
        &self,
        algorithm: Algorithm,
        data_key: &Secret,
        context: &EncryptionContext,
    ) -> Result<WrappedKey> {
        let request = match algorithm {
            Algorithm::RsaOaep256 => {
                CryptoRequest { value: wire::encode(bind(data_key, context)?.expose()), ..CryptoRequest::default() }
            }
            Algorithm::A256Gcm => CryptoRequest {
                value: wire::encode(data_key.expose()),
                aad: Some(wire::encode(&context.encode()).to_string()),
                ..CryptoRequest::default()
            },
        };
        let answer = self.vault.crypto(algorithm.wrap(), self.current(), algorithm, request).await?;
        let version = wire::version_of(&answer.kid, &self.config.key_name).map_err(|error| self.at(error))?;
        self.notice(&version);
        let ciphertext = wire::decode(&answer.value)?;
        match algorithm {
            Algorithm::RsaOaep256 => self.wrapped(version, algorithm, &[&ciphertext]),
            Algorithm::A256Gcm => {
                let part = |part: &Option<String>| wire::decode(part.as_deref().unwrap_or_default());
                let (iv, tag) = (part(&answer.iv)?, part(&answer.tag)?);
                if (iv.len(), ciphertext.len(), tag.len()) != (12, DATA_KEY_LEN, 16) {
                    return Err(
                        self.at(wire::nonsense(format_args!("what came back is not AES-256-GCM of a data key")))
                    );
                }
                self.wrapped(version, algorithm, &[&iv, &ciphertext, &tag])
            }
        }
    }

    fn wrapped(&self, version: String, algorithm: Algorithm, parts: &[&[u8]]) -> Result<WrappedKey> {
        let bytes = Wrapped::encode(algorithm, parts).map_err(|error| self.at(error))?;
        Ok(WrappedKey { kek: self.kek.clone(), version, bytes })
    }

    /// The service wrapped under a version that we have not looked at: the next wrapping looks.
    fn notice(&self, version: &str) {
        let mut seen = self.seen.lock();
        if seen.as_ref().is_some_and(|seen| seen.key.version != version) {
            *seen = None;
        }
    }

    async fn unwrap(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret> {
        let target = self.version(&wrapped.version)?;
        let refused = || {
            self.at(Kind::WrappedKey.error(format_args!(
                "version {} cannot have wrapped this data key: it is damaged, or was wrapped by another service",
                wrapped.version
            )))
        };
        match Wrapped::parse(&wrapped.bytes).ok_or_else(refused)? {
            Wrapped::RsaOaep256(ciphertext) => {
                let request = CryptoRequest { value: wire::encode(ciphertext), ..CryptoRequest::default() };
                let algorithm = Algorithm::RsaOaep256;
                let answer = self.vault.crypto(Operation::UnwrapKey, target, algorithm, request).await?;
                unbind(&mut wire::decode(&answer.value)?, context).map_err(|error| self.at(error))
            }
            Wrapped::A256Gcm { iv, ciphertext, tag } => {
                let request = CryptoRequest {
                    value: wire::encode(ciphertext),
                    iv: Some(wire::encode(iv).to_string()),
                    tag: Some(wire::encode(tag).to_string()),
                    aad: Some(wire::encode(&context.encode()).to_string()),
                    ..CryptoRequest::default()
                };
                let algorithm = Algorithm::A256Gcm;
                let answer = self.vault.crypto(Operation::Decrypt, target, algorithm, request).await?;
                let mut data_key = wire::decode(&answer.value)?;
                if data_key.len() != DATA_KEY_LEN {
                    return Err(self.at(Kind::WrappedKey.error(format_args!(
                        "what version {} unwrapped has {} bytes, not {DATA_KEY_LEN}",
                        wrapped.version,
                        data_key.len()
                    ))));
                }
                Secret::take(&mut data_key)
            }
        }
    }

    fn at(&self, error: Error) -> Error {
        error.at(format_args!("key {}", self.kek))
    }
}

#[async_trait]
impl KmsClient for AzureKmsClient {
    fn provider(&self) -> &str {
        "azure"
    }

    fn key_id(&self) -> &str {
        &self.kek
    }

    async fn encrypt(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        self.wrap(plaintext, context).await
    }

    async fn decrypt(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret> {
        self.unwrap(wrapped, context).await
    }

    async fn current_key_version(&self) -> Result<KeyVersion> {
        self.vault.get(self.current()).await?.version(&self.config.key_name)
    }

    async fn key_versions(&self) -> Result<Vec<KeyVersion>> {
        let newest = Target { key: &self.config.key_name, version: None };
        let newest = self.vault.get(newest).await?.version(&self.config.key_name)?;
        let listed = self.vault.versions(&self.config.key_name).await?;
        let mut versions = listed.iter().map(|item| item.version(&self.config.key_name)).collect::<Result<Vec<_>>>()?;
        // Creation is told in whole seconds: the newest breaks a tie.
        versions.sort_by_key(|version| (version.created_at, version.id == newest.id));
        Ok(versions)
    }

    async fn rotate(&self) -> Result<KeyVersion> {
        if let Some(version) = &self.config.key_version {
            return Err(Kind::Config.error(format_args!(
                "kms.azure.key-version keeps key {} at version {version}: remove that setting, then rotate",
                self.kek
            )));
        }
        let bundle = self.vault.rotate(&self.config.key_name).await?;
        *self.seen.lock() = None;
        bundle.version(&self.config.key_name)
    }

    async fn automatic_rotation(&self) -> Result<Option<Duration>> {
        self.vault.rotation_policy(&self.config.key_name).await?.rotates_every().map_err(|error| self.at(error))
    }

    async fn set_version_enabled(&self, version: &str, enabled: bool) -> Result<()> {
        self.vault.set_enabled(self.version(version)?, enabled).await?;
        *self.seen.lock() = None;
        Ok(())
    }

    /// After the days for which the vault keeps what was deleted, which belong to the vault and not to a call.
    async fn schedule_destruction(&self, _: Duration) -> Result<Destruction> {
        let deleted = self.vault.delete(&self.config.key_name).await?;
        *self.seen.lock() = None;
        let Some(at) = deleted.scheduled_purge_date else { return Ok(Destruction::Done) };
        let purge = match deleted.attributes.recovery_level.contains("Purgeable") {
            true => "without purge protection, so that `az keyvault key purge` ends it sooner",
            false => "under purge protection, so that nothing ends it sooner",
        };
        let undo = format!("az keyvault key recover, for {}; it is deleted softly, {purge}", self.kek);
        Ok(Destruction::Scheduled { at: Some(wire::time(at)), undo })
    }

    async fn probe(&self) -> Vec<Probe> {
        *self.seen.lock() = None;
        let key = self.key_in_use().await;
        let algorithm = key.as_ref().map_or_else(|_| self.likely_algorithm(), |key| key.algorithm);
        let is_hsm = self.vault.is_hsm() || algorithm == Algorithm::A256Gcm;
        let probe = |operation: Operation, outcome| Probe::new(operation.permission(is_hsm), outcome);
        let looked = key.map(drop);
        let denied = looked.as_ref().is_err_and(|error| error.kind() == Kind::AccessDenied);
        if looked.is_err() && !denied {
            return vec![probe(Operation::Get, looked)];
        }
        let here = self.config.wrap_locally && !denied;
        let (wrapped, unwrapped) = self.round_trip(algorithm, here).await;
        let mut probes = vec![probe(Operation::Get, looked)];
        if !self.config.wrap_locally {
            probes.push(probe(algorithm.wrap(), wrapped));
        }
        probes.push(probe(algorithm.unwrap(), unwrapped));
        let policy = self.vault.rotation_policy(&self.config.key_name).await.map(drop);
        probes.push(probe(Operation::GetRotationPolicy, policy).needed_for(Need::Care));
        probes
    }
}

impl AzureKmsClient {
    /// What the key will do that may not be looked at.
    fn likely_algorithm(&self) -> Algorithm {
        match self.config.algorithm {
            AzureAlgorithm::RsaOaep256 | AzureAlgorithm::Auto => Algorithm::RsaOaep256,
            AzureAlgorithm::A256Gcm => Algorithm::A256Gcm,
        }
    }

    /// What becomes of wrapping and of unwrapping a data key that nobody uses.
    async fn round_trip(&self, algorithm: Algorithm, here: bool) -> (Result<()>, Result<()>) {
        let wrapped = async {
            let canary = Canary::new()?;
            let wrapped = match here {
                true => self.wrap(&canary.secret, &canary.context).await,
                false => self.wrap_there(algorithm, &canary.secret, &canary.context).await,
            };
            Ok::<_, Error>((canary, wrapped?))
        };
        match wrapped.await {
            Ok((canary, wrapped)) => {
                let broken = || self.at(Kind::Internal.error("it does not unwrap what it wrapped"));
                let opened = self.unwrap(&wrapped, &canary.context).await;
                let same = |opened: Secret| if canary.is(&opened) { Ok(()) } else { Err(broken()) };
                (Ok(()), opened.and_then(same))
            }
            Err(error) => (Err(error), self.may_unwrap(algorithm).await),
        }
    }

    /// Whether unwrapping is allowed, where there is nothing to unwrap: garbage is refused only after permission was
    /// given.
    async fn may_unwrap(&self, algorithm: Algorithm) -> Result<()> {
        let version = match &self.config.key_version {
            Some(version) => version.clone(),
            None => self.vault.get(self.current()).await?.version(&self.config.key_name)?.id,
        };
        let garbage = match algorithm {
            Algorithm::RsaOaep256 => vec![1; 256],
            Algorithm::A256Gcm => vec![1; 60],
        };
        let wrapped = self.wrapped(version, algorithm, &[&garbage])?;
        match self.unwrap(&wrapped, &EncryptionContext::default()).await {
            Err(error) if error.kind() != Kind::WrappedKey => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl fmt::Debug for AzureKmsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AzureKmsClient({})", self.kek)
    }
}
