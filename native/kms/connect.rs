//! From configuration to clients.

use std::collections::HashMap;
use std::sync::Arc;

#[cfg(feature = "aws")]
use crate::config::AwsKmsConfig;
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp", feature = "pkcs11", feature = "vault"))]
use crate::config::KmsTransport;
use crate::config::{EncryptionConfig, KeyringConfig, KmsProvider, KmsSlot, LocalHsmConfig};
use crate::error::{Error, Result};
use crate::kms::KmsClient;
#[cfg(feature = "aws")]
use crate::kms::aws::AwsKmsClient;
use crate::kms::local::LocalHsmClient;
#[cfg(feature = "azure")]
use crate::{config::AzureKeyVaultConfig, kms::azure::AzureKmsClient};
#[cfg(feature = "gcp")]
use crate::{config::GcpKmsConfig, kms::gcp::GcpKmsClient};
#[cfg(feature = "pkcs11")]
use crate::{config::Pkcs11Config, kms::pkcs11::Pkcs11Client};
#[cfg(feature = "vault")]
use crate::{config::VaultConfig, kms::vault::VaultClient};

/// The key services of each tenant that a process seals for or may open. A data key is wrapped by all of a tenant's
/// clients, one slot each, and unwrapped by the first that can.
pub type Clients = HashMap<String, Vec<Arc<dyn KmsClient>>>;

/// Connects every tenant's key-encryption key.
pub fn connect(config: &EncryptionConfig) -> Result<Clients> {
    let mut connector = Connector::default();
    let mut clients = |tenant: &String| {
        let slots = config.kms_slots_of(tenant).into_iter();
        slots.map(|slot| connector.client(&slot).map_err(|error| in_slot(error, &slot))).collect::<Result<Vec<_>>>()
    };
    config.tenants.open().iter().map(|tenant| Ok((tenant.clone(), clients(tenant)?))).collect()
}

fn in_slot(error: Error, slot: &KmsSlot) -> Error {
    if slot.name == KmsSlot::PRIMARY { error } else { error.at(format_args!("kms.fallback.{}", slot.name)) }
}

/// Keeps what clients of one service share.
#[derive(Default)]
struct Connector {
    keyrings: Vec<(KeyringConfig, LocalHsmClient)>,
    #[cfg(feature = "azure")]
    key_vaults: Vec<(AzureKeyVaultConfig, KmsTransport, Arc<AzureKmsClient>)>,
    #[cfg(feature = "pkcs11")]
    tokens: Vec<(Pkcs11Config, KmsTransport, Pkcs11Client)>,
    #[cfg(feature = "vault")]
    vaults: Vec<(VaultConfig, KmsTransport, VaultClient)>,
    #[cfg(feature = "aws")]
    aws: Vec<(AwsKmsConfig, KmsTransport, Arc<AwsKmsClient>)>,
    #[cfg(feature = "gcp")]
    gcp: Vec<(GcpKmsConfig, KmsTransport, GcpKmsClient)>,
}

impl Connector {
    fn client(&mut self, slot: &KmsSlot) -> Result<Arc<dyn KmsClient>> {
        match &slot.provider {
            KmsProvider::LocalHsm(LocalHsmConfig::Keyring(config)) => self.keyring(config),
            #[cfg(feature = "vault")]
            KmsProvider::Vault(config) => self.vault(config, &slot.transport),
            #[cfg(not(feature = "vault"))]
            KmsProvider::Vault(_) => Err(not_built_in(&slot.provider)),
            #[cfg(feature = "azure")]
            KmsProvider::AzureKeyVault(config) => self.azure(config, &slot.transport),
            #[cfg(not(feature = "azure"))]
            KmsProvider::AzureKeyVault(_) => Err(not_built_in(&slot.provider)),
            #[cfg(feature = "aws")]
            KmsProvider::AwsKms(config) => self.aws(config, &slot.transport),
            #[cfg(not(feature = "aws"))]
            KmsProvider::AwsKms(_) => Err(not_built_in(&slot.provider)),
            #[cfg(feature = "gcp")]
            KmsProvider::GcpKms(config) => self.gcp(config, &slot.transport),
            #[cfg(not(feature = "gcp"))]
            KmsProvider::GcpKms(_) => Err(not_built_in(&slot.provider)),
            #[cfg(feature = "pkcs11")]
            KmsProvider::LocalHsm(LocalHsmConfig::Pkcs11(config)) => self.pkcs11(config, &slot.transport),
            #[cfg(not(feature = "pkcs11"))]
            KmsProvider::LocalHsm(LocalHsmConfig::Pkcs11(_)) => Err(not_built_in(&slot.provider)),
        }
    }

