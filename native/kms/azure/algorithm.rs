//! How a data key is wrapped, and which operations of the service that takes.

use crate::config::AzureAlgorithm;

/// How a key wraps data keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// An RSA key. It has no associated data: the context is bound inside.
    RsaOaep256,
    /// A symmetric key of a Managed HSM, with the context as associated data.
    A256Gcm,
}

/// An operation on keys, as the service names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Get,
    List,
    WrapKey,
    UnwrapKey,
    Encrypt,
    Decrypt,
    Rotate,
    GetRotationPolicy,
    Update,
    Delete,
}

impl Algorithm {
    /// The algorithm of keys of this type, if they can wrap at all.
    pub fn of(kty: &str) -> Option<Algorithm> {
        match kty {
            "RSA" | "RSA-HSM" => Some(Algorithm::RsaOaep256),
            "oct" | "oct-HSM" => Some(Algorithm::A256Gcm),
            _ => None,
        }
    }

    /// True if the configuration lets it be this one.
    pub fn agrees_with(self, configured: AzureAlgorithm) -> bool {
        match configured {
            AzureAlgorithm::Auto => true,
            AzureAlgorithm::RsaOaep256 => self == Algorithm::RsaOaep256,
            AzureAlgorithm::A256Gcm => self == Algorithm::A256Gcm,
        }
    }

    /// Its name in requests.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::RsaOaep256 => "RSA-OAEP-256",
            Algorithm::A256Gcm => "A256GCM",
        }
    }

    /// What wraps with it.
    pub fn wrap(self) -> Operation {
        match self {
            Algorithm::RsaOaep256 => Operation::WrapKey,
            Algorithm::A256Gcm => Operation::Encrypt,
        }
    }

    /// What unwraps with it.
    pub fn unwrap(self) -> Operation {
        match self {
            Algorithm::RsaOaep256 => Operation::UnwrapKey,
            Algorithm::A256Gcm => Operation::Decrypt,
        }
    }
}

impl Operation {
    /// Its name in a key's `key_ops` and in access policies.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::List => "list",
            Operation::WrapKey => "wrapKey",
            Operation::UnwrapKey => "unwrapKey",
            Operation::Encrypt => "encrypt",
            Operation::Decrypt => "decrypt",
            Operation::Rotate => "rotate",
            Operation::GetRotationPolicy => "getrotationpolicy",
            Operation::Update => "update",
            Operation::Delete => "delete",
        }
    }

    /// Its permission in roles, and in access policies.
    pub fn permission(self, is_hsm: bool) -> String {
        if self == Operation::GetRotationPolicy && !is_hsm {
            return format!(
                "Microsoft.KeyVault/vaults/keyrotationpolicies/read (in an access policy: {})",
                self.name()
            );
        }
        let (vaults, managed_hsm) = match self {
            Operation::Get | Operation::List | Operation::GetRotationPolicy => ("read", "read/action"),
            Operation::WrapKey => ("wrap/action", "wrap/action"),
            Operation::UnwrapKey => ("unwrap/action", "unwrap/action"),
            Operation::Encrypt => ("encrypt/action", "encrypt/action"),
            Operation::Decrypt => ("decrypt/action", "decrypt/action"),
            Operation::Rotate => ("rotate/action", "rotate/action"),
            Operation::Update => ("update/action", "write/action"),
            Operation::Delete => ("delete", "delete"),
        };
        if is_hsm {
            return format!("Microsoft.KeyVault/managedHsm/keys/{managed_hsm}");
        }
        format!("Microsoft.KeyVault/vaults/keys/{vaults} (in an access policy: {})", self.name())
    }

    /// The last part of the path that it is called by.
    pub fn path(self) -> String {
        self.name().to_ascii_lowercase()
    }
}
