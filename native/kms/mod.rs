//! Key services behind one trait: whoever holds the key-encryption keys (KEK) wraps and unwraps our data keys.

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "azure")]
pub mod azure;
pub mod bind;
pub mod clocks;
mod connect;
#[cfg(any(feature = "azure", feature = "pkcs11", feature = "vault"))]
pub mod credential_file;
#[cfg(feature = "gcp")]
pub mod gcp;
#[cfg(feature = "http")]
pub mod http;
pub mod local;
pub mod over;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
#[cfg(any(feature = "http", feature = "pkcs11"))]
pub mod timestamp;
#[cfg(feature = "vault")]
pub mod vault;

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::context::EncryptionContext;
use crate::error::{Kind, Result};
use crate::secret::Secret;

pub use connect::{Clients, Connection, connect, connect_each};

/// The option that names the authorities to trust.
#[cfg(feature = "tls")]
const CA_FILE: &str = "kms.ca-file";

/// The proxy, as errors name it: its address may hold a password.
#[cfg(feature = "tls")]
const PROXY: &str = "the proxy that kms.proxy, or else HTTPS_PROXY, names";

/// A key-encryption key in a key service, which never leaves it.
///
/// Every method may be called from any thread; the futures run on the engine's runtime thread. Implementations hold no
/// retry, time-out or cache of their own: decorators over this trait do that for all of them alike.
#[async_trait]
pub trait KmsClient: Send + Sync + fmt::Debug {
    /// Which service this is, as files name it in their key slots: `local`, `aws`, ...
    fn provider(&self) -> &str;

    /// The key-encryption key, as files name it in their key slots.
    fn key_id(&self) -> &str;

    /// True if a data key that a file says is wrapped under `kek` may be given to this client. The configuration decides
    /// what it answers, never the file.
    fn opens(&self, kek: &str) -> bool {
        kek == self.key_id()
    }

    /// Wraps `plaintext` under the current version, bound to `context`.
    async fn encrypt(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey>;

    /// Unwraps what [`encrypt`](Self::encrypt) gave, under the version that wrapped it and the same context.
    async fn decrypt(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret>;

    /// Draws a fresh data key and wraps it: here, unless the service draws it.
    async fn generate_data_key(&self, spec: KeySpec, context: &EncryptionContext) -> Result<(Secret, WrappedKey)> {
        let length = match spec {
            KeySpec::Aes256 => 32,
        };
        let secret = Secret::random(length)?;
        let wrapped = self.encrypt(&secret, context).await?;
        Ok((secret, wrapped))
    }

    /// The version that new data keys are wrapped under.
    async fn current_key_version(&self) -> Result<KeyVersion>;

    /// Every version that the service still knows, oldest first.
    async fn key_versions(&self) -> Result<Vec<KeyVersion>>;

    /// Makes a new version the current one. The old ones still unwrap.
    async fn rotate(&self) -> Result<KeyVersion>;

    /// After how long the service itself makes a new version the current one, if it is set to: nobody else needs to then.
    async fn automatic_rotation(&self) -> Result<Option<Duration>> {
        Ok(None)
    }

    /// How often the key can still be rotated by hand, where the service limits that.
    async fn rotations_left(&self) -> Result<Option<usize>> {
        Ok(None)
    }

    /// Wraps a wrapped key again under the current version, inside the service where it can.
    async fn rewrap(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<WrappedKey> {
        let plaintext = self.decrypt(wrapped, context).await?;
        self.encrypt(&plaintext, context).await
    }

    /// True if [`rewrap`](Self::rewrap) is one call, inside the service; else it unwraps and wraps, which are two.
    fn rewraps_inside(&self) -> bool {
        false
    }

    /// Disables a version, so that nothing under it can be opened, or enables it again.
    async fn set_version_enabled(&self, version: &str, enabled: bool) -> Result<()> {
        let _ = (version, enabled);
        Err(Kind::Unsupported
            .error(format_args!("key service '{}' cannot disable a version of a key by itself", self.provider())))
    }

    /// The key-encryption key, as files name it, by the service's own word where the configuration says it in another
    /// way (an alias).
    async fn kek(&self) -> Result<String> {
        Ok(self.key_id().to_owned())
    }

    /// Destroys the key with all its versions, or has it destroyed `after` that long where the service waits: whatever
    /// is wrapped under it and nothing else can then never be opened again. A key that is scheduled already stays so.
    async fn schedule_destruction(&self, after: Duration) -> Result<Destruction> {
        let _ = after;
        Err(Kind::Unsupported.error(format_args!("key service '{}' cannot destroy a key", self.provider())))
    }

    /// Tries each permission that sealing, opening and rotating need, as far as that changes nothing.
    async fn probe(&self) -> Vec<Probe>;

    /// Proves that the key can be reached, and used to seal and to open; the error names what is missing.
    async fn test_connection(&self) -> Result<()> {
        let mut needed = self.probe().await.into_iter().filter(|probe| probe.need == Need::Data);
        needed.try_for_each(|probe| probe.outcome.map_err(|error| error.at(probe.permission)))
    }
}

/// A data key that nobody uses, for trying a key out, and what it is bound to. A policy that looks at encryption contexts
/// has to allow this one too.
#[derive(Debug)]
pub(crate) struct Canary {
    pub secret: Secret,
    pub context: EncryptionContext,
}

impl Canary {
    pub fn new() -> Result<Canary> {
        Ok(Canary { secret: Secret::random(32)?, context: Canary::context()? })
    }

    pub fn context() -> Result<EncryptionContext> {
        EncryptionContext::new([("sealpoint:probe", "1")])
    }

    /// True if this is what it was.
    pub fn is(&self, opened: &Secret) -> bool {
        opened.expose() == self.secret.expose()
    }
}

/// One thing that a client needs to be allowed to do, tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// As the key service names the permission, such as `kms:Decrypt`.
    pub permission: String,
    /// Who needs it.
    pub need: Need,
    /// What came of it.
    pub outcome: Result<()>,
}

/// Who needs a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Every process that seals and opens.
    Data,
    /// Every such process where a data key is wrapped by several key services.
    Fallback,
    /// Only who looks after the key: rotates it, lists its versions, rewraps data keys.
    Care,
}

impl Probe {
    /// What came of trying a permission that every process needs.
    pub fn new(permission: impl Into<String>, outcome: Result<()>) -> Probe {
        Probe { permission: permission.into(), need: Need::Data, outcome }
    }

    /// The same, where not everyone needs it.
    #[must_use]
    pub fn needed_for(self, need: Need) -> Probe {
        Probe { need, ..self }
    }
}

/// A data key as the key service returns it: safe to store beside the data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WrappedKey {
    /// The key-encryption key that wrapped it, by the name that never changes: an ARN, not an alias.
    pub kek: String,
    /// The version of the key-encryption key that wrapped it.
    pub version: String,
    /// The service's own bytes, opaque to us and never used as an identity.
    pub bytes: Vec<u8>,
}

/// What kind of data key to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySpec {
    /// 256 bits.
    Aes256,
}

/// What became of a key that was to be destroyed. It opens nothing any more in either case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destruction {
    /// It is gone for good.
    Done,
    /// It will be gone for good.
    Scheduled {
        /// When, if the service says it.
        at: Option<SystemTime>,
        /// How to keep it until then, and who else could hasten its end.
        undo: String,
    },
}

/// One version of a key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyVersion {
    /// The service's name of this version.
    pub id: String,
    /// When the service made it. Rotation reads the age of a key here and nowhere else.
    pub created_at: SystemTime,
    /// False once the version is disabled.
    pub enabled: bool,
}
