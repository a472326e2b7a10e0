//! What an operator configures: one grammar from Flink's configuration, a TOML file and the environment.
//!
//! [`options`] is the table of everything that can be set; [`Settings`] are raw keys and values checked against it; an
//! [`EncryptionConfig`] is what they mean. Unknown keys, values out of range and contradictions are errors that name
//! the key, so code beyond this module never checks again.

mod effective;
mod kms;
pub mod options;
pub mod reference;
mod resolve;
mod settings;
mod tenants;
mod value;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::context::EncryptionContext;
use crate::error::{Error, Result};

pub use effective::Effective;
pub use kms::{
    AwsKmsConfig, AzureAlgorithm, AzureCredential, AzureKeyVaultConfig, GcpKmsConfig, KeyringConfig, KmsConfig,
    KmsProvider, KmsSlot, KmsTransport, LocalHsmConfig, Pkcs11Config, Pkcs11Mechanism, Require, VaultAuth, VaultConfig,
};
pub use settings::Settings;
pub use tenants::{TenantConfig, Tenants};

/// A stretch of time as options give it: `90 s`, `10 min`, `2 d`; the error says what is expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    value::duration(text, 0, u64::MAX)
}

/// The whole policy of one engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Settings", into = "Settings")]
pub struct EncryptionConfig {
    /// False: nothing new is sealed. Sealed files are still opened.
    pub enabled: bool,
    /// The suite that new files are sealed with.
    pub algorithm: EncryptionAlgorithm,
    /// The suites that files may have to be opened; holds `algorithm`.
    pub allowed_algorithms: Vec<EncryptionAlgorithm>,
    /// Plaintext bytes a chunk, a power of two from 4 KiB to 1 MiB.
    pub chunk_size: u32,
    /// Who the files belong to, and who may be opened.
    pub tenants: Tenants,
    /// Pairs that every data key and file is bound to.
    pub encryption_context: EncryptionContext,
    /// The key service that holds the key-encryption keys.
    pub kms_provider: KmsProvider,
    /// Further key services that every data key is wrapped under too, in the order in which they are asked.
    pub kms_fallbacks: Vec<KmsSlot>,
    /// How a key service is called, whichever it is.
    pub kms_config: KmsConfig,
    /// When a fresh data key is drawn.
    pub data_key: DataKeyPolicy,
    /// How long unwrapped data keys are kept.
    pub cache: CacheConfig,
    /// What happens while the key service is away.
    pub outage: OutagePolicy,
    /// When the key-encryption key is rotated.
    pub key_rotation: KeyRotationPolicy,
    /// How object stores are reached.
    pub store: StoreConfig,
    /// The audit log.
    pub audit_logging: bool,
    /// Only validated cryptography.
    pub fips_mode: bool,
    /// On Flink: state that would be written unsealed is an error, not a warning.
    pub require_sealed: bool,
    /// On Flink: plaintext may be restored although sealing is required.
    pub restore_plaintext: bool,
    /// On Flink: whether checkpoints have manifests.
    pub checkpoint_manifest: CheckpointManifest,
    /// On the JVM: how bytes cross the border.
    pub jni_arrays: JniArrays,
    /// What was set, as it was set.
    settings: Settings,
}

/// The authenticated cipher suite of a sealed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EncryptionAlgorithm {
    /// AES-256-GCM (NIST SP 800-38D).
    Aes256Gcm,
    /// AES-256-CBC with HMAC-SHA-256, encrypt-then-MAC.
    Aes256CbcHmac,
}

/// How object stores are reached, besides what the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The most requests a second.
    pub requests_per_second: Option<u32>,
}

/// When a fresh data key is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKeyPolicy {
    /// What an epoch is.
    pub scope: DataKeyScope,
    /// The most time that a data key seals.
    pub max_age: Duration,
    /// The most files under one data key.
    pub max_files: u64,
    /// The most plaintext bytes under one data key.
    pub max_bytes: u64,
}

/// What an epoch is: the life of a data key, within its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKeyScope {
    /// One checkpoint in one process.
    Checkpoint,
    /// A stretch of time.
    Interval(Duration),
}