    fn keyring(&mut self, config: &KeyringConfig) -> Result<Arc<dyn KmsClient>> {
        let same =
            |known: &KeyringConfig| known.keyring == config.keyring && known.passphrase_file == config.passphrase_file;
        let client = match self.keyrings.iter().find(|(known, _)| same(known)) {
            Some((_, opened)) => opened.with_key(&config.key)?,
            None => LocalHsmClient::open(config)?,
        };
        self.keyrings.push((config.clone(), client.clone()));
        Ok(Arc::new(client))
    }

    /// Keys of one token share its sessions.
    #[cfg(feature = "pkcs11")]
    fn pkcs11(&mut self, config: &Pkcs11Config, transport: &KmsTransport) -> Result<Arc<dyn KmsClient>> {
        let same = |known: &Pkcs11Config| {
            (&known.module, &known.token_label, &known.pin_file)
                == (&config.module, &config.token_label, &config.pin_file)
        };
        let client = match self.tokens.iter().find(|(known, by, _)| same(known) && by == transport) {
            Some((_, _, opened)) => opened.with_key(config),
            None => Pkcs11Client::new(config, transport)?,
        };
        self.tokens.push((config.clone(), transport.clone(), client.clone()));
        Ok(Arc::new(client))
    }

    /// Keys of one engine share their login.
    #[cfg(feature = "vault")]
    fn vault(&mut self, config: &VaultConfig, transport: &KmsTransport) -> Result<Arc<dyn KmsClient>> {
        let same = |known: &VaultConfig| VaultConfig { key_name: config.key_name.clone(), ..known.clone() } == *config;
        let client = match self.vaults.iter().find(|(known, by, _)| same(known) && by == transport) {
            Some((_, _, opened)) => opened.with_key(&config.key_name)?,
            None => VaultClient::new(config, transport)?,
        };
        self.vaults.push((config.clone(), transport.clone(), client.clone()));
        Ok(Arc::new(client))
    }

    /// Keys of one configuration share their connections and credentials.
    #[cfg(feature = "aws")]
    fn aws(&mut self, config: &AwsKmsConfig, transport: &KmsTransport) -> Result<Arc<dyn KmsClient>> {
        let same = |known: &AwsKmsConfig| AwsKmsConfig { key_id: config.key_id.clone(), ..known.clone() } == *config;
        let known = self.aws.iter().find(|(known, over, _)| same(known) && over == transport);
        let client = Arc::new(match known {
            Some((_, _, opened)) => opened.with_key(config)?,
            None => AwsKmsClient::new(config, transport)?,
        });
        self.aws.push((config.clone(), transport.clone(), Arc::clone(&client)));
        Ok(client)
    }

    /// Keys of one project, or of several, share their connections and tokens.
    #[cfg(feature = "gcp")]
    fn gcp(&mut self, config: &GcpKmsConfig, transport: &KmsTransport) -> Result<Arc<dyn KmsClient>> {
        let same = |known: &GcpKmsConfig| {
            known.endpoint == config.endpoint && known.credentials_file == config.credentials_file
        };
        let client = match self.gcp.iter().find(|(known, by, _)| same(known) && by == transport) {
            Some((_, _, connected)) => connected.with_key(config)?,
            None => GcpKmsClient::new(config, transport)?,
        };
        self.gcp.push((config.clone(), transport.clone(), client.clone()));
        Ok(Arc::new(client))
    }

    /// The keys of one vault share its connections and its token.
    #[cfg(feature = "azure")]
    fn azure(&mut self, config: &AzureKeyVaultConfig, transport: &KmsTransport) -> Result<Arc<dyn KmsClient>> {
        let same = |known: &AzureKeyVaultConfig| {
            AzureKeyVaultConfig { key_name: config.key_name.clone(), ..known.clone() } == *config
        };
        let client = match self.key_vaults.iter().find(|(known, by, _)| same(known) && by == transport) {
            Some((_, _, opened)) => opened.with_key(&config.key_name)?,
            None => AzureKmsClient::new(config, transport)?,
        };
        let client = Arc::new(client);
        self.key_vaults.push((config.clone(), transport.clone(), Arc::clone(&client)));
        Ok(client)
    }
}

#[cfg(not(all(feature = "aws", feature = "azure", feature = "gcp", feature = "pkcs11", feature = "vault")))]
fn not_built_in(provider: &KmsProvider) -> Error {
    let name = provider.name();
    crate::error::Kind::Unsupported
        .error(format_args!("kms.provider '{name}' is not in this build: build Sealpoint with the feature '{name}'"))
}
