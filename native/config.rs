//! What an operator configures.

/// The authenticated cipher suite of a sealed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EncryptionAlgorithm {
    /// AES-256-GCM (NIST SP 800-38D).
    Aes256Gcm,
    /// AES-256-CBC with HMAC-SHA-256, encrypt-then-MAC.
    Aes256CbcHmac,
}
