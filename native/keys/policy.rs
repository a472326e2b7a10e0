//! What this process may open. The configuration decides, never the file.

use crate::config::{EncryptionAlgorithm, EncryptionConfig, Tenants};
use crate::context::EncryptionContext;
use crate::envelope::{DataKeyId, Head, Slot};
use crate::error::{Kind, Result};
use crate::kms::Clients;

/// The part of the configuration that files are held against.
#[derive(Debug)]
pub struct Policy {
    tenants: Tenants,
    algorithms: Vec<EncryptionAlgorithm>,
    context: EncryptionContext,
    clients: Clients,
}

impl Policy {
    pub fn new(config: &EncryptionConfig, clients: &Clients) -> Policy {
        Policy {
            tenants: config.tenants.clone(),
            algorithms: config.allowed_algorithms.clone(),
            context: config.encryption_context.clone(),
            clients: clients.clone(),
        }
    }

    /// Refuses a file by what its head claims, with the key that must change for it to be opened.
    pub fn check(&self, head: &Head) -> Result<()> {
        self.check_binding(head)?;
        if !self.algorithms.contains(&head.algorithm) {
            return Err(Kind::SuiteNotAllowed.error(format_args!(
                "the file is sealed with {}, which is not among allowed-algorithms",
                head.algorithm.name()
            )));
        }
        Ok(())
    }

    /// Refuses slots of which none is under a key of the tenant's.
    pub fn check_slots(&self, tenant: &str, slots: &[Slot]) -> Result<()> {
        let clients = self.clients.get(tenant).map_or(&[][..], Vec::as_slice);
        let may_open =
            |slot: &Slot| clients.iter().any(|client| slot.provider == client.provider() && client.opens(&slot.kek));
        if slots.iter().any(may_open) {
            return Ok(());
        }
        let list = |names: &mut dyn Iterator<Item = (&str, &str)>| {
            let names = names.map(|(provider, kek)| format!("{}:{}", short(provider), short(kek)));
            names.collect::<Vec<_>>().join(", ")
        };
        Err(Kind::KeyNotAllowed.error(format_args!(
            "the file's data key is wrapped under {}, but tenant '{}' is configured with {}: see kms.* and tenants.<name>.key",
            list(&mut slots.iter().map(|slot| (slot.provider.as_str(), slot.kek.as_str()))),
            short(tenant),
            list(&mut clients.iter().map(|client| (client.provider(), client.key_id()))),
        )))
    }

    /// Refuses a file whose data key this process must not, or could not, unwrap whichever key wraps it.
    pub fn check_binding(&self, head: &Head) -> Result<()> {
        self.check_tenant(&head.bound.tenant)?;
        if head.bound.context == self.context {
            return Ok(());
        }
        Err(Kind::WrappedKey.error(
            "the file is bound to another encryption context than the configured one: set encryption-context.* as it was when the file was sealed",
        ))
    }

    /// Refuses a tenant that this process may not open files of.
    pub fn check_tenant(&self, tenant: &str) -> Result<()> {
        if self.tenants.may_open(tenant) {
            return Ok(());
        }
        Err(Kind::TenantNotAllowed.error(format_args!(
            "the file belongs to tenant '{}', which is not among open-tenants",
            tenant.escape_debug()
        )))
    }

    /// What a data key of a tenant is wrapped with.
    pub fn wrapping_context(&self, id: DataKeyId, tenant: &str) -> Result<EncryptionContext> {
        let own =
            [("sealpoint:data-key".to_owned(), id.to_string()), ("sealpoint:tenant".to_owned(), tenant.to_owned())];
        let configured = self.context.pairs().map(|(key, value)| (key.to_owned(), value.to_owned()));
        EncryptionContext::new(own.into_iter().chain(configured))
    }
}

/// What a file says, fit to be shown: without control characters, and not at the length that the file chose.
pub fn short(text: &str) -> String {
    const MOST: usize = 100;
    let shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() { shown + "..." } else { shown }
}
