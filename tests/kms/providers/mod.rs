//! The key services that the contract is run against.

#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "gcp")]
mod gcp;
mod local;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
#[cfg(feature = "vault")]
mod vault;

use crate::provider::Provider;

/// All of them, in the order of the matrix. A build without the feature of a key service does not have it.
pub fn all() -> Vec<Box<dyn Provider>> {
    vec![
        Box::new(local::Local),
        #[cfg(feature = "aws")]
        Box::new(aws::Aws),
        #[cfg(feature = "aws")]
        Box::new(aws::Moto),
        #[cfg(feature = "aws")]
        Box::new(aws::LocalKms),
        #[cfg(feature = "azure")]
        Box::new(azure::Azure::KeyVault),
        #[cfg(feature = "azure")]
        Box::new(azure::Azure::ManagedHsm),
        #[cfg(feature = "gcp")]
        Box::new(gcp::Gcp),
        #[cfg(feature = "vault")]
        Box::new(vault::Vault),
        #[cfg(feature = "pkcs11")]
        Box::new(pkcs11::Pkcs11(pkcs11::softhsm::Mechanism::AesGcm)),
        #[cfg(feature = "pkcs11")]
        Box::new(pkcs11::Pkcs11(pkcs11::softhsm::Mechanism::AesKwp)),
    ]
}
