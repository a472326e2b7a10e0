//! From configuration to clients.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{EncryptionConfig, KmsProvider};
use crate::error::{Kind, Result};
use crate::kms::KmsClient;
use crate::kms::local::LocalHsmClient;

/// The key services of each tenant that a process seals for or may open. A data key is wrapped by all of a tenant's
/// clients, one slot each, and unwrapped by the first that can.
pub type Clients = HashMap<String, Vec<Arc<dyn KmsClient>>>;

/// Connects every tenant's key-encryption key.
pub fn connect(config: &EncryptionConfig) -> Result<Clients> {
    let mut connector = Connector::default();
    let tenants = config.tenants.open().iter();
    tenants.map(|tenant| Ok((tenant.clone(), vec![connector.client(&config.kms_provider_of(tenant))?]))).collect()
}

/// Keeps what clients of one service share.
#[derive(Default)]
struct Connector {
    local: Option<LocalHsmClient>,
}

impl Connector {
    fn client(&mut self, provider: &KmsProvider) -> Result<Arc<dyn KmsClient>> {
        match provider {
            KmsProvider::LocalHsm(config) => {
                let client = match &self.local {
                    Some(opened) => opened.with_key(&config.key)?,
                    None => LocalHsmClient::open(config)?,
                };
                self.local.get_or_insert(client.clone());
                Ok(Arc::new(client))
            }
            KmsProvider::AwsKms(_) | KmsProvider::AzureKeyVault(_) | KmsProvider::GcpKms(_) => Err(Kind::Unsupported
                .error(format_args!("kms.provider '{}' is not in this version: only 'local' is", provider.name()))),
        }
    }
}