/// How long unwrapped data keys are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// The most keys kept for one tenant.
    pub max_keys: usize,
    /// How long a key is kept before the key service is asked again.
    pub ttl: Duration,
    /// How long a refusal is remembered.
    pub negative_ttl: Duration,
}

/// What happens while the key service is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutagePolicy {
    /// How long sealing goes on with the current data key after the key service last answered.
    pub seal_for: Duration,
}

/// When the key-encryption key is rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRotationPolicy {
    /// Whether its age matters at all.
    pub enabled: bool,
    /// The age at which it is rotated.
    pub interval_days: u32,
    /// The age past which it must not seal any more.
    pub max_age_days: u32,
    /// Whether the coordinator rotates it, or only says so.
    pub auto_rotate: bool,
}

/// What a JobManager does about the manifests of checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointManifest {
    /// Nothing.
    None,
    /// Writes one at completion, and compares one that is there before a restore.
    Write,
    /// The same, and restores nothing that has none.
    Require,
}

/// How bytes cross between the JVM and the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JniArrays {
    /// Critical sections where the JVM pins regions (JDK 22 and later), direct buffers elsewhere.
    Auto,
    /// Critical sections.
    Critical,
    /// Direct buffers.
    Direct,
}

impl EncryptionConfig {
    /// The policy of these keys (without the prefix `sealpoint.`) and values. Where the environment may override or
    /// complete them, go through [`Settings`].
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self> {
        Settings::from_pairs(pairs)?.resolve()
    }

    /// The policy of a TOML text.
    pub fn from_toml(text: &str) -> Result<Self> {
        Settings::from_toml(text)?.resolve()
    }

    /// The policy of a TOML file, not overridden by the environment; see [`load`](Self::load).
    pub fn from_toml_file(path: &Path) -> Result<Self> {
        Settings::from_toml_file(path)?.resolve().map_err(|error| error.at(path.display()))
    }

    /// The policy of a TOML file, overridden by this process's `SEALPOINT_*` variables.
    pub fn load(path: &Path) -> Result<Self> {
        let settings = Settings::from_toml_file(path)?.with_environment(std::env::vars_os())?;
        settings.resolve().map_err(|error| error.at(path.display()))
    }

    /// The keys and values that this policy was made of.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The key services of a tenant, in the order in which they are asked, each with the tenant's own key-encryption key
    /// if it has one there.
    pub fn kms_slots_of(&self, tenant: &str) -> Vec<KmsSlot> {
        let primary = KmsSlot {
            name: KmsSlot::PRIMARY.to_owned(),
            provider: self.kms_provider.clone(),
            transport: self.kms_config.transport.clone(),
        };
        let keys = self.tenants.keys_of(tenant);
        let slots = std::iter::once(primary).chain(self.kms_fallbacks.iter().cloned()).enumerate();
        slots.map(|(at, slot)| slot.with_key(keys.get(at).or(keys.first()).map(String::as_str))).collect()
    }
}

impl EncryptionAlgorithm {
    /// Every suite.
    pub const ALL: [EncryptionAlgorithm; 2] = [EncryptionAlgorithm::Aes256Gcm, EncryptionAlgorithm::Aes256CbcHmac];

    /// As the configuration names it.
    pub const fn name(self) -> &'static str {
        match self {
            EncryptionAlgorithm::Aes256Gcm => "aes-256-gcm",
            EncryptionAlgorithm::Aes256CbcHmac => "aes-256-cbc-hmac",
        }
    }
}

impl Default for KeyRotationPolicy {
    fn default() -> Self {
        KeyRotationPolicy { enabled: true, interval_days: 30, max_age_days: 90, auto_rotate: true }
    }
}

impl TryFrom<Settings> for EncryptionConfig {
    type Error = Error;

    fn try_from(settings: Settings) -> Result<Self> {
        settings.resolve()
    }
}

impl From<EncryptionConfig> for Settings {
    fn from(config: EncryptionConfig) -> Settings {
        config.settings
    }
}
