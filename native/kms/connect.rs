//! From configuration to clients.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{EncryptionConfig, KeyringConfig, KmsProvider, KmsSlot, KmsTransport, LocalHsmConfig};
use crate::error::{Error, Result};
use crate::kms::KmsClient;
use crate::kms::local::LocalHsmClient;
#[cfg(feature = "aws")]
use crate::{config::AwsKmsConfig, kms::aws::AwsKmsClient};
#[cfg(feature = "azure")]
use crate::{config::AzureKeyVaultConfig, kms::azure::AzureKmsClient};
#[cfg(feature = "gcp")]
use crate::{config::GcpKmsConfig, kms::gcp::GcpKmsClient};
#[cfg(feature = "pkcs11")]
use crate::{config::Pkcs11Config, config::Pkcs11Mechanism, kms::pkcs11::Pkcs11Client};
#[cfg(feature = "vault")]
use crate::{config::VaultConfig, kms::vault::VaultClient};

/// The key services of each tenant that a process seals for or may open. A data key is wrapped by all of a tenant's
/// clients, one slot each, and unwrapped by the first that can.
pub type Clients = HashMap<String, Vec<Arc<dyn KmsClient>>>;

/// One key of one tenant, and the client of it if there can be one.
#[derive(Debug)]
pub struct Connection {
    /// Whose key it is.
    pub tenant: String,
    /// As the configuration has it.
    pub slot: KmsSlot,
    /// Its number among the tenant's.
    pub number: usize,
    /// The client, or what is wrong with the configuration.
    pub client: Result<Arc<dyn KmsClient>>,
}

/// Connects every tenant's key-encryption key; the first that cannot be is an error.
pub fn connect(config: &EncryptionConfig) -> Result<Clients> {
    let mut clients = Clients::new();
    for Connection { tenant, client, .. } in connect_each(config) {
        clients.entry(tenant).or_default().push(client?);
    }
    Ok(clients)
}

/// The same, where one that cannot be connected does not keep from the others: in the order of the configuration.
pub fn connect_each(config: &EncryptionConfig) -> Vec<Connection> {
    let mut connector = Connector::default();
    let mut connections = Vec::new();
    for tenant in config.tenants.open() {
        for (number, slot) in config.kms_slots_of(tenant).into_iter().enumerate() {
            let client = connector.client(&slot).map_err(|error| in_slot(error, &slot));
            connections.push(Connection { tenant: tenant.clone(), slot, number, client });
        }
    }
    connections
}

fn in_slot(error: Error, slot: &KmsSlot) -> Error {
    if slot.name == KmsSlot::PRIMARY { error } else { error.at(format_args!("kms.fallback.{}", slot.name)) }
}

/// Makes clients, and lets those share what they can that differ in their key only.
#[derive(Default)]
struct Connector {
    keyrings: Shared<KeyringConfig, LocalHsmClient>,
    #[cfg(feature = "aws")]
    aws: Shared<AwsKmsConfig, AwsKmsClient>,
    #[cfg(feature = "azure")]
    azure: Shared<AzureKeyVaultConfig, AzureKmsClient>,
    #[cfg(feature = "gcp")]
    gcp: Shared<GcpKmsConfig, GcpKmsClient>,
    #[cfg(feature = "pkcs11")]
    pkcs11: Shared<Pkcs11Config, Pkcs11Client>,
    #[cfg(feature = "vault")]
    vault: Shared<VaultConfig, VaultClient>,
}

/// The clients of one provider, by what they have in common.
struct Shared<C, K>(Vec<(C, KmsTransport, Arc<K>)>);

impl Connector {
    fn client(&mut self, slot: &KmsSlot) -> Result<Arc<dyn KmsClient>> {
        let transport = &slot.transport;
        match &slot.provider {
            KmsProvider::LocalHsm(LocalHsmConfig::Keyring(config)) => {
                let common = KeyringConfig { key: String::new(), ..config.clone() };
                let open = || LocalHsmClient::open(config);
                self.keyrings.client(common, transport, |opened| opened.with_key(&config.key), open)
            }
            #[cfg(feature = "aws")]
            KmsProvider::AwsKms(config) => {
                let common = AwsKmsConfig { key_id: String::new(), ..config.clone() };
                let connect = || AwsKmsClient::new(config, transport);
                self.aws.client(common, transport, |opened| opened.with_key(config), connect)
            }
            #[cfg(feature = "azure")]
            KmsProvider::AzureKeyVault(config) => {
                let common = AzureKeyVaultConfig { key_name: String::new(), ..config.clone() };
                let connect = || AzureKmsClient::new(config, transport);
                self.azure.client(common, transport, |opened| opened.with_key(&config.key_name), connect)
            }
            #[cfg(feature = "gcp")]
            KmsProvider::GcpKms(config) => {
                let common = GcpKmsConfig {
                    project: String::new(),
                    location: String::new(),
                    key_ring: String::new(),
                    key_name: String::new(),
                    ..config.clone()
                };
                let connect = || GcpKmsClient::new(config, transport);
                self.gcp.client(common, transport, |opened| opened.with_key(config), connect)
            }
            #[cfg(feature = "pkcs11")]
            KmsProvider::LocalHsm(LocalHsmConfig::Pkcs11(config)) => {
                let common =
                    Pkcs11Config { key_label: String::new(), mechanism: Pkcs11Mechanism::Auto, ..config.clone() };
                let open = || Pkcs11Client::new(config, transport);
                self.pkcs11.client(common, transport, |opened| Ok(opened.with_key(config)), open)
            }
            #[cfg(feature = "vault")]
            KmsProvider::Vault(config) => {
                let common = VaultConfig { key_name: String::new(), ..config.clone() };
                let connect = || VaultClient::new(config, transport);
                self.vault.client(common, transport, |opened| opened.with_key(&config.key_name), connect)
            }
            #[cfg(not(all(
                feature = "aws",
                feature = "azure",
                feature = "gcp",
                feature = "pkcs11",
                feature = "vault"
            )))]
            other => Err(not_built_in(other)),
        }
    }
}

impl<C: PartialEq, K: KmsClient + 'static> Shared<C, K> {
    fn client(
        &mut self,
        common: C,
        transport: &KmsTransport,
        with_key: impl FnOnce(&K) -> Result<K>,
        new: impl FnOnce() -> Result<K>,
    ) -> Result<Arc<dyn KmsClient>> {
        let same = |(known, by, _): &&(C, KmsTransport, Arc<K>)| *known == common && by == transport;
        if let Some((_, _, known)) = self.0.iter().find(same) {
            return Ok(Arc::new(with_key(known)?));
        }
        let client = Arc::new(new()?);
        self.0.push((common, transport.clone(), Arc::clone(&client)));
        Ok(client)
    }
}

impl<C, K> Default for Shared<C, K> {
    fn default() -> Self {
        Shared(Vec::new())
    }
}

#[cfg(not(all(feature = "aws", feature = "azure", feature = "gcp", feature = "pkcs11", feature = "vault")))]
fn not_built_in(provider: &KmsProvider) -> Error {
    let name = provider.name();
    crate::error::Kind::Unsupported
        .error(format_args!("kms.provider '{name}' is not in this build: build Sealpoint with the feature '{name}'"))
}
