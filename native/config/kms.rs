//! The key services as they are configured.

use std::path::PathBuf;
use std::time::Duration;

/// A key service and how to find its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KmsProvider {
    /// AWS KMS.
    AwsKms(AwsKmsConfig),
    /// Azure Key Vault, or a Managed HSM.
    AzureKeyVault(AzureKeyVaultConfig),
    /// Google Cloud KMS.
    GcpKms(GcpKmsConfig),
    /// The transit engine of HashiCorp Vault or OpenBao.
    Vault(VaultConfig),
    /// Keys on this machine.
    LocalHsm(LocalHsmConfig),
}

/// A key of AWS KMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKmsConfig {
    /// The region of the key.
    pub region: String,
    /// Key id, ARN or alias.
    pub key_id: String,
    /// ARNs of further keys whose data keys may be opened.
    pub open_key_ids: Vec<String>,
    /// The address to call instead of the region's own.
    pub endpoint: Option<String>,
    /// Call the FIPS 140 endpoints.
    pub fips: bool,
    /// The profile of the shared configuration to take credentials from.
    pub profile: Option<String>,
    /// The shared credentials file to read instead of the usual one.
    pub credentials_file: Option<PathBuf>,
    /// A role to assume with those credentials.
    pub role_arn: Option<String>,
}

/// A key of Azure Key Vault or of a Managed HSM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureKeyVaultConfig {
    /// `https://<vault>.vault.azure.net`
    pub vault_url: String,
    /// The key's name in the vault.
    pub key_name: String,
    /// A version to stay on; the newest by default.
    pub key_version: Option<String>,
    /// How data keys are wrapped.
    pub algorithm: AzureAlgorithm,
    /// Wrap with the public key, on this machine.
    pub wrap_locally: bool,
    /// Who we are.
    pub credential: AzureCredential,
    /// The directory of the application.
    pub tenant_id: Option<String>,
    /// The application, or the user-assigned identity.
    pub client_id: Option<String>,
    /// The file that holds the application's secret.
    pub client_secret_file: Option<PathBuf>,
    /// Where tokens are asked for, in sovereign clouds.
    pub authority_host: Option<String>,
}

/// How Azure wraps a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AzureAlgorithm {
    /// By the type of the key.
    Auto,
    /// RSA-OAEP with SHA-256 (RFC 8017).
    RsaOaep256,
    /// AES-256-GCM, in a Managed HSM only.
    A256Gcm,
}

/// Who we are to Azure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AzureCredential {
    /// A client secret where one is configured, then what the machine offers: workload identity, then managed identity.
    Auto,
    /// An application with a secret in a file.
    ClientSecret,
    /// The identity of the machine.
    ManagedIdentity,
    /// The identity of the Kubernetes service account.
    WorkloadIdentity,
}

/// A key of Google Cloud KMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcpKmsConfig {
    /// The project's id.
    pub project: String,
    /// The location, `global` or a region.
    pub location: String,
    /// The key ring's name.
    pub key_ring: String,
    /// The key's name.
    pub key_name: String,
    /// The address to call instead of Google's own.
    pub endpoint: Option<String>,
    /// The credentials file to read instead of the application default one.
    pub credentials_file: Option<PathBuf>,
}

/// A key of the transit engine of HashiCorp Vault or OpenBao.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultConfig {
    /// `https://<host>:8200`
    pub address: String,
    /// Where the transit engine is mounted.
    pub mount: String,
    /// The key's name.
    pub key_name: String,
    /// The namespace of the mount.
    pub namespace: Option<String>,
    /// How we log in.
    pub auth: VaultAuth,
    /// Where the login method is mounted; its own name by default.
    pub auth_mount: Option<String>,
    /// The file that holds a token; `VAULT_TOKEN` by default.
    pub token_file: Option<PathBuf>,
    /// The AppRole's role id.
    pub role_id: Option<String>,
    /// The file that holds the AppRole's secret id.
    pub secret_id_file: Option<PathBuf>,
    /// The role of the Kubernetes login.
    pub role: Option<String>,
    /// The file that holds the service account's token.
    pub jwt_file: PathBuf,
}

/// How we log in to Vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaultAuth {
    /// With a token that someone else obtained.
    Token,
    /// With a role id and a secret id.
    AppRole,
    /// With the token of the Kubernetes service account.
    Kubernetes,
}

/// Keys on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalHsmConfig {
    /// A keyring file: for trying out and for tests.
    Keyring(KeyringConfig),
    /// A hardware security module.
    Pkcs11(Pkcs11Config),
}

/// A keyring file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyringConfig {
    /// Where the keyring is.
    pub keyring: PathBuf,
    /// The key in it.
    pub key: String,
    /// The file that holds its passphrase, if it has one.
    pub passphrase_file: Option<PathBuf>,
}

/// A key of a PKCS#11 module (OASIS PKCS#11 3.0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Config {
    /// The module's shared library.
    pub module: PathBuf,
    /// The label of the token, by which its slot is found.
    pub token_label: String,
    /// The label that all versions of the key share.
    pub key_label: String,
    /// The file that holds the user's PIN.
    pub pin_file: PathBuf,
    /// How data keys are wrapped.
    pub mechanism: Pkcs11Mechanism,
}

/// How a PKCS#11 module wraps a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pkcs11Mechanism {
    /// AES-GCM where the module has it, else AES key wrap.
    Auto,
    /// AES-GCM, the context as associated data.
    AesGcm,
    /// AES key wrap with padding (RFC 5649), the context bound inside.
    AesKwp,
}

/// One of the key services that wrap a data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsSlot {
    /// [`KmsSlot::PRIMARY`], or the fallback's name in `kms.fallbacks`.
    pub name: String,
    /// The service and its key.
    pub provider: KmsProvider,
    /// How it is reached.
    pub transport: KmsTransport,
}

/// How a key service is called, whichever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsConfig {
    /// The longest that an operation may take, attempts and pauses together.
    pub timeout: Duration,
    /// The most attempts of one operation.
    pub attempts: u32,
    /// The most calls a second of this process, to each key service.
    pub calls_per_second: u32,
    /// How long the first fallback waits for the service before it when a data key is unwrapped.
    pub hedge_after: Duration,
    /// How many of several key services must wrap a data key before it is used.
    pub require: Require,
    /// How the primary key service is reached.
    pub transport: KmsTransport,
}

/// How a key service is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsTransport {
    /// The longest that one attempt may take.
    pub attempt_timeout: Duration,
    /// The longest that it may take to connect.
    pub connect_timeout: Duration,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy to go through; what the environment says by default.
    pub proxy: Option<String>,
}

/// How many of several key services must wrap a data key before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Require {
    /// Every one.
    All,
    /// One; the others are made up for later.
    One,
}

impl KmsProvider {
    /// As the configuration and the key slots of files name it.
    pub const fn name(&self) -> &'static str {
        match self {
            KmsProvider::AwsKms(_) => "aws",
            KmsProvider::AzureKeyVault(_) => "azure",
            KmsProvider::GcpKms(_) => "gcp",
            KmsProvider::Vault(_) => "vault",
            KmsProvider::LocalHsm(LocalHsmConfig::Keyring(_)) => "local",
            KmsProvider::LocalHsm(LocalHsmConfig::Pkcs11(_)) => "pkcs11",
        }
    }

    /// The same service with another key of it.
    #[must_use]
    pub fn with_key(&self, key: &str) -> KmsProvider {
        let mut other = self.clone();
        let name = match &mut other {
            KmsProvider::AwsKms(config) => &mut config.key_id,
            KmsProvider::AzureKeyVault(config) => &mut config.key_name,
            KmsProvider::GcpKms(config) => &mut config.key_name,
            KmsProvider::Vault(config) => &mut config.key_name,
            KmsProvider::LocalHsm(LocalHsmConfig::Keyring(config)) => &mut config.key,
            KmsProvider::LocalHsm(LocalHsmConfig::Pkcs11(config)) => &mut config.key_label,
        };
        key.clone_into(name);
        other
    }
}

impl KmsSlot {
    /// The name of the slot that `kms.provider` describes.
    pub const PRIMARY: &str = "primary";

    pub(super) fn with_key(mut self, key: Option<&str>) -> KmsSlot {
        if let Some(key) = key {
            self.provider = self.provider.with_key(key);
        }
        self
    }
}
